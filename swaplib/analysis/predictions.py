"""What the model says of cells that it was not fitted to, as data/predictions has them.

``python -m swaplib.analysis.predictions`` makes the predictions anew, of the cells that the tables list. They
are committed once for each released set of parameters; 05_validation logs what was known when.
"""

from __future__ import annotations

import pandas as pd

from swaplib import catalogue
from swaplib.analysis.cells import measured_cells, munmap_cells, predict, published_cells, with_splits
from swaplib.analysis.contention import LOCK2_HOLD_NS, LOCK2_NS, lock_curve
from swaplib.analysis.machine_file import TEMPLATES
from swaplib.evidence.data import data_folder, load

# Measured storm table: the machine it ran on, and in which unit its kernels cost.
STORM_TABLES = {
    "exit_storm_6.18_2cpu": TEMPLATES["native"],
    "exit_storm_6.12_patched": TEMPLATES["mttcg"],
    "exit_storm_instructions": TEMPLATES["icount"],
}
MUNMAP_TABLES = ("munmap_by_processes", "munmap_without_pool_lock", "munmap_by_size", "munmap_deferred")
# What the tables of data/published call a machine, a kernel (the newest with a pool lock) and a policy.
NAMES = {"Raspberry Pi 4B": "rpi-4b", "i7-12700": "desktop-i7-12700", "RK3588, CPU2": "rk3588"}
NAMES |= {"mainline of April 2026": "7.0", "mainline of April 2026 + class index in obj": "7.x-nopool"}
NAMES |= {"base": "sync", "deferred": "zram-deferred"}
# Machine, cores of each of two sockets, CPUs.
LOCK_MACHINES = (("2 x 48-core Xeon, 192 threads", 48, 192), ("2 x 128-core Arm server", 128, 256))
LITTLE_CORES = (0, 1, 2, 3)  # of the RK3588, which was pinned to one of them
MOST_FOLIO_PAGES = 16  # a page table maps a larger folio at once, which the model does not know


def predicted_storms(name: str, splits: tuple[str, ...] = ("fit", "tune", "test")) -> pd.DataFrame:
    """Simulate the cells of a storm table of data/measured: its cells with predicted (ms) and split."""
    frame = with_splits(name)
    cells = measured_cells(frame[frame.split.isin(splits) & (frame.folio_pages <= MOST_FOLIO_PAGES)])
    return _storms(name, cells)


def predicted_munmap(name: str) -> pd.DataFrame:
    """Simulate the timings of a munmap table of data/published: its cells with predicted (ms) and split."""
    return _munmap(published_cells(name))


def predicted_table(name: str) -> pd.DataFrame:
    """Return a table of data/predictions, exit_storms or munmap, with predicted_ms made anew."""
    cells = load(f"predictions/{name}")
    if name == "munmap":
        parts = [_munmap(munmap_cells(cells))]
    else:
        parts = [_storms(str(table), part) for table, part in cells.groupby("table", sort=False)]
    predicted_ms = pd.concat(parts).predicted.round(3)
    return load(f"predictions/{name}", printed=True).assign(predicted_ms=predicted_ms)


def predicted_locks() -> pd.DataFrame:
    """Predict how a contended queued lock scales on two machines that no file here measured.

    The time held is that of lock2 in published/spinlock_cna_v11, as is what a thread does between.
    Threads fill the cores of one socket, then of the other, then the second threads of cores. Columns machine,
    threads, relative_throughput (to that of 8 threads).
    """
    numbers = catalogue.machine("server-2x48")
    near, far, free = (numbers[n] / 1000 for n in ("handover_local_ps", "handover_remote_ps", "line_local_ps"))
    parts = []
    for machine, cores, cpus in LOCK_MACHINES:
        threads = [n for n in (1, 8, 16, 48, 96, 128, 136, 192, 256) if n <= cpus]
        held = {"alone_ns": LOCK2_NS, "hold_ns": LOCK2_HOLD_NS, "free_ns": free}
        curve = pd.Series(1 / lock_curve(threads, cores, near, far, **held), threads)
        parts.append(pd.DataFrame({"machine": machine, "threads": threads, "curve": curve / curve[8]}))
    frame = pd.concat(parts, ignore_index=True)
    return frame.rename(columns={"curve": "relative_throughput"}).round(3)


def _storms(table: str, cells: pd.DataFrame) -> pd.DataFrame:
    machine, unit = STORM_TABLES[table]
    policies = catalogue.policy("sync"), catalogue.policy("async-v3")
    parts = []
    for kernel, group in cells.groupby("kernel", sort=False):
        model = catalogue.kernel(str(kernel).removesuffix("+v3"), unit)
        parts.append(predict(group, catalogue.machine(machine), model, *policies))
    return pd.concat(parts)


def _munmap(cells: pd.DataFrame) -> pd.DataFrame:
    parts = []
    for key, group in cells.groupby(["machine", "kernel", "arm"], sort=False):
        name, kernel, policy = (NAMES.get(str(part), str(part)) for part in key)
        machine = catalogue.machine(name)
        machine = machine.only(LITTLE_CORES) if name == "rk3588" else machine
        parts.append(predict(group, machine, catalogue.kernel(kernel), catalogue.policy(policy)))
    return pd.concat(parts)


if __name__ == "__main__":
    tables = {table: predicted_table(table) for table in ("exit_storms", "munmap")}
    for table, frame in (tables | {"locks": predicted_locks()}).items():
        frame.to_csv(data_folder() / "predictions" / f"{table}.csv", index=False, lineterminator="\n")
