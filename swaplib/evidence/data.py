"""The tables of data/, loaded by name; data/schema.toml says what every column means."""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from swaplib.evidence.runs import NUMBER, TEXT, WHOLE, CheckedFile
from swaplib.model.checks import one_of

__all__ = ["Column", "DataFile", "as_markdown", "data_folder", "datasets", "load", "read_schema"]

SCHEMA = "schema.toml"
_KINDS = {"text": TEXT, "integer": WHOLE, "number": NUMBER}


@dataclass(frozen=True)
class Column:
    """One column, with the same meaning in every file.

    name: its heading. type: text, integer or number. meaning: what it holds. unit: empty where there is none.
    empty: what an empty cell means; without it no cell may be empty.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    empty: str = ""

    def __post_init__(self) -> None:
        one_of(f"the type of column {self.name!r}", self.type, _KINDS)


@dataclass(frozen=True)
class DataFile:
    """One file of data/.

    name: folder and name without ending, as in "mail/camera_cold_start". what: what the table holds, in a
    sentence. source: a Message-ID, a commit or an address. columns: in the file's order.
    """

    name: str
    what: str
    source: str
    columns: tuple[Column, ...]


def load(name: str, *, printed: bool = False) -> pd.DataFrame:
    """Load a table of data/ by its name.

    Parameters
    ----------
    name
        Folder and file without ending, as in "mail/camera_cold_start"; `datasets` lists them.
    printed
        True leaves every cell as text, so that a number keeps the decimals it was printed with: what
        `swaplib.reproduce` needs to know how exactly it must be met.

    Returns
    -------
    DataFrame
        The file as it stands, never corrected. data/README.md says what each column means; text is ``str``,
        integers ``int64``, numbers ``float64``, and integers that may be missing ``float64`` with NaN.

    Raises
    ------
    FileNotFoundError, ValueError
        There is no such table, data/ or file; or the file is malformed: the message names row and column.
    """
    folder = data_folder()
    schema = read_schema(folder / SCHEMA)
    if name not in schema:
        near = _suggestion(str(name), schema)
        raise ValueError(f"there is no dataset {name!r}{near}; swaplib.datasets() lists them all")
    return read_table(folder / f"{name}.csv", schema[name].columns, printed=printed)


def datasets() -> pd.DataFrame:
    """List the tables of data/.

    Returns
    -------
    DataFrame
        One row a table: name (what `load` takes), rows, columns (how many), what (one sentence), source.

    Raises
    ------
    FileNotFoundError, ValueError
        data/ or a file is missing or malformed.
    """
    files = read_schema(data_folder() / SCHEMA).values()
    told = [(one.name, len(load(one.name)), len(one.columns), one.what, one.source) for one in files]
    return pd.DataFrame(told, columns=["name", "rows", "columns", "what", "source"])


def data_folder() -> Path:
    """Find data/: beside the package, else where the environment variable SWAPLIB_DATA says.

    Raises FileNotFoundError if neither place has one.
    """
    beside = Path(__file__).resolve().parents[2] / "data"
    given = os.environ.get("SWAPLIB_DATA", "")
    for folder in (beside, Path(given)) if given else (beside,):
        if (folder / SCHEMA).is_file():
            return folder
    found = f"SWAPLIB_DATA is {given!r}, which has no {SCHEMA}" if given else "SWAPLIB_DATA is not set"
    expected = "expected SWAPLIB_DATA to be the path of the data/ folder of a clone"
    raise FileNotFoundError(f"there is no data/ beside the package and {found}; {expected}")


@lru_cache(maxsize=4)
def read_schema(path: Path) -> Mapping[str, DataFile]:
    """Read data/schema.toml: tables of files (what, source, column names) and of what columns mean.

    Returns the files by name, in the file's order. Raises ValueError if it is no TOML, lacks a key, or if a
    name is not what it should be.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        columns = {name: Column(name, **given) for name, given in raw["columns"].items()}
        files = {}
        for name, given in raw["files"].items():
            if not re.fullmatch(r"[a-z]+/[a-z0-9][a-z0-9_.]*", name):
                raise ValueError(f"file {name!r}; expected folder/name in lower case, without ending")
            unknown = [column for column in given["columns"] if column not in columns]
            if unknown:
                raise ValueError(f"file {name!r} has the column {unknown[0]!r}, which [columns] lacks")
            described = tuple(columns[column] for column in given["columns"])
            files[name] = DataFile(name, given["what"], given["source"], described)
    except KeyError as error:
        raise ValueError(f"{path.name}: {error} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    return files


def read_table(path: Path, columns: tuple[Column, ...], *, printed: bool = False) -> pd.DataFrame:
    """Read a CSV file that must have exactly these columns, in this order; see `load`."""
    expected = [column.name for column in columns]
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected the columns {', '.join(expected)}")
    file = CheckedFile(path)
    if file.columns != expected:
        wrong = [f"lacks {name!r}" for name in expected if name not in file.columns]
        wrong += [f"has {name!r} too much" for name in file.columns if name not in expected]
        told = f"the heading {(wrong or ['is in another order'])[0]}; expected {', '.join(expected)}"
        raise ValueError(f"{file.name}, row 1: {told}")
    optional = [column.name for column in columns if column.empty]
    frame = file.read({column.name: _KINDS[column.type] for column in columns}, optional)
    return file.read(dict.fromkeys(expected, TEXT), optional) if printed else frame


def as_markdown(schema: Mapping[str, DataFile]) -> str:
    """Write a schema as the two tables of data/README.md: the files, and what their columns mean."""
    lines = ["### Files", "", "| file | what | source | columns |", "|---|---|---|---|"]
    for entry in schema.values():
        names = " ".join(f"`{column.name}`" for column in entry.columns)
        lines.append(f"| `{entry.name}.csv` | {entry.what} | {entry.source} | {names} |")
    lines += ["", "### Columns", "", "| column | type | unit | meaning | empty means |"]
    lines.append("|---|---|---|---|---|")
    columns = {column.name: column for entry in schema.values() for column in entry.columns}
    for name, column in sorted(columns.items()):
        lines.append(f"| `{name}` | {column.type} | {column.unit} | {column.meaning} | {column.empty} |")
    return "\n".join(lines)


def _suggestion(name: str, schema: Mapping[str, DataFile]) -> str:
    """Name the tables that may have been meant, by whole name or by the part behind the folder."""
    text = name.removesuffix(".csv")
    near = difflib.get_close_matches(text, schema, n=3, cutoff=0.7)
    short = {known.split("/")[1]: known for known in schema}
    near += [short[match] for match in difflib.get_close_matches(text.rsplit("/", 1)[-1], short, cutoff=0.7)]
    told = " or ".join(repr(match) for match in list(dict.fromkeys(near))[:3])
    return f"; did you mean {told}?" if told else ""
