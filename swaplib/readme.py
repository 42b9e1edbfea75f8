"""The generated parts of README.md: its table of findings and its index of notebooks, each between two markers."""

from __future__ import annotations

import re
from pathlib import Path

from swaplib.answers import findings
from swaplib.notebooks import collection, collection_folder


def readme_path() -> Path:
    """Return README.md beside the notebooks folder."""
    return collection_folder().parent / "README.md"


def refresh(text: str) -> str:
    """Return README's text with both tables made anew from the notebooks.

    Raises
    ------
    ValueError
        If a marker is missing.
    """
    text = _between(text, "findings", findings_table())
    return _between(text, "notebooks", notebooks_table())


def findings_table() -> str:
    """Return every finding as a Markdown table: question, answer, notebook."""
    rows = ["| question | answer | notebook |", "|---|---|---|"]
    for row in findings().itertuples():
        answer = f"**{_cell(row.verdict)}**: {_cell(row.sentence)}"
        rows.append(f"| {row.question} | {answer} | [{row.notebook}](notebooks/{row.notebook}.ipynb) |")
    return "\n".join(rows)


def notebooks_table() -> str:
    """Return the notebooks as a Markdown table: name and question."""
    rows = ["| notebook | question |", "|---|---|"]
    for notebook in collection():
        rows.append(f"| [{notebook.name}](notebooks/{notebook.path.name}) | {_cell(notebook.question)} |")
    return "\n".join(rows)


def _between(text: str, name: str, table: str) -> str:
    begin, end = f"<!-- {name}: made by `swaplib regenerate` -->", f"<!-- end of {name} -->"
    pattern = re.compile(re.escape(begin) + r".*?" + re.escape(end), re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"README.md: the markers '{begin}' and '{end}' are missing")
    return pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text)


def _cell(text: str) -> str:
    """Make text safe inside a table's cell."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "&lt;")
