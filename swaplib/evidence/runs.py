"""A user's own runs, from a CSV or a benchmark's JSON, as the tidy frame that `swaplib.compare` takes."""

from __future__ import annotations

import csv
import io
import itertools
import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pandas as pd

from swaplib.model.checks import one_of, printable

NUMBER, WHOLE, TEXT = "a number", "a whole number", "text"
UNITS = {name: name for name in ("ns", "us", "ms", "s", "min", "bytes", "pages", "entries", "fps", "%")}
UNITS |= {"percent": "%", "kib": "KiB", "mib": "MiB", "gib": "GiB", "kb": "kB", "mb": "MB", "gb": "GB"}
UNITS |= {"µs": "us", "μs": "us", "nsec": "ns", "usec": "us", "msec": "ms", "sec": "s", "seconds": "s"}
_ENDINGS = {"Ms": "ms", "Us": "us", "Ns": "ns", "Kb": "KiB", "Mb": "MiB", "Percent": "%"}  # of its metrics
_MOST_BYTES = 25_000_000  # some seconds, and a GiB of memory
_TEXTS = ["arm", "metric", "run", "unit", "better", "kernel", "machine", "swap_device"]
_IN_UNIT = r"(?:[ _]*[ _(\[/][ _]*(%s)[)\]]?)?"
_VALUE = re.compile("value" + _IN_UNIT.replace("%s", r"[^\W\d]+|%"), re.I)
_ARM = re.compile("(.+?)" + _IN_UNIT.replace("%s", "|".join(UNITS)), re.I)
_BASES = ["before", "base", "baseline", "old", "control", "reference"]
_OTHER = re.compile(r"(after|new|patched|treatment|treated|candidate|variant)(?![a-z])", re.I)
_NO_ARM = re.compile(
    r"(?i)(order|index|idx|i|n|nr|no|id|iter(ation)?|rep(eat|etition|lication)?|sample|seed|trial|run|row"
    r"|time|date|timestamp|column|unnamed)(?![a-z])|\W|.*(delta|diff|ratio|speed|change|gain|mean|median|sd$)"
)
# Said of an arm, or of two; pandas gives numbers to columns of one name.
_OF_ARM = re.compile(r"(?i)(\.\d+|[\W_](sd|std|stdev|order|old|before|base)\)?)$")
_SUMMARY = r"(?i)((geo)?mean|average|avg|ø|median|sd|std|stdev|min|max|sum|total|count|\d\d?%)\.?"
_REMARK = re.compile(r"#(?![,;\t])|(?i:sep=)")  # Excel's; a column may have the name #
_SHAPES = "the columns arm and value (metric, run, unit, better may be there), or one column for each arm"


class CheckedFile:
    """A local CSV (UTF-8; comma, semicolon or tab): name, cells by row, and notes of what was assumed."""

    def __init__(self, path: str | Path) -> None:
        self.name, text = _text_of(path)
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


def read_runs(
    path: str | Path | Mapping[str, str | Path], better: str | None = None, base: str = "", arms: Any = ()
) -> pd.DataFrame:
    """Read measured runs: a CSV, tidy or with one column for each arm, or a benchmark's JSON.

    Parameters
    ----------
    path
        A local file, or by arm the file of each, the base first. Tidy CSV, one row a run: arm, value (or
        value_ms and so on, which names the unit), and optionally metric, run (a number or name), order (when
        among all runs), unit, better, kernel, machine, swap_device. Wide CSV: numbers in a column for each
        arm (``before,after``, or ``before_ms,after_ms``), beside optional metric, run, unit and better; cells
        may be empty, and without run the i-th row is run i. JSON of hyperfine, Google Benchmark,
        pytest-benchmark or Macrobenchmark: each command is an arm, of files by arm a metric.
    better
        "lower" or "higher", where the file does not say; without both, lower, and a note says so.
    base, arms
        The arm that others are compared with (empty: before, base, old and so on); the columns that are arms
        of a wide file (empty: after, new and so on, else all of numbers but counts and differences).

    Returns
    -------
    DataFrame
        One row a run: arm, run, metric, unit ("" if none is given), better, value, file, row, and order,
        kernel, machine, swap_device where the file has them. ``attrs``: notes, base.

    Raises
    ------
    FileNotFoundError, ValueError
        No such file; it is not as above; a cell is not what its column holds: with row and column.
    """
    one_of("better", better, (None, "lower", "higher"))
    files = path if isinstance(path, Mapping) else {"": path}
    frames = [_of_file(file, arm, base, arms) for arm, file in files.items()]
    notes = [note for one in frames for note in one.attrs.get("notes", [])]
    frame = pd.concat(frames, ignore_index=True)
    base = frames[0].attrs.get("base") or base  # of a wide file as it is written there, without its unit
    usual = next((one for one in [*files, *_BASES] if one in set(frame.arm)), "")
    if "better" not in frame and better is None:
        notes.append(f"{frame.file[0]} does not say which direction is better: took lower")
    metric = "value" if len(files) > 1 else Path(frame.file[0]).stem
    for column, text in {"metric": metric, "better": better or "lower", "unit": ""}.items():
        frame[column] = frame[column].mask(frame[column].fillna("") == "", text) if column in frame else text
    for column in frame.columns.intersection([*_TEXTS[:2], *_TEXTS[3:]]):
        frame[column] = frame[column].map({one: printable(str(one)) for one in frame[column].unique()})
    if "run" not in frame:
        frame["run"] = frame.groupby(["metric", "arm"]).cumcount() + 1
    elif frame.run.astype(str).str.fullmatch(r"\d{1,18}").all():
        frame["run"] = frame.run.astype("int64")
    wanted = ["arm", "run", "metric", "unit", "better", "value", "file", "row", "order", *_TEXTS[5:]]
    frame = frame[[one for one in wanted if one in frame]]
    frame.attrs = {"notes": notes, "base": printable(base or usual or "before")}
    return frame


