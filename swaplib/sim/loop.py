"""The event loop: it takes the next event and lets one CPU, one kill or one wake-up happen."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.clock import TRACE_ROOM, close_segment, sample
from swaplib.sim.events import schedule_cpu, take
from swaplib.sim.foreground import start_phase, step_back, step_front
from swaplib.sim.reaper import offer_victim, step_reaper
from swaplib.sim.scheduler import give_up, next_task, rest, wake
from swaplib.sim.state import (
    ASLEEP,
    CPU_BUSY,
    CPU_EVENT,
    CPU_SPINS,
    ENDED,
    FRONT,
    KILL_EVENT,
    REAPER,
    RUN,
    SLEEP,
    SPIN,
    SWITCH,
    WAIT,
    WALKER,
    WORKER,
)
from swaplib.sim.walker import step_walker
from swaplib.sim.worker import step_worker
from swaplib.sim.world import World

ROOM = 64  # works, parts and events that one event may need


@compiled
def run_events(w: World) -> bool:
    """Run until the storm is over (True) or an array must grow (False); call again after growing it."""
    system = w.system[0]
    while not _is_over(w):
        if (
            system.free_works < ROOM
            or system.free_parts < ROOM
            or system.heap_size + ROOM + w.task.shape[0] > w.heap.shape[0]
            or system.traced + TRACE_ROOM > w.trace.shape[0]
        ):
            return False
        if system.heap_size == 0:  # everybody sleeps for ever
            system.timed_out = 1
            return True
        if w.heap[0, 0] > system.limit_ns:
            sample(w, system.limit_ns)
            system.now = system.limit_ns
            system.timed_out = 1
            return True
        time, kind, argument, generation = take(w)
        if kind == CPU_EVENT and generation != w.cpu[argument].generation:
            continue
        sample(w, time - 1)
        system.now = time
        system.handled += 1
        if kind == CPU_EVENT:
            _go_on(w, argument)
        elif kind == KILL_EVENT:
            _kill(w, argument)
        elif argument < 0:
            start_phase(w)
        else:
            w.task[argument].left_ns = w.task[argument].burst_ns
            wake(w, argument)
    return True


@compiled
def _is_over(w: World) -> bool:
    system = w.system[0]
    return system.alive == 0 and system.works_pending == 0 and system.front_phase >= system.front_phases


@compiled
def _kill(w: World, process: int) -> None:
    w.process[process].killed_ns = w.system[0].now
    wake(w, process)  # task i is process i's
    if w.process[process].dying > 0:
        offer_victim(w, process)


@compiled
def _go_on(w: World, cpu: int) -> None:
    """Let a CPU whose segment has ended run its task on, or another, until something takes time."""
    c = w.cpu[cpu]
    system = w.system[0]
    close_segment(w, cpu)
    while True:
        if c.task < 0 and next_task(w, cpu) < 0:
            rest(w, cpu)
            return
        c.state = CPU_BUSY
        task = c.task
        if c.last != task:
            c.last = task
            if system.switch_ns > 0:
                c.category, c.planned = SWITCH, system.switch_ns
                schedule_cpu(w, cpu, system.now + system.switch_ns)
                return
        t = w.task[task]
        if t.atomic == 0 and give_up(w, cpu):
            continue
        code = _step(w, task)
        if code == RUN:
            c.category, c.planned = system.segment_category, system.segment_ns
            end = system.now + system.segment_ns
            if c.waiting > 0 and t.left_ns > 0:
                end = min(end, max(c.slice_end, system.now + 1))
            schedule_cpu(w, cpu, end)
            return
        if code == WAIT:
            c.category, c.state = SPIN, CPU_SPINS
            return
        if code == SLEEP:
            c.task = -1
            if t.state != ENDED:
                t.state = ASLEEP


@compiled
def _step(w: World, task: int) -> int:
    kind = w.task[task].kind
    if kind == WALKER:
        return step_walker(w, task)
    if kind == WORKER:
        return step_worker(w, task)
    if kind == REAPER:
        return step_reaper(w, task)
    if kind == FRONT:
        return step_front(w, task)
    return step_back(w, task)
