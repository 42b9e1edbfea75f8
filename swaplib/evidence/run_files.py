"""Opening a user's file of runs: a local, regular CSV or parquet file, as columns whose every cell has been checked."""

from __future__ import annotations

import csv
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from swaplib.model.checks import printable

__all__ = ["NUMBER", "TEXT", "WHOLE", "RunFile", "open_runs"]

NUMBER, WHOLE, TEXT = "a number", "a whole number", "text"
_PATTERN = {
    NUMBER: re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d{1,3})?", re.ASCII),
    WHOLE: re.compile(r"[+-]?\d{1,18}", re.ASCII),
}
_HEAD_BYTES = 65536


@dataclass(frozen=True)
class RunFile:
    """A file of runs that was looked at, and not yet read.

    Attributes
    ----------
    path : Path
        Where it is.
    columns : tuple of str
        Its heading, without blanks around the names.
    delimiter : str
        What separates its cells; empty for parquet.
    decimal : str
        The decimal mark of its numbers.
    notes : tuple of str
        What had to be assumed to read it.
    """

    path: Path
    columns: tuple[str, ...]
    delimiter: str = ""
    decimal: str = "."
    notes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """What messages call it: its name, control characters escaped."""
        return printable(self.path.name)

    def read(self, kinds: Mapping[str, str], *, may_be_empty: bool = False) -> dict[str, Any]:
        """Read some columns, refusing the first cell that is not what its column holds.

        Parameters
        ----------
        kinds : mapping of str to str
            Columns, and what each holds: `NUMBER`, `WHOLE` or `TEXT`.
        may_be_empty : bool
            Whether cells of numbers may be empty; they become NaN.

        Returns
        -------
        dict of str to pyarrow.ChunkedArray
            float64, int64 or dictionary-encoded text.

        Raises
        ------
        ValueError
            Naming row (as an editor counts lines, the heading is row 1; in parquet the first row is 1) and column.
        """
        table = self._parquet(kinds) if not self.delimiter else self._csv(kinds, may_be_empty=may_be_empty)
        if not len(table):
            raise ValueError(f"{self.name} has a heading and no rows; expected one row per run")
        for name, kind in kinds.items():
            column = table[name]
            empty_is_wrong = column.null_count and not (may_be_empty and kind == NUMBER)
            if empty_is_wrong or (kind == NUMBER and not _all_finite(column)):
                self._refuse(kinds, table, may_be_empty=may_be_empty)
        return {name: table[name] for name in kinds}

    def row(self, position: int) -> int:
        """Return the row of the file that holds the run at a position counted from 0."""
        if not self.delimiter:
            return position + 1
        return next(line for found, (line, _) in enumerate(self._rows()) if found == position)

    def _csv(self, kinds: Mapping[str, str], *, may_be_empty: bool) -> Any:
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        types = {NUMBER: pa.float64(), WHOLE: pa.int64(), TEXT: pa.dictionary(pa.int32(), pa.string())}
        try:
            return arrow_csv.read_csv(
                self.path,
                read_options=arrow_csv.ReadOptions(
                    column_names=[
                        f"{place}" if name not in kinds else name for place, name in enumerate(self.columns)
                    ],
                    skip_rows=1,
                    block_size=1 << 22,
                ),
                parse_options=arrow_csv.ParseOptions(delimiter=self.delimiter),
                convert_options=arrow_csv.ConvertOptions(
                    column_types={name: types[kind] for name, kind in kinds.items()},
                    include_columns=list(kinds),
                    null_values=[""],
                    strings_can_be_null=True,
                    decimal_point=self.decimal,
                ),
            )
        except (pa.ArrowInvalid, pa.ArrowKeyError) as error:
            self._refuse_csv(kinds, may_be_empty=may_be_empty)
            raise ValueError(f"{self.name}: {_first_line(error)}; expected comma-separated text") from None

    def _parquet(self, kinds: Mapping[str, str]) -> Any:
        import pyarrow as pa
        from pyarrow import parquet

        try:
            table = parquet.read_table(self.path, columns=list(kinds), memory_map=False, partitioning=None)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
            raise ValueError(f"{self.name}: {_first_line(error)}; expected a parquet file") from None
        fits = {
            NUMBER: lambda t: pa.types.is_floating(t) or pa.types.is_integer(t),
            WHOLE: pa.types.is_integer,
        }
        columns = {}
        for name, kind in kinds.items():
            column = table[name]
            if pa.types.is_dictionary(column.type):
                column = column.cast(column.type.value_type)
            if kind == TEXT and (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
                columns[name] = column.cast(pa.string()).dictionary_encode()
            elif kind != TEXT and fits[kind](column.type):
                columns[name] = column.cast(pa.float64() if kind == NUMBER else pa.int64(), safe=False)
            else:
                raise ValueError(
                    f"{self.name}: column {name!r} holds {column.type}; expected {kind} in every row"
                )
        return pa.table(columns)

    def _refuse(self, kinds: Mapping[str, str], table: Any, *, may_be_empty: bool) -> None:
        """Say which cell is empty or not finite."""
        if self.delimiter:
            self._refuse_csv(kinds, may_be_empty=may_be_empty)
        for name, kind in kinds.items():
            cells = table[name].to_pandas()
            wrong = cells.isna() if kind != NUMBER else ~np.isfinite(cells)
            if wrong.any():
                position = int(wrong.to_numpy().argmax())
                raise ValueError(
                    f"{self.name}, row {self.row(position)}: column {name!r} is {cells.iloc[position]!s}; "
                    f"expected {kind}"
                )

    def _refuse_csv(self, kinds: Mapping[str, str], *, may_be_empty: bool) -> None:
        """Walk the file row by row up to the first cell that is wrong, and say so."""
        places = [(self.columns.index(name), name, kind) for name, kind in kinds.items()]
        try:
            for line, row in self._rows():
                where = f"{self.name}, row {line}"
                if len(row) != len(self.columns):
                    raise ValueError(f"{where}: {_counted(len(row), 'cell')}; expected {len(self.columns)}")
                for place, name, kind in places:
                    self._refuse_cell(
                        f"{where}: column {name!r}", row[place].strip(), kind, may_be_empty=may_be_empty
                    )
        except csv.Error as error:
            raise ValueError(f"{self.name}: {error}; expected comma-separated text") from None
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.name}: {_not_utf8(error)}") from None

    def _refuse_cell(self, where: str, cell: str, kind: str, *, may_be_empty: bool) -> None:
        if cell == "":
            if not (may_be_empty and kind == NUMBER):
                raise ValueError(f"{where} is empty; expected {kind}")
            return
        if kind == TEXT:
            return
        plain = cell.replace(self.decimal, ".") if "." not in cell or self.decimal == "." else "?"
        fine = _PATTERN[kind].fullmatch(plain) is not None
        if not fine or not np.isfinite(float(plain)):
            mark = (
                f" with the decimal mark {self.decimal!r}"
                if kind == NUMBER and re.search(r"\d[.,]", cell)
                else ""
            )
            raise ValueError(f"{where} is {_short(cell)}; expected {kind}{mark}")

    def _rows(self) -> Iterator[tuple[int, list[str]]]:
        """Yield line number and cells of every row below the heading that is not blank."""
        with self.path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.reader(file, delimiter=self.delimiter, strict=True)
            next(reader)
            for row in reader:
                if row:
                    yield reader.line_num, row


