"""A user's own runs, from a CSV or parquet file, as the tidy frame that `swaplib.compare` takes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from swaplib.evidence.run_files import NUMBER, TEXT, WHOLE, RunFile, open_runs
from swaplib.model.checks import printable

__all__ = ["DIRECTIONS", "read_runs"]

DIRECTIONS = ("lower", "higher")
"""Which way of a metric may be better."""

COLUMNS = ["arm", "run", "metric", "unit", "better", "value"]
_ABOUT = ("kernel", "machine", "swap_device")  # what the runs were made with, for the heading of a comparison
_UNIT = re.compile(r".+_(ns|us|ms|s|min|b|kib|mib|gib|kb|mb|gb|bytes|pages|percent|fps)")
_SHAPES = "expected the columns arm, metric and value (run, unit and better may be there), or one column for each arm"


def read_runs(path: str | Path, better: str | None = None, base: str = "before") -> pd.DataFrame:
    """Read measured runs from a file, tidy or with one column for each arm.

    Parameters
    ----------
    path : str or Path
        A local CSV (UTF-8; comma, semicolon or tab; the heading is row 1) or parquet file in one of two shapes.
        Tidy, one row per run: arm, value (or value_ms and so on, which names the unit), and optionally metric, run
        (a whole number), order (when among all runs), unit, better (lower or higher), kernel, machine, swap_device.
        Wide, as ``before,after``: one column of numbers for each arm, optionally with a unit behind the name
        (``before_ms,after_ms``), beside optional metric, run, unit and better; cells may be empty where an arm has
        fewer runs.
    better : {"lower", "higher"}, optional
        Which direction is better. Without it the file's column `better` says; without that, lower, and a note says so.
    base : str
        The arm that others are compared with.

    Returns
    -------
    DataFrame
        One row per run: arm, run (``int64``, from 1), metric, unit ("" if none is given), better and value
        (``float64``), and order, kernel, machine and swap_device where the file has them; texts are categories, the
        base being the first arm. ``attrs["notes"]`` lists what had to be assumed. Control characters in names are
        replaced by their escapes; HTML stays for those who show it to escape.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file is not as above, holds a cell that is not what its column holds, mixes units within a metric, lacks
        the base, or has fewer than two runs in an arm of a metric; the message names row and column.
    """
    if better is not None and better not in DIRECTIONS:
        raise ValueError(f"better is {better!r}; expected one of {', '.join(DIRECTIONS)}")
    file = open_runs(path)
    tidy = "arm" in file.columns or any(re.fullmatch(r"value(_\w+)?", name) for name in file.columns)
    frame, notes, rows = _read_tidy(file) if tidy else _read_wide(file, base)
    notes = [*file.notes, *notes]
    if "better" not in frame:
        if better is None:
            notes.append(f"{file.name} does not say which direction is better: took lower")
        frame["better"] = _constant(better or "lower", len(frame))
    _check_better(file, frame, better, rows)
    _check_one_each(file, frame, "unit", rows)
    _check_one_each(file, frame, "better", rows)
    _check_arms(file, frame, base, rows)
    pa.default_memory_pool().release_unused()  # a large file left as much behind as the frame holds
    arms = [base, *(arm for arm in frame.arm.cat.categories if arm != base)]
    frame["arm"] = frame.arm.cat.set_categories(arms)
    frame = frame[COLUMNS + [name for name in ("order", *_ABOUT) if name in frame]]
    frame.attrs["notes"] = notes
    return frame


def _read_tidy(file: RunFile) -> tuple[pd.DataFrame, list[str], np.ndarray | None]:
    """Read one row per run."""
    values = [name for name in file.columns if re.fullmatch(r"value(_\w+)?", name)]
    if "arm" not in file.columns or not values:
        missing = "arm" if values else "value"
        raise ValueError(
            f"{file.name}, row 1: there is no column {missing!r}; {_SHAPES}; it has {_listed(file)}"
        )
    if len(values) > 1:
        raise ValueError(f"{file.name}, row 1: both {values[0]!r} and {values[1]!r} are there; expected one")
    (value,) = values
    texts = [name for name in ("arm", "metric", "unit", "better", *_ABOUT) if name in file.columns]
    kinds = {**dict.fromkeys(texts, TEXT), value: NUMBER}
    kinds |= {name: WHOLE for name in ("run", "order") if name in file.columns}
    columns = file.read(kinds)
    frame = pd.DataFrame({name: _category(columns.pop(name)) for name in texts})
    frame["value"] = columns.pop(value).to_numpy()
    notes = []
    if "metric" not in frame:
        frame["metric"] = _constant(printable(file.path.stem), len(frame))
        notes.append(f"{file.name} has no column 'metric': took the file's name")
    if "unit" not in frame:
        frame["unit"] = _constant(value.removeprefix("value").removeprefix("_"), len(frame))
    elif value != "value" and set(frame.unit.cat.categories) != {value.removeprefix("value_")}:
        raise ValueError(f"{file.name}, row 1: column {value!r} names another unit than the column 'unit'")
    if "run" in columns:
        frame["run"] = columns.pop("run").to_numpy()
        _check_twice(file, frame)
    else:
        frame["run"] = frame.groupby(["metric", "arm"], observed=True).cumcount() + 1
    if "order" in columns:
        frame["order"] = columns.pop("order").to_numpy()
    ignored = [name for name in file.columns if name not in kinds]
    if ignored:
        notes.append(f"{file.name}: ignored the columns {', '.join(map(printable, ignored))}")
    return frame, notes, None


def _read_wide(file: RunFile, base: str) -> tuple[pd.DataFrame, list[str], np.ndarray]:
    """Read one column for each arm."""
    beside = [name for name in ("metric", "unit", "better", *_ABOUT) if name in file.columns]
    arms = [name for name in file.columns if name not in (*beside, "run")]
    units = {name: _unit(name) for name in arms}
    if len(arms) < 2 or base not in {name.removesuffix(f"_{units[name]}") for name in arms} | set(arms):
        raise ValueError(
            f"{file.name}, row 1: no column is the base {base!r}; {_SHAPES}, one of them {base!r}; "
            f"it has {_listed(file)}"
        )
    if base in arms:
        units = dict.fromkeys(arms, "")
    if len(set(units.values())) > 1:
        given = ", ".join(f"{name!r}" for name in arms)
        raise ValueError(f"{file.name}, row 1: mixed units in {given}; expected the same unit for all arms")
    kinds = {**dict.fromkeys(beside, TEXT), **dict.fromkeys(arms, NUMBER)}
    if "run" in file.columns:
        kinds["run"] = WHOLE
    columns = file.read(kinds, may_be_empty=True)
    texts = {name: _category(columns.pop(name)) for name in beside}
    length = len(columns[arms[0]])
    if "metric" not in texts:
        texts["metric"] = _constant(printable(file.path.stem), length)
    runs = columns.pop("run").to_numpy() if "run" in columns else None
    parts, rows = [], []
    names = [printable(name.removesuffix(f"_{units[name]}") if units[name] else name) for name in arms]
    for name, arm in zip(arms, names, strict=True):
        part = pd.DataFrame(texts)
        part["value"] = columns.pop(name).to_numpy()
        codes = np.full(length, names.index(arm), dtype=np.int8)
        part["arm"] = pd.Categorical.from_codes(codes, categories=pd.Index(names))
        if "unit" not in part:
            part["unit"] = _constant(units[name], length)
        if runs is not None:
            part["run"] = runs
        there = part["value"].notna().to_numpy()
        rows.append(np.flatnonzero(there))
        parts.append(part[there])
    frame = pd.concat(parts, ignore_index=True)
    if runs is None:
        frame["run"] = frame.groupby(["metric", "arm"], observed=True).cumcount() + 1
    return frame, [], np.concatenate(rows)


def _check_twice(file: RunFile, frame: pd.DataFrame) -> None:
    """Refuse two values of one metric, arm and run."""
    twice = frame.duplicated(["metric", "arm", "run"])
    if twice.any():
        again = frame[twice].iloc[0]
        raise ValueError(
            f"{_where(file, twice, None)}: column 'run' is {again.run} for the second time in arm {again.arm!r} of "
            f"metric {again.metric!r}; expected one value a run"
        )


def _check_better(file: RunFile, frame: pd.DataFrame, better: str | None, rows: np.ndarray | None) -> None:
    """Refuse a direction that is none, and one that is not what was asked for."""
    for found in frame.better.cat.categories:
        expected = DIRECTIONS if better is None else (better,)
        if found not in expected:
            where = _where(file, frame.better == found, rows)
            raise ValueError(f"{where}: column 'better' is {found!r}; expected {' or '.join(expected)}")


def _check_one_each(file: RunFile, frame: pd.DataFrame, column: str, rows: np.ndarray | None) -> None:
    """Refuse a metric with two units or two directions."""
    if len(frame[column].cat.categories) < 2:
        return
    pairs = frame.groupby(["metric", column], observed=True, sort=False).size().index
    first: dict[str, str] = {}
    for metric, found in pairs:
        if first.setdefault(metric, found) != found:
            where = _where(file, (frame.metric == metric) & (frame[column] == found), rows)
            raise ValueError(
                f"{where}: column {column!r} is {found!r} for metric {metric!r}, elsewhere {first[metric]!r}; "
                f"expected one {'unit' if column == 'unit' else 'direction'} for a metric"
            )


def _check_arms(file: RunFile, frame: pd.DataFrame, base: str, rows: np.ndarray | None) -> None:
    """Refuse a file without the base, or with an arm that ran once."""
    arms = list(frame.arm.cat.categories)
    if base not in arms:
        raise ValueError(
            f"{file.name}: no row of column 'arm' is the base {base!r}; expected one of {_few(arms)} as base"
        )
    if len(arms) < 2:
        raise ValueError(
            f"{file.name}: {base!r} is the only arm; expected at least one more to compare with it"
        )
    counts = frame.groupby(["metric", "arm"], observed=True, sort=False).size()
    sizes = {
        (metric, arm): int(counts.get((metric, arm), 0))
        for metric in frame.metric.cat.categories
        for arm in arms
    }
    for (metric, arm), count in sizes.items():
        if count == 1:
            where = _where(file, (frame.metric == metric) & (frame.arm == arm), rows)
            raise ValueError(
                f"{where}: column 'arm' is {arm!r} only here for metric {metric!r}: one run has no spread; expected "
                "two or more runs of each arm"
            )
    for metric in frame.metric.cat.categories:
        if not sizes[metric, base]:
            raise ValueError(f"{file.name}: metric {metric!r} has no run of the base {base!r}; expected some")
        if not any(sizes[metric, arm] for arm in arms if arm != base):
            raise ValueError(
                f"{file.name}: metric {metric!r} has runs of {base!r} alone; expected another arm"
            )


def _where(file: RunFile, mask: pd.Series, rows: np.ndarray | None) -> str:
    """Say in which row the first run of a mask stands."""
    position = int(mask.to_numpy().argmax())
    return f"{file.name}, row {file.row(position if rows is None else int(rows[position]))}"


def _category(column: Any) -> pd.Categorical[str]:
    """Turn dictionary-encoded text into categories in order of appearance, stripped, control characters escaped."""
    whole = column.unify_dictionaries().combine_chunks()
    raw = whole.dictionary.to_pylist()
    names = [printable(name.strip()) for name in raw]
    unique = list(dict.fromkeys(names))
    codes = whole.indices.to_numpy(zero_copy_only=False)
    if unique != names:
        codes = np.array([unique.index(name) for name in names], dtype=np.int32)[codes]
    return pd.Categorical.from_codes(codes, categories=pd.Index(unique))


def _constant(text: str, length: int) -> pd.Categorical[str]:
    """Repeat one text."""
    return pd.Categorical.from_codes(np.zeros(length, dtype=np.int8), categories=pd.Index([text]))


def _unit(name: str) -> str:
    """Return the unit behind the name of an arm, as in before_ms."""
    found = _UNIT.fullmatch(name)
    return found[1] if found else ""


def _listed(file: RunFile) -> str:
    return _few(list(file.columns))


def _few(names: list[str]) -> str:
    shown = ", ".join(ascii(name[:40]) for name in names[:8])
    return shown if len(names) <= 8 else f"{shown} and {len(names) - 8} more"
