"""Measured storms as cells, and the same storms in the simulator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from swaplib.catalogue import HASH_NS, lab_storm
from swaplib.evidence.data import load
from swaplib.model.checks import one_of
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim.simulate import simulate

# What tells one cell of measurements from another, and its default; a file must say what has none.
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
# Metric: the measured column in microseconds, and what it is in the simulator.
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
# Of the published munmap tests: the class lock, which encloses free_zspage, is held for two thirds of slot_free
# (data/published/slot_free_profile.csv: free_zspage, obj_free, fix_fullness_group and the unlock, 0.72).
PUBLISHED_FREE_ZSPAGE = 12_000
LAYOUTS = {1: ("random", 1), 16: ("random", 16), 0: ("sequential", 512), -2: ("even-odd", 1)}  # by layout_run


def measured_cells(frame: pd.DataFrame, metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """Return one row a cell and metric, with the median over its repetitions.

    Parameters
    ----------
    frame
        One row a repetition, as `swaplib.read_measurements` returns them: the columns of `CELL` (those with a
        default may be missing) and at least one measured column of `METRICS`.
    metrics
        Names of `METRICS`.

    Returns
    -------
    DataFrame
        The columns of `CELL`, split where the frame has it, metric, measured (median, ms), n (repetitions).

    Raises
    ------
    ValueError
        A needed column is missing, or no row has a measurement.
    """
    for metric in metrics:
        one_of("metric", metric, METRICS)
    for name, default in CELL.items():
        if default is None and name not in frame:
            raise ValueError(f"the measurements have no column '{name}'; they need kernel, smp, mb and procs")
    columns = {METRICS[metric][0]: metric for metric in metrics}
    measured = [column for column in columns if column in frame]
    key = [*CELL, *(["split"] if "split" in frame else [])]
    table = frame[frame.procs > 0].assign(**_unsaid(frame)).melt(key, measured, "metric", "us")
    table = table.dropna(subset="us")
    if table.empty:
        raise ValueError(f"the measurements have no value in any of the columns {', '.join(columns)}")
    table["metric"] = table.metric.map(columns)
    grouped = table.groupby([*key, "metric"], dropna=False, sort=False).us
    return grouped.agg(measured=lambda us: us.median() / 1000, n="size").reset_index()


def published_cells(name: str) -> pd.DataFrame:
    """Return the timings of a munmap table of data/published as cells, with machine, arm and split."""
    arms = {"munmap_ms": "base", "base_munmap_ms": "base", "deferred_munmap_ms": "deferred"}
    frame = load(f"published/{name}").rename(columns={"process_mib": "mb", **arms})
    frame = frame.assign(procs=frame.get("processes", 1))
    arm = [column for column in ("base", "deferred") if column in frame]
    cells = frame.melt(["machine", "kernel", "procs", "mb"], arm, "arm", "measured").dropna(subset="measured")
    return _with_split(munmap_cells(cells).assign(n=1), "published", name)


def munmap_cells(frame: pd.DataFrame) -> pd.DataFrame:
    """Add to timings of munmap what else makes them cells: memory was paged out in sequence."""
    said = {"accel": "published", "smp": 0, "layout_run": 0, "how": "munmap", "metric": "last_exit_ms"}
    return frame.assign(**_unsaid(frame, said))


def with_splits(name: str) -> pd.DataFrame:
    """Load a storm table of data/measured (`name` without the folder) with split and worker_nice.

    split is what splits.csv says of the row's cell; worker_nice is 0 where the kworker had no high priority.
    """
    frame = _with_split(load(f"measured/{name}"), "measured", name)
    if frame.split.isna().any():
        raise ValueError(f"data/measured/splits.csv does not name every cell of {name}")
    notes = frame.note.fillna("") if "note" in frame else pd.Series("", frame.index)
    at_nice_0 = frame.accel.str.endswith("-nohi") | notes.str.contains("WQ_HIGHPRI removed")
    return frame.assign(worker_nice=np.where(at_nice_0, 0, -20))


def storm_of(cell: Mapping[str, Any]) -> Storm:
    """Return the storm of a measured cell (a mapping with the names of `CELL`)."""
    accel, foreground = str(cell["accel"]), bool(cell["fg"])
    swap_permille = round(1000 * float(cell["swap_frac"]))
    hash_ns = HASH_NS[accel.split("-")[0]]
    storm = lab_storm(int(cell["procs"]), int(cell["mb"]), swap_permille, foreground, hash_ns)
    layout, run = LAYOUTS[int(cell["layout_run"])]
    storm = storm.but(layout=layout, run_entries=run, how=cell["how"], folio_pages=int(cell["folio_pages"]))
    if cell["content"] == "same-filled":
        storm = storm.but(same_filled_permille=1000)
    if accel == "published":
        storm = storm.but(free_zspage_permille=PUBLISHED_FREE_ZSPAGE)
    is_alone = accel == "published" or (accel == "icount" and not foreground)
    return storm.but(background=()) if is_alone else storm


def policy_of(cell: Mapping[str, Any], sync: Policy, v3: Policy) -> Policy:
    """Return the policy of a measured cell: `sync`, or `v3` with the cell's threshold and workers."""
    if np.isnan(float(cell["nr_min"])):
        return sync
    limits = {"threshold": int(cell["nr_min"]), "max_active": int(cell["max_active"])}
    return v3.but(**limits, worker_nice=int(cell["worker_nice"]))