def open_runs(path: str | Path) -> RunFile:
    """Look at a file: what it is, its columns, its delimiter and decimal mark.

    Parameters
    ----------
    path : str or Path
        A local, regular file: CSV in UTF-8 (comma, semicolon or tab), or parquet, told by what it holds.

    Returns
    -------
    RunFile
        To be read by column.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it is no regular file, empty, or neither CSV nor parquet.
    """
    path = _regular(path)
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    if not head.removeprefix(b"\xef\xbb\xbf").strip():
        raise ValueError(f"{printable(path.name)} is empty; expected a heading and one row per run")
    if head[:4] == b"PAR1":
        return RunFile(path, _parquet_columns(path))
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise ValueError(f"{printable(path.name)} is UTF-16; expected CSV in UTF-8")
    if head[:2] in (b"PK", b"\x1f\x8b") or b"\0" in head:
        raise ValueError(f"{printable(path.name)} is a binary file; expected CSV in UTF-8, or parquet")
    return _csv_file(path)


def _regular(path: str | Path) -> Path:
    """Refuse what is no local regular file, before it is opened."""
    text = str(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]*:/", text) and not re.match(r"[A-Za-z]:/", text):
        raise ValueError(f"{_short(text)} is an address; expected a local file: download it first")
    if "\0" in text or not text:
        raise ValueError(f"{_short(text)} is no path; expected a CSV or parquet file")
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{printable(str(path))} does not exist; expected a CSV or parquet file"
        ) from None
    except OSError as error:
        raise ValueError(f"{_short(text)} cannot be opened: {error.strerror}") from None
    if not stat.S_ISREG(mode):
        kind = "a folder" if stat.S_ISDIR(mode) else "a device, pipe or socket"
        raise ValueError(f"{printable(str(path))} is {kind}; expected a CSV or parquet file")
    return path


