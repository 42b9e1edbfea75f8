"""Named machines, kernels, storms and policies: the one place that joins the model with the files of data/."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.evidence.datasets import data_folder
from swaplib.model.checks import one_of
from swaplib.model.kernel import COST_PARTS, Cost, Kernel, Lock, Stage
from swaplib.model.machine import Machine
from swaplib.model.policy import Grouping, Hold, Policy, Workers
from swaplib.model.storm import Background, Phase, Storm, background_load

MS = 1_000_000  # nanoseconds
PAGES_PER_MB = 256
MONITOR_NS = 90_000  # of each millisecond; fitted to the foreground alone in split fit, 18.5 for 16.8 ms
HASH_NS = {
    "native": 3_380_000,
    "published": 0,
    "icount": 16_800_000,
    "mttcg": 6_000_000,
}  # the foreground's work alone

_V3 = Policy(
    "async-v3",
    "Zhiguo Jiang, v3 of 5 Aug 2024",
    "the patch: gather, queue, one kworker at nice -20",
    hold=Hold.GATHER,
    threshold=2,
    swap_entries_min=32,
)

_POLICIES = (
    Policy("sync", "mainline", "frees while walking, as the kernel does"),
    Policy(
        "sync-batched",
        "Barry Song, bea67dcc5ee",
        "frees a run at a time on any kernel",
        grouping=Grouping.RUN,
    ),
    replace(
        _V3,
        name="gather-sync",
        origin="Barry Song, in the thread",
        what="gathers as v3 does, then sorts, merges and frees in the exiting process",
        threshold=0,
        freed_by_caller=True,
        grouping=Grouping.CLUSTER,
    ),
    Policy(
        "slot-cache-async",
        "Barry Song and David Hildenbrand, in the thread",
        "hands a full slot cache to a thread; with both buffers of a CPU full the caller empties it",
        hold=Hold.SLOT_CACHE,
        worker_nice=0,
        needs=("slot cache",),
    ),
    _V3,
    replace(
        _V3,
        name="async-per-8",
        origin="Zhiguo Jiang, in the thread",
        what="v3's gather; one kworker for every eight exiting processes",
        workers=Workers.PER_EXITING,
    ),
    replace(
        _V3,
        name="async-per-node",
        origin="Barry Song, in the thread",
        what="v3's gather; one kworker bound to each node",
        workers=Workers.PER_NODE,
    ),
    Policy(
        "async-list",
        "Lei Liu, 9 Sep 2025",
        "one list and lock for all; 32 records make a work; up to 256 workers",
        hold=Hold.LIST,
        threshold=1,
        swap_entries_min=3200,
        minimum_is_reread=True,
        max_active=256,
    ),
    Policy(
        "zram-deferred",
        "Barry Song and Wenchao Hao, 2026",
        "swap core at once; zram objects through per-CPU pages and one worker",
        hold=Hold.ZRAM_BUFFER,
        worker_nice=0,
        pool_pages=128,  # with 64 the published timing of 256 MiB would run out of pages and be a third slower
    ),
    Policy("reaper", "process_mrelease and lmkd", "sync, with two reapers at nice -20", reapers=2),
    Policy(
        "present-first",
        "this project",
        "two passes: present pages first, swap entries after",
        present_first=True,
    ),
    replace(
        _V3,
        name="adaptive",
        origin="this project",
        what="no threshold: any dying process with 32 entries queues them; kworkers at nice 5, one a node",
        threshold=0,
        workers=Workers.PER_NODE,
        worker_nice=5,
    ),
)

_CAMERA = (Phase(450 * MS, 30_000, threads=2), Phase(80 * MS, 25_000, threads=2))

_STORMS = {
    "camera": "lmkd kills background apps while the camera starts (sizes: data/mail; the rest assumed)",
    "lab": "processes of the measurements in data/measured, with or without their foreground",
    "munmap": "processes that unmap swapped-out memory at once, as in published tables",
    "server": "a container of many processes is killed at once",
}


def machine(name: str, **changes: int) -> Machine:
    """Return a machine of data/machines by name, or of a file whose name ends in .toml, with numbers changed."""
    if str(name).endswith(".toml"):
        found = _read_machine(Path(name))
    else:
        found = _machine(_known("machine", name, _names("machines")))
    return found.but(**changes) if changes else found


def kernel(name: str, unit: str = "time") -> Kernel:
    """Return a kernel generation of data/kernels by name.

    Its costs are picoseconds of the reference core, or with unit ``instructions`` what 6.1 and 6.12 execute, counted by
    an emulator: for the emulated machines only (``lab-1cpu``, ``lab-2cpu-emulated``).
    """
    one_of("unit", unit, ("time", "instructions"))
    name = _known("kernel", name, _names("kernels"))
    if unit == "instructions":
        one_of("kernel with counted instructions", name, _names("kernels/instructions"))
    return _kernel(name, unit)


def policy(name: str, **choices: Any) -> Policy:
    """Return a release policy by name, with choices changed."""
    rows = {row.name: row for row in _POLICIES}
    return rows[_known("policy", name, rows)].but(**choices)


def storm(name: str, machine: Machine | None = None, **choices: Any) -> Storm:
    """Return a storm by name; what `choices` names is changed.

    ``camera`` takes `background_permille` (600, assumed) and needs the machine for it (``phone-8gb`` by default), and
    `work_permille` and `touch_permille` (1000) of the camera's own CPU work and of the pages that it touches;
    ``lab`` takes `mb` (64), `swap_permille` (1000), `foreground` (True) and `hash_ns`, the foreground's
    CPU work alone (3.38 ms on the measured 2-CPU machine, 16.8 ms in instructions, 6 ms emulated).
    """
    _known("storm", name, _STORMS)
    build: dict[str, Callable[..., Storm]] = {
        "camera": _camera,
        "lab": _lab,
        "munmap": _munmap,
        "server": _server,
    }
    return build[name](machine, **choices)


def lab_storm(
    processes: int = 1,
    mb: int = 64,
    swap_permille: int = 1000,
    foreground: bool = True,
    hash_ns: int = HASH_NS["native"],
    what: str = "",
) -> Storm:
    """Return the storm of data/measured (its README): processes of `mb` MiB, `swap_permille` of it swapped out.

    The lab's own monitor takes `MONITOR_NS` of each millisecond in real time, and kills are 8 us apart. The foreground
    hashes for `hash_ns`, then touches 16 MiB.
    """
    pages = mb * PAGES_PER_MB
    swap = pages * swap_permille // 1000
    return Storm(
        "lab",
        what,
        processes=processes,
        swap_entries=swap,
        present_pages=pages - swap,
        gap_ns=8_000,
        cold=False,
        swapped_in_front=True,
        background=(Background(1, MONITOR_NS, MS, realtime=True, monitor=True),),
        foreground=(Phase(hash_ns), Phase(0, 16 * PAGES_PER_MB)) if foreground else (),
    )


def machines() -> pd.DataFrame:
    """Return the machines: name, cpus, nodes, what, and how many numbers are of which kind."""
    rows = []
    for name in _names("machines"):
        m = _machine(name)
        kinds = m.df().kind.value_counts()
        rows.append((name, m.cpus, m.nodes, m.what, ", ".join(f"{n} {kind}" for kind, n in kinds.items())))
    return pd.DataFrame(rows, columns=["name", "cpus", "nodes", "what", "numbers"])


def kernels() -> pd.DataFrame:
    """Return the kernels: name, what, features, workers that max_active = 1 allows."""
    rows = []
    for name in _names("kernels"):
        k = _kernel(name)
        rows.append(
            (name, k.what, ", ".join(sorted(k.features)), "one" if k.ordered_single else "one a node")
        )
    return pd.DataFrame(rows, columns=["name", "what", "features", "workers"])


def storms() -> pd.DataFrame:
    """Return the storms: name and what."""
    return pd.DataFrame(list(_STORMS.items()), columns=["name", "what"])


def policies() -> pd.DataFrame:
    """Return the policies: name, origin, what, and the kernels on which they make sense."""
    rows = []
    for row in _POLICIES:
        fits = [name for name in _names("kernels") if set(row.needs) <= _kernel(name).features]
        rows.append(
            (
                row.name,
                row.origin,
                row.what,
                "all" if len(fits) == len(_names("kernels")) else ", ".join(fits),
            )
        )
    return pd.DataFrame(rows, columns=["name", "origin", "what", "kernels"])


def _known(what: str, name: str, names: Iterable[str]) -> str:
    names = list(names)
    if name not in names:
        close = difflib.get_close_matches(str(name), names, 1)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise ValueError(f"{what} {name!r} is not known{hint} Known are {', '.join(names)}")
    return name


@cache
def _names(folder: str) -> tuple[str, ...]:
    return tuple(
        sorted(path.stem for path in (data_folder() / folder).glob("*.toml") if path.stem != "costs")
    )


def _toml(folder: str, name: str) -> dict[str, Any]:
    with (data_folder() / folder / f"{name}.toml").open("rb") as file:
        return tomllib.load(file)


@cache
def _machine(name: str) -> Machine:
    return _read_machine(data_folder() / "machines" / f"{name}.toml")


def _read_machine(path: Path) -> Machine:
    with path.open("rb") as file:
        table = tomllib.load(file)
    missing = [key for key in ("name", "what", "preemption", "cpus", "number") if key not in table]
    if missing:
        raise ValueError(
            f"{path} is no machine: it has no '{missing[0]}'; swaplib.write_machine writes such files"
        )
    groups = [(group, i) for group in table["cpus"] for i in range(group["count"])]
    return Machine(
        table["name"],
        table["what"],
        tuple(group["capacity"] for group, _ in groups),
        tuple(group["node"] for group, _ in groups),
        tuple(group["pod"] for group, _ in groups),
        table["preemption"],
        {name: number["value"] for name, number in table["number"].items()},
        {name: (number["kind"], number["source"]) for name, number in table["number"].items()},
    )


@cache
def _kernel(name: str, unit: str = "time") -> Kernel:
    table = _toml("kernels", "costs") if unit == "time" else _toml("kernels/instructions", name)
    costs = {stage: Cost(**values) for stage, values in table.items()}
    table = _toml("kernels", name)
    run = _tree(table["run"], costs)
    return Kernel(
        name=table["name"],
        what=table["what"],
        native_call=table["native_call"],
        single=_tree(table["single"], costs) if "single" in table else run,
        run=run,
        drain=_tree(table.get("drain", []), costs),
        slot_cache_entries=table["slot_cache_entries"],
        zone_pages=table["zone_pages"],
        ordered_single=table["ordered_single"],
        run_to_parity=table["run_to_parity"],
        **{
            part: costs[part]
            for part in ("walk", "present", "flush", "zone", "list_push", "allocate", "compress")
        },
    )


def _tree(rows: list[dict[str, Any]], costs: dict[str, Cost], inside: str = "") -> tuple[Stage, ...]:
    """Return the stages that stand inside one, each with its own; a row's cost parts replace those of costs.toml."""
    stages = []
    for row in rows:
        if row.get("inside", "") != inside:
            continue
        name = row["stage"]
        cost = costs.get(name, Cost())
        own = {part: row[part] for part in (*COST_PARTS, "kind", "source") if part in row}
        stages.append(
            Stage(
                name,
                Cost(**{**vars(cost), **own}) if own else cost,
                Lock[row["lock"].upper().replace(" ", "_")] if "lock" in row else Lock.NONE,
                row.get("acquired", "call"),
                row.get("touches", 1),
                row.get("zram", False),
                row.get("objects", False),
                _tree(rows, costs, name),
            )
        )
    return tuple(stages)