def _of_file(path: str | Path, arm: str, base: str, arms: Any) -> pd.DataFrame:
    """Read one file, of one arm if this has a name."""
    name, text = _text_of(path)
    if text.lstrip()[0] in "{[":
        return _of_json(name, text, arm).assign(file=name)
    file = CheckedFile(path)
    file.cells = file.cells.rename(
        columns=lambda one: one.lower() if one.lower() in (*_TEXTS, "order") else one
    )
    if arm and "arm" not in file.columns:
        file.cells.insert(0, "arm", arm)
    values = [one for one in file.columns if _VALUE.fullmatch(one)]
    frame = _tidy(file, values) if "arm" in file.columns or values else _wide(file, base, arms)
    frame = frame.assign(file=name, row=[file.row(int(place)) for place in frame.index])
    for column in set(file.columns) - {*_TEXTS[:2], *_TEXTS[3:], *values}:
        for row, cell in file.cells[column][file.cells[column].str.fullmatch(_SUMMARY)][:1].items():
            file.refuse(row, f"column {column!r} is {cell!a}", "runs alone, without a row that sums them up")
    frame.attrs["notes"] = file.notes
    return frame


def _tidy(file: CheckedFile, values: Sequence[str]) -> pd.DataFrame:
    """Read one row a run."""
    if len(values) != 1 or "arm" not in file.columns:
        missing = "arm" if values else "value"
        told = f"there is no column {missing!r}" if len(values) < 2 else f"both {few(values)} are there"
        file.refuse(1, f"{told} in {few(file.columns)}", _SHAPES)
    frame = _read(file, {values[0]: NUMBER, "order": WHOLE}).rename(columns={values[0]: "value"})
    unit = re.sub(r"(?i)^value|[ _(\[/\])]", "", values[0])
    unit = UNITS.get(unit.lower(), unit)
    if unit and "unit" in frame and (frame.unit != unit).any():
        file.refuse(1, f"column {values[0]!r} names another unit than column 'unit'", "the same")
    return frame.assign(unit=unit) if unit else frame


