"""The tables of data/, loaded by name; data/schema.toml says what every column means."""

from __future__ import annotations

import difflib
import os
import tomllib
from functools import lru_cache
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.evidence.csv_file import NUMBER, TEXT, WHOLE, CheckedFile

_KINDS = {"text": TEXT, "integer": WHOLE, "number": NUMBER}


def load(name: str, *, printed: bool = False) -> pd.DataFrame:
    """Load a table of data/ by its name.

    Parameters
    ----------
    name, printed
        Folder and file without ending, as in "mail/camera_cold_start"; `datasets` lists them. `printed`
        leaves every cell as text, with the decimals it was printed with, as `swaplib.reproduce` needs.

    Returns
    -------
    DataFrame
        The file as it stands; data/README.md says what its columns mean. Text is ``str``, integers ``int64``,
        numbers and integers that may be missing ``float64``. A name that is none, or a malformed file, is a
        ValueError with its row and column.
    """
    files, columns = (read_schema(data_folder())[part] for part in ("files", "columns"))
    if name not in files:
        near = difflib.get_close_matches(str(name), files, cutoff=0.6)
        told = f"; did you mean {' or '.join(map(repr, near))}?" if near else ""
        raise ValueError(f"there is no dataset {name!r}{told}; swaplib.datasets() lists them all")
    expected = files[name]["columns"]
    file = CheckedFile(data_folder() / f"{name}.csv")
    if file.columns != expected:
        told = f"the heading is {', '.join(file.columns)}; expected {', '.join(expected)}"
        raise ValueError(f"{file.name}, row 1: {told}")
    may_be_empty = [column for column in expected if columns[column].get("empty")]
    frame = file.read({column: _KINDS[columns[column]["type"]] for column in expected}, may_be_empty)
    return file.read(dict.fromkeys(expected, TEXT), may_be_empty) if printed else frame


def datasets() -> pd.DataFrame:
    """List the tables of data/: name (what `load` takes), rows, columns (how many), what, source."""
    files = read_schema(data_folder())["files"].items()
    told = [(name, len(load(name)), len(one["columns"]), one["what"], one["source"]) for name, one in files]
    return pd.DataFrame(told, columns=["name", "rows", "columns", "what", "source"])


def data_folder() -> Path:
    """Find data/, beside the package or where SWAPLIB_DATA says; else a FileNotFoundError."""
    beside, given = Path(__file__).resolve().parents[2] / "data", os.environ.get("SWAPLIB_DATA", "")
    for folder in (beside, Path(given)) if given else (beside,):
        if (folder / "schema.toml").is_file():
            return folder
    found = f"SWAPLIB_DATA is {given!r}, which has no schema.toml" if given else "SWAPLIB_DATA is not set"
    expected = "expected SWAPLIB_DATA to be the path of the data/ folder of a clone"
    raise FileNotFoundError(f"there is no data/ beside the package and {found}; {expected}")


@lru_cache(maxsize=4)
def read_schema(folder: Path) -> dict[str, Any]:
    """Read schema.toml: files (what, source, their columns) and columns (type, unit, meaning, empty)."""
    return tomllib.loads((folder / "schema.toml").read_text(encoding="utf-8"))