def _camera(
    machine: Machine | None,
    processes: int = 12,
    background_permille: int = 600,
    work_permille: int = 1000,
    touch_permille: int = 1000,
    **choices: Any,
) -> Storm:
    machine = machine or _machine("phone-8gb")
    base = Storm(
        "camera",
        _STORMS["camera"],
        processes=processes,
        swap_entries=[50_673, 83_713, 90_720, 91_585, 91_622],
        present_pages=[17_700, 17_900, 24_800],
        file_pages=[33_000, 38_000],
        gap_ns=(0, 8 * MS),
        sharing=8,
        size_classes=100,
        background=background_load(machine, background_permille, 16, 8 * MS),
        foreground=tuple(
            Phase(phase.cpu_ns * work_permille // 1000, phase.pages * touch_permille // 1000, phase.threads)
            for phase in _CAMERA
        ),
    )
    return base.but(**choices)


def _lab(
    machine: Machine | None,
    processes: int = 1,
    mb: int = 64,
    swap_permille: int = 1000,
    foreground: bool = True,
    hash_ns: int = HASH_NS["native"],
    **choices: Any,
) -> Storm:
    return lab_storm(processes, mb, swap_permille, foreground, hash_ns, _STORMS["lab"]).but(**choices)


def _munmap(machine: Machine | None, processes: int = 1, mb: int = 256, **choices: Any) -> Storm:
    base = Storm(
        "munmap",
        _STORMS["munmap"],
        processes=processes,
        swap_entries=mb * PAGES_PER_MB,
        run_entries=512,
        layout="sequential",
        how="munmap",
        frees_in_order=True,
    )
    return base.but(**choices)


def _server(machine: Machine | None, processes: int = 100, **choices: Any) -> Storm:
    base = Storm(
        "server",
        _STORMS["server"],
        processes=processes,
        swap_entries=100_000,
        present_pages=25_000,
        run_entries=4,
        size_classes=60,
    )
    return base.but(**choices)