def machine_of(cell: Mapping[str, Any], machine: Machine) -> Machine:
    """Return the machine of a measured cell: in plain ``mttcg`` every CPU is a workqueue pod of its own."""
    return replace(machine, pod=tuple(range(machine.cpus))) if cell["accel"] == "mttcg" else machine


def predict(
    cells: pd.DataFrame, machine: Machine, kernel: Kernel, sync: Policy, v3: Policy | None = None
) -> pd.DataFrame:
    """Return cells of `measured_cells` with a column predicted (ms), simulated on this machine and kernel.

    `sync` and `v3` are the policies of cells without and with patch v3; column kernel is not looked at.
    """
    predicted = pd.Series(np.nan, cells.index)
    for _, group in cells.groupby(list(CELL), dropna=False, sort=False):
        cell = {name: group[name].iloc[0] for name in CELL}
        policy = policy_of(cell, sync, v3 or sync)
        values = observe(machine_of(cell, machine), kernel, storm_of(cell), policy)
        predicted[group.index] = group.metric.map(values)
    return cells.assign(predicted=predicted)


def observe(machine: Machine, kernel: Kernel, storm: Storm, policy: Policy) -> dict[str, float]:
    """Simulate one storm and return the metrics of `METRICS`, in milliseconds."""
    outcome = simulate(machine, kernel, storm, policy, trace=False)
    summary, phases = outcome.summary(), outcome.df_phases().end_ms
    values = {
        "exit_cpu_ms": outcome.df_processes().exit_cpu_ms.sum(),
        "median_exit_ms": summary.exit_ms_median,
        "last_exit_ms": summary.exit_ms_last,
        "swap_back_ms": summary.swap_freed_ms,
        "foreground_cpu_ms": np.nan if phases.empty else phases.iloc[0],
        "foreground_ms": summary.foreground_ms,
    }
    return {metric: float(ms) for metric, ms in values.items()}


def _unsaid(frame: pd.DataFrame, said: Mapping[str, Any] = CELL) -> dict[str, Any]:
    """Return the values of `CELL`, and of further columns, where a frame has no such column."""
    return {name: value for name, value in {**CELL, **said}.items() if name not in frame}


def _with_split(frame: pd.DataFrame, folder: str, table: str) -> pd.DataFrame:
    """Add what splits.csv of a folder of data/ says that each cell is used for; NaN where it does not."""
    splits = load(f"{folder}/splits").rename(columns={"processes": "procs", "process_mib": "mb"})
    splits = splits[splits.table == table].drop(columns="table")
    return frame.merge(splits, how="left", validate="many_to_one")
