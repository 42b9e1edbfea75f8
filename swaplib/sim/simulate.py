"""One run: a storm on a machine, under a kernel and a release policy."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from swaplib.model.checks import at_least
from swaplib.model.compiled import compile_once
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim.loop import run_events
from swaplib.sim.outcome import Outcome
from swaplib.sim.prepare import grow, prepare
from swaplib.sim.waiting import STEP_PORTIONS, STEP_WORKS
from swaplib.sim.world import World, world_type

GRAIN = 16


def simulate(
    machine: Machine,
    kernel: Kernel,
    storm: Storm,
    policy: Policy,
    seed: int = 0,
    *,
    experiment: int = 0,
    grain: int = GRAIN,
    variation_permille: int = 300,
    trace: bool = True,
) -> Outcome:
    """Simulate one storm and return what happened.

    The same arguments give the same bits on every machine; policies with the same seed face the same storm.

    Parameters
    ----------
    machine, kernel, storm, policy
        The models, by hand or from `swaplib.machine`, `swaplib.kernel`, `swaplib.storm` and `swaplib.policy`.
    seed, experiment
        Which of the storm's draws this is.
    grain
        Lock acquisitions that are simulated as one, 1 to 16. With one walker a CPU, 1, 4 and 16 agree within
        1 % of times and 2 points of spin share (tests/test_engine_functional.py); 64 would be up to 2 % off.
    variation_permille
        Largest deviation of a cost from its mean, 0 to 1000.
    trace
        Keep what every CPU did when, for `plot_timeline` and `Outcome.to_perfetto`.

    Returns
    -------
    Outcome
        Frames and a summary. A run that has not ended at the storm's limit, or that handles more than 2**32
        events, or far more steps at one instant than there are entries and pages, is cut off as `timed_out`.

    Raises
    ------
    ValueError
        If the models do not fit together, before anything runs.
    """
    for value, kind in ((machine, Machine), (kernel, Kernel), (storm, Storm), (policy, Policy)):
        if not isinstance(value, kind):
            what = kind.__name__.lower()
            raise ValueError(f"{what} is {value!r}; expected what swaplib.{what}(NAME) returns")
    at_least("grain", grain, 1, GRAIN)
    at_least("variation_permille", variation_permille, 0, 1000)
    deaths = storm.draw(machine, seed, experiment)
    choices: dict[str, Any] = {"grain": grain, "variation_permille": variation_permille, "trace": trace}
    world, traces = run(prepare(machine, kernel, storm, policy, deaths, **choices))
    return Outcome(machine, kernel, storm, policy, seed, world, traces)


def run(world: World) -> tuple[World, np.ndarray]:
    """Run a prepared world to its end: the world, and its trace (CPU, start, end, category, task)."""
    compile_engine()
    system, traces, is_over = world.system[0], [], False
    while not is_over:
        is_over = run_events(world)
        traces.append(np.array(world.stretch[: system.stretches]))
        system.stretches = 0
        if system.free_works < STEP_WORKS:
            world = grow(world, "work", len(world.work))
        if system.free_portions < STEP_PORTIONS:
            world = grow(world, "portion", len(world.portion))
    return world, np.concatenate(traces).view(np.int64).reshape(-1, 5)


@cache
def compile_engine() -> None:
    """Compile the engine, or load it from the cache; a run does it by itself."""
    compile_once(run_events, world_type)
