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

from strategies import MS, runs
from test_engine_properties import PROPERTIES

import swaplib
from swaplib.sim import simulate as engine


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


def main(mode, count):
    """Check so many random runs, with up to some hundred CPUs where compiled code makes them quick."""
    if mode == "plain":
        check_indices_and_locks()

    repeatable = {"deadline": None, "derandomize": True, "database": None}

    @settings(max_examples=count, suppress_health_check=list(HealthCheck), **repeatable)
    @given(runs(600 if mode == "compiled" else 6))
    def random_runs(run):
        if mode == "plain":  # a hundred times as slow
            run["storm"] = run["storm"].but(limit_ns=2 * MS)
        outcome = swaplib.simulate(**run)
        for holds in PROPERTIES:
            holds(run, outcome)

    random_runs()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
