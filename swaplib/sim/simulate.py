"""One run of a storm: the event loop takes the next event and lets one CPU, one kill or one wake-up happen.

Compiled code does not grow arrays. So a run leaves the loop where an array could be too short for the next
step, even in the midst of an event, and goes on from there: all that it knows stands in the world's records.
"""

import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from swaplib.model.checks import at_least
from swaplib.model.compiled import compiled, entry, inlined
from swaplib.model.kernel import Kernel
from swaplib.model.machine import Machine
from swaplib.model.policy import Policy
from swaplib.model.storm import Storm
from swaplib.sim import state
from swaplib.sim.calls import step_program
from swaplib.sim.cpu_time import begin_segment, close, close_segment, sample, spend
from swaplib.sim.exits import offer_victim, step_exit
from swaplib.sim.foreground import LOOK_NS, memory_is_short, start_phase, step_background, step_foreground
from swaplib.sim.outcome import Outcome
from swaplib.sim.prepare import grow, prepare
from swaplib.sim.queues import cancel, schedule, take_work, wake
from swaplib.sim.scheduler import give_up, next_task, place_woken
from swaplib.sim.state import AGAIN, IDLE, NEVER, RUN, SLEEP
from swaplib.sim.waiting import STEP_ROOM, call_has_ended, go_on_with_work, work_is_done, work_is_fetched
from swaplib.sim.world import World, world_type

