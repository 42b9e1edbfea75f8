"""Random runs with every index checked: ``python -m tests.fuzz_engine plain|compiled COUNT``.

`compiled` is for NUMBA_BOUNDSCHECK=1, under which an index outside of an array, or below 0, is an IndexError.
`plain` is for NUMBA_DISABLE_JIT=1; it also checks that who goes on with a call holds the locks that it took.
"""

import sys
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from hypothesis import HealthCheck, given, settings

sys.path.insert(0, str(Path(__file__).parent))

from strategies import runs
from test_engine_properties import stranded_portions

import swaplib
from swaplib.sim import loop
from swaplib.sim import simulate as engine


class Checked(np.recarray):
    """An array of records that refuses a negative index."""

    def __getitem__(self, index):
        if isinstance(index, (int, np.integer)) and index < 0:
            raise IndexError(f"index {index} into records of {self.dtype.names[:3]}")
        return super().__getitem__(index)


def check_indices_and_locks():
    """Let the engine run on checked arrays, and look at the locks of whoever goes on with a call."""
    run_events, step_program = loop.run_events, loop.step_program

    def run_checked(world):
        arrays = {field.name: getattr(world, field.name).view(Checked) for field in fields(world)}
        return run_events(SimpleNamespace(**arrays))

    def step_checked(w, task):
        for lock in w.task[task].held[: w.task[task].depth]:
            assert lock < 0 or w.lock[lock].owner == task, f"task {task} goes on without lock {lock}"
        return step_program(w, task)

    engine.run_events, loop.step_program = run_checked, step_checked


def check(outcome):
    """Every entry is freed once or stranded, every nanosecond of every CPU is charged and traced once."""
    world = outcome.world
    processes = outcome.df_processes()
    freed = processes.entries_sync + processes.entries_async + processes.entries_reaped
    assert (freed <= processes.swap_entries).all()
    if not outcome.timed_out:
        stranded = np.zeros(len(processes), np.int64)
        for process, entries in stranded_portions(outcome):
            stranded[process] += entries
        assert (freed + stranded == processes.swap_entries).all()
        assert (processes.exited_ms >= processes.killed_ms).all()
    assert (world.cpu.time.sum(axis=1) == world.system[0].now).all()
    traced = np.zeros_like(world.cpu.time)
    cpu, start, end, category, _ = outcome.trace.T
    np.add.at(traced, (cpu, category), end - start)
    assert (traced == world.cpu.time).all()


def main(mode, count):
    """Check so many random runs, with up to some hundred CPUs where compiled code makes them quick."""
    if mode == "plain":
        check_indices_and_locks()
    healthy = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much]

    @settings(
        max_examples=count, deadline=None, derandomize=True, database=None, suppress_health_check=healthy
    )
    @given(runs(600 if mode == "compiled" else 6))
    def random_runs(run):
        check(swaplib.simulate(**run))

    random_runs()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
