"""A dying process walks its page tables and gives back what it finds; a reaper (process_mrelease) may help.

Swap entries wait or are freed as the policy says; present pages go through the ordinary gather. The order is
that of exit_mmap in Linux 6.12 mm/mmap.c: walk, wait for a reaper, last flush and work, the rest. Owner and
reaper both pass through all page tables of 512 entries. Beside each other they hold the lock of a table while
they walk it and free its swap entries: the second spins meanwhile, and finds the table empty.
"""

from swaplib.model.compiled import compiled, inlined
from swaplib.sim import state, waiting
from swaplib.sim.calls import acquire, drop, nanoseconds, start_freeing, start_program
from swaplib.sim.cpu_time import spend
from swaplib.sim.foreground import give_pages, share, victim_is_gone
from swaplib.sim.queues import wake
from swaplib.sim.state import AGAIN, PRESENT, SLEEP, SWAP, TABLE, WAIT
from swaplib.sim.world import World

TABLE_PAGES = 512
FLUSH_FOLIOS = 512  # folios freed between two points of rescheduling, Linux 6.12 mm/mmu_gather.c:100


@inlined
def step_exit(w: World, task: int) -> int:
    """Do the next thing of a dying process or of its reaper; what happens once is in `_begin_or_end`."""
    t = w.task[task]
    p, reaps = w.process[t.process], t.kind == state.REAPER
    if t.doing == SWAP and t.swap_left > 0:
        run = min(p.run_entries, t.swap_left)  # the last run of a table may be shorter
        asked = waiting.FREE_NOW if reaps else waiting.run_is_met(w, task, run, t.swap_left // run)
        if asked != waiting.FREE_NOW:
            return asked
        category = state.REAP if reaps else state.RELEASE
        waiting.meet(w, task, start_freeing(w, task, t.process, t.swap_left, category))
    elif t.doing == SWAP:
        t.doing = PRESENT
        if t.table_lock >= 0:
            drop(w, t.table_lock)
            t.table_lock, t.is_atomic = -1, 0
    elif t.doing == TABLE:
        return _enter_table(w, task)
    elif t.doing == state.CLAIM:
        t.doing = SWAP
        return _claim_table(w, task, state.REAP if reaps else state.WALK)
    elif t.doing == PRESENT and reaps:
        t.doing = TABLE if t.present_left == 0 else state.FLUSHED
        if t.present_left > 0:
            _free_pages(w, task, t.present_left, state.REAP)
    elif t.doing == PRESENT:  # the table's present pages join the ordinary gather, flushed when it is full
        p.unflushed_pages += t.present_left + t.file_left
        p.unflushed_present_pages += t.present_left
        t.doing = state.FLUSH if p.unflushed_pages >= w.system[0].flush_capacity else TABLE
    elif t.doing == state.FLUSH:
        pages = min(FLUSH_FOLIOS * w.storm[0].folio_pages, p.unflushed_present_pages)
        p.unflushed_present_pages -= pages
        if pages > 0:
            t.doing = state.FLUSHED
            _free_pages(w, task, pages, state.WALK)
        else:
            p.unflushed_pages = 0
            t.doing = TABLE
    elif t.doing == state.FLUSHED:
        p.present_pages_back += t.entries
        if p.present_pages_back == p.present_pages:
            p.present_freed_ns = w.system[0].now
        give_pages(w, t.entries)
        t.doing = TABLE if reaps else state.FLUSH
    elif t.doing == state.HAND_OVER:
        t.doing = SWAP
        return waiting.hand_over(w, task)
    elif t.doing == state.FREE_BATCH:
        waiting.free_batch(w, task)
    else:
        return _begin_or_end(w, task)
    return AGAIN


@compiled
def offer_victim(w: World, process: int) -> None:
    """Give a killed process to a reaper that has nothing to do; without one, or to unmap, it works alone."""
    p = w.process[process]
    for task in range(w.system[0].first_reaper, w.system[0].first_foreground):
        t = w.task[task]
        if t.state == state.ASLEEP and p.dying > 0:
            t.process, t.doing, t.tables_passed = process, state.OPEN, 0
            t.second_pass = 1  # the owner does the present pages
            p.reapers += 1
            wake(w, task)
            return


@compiled
def _begin_or_end(w: World, task: int) -> int:
    t, machine = w.task[task], w.machine[0]
    p, capacity = w.process[t.process], w.cpu[t.cpu].capacity
    if t.doing == state.PRELUDE:
        t.doing = state.OPEN
        return spend(w, p.dying * machine.prelude_ns * 1024 // capacity, state.OTHER)
    if t.doing == state.OPEN and t.kind == state.REAPER:  # find_lock_task_mm fails after exit_mm
        t.doing = TABLE if p.opened_ns < 0 else state.PASSED
        return AGAIN
    if t.doing == state.OPEN:
        t.doing = TABLE
        p.opened_ns = w.system[0].now
        waiting.process_opens(w, task)
        return AGAIN
    if t.doing == state.PASSED and t.kind == state.REAPER:
        p.reapers -= 1
        if p.reapers == 0 and p.owner_waits > 0:
            p.owner_waits = 0
            wake(w, t.process)
        return SLEEP
    if t.doing == state.PASSED:  # one pass over the page tables
        t.doing = state.AWAIT
        if w.policy[0].present_first > 0 and t.second_pass == 0:
            t.second_pass, t.tables_passed = 1, 0
            t.doing = state.FLUSH if p.unflushed_pages > 0 else TABLE
        return AGAIN
    if t.doing == state.AWAIT:  # exit_mmap takes the mmap lock for writing, so it waits for a reaper at work
        t.doing = state.FLUSH if p.unflushed_pages > 0 else state.CLOSE
        p.owner_waits = 1 if p.reapers > 0 else 0
        return SLEEP if p.reapers > 0 else AGAIN
    if t.doing == state.CLOSE:
        t.doing = state.LEAVE
        return waiting.process_closes(w, task)
    if t.doing == state.LEAVE:
        t.doing = state.GONE
        return spend(w, p.dying * machine.postlude_ns * 1024 // capacity, state.OTHER)
    p.exited_ns = w.system[0].now
    w.system[0].alive -= 1
    victim_is_gone(w, t.process)
    t.state = state.ENDED
    return SLEEP


@compiled
def _free_pages(w: World, task: int, pages: int, category: int) -> None:
    folio, batch = w.storm[0].folio_pages, w.kernel[0].zone_pages
    folios, batches = (pages + folio - 1) // folio, (pages + batch - 1) // batch
    start_program(w, task, state.FREE_PAGES, w.task[task].process, pages, batches, folios, category)


@compiled
def _enter_table(w: World, task: int) -> int:
    """Go to the next page table, and take its lock where another walks beside; or end the pass."""
    t = w.task[task]
    p = w.process[t.process]
    t.doing = state.CLAIM if t.tables_passed < p.tables else state.PASSED
    if p.reapers == 0 or t.doing == state.PASSED:
        return AGAIN
    t.is_atomic = 1
    t.table_lock = w.system[0].first_table_lock + p.first_table + _table_of(w, task)
    return AGAIN if acquire(w, t.table_lock, task, 1, 1, 1) else WAIT


@compiled
def _table_of(w: World, task: int) -> int:
    """Return the page table that a task is to walk; a reaper may begin at the end."""
    t = w.task[task]
    is_backwards = t.kind == state.REAPER and w.policy[0].reapers_walk_backwards > 0
    return w.process[t.process].tables - 1 - t.tables_passed if is_backwards else t.tables_passed


@compiled
def _claim_table(w: World, task: int, category: int) -> int:
    """Take what is left in a page table, and ask for the time of its walk."""
    t = w.task[task]
    p, two_passes = w.process[t.process], w.policy[0].present_first > 0
    swap_alone = two_passes and t.second_pass > 0
    table = _table_of(w, task)
    t.tables_passed += 1
    is_left = p.taken_in_front <= table < p.tables - p.taken_at_end
    if two_passes and not swap_alone:
        is_left = True  # the owner alone takes present pages
    elif is_left and table == p.taken_in_front:
        p.taken_in_front += 1
    elif is_left:
        p.taken_at_end += 1
    scanned = t.swap_left = _pages_in_table(w, t.process, table, 0, p.swap_entries)
    t.present_left = _pages_in_table(w, t.process, table, p.swap_entries, p.present_pages)
    t.file_left = _pages_in_table(w, t.process, table, p.swap_entries + p.present_pages, p.file_pages)
    if swap_alone:
        t.present_left = t.file_left = 0
    elif two_passes:
        t.swap_left = 0
    if not is_left:
        t.swap_left = t.present_left = t.file_left = 0
    runs = (t.swap_left + p.run_entries - 1) // p.run_entries
    jumps = (t.swap_left + p.jump_entries - 1) // p.jump_entries
    pages = t.present_left + t.file_left
    walk, page = w.cost[state.WALK_COST], w.cost[state.PRESENT_COST]
    cpu_ps = scanned * walk.entry_cpu_ps + runs * walk.run_cpu_ps + pages * page.entry_cpu_ps
    memory_ps = jumps * walk.run_memory_ps + pages * page.entry_memory_ps
    owed_ns = t.owed_ps // 1000
    t.owed_ps -= owed_ns * 1000
    return spend(w, nanoseconds(w, t.cpu, p.node, cpu_ps, memory_ps) + owed_ns, category)


@compiled
def _pages_in_table(w: World, process: int, table: int, start: int, pages: int) -> int:
    """Return how many of some pages lie in a table: from page `start` on, or an even share."""
    if w.storm[0].swapped_in_front > 0:
        return max(0, min(start + pages, (table + 1) * TABLE_PAGES) - max(start, table * TABLE_PAGES))
    return share(pages, table, w.process[process].tables)
