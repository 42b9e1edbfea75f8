"""The collection of notebooks: where it is, what each one asks, which parameters it takes."""

from __future__ import annotations

import ast
import contextlib
import difflib
import io
import json
import os
import re
import tokenize
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swaplib.parameters import check_parameters

__all__ = [
    "Notebook",
    "Parameter",
    "UsageError",
    "assign",
    "collection",
    "collection_folder",
    "explorers",
    "select",
]

FINDINGS_FROM = "findings_from"
"""The parameter of a notebook that reads the others' findings: it runs last and is given their folder."""

_TYPES = {"str": str, "bool": bool, "int": int, "float": float}


class UsageError(ValueError):
    """What the user asked for cannot be done; the message says what can."""


@dataclass(frozen=True)
class Parameter:
    """One line of a notebook's cell tagged ``parameters``.

    Attributes
    ----------
    name, type, default, help : str
        As written there: ``name: type = default  # help``.
    """

    name: str
    type: str
    default: str
    help: str


@dataclass(frozen=True)
class Notebook:
    """One notebook of the collection, as its file describes it.

    Attributes
    ----------
    name : str
        The file's name without ``.ipynb``.
    path : Path
        The file.
    title : str
        From its first line, ``# NN · Title``.
    question : str
        The paragraph after the title, up to its last question mark, as plain text.
    parameters : tuple of Parameter
        What ``-p`` can set, in the notebook's order.
    """

    name: str
    path: Path
    title: str
    question: str
    parameters: tuple[Parameter, ...]

    @property
    def reads_findings(self) -> bool:
        """Tell whether this notebook shows the others' findings and so runs last."""
        return any(parameter.name == FINDINGS_FROM for parameter in self.parameters)

    def check(self, given: Mapping[str, Any]) -> None:
        """Refuse values as the notebook itself would, by running its own cell tagged ``check`` on them.

        Parameters
        ----------
        given : mapping
            Parameter names to values; the others keep their defaults.

        Raises
        ------
        UsageError
            In the words of the notebook.
        """
        namespace: dict[str, Any] = {"__name__": "__main__"}
        cells = _read(self.path)
        try:
            with contextlib.chdir(self.path.parent):
                exec(
                    compile(_tagged(cells, "parameters"), f"{self.name}, cell 'parameters'", "exec"),
                    namespace,
                )
                namespace.update(given)
                exec(compile(_tagged(cells, "check"), f"{self.name}, cell 'check'", "exec"), namespace)
            for parameter in self.parameters:
                if parameter.name in given and parameter.type in _TYPES:
                    check_parameters(given, **{parameter.name: _TYPES[parameter.type]})
        except ValueError as error:
            raise UsageError(f"{self.name}: {error}") from error
        except Exception as error:
            raise UsageError(f"{self.name}: {type(error).__name__}: {error}") from error


def collection_folder() -> Path:
    """Find the folder of notebooks: where SWAPLIB_NOTEBOOKS says, else beside the package.

    Returns
    -------
    Path
        An existing folder.

    Raises
    ------
    FileNotFoundError
        If there is none.
    """
    beside = Path(__file__).resolve().parent.parent / "notebooks"
    said = os.environ.get("SWAPLIB_NOTEBOOKS")
    folder = Path(said).resolve() if said else beside
    if folder.is_dir():
        return folder
    if said:
        raise FileNotFoundError(
            f"SWAPLIB_NOTEBOOKS is {said!r}, which is not a folder; expected one with notebooks"
        )
    raise FileNotFoundError(
        "no folder 'notebooks' beside the package; run from a clone of the repository, "
        "or set SWAPLIB_NOTEBOOKS to a folder with notebooks"
    )


def collection(folder: Path | None = None) -> list[Notebook]:
    """List the notebooks of a folder, in the order of their names.

    Parameters
    ----------
    folder : Path, optional
        The collection's own folder without it. Notebooks in folders below it are not listed, see `explorers`.

    Returns
    -------
    list of Notebook

    Raises
    ------
    UsageError
        If a file is no notebook.
    FileNotFoundError
        If there is no folder of notebooks.
    """
    return _describe_all(folder or collection_folder())


def explorers(folder: Path | None = None) -> list[Notebook]:
    """List the notebooks for exploring as `collection` lists the others: they stand in its folder ``explore``.

    Their widgets answer while a kernel runs, so no report shows them.
    """
    return _describe_all((folder or collection_folder()) / "explore")


def select(names: Iterable[str], notebooks: Sequence[Notebook]) -> list[Notebook]:
    """Pick notebooks by name or by the start of it; none named means all.

    Parameters
    ----------
    names : iterable of str
        As ``01_patch_tables``, ``01``, or the path of the file.
    notebooks : sequence of Notebook
        To pick from.

    Returns
    -------
    list of Notebook
        Each once, in the order of the collection.

    Raises
    ------
    UsageError
        If a name fits none or several.
    """
    chosen = set()
    for name in names:
        stem = Path(name).name.removesuffix(".ipynb")
        fits = [n.name for n in notebooks if n.name == stem] or [
            n.name for n in notebooks if n.name.startswith(stem)
        ]
        if len(fits) > 1:
            raise UsageError(f"notebook {name!r} could be {' or '.join(fits)}; give more of the name")
        if not fits:
            known = [n.name for n in notebooks]
            raise UsageError(f"there is no notebook {name!r}; {_suggest(stem, known)}")
        chosen.add(fits[0])
    return [n for n in notebooks if n.name in chosen or not chosen]


