"""One run: a storm on a machine, under a kernel and a release policy."""

from __future__ import annotations

from functools import cache

import numpy as np

from swaplib.model.checks import at_least
from swaplib.model.compiled import compile_once
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim import state
from swaplib.sim.clock import write_stretch
from swaplib.sim.loop import ROOM, run_events
from swaplib.sim.outcome import Outcome
from swaplib.sim.prepare import grow, prepare
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
        Lock acquisitions that are simulated as one, 1 to 16. With one walker a CPU, 1, 4 and 16 agree within 1 % of
        times and 2 points of spin share (tests/test_engine_functional.py); 64 would be up to 2 % off, so it is refused.
    variation_permille
        Largest deviation of a cost from its mean, 0 to 1000.
    trace
        Keep what every CPU did when, for `plot_timeline` and `Outcome.to_perfetto`.

    Returns
    -------
    Outcome
        Frames and a summary.

    Raises
    ------
    ValueError
        If the models do not fit together, before anything runs.
    """
    for what, value, kind in (
        ("machine", machine, Machine),
        ("kernel", kernel, Kernel),
        ("storm", storm, Storm),
        ("policy", policy, Policy),
    ):
        if not isinstance(value, kind):
            raise ValueError(
                f"{what} is {value!r}; expected a {kind.__name__}, as swaplib.{what}(NAME) returns"
            )
    at_least("grain", grain, 1, GRAIN)
    at_least("variation_permille", variation_permille, 0, 1000)
    deaths = storm.draw(machine, seed, experiment)
    world = prepare(
        machine,
        kernel,
        storm,
        policy,
        deaths,
        grain=grain,
        variation_permille=variation_permille,
        trace=trace,
    )
    world, traces = run(world, deaths.kill_ns, storm)
    return Outcome(machine, kernel, storm, policy, seed, world, traces)


def run(world: World, kill_ns: np.ndarray, storm: Storm) -> tuple[World, np.ndarray]:
    """Run a prepared world to its end; return it and the trace (rows of `World.trace`)."""
    from swaplib.sim.events import schedule

    for process, time in enumerate(kill_ns):
        schedule(world, int(time), state.KILL_EVENT, process, 0)
    for task in np.flatnonzero(world.task.kind == state.BACK):
        schedule(world, int(world.task[task].next_ns), state.WAKE_EVENT, int(task), 0)
    if storm.foreground:
        schedule(world, storm.foreground_at_ns, state.WAKE_EVENT, -1, 0)
    compile_engine()
    traces = []
    system = world.system[0]
    while not run_events(world):
        if system.free_works < ROOM:
            world = grow(world, works=len(world.work))
        if system.free_parts < ROOM:
            world = grow(world, parts=len(world.part))
        if system.heap_size + ROOM + len(world.task) > len(world.heap):
            world = grow(world, events=len(world.heap))
        if system.traced:
            traces.append(world.trace[: system.traced].copy())
            system.traced = 0
    _close(world)
    traces.append(world.trace[: system.traced].copy())
    return world, np.concatenate(traces)


@cache
def compile_engine() -> None:
    """Compile the engine, or load it from the cache; a run does it by itself."""
    compile_once(run_events, world_type)


def _close(world: World) -> None:
    """Charge every CPU up to the end, and write the last sample and the open stretches."""
    from swaplib.sim.clock import close_segment, note

    for cpu in range(len(world.cpu)):
        close_segment(world, cpu)
        if world.system[0].is_traced:
            write_stretch(world, cpu, int(world.system[0].now))
    system = world.system[0]
    if system.samples and world.sample[system.samples - 1, 0] == system.now:
        system.samples -= 1
    if system.samples < len(world.sample):
        note(world, int(system.now))
