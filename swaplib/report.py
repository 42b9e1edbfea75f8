"""A folder of executed notebooks and its report: every notebook as a page, and one page with the answers."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from swaplib import __version__
from swaplib.answers import findings_in
from swaplib.run import FINDINGS_FROM, Execution, Notebook, UsageError, collection_folder, replace_text

MARK = "made-by-swaplib.txt"
_TEMPLATES = str(Path(__file__).parent / "templates")
_VERSIONS_OF = ("numpy", "pandas", "scipy", "numba", "matplotlib", "papermill", "nbconvert")


def open_results(folder: Path, notebooks: Sequence[Notebook], *, force: bool) -> set[str]:
    """Make a folder of results, or take that of a former run; return the names of the notebooks in it.

    Notebooks that left the collection leave it. UsageError if it is the collection itself, or holds files of
    others and `force` is not said.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--out {folder} is a file; expected a folder")
    if folder.resolve() == collection_folder():
        raise UsageError(f"--out {folder} is the collection; `regenerate` executes notebooks in place")
    if folder.exists() and any(folder.iterdir()) and not (force or (folder / MARK).is_file()):
        raise UsageError(
            f"--out {folder} holds files that are not from a former run; --force writes among them"
        )
    folder.mkdir(parents=True, exist_ok=True)
    replace_text(folder / MARK, "Made by swaplib run, which replaces the notebooks and pages in here.\n")
    names = {notebook.name for notebook in notebooks}
    for path in folder.glob("*.ipynb"):
        if path.stem not in names and "swaplib" in _read(path).metadata:
            path.unlink()
            path.with_suffix(".html").unlink(missing_ok=True)
    return set(_kept(folder, notebooks))


def keep(folder: Path, execution: Execution) -> None:
    """Write an executed notebook into a folder, in its metadata how it went; without output its prose."""
    import nbformat

    text = execution.output or execution.notebook.path.read_text(encoding="utf-8")
    executed = nbformat.reads(text, as_version=4)
    if not execution.output:
        executed.cells = [cell for cell in executed.cells if cell.cell_type == "markdown"]
    executed.metadata["swaplib"] = {
        "seconds": round(execution.duration_s, 1),
        "parameters": {name: v for name, v in execution.parameters.items() if name != FINDINGS_FROM},
        "error": execution.error or "",
    }
    replace_text(folder / execution.notebook.path.name, nbformat.writes(executed) + "\n")


def write_report(folder: Path, notebooks: Sequence[Notebook], explorers: Sequence[Notebook] = ()) -> Path:
    """Write index.html and the page of each notebook into a folder of results; return the path of the first.

    Every page is whole by itself: it loads nothing, from inside the folder or outside.
    """
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="report", extra_template_basedirs=[_TEMPLATES])
    exporter.embed_images = exporter.exclude_anchor_links = True
    executed = _kept(folder, notebooks)
    pages = [_page(notebook, executed[notebook.name]) for notebook in notebooks if notebook.name in executed]
    versions = {"swaplib": __version__, "Python": platform.python_version()}
    versions |= {name: metadata.version(name) for name in _VERSIONS_OF}
    for i, page in enumerate(pages):
        about = {
            "page": page,
            "near": [*pages[max(i - 1, 0) : i], *pages[i + 1 : i + 2]],
            "versions": versions,
        }
        resources = {"metadata": {"path": str(page["path"].parent)}, "about": about}
        html, _ = exporter.from_notebook_node(executed[page["name"]], resources)
        replace_text(folder / f"{page['name']}.html", _lead_links(html, set(executed)))
    front = exporter.environment.get_template("front.html.j2")
    index = front.render(pages=pages, asked=_asked(pages), explorers=explorers, versions=versions)
    replace_text(folder / "index.html", index)
    return folder / "index.html"


def _kept(folder: Path, notebooks: Sequence[Notebook]) -> dict[str, Any]:
    """Read those notebooks of the collection that a folder holds, by name; what is damaged is said."""
    found = {notebook.name: _read(folder / notebook.path.name) for notebook in notebooks}
    for name, executed in found.items():
        if not executed.cells and (folder / f"{name}.ipynb").exists():
            print(
                f"swaplib: {folder / name}.ipynb is damaged and left out; run {name} again", file=sys.stderr
            )
    return {name: executed for name, executed in found.items() if executed.cells}


def _read(path: Path) -> Any:
    """Read an executed notebook; one without cells if there is none or it is damaged."""
    import nbformat

    try:
        text = path.read_text(encoding="utf-8")
        findings_in(text, path.stem)
        return nbformat.reads(text, as_version=4)
    except (OSError, ValueError, nbformat.ValidationError):
        return nbformat.v4.new_notebook()


def _page(notebook: Notebook, executed: Any) -> dict[str, Any]:
    """Collect what the report shows of a notebook; its figure is the first from the cell that answers on."""
    answers, figures = [], []
    for cell in executed.cells:
        answers += findings_in(json.dumps({"cells": [cell]}), notebook.name)
        found = [
            output.data["image/png"]
            for output in cell.get("outputs", [])
            if "image/png" in output.get("data", {})
        ]
        figures += [(not answers, picture.replace("\n", "")) for picture in found]
    figure = min(figures, key=lambda found: found[0], default=(False, ""))[1]
    how = {"seconds": None, "parameters": {}, "error": "", **executed.metadata.get("swaplib", {})}
    return {**vars(notebook), **how, "answers": answers, "figure": figure}


def _asked(pages: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the thread's questions that this report answers, in order, each with its answer and page."""
    from swaplib.evidence.data import load

    found = {
        answer.question: {"answer": answer, "page": page} for page in pages for answer in page["answers"]
    }
    rows: Any = load("mail/questions").to_dict("records")
    return [{**row, **found[row["question"]]} for row in rows if row["question"] in found]


def _lead_links(html: str, names: set[str]) -> str:
    """Lead links between notebooks to their pages; a link to a file that the report lacks becomes text."""

    def lead(match: re.Match[str]) -> str:
        address, mark, anchor = match[1].partition("#")
        if not address or re.match("https?:|mailto:", address):
            return match[0]
        stem = Path(address).stem
        return (
            f'<a href="{stem}.html{mark}{anchor}">{match[2]}</a>' if stem in names | {"index"} else match[2]
        )

    return re.sub(r'<a\b[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', lead, html, flags=re.DOTALL)
