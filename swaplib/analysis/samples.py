"""The samples in a tidy frame: numbers and arms checked, each error with its row and column."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pandas as pd

_GREATEST = 1e150  # the square of a value must be a number, too


def checked(frame: pd.DataFrame, value: str, arm: str, keys: list[str], base: str) -> pd.DataFrame:
    """Return the frame with numbers as numbers and arms as texts, or say which cell is none."""
    for column in (value, arm, *keys):
        if column not in frame:
            raise ValueError(f"column '{column}' is missing; there are {listed(frame)}")
    if frame.empty:
        raise ValueError("the frame has no rows; expected at least one run of two arms")
    tidy = frame.reset_index(drop=True)
    tidy[value] = pd.to_numeric(frame[value], errors="coerce").to_numpy(float, na_value=math.nan)
    rules = [(value, tidy[value].abs() < _GREATEST, "a finite number")]
    rules += [(name, frame[name].notna(), "a name") for name in (arm, *keys)]
    for column, fine, expected in rules:
        if not fine.all():
            place = int((~fine).to_numpy().argmax())
            cell = frame[column].iloc[place]
            told = "empty" if expected == "a name" else str(cell) if isinstance(cell, float) else repr(cell)
            raise ValueError(f"row {place + 1}: column '{column}' is {told}; expected {expected}")
    tidy[arm] = pd.Categorical(tidy[arm].astype(str))
    arms = list(tidy[arm].unique())
    if base not in arms:
        raise ValueError(f"no run has arm '{base}', which is the base; there are {listed(arms)}")
    if len(arms) < 2:
        raise ValueError(f"all runs have arm '{base}'; expected at least one other arm to compare with it")
    run = [name for name in ("run", "replication") if name in tidy][:1]
    twice = tidy.duplicated([*keys, arm, *run]) & bool(run)
    if twice.any():
        place = int(twice.to_numpy().argmax())
        at = tidy.iloc[place]
        metric = ", ".join(map(str, at[keys]))
        told = f"row {place + 1}: run {at[run[0]]} of arm '{at[arm]}' appears twice for metric '{metric}'"
        raise ValueError(f"{told}; expected one value a run (tell settings apart with by=...)")
    return tidy


def only(group: pd.DataFrame, column: str, metric: str) -> str:
    """Return the one text of a metric in a column, or nothing."""
    found = list(group[column].dropna().unique()) if column in group else []
    if len(found) > 1:
        told = f"metric '{metric}' mixes in column '{column}' {listed(found)}"
        raise ValueError(f"{told}; expected one for all its runs")
    return str(found[0]) if found else ""


def partners(of_base: pd.DataFrame, of_arm: pd.DataFrame, arm: str, metric: str) -> pd.DataFrame:
    """Return the rows of an arm in the order of the base's runs."""
    run = next((name for name in ("run", "replication") if name in of_arm), "")
    both = f"'{of_base[arm].iloc[0]}' and '{of_arm[arm].iloc[0]}'"
    if not run and len(of_base) != len(of_arm):
        told = f"metric '{metric}': {len(of_base)} and {len(of_arm)} runs of {both} are no pairs"
        raise ValueError(f"{told}; expected as many, or a column run that tells which belong together")
    alone = sorted(set(of_base[run]) ^ set(of_arm[run])) if run else []
    if alone:
        raise ValueError(f"metric '{metric}': run {alone[0]} is not in both {both}; expected pairs")
    return of_arm.set_index(run).loc[of_base[run]] if run else of_arm


def blocks(of_base: pd.DataFrame, of_arm: pd.DataFrame) -> str:
    """Say what tells that one arm ran wholly before the other: "order", "rows", or "" if it did not."""
    left, right = (rows.get("order", rows.index) for rows in (of_base, of_arm))
    is_apart = min(len(left), len(right)) > 1 and (left.min() > right.max() or right.min() > left.max())
    return ("order" if "order" in of_base else "rows") if is_apart else ""


def listed(names: Iterable[object]) -> str:
    """Return names for an error, the first eight."""
    told = [str(name) if isinstance(name, tuple) else f"'{name}'" for name in names]
    return ", ".join(told[:8]) + (f" and {len(told) - 8} more" if len(told) > 8 else "")
