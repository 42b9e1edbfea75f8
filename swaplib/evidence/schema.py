"""What stands in data/: the files, their sources, and what every column means."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

__all__ = ["TYPES", "Column", "DataFile", "as_markdown", "read_schema"]

TYPES = ("text", "integer", "number")
"""What a column may hold."""

_NAME = re.compile(r"[a-z]+/[a-z0-9][a-z0-9_.]*")


@dataclass(frozen=True)
class Column:
    """One column, with the same meaning in every file.

    Attributes
    ----------
    name : str
        Its heading.
    type : str
        text, integer or number.
    unit : str
        Its unit; empty where there is none.
    meaning : str
        What it holds.
    empty : str
        What an empty cell means; without it no cell may be empty.
    """

    name: str
    type: str
    meaning: str
    unit: str = ""
    empty: str = ""

    def __post_init__(self) -> None:
        if self.type not in TYPES:
            raise ValueError(
                f"column {self.name!r} has type {self.type!r}; expected one of {', '.join(TYPES)}"
            )


@dataclass(frozen=True)
class DataFile:
    """One file of data/.

    Attributes
    ----------
    name : str
        Folder and name without ending, as in "mail/camera_cold_start".
    what : str
        What the table holds, in one sentence.
    source : str
        Where its numbers come from: a Message-ID, a commit or an address.
    columns : tuple of Column
        In the file's order.
    """

    name: str
    what: str
    source: str
    columns: tuple[Column, ...]


def read_schema(path: Path) -> Mapping[str, DataFile]:
    """Read data/schema.toml.

    Parameters
    ----------
    path : Path
        The file: a table ``files`` of what, source and column names, and a table ``columns`` of what they mean.

    Returns
    -------
    mapping of str to DataFile
        By name, in the file's order.

    Raises
    ------
    ValueError
        If the file is no TOML, lacks a key, or if a file's name or a column in it is not what it should be.
    """
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8"))
        columns = {name: Column(name, **given) for name, given in raw["columns"].items()}
        files = {}
        for name, given in raw["files"].items():
            if not _NAME.fullmatch(name):
                raise ValueError(f"file {name!r}; expected folder/name in lower case, without ending")
            unknown = [column for column in given["columns"] if column not in columns]
            if unknown:
                raise ValueError(
                    f"file {name!r} has the column {unknown[0]!r}, which [columns] does not describe"
                )
            files[name] = DataFile(
                name, given["what"], given["source"], tuple(columns[column] for column in given["columns"])
            )
    except KeyError as error:
        raise ValueError(f"{path.name}: {error} is missing") from None
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path.name}: {error}") from None
    return MappingProxyType(files)


def as_markdown(schema: Mapping[str, DataFile]) -> str:
    """Write the schema as the two tables of data/README.md.

    Parameters
    ----------
    schema : mapping of str to DataFile
        As `read_schema` gives it.

    Returns
    -------
    str
        A table of the files with sources and columns, and a table of the columns with types, units and meanings.
    """
    lines = ["### Files", "", "| file | what | source | columns |", "|---|---|---|---|"]
    for entry in schema.values():
        names = " ".join(f"`{column.name}`" for column in entry.columns)
        lines.append(f"| `{entry.name}.csv` | {entry.what} | {entry.source} | {names} |")
    lines += [
        "",
        "### Columns",
        "",
        "| column | type | unit | meaning | empty means |",
        "|---|---|---|---|---|",
    ]
    columns = {column.name: column for entry in schema.values() for column in entry.columns}
    for name, column in sorted(columns.items()):
        lines.append(f"| `{name}` | {column.type} | {column.unit} | {column.meaning} | {column.empty} |")
    return "\n".join(lines)
