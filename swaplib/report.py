"""The report of a run: a front page with the answers, and every notebook as a page that needs nothing else."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from swaplib.answers import Finding, findings_in
from swaplib.execution import replace_text
from swaplib.notebooks import Notebook
from swaplib.results import Results, versions

__all__ = ["write_report"]


def write_report(results: Results, notebooks: Sequence[Notebook]) -> Path:
    """Write the front page and one page a notebook, each self-contained, into the folder of results.

    Parameters
    ----------
    results : Results
        What ran, with its outputs.
    notebooks : sequence of Notebook
        The collection; those without results are left out.

    Returns
    -------
    Path
        The front page, ``index.html``.
    """
    ran = [notebook for notebook in notebooks if notebook.name in results.entries]
    pages = [_page(notebook, results) for notebook in ran]
    for position, page in enumerate(pages):
        text = _template("notebook.html.j2").render(
            page=page,
            previous=pages[position - 1] if position else None,
            following=pages[position + 1] if position + 1 < len(pages) else None,
            body=_body(results.path(page["name"]), ran) if page["has_output"] else "",
            code_light=_code_colours("default"),
            code_dark=_code_colours("github-dark"),
        )
        replace_text(results.folder / page["link"], text)
    index = results.folder / "index.html"
    replace_text(index, _template("index.html.j2").render(pages=pages, versions=versions()))
    return index


def _page(notebook: Notebook, results: Results) -> dict[str, Any]:
    """Collect what the templates show of one notebook."""
    path = results.path(notebook.name)
    return {
        "name": notebook.name,
        "link": f"{notebook.name}.html",
        "file": path.name,
        "title": notebook.title,
        "question": notebook.question,
        "answers": _answers(path),
        "has_output": path.exists(),
        **results.entries[notebook.name],
    }


def _answers(path: Path) -> list[Finding]:
    return findings_in(path.read_text(encoding="utf-8"), path.stem) if path.exists() else []


def _body(path: Path, ran: Sequence[Notebook]) -> str:
    """Convert a notebook's cells to HTML, images inlined, links to other notebooks led to their pages."""
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    # The page says itself that and where a notebook failed.
    notebook.cells = [
        cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]
    source = {n.name: n.path for n in ran}[path.stem]
    body, _ = _exporter().from_notebook_node(notebook, resources={"metadata": {"path": str(source.parent)}})
    body = re.sub(
        r'<table border="1" class="dataframe">.*?</table>', lambda table: _align_words(table[0]), body, flags=re.S
    )
    names = "|".join(re.escape(n.name) for n in ran)
    return re.sub(rf'href="({names})\.ipynb(#[^"]*)?"', r'href="\1.html\2"', body)


def _align_words(table: str) -> str:
    """Mark the columns of a frame that hold words, which pandas aligns as if they were numbers."""
    cell = re.compile(r"<t[hd]>(.*?)</t[hd]>", re.S)
    rows = re.split(r"(?=<tr)", table)
    words = set()
    for row in rows:
        values = re.findall(r"<td>(.*?)</td>", row, re.S)
        # Counted from the right, heads and values agree whatever the number of index columns.
        words |= {len(values) - i for i, value in enumerate(values) if re.search(r"^(?!NaN$|-?inf$).*[a-z]{2}", value)}
    for number, row in enumerate(rows):
        places = itertools.count(len(cell.findall(row)), -1)
        rows[number] = cell.sub(lambda found, places=places: _marked(found[0], next(places) in words), row)
    return "".join(rows)


def _marked(cell: str, is_word: bool) -> str:
    return cell.replace(">", ' class="text">', 1) if is_word else cell


@functools.cache
def _exporter() -> Any:
    from nbconvert import HTMLExporter

    return HTMLExporter(
        template_name="basic",
        embed_images=True,
        exclude_anchor_links=True,
        exclude_input_prompt=True,
        exclude_output_prompt=True,
    )


@functools.cache
def _code_colours(style: str) -> str:
    from pygments.formatters import HtmlFormatter

    return str(HtmlFormatter(style=style, nobackground=True).get_style_defs(".highlight"))


def _template(name: str) -> Any:
    return _environment().get_template(name)


@functools.cache
def _environment() -> Any:
    import jinja2

    return jinja2.Environment(
        loader=jinja2.PackageLoader("swaplib"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
