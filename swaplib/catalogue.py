"""Named machines, kernels, storms and policies: what joins the model with the files of data/."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pandas as pd

from swaplib.evidence.data import data_folder
from swaplib.model.checks import at_least, one_of
from swaplib.model.kernel import COST_PARTS, Cost, Kernel, Lock, Stage
from swaplib.model.machine import KINDS, Machine
from swaplib.model.policy import Deferred, Grouping, Hold, Policy, Workers
from swaplib.model.storm import Background, Phase, Storm, background_load

MS = 1_000_000  # nanoseconds
PAGES_PER_MB = 256
# Of the published munmap tests: the class lock, which encloses free_zspage, is held for two thirds of
# slot_free (slot_free_profile: free_zspage, obj_free, fix_fullness_group and the unlock are 0.72 of it).
PUBLISHED_FREE_ZSPAGE = 12_000
MONITOR_NS = 90_000  # of each millisecond; fitted to the foreground alone in split fit, 18.5 for 16.8 ms
APP_SWAP_ENTRIES = [50_673, 83_713, 90_720, 91_585, 91_622]  # of five apps in the background, data/mail
# The foreground's work alone, by what counts its time.
HASH_NS = {"native": 3_380_000, "published": 0, "icount": 16_800_000, "mttcg": 6_000_000}

# fmt: off
_V3 = Policy("async-v3", "Zhiguo Jiang, v3 of 5 Aug 2024",
             "the patch: gather, queue, one kworker at nice -20",
             hold=Hold.GATHER, threshold=2, swap_entries_min=32)

_POLICIES = (  # name, who proposed it where, what it does; then its choices
    Policy("sync", "mainline", "frees while walking, as the kernel does"),
    Policy("sync-batched", "Barry Song, bea67dcc5ee", "frees a run at a time on any kernel",
           grouping=Grouping.RUN),
    # "speed up batched freeing in a synchronous manner after collecting the mmu_swap_batch", 9 Sep 2024; how
    # was left open. Here each merged run is a call with its own locks, not the whole batch under one.
    _V3.but(name="gather-sync", origin="Barry Song, in the thread",
            what="gathers as v3 does, then sorts, merges and frees in the exiting process",
            threshold=0, freed_by_caller=True, grouping=Grouping.CLUSTER),
    Policy("slot-cache-async", "Barry Song and David Hildenbrand, in the thread",
           "hands a full slot cache to a thread; with both buffers of a CPU full the caller empties it",
           hold=Hold.SLOT_CACHE, worker_nice=0, needs=("slot cache",)),
    _V3,
    _V3.but(name="async-per-8", origin="Zhiguo Jiang, in the thread",
            what="v3's gather; one kworker for every eight exiting processes", workers=Workers.PER_EXITING),
    _V3.but(name="async-per-node", origin="Barry Song, in the thread",
            what="v3's gather; one kworker bound to each node", workers=Workers.PER_NODE),
    # 20250909065349.574894-2-liulei.rjpt@vivo.com: async_release_func() takes all that is on the list.
    # Left out is 574894-3, which flushes it where an allocation is about to fail: 32 records at most have
    # no work queued behind them.
    Policy("async-list", "Lei Liu, 9 Sep 2025",
           "one list and lock for all; past 32 records each one queues a work, the first of which takes all",
           hold=Hold.LIST, threshold=1, swap_entries_min=3200, minimum_is_reread=True, max_active=0),
    # Linux-kernel mails 2605.1/00126 and 00144. RFC v2 of 21 April (2604.2/07135) has no row: one array of
    # 128 MiB of handles, behind a lock, that its author gave up for pages of each CPU (2604.3/07542).
    Policy("zram-slot-deferred", "Wenchao Hao, RFC v3 of 8 May 2026",
           "swap core at once; all of zram's slot_free through per-CPU pages of 1,024 indices and one worker",
           hold=Hold.ZRAM_BUFFER, worker_nice=0),
    # 20260509083824.2408724-1-haowenchao@xiaomi.com, timed in 2604.3/12310. How many pages is not said: 64
    # run out in that timing of 256 MiB, 128 do not. How many handles of one class follow each other was not
    # said either: the worker takes the class lock for each. Its pause after half of the pool is left out.
    Policy("zram-handle-deferred", "Wenchao Hao, 9 May 2026",
           "swap core and zram's slot at once; zs_free through per-CPU pages of 512 handles and one worker",
           hold=Hold.ZRAM_BUFFER, worker_nice=0, deferred=Deferred.HANDLE, pool_pages=128, page_objects=512,
           needs=("class in the object",)),
    # 2605.1/01614. Zspages need no pages to wait in, so that the pool is never short.
    Policy("zspage-deferred", "Yosry Ahmed, 8 May 2026",
           "all at once but free_zspage: one worker gives the pages of empty zspages back",
           hold=Hold.ZRAM_BUFFER, worker_nice=0, deferred=Deferred.ZSPAGE, pool_pages=1 << 20),
    Policy("reaper", "process_mrelease and lmkd", "sync, with two reapers at nice -20", reapers=2),
    Policy("present-first", "this project", "two passes: present pages first, swap entries after",
           present_first=True),
    _V3.but(
        name="adaptive", origin="this project", threshold=0, workers=Workers.PER_NODE, worker_nice=5,
        what="no threshold: any dying process with 32 entries queues them; kworkers at nice 5, one a node"),
)
# fmt: on


def machine(name: str, **changes: int) -> Machine:
    """Return a machine of data/machines by name, or of a file that ends in .toml, with numbers changed."""
    is_file = str(name).endswith(".toml")
    found = _read_machine(Path(name)) if is_file else _machine(_known("machine", name, _names("machines")))
    return found.but(**changes) if changes else found


def kernel(name: str, unit: str = "time") -> Kernel:
    """Return a kernel generation of data/kernels by name.

    Its costs are picoseconds of the reference core, or with unit ``instructions`` what 6.1 and 6.12 execute,
    counted by an emulator: for the emulated machines only (``lab-1cpu``, ``lab-2cpu-emulated``).
    """
    one_of("unit", unit, ("time", "instructions"))
    known = _names("kernels")
    if unit == "instructions" and name in known:
        one_of("kernel with counted instructions", name, _names("kernels/instructions"))
    if name not in known and re.fullmatch(r"\d+\.\d+.*", str(name)):
        stands = generation_of(name)
        why = "the newest of ours that is not newer, else our oldest"
        raise ValueError(f"kernel {name!r} has no costs of its own; {stands!r} stands for it: {why}")
    return _kernel(_known("kernel", name, known), unit)


def generation_of(release: str) -> str:
    """Return the newest kernel of ours that is not newer than a release, else the oldest of them."""
    found = re.match(r"\D*(\d{1,4})\.(\d{1,4})", release)
    if not found:
        raise ValueError(f"kernel '{release}' is no release; expected something like 6.18.44")
    numbered = [name for name in _names("kernels") if re.fullmatch(r"\d+\.\d+", name)]
    known = {tuple(map(int, name.split("."))): name for name in numbered}
    older = [version for version in known if version <= (int(found[1]), int(found[2]))]
    return known[max(older, default=min(known))]


def policy(name: str, **choices: Any) -> Policy:
    """Return a release policy by name, with choices changed."""
    rows = {row.name: row for row in _POLICIES}
    return rows[_known("policy", name, rows)].but(**choices)


def storm(name: str, machine: Machine | None = None, **choices: Any) -> Storm:
    """Return a storm by name; what `choices` names is changed.

    ``camera`` takes `background_permille` (600, assumed), of the capacity of the machine (``phone-8gb`` by
    default), `work_permille` and `touch_permille` (1000), of its CPU work and of the pages that it touches,
    and `small_cores_only` (0, assumed): whether dying apps have the CPUs of least capacity alone;
    ``lmkd`` takes these and `swap_free_permille` (60, assumed), the mean share of swap slots that are free at
    the start; ``lab`` takes what `lab_storm` takes; ``munmap`` takes `mb` (256).
    """
    return _STORMS[_known("storm", name, _STORMS)](machine, **choices)


def machines() -> pd.DataFrame:
    """Return the machines: name, cpus, nodes, what, and how many numbers are of which kind."""
    rows = []
    for found in map(_machine, _names("machines")):
        numbers = ", ".join(f"{count} {kind}" for kind, count in found.df().kind.value_counts().items())
        rows.append((found.name, found.cpus, found.nodes, found.what, numbers))
    return pd.DataFrame(rows, columns=["name", "cpus", "nodes", "what", "numbers"])


def kernels() -> pd.DataFrame:
    """Return the kernels: name, what, features, workers that max_active = 1 allows."""
    rows = []
    for one in map(_kernel, _names("kernels")):
        workers = "one" if one.ordered_single else "one a node"
        rows.append((one.name, one.what, ", ".join(sorted(one.features)), workers))
    return pd.DataFrame(rows, columns=["name", "what", "features", "workers"])


def storms() -> pd.DataFrame:
    """Return the storms: name and what."""
    return pd.DataFrame([(name, storm(name).what) for name in _STORMS], columns=["name", "what"])


def policies() -> pd.DataFrame:
    """Return the policies: name, origin, what, and the kernels on which they make sense."""
    rows, names = [], _names("kernels")
    for row in _POLICIES:
        fits = [name for name in names if set(row.needs) <= _kernel(name).features]
        rows.append((row.name, row.origin, row.what, "all" if len(fits) == len(names) else ", ".join(fits)))
    return pd.DataFrame(rows, columns=["name", "origin", "what", "kernels"])


def _known(what: str, name: str, names: Iterable[str]) -> str:
    if name not in (names := list(names)):
        close = difflib.get_close_matches(str(name), names, 1)
        hint = f"; did you mean '{close[0]}'?" if close else "."
        raise ValueError(f"{what} {name!r} is not known{hint} Known are {', '.join(names)}")
    return name


@cache
def _names(folder: str) -> tuple[str, ...]:
    found = {path.stem for path in (data_folder() / folder).glob("*.toml")} - {"costs"}
    return tuple(sorted(found))


@cache
def _machine(name: str) -> Machine:
    return _read_machine(data_folder() / "machines" / f"{name}.toml")


def _read_machine(path: Path) -> Machine:
    """Read a file of data/machines or of a user; groups of CPUs are bounded before they are spread out."""
    where, table = f"{path} is no machine as swaplib.write_machine writes it: ", _read(path)
    try:
        cpus: list[Any] = []
        for group in table["cpus"]:
            count = at_least(f"{where}count", group["count"], 1, 4096)
            cpus += count * [(group["capacity"], group["node"], group["pod"])]
        values = {name: entry["value"] for name, entry in table["number"].items()}
        origin = {name: (entry["kind"], entry["source"]) for name, entry in table["number"].items()}
        for name, (kind, _) in origin.items():
            one_of(f"{where}kind of {name}", kind, KINDS)
        name, what, preemption, core = (table[key] for key in ("name", "what", "preemption", "core"))
        capacity, node, pod = zip(*cpus, strict=True)
        return Machine(name, what, capacity, node, pod, preemption, values, origin, core)
    except KeyError as error:
        raise ValueError(f"{where}{error.args[0]} is missing") from None
    except (TypeError, AttributeError) as error:
        raise ValueError(f"{where}{error}; expected [[cpus]] and [number.NAME] tables") from None


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is no TOML file: {error}") from None


@cache
def _kernel(name: str, unit: str = "time") -> Kernel:
    folder = data_folder() / "kernels"
    rows = _read(folder / "costs.toml" if unit == "time" else folder / "instructions" / f"{name}.toml")
    costs = {stage: Cost(**row) for stage, row in rows.items()}
    table = _read(folder / f"{name}.toml")
    table.pop("source", "")
    for program in ("run", "drain", "single"):
        table[program] = _stages(table.get(program, []), costs)
    table["single"] = table["single"] or table["run"]
    for part in ("walk", "present", "flush", "zone", "list_push", "allocate", "compress"):
        table[part] = costs[part]
    return Kernel(**table)


def _stages(rows: list[dict[str, Any]], costs: dict[str, Cost], inside: str = "") -> tuple[Stage, ...]:
    """Return the stages inside one, each with its own; a row's parts replace those of its cost."""
    stages = []
    for row in rows:
        if row.get("inside", "") == inside:
            own = {part: row[part] for part in (*COST_PARTS, "kind", "source") if part in row}
            rest = {name: row[name] for name in row.keys() - own.keys() - {"stage", "lock", "inside"}}
            lock = Lock[row.get("lock", "none").upper().replace(" ", "_")]
            name = row["stage"]
            cost = replace(costs.get(name, Cost()), **own)
            stages.append(Stage(name, cost, lock, children=_stages(rows, costs, name), **rest))
    return tuple(stages)