def assign(
    notebooks: Sequence[Notebook], texts: Mapping[str, str], values: Mapping[str, Any] | None = None
) -> dict[str, dict[str, Any]]:
    """Give parameters to the notebooks that declare them, and let each check its own.

    Parameters
    ----------
    notebooks : sequence of Notebook
        The ones that will run.
    texts : mapping
        Parameter names to texts, read by the type that the notebook declares.
    values : mapping, optional
        Parameter names to values that already have a type; a text of the same name wins.

    Returns
    -------
    dict
        For every notebook's name, the parameters it is given.

    Raises
    ------
    UsageError
        If no notebook declares a parameter, or a notebook refuses its value.
    """
    given: dict[str, dict[str, Any]] = {notebook.name: {} for notebook in notebooks}
    names = list(dict.fromkeys([*(values or {}), *texts]))
    declared = {parameter.name for notebook in notebooks for parameter in notebook.parameters}
    for name in names:
        if name not in declared:
            where = notebooks[0].name if len(notebooks) == 1 else "these notebooks"
            raise UsageError(f"there is no parameter {name!r} in {where}; {_suggest(name, sorted(declared))}")
    for notebook in notebooks:
        for parameter in notebook.parameters:
            if parameter.name in texts:
                given[notebook.name][parameter.name] = _from_text(texts[parameter.name], parameter.type)
            elif values and parameter.name in values:
                given[notebook.name][parameter.name] = values[parameter.name]
    problems = []
    for notebook in notebooks:
        if given[notebook.name]:
            try:
                notebook.check(given[notebook.name])
            except UsageError as error:
                problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return given


def _describe_all(folder: Path) -> list[Notebook]:
    return [_describe(path) for path in sorted(folder.glob("*.ipynb")) if not path.name.startswith(".")]


def _describe(path: Path) -> Notebook:
    """Read what a notebook's file says of itself."""
    cells = _read(path)
    first = _source(cells[0]) if cells and cells[0]["cell_type"] == "markdown" else ""
    heading, _, rest = first.strip().partition("\n")
    match = re.fullmatch(r"#\s+(?:\d+\s*·\s*)?(.+)", heading)
    paragraph = rest.strip().split("\n\n")[0]
    asked, mark, _ = paragraph.rpartition("?")
    question = asked + mark or paragraph
    title = match[1].strip() if match else path.stem
    return Notebook(
        path.stem, path, title, _plain(question), _parameters(_tagged(cells, "parameters"), path.name)
    )


def _parameters(source: str, name: str) -> tuple[Parameter, ...]:
    """Read ``name: type = default  # help`` lines, as papermill does, without the seconds that importing it takes."""
    try:
        tokens = list(tokenize.generate_tokens(io.StringIO(source).readline))
        body = ast.parse(source).body
    except (SyntaxError, tokenize.TokenError) as error:
        raise UsageError(f"{name}: its cell tagged 'parameters' is not Python: {error}") from error
    comments = {
        token.start[0]: token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT
    }
    found: list[tuple[ast.expr, str, ast.expr, str]] = []
    for line in body:
        about = comments.get(line.end_lineno or 0, "")
        if isinstance(line, ast.AnnAssign) and line.value:
            found.append((line.target, ast.unparse(line.annotation), line.value, about))
        elif isinstance(line, ast.Assign) and len(line.targets) == 1:
            found.append((line.targets[0], "", line.value, about))
    return tuple(
        Parameter(target.id, kind, ast.get_source_segment(source, value) or "", about)
        for target, kind, value, about in found
        if isinstance(target, ast.Name)
    )


def _read(path: Path) -> list[dict[str, Any]]:
    """Read a notebook's cells; JSON alone, because importing nbformat takes longer than `list` should."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        if all(cell["cell_type"] and isinstance(_source(cell), str) for cell in cells):
            return list(cells)
    except (ValueError, KeyError, TypeError):
        pass
    raise UsageError(f"{path.name} is not a notebook of format 4; expected a file that Jupyter wrote")


def _source(cell: Mapping[str, Any]) -> str:
    """Join a cell's source, which files hold as one text or as lines."""
    return "".join(cell["source"])


def _tagged(cells: Iterable[Mapping[str, Any]], tag: str) -> str:
    """Return the source of the first cell with a tag, empty if there is none."""
    return next((_source(cell) for cell in cells if tag in cell["metadata"].get("tags", [])), "")


def _plain(markdown: str) -> str:
    """Turn a paragraph of Markdown into plain text on one line."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", markdown)
    return " ".join(re.sub(r"[*`]", "", text).split())


def _from_text(text: str, type_name: str) -> Any:
    """Read a value from a command line; what does not fit stays text, for the notebook's own check to refuse."""
    if type_name == "str":
        return text
    if type_name == "bool":
        return {"true": True, "false": False}.get(text.strip().lower(), text)
    try:
        if type_name in ("int", "float"):
            return _TYPES[type_name](text)
        import yaml

        return yaml.safe_load(text)
    except Exception:
        return text


def _suggest(word: str, known: Sequence[str]) -> str:
    """Say what was probably meant, else what there is."""
    close = difflib.get_close_matches(word, known, n=3, cutoff=0.6)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"expected one of {', '.join(known)}" if known else "there are none"
