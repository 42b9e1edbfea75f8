"""Measured storms as cells, and what the model says of them, as data/predictions has it.

``python -m swaplib.analysis.predictions`` makes the predictions anew, of the cells that the tables list. They
are committed once for each released set of parameters; 05_validation logs what was known when.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pandas as pd

from swaplib import catalogue
from swaplib.analysis.contention import lock2_curve
from swaplib.evidence.data import data_folder, load
from swaplib.model.checks import one_of
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim.simulate import simulate
from swaplib.sim.state import REAPER, WALKER

# What tells one cell of measurements from another, and its default; a file must say what has none.
CELL: dict[str, Any] = {"kernel": None, "accel": "native", "smp": None, "folio_pages": 1, "layout_run": 1}
CELL |= {"mb": None, "swap_frac": 1.0, "procs": None, "nr_min": np.nan, "max_active": np.nan}
CELL |= {"how": "exit", "content": "compressible", "fg": 0, "worker_nice": -20, "reapers": 0}
# Metric: the measured column in microseconds, and what it is in the simulator.
_SUMMED = "CPU time of all exiting processes: df_processes().exit_cpu_ms, summed"
METRICS = {
    "exit_cpu_ms": ("exit_cpu_us_sum", _SUMMED),
    "median_exit_ms": ("median_exit_us", "half of the processes reaped: summary().exit_ms_median"),
    "last_exit_ms": ("last_exit_us", "last process reaped: summary().exit_ms_last"),
    "swap_back_ms": ("swap_back99_us", "swap space free again: summary().swap_freed_ms"),
    "foreground_cpu_ms": ("fg_cpu_us", "foreground's hashing done: phase_ends_ns of its first phase"),
    "foreground_ms": ("fg_mem_us", "foreground done: summary().foreground_ms"),
}
WITH_REAPERS = METRICS | {"reaper_cpu_ms": ("reaper_cpu_us_sum", "CPU time of all reapers")}
LAYOUTS = {1: ("random", 1), 16: ("random", 16), 0: ("sequential", 512), -2: ("even-odd", 1)}  # by layout_run
# By the first word of column accel: the machine of data/machines, and the unit in which kernels cost there.
TEMPLATES = {"native": ("lab-2cpu", "time"), "published": ("lab-2cpu", "time")}
TEMPLATES |= {"mttcg": ("lab-2cpu-emulated", "instructions"), "icount": ("lab-1cpu", "instructions")}
# Measured storm table: how it was measured.
STORM_TABLES = {"exit_storm_6.18_2cpu": "native", "exit_storm_6.12_patched": "mttcg"}
STORM_TABLES |= {"exit_storm_instructions": "icount"}
_TABLES = STORM_TABLES | {"exit_reapers_6.18": "native"}  # apart: that day only ratios mean something
MUNMAP_TABLES = ("munmap_by_processes", "munmap_without_pool_lock", "munmap_by_size", "munmap_deferred")
# What the tables of data/published call a machine, a kernel (the newest with a pool lock) and a policy.
NAMES = {"Raspberry Pi 4B": "rpi-4b", "i7-12700": "desktop-i7-12700", "RK3588, CPU2": "rk3588"}
NAMES |= {"mainline of April 2026": "6.18", "mainline of April 2026 + class index in obj": "mm-2026-06"}
NAMES |= {"base": "sync"}
# What arm deferred is on a machine, and its kernel: zs_free with the class in the object
# (https://lkml.iu.edu/2604.3/12310.html); all of slot_free (20260412060450.15813-1-baohua@kernel.org).
DEFERRED = {"rpi-4b": ("zram-handle-deferred", "mm-2026-06"), "rk3588": ("zram-slot-deferred", "6.18")}
# Machine, cores of each of two sockets, CPUs.
LOCK_MACHINES = (("2 x 48-core Xeon, 192 threads", 48, 192), ("2 x 128-core Arm server", 128, 256))
LITTLE_CORES = (0, 1, 2, 3)  # of the RK3588, which was pinned to one of them
MOST_FOLIO_PAGES = 16  # a page table maps a larger folio at once, which the model does not know


def measured_cells(frame: pd.DataFrame, metrics: Sequence[str] = tuple(METRICS)) -> pd.DataFrame:
    """Return one row a cell and metric, with the median over its repetitions.

    `frame` has one row a repetition, as `swaplib.read_measurements` returns it: the columns of `CELL` (those
    with a default may be missing) and a measured column of some of `metrics`, which are names of `METRICS` or
    reaper_cpu_ms; else it is a ValueError. Columns of the result: those of `CELL`, split where the frame has
    it, metric, measured (median, ms), n (repetitions).
    """
    for metric in metrics:
        one_of("metric", metric, WITH_REAPERS)
    columns = {WITH_REAPERS[metric][0]: metric for metric in metrics}
    key = [*CELL, *(["split"] if "split" in frame else [])]
    table = _filled(frame, CELL)
    table = table.melt(key, [*table.columns.intersection(list(columns))], "metric", "us")
    table = table.dropna(subset=["us", "kernel", "smp", "mb", "procs"]).query("procs > 0")
    if table.empty:
        needed = f"kernel, smp, mb, procs and a value in any of {', '.join(columns)}"
        raise ValueError(f"the measurements have no row with {needed}")
    table["metric"] = table.metric.map(columns)
    grouped = table.groupby([*key, "metric"], dropna=False, sort=False).us
    return grouped.agg(measured=lambda us: us.median() / 1000, n="size").reset_index()


def with_splits(name: str) -> pd.DataFrame:
    """Load a storm table of data/measured (`name` without the folder) with split, worker_nice and reapers.

    split is what splits.csv says of the row's cell; worker_nice is 0 where the kworker had no high priority.
    """
    frame = _with_split(load(f"measured/{name}"), "measured", name)
    if frame.split.isna().any():
        raise ValueError(f"data/measured/splits.csv does not name every cell of {name}")
    notes = frame.note.fillna("") if "note" in frame else pd.Series("", frame.index)
    at_nice_0 = frame.accel.str.endswith("-nohi") | notes.str.contains("WQ_HIGHPRI removed")
    return _filled(frame.assign(worker_nice=np.where(at_nice_0, 0, -20)), {"reapers": 0})


def storm_of(cell: Mapping[str, Any]) -> Storm:
    """Return the storm of a measured cell (a mapping with the names of `CELL`)."""
    accel, foreground = cell["accel"].split("-")[0], bool(cell["fg"])
    swap_permille, hash_ns = round(1000 * float(cell["swap_frac"])), catalogue.HASH_NS[accel]
    storm = catalogue.lab_storm(int(cell["procs"]), int(cell["mb"]), swap_permille, foreground, hash_ns)
    layout, run = LAYOUTS[int(cell["layout_run"])]
    storm = storm.but(layout=layout, run_entries=run, how=cell["how"], folio_pages=int(cell["folio_pages"]))
    if cell["content"] == "same-filled":
        storm = storm.but(same_filled_permille=1000)
    if accel == "published":
        storm = storm.but(free_zspage_permille=catalogue.PUBLISHED_FREE_ZSPAGE)
    is_alone = accel == "published" or (cell["accel"] == "icount" and not foreground)
    return storm.but(background=()) if is_alone else storm


def policy_of(cell: Mapping[str, Any], sync: Policy, v3: Policy) -> Policy:
    """Return the policy of a measured cell: `sync` with reapers, or `v3` with threshold and workers."""
    if np.isnan(float(cell["nr_min"])):
        return sync.but(reapers=int(cell["reapers"])) if cell["reapers"] else sync
    limits = {"threshold": int(cell["nr_min"]), "max_active": int(cell["max_active"])}
    return v3.but(**limits, worker_nice=int(cell["worker_nice"]))


def observe(machine: Machine, kernel: Kernel, storm: Storm, policy: Policy) -> dict[str, float]:
    """Simulate one storm and return the metrics of `METRICS` and reaper_cpu_ms, in milliseconds."""
    outcome = simulate(machine, kernel, storm, policy, trace=False)
    totals, tasks = outcome.totals(), outcome.world.task
    hashed_ns = [end for end in outcome.phase_ends_ns[:1] if end >= 0]
    return {
        "exit_cpu_ms": float(tasks.cpu_ns[tasks.kind == WALKER].sum() / 1e6),
        "median_exit_ms": totals["exit_ms_median"],
        "last_exit_ms": totals["exit_ms_last"],
        "swap_back_ms": totals["swap_freed_ms"],
        "foreground_cpu_ms": hashed_ns[0] / 1e6 if hashed_ns else np.nan,
        "foreground_ms": totals["foreground_ms"],
        "reaper_cpu_ms": float(tasks.cpu_ns[tasks.kind == REAPER].sum() / 1e6),
    }


def predict(
    cells: pd.DataFrame,
    machine: Machine,
    kernel: Kernel,
    sync: Policy | None = None,
    v3: Policy | None = None,
) -> pd.DataFrame:
    """Return cells of `measured_cells` with a column predicted (ms), simulated on this machine and kernel.

    `sync` and `v3` are the policies of cells without and with patch v3, by default ``sync`` and ``async-v3``.
    In plain ``mttcg`` every CPU is a workqueue pod of its own. Column kernel is not looked at.
    """
    policies = (sync or catalogue.policy("sync"), v3 or catalogue.policy("async-v3"))
    own_pods = replace(machine, pod=tuple(range(machine.cpus)))
    number = cells.groupby(list(CELL), dropna=False, sort=False).ngroup()
    found, firsts = [], cells.loc[~number.duplicated(), list(CELL)]
    for cell in cast(list[dict[str, Any]], firsts.to_dict("records")):
        on = own_pods if cell["accel"] == "mttcg" else machine
        found.append(observe(on, kernel, storm_of(cell), policy_of(cell, *policies)))
    values = [found[cell][metric] for cell, metric in zip(number, cells.metric, strict=True)]
    return cells.assign(predicted=values)


def predicted_munmap(name: str) -> pd.DataFrame:
    """Simulate the timings of a munmap table of data/published: its cells with predicted (ms) and split.

    Columns machine and arm (base, or deferred) say whose timing a cell is.
    """
    arms = {"munmap_ms": "base", "base_munmap_ms": "base", "deferred_munmap_ms": "deferred"}
    frame = load(f"published/{name}").rename(columns={"process_mib": "mb", "processes": "procs", **arms})
    arm = [*frame.columns.intersection(["base", "deferred"])]
    cells = _filled(frame, {"procs": 1}).melt(["machine", "kernel", "procs", "mb"], arm, "arm", "measured")
    return _predicted(_with_split(cells.dropna(subset="measured"), "published", name))


def predicted_table(name: str) -> pd.DataFrame:
    """Return a table of data/predictions (exit_storms, exit_reapers, munmap) with predicted_ms made anew."""
    cells = load(f"predictions/{name}")
    parts = []
    for table, part in cells.groupby("table", sort=False):
        how = _TABLES.get(str(table))
        parts.append(_predicted(part, *(TEMPLATES[how] if how else ())))
    return load(f"predictions/{name}", printed=True).assign(predicted_ms=pd.concat(parts).predicted.round(3))


def predicted_locks() -> pd.DataFrame:
    """Predict how a contended queued lock scales on two machines that no file here measured.

    Threads fill the cores of one socket, then of the other, then the second threads of cores. Columns are
    machine, threads, relative_throughput (to that of 8 threads) of the test of `lock2_curve`.
    """
    numbers, parts = catalogue.machine("server-2x48"), []
    for machine, cores, cpus in LOCK_MACHINES:
        threads = [n for n in (1, 8, 16, 48, 96, 128, 136, 192, 256) if n <= cpus]
        throughput = pd.Series(1 / lock2_curve(numbers, threads, cores, 2), threads)
        columns = {"threads": threads, "relative_throughput": (throughput / throughput[8]).round(3)}
        parts.append(pd.DataFrame({"machine": machine, **columns}))
    return pd.concat(parts, ignore_index=True)


def _predicted(cells: pd.DataFrame, machine: str = "", unit: str = "time") -> pd.DataFrame:
    """Simulate cells by kernel, machine and arm; timings of munmap have the last two as columns."""
    timing = {"accel": "published", "smp": 0, "layout_run": 0, "how": "munmap"}
    timing |= {"metric": "last_exit_ms", "n": 1}
    cells = _filled(cells, CELL if machine else {**CELL, **timing})
    parts = []
    for key, group in cells.groupby(["kernel"] if machine else ["kernel", "machine", "arm"], sort=False):
        release, name, arm = (*map(str, key), machine, "sync")[:3]
        kernel, name, policy = (NAMES.get(part, part) for part in (release.removesuffix("+v3"), name, arm))
        policy, kernel = DEFERRED[name] if arm == "deferred" else (policy, kernel)
        on = catalogue.machine(name)
        on = on.only(LITTLE_CORES) if name == "rk3588" else on
        parts.append(predict(group, on, catalogue.kernel(kernel, unit), catalogue.policy(policy)))
    return pd.concat(parts)


def _filled(frame: pd.DataFrame, said: Mapping[str, Any]) -> pd.DataFrame:
    """Return a frame with these values in the columns that it does not have."""
    return frame.assign(**{name: value for name, value in said.items() if name not in frame})


def _with_split(frame: pd.DataFrame, folder: str, table: str) -> pd.DataFrame:
    """Add what splits.csv of a folder of data/ says that each cell is used for; NaN where it does not."""
    splits = load(f"{folder}/splits").rename(columns={"processes": "procs", "process_mib": "mb"})
    splits = splits[splits.table == table].drop(columns="table")
    return frame.merge(splits, how="left", validate="many_to_one")


if __name__ == "__main__":
    tables = {table: predicted_table(table) for table in ("exit_storms", "exit_reapers", "munmap")}
    for table, frame in (tables | {"locks": predicted_locks()}).items():
        frame.to_csv(data_folder() / "predictions" / f"{table}.csv", index=False, lineterminator="\n")
