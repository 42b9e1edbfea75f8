"""What the model says of the cells that it was not fitted to: `python -m swaplib.predictions` writes data/predictions.

The files are committed once for each released set of parameters; what was known when, 05_validation logs.
"""

from __future__ import annotations

import pandas as pd

from swaplib import catalogue
from swaplib.analysis.storms import CELL, measured_cells, predict, published_cells, with_splits
from swaplib.evidence.datasets import data_folder
from swaplib.fitting import TEMPLATES
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine

# Measured storm table: the machine it ran on, and in which unit its kernels cost.
STORM_TABLES = {
    "exit_storm_6.18_2cpu": TEMPLATES["native"],
    "exit_storm_6.12_patched": TEMPLATES["mttcg"],
    "exit_storm_instructions": TEMPLATES["icount"],
}
MUNMAP_TABLES = ("munmap_by_processes", "munmap_by_size", "munmap_deferred")
MUNMAP_MACHINES = {"Raspberry Pi 4B": "rpi-4b", "i7-12700": "desktop-i7-12700", "RK3588, CPU2": "rk3588"}
LITTLE_CORES = (0, 1, 2, 3)  # of the RK3588
KEPT_BACK_PROCESSES = 8  # no file holds cells of so many
MOST_FOLIO_PAGES = 16  # a page table maps a larger folio at once, which the model does not know


def predicted_storms(name: str, splits: tuple[str, ...] = ("fit", "tune", "test")) -> pd.DataFrame:
    """Simulate the cells of a storm table of data/measured: its cells with predicted (ms) and split."""
    machine, unit = STORM_TABLES[name]
    frame = with_splits(name)
    cells = measured_cells(frame[frame.split.isin(splits) & (frame.folio_pages <= MOST_FOLIO_PAGES)])
    return _predicted(cells, catalogue.machine(machine), unit)


def predicted_kept_back(name: str) -> pd.DataFrame:
    """Simulate the cells of four processes with eight: cells that nobody here has seen (no measured, no n)."""
    machine, unit = STORM_TABLES[name]
    frame = with_splits(name)
    cells = measured_cells(frame[(frame.procs == 4) & (frame.folio_pages <= MOST_FOLIO_PAGES)])
    cells = cells.assign(procs=KEPT_BACK_PROCESSES, split="kept back").drop(columns=["measured", "n"])
    return _predicted(cells, catalogue.machine(machine), unit)


def predicted_munmap(name: str) -> pd.DataFrame:
    """Simulate the timings of munmap of a table of data/published, on the newest kernel with a pool lock."""
    cells = published_cells(name)
    policies = {"base": catalogue.policy("sync"), "deferred": catalogue.policy("zram-deferred")}
    parts = [
        predict(group, munmap_machine(str(machine)), catalogue.kernel("7.0"), policies[str(arm)])
        for (machine, arm), group in cells.groupby(["machine", "arm"], sort=False)
    ]
    return pd.concat(parts)


def predicted_munmap_kept_back() -> pd.DataFrame:
    """Simulate munmap by 1, 2 and 4 processes, with the pool lock and without: timings that no file here holds."""
    cells = published_cells("munmap_by_processes")
    grid = [
        (machine, kernel, procs)
        for machine in sorted(cells.machine.unique())
        for kernel in ("7.0", "7.x-nopool")
        for procs in (1, 2, 4)
        if kernel != "7.0" or not ((cells.machine == machine) & (cells.procs == procs)).any()
    ]
    parts = []
    for machine, kernel, procs in grid:
        cell = cells[cells.machine == machine].iloc[:1].assign(procs=procs, kernel=kernel, split="kept back")
        model = munmap_machine(machine)
        parts.append(predict(cell, model, catalogue.kernel(kernel), catalogue.policy("sync")))
    return pd.concat(parts).drop(columns=["measured", "n"])


def munmap_machine(name: str) -> Machine:
    """Return the machine of a published munmap table; the RK3588 was pinned to a little core."""
    machine = catalogue.machine(MUNMAP_MACHINES[name])
    return machine.only(LITTLE_CORES) if name.endswith("CPU2") else machine


def _predicted(cells: pd.DataFrame, machine: Machine, unit: str) -> pd.DataFrame:
    sync, v3 = catalogue.policy("sync"), catalogue.policy("async-v3")

    def kernel(name: str) -> Kernel:
        return catalogue.kernel(name.removesuffix("+v3"), unit)

    parts = [
        predict(group, machine, kernel(str(name)), sync, v3)
        for name, group in cells.groupby("kernel", sort=False)
    ]
    return pd.concat(parts)


def committed() -> dict[str, pd.DataFrame]:
    """Return the predictions that belong into data/predictions, by file name without ending."""
    storms = [
        part.assign(table=name)
        for name in STORM_TABLES
        for part in (predicted_storms(name, ("test",)), predicted_kept_back(name))
    ]
    munmap = [predicted_munmap(name).assign(table=name) for name in MUNMAP_TABLES]
    tested = pd.concat([*munmap, predicted_munmap_kept_back().assign(table="munmap_by_processes")])
    tables = {
        "exit_storms": (pd.concat(storms), ["table", *CELL, "split", "metric"]),
        "munmap": (
            tested[tested.split.isin(["test", "kept back"])],
            ["table", "machine", "kernel", "procs", "mb", "arm", "split"],
        ),
    }
    return {name: _stored(frame, key) for name, (frame, key) in tables.items()}


def _stored(frame: pd.DataFrame, key: list[str]) -> pd.DataFrame:
    frame = frame.dropna(subset="predicted").sort_values(key, ignore_index=True)
    whole = {name: "Int64" for name in ("nr_min", "max_active") if name in key}
    return frame[key].astype(whole).assign(predicted_ms=frame.predicted.round(3))


def write() -> None:
    """Write data/predictions anew."""
    folder = data_folder() / "predictions"
    folder.mkdir(exist_ok=True)
    for name, frame in committed().items():
        frame.to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


if __name__ == "__main__":
    write()
