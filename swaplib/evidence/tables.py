"""Reading one CSV file strictly: the columns it must have, of the types they must have."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from swaplib.evidence.schema import Column

__all__ = ["read_table"]

_NUMBER = {
    "integer": re.compile(r"[+-]?\d{1,18}", re.ASCII),
    "number": re.compile(r"[+-]?\d+(\.\d+)?([eE][+-]?\d{1,2})?", re.ASCII),
}


def read_table(path: Path, columns: Sequence[Column], *, printed: bool = False) -> pd.DataFrame:
    """Read a CSV file that must have exactly these columns, in this order.

    Parameters
    ----------
    path : Path
        A regular file: UTF-8, commas, a heading.
    columns : sequence of Column
        What the file must hold.
    printed : bool
        True leaves every cell as text, so that a number keeps its printed decimals ("0.30").

    Returns
    -------
    DataFrame
        One row per line. text columns are ``str``, integer columns ``int64``, number columns ``float64``; integer
        columns that may be empty are ``float64`` with NaN. With `printed` all are ``str`` and an empty cell is "".

    Raises
    ------
    FileNotFoundError
        If there is no such regular file.
    ValueError
        If the file is malformed; the message names the row, where the heading is row 1, and the column.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing; expected a CSV file with the columns {_listed(columns)}")
    rows = _read_rows(path, columns)
    data: dict[str, pd.Series] = {}
    for place, column in enumerate(columns):
        cells = [row[place] for row in rows]
        _check(path.name, column, cells)
        data[column.name] = pd.Series(cells, dtype="str") if printed else _converted(column, cells)
    return pd.DataFrame(data)


def _read_rows(path: Path, columns: Sequence[Column]) -> list[list[str]]:
    """Read all rows below a heading that is as it should be."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            lines = list(csv.reader(file, strict=True))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path.name}: byte {error.start} is not UTF-8; expected UTF-8 text") from None
    except csv.Error as error:
        raise ValueError(f"{path.name}: {error}; expected comma-separated text") from None
    if not lines:
        raise ValueError(f"{path.name} is empty; expected a heading with the columns {_listed(columns)}")
    heading, *rows = lines
    expected = [column.name for column in columns]
    if heading != expected:
        missing = [name for name in expected if name not in heading]
        extra = [name for name in heading if name not in expected]
        wrong = (
            f"lacks {missing[0]!r}"
            if missing
            else f"has {extra[0]!r} too much"
            if extra
            else "is in another order"
        )
        raise ValueError(f"{path.name}, row 1: the heading {wrong}; expected {_listed(columns)}")
    if not rows:
        raise ValueError(f"{path.name} has a heading and no rows; expected one row per observation")
    for number, row in enumerate(rows, start=2):
        if len(row) != len(expected):
            raise ValueError(f"{path.name}, row {number}: {len(row)} cells; expected {len(expected)}")
    return rows


def _check(file: str, column: Column, cells: Sequence[str]) -> None:
    """Refuse the first cell that is not what its column holds."""
    pattern = _NUMBER.get(column.type)
    for number, cell in enumerate(cells, start=2):
        if cell == "":
            if not column.empty:
                raise ValueError(
                    f"{file}, row {number}: column {column.name!r} is empty; expected {_wanted(column)}"
                )
        elif pattern is not None and not pattern.fullmatch(cell):
            raise ValueError(
                f"{file}, row {number}: column {column.name!r} is {cell!r}; expected {_wanted(column)}"
            )


def _converted(column: Column, cells: Sequence[str]) -> pd.Series:
    """Give checked cells their type."""
    if column.type == "text":
        return pd.Series(cells, dtype="str")
    if column.type == "integer" and not column.empty:
        return pd.Series([int(cell) for cell in cells], dtype="int64")
    return pd.Series([float(cell or "nan") for cell in cells], dtype="float64")


def _wanted(column: Column) -> str:
    """Say what a cell of the column should be."""
    kind = {"text": "text", "integer": "a whole number", "number": "a number"}[column.type]
    return f"{kind} ({column.unit})" if column.unit else kind


def _listed(columns: Sequence[Column]) -> str:
    return ", ".join(column.name for column in columns)
