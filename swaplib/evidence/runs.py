"""A user's own runs, from a CSV or a benchmark's JSON, as the tidy frame that `swaplib.compare` takes."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pandas as pd

from swaplib.model.checks import one_of, printable

__all__ = ["NUMBER", "TEXT", "UNITS", "WHOLE", "CheckedFile", "few", "read_runs"]

NUMBER, WHOLE, TEXT = "a number", "a whole number", "text"
UNITS = {name: name for name in ("ns", "us", "ms", "s", "min", "bytes", "pages", "entries", "fps", "%")}
UNITS |= {"percent": "%", "kib": "KiB", "mib": "MiB", "gib": "GiB", "kb": "kB", "mb": "MB", "gb": "GB"}
UNITS |= {"µs": "us", "μs": "us"}  # both signs that are read as micro
_MOST_BYTES = 100_000_000
_TEXTS = ["arm", "metric", "run", "unit", "better", "kernel", "machine", "swap_device"]
_VALUE = re.compile(r"value(?:_([^\W\d]+|%))?")
_ARM = re.compile(rf"(.+?)(?:[ _]*[ _(\[]({'|'.join(UNITS)})[)\]]?)?", re.I)
_BASES = ["before", "base", "baseline", "old", "control", "reference"]
_OTHER = re.compile(r"(after|new|patched|treatment|treated|candidate|variant)(?![a-z])", re.I)
_NO_ARM = re.compile(r"(order|index|iteration|replication|id|nr|column)\b|.*(delta|diff|ratio|speed)", re.I)
_SHAPES = "the columns arm and value (metric, run, unit, better may be there), or one column for each arm"


class CheckedFile:
    """A local CSV (UTF-8; comma, semicolon or tab) whose every cell is checked.

    name: what messages call it. columns: its heading. notes: what had to be assumed.
    """

    def __init__(self, path: str | Path) -> None:
        self.name, text = _text_of(path)
        heading = next(line for line in text.splitlines() if line.strip() and line[0] != "#")
        self._mark = max(",;\t", key=heading.count)
        self.notes = [] if self._mark == "," else [f"{self.name}: took {self._mark!r} as separator"]
        csv.field_size_limit(_MOST_BYTES)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=self._mark, strict=True)
        try:
            rows = [(reader.line_num, cells) for cells in reader if "".join(cells).strip()]
        except csv.Error as error:
            self.refuse(reader.line_num, str(error), "comma-separated text")
        kept = [(line, cells) for line, cells in rows if not cells[0].startswith(("#", "sep="))]  # Excel's
        if len(kept) < len(rows):
            count = len(rows) - len(kept)
            self.notes.append(f"{self.name}: passed over {count} lines that begin with # or sep=")
        if len(kept) < 2:
            raise ValueError(f"{self.name} has a heading and no rows; expected one row per run")
        self.columns = [cell.strip() or f"column {place}" for place, cell in enumerate(kept[0][1], 1)]
        twice = [name for name in self.columns if self.columns.count(name) > 1]
        if twice:
            self.refuse(kept[0][0], f"column {twice[0]!a} appears twice", "it once")
        for line, cells in kept:
            if len(cells) != len(self.columns):
                self.refuse(line, f"{len(cells)} cells", str(len(self.columns)))
        self._lines = [line for line, _ in kept[1:]]
        self.cells = pd.DataFrame([cells for _, cells in kept[1:]], columns=self.columns, dtype="str")

    def read(self, kinds: Mapping[str, str], may_be_empty: Collection[str] = ()) -> pd.DataFrame:
        """Return columns: `NUMBER` as float64, `WHOLE` as int64 (float64 if it may be empty), `TEXT` as str.

        Raises ValueError at the first cell that is not what its column holds, with its row and column.
        """
        frame = self.cells.set_axis(self.columns, axis=1)[list(kinds)].apply(lambda cells: cells.str.strip())
        mark = self._decimal_mark([frame[name] for name in kinds if kinds[name] == NUMBER])
        number = rf"[+-]?(\d+[{mark}]?\d*|[{mark}]\d+)([eE][+-]?[0-2]?\d{{1,2}})?"
        patterns = {NUMBER: number, WHOLE: r"[+-]?\d{1,18}", TEXT: r"(?s:.+)"}
        for name, kind in kinds.items():
            cells, optional = frame[name], name in may_be_empty
            wrong = ~cells.str.fullmatch(patterns[kind], flags=re.A) & ~(optional & (cells == ""))
            if wrong.any():
                cell = cells[wrong.idxmax()]
                told = f"column {name!r} is {ascii(cell[:60]) if cell else 'empty'}"
                comma = f" with the decimal mark {mark!r}" if re.search(r"\d[.,]", cell) else ""
                self.refuse(self.row(wrong.idxmax()), told, kind + comma)
            if kind != TEXT:
                numbers = cells.str.replace(mark, ".").mask(cells == "", "nan")
                frame[name] = numbers.astype("int64" if kind == WHOLE and not optional else "float64")
        return frame

    def row(self, position: int) -> int:
        """Return the row of the file, as an editor counts lines, of what `read` gave at a position."""
        return self._lines[position]

    def refuse(self, row: int, told: str, expected: str) -> NoReturn:
        """Raise a ValueError that names file and row."""
        raise ValueError(f"{self.name}, row {row}: {told}; expected {expected}")

    def _decimal_mark(self, numbers: Sequence[pd.Series]) -> str:
        """Return what the numbers have as decimal mark; refuse what may be thousands as well."""
        if self._mark == "," or not numbers:
            return "."
        cells = pd.concat(numbers)
        marked, whole = cells[cells.str.contains("[.,]")], cells[cells.str.fullmatch(r"[+-]?\d{3}")]
        if len(marked) and len(whole) and marked.str.fullmatch(r"[+-]?[1-9]\d{0,2}([.,]\d{3})+").all():
            told = f"{marked.iloc[0]!a} beside {whole.iloc[0]} may be thousands or decimals"
            self.refuse(self.row(marked.index[0]), told, "numbers without marks between thousands")
        if not marked.str.fullmatch(r"[+-]?\d+,\d+").any():
            return "."
        note = f"{self.name}: took decimal commas, so that 1,234 is a little more than one"
        self.notes += [note] * (note not in self.notes)
        return ","


def read_runs(
    path: str | Path, better: str | None = None, base: str = "", arms: Sequence[str] = ()
) -> pd.DataFrame:
    """Read measured runs: a CSV, tidy or with one column for each arm, or a benchmark's JSON.

    Parameters
    ----------
    path
        A local file. Tidy CSV, one row a run: arm, value (or value_ms and so on, which names the unit), and
        optionally metric, run (a number or name), order (when among all runs), unit, better, kernel, machine,
        swap_device. Wide CSV: numbers in a column for each arm (``before,after``, or ``before_ms,after_ms``),
        beside optional metric, run, unit and better; cells may be empty, and without run the i-th row is run
        i. JSON of hyperfine, Google Benchmark or pytest-benchmark: each command is an arm.
    better
        "lower" or "higher", where the file does not say; without both, lower, and a note says so.
    base, arms
        The arm that others are compared with (empty: before, base, baseline, old, control or reference); the
        columns that are arms of a wide file (empty: those called after, new, patched and so on, else all of
        numbers but counts and differences, which a note names).

    Returns
    -------
    DataFrame
        One row a run: arm, run, metric, unit ("" if none is given), better, value, row (of the file), and
        order, kernel, machine, swap_device where the file has them. ``attrs``: notes, file, base.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; it is not as above; a cell is not what its column holds: with row and column.
    """
    if better is not None:
        one_of("better", better, ("lower", "higher"))
    name, text = _text_of(path)
    if text.lstrip()[:1] in ("{", "["):
        frame, notes = _of_json(name, text), []
    else:
        file = CheckedFile(path)
        known = {*_TEXTS, "order"}
        for place, one in enumerate(file.columns):
            if one.lower() in known or _VALUE.fullmatch(one.lower()):
                file.columns[place] = one.lower()
        values = [one for one in file.columns if _VALUE.fullmatch(one)]
        is_tidy = "arm" in file.columns or values
        frame = _tidy(file, values) if is_tidy else _wide(file, base, arms)
        frame["row"], notes = [file.row(place) for place in frame.index], file.notes
    base = base or frame.attrs.get("base") or next((one for one in _BASES if one in set(frame.arm)), "before")
    if "better" not in frame and better is None:
        notes.append(f"{name} does not say which direction is better: took lower")
    for column, usual in {"metric": Path(path).stem, "better": better or "lower", "unit": ""}.items():
        frame[column] = frame[column].mask(frame[column] == "", usual) if column in frame else usual
    for column in frame.columns.intersection([*_TEXTS[:2], *_TEXTS[3:]]):
        frame[column] = frame[column].map({one: printable(one) for one in frame[column].unique()})
    if "run" not in frame:
        frame["run"] = frame.groupby(["metric", "arm"]).cumcount() + 1
    wanted = ["arm", "run", "metric", "unit", "better", "value", "row", "order", *_TEXTS[5:]]
    frame = frame[[one for one in wanted if one in frame]].reset_index(drop=True)
    frame.attrs = {"notes": notes, "file": name, "base": printable(base)}
    return frame


def _tidy(file: CheckedFile, values: Sequence[str]) -> pd.DataFrame:
    """Read one row a run."""
    if len(values) != 1 or "arm" not in file.columns:
        missing = "arm" if values else "value"
        told = f"there is no column {missing!r}" if len(values) < 2 else f"both {few(values)} are there"
        file.refuse(1, f"{told} in {few(file.columns)}", _SHAPES)
    frame = _read(file, {values[0]: NUMBER, "order": WHOLE}).rename(columns={values[0]: "value"})
    unit = values[0].partition("_")[2]
    unit = UNITS.get(unit, unit)
    if unit and "unit" in frame and (frame.unit != unit).any():
        file.refuse(1, f"column {values[0]!r} names another unit than column 'unit'", "the same")
    return frame.assign(unit=unit) if unit else frame


def _wide(file: CheckedFile, base: str, arms: Sequence[str]) -> pd.DataFrame:
    """Read one column for each arm."""
    parts: dict[str, Any] = {name: _ARM.fullmatch(name) for name in file.columns if name not in _TEXTS}
    stems = {name: match[1] if match else name for name, match in parts.items()}
    columns = {key.lower(): name for name, stem in stems.items() for key in (stem, name)}
    wanted = [base or arms[0]] if base or arms else _BASES
    lacking = [one for one in arms if one.lower() not in columns]
    first = next((columns[one.lower()] for one in wanted if one.lower() in columns), "")
    if lacking or not first:
        told = f"no column is {lacking[0] if lacking else wanted[0]!r} in {few(file.columns)}"
        file.refuse(1, told, f"{_SHAPES}; say which with --base and --arms")
    others = [columns[one.lower()] for one in arms] or [name for name in stems if _OTHER.match(stems[name])]
    if not set(others) - {first}:
        numbers = [name for name in stems if file.cells[name].str.contains(r"^\s*[-+.\d]").any()]
        others = [name for name in numbers if not _NO_ARM.match(stems[name])]
        file.notes.append(f"{file.name}: took as arms {few([stems[name] for name in others])}")
    chosen = list(dict.fromkeys([first, *others]))
    units = {UNITS.get((parts[name][2] or "").lower(), "") for name in chosen}
    if len(units) > 1:
        file.refuse(1, f"mixed units in {few(chosen)}", "the same for all arms")
    frame = _read(file, dict.fromkeys(chosen, NUMBER), chosen).copy()
    if "run" not in frame:  # so that pairs stay pairs where cells are empty
        frame["run"] = frame.groupby(frame.get("metric", pd.Series("", frame.index))).cumcount() + 1
    if unit := units.pop():
        frame["unit"] = unit
    beside = [name for name in frame if name not in chosen]
    frame = frame.melt(beside, chosen, "arm", "value", ignore_index=False).dropna(subset=["value"])
    frame["arm"] = frame.arm.map(stems)
    frame.attrs["base"] = stems[first]
    return frame


def _read(file: CheckedFile, numbers: Mapping[str, str], may_be_empty: Collection[str] = ()) -> pd.DataFrame:
    """Read the known columns that are there, and note the others; run is whole numbers, or names."""
    kinds = dict.fromkeys(_TEXTS, TEXT) | dict(numbers)
    ignored = [printable(name) for name in file.columns if name not in kinds]
    if ignored:
        file.notes.append(f"{file.name}: ignored the columns {', '.join(ignored)}")
    there = {name: kinds[name] for name in file.columns if name in kinds}
    frame = file.read(there, ["unit", "better", *may_be_empty])
    if "run" in frame and frame.run.str.fullmatch(r"\d{1,18}").all():
        frame["run"] = frame.run.astype("int64")
    return frame


def _of_json(name: str, text: str) -> pd.DataFrame:
    """Read what hyperfine, Google Benchmark or pytest-benchmark export; a command is an arm."""
    rows: list[tuple[str, str, float]] = []
    try:
        data = json.loads(text)
        for one in [*data.get("results", []), *data.get("benchmarks", [])]:
            arm = one.get("command") or one.get("run_name") or one["name"]
            times = one.get("times") or one.get("stats", {}).get("data") or [one["real_time"]]
            if one.get("run_type") != "aggregate":  # Google's means and medians
                rows += [(arm, one.get("time_unit", "s"), float(time)) for time in times]
    except (ValueError, TypeError, KeyError, AttributeError):
        rows = []
    if not rows:
        expected = "hyperfine's, Google Benchmark's, pytest-benchmark's, or CSV: arm,metric,value"
        told = "is no JSON of runs (Macrobenchmark's is read by swaplib.read_macrobenchmark)"
        raise ValueError(f"{name} {told}; expected {expected}")
    frame = pd.DataFrame(rows, columns=["arm", "unit", "value"])
    return frame.assign(metric="time", better="lower", row=frame.index + 1)


def _text_of(path: str | Path) -> tuple[str, str]:
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
    except OSError as error:
        if isinstance(error, FileNotFoundError):
            raise FileNotFoundError(f"{shown} does not exist; expected a CSV file") from None
        raise ValueError(f"{shown} cannot be read: {error.strerror}; expected a CSV file") from None
    name, text = printable(path.name), data.decode("utf-8-sig", "replace")
    wrong = re.search("[\0\ufffd]", text)
    if wrong:
        where = f"{name}, row {text.count(chr(10), 0, wrong.start()) + 1}"
        raise ValueError(f"{where}: this is not UTF-8 text; expected CSV saved as UTF-8, or JSON")
    if not text.strip():
        raise ValueError(f"{name} is empty; expected a heading and one row per run")
    return name, text


def few(names: Sequence[object]) -> str:
    """Return names for a message, the first eight, each shortened."""
    shown = ", ".join(ascii(str(name)[:40]) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