def _wide(file: CheckedFile, base: str, arms: Sequence[str]) -> pd.DataFrame:
    """Read one column for each arm."""
    parts: Any = {name: _ARM.fullmatch(name) for name in file.columns if name not in _TEXTS}
    stems = {name: match[1] if match else name for name, match in parts.items()}
    columns = {key.lower(): name for name, stem in stems.items() for key in (stem, name)}
    wanted = [base or arms[0]] if base or arms else _BASES
    lacking = [one for one in arms if one.lower() not in columns]
    first = next((columns[one.lower()] for one in wanted if one.lower() in columns), "")
    if lacking or not first:
        told = f"no column is {lacking[0] if lacking else wanted[0]!r} in {few(file.columns)}"
        file.refuse(1, told, f"{_SHAPES}; say which with --base and --arms")
    others = [columns[one.lower()] for one in arms]
    others = others or [one for one in stems if _OTHER.match(stems[one]) and not _OF_ARM.search(one)]
    if not set(others) - {first}:
        numbers = [name for name in stems if file.cells[name].str.contains(r"^[-+.\d]").any()]
        others = [name for name in numbers if name != first and not _NO_ARM.match(stems[name])]
        file.notes.append(f"{file.name}: took as arms {few([stems[name] for name in [first, *others]])}")
    chosen = list(dict.fromkeys([first, *others]))
    units = {UNITS.get((parts[name][2] or "").lower(), "") for name in chosen}
    if len(units) > 1 or len({stems[name] for name in chosen}) < len(chosen):
        file.refuse(1, f"mixed units in {few(chosen)}", "each arm once, and the same unit for all")
    if len(chosen) > 2_001:  # as many as `swaplib.compare` takes
        file.refuse(1, f"{len(chosen):,} arms", "at most 2,001")
    frame = _read(file, dict.fromkeys(chosen, NUMBER), chosen)
    if "run" not in frame:  # so that pairs stay pairs where cells are empty
        of_metric = frame.groupby(frame.get("metric", pd.Series("", frame.index)))
        frame = frame.assign(run=(of_metric.cumcount() + 1).astype(str))
    if unit := units.pop():
        frame["unit"] = unit
    beside = [name for name in frame if name not in chosen]
    frame = frame.melt(beside, chosen, "arm", "value", ignore_index=False).dropna(subset=["value"])
    frame["arm"] = frame.arm.map(stems)
    frame.attrs["base"] = stems[first]
    return frame


def _read(file: CheckedFile, numbers: Mapping[str, str], may_be_empty: Collection[str] = ()) -> pd.DataFrame:
    """Read the known columns that are there, and note the others."""
    kinds = dict.fromkeys(_TEXTS, TEXT) | dict(numbers)
    ignored = [printable(name) for name in file.columns if name not in kinds]
    if ignored:
        file.notes.append(f"{file.name}: ignored the columns {few(ignored)}")
    there = {name: kinds[name] for name in file.columns if name in kinds}
    return file.read(there, ["unit", "better", *may_be_empty])


def _of_json(name: str, text: str, arm: str) -> pd.DataFrame:
    """Read what a benchmark exports: each command is an arm, or where the file is of one arm a metric."""
    try:
        data = json.loads(text)
        found = data.get("results") or data["benchmarks"]
        names = [one.get("command") or one["name"] for one in found if "real_time" not in one]
        for again in {one for one in names if names.count(one) > 1}:
            raise ValueError(f"{again!r} stands twice")
        told = [row for one in found for row in _of_benchmark(one)]
        frame = pd.DataFrame(told, columns=["arm", "metric", "unit", "value"])
        frame = frame.astype({"arm": "str", "metric": "str", "unit": "str", "value": "float64"})
        if frame.empty:
            raise ValueError("there is no run")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        why = str(error)[:90]
        why = "runs that are saved with --benchmark-save-data" if "real_time" in why else why
        expected = "hyperfine's, Google Benchmark's, pytest-benchmark's, Macrobenchmark's, or CSV: arm,value"
        raise ValueError(f"{name} is no JSON of runs ({printable(why)}); expected {expected}") from None
    is_timed = (frame.metric == "time").all()
    if arm and not (is_timed and len(set(frame.arm)) == 1):
        frame["metric"] = frame.arm + ("" if is_timed else "." + frame.metric)
    if arm or not is_timed:
        frame["arm"] = arm or Path(name).stem
    return frame.assign(row=frame.index + 1, **({"better": "lower"} if is_timed else {}))


def _of_benchmark(one: Any) -> Iterator[tuple[Any, str, str, Any]]:
    """Yield benchmark, metric, unit and value of each run."""
    name = one.get("command") or one.get("run_name") or one["name"]
    is_failed = any(code != 0 for code in one.get("exit_codes") or ())
    if is_failed or one.get("error_occurred") or one.get("skipped"):
        raise ValueError(f"a run of {name!r} ended with an error")
    for metric, result in {**one.get("metrics", {}), **one.get("sampledMetrics", {})}.items():
        unit = next((unit for ending, unit in _ENDINGS.items() if metric.endswith(ending)), "")
        for run in result["runs"]:
            parts = {f".p{percent}": np.percentile(run, percent) for percent in (50, 90, 99) if np.size(run)}
            for part, value in parts.items() if isinstance(run, list) else [("", run)]:
                yield name, f"{metric}{part}", unit, value
    if "metrics" not in one and one.get("run_type") != "aggregate":  # Google's means and medians
        for time in one.get("times") or one.get("stats", {}).get("data") or [one["real_time"]]:
            yield name, "time", one.get("time_unit", "s"), time


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
