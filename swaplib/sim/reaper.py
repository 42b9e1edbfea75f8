"""A reaper (process_mrelease): it claims page tables of one victim beside the owner and frees synchronously."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim.release import start_freeing, start_program, step_program
from swaplib.sim.scheduler import wake
from swaplib.sim.state import AGAIN, ASLEEP, FLUSH, FLUSHED, PRESENT, REAP, RUN, SLEEP, SWAP, TABLE
from swaplib.sim.tables import claim_table
from swaplib.sim.walker import return_present
from swaplib.sim.world import World


@compiled
def offer_victim(w: World, process: int) -> None:
    """Give a killed process to a reaper that has nothing to do; without one the owner exits alone."""
    system = w.system[0]
    for task in range(system.first_reaper, system.first_front):
        t = w.task[task]
        if t.state == ASLEEP:
            t.process = process
            t.stage = TABLE
            w.process[process].reapers += 1
            wake(w, task)
            return


@compiled
def step_reaper(w: World, task: int) -> int:
    """Do the next thing: claim a table, free its entries, give its pages back."""
    t = w.task[task]
    if t.program >= 0:
        return step_program(w, task)
    p = w.process[t.process]
    system = w.system[0]
    if t.stage == TABLE:
        if not claim_table(w, task, system.present_first > 0, True):  # the owner does the present pages
            p.reapers -= 1
            if p.reapers == 0 and p.owner_waits > 0:
                p.owner_waits = 0
                wake(w, t.process)
            return SLEEP
        t.stage = SWAP
        system.segment_category = REAP
        return RUN if system.segment_ns > 0 else AGAIN
    if t.stage == SWAP:
        if t.swap_left > 0:
            entries = start_freeing(w, task, t.process, t.swap_left, REAP)
            t.swap_left -= entries
            p.taken += entries
        else:
            t.stage = PRESENT
        return AGAIN
    if t.stage == PRESENT:
        t.stage = FLUSHED
        if t.present_left > 0:
            calls = (t.present_left + system.zone_pages - 1) // system.zone_pages
            start_program(w, task, FLUSH, t.process, t.present_left, calls, 0, REAP)
        return AGAIN
    if t.present_left > 0:
        return_present(w, t.process, t.present_left)
        t.present_left = 0
    t.stage = TABLE
    return AGAIN
