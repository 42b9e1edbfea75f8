"""A dying process walks its page tables and gives back what it finds; a reaper (process_mrelease) may help.

Swap entries wait or are freed as the policy says; present pages go through the ordinary gather. The order is
that of exit_mmap. Owner and reaper claim page tables of 512 entries in address order.
"""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.sim import state
from swaplib.sim.calls import nanoseconds, start_freeing, start_program
from swaplib.sim.clock import spend
from swaplib.sim.memory import give_present_pages
from swaplib.sim.queues import wake
from swaplib.sim.state import AGAIN, PRESENT, SLEEP, SWAP, TABLE
from swaplib.sim.waiting import (
    FREE_NOW,
    free_batch,
    hand_over,
    meet,
    process_closes,
    process_opens,
    run_is_met,
)
from swaplib.sim.world import World

NO_TABLE = -1
TABLE_PAGES = 512
FLUSH_FOLIOS = 512  # folios freed between two points of rescheduling, Linux 6.12 mm/mmu_gather.c:100


@compiled
def step_walker(w: World, task: int) -> int:
    """Do the next thing of a dying process that happens again and again; the rest is `_begin_or_end`."""
    t = w.task[task]
    p = w.process[t.process]
    if t.doing == SWAP and t.swap_left > 0:
        run = min(p.run_entries, t.swap_left)  # the last run of a table may be shorter
        asked = run_is_met(w, task, run, t.swap_left // run)
        if asked != FREE_NOW:
            return asked
        meet(w, task, start_freeing(w, task, t.process, t.swap_left, state.RELEASE))
    elif t.doing == SWAP:
        t.doing = PRESENT
    elif t.doing == TABLE:
        asked = _claim_table(w, task, state.WALK)
        t.doing = state.PASSED if asked == NO_TABLE else SWAP
        return AGAIN if asked == NO_TABLE else asked
    elif (
        t.doing == PRESENT
    ):  # the table's present pages join the ordinary gather, which is flushed when it is full
        p.unflushed_pages += t.present_left + t.file_left
        p.unflushed_present_pages += t.present_left
        t.doing = state.FLUSH if p.unflushed_pages >= w.system[0].flush_capacity else TABLE
    elif t.doing == state.FLUSH:
        folio = w.storm[0].folio_pages
        pages = min(FLUSH_FOLIOS * folio, p.unflushed_present_pages)
        if pages > 0:
            t.doing = state.FLUSHED
            _free_pages(w, task, pages, (pages + folio - 1) // folio, state.WALK)
        else:
            p.unflushed_pages = 0
            t.doing = TABLE
    elif t.doing == state.FLUSHED:
        give_present_pages(w, t.process, t.entries)
        p.unflushed_present_pages -= t.entries
        t.doing = state.FLUSH
    elif t.doing == state.HAND_OVER:
        t.doing = SWAP
        return hand_over(w, task)
    elif t.doing == state.FREE_BATCH:
        free_batch(w, task)
    else:
        return _begin_or_end(w, task)
    return AGAIN


@compiled
def step_reaper(w: World, task: int) -> int:
    """Do the next thing of a reaper: claim a table of its victim, free its entries, give its pages back."""
    t = w.task[task]
    p = w.process[t.process]
    if t.doing == TABLE:
        asked = _claim_table(w, task, state.REAP)
        if asked != NO_TABLE:
            t.doing = SWAP
            return asked
        p.reapers -= 1
        if p.reapers == 0 and p.owner_waits > 0:
            p.owner_waits = 0
            wake(w, t.process)
        return SLEEP
    if t.doing == SWAP and t.swap_left > 0:
        entries = start_freeing(w, task, t.process, t.swap_left, state.REAP)
        t.swap_left -= entries
        p.met_entries += entries
    elif t.doing == SWAP:
        t.doing = PRESENT
    elif t.doing == PRESENT:
        t.doing = state.FLUSHED
        if t.present_left > 0:
            _free_pages(w, task, t.present_left, 0, state.REAP)
    else:
        t.doing = TABLE
        if t.present_left > 0:
            give_present_pages(w, t.process, t.present_left)
    return AGAIN


@compiled
def offer_victim(w: World, process: int) -> None:
    """Give a killed process to a reaper that has nothing to do; without one, or to unmap, it works alone."""
    if w.process[process].dying == 0:
        return
    for task in range(w.system[0].first_reaper, w.system[0].first_foreground):
        t = w.task[task]
        if t.state == state.ASLEEP:
            t.process = process
            t.doing = TABLE
            t.second_pass = 1  # the owner does the present pages
            w.process[process].reapers += 1
            wake(w, task)
            return


@compiled
def _begin_or_end(w: World, task: int) -> int:
    t, machine = w.task[task], w.machine[0]
    p = w.process[t.process]
    capacity = w.cpu[t.cpu].capacity
    if t.doing == state.PRELUDE:
        t.doing = state.OPEN
        return spend(w, p.dying * machine.prelude_ns * 1024 // capacity, state.OTHER)
    if t.doing == state.OPEN:
        t.doing = TABLE
        p.opened_ns = w.system[0].now
        process_opens(w, task)
        return AGAIN
    if t.doing == state.PASSED:  # one pass over the page tables
        t.doing = state.AWAIT
        if p.unflushed_pages > 0:
            t.doing = state.FLUSH
        elif w.policy[0].present_first > 0 and t.second_pass == 0:
            t.second_pass = 1
            t.doing = TABLE
        return AGAIN
    if t.doing == state.AWAIT:  # exit_mmap takes the mmap lock for writing, so it waits for a reaper at work
        t.doing = state.CLOSE
        p.owner_waits = 1 if p.reapers > 0 else 0
        return SLEEP if p.reapers > 0 else AGAIN
    if t.doing == state.CLOSE:
        t.doing = state.LEAVE
        return process_closes(w, task)
    if t.doing == state.LEAVE:
        t.doing = state.GONE
        return spend(w, p.dying * machine.postlude_ns * 1024 // capacity, state.OTHER)
    p.exited_ns = w.system[0].now
    w.system[0].alive -= 1
    t.state = state.ENDED
    return SLEEP


@compiled
def _free_pages(w: World, task: int, pages: int, folios: int, category: int) -> None:
    batches = (pages + w.kernel[0].zone_pages - 1) // w.kernel[0].zone_pages
    start_program(w, task, state.FREE_PAGES, w.task[task].process, pages, batches, folios, category)


@compiled
def _claim_table(w: World, task: int, category: int) -> int:
    """Claim the next page table and ask for the time of its walk; NO_TABLE when none is left."""
    t = w.task[task]
    p = w.process[t.process]
    two_passes = w.policy[0].present_first > 0
    swap_alone = two_passes and t.second_pass > 0
    table = p.next_swap_table if swap_alone else p.next_table
    if table >= p.tables:
        return NO_TABLE
    if swap_alone:
        p.next_swap_table += 1
    else:
        p.next_table += 1
    swap = _pages_in_table(w, t.process, table, 0, p.swap_entries)
    present = _pages_in_table(w, t.process, table, p.swap_entries, p.present_pages)
    file = _pages_in_table(w, t.process, table, p.swap_entries + p.present_pages, p.file_pages)
    scanned = swap
    if swap_alone:
        present = file = 0
    elif two_passes:
        swap = 0
    t.swap_left = swap
    t.present_left = present
    t.file_left = file
    runs = (swap + p.run_entries - 1) // p.run_entries
    jumps = (swap + p.jump_entries - 1) // p.jump_entries
    walk, page = w.cost[state.WALK_COST], w.cost[state.PRESENT_COST]
    cpu_ps = scanned * walk.entry_cpu_ps + runs * walk.run_cpu_ps + (present + file) * page.entry_cpu_ps
    memory_ps = jumps * walk.run_memory_ps + (present + file) * page.entry_memory_ps
    return spend(w, nanoseconds(w, t.cpu, p.node, cpu_ps, memory_ps), category)


@compiled
def _pages_in_table(w: World, process: int, table: int, start: int, pages: int) -> int:
    """Return how many of some pages lie in a table: from page `start` on, or an even share."""
    if w.storm[0].swapped_in_front > 0:
        return max(0, min(start + pages, (table + 1) * TABLE_PAGES) - max(start, table * TABLE_PAGES))
    tables = w.process[process].tables
    return pages * (table + 1) // tables - pages * table // tables
