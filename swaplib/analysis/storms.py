"""Measured storms as cells, and the same storms in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from swaplib.catalogue import HASH_NS, lab_storm
from swaplib.evidence.datasets import load
from swaplib.model.checks import one_of
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim.simulate import simulate

# What tells one cell of measurements from another, and what it is when a file of one's own does not say.
CELL: Mapping[str, Any] = {
    "kernel": None,
    "accel": "native",
    "smp": None,
    "folio_pages": 1,
    "layout_run": 1,
    "mb": None,
    "swap_frac": 1.0,
    "procs": None,
    "nr_min": np.nan,
    "max_active": np.nan,
    "how": "exit",
    "content": "compressible",
    "fg": 0,
    "worker_nice": -20,
}

# Metric, the measured column in microseconds, and what it is in the simulator.
METRICS = {
    "exit_cpu_ms": (
        "exit_cpu_us_sum",
        "CPU time of all exiting processes: df_processes().exit_cpu_ms, summed",
    ),
    "median_exit_ms": ("median_exit_us", "half of the processes reaped: summary().exit_ms_median"),
    "last_exit_ms": ("last_exit_us", "last process reaped: summary().exit_ms_last"),
    "swap_back_ms": ("swap_back99_us", "swap space free again: summary().swap_freed_ms"),
    "foreground_cpu_ms": ("fg_cpu_us", "foreground's hashing done: df_phases().end_ms of its first phase"),
    "foreground_ms": ("fg_mem_us", "foreground done: summary().foreground_ms"),
}
LAYOUTS = {1: ("random", 1), 16: ("random", 16), 0: ("sequential", 512), -2: ("even-odd", 1)}


def measured_cells(frame: pd.DataFrame, metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """Return one row a cell and metric.

    Parameters
    ----------
    frame
        Rows of a storm table of data/measured, or of `swaplib.probe`: one a repetition, with the columns of `CELL`
        (those with a default may be missing) and at least one measured column of `METRICS`.
    metrics
        Names of `METRICS`.

    Returns
    -------
    DataFrame
        The columns of `CELL`, ``split`` where the frame has it, metric, measured (median, ms), n (repetitions).

    Raises
    ------
    ValueError
        A needed column is missing, or no row has a measurement.
    """
    for metric in metrics:
        one_of("metric", metric, METRICS)
    needed = [name for name, default in CELL.items() if default is None and name not in frame]
    if needed:
        raise ValueError(
            f"the measurements have no column '{needed[0]}'; a storm table needs {', '.join(_REQUIRED)}"
        )
    values = {metric: METRICS[metric][0] for metric in metrics if METRICS[metric][0] in frame}
    if not values:
        columns = ", ".join(METRICS[metric][0] for metric in metrics)
        raise ValueError(f"the measurements have none of the columns {columns}")
    table = frame[frame.procs > 0].assign(
        **{name: default for name, default in CELL.items() if name not in frame and default is not None}
    )
    key = [*CELL, *(["split"] if "split" in table else [])]
    table = table.melt(key, list(values.values()), "column", "us").dropna(subset="us")
    if table.empty:
        raise ValueError(f"no row has a value in {', '.join(values.values())}")
    table["metric"] = table.column.map({column: metric for metric, column in values.items()})
    grouped = table.groupby([*key, "metric"], dropna=False, sort=False).us
    return grouped.agg(measured=lambda us: us.median() / 1000, n="size").reset_index()


_REQUIRED = [name for name, default in CELL.items() if default is None]


def published_cells(name: str) -> pd.DataFrame:
    """Return the timings of munmap of a table of data/published as cells, with machine, arm and split.

    Tables: munmap_by_processes, munmap_by_size, munmap_deferred. Pages were paged out in sequence; the metric is
    last_exit_ms, the time until the last process is done.
    """
    frame = load(f"published/{name}").rename(columns={"munmap_ms": "base_munmap_ms", "process_mib": "mb"})
    frame = frame.assign(procs=frame.get("processes", 1))
    arms = {f"{arm}_munmap_ms": arm for arm in ("base", "deferred") if f"{arm}_munmap_ms" in frame}
    cells = frame.melt(["machine", "kernel", "procs", "mb"], list(arms), "arm", "measured").dropna(
        subset="measured"
    )
    cells["arm"] = cells.arm.map(arms)
    fixed: dict[str, Any] = {
        "accel": "published",
        "smp": 0,
        "layout_run": 0,
        "how": "munmap",
        "metric": "last_exit_ms",
        "n": 1,
    }
    defaults: dict[str, Any] = {
        column: default for column, default in CELL.items() if default is not None and column not in fixed
    }
    splits = load("published/splits").rename(columns={"processes": "procs", "process_mib": "mb"})
    splits = splits[splits.table == name].drop(columns="table")
    return cells.assign(**defaults, **fixed).merge(splits, how="left", validate="many_to_one")


def with_splits(name: str) -> pd.DataFrame:
    """Load a storm table of data/measured (`name` without the folder) with two columns more.

    ``split`` is what splits.csv says of the row's cell; ``worker_nice`` is 0 where the kworker had no high priority.
    """
    splits = load("measured/splits")
    splits = splits[splits.table == name].drop(columns="table")
    frame = load(f"measured/{name}").merge(splits, how="left", validate="many_to_one")
    if frame.split.isna().any():
        raise ValueError(f"data/measured/splits.csv does not name every cell of {name}")
    notes = frame.note.fillna("") if "note" in frame else pd.Series("", frame.index)
    at_nice_0 = frame.accel.str.endswith("-nohi") | notes.str.contains("WQ_HIGHPRI removed")
    return frame.assign(worker_nice=np.where(at_nice_0, 0, -20))


def storm_of(cell: Mapping[str, Any]) -> Storm:
    """Return the storm of a measured cell (a mapping with the names of `CELL`)."""
    c = {name: cell[name] for name in CELL}
    layout, run = LAYOUTS[int(c["layout_run"])]
    storm = lab_storm(
        int(c["procs"]),
        int(c["mb"]),
        round(1000 * float(c["swap_frac"])),
        bool(c["fg"]),
        HASH_NS[str(c["accel"]).split("-")[0]],
    )
    storm = storm.but(layout=layout, run_entries=run, how=c["how"], folio_pages=int(c["folio_pages"]))
    if c["content"] == "same-filled":
        storm = storm.but(same_filled_permille=1000)
    alone = c["accel"] == "published" or (c["accel"] == "icount" and not c["fg"])
    return storm.but(background=()) if alone else storm


def policy_of(cell: Mapping[str, Any], sync: Policy, v3: Policy) -> Policy:
    """Return what freed the entries of a measured cell: `sync`, or `v3` with the cell's threshold and workers."""
    if np.isnan(float(cell["nr_min"])):
        return sync
    limits = {"threshold": int(cell["nr_min"]), "max_active": int(cell["max_active"])}
    return v3.but(**limits, worker_nice=int(cell["worker_nice"]))