def _csv_file(path: Path) -> RunFile:
    """Read the heading and the first rows of a CSV file, and settle delimiter and decimal mark."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline(_HEAD_BYTES)
            if not first.strip():
                raise ValueError(
                    f"{printable(path.name)}, row 1: the heading is blank; expected the names of the columns"
                )
            delimiter = max(",;\t", key=first.count)
            notes = []
            if delimiter != ",":
                notes.append(
                    f"{printable(path.name)}: took {'semicolons' if delimiter == ';' else 'tabs'} as separators"
                )
            decimal = "."
            if delimiter != ",":
                sample = [
                    cell.strip()
                    for row in islice(csv.reader(file, delimiter=delimiter), 1000)
                    for cell in row
                ]
                if any(re.fullmatch(r"[+-]?\d+,\d+([eE][+-]?\d+)?", cell) for cell in sample):
                    decimal = ","
                    notes.append(
                        f"{printable(path.name)}: took decimal commas, so that 1,234 is a little more than one"
                    )
    except UnicodeDecodeError as error:
        raise ValueError(f"{printable(path.name)}: {_not_utf8(error)}") from None
    except csv.Error as error:
        raise ValueError(f"{printable(path.name)}: {error}; expected comma-separated text") from None
    (heading,) = csv.reader([first], delimiter=delimiter)
    return _with_columns(RunFile(path, (), delimiter, decimal, tuple(notes)), heading)


def _parquet_columns(path: Path) -> tuple[str, ...]:
    import pyarrow as pa
    from pyarrow import parquet

    try:
        names = parquet.read_schema(path).names
    except (pa.ArrowInvalid, OSError) as error:
        raise ValueError(f"{printable(path.name)}: {_first_line(error)}; expected a parquet file") from None
    return _with_columns(RunFile(path, ()), names).columns


def _with_columns(file: RunFile, heading: list[str]) -> RunFile:
    """Check that the names of a heading are there and differ."""
    names = [name.strip() for name in heading] if file.delimiter else heading
    for place, name in enumerate(names, start=1):
        if not name:
            raise ValueError(f"{file.name}, row 1: column {place} has no name; expected one")
        if names.index(name) != place - 1:
            raise ValueError(f"{file.name}, row 1: column {_short(name)} appears twice; expected it once")
    return replace(file, columns=tuple(names))


def _all_finite(column: Any) -> bool:
    import pyarrow.compute as pc

    return pc.all(pc.is_finite(column)).as_py() is not False


def _first_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _not_utf8(error: UnicodeDecodeError) -> str:
    return f"byte 0x{error.object[error.start]:02x} is not UTF-8; expected UTF-8 text"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _short(text: str) -> str:
    """Quote what a user wrote, control characters escaped, at most 60 characters of it."""
    return ascii(text) if len(text) <= 60 else f"{text[:57]!a}..."
