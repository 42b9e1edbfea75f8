"""A comparison as people post it: plain text of at most 80 columns in benchstat's grammar, and Markdown."""

from __future__ import annotations

import math
import re
import textwrap
import unicodedata
from collections.abc import Sequence

from swaplib.analysis.comparison import Comparison, Result

COLUMNS = 80
_LABELS = {"kernel": "kernel", "machine": "machine", "swap_device": "swap"}


def as_text(comparison: Comparison) -> str:
    """Return plain text for a mail: what was compared and how, a table for each arm, footnotes; no line above 80."""
    notes = _footnotes(comparison)
    lines = [line for text in _header(comparison) for line in _wrap(text)]
    for arm in _arms(comparison):
        lines += ["", *_table(comparison, arm, notes)]
    told = [
        line for number, text in enumerate(notes, 1) for line in _wrap(f"[{number}] {plain(text)}", "    ")
    ]
    return "\n".join([*lines, *([""] if told else []), *told]) + "\n"


def as_markdown(comparison: Comparison) -> str:
    """Return Markdown: the header as a list, one table, the footnotes; nothing in a name acts as markup."""
    notes = _footnotes(comparison)
    lines = [f"- {escaped(text)}" for text in _header(comparison)]
    lines += ["", "| metric | better | base | arm | change |", "|---|---|---|---|---|"]
    for one in comparison.results:
        name = escaped(_with_unit(one))
        base, arm = (
            f"{escaped(who)} {told}" for who, told in zip((one.base, one.arm), _means(one), strict=True)
        )
        marks = "".join(f" \\[{number}\\]" for number in _marks(comparison, one, notes))
        lines.append(
            f"| {name} | {one.better} | {base} | {arm} | {escaped(change(comparison, one))}{marks} |"
        )
    lines += [""] * bool(notes)
    lines += [f"{number}. {escaped(text)}" for number, text in enumerate(notes, 1)]
    return "\n".join(lines) + "\n"


def change(comparison: Comparison, result: Result) -> str:
    """Return a result in benchstat's grammar.

    ``-20.4 % [-33, -8] (p=0.011 n=6+6)``; ``~ (p=0.446 n=6+6)`` when it is not significant after Holm; the difference
    in the metric's unit where a ratio has no meaning; ``n=1+1`` alone where nothing could be tested.
    """
    n = f"n={result.n_base:,}+{result.n_arm:,}".replace(",", "")
    if comparison.paired or comparison.simulated:
        n = f"n={result.n_arm} pairs"
    verdict = comparison.verdict(result)
    if verdict == "~":
        return f"~ ({_p(result.p)} {n})"
    percent = result.change_percent
    if math.isnan(percent[0]):
        told = [result.difference, result.difference_low, result.difference_high]
        size = f"{signed(result.difference)} {plain(result.unit)}".rstrip()
        limits = "" if None in told else f" [{', '.join(signed(one) for one in told[1:] if one is not None)}]"
    else:
        size = f"{_percent(percent[0])} %"
        limits = "" if result.ratio_low is None or result.ratio_high is None else f" [{_limits(percent)}]"
    tested = "" if verdict in ("not tested", "simulated") else f"{_p(result.p)} "
    return f"{size}{limits} ({tested}{n})"


def plain(name: object) -> str:
    r"""Return a name without control, format or private characters: they are shown by number, as \x1b."""
    return "".join(
        c
        if unicodedata.category(c)[0] != "C" and c not in "\u2028\u2029"
        else c.encode("unicode_escape").decode()
        for c in str(name).encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    )


def escaped(name: object) -> str:
    """Return a name as Markdown that shows it, whatever it holds: no markup, no HTML, no new column or line."""
    text = plain(name).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_\[\]#|~$])", r"\\\1", text)


def signed(number: float) -> str:
    """Return a number with its sign and three significant figures."""
    return f"{number:+.0f}" if abs(number) >= 99.95 else f"{number:+.3g}"


def _header(comparison: Comparison) -> list[str]:
    arms = _arms(comparison)
    runs = sorted({one.n_base for one in comparison.results} | {one.n_arm for one in comparison.results})
    count = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    how = (
        "pairs on common random numbers"
        if comparison.simulated
        else "pairs of runs"
        if comparison.paired
        else "runs an arm"
    )
    lines = [f"{comparison.base} (base) against {', '.join(arms)}: {count} {how}"]
    for word in ("lower", "higher"):
        names = dict.fromkeys(_with_unit(one) for one in comparison.results if one.better == word)
        if names:
            lines.append(f"{word} is better: {', '.join(names)}")
    lines += [
        f"{label}: {comparison.setting[key]}" for key, label in _LABELS.items() if key in comparison.setting
    ]
    test = {"permutation": "permutation", "welch": "Welch's t", "rank": "ranks (Mann-Whitney)"}[
        comparison.test
    ]
    if comparison.paired:
        test = {"permutation": "sign flips", "welch": "Student's t of pairs", "rank": "signed ranks"}[
            comparison.test
        ]
    decides = "" if comparison.simulated else f"; p by {test}; ~ if Holm's p > {comparison.alpha:g}"
    lines.append(f"change of means [{100 * (1 - comparison.alpha):g} % interval]{decides}")
    return [*lines, f"$ {comparison.command}"] if comparison.command else lines


