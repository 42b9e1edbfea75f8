"""A user's own runs, from a CSV or a benchmark's JSON, as the tidy frame that `swaplib.compare` takes."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from swaplib.evidence.csv_file import NUMBER, TEXT, WHOLE, CheckedFile, few, text_of
from swaplib.model.checks import one_of, printable

UNITS = {name: name for name in ("ns", "us", "ms", "s", "min", "bytes", "pages", "entries", "fps", "%")}
UNITS |= {"percent": "%", "kib": "KiB", "mib": "MiB", "gib": "GiB", "kb": "kB", "mb": "MB", "gb": "GB"}
UNITS |= {"µs": "us", "μs": "us", "nsec": "ns", "usec": "us", "msec": "ms", "sec": "s", "seconds": "s"}
_ENDINGS = {"Ms": "ms", "Us": "us", "Ns": "ns", "Kb": "KiB", "Mb": "MiB", "Percent": "%"}  # of its metrics
_TEXTS = ["arm", "metric", "run", "unit", "better", "kernel", "machine", "swap_device"]
_IN_UNIT = r"(?:[ _]*[ _(\[/][ _]*(%s)[)\]]?)?"
_VALUE = re.compile("value" + _IN_UNIT.replace("%s", r"[^\W\d]+|%"), re.I)
_ARM = re.compile("(.+?)" + _IN_UNIT.replace("%s", "|".join(UNITS)), re.I)
_BASES = ["before", "base", "baseline", "old", "control", "reference"]
_OTHER = re.compile(r"(after|new|patched|treatment|treated|candidate|variant)(?![a-z])", re.I)
_NO_ARM = re.compile(
    r"(?i)(order|index|idx|i|n|nr|no|id|iter(ation)?|rep(eat|etition|lication)?|sample|seed|trial|run|row"
    r"|time|date|timestamp|column|unnamed|temp(erature)?|freq|load|kills|errors|pages|bytes)(?![a-z])|\W"
    r"|.*(delta|diff|ratio|speed|change|gain|mean|median|sd$|faults?$|swap_?(in|out)s?$|pswp|flt$|switches$)"
)
_METRIC = re.compile(r"(?i)bench(mark)?|test_?(case)?|case|workload|scenario|app")
# Said of an arm, or of two; pandas gives numbers to columns of one name.
_OF_ARM = re.compile(r"(?i)(\.\d+|[\W_](sd|std|stdev|order|old|before|base)\)?)$")
_SUMMARY = r"(?i)((geo)?mean|average|avg|ø|median|sd|std|stdev|min|max|sum|total|count|\d\d?%)\.?"
_SHAPES = "the columns arm and value (metric, run, unit, better may be there), or one column for each arm"


def read_runs(
    path: str | Path | Mapping[str, str | Path], better: str | None = None, base: str = "", arms: Any = ()
) -> pd.DataFrame:
    """Read measured runs: a CSV, tidy or with one column for each arm, or a benchmark's JSON.

    Parameters
    ----------
    path
        A local file, or by arm the file of each, the base first. Tidy CSV, one row a run: arm, value (or
        value_ms and so on, which names the unit), and optionally metric (or a
        column benchmark, test, workload, scenario, app), run (a number or name), order (when among all
        runs), unit, better, kernel, machine, swap_device. Wide CSV: numbers in a column for each
        arm (``before,after``, or ``before_ms,after_ms``), beside optional metric, run, unit and better; cells
        may be empty, and without run the i-th row is run i. JSON of hyperfine, Google Benchmark,
        pytest-benchmark or Macrobenchmark: each command is an arm, of files by arm a metric.
    better
        "lower" or "higher", where the file does not say; without both, lower, and a note says so.
    base, arms
        The arm that others are compared with (empty: before, base, old and so on); the others of a tidy file
        (empty: all), or of a wide one (empty: after, new and so on, else all numbers but counts).

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
    named = {one.lower(): one for one in frame.arm.unique()[::-1]} | {one: one for one in frame.arm}
    base = named.get(base.lower() if base not in named else base, base)
    usual = next((named[one] for one in [*files, *_BASES] if one in named), "")
    if "base" not in frames[0].attrs and arms:  # of a wide file they are columns
        for one in arms:
            if one.lower() not in named:
                told = f"{frame.file[0]} has no arm {one!a}"
                raise ValueError(f"{told}; expected one of {few(list(frame.arm.unique()))}")
        kept = [base or usual, *(named.get(one, named[one.lower()]) for one in arms)]
        frame = frame[frame.arm.isin(kept)].reset_index(drop=True)
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
    name, text = text_of(path)
    if text.lstrip()[0] in "{[":
        return _of_json(name, text, arm).assign(file=name)
    file = CheckedFile(path)
    known = {one: one.lower() for one in file.columns if one.lower() in (*_TEXTS, "order")}
    file.cells = file.cells.rename(columns=known)
    if arm and "arm" not in file.columns:
        file.cells.insert(0, "arm", arm)
    labels = [one for one in file.columns if _METRIC.fullmatch(one)]
    if len(labels) == 1 and not file.cells[labels[0]].str.match(r"[-+.,]?\d").any():  # else 'test' is an arm
        file.notes.append(f"{name}: took {labels[0]!a} as metric")
        label = file.cells.pop(labels[0])
        metric = file.cells.get("metric", label)
        both = (label + " " + metric).where((label != "") & (metric != ""), "")  # empty is refused
        file.cells["metric"] = both if "metric" in file.columns else label
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
