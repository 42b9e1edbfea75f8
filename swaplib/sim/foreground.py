"""What runs beside the exits: the foreground that starts, and background threads with bursts."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim import state
from swaplib.sim.calls import start_program
from swaplib.sim.clock import spend
from swaplib.sim.memory import RECLAIM_PAGES, credit_slots, give_pages
from swaplib.sim.queues import schedule, wake
from swaplib.sim.state import AGAIN, FOREGROUND, SLEEP
from swaplib.sim.world import World


@compiled
def start_phase(w: World) -> None:
    """Wake the threads of the next phase, each with its share of the work."""
    system = w.system[0]
    phase = w.phase[system.phase]
    system.phase_threads_left = phase.threads
    for thread in range(phase.threads):
        t = w.task[system.first_foreground + thread]
        t.left_ns = phase.cpu_ns * (thread + 1) // phase.threads - phase.cpu_ns * thread // phase.threads
        t.pages_left = phase.pages * (thread + 1) // phase.threads - phase.pages * thread // phase.threads
        t.doing = state.COMPUTE
        wake(w, system.first_foreground + thread)


@compiled
def step_foreground(w: World, task: int) -> int:
    """Do the next thing of a foreground thread: compute, touch pages, reclaim, or wait for the others."""
    t, system = w.task[task], w.system[0]
    if t.doing == state.COMPUTE:
        if t.left_ns > 0:
            return _burst(w, task, FOREGROUND)
        t.doing = state.TOUCH
    if t.doing == state.RECLAIMED:
        system.reclaimed += RECLAIM_PAGES
        give_pages(w, RECLAIM_PAGES * system.reclaim_gain_permille // 1000)
        t.doing = state.TOUCH
    if t.pages_left > 0:
        return _touch(w, task)
    t.doing = state.BARRIER
    system.phase_threads_left -= 1
    if system.phase_threads_left == 0:
        w.phase[system.phase].end_ns = system.now
        system.phase += 1
        if system.phase < system.phases:
            schedule(w, len(w.event) // 2 - 1, system.now)
    return SLEEP


@compiled
def step_background(w: World, task: int) -> int:
    """Do the next thing of a background thread: its burst, or sleep until the next one is due."""
    t, system = w.task[task], w.system[0]
    if t.left_ns > 0:
        return _burst(w, task, t.category)
    t.next_burst_ns += t.period_ns
    if t.next_burst_ns <= system.now:
        t.next_burst_ns = system.now
        t.left_ns = t.burst_ns
        return AGAIN
    schedule(w, len(w.cpu) + task - system.first_background, t.next_burst_ns)
    return SLEEP


@compiled
def _burst(w: World, task: int, category: int) -> int:
    t = w.task[task]
    capacity = w.cpu[t.cpu].capacity
    return spend(w, (t.left_ns * 1024 + capacity - 1) // capacity, category)


@compiled
def _touch(w: World, task: int) -> int:
    """Touch the next pages, or reclaim some first where memory is short, or sleep until some come back."""
    t, system, machine = w.task[task], w.system[0], w.machine[0]
    pages = min(RECLAIM_PAGES, t.pages_left)
    if w.counter[0].free_pages - pages >= machine.watermark_pages:
        w.counter[0].free_pages -= pages
        t.pages_left -= pages
        return spend(w, pages * machine.fault_ns * 1024 // w.cpu[t.cpu].capacity, FOREGROUND)
    if w.storm[0].foreground_reclaims > 0:
        if w.counter[0].free_slots >= RECLAIM_PAGES:
            t.doing = state.RECLAIMED
            credit_slots(w, -RECLAIM_PAGES)  # taken now, so that no other thread counts on them
            start_program(w, task, state.SWAP_OUT, -1, RECLAIM_PAGES, 1, 1, state.RECLAIM)
            return AGAIN
        system.slot_failures += 1
    t.doing = state.STALLED
    system.stalls += 1
    system.stalled += 1
    return SLEEP
