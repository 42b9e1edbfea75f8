"""A notebook's computed answer, carried in the output of its cell."""

from __future__ import annotations

import html
import json
import math
import numbers
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd

__all__ = ["MIME", "Finding", "finding", "findings", "findings_in"]

MIME = "application/vnd.swaplib.finding+json"
"""The media type under which a cell's output carries a finding."""

COLUMNS = ["question", "notebook", "sentence", "verdict", "values"]

_QUESTION = re.compile(r"Q([1-9]|1[0-6])|[a-z][a-z0-9-]{0,23}")


@dataclass(frozen=True)
class Finding:
    """The answer to one question, as `finding` made it.

    Attributes
    ----------
    question : str
        Q1 to Q16, or a short lower-case word.
    sentence : str
        The answer in one sentence.
    values : dict
        The numbers behind the sentence, floats with 3 significant figures.
    verdict : str
        The answer in a word or a few.
    """

    question: str
    sentence: str
    values: dict[str, Any]
    verdict: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, Any]:
        """Give Jupyter plain text, HTML and the values themselves."""
        return {
            "text/plain": f"{self.question}: {self.verdict}\n{self.sentence}",
            "text/html": self._html(),
            MIME: {
                "question": self.question,
                "sentence": self.sentence,
                "values": self.values,
                "verdict": self.verdict,
            },
        }

    def _html(self) -> str:
        """Draw a box in colours that suit a light and a dark page alike."""
        return (
            '<div class="swaplib-finding" style="border-left: 4px solid #0a84c6; border-radius: 4px; '
            'background: rgba(10, 132, 198, 0.12); padding: 0.7em 1em; max-width: 50em;">'
            f'<div style="font-size: 85%; opacity: 0.8;">{html.escape(self.question)} · '
            f"<strong>{html.escape(self.verdict)}</strong></div>"
            f'<div style="margin-top: 0.25em; font-size: 110%;">{html.escape(self.sentence)}</div></div>'
        )


def finding(question: str, sentence: str, *, values: Mapping[str, Any], verdict: str) -> Finding:
    """State a notebook's answer; the last expression of its cell.

    Parameters
    ----------
    question : str
        Q1 to Q16 for a question of the thread, else a short lower-case word ("gather").
    sentence : str
        The answer in one computed sentence.
    values : mapping
        The numbers behind the sentence: names to numbers, texts or bools. numpy scalars are converted and floats
        rounded to 3 significant figures, so that the stored output is the same on every machine.
    verdict : str
        The answer in a word or a few.

    Returns
    -------
    Finding
        Displays itself, and carries its values in the cell's output.

    Raises
    ------
    ValueError
        If the question is no such name, a text is empty or a number is not finite.
    TypeError
        If a value is neither number, text nor bool.
    """
    if not isinstance(question, str) or not _QUESTION.fullmatch(question):
        raise ValueError(
            f"a finding's question is {question!r}; expected Q1 to Q16 or a short lower-case word (at most 24 letters)"
        )
    for what, text in (("sentence", sentence), ("verdict", verdict)):
        if not isinstance(text, str) or not text.strip():
            raise ValueError(f"finding {question}: its {what} is {text!r}; expected text")
    plain = {name: _plain(question, name, value) for name, value in dict(values).items()}
    return Finding(question, " ".join(sentence.split()), plain, " ".join(verdict.split()))


def findings(folder: str | Path | None = None) -> pd.DataFrame:
    """Read the answers stored in the outputs of a folder's notebooks.

    Parameters
    ----------
    folder : str or Path, optional
        A folder with executed notebooks; the collection's own without it.

    Returns
    -------
    DataFrame
        One row per finding, in the order of the notebooks: question, notebook (its name), sentence, verdict,
        values (a dict of the numbers behind the sentence).

    Raises
    ------
    FileNotFoundError
        If there is no such folder.
    ValueError
        If two cells answer the same question or a file is no notebook.
    """
    import pandas as pd

    if not folder:
        from swaplib.notebooks import collection_folder

        folder = collection_folder()
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder; expected one with executed notebooks")
    rows: list[dict[str, Any]] = []
    answered: dict[str, str] = {}
    for path in sorted(folder.glob("*.ipynb")):
        for found in findings_in(path.read_text(encoding="utf-8"), path.stem):
            if found.question in answered:
                raise ValueError(
                    f"{found.question} is answered twice: in {answered[found.question]} and in {path.stem}; "
                    "expected one finding a question"
                )
            answered[found.question] = path.stem
            rows.append({"notebook": path.stem, **vars(found)})
    return pd.DataFrame(rows, columns=COLUMNS)


def findings_in(notebook: str, name: str) -> list[Finding]:
    """Read the findings in one notebook's stored outputs, in the order of its cells.

    Parameters
    ----------
    notebook : str
        The text of an executed notebook's file.
    name : str
        What errors call it.

    Returns
    -------
    list of Finding
        Empty when no cell displays one.

    Raises
    ------
    ValueError
        If the text is no notebook, or an output under `MIME` is no finding.
    """
    try:
        bundles = [
            output["data"][MIME]
            for cell in json.loads(notebook)["cells"]
            if cell["cell_type"] == "code"
            for output in cell["outputs"]
            if MIME in output.get("data", {})
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{name} is not a notebook of format 4: {error!r}") from error
    try:
        return [finding(**bundle) for bundle in bundles]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name}: an output of type {MIME} is no finding: {error}") from error


def _plain(question: str, name: object, value: Any) -> str | bool | int | float:
    """Turn one value into what JSON holds and what is the same on every machine."""
    where = f"finding {question}: value {name!r}"
    if not isinstance(name, str) or not name:
        raise TypeError(f"{where}: the name of a value must be text")
    if type(value).__module__ == "numpy" and getattr(value, "ndim", None) == 0:
        value = value.item()
    if isinstance(value, str | bool):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        rounded = float(f"{float(value):.3g}")
        if not math.isfinite(rounded):
            raise ValueError(f"{where} is {value}; expected a finite number")
        return rounded
    raise TypeError(f"{where} is a {type(value).__name__}; expected a number, text or bool")
