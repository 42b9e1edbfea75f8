"""The reply to the thread: plain text of at most 72 columns, composed from the findings of the notebooks."""

from __future__ import annotations

import textwrap
from itertools import groupby

import pandas as pd

COLUMNS, MOST_LINES = 72, 120  # of a mail, and of one that is read to its end


def reply_text(opening: str, asked: pd.DataFrame, found: pd.DataFrame, closing: str) -> str:
    """Compose the reply: each question with who asked it, and its answer, the verdict first.

    Parameters
    ----------
    opening, closing
        Paragraphs before and after the answers, set in lines of 72 columns; a line that begins with a space
        is kept as it is.
    asked
        The questions: columns question (Q1), short (one line with words of the mail) and asked_by.
    found
        The answers, as `swaplib.findings` returns them: columns question, verdict and sentence.

    Returns
    -------
    str
        A question without an answer is left out, and the closing says how many. A line above 72 columns and
        more than 120 lines in all are a ValueError.
    """
    verdicts = found.verdict.str[:1].str.upper() + found.verdict.str[1:]
    answers = dict(zip(found.question, verdicts + ". " + found.sentence, strict=True))
    parts = [_set(opening)]
    for one in asked.itertuples():
        if one.question in answers:
            quoted = _set(f"{one.question} ({one.asked_by}): {one.short}", "> ")
            parts.append(f"{quoted}\n{_set(answers[one.question])}")
    open_count = len(set(asked.question) - set(answers))
    left_out = f"\nNot answered: {open_count} of {len(asked)} questions." if open_count else ""
    lines = "\n\n".join([*parts, _set(closing + left_out)]).splitlines()
    wide = [line for line in lines if len(line) > COLUMNS]
    if wide:
        raise ValueError(f"the reply has a line of {len(wide[0])} columns: {wide[0]!r}; at most {COLUMNS}")
    if len(lines) > MOST_LINES:
        raise ValueError(f"the reply has {len(lines)} lines; at most {MOST_LINES}")
    return "\n".join(lines) + "\n"


def _set(text: str, mark: str = "") -> str:
    """Set text in lines of a mail; empty lines, and those that begin with a space, are kept as they are."""
    lines: list[str] = []
    for is_kept, group in groupby(text.strip("\n").splitlines(), lambda line: line[:1] in ("", " ")):
        if is_kept:
            lines += group
        else:
            text = " ".join(group).replace(" %", "\xa0%")  # a number stays with its unit
            lines += textwrap.wrap(text, COLUMNS, initial_indent=mark, subsequent_indent=mark)
    return "\n".join(lines).replace("\xa0", " ")
