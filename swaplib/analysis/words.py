"""What runs showed, in one sentence with numbers that a person can read."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import special

from swaplib.sim.outcome import Outcome


def finding(outcomes: Sequence[Outcome]) -> str:
    """Say in one sentence what the same storm did: for two runs, the second against the first.

    When the foreground was ready after its start (without one, when the last process was gone after the first
    kill), and how much CPU time went into waiting for locks.
    """
    names, summaries = distinct_names(outcomes), [outcome.summary() for outcome in outcomes]
    waits = [span(summary.spin_ms * 1e6) for summary in summaries]
    goal, took = "App ready", [summary.foreground_ms * 1e6 for summary in summaries]
    if not all(outcome.phase_ends_ns for outcome in outcomes):
        exits = [outcome.df_processes().exited_ms for outcome in outcomes]
        goal, took = "All processes gone", [exited.max(skipna=False) * 1e6 for exited in exits]
    if len(outcomes) != 2 or not all(t >= 0 for t in took):
        times = [f"not within {span(outcome.end_ns)}" for outcome in outcomes]
        times = [span(t) if t >= 0 else late for t, late in zip(took, times, strict=True)]
        each = [f"{name} {time} ({wait})" for name, time, wait in zip(names, times, waits, strict=True)]
        return f"{goal} (CPU time spent waiting for locks): {', '.join(each)}"
    before, after = took
    lost = f"waiting for locks takes {waits[1]} of CPU time, not {waits[0]}"
    if abs(before - after) < 0.01 * before:
        both = f"{span(after)} and {span(before)}"
        return f"{goal} as late under {names[1]} as under {names[0]} ({both}); {lost}"
    change = f"{span(abs(before - after))} {'sooner' if after < before else 'later'} under {names[1]}"
    return f"{goal} {change} than under {names[0]} ({span(after)}, not {span(before)}); {lost}"


def paired_change(
    new: pd.Series, old: pd.Series, noise: float = 0.0, unit: str = "%", digits: int = 0
) -> pd.DataFrame:
    """Say by how much draws of the same storms changed, case by case, and whether that is more than chance.

    Parameters
    ----------
    new, old
        Values of the draws, whose index ends with the draw; the levels before it tell the case.
    noise
        What a clear change exceeds as well as its interval.
    unit, digits
        ``%`` of the mean of `old`, or the unit of the values; digits behind the point.

    Returns
    -------
    DataFrame
        A row a case: mean, error (half of Student's 95 % interval), is_clear, said (``-14 % (±6)``, which
        ends with ``, undecided)`` if it is not clear) and word (``14 % sooner``, ``later``, ``undecided``).
    """
    keys = new.index.names[:-1]
    base = old.groupby(keys, sort=False).transform("mean") / 100 if unit == "%" else 1.0
    cases = ((new - old) / base).dropna().groupby(keys, sort=False)
    table = pd.DataFrame({"mean": cases.mean(), "error": cases.sem()})
    table["error"] *= special.stdtrit(cases.size() - 1, 0.975)
    table["is_clear"] = table["mean"].abs() > table.error.clip(lower=noise)
    signed, size = f"{{:+.{digits}f}} {unit}".strip(), f"{{:.{digits}f}} {unit}".strip()
    open_ = np.where(table.is_clear, ")", ", undecided)")
    mean = table["mean"].round(digits) + 0.0  # no minus before a 0
    table["said"] = mean.map(signed.format) + table.error.map(f" (±{{:.{digits}f}}".format) + open_
    table["word"] = mean.abs().map(size.format) + np.where(table["mean"] > 0, " later", " sooner")
    table["word"] = table.word.where(table.is_clear, "undecided")
    return table


def distinct_names(outcomes: Sequence[Outcome]) -> list[str]:
    """Name runs by what tells them apart: policy, else kernel, machine or storm, else policy and number."""
    for part in ("policy", "kernel", "machine", "storm"):
        names = [getattr(outcome, part).name for outcome in outcomes]
        if len(set(names)) == len(names):
            return names
    return [f"{outcome.policy.name} ({number})" for number, outcome in enumerate(outcomes, 1)]


def span(nanoseconds: float) -> str:
    """Return a time with three significant figures in the unit that fits it."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= 0.9995 * size:
            return f"{digits(nanoseconds / size)} {unit}"
    return f"{nanoseconds:.0f} ns" if nanoseconds else "0 s"


def count(number: float) -> str:
    """Return a number of things with three significant figures, in thousands or millions if shorter."""
    for word, size in ((" million", 1e6), (" thousand", 1e3)):
        if number >= 0.9995 * size:
            return digits(number / size) + word
    return f"{number:.0f}"


def digits(value: float) -> str:
    """Return a number with three significant figures, never as a power of ten."""
    return f"{float(f'{value:.3g}'):.0f}" if value >= 99.95 else f"{value:#.3g}"