def machine_of(cell: Mapping[str, Any], machine: Machine) -> Machine:
    """Return the machine of a measured cell: in plain ``mttcg`` every CPU is a workqueue pod of its own."""
    return replace(machine, pod=tuple(range(machine.cpus))) if cell["accel"] == "mttcg" else machine


def predict(
    cells: pd.DataFrame,
    machine: Machine,
    kernel: Kernel,
    sync: Policy,
    v3: Policy | None = None,
    seed: int = 0,
) -> pd.DataFrame:
    """Simulate measured cells.

    Parameters
    ----------
    cells
        As `measured_cells` returns them.
    machine, kernel
        Where they are simulated; the column ``kernel`` is not looked at.
    sync, v3
        The policies of cells without and with patch v3.
    seed
        Of the simulation.

    Returns
    -------
    DataFrame
        The cells with a column predicted (ms).
    """
    predicted = pd.Series(np.nan, cells.index)
    for _, group in cells.groupby(list(CELL), dropna=False, sort=False):
        cell: dict[str, Any] = {name: group[name].iloc[0] for name in CELL}
        policy = policy_of(cell, sync, v3 or sync)
        values = observe(machine_of(cell, machine), kernel, storm_of(cell), policy, seed)
        predicted[group.index] = group.metric.map(values)
    return cells.assign(predicted=predicted)


def observe(
    machine: Machine, kernel: Kernel, storm: Storm, policy: Policy, seed: int = 0
) -> dict[str, float]:
    """Simulate one storm and return the metrics of `METRICS`, in milliseconds."""
    outcome = simulate(machine, kernel, storm, policy, seed, trace=False)
    summary = outcome.summary()
    phases = outcome.df_phases().end_ms
    return {
        "exit_cpu_ms": float(outcome.df_processes().exit_cpu_ms.sum()),
        "median_exit_ms": float(summary.exit_ms_median),
        "last_exit_ms": float(summary.exit_ms_last),
        "swap_back_ms": float(summary.swap_freed_ms),
        "foreground_cpu_ms": float("nan") if phases.empty else float(phases.iloc[0]),
        "foreground_ms": float(summary.foreground_ms),
    }
