"""One small run of every policy, on a machine and a kernel that no fit changes, as JSON.

The stored answers are tests/golden/runs.json. When the engine is changed on purpose, look at what moved and
accept it:

    python -m tests.golden_runs > new.json && diff new.json tests/golden/runs.json
    mv new.json tests/golden/runs.json

Without the compiler (NUMBA_DISABLE_JIT=1) no index may be below 0, and who goes on with a call must hold the
locks that it took.
"""

import hashlib
import json
import math
import os
from dataclasses import fields
from types import SimpleNamespace

import numpy as np

import swaplib
from swaplib.model.kernel import Cost, Kernel, Lock, Stage
from swaplib.model.machine import Machine
from swaplib.model.storm import Background, Phase, Storm
from swaplib.sim import simulate as engine

SCALES = {"cpu_cost_permille": 1000, "memory_cost_permille": 1000, "core_entry_permille": 1000}
LOCKS = {"handover_local_ps": 120_000, "handover_remote_ps": 370_000, "growth_permille": 100}
LINES = {"line_local_ps": 30_000, "line_remote_ps": 58_000, "remote_memory_permille": 1500}
TIMES = {"slice_ns": 500_000, "tick_ns": 0, "switch_ns": 1500, "wake_ns": 5000, "fault_ns": 800}
EXIT = {"prelude_ns": 50_000, "postlude_ns": 30_000, "sort_ps": 2500, "work_ns": 300}
GATHER = {"gather_record_ps": 15_000, "gather_page_ns": 300, "queue_work_ns": 500, "warm_entries": 0}
MEMORY = {"memory_pages": 100_000, "free_pages": 2600, "watermark_pages": 2500, "atomic_reserve_pages": 500}
SWAP = {"zram_ratio_permille": 2500, "swap_slots": 60_000}
NUMBERS = {**SCALES, **LOCKS, **LINES, **TIMES, **EXIT, **GATHER, **MEMORY, **SWAP}
MACHINE = Machine("golden", "", (1024, 1024, 400, 400), (0, 0, 1, 1), (0, 0, 1, 1), "full", NUMBERS)

OBJECTS = Stage(
    "object",
    Cost(entry_cpu_ps=70_000, entry_memory_ps=90_000, run_memory_ps=40_000),
    zram=True,
    children=(Stage("class", Cost(entry_cpu_ps=110_000), Lock.CLASS, "entry", 2, zram=True, objects=True),),
)
LOCKED = {"lines": 2, "children": (OBJECTS,)}
KERNEL = Kernel(
    name="golden",
    what="",
    native_call="entry",
    single=(Stage("put", Cost(entry_cpu_ps=80_000)),),
    run=(Stage("call", Cost(call_cpu_ps=150_000, entry_cpu_ps=20_000), Lock.DEVICE, **LOCKED),),
    drain=(Stage("drain", Cost(call_cpu_ps=200_000, entry_cpu_ps=90_000), Lock.DEVICE, **LOCKED),),
    slot_cache_entries=64,
    walk=Cost(entry_cpu_ps=12_000, run_cpu_ps=30_000, run_memory_ps=20_000),
    present=Cost(entry_cpu_ps=100_000),
    flush=Cost(entry_cpu_ps=150_000),
    zone=Cost(call_cpu_ps=1_500_000),
    list_push=Cost(call_cpu_ps=60_000),
    allocate=Cost(entry_cpu_ps=60_000),
    compress=Cost(entry_cpu_ps=5_000_000),
    zone_pages=63,
    ordered_single=False,
)
BACKGROUND = Background(2, 300_000, 1_000_000), Background(1, 50_000, 1_000_000, realtime=True, monitor=True)
STORM = Storm(
    "golden",
    processes=4,
    swap_entries=[700, 3300, 4000],
    present_pages=(100, 700),
    file_pages=300,
    run_entries=[1, 1, 4],
    gap_ns=(0, 400_000),
    size_classes=8,
    zspage_objects=4,
    same_filled_permille=100,
    background=BACKGROUND,
    foreground=(Phase(1_000_000, 300, threads=2), Phase(300_000, 200)),
    limit_ns=1_000_000_000,
)


def golden_runs(seed: int = 0) -> dict[str, dict[str, int | str | None]]:
    """Return by policy the summary in whole nanoseconds and entries, and a digest of what happened when."""
    answers = {}
    for name in swaplib.policies().name:
        outcome = swaplib.simulate(MACHINE, KERNEL, STORM, swaplib.policy(name), seed)
        answer: dict[str, int | str | None] = {}
        for key, value in outcome.summary().items():
            if "_ms" in key:
                answer[key.replace("_ms", "_ns")] = None if math.isnan(value) else round(value * 1e6)
            else:
                answer[key] = int(value)
        samples = outcome.world.sample[: int(outcome.world.system[0].samples)]
        answer["digest"] = hashlib.sha256(outcome.trace.tobytes() + samples.tobytes()).hexdigest()[:16]
        answers[name] = answer
    return answers


class Checked(np.recarray):
    """An array of records that refuses a negative index."""

    def __getitem__(self, index):
        if isinstance(index, (int, np.integer)) and index < 0:
            raise IndexError(f"index {index} into records of {self.dtype.names[:3]}")
        return super().__getitem__(index)


def check_indices_and_locks():
    """Let the engine run on checked arrays, and look at the locks of whoever goes on with a call."""
    run_events, step_program = engine.run_events, engine.step_program

    def run_checked(world):
        arrays = {field.name: getattr(world, field.name).view(Checked) for field in fields(world)}
        return run_events(SimpleNamespace(**arrays))

    def step_checked(w, task):
        for lock in w.task[task].held[: w.task[task].depth]:
            assert lock < 0 or w.lock[lock].owner == task, f"task {task} goes on without lock {lock}"
        return step_program(w, task)

    engine.run_events, engine.step_program = run_checked, step_checked


if __name__ == "__main__":
    if os.environ.get("NUMBA_DISABLE_JIT") == "1":
        check_indices_and_locks()
    print(json.dumps(golden_runs(), indent=1))