GRAIN = 16
STEPS_A_CALL = 1 << 22  # after which Python looks whether it is interrupted


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
        The models, by hand or from the catalogue; a ValueError says where they do not fit together.
    seed, experiment
        Which of the storm's draws this is.
    grain
        Lock acquisitions that are simulated as one, 1 to 16: within 1 % of times, 2 points of spin share.
    variation_permille
        Largest deviation of a cost from its mean, 0 to 1000.
    trace
        Keep what every CPU did when, for `plot_timeline` and `Outcome.to_perfetto`.

    Returns
    -------
    Outcome
        Cut off as `timed_out` at the storm's limit, or where one instant has steps without end.
    """
    for value, kind in ((machine, Machine), (kernel, Kernel), (storm, Storm), (policy, Policy)):
        if not isinstance(value, kind):
            what = kind.__name__.lower()
            raise ValueError(f"{what} is {value!r}; expected what swaplib.{what}(NAME) returns")
    at_least("grain", grain, 1, GRAIN)
    at_least("variation_permille", variation_permille, 0, 1000)
    deaths = storm.draw(machine, seed, experiment)
    world = prepare(machine, kernel, storm, policy, deaths, grain, variation_permille, trace)
    return Outcome(machine, kernel, storm, policy, seed, *run(world))


def run(world: World) -> tuple[World, np.ndarray]:
    """Run a prepared world to its end: the world, and its trace (CPU, start, end, category, task)."""
    compile_engine()
    system, traces, is_over = world.system[0], [], False
    while not is_over:
        is_over = run_events(world)
        traces.append(np.array(world.stretch[: system.stretches]))
        system.stretches = 0
        for what in ("work", "portion"):
            if system[f"free_{what}s"] < STEP_ROOM:
                world = grow(world, what, len(getattr(world, what)))
    return world, np.concatenate(traces).view(np.int64).reshape(-1, 5)


@cache
def compile_engine() -> None:
    """Compile the engine, or load it from the cache; a run does it by itself."""
    engine: Any = run_events
    if not hasattr(engine, "compile"):  # NUMBA_DISABLE_JIT=1 leaves plain Python
        return
    kept = engine.stats.cache_path
    if "ipykernel" not in sys.modules and not (kept and any(Path(kept).glob("*run_events*.nbc"))):
        print("swaplib: compiling the simulator, once, about 30 s", file=sys.stderr, flush=True)
    engine.compile((world_type,))


@entry
def run_events(w: World) -> bool:
    """Run until the storm is over (True), an array must grow, or Ctrl-C may be heard (call again)."""
    system = w.system[0]
    for _ in range(STEPS_A_CALL):
        # Room for the next step; at one instant a CPU writes at most one stretch, and one more at the end.
        if min(system.free_works, system.free_portions) < STEP_ROOM:
            break
        if system.is_traced > 0 and system.stretches + 2 * len(w.cpu) > len(w.stretch):
            break
        if system.turn < 0:
            if not _take_event(w):
                close(w)
                return True
        elif _is_to_step(w, system.turn):
            task = w.cpu[system.turn].task
            t = w.task[task]
            asked = AGAIN if t.program >= 0 else _step(w, task)
            if asked == AGAIN and t.program >= 0 and system.first_woken < 0:  # else the woken come first
                asked = step_program(w, task)
                if asked == AGAIN:
                    program, t.program = t.program, -1
                    t.is_atomic = system.is_voluntary if t.kind == state.WORKER else t.table_lock >= 0
                    asked = call_has_ended(w, task, program)
            if system.first_woken >= 0:
                place_woken(w)
            _answer(w, system.turn, asked)
    return False


@inlined
def _step(w: World, task: int) -> int:
    """Do the next thing of a task that makes no call now."""
    kind = w.task[task].kind
    if kind == state.WALKER or kind == state.REAPER:
        return step_exit(w, task)
    if kind == state.WORKER:
        return _step_worker(w, task)
    if kind == state.FOREGROUND_THREAD:
        return step_foreground(w, task)
    return step_background(w, task)


@inlined
def _take_event(w: World) -> bool:
    """Let the next thing happen; False when the storm is over, or is cut off."""
    system, event = w.system[0], w.event[1]
    if _is_over(w) or system.timed_out > 0:
        return False
    time, slot = event.time, event.slot
    is_kill = system.next_kill < system.first_worker and w.process[system.next_kill].kill_ns <= time
    if is_kill:
        time = w.process[system.next_kill].kill_ns
    if time == NEVER or time > w.storm[0].limit_ns:
        system.timed_out = 1
        if time != NEVER:
            sample(w, w.storm[0].limit_ns)
            system.now = w.storm[0].limit_ns
        return False
    if system.next_sample_ns < time:
        sample(w, time - 1)
    if time > system.now:
        system.now, system.steps = time, 0
    system.handled += 1
    if is_kill:
        _kill_or_wait(w, system.next_kill)
    elif slot < len(w.cpu):  # its event stays, most likely to be moved soon
        system.turn, system.turn_sequence = slot, event.sequence
        close_segment(w, slot)
    else:
        cancel(w, slot)
        if slot == len(w.event) // 2 - 1:
            start_phase(w)
        else:
            task = system.first_background + slot - len(w.cpu)
            w.task[task].left_ns = w.task[task].burst_ns
            wake(w, task)
    place_woken(w)
    return True


@compiled
def _is_over(w: World) -> bool:
    """Tell whether nothing is left to do; whom lmkd does not want to kill now, it will not kill later."""
    system, alive = w.system[0], w.system[0].alive
    if w.storm[0].kill_timeout_ns >= 0 and not memory_is_short(w):
        alive -= system.first_worker - system.next_kill  # task i is process i's; the kworkers come behind
    return alive == 0 and system.works_pending == 0 and system.phase >= len(w.phase)


@compiled
def _kill_or_wait(w: World, process: int) -> None:
    """Kill the next process; as lmkd only if memory is short, and then wait for it before the next."""
    system, timeout_ns = w.system[0], w.storm[0].kill_timeout_ns
    if timeout_ns >= 0 and not memory_is_short(w):
        w.process[process].kill_ns = system.now + LOOK_NS
        return
    system.next_kill += 1
    w.process[process].killed_ns = system.now
    wake(w, process)
    offer_victim(w, process)
    if timeout_ns >= 0 and system.next_kill < system.first_worker:
        w.process[system.next_kill].kill_ns = system.now + timeout_ns


@inlined
def _is_to_step(w: World, cpu: int) -> bool:
    """Choose what a CPU runs; False when that takes time, or when its task has given way."""
    c, system = w.cpu[cpu], w.system[0]
    system.steps += 1
    if system.steps > system.steps_max:  # this instant has no end
        system.timed_out, system.turn = 1, -1
        return False
    if c.task < 0 and not next_task(w, cpu):
        c.state, c.category, c.planned_ns = state.CPU_IDLE, IDLE, 0
        if w.event[len(w.event) // 2 + cpu].sequence == system.turn_sequence:
            cancel(w, cpu)
        system.turn = -1
        return False
    c.state = state.CPU_BUSY
    last, switch_ns = c.last, w.machine[0].switch_ns
    c.last = c.task
    if last != c.task and switch_ns > 0:
        c.category, c.planned_ns = state.SWITCH, switch_ns
        schedule(w, cpu, system.now + switch_ns)
        system.turn = -1
        return False
    return w.task[c.task].is_atomic > 0 or not give_up(w, cpu)


@inlined
def _answer(w: World, cpu: int, asked: int) -> None:
    """Give the task of a CPU what its step asked for."""
    c, system, t = w.cpu[cpu], w.system[0], w.task[w.cpu[cpu].task]
    if asked == RUN:
        begin_segment(w, cpu, system.segment_ns, system.segment_category)
        system.turn = -1
    elif asked == state.WAIT:
        c.state, c.category = state.CPU_SPINS, state.SPIN
        cancel(w, cpu)  # it goes on when the lock is its own, and not before
        system.turn = -1
    elif asked == SLEEP:
        c.task = -1
        if t.state != state.ENDED:
            t.state = state.ASLEEP


@inlined
def _step_worker(w: World, task: int) -> int:
    """Do the next thing of a kworker: fetch a work, begin a call that frees some of it, or go to sleep."""
    t = w.task[task]
    if t.doing == state.FETCH:
        if not take_work(w, task):
            return SLEEP
        t.doing = state.FREE
        t.is_atomic = w.system[0].is_voluntary
        work_is_fetched(w, task)
        return spend(w, w.machine[0].work_ns, state.DRAIN)
    if w.work[t.work].portions >= 0:
        go_on_with_work(w, task)
    else:
        work_is_done(w, t.work)
        t.work, t.doing, t.is_atomic = -1, state.FETCH, 0
    return AGAIN
