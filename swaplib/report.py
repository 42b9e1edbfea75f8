"""The report of a run: a front page with the answers, every notebook as a page, and pages on data and model."""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swaplib.answers import Finding, findings_in
from swaplib.execution import replace_text
from swaplib.notebooks import Notebook
from swaplib.page_body import Figure, first_figure, notebook_body, text_body
from swaplib.results import Results, versions

__all__ = ["write_report"]

_PACKAGE = Path(__file__).resolve().parent

# Texts of the repository that become pages: the page, its name in the navigation, the file beside or in the package.
_TEXTS = (
    ("data.html", "Data", _PACKAGE.parent / "data" / "README.md"),
    ("measurements.html", "Measurements", _PACKAGE.parent / "data" / "measured" / "README.md"),
    ("model.html", "Model", _PACKAGE / "README.md"),
)


def write_report(results: Results, notebooks: Sequence[Notebook], explorers: Sequence[Notebook] = ()) -> Path:
    """Write the pages, each self-contained, into the folder of results.

    Parameters
    ----------
    results : Results
        What ran, with its outputs.
    notebooks : sequence of Notebook
        The collection; those without results are left out.
    explorers : sequence of Notebook
        Notebooks that the front page only mentions, because they answer while a kernel runs.

    Returns
    -------
    Path
        The front page, ``index.html``.
    """
    ran = [notebook for notebook in notebooks if notebook.name in results.entries]
    pages = [_page(notebook, results) for notebook in ran]
    texts = [(page, name, path) for page, name, path in _TEXTS if path.is_file()]
    links = {page["file"]: page["link"] for page in pages}
    links |= {"/".join(path.relative_to(_PACKAGE.parent).parts): page for page, _, path in texts}
    links |= {"measured/README.md": "measurements.html"} if "data/measured/README.md" in links else {}
    shared = {
        "texts": [(page, name) for page, name, _ in texts],
        "versions": versions(),
        "code_light": _code_colours("default"),
        "code_dark": _code_colours("github-dark"),
    }

    def write(name: str, template: str, **values: Any) -> None:
        text = _environment().get_template(template).render(here=name, **shared, **values)
        replace_text(results.folder / name, text)

    for position, (notebook, page) in enumerate(zip(ran, pages, strict=True)):
        path = results.path(notebook.name)
        write(
            page["link"],
            "notebook.html.j2",
            page=page,
            previous=pages[position - 1] if position else None,
            following=pages[position + 1] if position + 1 < len(pages) else None,
            body=notebook_body(path, notebook.path.parent, links) if page["has_output"] else None,
        )
    for page_name, _, path in texts:
        write(page_name, "text.html.j2", body=text_body(path.read_text(encoding="utf-8"), links))
    write("index.html", "index.html.j2", pages=pages, questions=_questions(pages), explorers=explorers)
    return results.folder / "index.html"


def _page(notebook: Notebook, results: Results) -> dict[str, Any]:
    """Collect what the templates show of one notebook."""
    path = results.path(notebook.name)
    number, _, rest = notebook.name.partition("_")
    return {
        "name": notebook.name,
        "number": number if rest else "",
        "link": f"{notebook.name}.html",
        "file": path.name,
        "title": notebook.title,
        "question": notebook.question,
        "is_overview": notebook.reads_findings,
        "answers": _answers(path),
        "figure": _key_figure(path),
        "has_output": path.exists(),
        **results.entries[notebook.name],
    }


def _answers(path: Path) -> list[Finding]:
    return findings_in(path.read_text(encoding="utf-8"), path.stem) if path.exists() else []


def _key_figure(path: Path) -> Figure | None:
    """Return a notebook's first figure after the cell that answers, and else its first."""
    if not path.exists():
        return None
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    answering = [i for i, cell in enumerate(cells) if findings_in(json.dumps({"cells": [cell]}), path.stem)]
    return first_figure(cells, answering[0] if answering else 0)


def _questions(pages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the thread's questions with their answers, where this run answers one of them."""
    answered = {answer.question: (answer, page) for page in pages for answer in page["answers"]}
    if not any(question[0] == "Q" for question in answered):
        return []
    from swaplib.evidence.datasets import load

    try:
        asked = load("mail/questions")
    except FileNotFoundError:
        return []
    rows = []
    for row in asked.itertuples():
        answer, page = answered.get(str(row.question), (None, None))
        rows.append(
            {"name": row.question, "text": row.text, "by": row.asked_by, "answer": answer, "page": page}
        )
    return rows


@functools.cache
def _code_colours(style: str) -> str:
    from pygments.formatters import HtmlFormatter

    return str(HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight"))


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("swaplib"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
