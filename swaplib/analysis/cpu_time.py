"""Where CPU time goes over time: what every CPU of a traced run did, binned exactly."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from swaplib.sim.outcome import Outcome
from swaplib.sim.state import CATEGORIES

Array = npt.NDArray[np.int64]

# What a CPU does, from the bottom of a lane to its top, in categories of CPU time (`Outcome.df_cpu`).
ACTIVITIES = {
    "app starts": ("foreground",),
    "kworker frees": ("drain",),
    "reaper frees": ("reap",),
    "exits free": ("walk", "release", "gather"),
    "waiting for locks": ("spin",),
    "app reclaims": ("reclaim",),
    "other": ("switch", "other"),
    "background": ("background",),
    "idle": ("idle",),
}


def timeline_table(outcome: Outcome, bins: int = 120, *, by_cpu: bool = False) -> pd.DataFrame:
    """Return what `plot_timeline` shows: CPU time by bin of time and activity.

    Parameters
    ----------
    outcome
        A run that was traced.
    bins
        Bins of equal length from the first kill to the end of the run.
    by_cpu
        Tell the CPUs apart.

    Returns
    -------
    DataFrame
        start_ms, end_ms, cpu (when `by_cpu`), activity (a key of `ACTIVITIES`), cpu_ms, and cpu_share: of the CPUs'
        time in the bin, or of this CPU's. Activities add up to every bin, and bins to `Outcome.df_cpu`.

    Raises
    ------
    ValueError
        If the run was not traced, or `bins` is not positive.
    """
    if bins < 1:
        raise ValueError(f"bins is {bins}; expected at least 1")
    edges = equal_bins(outcome, bins)
    time = binned_time(outcome, edges)
    if not by_cpu:
        time = time.sum(axis=1, keepdims=True)
    activity, cpu, at = (axis.ravel() for axis in np.indices(time.shape))
    frame = pd.DataFrame(
        {
            "start_ms": edges[at] / 1e6,
            "end_ms": edges[at + 1] / 1e6,
            "cpu": cpu,
            "activity": np.array(list(ACTIVITIES))[activity],
            "cpu_ms": time.ravel() / 1e6,
        }
    )
    sharing = 1 if by_cpu else outcome.machine.cpus
    width = np.maximum(1, np.diff(edges)) * sharing
    frame["cpu_share"] = time.ravel() / width[at]
    return frame if by_cpu else frame.drop(columns="cpu")


def equal_bins(outcome: Outcome, bins: int) -> Array:
    """Return the edges of `bins` bins from the first kill to the run's end, in nanoseconds; refuse an untraced run."""
    if not outcome.is_traced:
        raise ValueError(
            f"the run of policy '{outcome.policy.name}' was not traced; simulate it with trace=True"
        )
    end = outcome.end_ns
    return np.array([end * i // bins for i in range(bins + 1)], dtype=np.int64)


def binned_time(outcome: Outcome, edges: Array) -> Array:
    """Return nanoseconds by activity, CPU and bin; exact, as the trace covers every CPU from 0 to the end."""
    belongs = {category: i for i, group in enumerate(ACTIVITIES.values()) for category in group}
    activity_of = np.array([belongs[category] for category in CATEGORIES])
    order = np.argsort(
        outcome.trace[:, 0].astype(np.int16), kind="stable"
    )  # a CPU's rows are in order of time
    cpus, start, end, category, _ = outcome.trace[order].T
    activity = activity_of[category]
    first = np.searchsorted(cpus, np.arange(outcome.machine.cpus + 1))
    time = np.zeros((len(ACTIVITIES), outcome.machine.cpus, len(edges) - 1), dtype=np.int64)
    for cpu in range(outcome.machine.cpus):
        rows = slice(first[cpu], first[cpu + 1])
        if first[cpu] == first[cpu + 1]:  # a run that ended as it began
            continue
        within = np.searchsorted(start[rows], edges, side="right") - 1
        part = edges - start[rows][within]
        for i in np.unique(activity[rows]):
            length = np.where(activity[rows] == i, end[rows] - start[rows], 0)
            before = np.cumsum(length) - length
            time[i, cpu] = np.diff(before[within] + np.where(activity[rows][within] == i, part, 0))
    return time