def _table(comparison: Comparison, arm: str, notes: Sequence[str]) -> list[str]:
    """Return a table of one arm, in columns where they fit into 80, else a block for each metric."""
    own = [one for one in comparison.results if one.arm == arm]
    units = {one.unit for one in own}
    first = f"metric / {plain(*units)}" if len(units) == 1 and units != {""} else "metric"
    rows = [[first, f"{plain(comparison.base)} (sd)", f"{plain(arm)} (sd)", "change"]]
    for one in own:
        name = one.metric if len(units) == 1 else _with_unit(one)
        marks = ",".join(str(number) for number in _marks(comparison, one, notes))
        rows.append([plain(name), *_means(one), change(comparison, one) + (f" [{marks}]" if marks else "")])
    widths = [max(map(width, column)) for column in zip(*rows, strict=True)]
    if sum(widths) + 2 * 3 <= COLUMNS:
        return [
            "  ".join(_padded(cell, w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows
        ]
    lines = _wrap(f"{rows[0][1]} -> {rows[0][2]}")
    for name, before, after, told in rows[1:]:
        lines += [*_wrap(name), *_wrap(f"  {before} -> {after}", "  "), *_wrap(f"  {told}", "    ")]
    return lines


def _footnotes(comparison: Comparison) -> list[str]:
    """Return every caution's text once, those of single lines first."""
    return list(
        dict.fromkeys(note.text for note in sorted(comparison.cautions, key=lambda note: not note.metric))
    )


def _marks(comparison: Comparison, result: Result, notes: Sequence[str]) -> list[int]:
    """Return the numbers of the footnotes of one line; a footnote without a mark concerns all lines."""
    noted = [note for note in comparison.cautions if note.metric]
    own = {note.text for note in noted if (note.metric, note.arm) == (result.metric, result.arm)}
    own = {text for text in own if sum(note.text == text for note in noted) < max(2, len(comparison.results))}
    return [number for number, text in enumerate(notes, 1) if text in own]


def _arms(comparison: Comparison) -> list[str]:
    return list(dict.fromkeys(one.arm for one in comparison.results))


def _with_unit(result: Result) -> str:
    return f"{result.metric} / {result.unit}" if result.unit else result.metric


def _means(result: Result) -> tuple[str, str]:
    """Return both means with their standard deviations, to the same decimals."""
    size = max(abs(result.mean_base), abs(result.mean_arm))
    decimals = max(0, 2 - math.floor(math.log10(size))) if size >= 1e-4 else 0
    told = []
    for mean, sd in ((result.mean_base, result.sd_base), (result.mean_arm, result.sd_arm)):
        number = f"{mean:.{decimals}f}" if 1e-4 <= size < 1e9 else f"{mean:.3g}"
        spread = "" if sd is None else f" ({sd:.{decimals}f})" if 1e-4 <= size < 1e9 else f" ({sd:.3g})"
        told.append(number + spread)
    return told[0], told[1]


def _percent(number: float) -> str:
    return f"{number:+.1f}" if abs(number) < 999.95 else f"{number:+.3g}"


def _limits(percent: tuple[float, float, float]) -> str:
    """Return an interval in whole percent; finer where that would hide it, or say that 0 is in it when it is not."""
    change, low, high = percent
    for decimals in range(5):
        told = [f"{one:+.{decimals}f}" for one in (low, high)]
        shown = [float(one) for one in told]
        if (min(abs(shown[0]), abs(shown[1])) > 0 and shown[0] < change < shown[1]) or low == high:
            break
    return ", ".join(told)


def _p(p: float | None) -> str:
    return "p=none" if p is None else "p<0.001" if p < 0.0005 else f"p={p:.3f}"


def width(text: str) -> int:
    """Return the columns that a terminal gives a text: two for wide characters, none for combining ones."""
    return sum(
        0 if unicodedata.combining(c) else 2 if unicodedata.east_asian_width(c) in "WF" else 1 for c in text
    )


def _padded(text: str, columns: int) -> str:
    return text + " " * (columns - width(text))


def _wrap(text: str, indent: str = "  ") -> list[str]:
    """Return lines of at most 80 columns; a word that is longer is broken."""
    lines = textwrap.wrap(plain(text), COLUMNS, subsequent_indent=indent, break_on_hyphens=False)
    if all(width(line) <= COLUMNS for line in lines):
        return lines
    return textwrap.wrap(
        plain(text), COLUMNS // 2, subsequent_indent=indent, break_on_hyphens=False
    )  # wide characters
