"""A folder of executed notebooks and its report: a page each, one with the answers, and the reply as text."""

from __future__ import annotations

import fcntl
import json
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat.v4 import new_code_cell, new_notebook, new_output

from swaplib.answers import findings_in
from swaplib.evidence.data import load
from swaplib.readme import FIVE
from swaplib.run import Execution, Notebook, UsageError, collection_folder, replace_text, say

MARK = "made-by-swaplib.txt"
_TEMPLATES = str(Path(__file__).parent / "templates")


@contextmanager
def open_results(folder: Path) -> Iterator[None]:
    """Make a folder of results, or take that of a former run, and keep other runs out of it meanwhile.

    Nothing in it is ever removed. What is no such folder, or one in use, is a UsageError.
    """
    if folder.resolve() == collection_folder():
        raise UsageError(f"--out {folder} is the collection; `regenerate` executes notebooks in place")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise OSError(f"--out {folder} is no folder; expected one, or a new name") from error
    if any(folder.iterdir()) and not (folder / MARK).is_file():
        raise UsageError(f"--out {folder} holds files that are not from a former run; give an empty folder")
    replace_text(folder / MARK, "Made by swaplib run, which replaces the notebooks and pages in here.\n")
    own = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(own, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UsageError(f"another run writes to --out {folder}; wait, or give a folder") from error
        yield
    finally:
        os.close(own)


def keep(folder: Path, execution: Execution) -> None:
    """Write an executed notebook into a folder; of one that did not start, its error."""
    failed = new_output("error", ename="Failed", evalue=execution.error, traceback=[execution.error])
    empty = new_notebook(cells=[new_code_cell(outputs=[failed])])
    replace_text(folder / execution.notebook.path.name, execution.output or nbformat.writes(empty))


def kept(folder: Path, notebooks: Sequence[Notebook]) -> dict[str, Any]:
    """Read the executed notebooks of a folder by name; one that is damaged is said and left out."""
    found = {}
    for notebook in notebooks:
        path = folder / notebook.path.name
        if not path.exists():
            continue
        try:
            text = path.read_text(encoding="utf-8")
            findings_in(text, notebook.name)
            nbformat.validate(json.loads(text))
            found[notebook.name] = nbformat.reads(text, as_version=4)
        except Exception:  # whatever is wrong with it
            say(f"{path} is damaged and left out; `run {notebook.name[:2]}` makes it anew")
    return found


def write_report(folder: Path, notebooks: Sequence[Notebook]) -> Path:
    """Write a page, whole by itself, for each executed notebook, and index.html; return the latter's path."""
    from nbconvert import HTMLExporter

    exporter = HTMLExporter(template_name="report", extra_template_basedirs=[_TEMPLATES])
    exporter.embed_images = exporter.exclude_anchor_links = True
    executed, pages = kept(folder, notebooks), []
    for notebook in notebooks:
        if notebook.name in executed:
            pages.append(_page(notebook, executed[notebook.name]))
            say(f"writing page {len(pages)} of {len(executed)}")
            resources = {"metadata": {"path": str(notebook.path.parent)}, "page": pages[-1]}
            html, _ = exporter.from_notebook_node(executed[notebook.name], resources)
            replace_text(folder / f"{notebook.name}.html", _lead_links(html, {*executed, "index"}))
            _write_reply(folder, executed[notebook.name])
    asked = load("mail/questions").to_dict("records")
    five = [{"question": name, "text": text} for name, text in FIVE.items()]
    front = exporter.environment.get_template("front.html.j2")
    replace_text(folder / "index.html", front.render(pages=pages, asked=asked, five=five))
    return folder / "index.html"


def _write_reply(folder: Path, executed: Any) -> None:
    """Write what a cell tagged ``reply`` printed into reply.txt, if a notebook has one."""
    for cell in executed.cells:
        if "reply" in cell.metadata.get("tags", []) and cell.outputs and "text" in cell.outputs[0]:
            replace_text(folder / "reply.txt", cell.outputs[0].text)


def _page(notebook: Notebook, executed: Any) -> dict[str, Any]:
    """Collect what the front page shows of a notebook; its figure is the first one."""
    outputs = [output for cell in executed.cells for output in cell.get("outputs", [])]
    given = [cell for cell in executed.cells if "injected-parameters" in cell.metadata.get("tags", [])]
    return {
        **notebook._asdict(),
        "answers": findings_in(nbformat.writes(executed), notebook.name),
        "figures": [output.data["image/png"] for output in outputs if "image/png" in output.get("data", {})],
        "errors": [f"{one.ename}: {one.evalue}" for one in outputs if one.output_type == "error"],
        "given": [cell.source for cell in given],
    }


def _lead_links(html: str, names: set[str]) -> str:
    """Lead links between notebooks to their pages; a link to a file that the report lacks becomes text."""

    def lead(match: re.Match[str]) -> str:
        address, mark, anchor = match[1].partition("#")
        if not address or re.match("https?:|mailto:", address):
            return match[0]
        stem = Path(address).stem
        return f'<a href="{stem}.html{mark}{anchor}">{match[2]}</a>' if stem in names else match[2]

    return re.sub(r'<a\b[^>]*?href="([^"]*)"[^>]*>(.*?)</a>', lead, html, flags=re.DOTALL)
