"""A user's own CSV file: its cells by row and column, checked, and what was assumed of it."""

from __future__ import annotations

import csv
import io
import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from swaplib.model.checks import printable

NUMBER, WHOLE, TEXT = "a number", "a whole number", "text"
_MOST_BYTES = 25_000_000  # some seconds, and a GiB of memory
_REMARK = re.compile(r"#(?![,;\t])|(?i:sep=)")  # Excel's; a column may have the name #


class CheckedFile:
    """A local CSV (UTF-8; comma, semicolon or tab): name, cells by row, and notes of what was assumed."""

    def __init__(self, path: str | Path) -> None:
        self.name, text = text_of(path)
        heading = next((line for line in text.splitlines() if line.strip() and not _REMARK.match(line)), "")
        self._mark = max(",;\t", key=heading.count)
        self.notes = [] if self._mark == "," else [f"{self.name}: took {self._mark!r} as separator"]
        csv.field_size_limit(_MOST_BYTES)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self._mark, strict=True)
        try:
            rows = [(reader.line_num, cells) for cells in reader if "".join(cells).strip()]
        except csv.Error as error:
            self.refuse(reader.line_num, str(error), "comma-separated text")
        is_kept = [(len(cells) > 1 and cells[0] == "#") or not _REMARK.match(cells[0]) for _, cells in rows]
        kept = [(line, list(map(str.strip, cells))) for line, cells in itertools.compress(rows, is_kept)]
        if len(kept) < len(rows):
            passed = f"passed over {len(rows) - len(kept)} lines with # or sep= in front"
            self.notes.append(f"{self.name}: {passed}")
        if len(kept) < 2:
            raise ValueError(f"{self.name} has a heading and no rows; expected one row per run")
        heads = [" ".join(cell.split()) for cell in kept[0][1]]  # a line break in a cell is a space
        names = pd.Series([cell or f"column {place}" for place, cell in enumerate(heads, 1)])
        for name in names[names.duplicated()]:
            self.refuse(kept[0][0], f"column {name!a} appears twice", "it once")
        for line, cells in kept:
            if len(cells) != len(names):
                self.refuse(line, f"{len(cells)} cells", str(len(names)))
        lines = [line for line, _ in kept[1:]]
        self.cells = pd.DataFrame([cells for _, cells in kept[1:]], lines, names.tolist(), dtype="str")

    @property
    def columns(self) -> list[str]:
        """Return the heading."""
        return self.cells.columns.tolist()

    def read(self, kinds: Mapping[str, str], may_be_empty: Collection[str] = ()) -> pd.DataFrame:
        """Return columns: `NUMBER` as float64, `WHOLE` as int64 (float64 if it may be empty), `TEXT` as str.

        Raises ValueError at the first cell that is not what its column holds, with its row and column.
        """
        frame = self.cells[list(kinds)]
        mark = self._decimal_mark([frame[name] for name in kinds if kinds[name] == NUMBER])
        number = rf"[+-]?(\d+[{mark}]?\d*|[{mark}]\d+)([eE][+-]?[0-2]?\d{{1,2}})?"
        patterns = {NUMBER: number, WHOLE: r"[+-]?\d{1,18}", TEXT: r"(?s:.+)"}
        for name, kind in kinds.items():
            cells, optional = frame[name], name in may_be_empty
            wrong = ~cells.str.fullmatch(patterns[kind], flags=re.A) & ~(optional & (cells == ""))
            for row, cell in cells[wrong][:1].items():
                told = f"column {name!r} is {ascii(cell[:60]) if cell else 'empty'}"
                comma = f" with the decimal mark {mark!r}" if re.search(r"\d[.,]", cell) else ""
                self.refuse(row, told, kind + comma)
            if kind != TEXT:
                numbers = cells.str.replace(mark, ".").mask(cells == "", "nan")
                frame[name] = numbers.astype("int64" if kind == WHOLE and not optional else "float64")
        return frame.reset_index(drop=True).copy()

    def row(self, position: int) -> int:
        """Return the row of the file, as an editor counts lines, of what `read` gave at a position."""
        return int(self.cells.index[position])

    def refuse(self, row: Any, told: str, expected: str) -> NoReturn:
        """Raise a ValueError that names file and row."""
        raise ValueError(f"{self.name}, row {row}: {told}; expected {expected}")

    def _decimal_mark(self, numbers: Sequence[pd.Series]) -> str:
        """Return what the numbers have as decimal mark; refuse what may be thousands as well."""
        if self._mark == "," or not numbers:
            return "."
        cells = pd.concat(numbers)
        marked, whole = cells[cells.str.contains("[.,]")], cells[cells.str.fullmatch(r"[+-]?\d{3}")]
        may_be_thousands = len(marked) and marked.str.fullmatch(r"[+-]?[1-9]\d{0,2}([.,]\d{3})+").all()
        if may_be_thousands and len(whole):
            told = f"{marked.iloc[0]!a} beside {whole.iloc[0]} may be thousands or decimals"
            self.refuse(marked.index[0], told, "numbers without marks between thousands")
        mark = "," if marked.str.fullmatch(r"[+-]?\d+,\d+").any() else "."
        note = f"{self.name}: took {mark!r} as decimal mark, so that 1{mark}234 is a little more than one"
        if (may_be_thousands or mark == ",") and note not in self.notes:
            self.notes.append(note)
        return mark


def text_of(path: str | Path) -> tuple[str, str]:
    """Return name and text of a local regular file, or say why it cannot be had."""
    shown, path = printable(str(path))[:200], Path(path)
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", shown):
        raise ValueError(f"{shown!a} is an address; expected a local file: download it first")
    try:
        if path.exists() and not path.is_file():
            raise ValueError(f"{shown} is a folder, device, pipe or socket; expected a CSV file")
        if path.stat().st_size > _MOST_BYTES:
            raise ValueError(f"{shown} is {path.stat().st_size:,} bytes; expected at most {_MOST_BYTES:,}")
        data = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"{shown} does not exist; expected a CSV file") from None
    except OSError as error:
        raise ValueError(f"{shown} cannot be read: {error.strerror}; expected a CSV file") from None
    name, text = printable(path.name), data.decode("utf-8-sig", "replace")
    for wrong in re.finditer("[\0\ufffd]", text):
        where = f"{name}, row {text.count(chr(10), 0, wrong.start()) + 1}"
        raise ValueError(f"{where}: this is not UTF-8 text; expected CSV saved as UTF-8, or JSON")
    if not text.strip():
        raise ValueError(f"{name} is empty; expected a heading and one row per run")
    return name, text


def few(names: Sequence[object]) -> str:
    """Return names for a message, the first eight, each shortened."""
    shown = ", ".join(ascii(str(name)[:40]) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
