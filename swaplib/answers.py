"""A notebook's computed answer, carried in the output of its cell."""

from __future__ import annotations

import html
import json
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

MIME = "application/vnd.swaplib.finding+json"  # the media type under which a cell's output carries a finding

_QUESTION = re.compile(r"Q([1-9]|1[0-6])|[a-z][a-z0-9-]{0,23}")
_BOX = """\
<div class="swaplib-finding" style="border-left: 4px solid #0a84c6; border-radius: 4px; \
background: rgba(10, 132, 198, 0.12); padding: 0.7em 1em; max-width: 50em;">\
<div style="font-size: 85%; opacity: 0.8;">{} · <strong>{}</strong></div>\
<div style="margin-top: 0.25em; font-size: 110%;">{}</div></div>"""  # suits a light and a dark page


@dataclass(frozen=True)
class Finding:
    """The answer to one question, as `finding` made it."""

    question: str
    sentence: str
    values: dict[str, Any]
    verdict: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Give Jupyter plain text, HTML and the values themselves."""
        return {
            "text/plain": f"{self.question}: {self.verdict}\n{self.sentence}",
            "text/html": _BOX.format(*map(html.escape, (self.question, self.verdict, self.sentence))),
            MIME: asdict(self),
        }


def finding(question: str, sentence: str, *, values: Mapping[str, Any], verdict: str) -> Finding:
    """State a notebook's answer; the last expression of its cell, whose output carries the values.

    question: Q1 to Q16 for a question of the thread, else a short lower-case word ("gather").
    sentence, verdict: the answer in one computed sentence, and in a word or a few.
    values: what the sentence was computed from: numbers (kept with three significant figures, so that every
    machine stores the same), texts, truth values. Others are a ValueError or TypeError.
    """
    if not isinstance(question, str) or not _QUESTION.fullmatch(question):
        expected = "expected Q1 to Q16 or a short lower-case word"
        raise ValueError(f"a finding's question is {question!r}; {expected}")
    for what, text in (("sentence", sentence), ("verdict", verdict)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"finding {question}: its {what} is {text!r}; expected text")
    plain = {name: _plain(f"finding {question}: value {name!r}", one) for name, one in dict(values).items()}
    return Finding(question, " ".join(sentence.split()), plain, " ".join(verdict.split()))


def findings(folder: str | Path | None = None) -> pd.DataFrame:
    """Read the answers stored in the notebooks of a folder, of the collection without one.

    A row a finding, in the order of the notebooks: question, notebook, sentence, verdict, values (a dict).
    ValueError if two cells answer the same question or a file is no notebook.
    """
    import pandas as pd

    from swaplib.run import collection_folder

    folder = Path(folder or collection_folder())
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected one with executed notebooks")
    rows = []
    for path in sorted(folder.glob("*.ipynb")):
        found = findings_in(path.read_text(encoding="utf-8"), path.stem)
        rows += [{"notebook": path.stem, **vars(one)} for one in found]
    table = pd.DataFrame(rows, columns=["question", "notebook", "sentence", "verdict", "values"])
    for question, answers in table.groupby("question"):
        if len(answers) > 1:
            raise ValueError(f"{question} is answered twice: in {' and in '.join(answers.notebook)}")
    return table


def findings_in(notebook: str, name: str) -> list[Finding]:
    """Read the findings in an executed notebook's text, in the order of its cells; `name` is for errors."""
    try:
        cells = [cell for cell in json.loads(notebook)["cells"] if cell["cell_type"] == "code"]
        bundles = [output.get("data", {}) for cell in cells for output in cell["outputs"]]
        return [finding(**bundle[MIME]) for bundle in bundles if MIME in bundle]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name} is no notebook of format 4, or a finding in it is none: {error}") from error


def _plain(where: str, value: Any) -> str | bool | int | float:
    """Turn one value, maybe of numpy, into what JSON holds and what is the same on every machine."""
    if getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, str | bool | int):
        return value
    if not isinstance(value, numbers.Real):
        raise TypeError(f"{where} is a {type(value).__name__}; expected a number, text or bool")
    rounded = float(f"{float(value):.3g}")
    if not math.isfinite(rounded):
        raise ValueError(f"{where} is {value}; expected a finite number")
    return rounded
