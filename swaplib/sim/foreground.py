"""What runs beside the exits: the foreground that starts, and background tasks with bursts."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.events import schedule
from swaplib.sim.memory import RECLAIM_PAGES, credit_slots, give_pages
from swaplib.sim.release import start_program, step_program
from swaplib.sim.scheduler import wake
from swaplib.sim.state import (
    AGAIN,
    BARRIER,
    COMPUTING,
    FOREGROUND,
    RECLAIM,
    RECLAIMING,
    RUN,
    SLEEP,
    STALLED,
    SWAP_OUT,
    TOUCHING,
    WAKE_EVENT,
)
from swaplib.sim.world import World


@compiled
def start_phase(w: World) -> None:
    """Wake the threads of the next phase, each with its share of the work."""
    system = w.system[0]
    phase = w.phases[system.front_phase]
    threads = phase[2]
    system.front_left = threads
    for thread in range(threads):
        task = system.first_front + thread
        t = w.task[task]
        t.left_ns = phase[0] * (thread + 1) // threads - phase[0] * thread // threads
        t.pages_left = phase[1] * (thread + 1) // threads - phase[1] * thread // threads
        t.stage = COMPUTING
        wake(w, task)


@compiled
def step_front(w: World, task: int) -> int:
    """Do the next thing of a foreground thread: compute, touch pages, reclaim, or wait for the others."""
    t = w.task[task]
    system = w.system[0]
    if t.program >= 0:
        return step_program(w, task)
    capacity = w.cpu[t.cpu].capacity
    if t.stage == COMPUTING:
        if t.left_ns > 0:
            system.segment_ns, system.segment_category = (
                (t.left_ns * 1024 + capacity - 1) // capacity,
                FOREGROUND,
            )
            return RUN
        t.stage = TOUCHING
    if t.stage == RECLAIMING:
        system.reclaimed += RECLAIM_PAGES
        give_pages(w, RECLAIM_PAGES * system.reclaim_gain_permille // 1000)
        t.stage = TOUCHING
    if t.pages_left > 0:
        return _touch(w, task)
    t.stage = BARRIER
    system.front_left -= 1
    if system.front_left == 0:
        w.phases[system.front_phase, 3] = system.now
        system.front_phase += 1
        if system.front_phase < system.front_phases:
            schedule(w, system.now, WAKE_EVENT, -1, 0)
    return SLEEP


@compiled
def _touch(w: World, task: int) -> int:
    t = w.task[task]
    system = w.system[0]
    pages = min(RECLAIM_PAGES, t.pages_left)
    if system.free_pages - pages >= system.watermark:
        system.free_pages -= pages
        t.pages_left -= pages
        system.segment_ns = pages * system.fault_ns * 1024 // w.cpu[t.cpu].capacity
        system.segment_category = FOREGROUND
        return RUN if system.segment_ns > 0 else AGAIN
    if system.reclaims > 0 and system.free_slots >= RECLAIM_PAGES:
        t.stage = RECLAIMING
        credit_slots(w, -1, -RECLAIM_PAGES)  # taken now, so that no other thread counts on them
        start_program(w, task, SWAP_OUT, -1, RECLAIM_PAGES, 1, 1, RECLAIM)
        return AGAIN
    if system.reclaims > 0:
        system.slot_failures += 1
    t.stage = STALLED
    system.stalls += 1
    system.stalled += 1
    return SLEEP


@compiled
def step_back(w: World, task: int) -> int:
    """Do the next thing of a background task: its burst, or sleep until the next one is due."""
    t = w.task[task]
    system = w.system[0]
    if t.left_ns > 0:
        capacity = w.cpu[t.cpu].capacity
        system.segment_ns, system.segment_category = (t.left_ns * 1024 + capacity - 1) // capacity, t.by
        return RUN
    t.next_ns += t.period_ns
    if t.next_ns <= system.now:
        t.next_ns = system.now
        t.left_ns = t.burst_ns
        return AGAIN
    schedule(w, t.next_ns, WAKE_EVENT, task, 0)
    return SLEEP