# fmt: off
def lab_storm(processes: int = 1, mb: int = 64, swap_permille: int = 1000, foreground: bool = True,
              hash_ns: int = HASH_NS["native"], **choices: Any) -> Storm:
    """Return the storm of data/measured (its README): processes of `mb` MiB, part of it swapped out.

    The lab's own monitor takes `MONITOR_NS` of each millisecond in real time, and kills are 8 us apart. The
    foreground hashes for `hash_ns` (CPU work alone: 3.38 ms on the measured 2-CPU machine, 16.8 ms in
    instructions, 6 ms emulated), then touches 16 MiB.
    """
    swap_entries = mb * PAGES_PER_MB * swap_permille // 1000
    return Storm(
        "lab", "processes of the measurements in data/measured, with or without their foreground",
        processes=processes,
        swap_entries=swap_entries, present_pages=mb * PAGES_PER_MB - swap_entries,
        gap_ns=8_000, cold=False, swapped_in_front=True,
        background=(Background(1, MONITOR_NS, MS, realtime=True, monitor=True),),
        foreground=(Phase(hash_ns), Phase(0, 16 * PAGES_PER_MB)) if foreground else (),
    ).but(**choices)


def _camera(machine: Machine | None, background_permille: int = 600, work_permille: int = 1000,
            touch_permille: int = 1000, small_cores_only: int = 0, **choices: Any) -> Storm:
    machine = machine or _machine("phone-8gb")
    phases = ((450 * MS, 30_000), (80 * MS, 25_000))  # CPU work, pages touched
    return Storm(
        "camera", "lmkd kills background apps while the camera starts (sizes: data/mail; the rest assumed)",
        processes=12,
        swap_entries=APP_SWAP_ENTRIES,
        present_pages=[17_700, 17_900, 24_800], file_pages=[33_000, 38_000],
        gap_ns=(0, 8 * MS), sharing=8, size_classes=100,
        exits_capacity_max=min(machine.capacity) if small_cores_only else 1024,
        background=background_load(machine, background_permille, 16, 8 * MS),
        foreground=tuple(
            Phase(cpu_ns * work_permille // 1000, pages * touch_permille // 1000, threads=2)
            for cpu_ns, pages in phases
        ),
    ).but(**choices)


def _lmkd(machine: Machine | None, swap_free_permille: int = 60, processes: int = 12,
          **choices: Any) -> Storm:
    machine = machine or _machine("phone-8gb")
    names = ("background_permille", "work_permille", "touch_permille")
    camera = _camera(machine, **{name: choices.pop(name) for name in names if name in choices})
    entries = sum(APP_SWAP_ENTRIES) // len(APP_SWAP_ENTRIES)
    taken = machine["swap_slots"] * (1000 - swap_free_permille) // 1000
    # lmkd's low watermark is the kernel's with the zones' reserves (calc_zone_watermarks of lmkd.cpp).
    low = machine["watermark_pages"] * 5 // 4  # the reserves are assumed
    return camera.but(
        name="lmkd", what="an app starts on a full phone; AOSP's lmkd kills while memory and swap are low",
        processes=processes, gap_ns=0, kill_timeout_ns=100 * MS, kill_below_pages=low, free_pages=low,
        swap_used_entries=max(0, taken - processes * entries),
    ).but(**choices)


def _munmap(machine: Machine | None, mb: int = 256, **choices: Any) -> Storm:
    return Storm(
        "munmap", "processes that unmap swapped-out memory at once, as in published tables",
        swap_entries=mb * PAGES_PER_MB, run_entries=512, layout="sequential",
        how="munmap", frees_in_order=True, free_zspage_permille=PUBLISHED_FREE_ZSPAGE,
    ).but(**choices)


def _server(machine: Machine | None, **choices: Any) -> Storm:
    return Storm(
        "server", "a container of many processes is killed at once",
        processes=100, swap_entries=100_000, present_pages=25_000, run_entries=4, size_classes=60,
    ).but(**choices)


_STORMS: dict[str, Any] = {
    "camera": _camera, "lmkd": _lmkd, "lab": lambda _, **choices: lab_storm(**choices),
    "munmap": _munmap, "server": _server,
}
