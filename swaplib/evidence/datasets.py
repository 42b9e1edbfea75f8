"""The tables of data/, loaded by name."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

import pandas as pd

from swaplib.evidence.schema import DataFile, read_schema
from swaplib.evidence.tables import read_table

__all__ = ["data_folder", "datasets", "load"]

SCHEMA = "schema.toml"


def load(name: str, *, printed: bool = False) -> pd.DataFrame:
    """Load a table of data/ by its name.

    Parameters
    ----------
    name : str
        Folder and file without ending, as in "mail/camera_cold_start"; `datasets` lists them.
    printed : bool
        True leaves every cell as text, so that a number keeps the decimals it was printed with: what
        `swaplib.reproduce` needs to know how exactly it must be met.

    Returns
    -------
    DataFrame
        The file as it stands, never corrected. data/README.md says what each column means; text is ``str``, integers
        ``int64``, numbers ``float64``, and integers that may be missing ``float64`` with NaN.

    Raises
    ------
    ValueError
        If there is no such table, or its file is malformed; the message names row and column.
    FileNotFoundError
        If data/ or the file is missing.
    """
    folder = data_folder()
    schema = _schema(folder)
    entry = schema.get(name) if isinstance(name, str) else None
    if entry is None:
        raise ValueError(
            f"there is no dataset {name!r}{_suggestion(name, schema)}; swaplib.datasets() lists them all"
        )
    return read_table(folder / f"{entry.name}.csv", entry.columns, printed=printed)


def datasets() -> pd.DataFrame:
    """List the tables of data/.

    Returns
    -------
    DataFrame
        One row per table: name (what `load` takes), rows, columns (how many), what (one sentence), source.

    Raises
    ------
    ValueError
        If a file is malformed.
    FileNotFoundError
        If data/ or a file is missing.
    """
    folder = data_folder()
    listed = [
        {
            "name": entry.name,
            "rows": len(read_table(folder / f"{entry.name}.csv", entry.columns, printed=True)),
            "columns": len(entry.columns),
            "what": entry.what,
            "source": entry.source,
        }
        for entry in _schema(folder).values()
    ]
    return pd.DataFrame(listed, columns=["name", "rows", "columns", "what", "source"])


def data_folder() -> Path:
    """Find data/: beside the package, else where the environment variable SWAPLIB_DATA says.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    FileNotFoundError
        If neither place has one.
    """
    beside = Path(__file__).resolve().parents[2] / "data"
    if (beside / SCHEMA).is_file():
        return beside
    given = os.environ.get("SWAPLIB_DATA", "")
    if given and (Path(given) / SCHEMA).is_file():
        return Path(given)
    found = f"SWAPLIB_DATA is {given!r}, which has no {SCHEMA}" if given else "SWAPLIB_DATA is not set"
    raise FileNotFoundError(
        f"there is no data/ beside the package and {found}; expected SWAPLIB_DATA to be the path of the data/ folder "
        "of a clone"
    )


@lru_cache(maxsize=4)
def _schema(folder: Path) -> Mapping[str, DataFile]:
    return read_schema(folder / SCHEMA)


def _suggestion(name: object, schema: Mapping[str, DataFile]) -> str:
    """Name the tables that may have been meant, by whole name or by the part behind the folder."""
    text = str(name).removesuffix(".csv")
    close = difflib.get_close_matches(text, schema, n=3, cutoff=0.7)
    short = {known.split("/")[1]: known for known in schema}
    tail = text.rsplit("/", 1)[-1]
    close += [short[match] for match in difflib.get_close_matches(tail, short, n=3, cutoff=0.7)]
    near = list(dict.fromkeys(close))[:3]
    return f"; did you mean {' or '.join(repr(match) for match in near)}?" if near else ""
