"""What a notebook or a text holds, as HTML for a page: code folded, pictures and tables named, links led to pages."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bs4 import BeautifulSoup, Tag

__all__ = ["Body", "Figure", "first_figure", "notebook_body", "text_body"]

_OPEN = {"parameters", "injected-parameters"}  # cells whose code is shown unfolded: what a reader may set
_ALIGNED = re.compile(r"\S {2,}\S|^\s*[\[{(]", re.M)  # columns, or the text of a value
_SHORT = 20  # characters: a name, which no hyphen may break
_WORD = re.compile(r"^(?!NaN$|-?inf$).*[a-z]{2}", re.S)


class Body(NamedTuple):
    """The HTML of a page below its title, the title, and the sections as (anchor, heading)."""

    html: str
    title: str
    sections: list[tuple[str, str]]


class Figure(NamedTuple):
    """A picture of a notebook: its data address, its width and height on the page, and what it is said to be."""

    address: str
    width: int | None
    height: int | None
    alt: str


def notebook_body(path: Path, folder: Path, links: Mapping[str, str]) -> Body:
    """Convert an executed notebook.

    Parameters
    ----------
    path
        Its file.
    folder
        Where its own pictures are found.
    links
        File names (``03_gather.ipynb``, ``data/README.md``) to the pages that show them; a link to any other file
        becomes plain text, because the report must be whole without it.
    """
    import nbformat

    notebook = nbformat.read(path, as_version=4)
    # The page says itself that and where a notebook failed.
    notebook.cells = [
        cell for cell in notebook.cells if "papermill-error-cell-tag" not in cell.metadata.get("tags", [])
    ]
    html, _ = _exporter().from_notebook_node(notebook, resources={"metadata": {"path": str(folder)}})
    page = BeautifulSoup(html, "html.parser")
    counts = (
        cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source.strip()
    )
    for code, count in zip(page.select("div.input"), counts, strict=False):
        _fold(page, code, count)
    return _finish(page, links)


def text_body(text: str, links: Mapping[str, str]) -> Body:
    """Convert a text in Markdown; links as for `notebook_body`."""
    from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath

    html = MarkdownWithMath(renderer=IPythonRenderer(escape=False, exclude_anchor_links=True)).render(text)
    return _finish(BeautifulSoup(html, "html.parser"), links)


def first_figure(cells: list[dict[str, Any]], after: int) -> Figure | None:
    """Return the first picture that a notebook's cells show from one position on, and else before it."""
    heading = ""
    found = []
    for position, cell in enumerate(cells):
        if cell["cell_type"] == "markdown":
            headings = re.findall(r"^#+ (.*)", "".join(cell["source"]), re.M)
            heading = headings[-1] if headings else heading
        for output in cell.get("outputs", []):
            data = output.get("data", {}).get("image/png")
            if data:
                size = output.get("metadata", {}).get("image/png", {})
                address = f"data:image/png;base64,{''.join(''.join(data).split())}"
                found.append(
                    (position < after, Figure(address, size.get("width"), size.get("height"), heading))
                )
    return min(found, key=lambda each: each[0])[1] if found else None


def _finish(page: BeautifulSoup, links: Mapping[str, str]) -> Body:
    """Take the title out, name the sections, and mend pictures, tables and links."""
    title = ""
    if heading := page.find("h1"):
        title = heading.get_text(" ", strip=True)
        heading.decompose()
    for style in page.select("style[scoped]"):  # of pandas, and no browser keeps it to its own table
        style.decompose()
    for text in page.select(".output_text pre"):
        text["class"] = "aligned" if _ALIGNED.search(text.get_text()) else "prose"
    _name_pictures(page)
    for table in page.find_all("table"):
        _make_readable(page, table)
    _lead_links(page, links)
    for heading in () if page.find("h2") else page.find_all("h3"):  # no level may be left out
        heading.name = "h2"
    sections = []
    for number, section in enumerate(page.find_all("h2"), 1):
        section["id"] = f"section-{number}"
        sections.append((f"section-{number}", section.get_text(" ", strip=True)))
    return Body(str(page), title, sections)


def _fold(page: BeautifulSoup, code: Tag, count: int | None) -> None:
    """Put a cell's code into a fold that says which cell it is."""
    cell = code.parent
    tags = {name.removeprefix("celltag_") for name in (cell.get_attribute_list("class") if cell else [])}
    is_shown = bool(tags & _OPEN) or bool(cell and cell.select_one(".output_error"))
    fold = page.new_tag("details", attrs={"class": "code", **({"open": ""} if is_shown else {})})
    summary = page.new_tag("summary")
    words = "Parameters" if tags & _OPEN else "Code"
    summary.string = f"{words}, cell {count}" if count else words
    code.wrap(fold).insert(0, summary)


def _name_pictures(page: BeautifulSoup) -> None:
    """Say of a picture without a text of its own under which heading it stands; its numbers are in the text."""
    heading = ""
    for tag in page.find_all(["h2", "h3", "img"]):
        if tag.name != "img":
            heading = tag.get_text(" ", strip=True)
        elif not tag.get("alt") or str(tag["alt"]).startswith("No description"):
            tag["alt"] = f"Figure: {heading}" if heading else "Figure"


def _make_readable(page: BeautifulSoup, table: Tag) -> None:
    """Say which cells are heads, and let a wide table scroll by itself, also by keyboard."""
    if "dataframe" in table.get_attribute_list("class"):
        _align_words(table)
    for head in table.find_all("th"):
        head["scope"] = "col" if head.find_parent("thead") else "row"
    table.wrap(
        page.new_tag(
            "div", attrs={"class": "scroll", "tabindex": "0", "role": "group", "aria-label": "Table"}
        )
    )


def _align_words(table: Tag) -> None:
    """Mark the columns of a frame that hold words or its index, which pandas aligns as if they were numbers."""
    words: set[int] = set()
    indices = max((len(row.find_all("th")) for row in table.select("tbody tr")), default=0)
    for row in table.find_all("tr"):
        values = [cell.get_text() for cell in row.find_all("td")]
        # Counted from the right, heads and values agree whatever the number of index columns.
        words |= {len(values) - i for i, value in enumerate(values) if _WORD.search(value)}
    for row in table.find_all("tr"):
        cells = row.find_all(["td", "th"])
        for i, cell in enumerate(cells):
            if len(cells) - i in words or (
                cell.name == "th" and (i < indices or not row.find_parent("thead"))
            ):
                cell["class"] = "text short" if len(cell.get_text()) <= _SHORT else "text"


def _lead_links(page: BeautifulSoup, links: Mapping[str, str]) -> None:
    for link in page.find_all("a", href=True):
        address, mark, anchor = str(link["href"]).partition("#")
        if not address or re.match(r"https?://|mailto:", address):
            continue
        name = address.removeprefix("./")
        while name.startswith("../"):
            name = name.removeprefix("../")
        if name in links:
            link["href"] = f"{links[name]}{mark}{anchor}"
        else:
            link.unwrap()


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
