"""The samples in a tidy frame: rows by metric and arm, checked, each error with its row and column."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

Rows = npt.NDArray[np.intp]

_UNITS = {
    "ns": "ns",
    "us": "us",
    "ms": "ms",
    "s": "s",
    "percent": "%",
    "kib": "KiB",
    "mib": "MiB",
    "gib": "GiB",
}
_UNITS |= {"kb": "kB", "mb": "MB", "entries": "entries", "pages": "pages"}


def numbers_of(column: pd.Series, name: str) -> npt.NDArray[np.float64]:
    """Return a column as finite numbers."""
    try:
        numbers = column.to_numpy(dtype=float, na_value=math.nan)
    except (ValueError, TypeError):
        numbers = pd.to_numeric(column, errors="coerce").to_numpy(dtype=float, na_value=math.nan)
    bad = np.flatnonzero(~np.isfinite(numbers))
    if len(bad):
        raise ValueError(
            f"row {bad[0] + 1}: column '{name}' is {_shown(column.iloc[bad[0]])}; expected a finite number"
        )
    return numbers


def _shown(value: Any) -> str:
    return str(value) if isinstance(value, float) else repr(value)


def names_of(column: pd.Series, name: str) -> pd.Categorical[Any]:
    """Return names as categories in order of appearance."""
    codes, names = pd.factorize(column)
    if (codes < 0).any():
        raise ValueError(f"row {int(np.argmin(codes)) + 1}: column '{name}' is empty; expected a name")
    return pd.Categorical.from_codes(codes, pd.Index([str(one) for one in names]))


def rows_by_metric(frame: pd.DataFrame, by: Sequence[str], value: str) -> list[tuple[str, Rows]]:
    """Return each metric's name and its rows, in order of appearance."""
    plain = value.removesuffix("_" + _suffix(value)) if _suffix(value) else value
    keys = (["metric"] if "metric" in frame else []) + list(by)
    if not keys:
        return [(plain, np.arange(len(frame)))]
    labels = [names_of(frame[key], key) for key in keys]
    codes = np.zeros(len(frame), dtype=np.int64)
    for label in labels:
        codes = codes * len(label.categories) + label.codes
    codes = pd.factorize(codes)[0]
    ordered = np.argsort(codes, kind="stable")
    rows = np.split(ordered, np.cumsum(np.bincount(codes))[:-1])
    named = []
    for own in rows:
        told = [str(label[own[0]]) for label in labels]
        first = told.pop(0) if "metric" in frame else plain
        named.append((", ".join([first, *told]), own))
    return named


def only(frame: pd.DataFrame, column: str, rows: Rows, metric: str) -> str:
    """Return the one text of a metric's rows in a column, or nothing."""
    if column not in frame:
        return ""
    found = frame[column].iloc[rows].dropna().unique()
    if len(found) > 1:
        raise ValueError(
            f"metric '{metric}' mixes in column '{column}' {listed(found)}; expected one for all its runs"
        )
    return str(found[0]) if len(found) else ""


def direction(told: str, better: str | Mapping[str, str], metric: str) -> str:
    """Return "lower" or "higher" for a metric: what its rows say, else what the caller says."""
    word = told or (better if isinstance(better, str) else better.get(metric, ""))
    if word not in ("lower", "higher"):
        raise ValueError(f"better is {word!r} for metric '{metric}'; expected 'lower' or 'higher'")
    return word


def is_simulated(frame: pd.DataFrame, simulated: bool | None, arm: str) -> bool:
    """Return whether runs are replications of a simulator, by the caller, the column simulated or a sweep's columns."""
    if simulated is not None:
        return simulated
    if "simulated" in frame:
        found = frame["simulated"].astype(bool).unique()
        if len(found) > 1:
            raise ValueError("column 'simulated' mixes simulated and measured runs; compare them apart")
        return bool(found[0])
    return arm == "policy" and "replication" in frame


def check_runs(
    codes: npt.NDArray[Any], runs: pd.Series, rows: Rows, arms: Iterable[Any], metric: str
) -> None:
    """Refuse a run that appears twice in an arm of a metric."""
    labels = pd.factorize(runs.iloc[rows])[0].astype(np.int64)
    keys = codes.astype(np.int64) * (int(labels.max()) + 2) + labels
    twice = pd.Series(keys).duplicated().to_numpy() & (labels >= 0)
    if twice.any():
        at = int(np.argmax(twice))
        raise ValueError(
            f"row {rows[at] + 1}: run {runs.iloc[rows[at]]} of arm '{list(arms)[codes[at]]}' appears twice for metric "
            f"'{metric}'; expected one value a run (tell settings apart with by=...)"
        )


def pairs(
    first: Rows, second: Rows, runs: pd.Series | None, metric: str, base: str, arm: str
) -> tuple[Rows, Rows]:
    """Return the rows of both arms in the order of the base's runs."""
    if runs is None:
        if len(first) != len(second):
            raise ValueError(
                f"metric '{metric}': {len(first)} runs of '{base}' and {len(second)} of '{arm}' are no pairs; "
                "expected as many, or a column run that tells which belong together"
            )
        return first, second
    left, right = pd.Index(runs.iloc[first]), pd.Index(runs.iloc[second])
    alone = left.symmetric_difference(right)
    if len(alone):
        raise ValueError(
            f"metric '{metric}': run {alone[0]} is not in both '{base}' and '{arm}'; expected pairs"
        )
    return first, second[right.get_indexer(left)]


def in_blocks(first: Rows, second: Rows, order: npt.NDArray[Any] | None) -> str | None:
    """Say how it is known that one arm's runs all came before the other's: "order", "rows", or None if they did not."""
    left, right = (first, second) if order is None else (order[first], order[second])
    if min(len(left), len(right)) < 2 or (left.min() <= right.max() and right.min() <= left.max()):
        return None
    return "rows" if order is None else "order"


def single(frame: pd.DataFrame, column: str) -> str:
    """Return the one to three texts of a column as one, or nothing."""
    found: Iterable[Any] = frame[column].dropna().unique() if column in frame else ()
    return ", ".join(str(one) for one in found) if 1 <= len(list(found)) <= 3 else ""


def _suffix(value: str) -> str:
    last = value.rsplit("_", 1)[-1]
    return last if "_" in value and last in _UNITS else ""


def unit_of(value: str) -> str:
    """Return the unit that a column's name ends with."""
    return _UNITS.get(_suffix(value), "")


def listed(names: Iterable[Any]) -> str:
    """Return names for an error, the first eight."""
    told = [f"'{name}'" for name in names]
    return ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")
