"""A dying process: it walks its page tables, frees or holds its swap entries, and gives its present pages back."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.model.gather_state import (
    FREED,
    PAGES_ALIVE,
    QUEUED_ENTRIES,
    QUEUED_PAGES,
    QUEUED_RECORDS,
    add,
    drained,
    finish,
    open_gather,
)
from swaplib.model.gather_state import QUEUED as WORK_IS_FULL
from swaplib.model.policy import Hold
from swaplib.sim.bags import new_part
from swaplib.sim.clock import exiting
from swaplib.sim.cost import nanoseconds
from swaplib.sim.memory import atomic_pages_are_short, give_pages
from swaplib.sim.release import start_freeing, start_program, step_program
from swaplib.sim.state import (
    AGAIN,
    AWAIT,
    CLOSE,
    ENDED,
    FLUSH,
    FLUSHED,
    FLUSHING,
    GATHER,
    GONE,
    HANDOVER,
    KEPT,
    LEAVE,
    LIST_PUSH,
    OPEN,
    OTHER,
    PASSED,
    PRELUDE,
    PRESENT,
    RELEASE,
    RUN,
    SLEEP,
    SWAP,
    TABLE,
    WALK,
)
from swaplib.sim.tables import claim_table
from swaplib.sim.works import queue_work
from swaplib.sim.world import World

_GATHER, _LIST = int(Hold.GATHER), int(Hold.LIST)
FLUSH_FOLIOS = 512  # folios freed between two points of rescheduling, Linux 6.12 mm/mmu_gather.c:100


@compiled
def step_walker(w: World, task: int) -> int:
    """Do the next thing; the order of the stages is the order of exit_mmap."""
    t = w.task[task]
    if t.program >= 0:
        return step_program(w, task)
    stage = t.stage
    if stage == SWAP:
        return _swap(w, task)
    if stage == TABLE:
        return _table(w, task)
    if stage == PRESENT:
        return _present(w, task)
    if stage in (FLUSHING, FLUSHED):
        return _flush(w, task)
    if stage == HANDOVER:
        return _hand_over(w, task)
    if stage == PASSED:
        return _passed(w, task)
    if stage == KEPT:
        return _free_kept(w, task)
    if stage == CLOSE:
        return _close(w, task)
    return _begin_or_end(w, task)


@compiled
def segment(w: World, nanoseconds_: int, category: int) -> int:
    """Ask the scheduler to run for a while."""
    w.system[0].segment_ns, w.system[0].segment_category = nanoseconds_, category
    return RUN if nanoseconds_ > 0 else AGAIN


@compiled
def _begin_or_end(w: World, task: int) -> int:
    t = w.task[task]
    p = w.process[t.process]
    system = w.system[0]
    capacity = w.cpu[t.cpu].capacity
    if t.stage == PRELUDE:
        t.stage = OPEN
        return segment(w, p.dying * system.prelude_ns * 1024 // capacity, OTHER)
    if t.stage == OPEN:
        t.stage = TABLE
        p.opened_ns = system.now
        may_hold = p.dying > 0 or system.dying_only == 0
        if system.hold == _GATHER:
            fail = w.always if atomic_pages_are_short(w) else w.never
            open_gather(w.gather[t.process], w.shared, w.limits, fail, may_hold, p.entries)
        elif may_hold and p.entries >= system.entries_min:
            p.counted = 1
            system.exiting += 1
        return AGAIN
    if t.stage == AWAIT:  # exit_mmap takes the mmap lock for writing, so it waits for a reaper at work
        t.stage = CLOSE
        if p.reapers > 0:
            p.owner_waits = 1
            return SLEEP
        return AGAIN
    if t.stage == LEAVE:
        t.stage = GONE
        return segment(w, p.dying * system.postlude_ns * 1024 // capacity, OTHER)
    p.exited_ns = system.now
    system.alive -= 1
    t.state = ENDED
    return SLEEP


@compiled
def _table(w: World, task: int) -> int:
    t = w.task[task]
    if not claim_table(w, task, w.system[0].present_first > 0, t.second_pass > 0):
        t.stage = PASSED
        return AGAIN
    t.stage = SWAP
    return segment(w, w.system[0].segment_ns, WALK)


@compiled
def _swap(w: World, task: int) -> int:
    """Meet the next runs of the page table: hold them or free them."""
    t = w.task[task]
    if t.swap_left == 0:
        t.stage = PRESENT
        return AGAIN
    p = w.process[t.process]
    system = w.system[0]
    run = min(p.run, t.swap_left)  # the last run of a table may be shorter
    count = t.swap_left // run
    fails = 0
    if _may_hold(w, task):
        if system.hold == _LIST:
            count = min(count, min(system.grain, system.batch_records - w.bag[0].records))
            start_program(w, task, LIST_PUSH, t.process, count * run, count, count, GATHER)
            _take(w, task, count * run)
            return AGAIN
        fail = w.always if atomic_pages_are_short(w) else w.never
        pages = w.shared[PAGES_ALIVE]
        met, outcome = add(w.gather[t.process], w.shared, w.limits, fail, fail, run, count)
        if outcome != FREED:
            pages = w.shared[PAGES_ALIVE] - pages
            system.free_pages -= pages
            system.gathered += met * run
            _take(w, task, met * run)
            if outcome == WORK_IS_FULL:
                t.stage = HANDOVER
            time = nanoseconds(w, t.cpu, -1, met * system.gather_record_ps, 0) + pages * system.gather_page_ns
            return segment(w, time, GATHER)
        fails = fail.size
    entries = start_freeing(
        w, task, t.process, t.swap_left, RELEASE
    )  # the gather is asked again after this grain
    system.atomic_failures += fails * (entries // run)
    _take(w, task, entries)
    return AGAIN


@compiled
def _take(w: World, task: int, entries: int) -> None:
    t = w.task[task]
    t.swap_left -= entries
    w.process[t.process].taken += entries
    system = w.system[0]
    backlog = system.gathered + system.queued + system.in_work + system.deferred
    system.backlog_peak = max(system.backlog_peak, backlog)


@compiled
def _may_hold(w: World, task: int) -> bool:
    """Whether the policy holds the run that is met now; a gather has the last word on the threshold."""
    system = w.system[0]
    if system.hold != _GATHER and system.hold != _LIST:
        return False
    t = w.task[task]
    p = w.process[t.process]
    if system.dying_only > 0 and p.dying == 0:
        return False
    if system.reread > 0 and p.entries - p.taken < system.entries_min:
        return False
    if system.hold == _LIST and (p.entries < system.entries_min or exiting(w) < system.threshold):
        return False
    if system.backlog_max >= 0 and system.gathered + system.queued + system.in_work >= system.backlog_max:
        return False
    return system.if_useful == 0 or p.present_back < p.present or w.cpu[t.cpu].waiting > 0


@compiled
def _hand_over(w: World, task: int) -> int:
    """Queue the work that is full, or keep its entries for this process to free."""
    t = w.task[task]
    t.stage = SWAP
    return _dispose(w, task, SWAP)


@compiled
def _dispose(w: World, task: int, after: int) -> int:
    t = w.task[task]
    system = w.system[0]
    g = w.gather[t.process]
    entries, pages, records = g[QUEUED_ENTRIES], g[QUEUED_PAGES], g[QUEUED_RECORDS]
    if system.by_caller > 0:
        w.process[t.process].kept += entries
        drained(w.shared, pages)
        give_pages(w, pages)
        t.stage, t.after = KEPT, after
        doublings = 0
        while (1 << doublings) < entries:
            doublings += 1
        return segment(w, nanoseconds(w, t.cpu, -1, entries * doublings * system.sort_ps, 0), GATHER)
    parts = -1 if entries == 0 else new_part(w, t.process, entries, records)
    system.gathered -= entries
    queue_work(w, parts, entries, pages, t.cpu)
    return segment(w, system.queue_work_ns, GATHER)


@compiled
def _free_kept(w: World, task: int) -> int:
    t = w.task[task]
    p = w.process[t.process]
    if p.kept == 0:
        t.stage = t.after
        return AGAIN
    entries = start_freeing(w, task, t.process, p.kept, RELEASE)
    p.kept -= entries
    w.system[0].gathered -= entries
    return AGAIN


@compiled
def _present(w: World, task: int) -> int:
    """Put the table's present pages into the ordinary gather, and flush it when it is full."""
    t = w.task[task]
    p = w.process[t.process]
    p.unflushed += t.present_left + t.file_left
    p.unflushed_present += t.present_left
    t.present_left, t.file_left = 0, 0
    t.stage = TABLE
    if p.unflushed >= w.system[0].flush_capacity:
        t.stage = FLUSHING
    return AGAIN


@compiled
def _flush(w: World, task: int) -> int:
    """Free the ordinary gather, some pages at a time."""
    t = w.task[task]
    p = w.process[t.process]
    if t.stage == FLUSHED:
        return_present(w, t.process, t.entries)
        p.unflushed_present -= t.entries
        t.stage = FLUSHING
        return AGAIN
    folio = w.system[0].folio_pages
    pages = min(FLUSH_FOLIOS * folio, p.unflushed_present)
    if pages == 0:
        p.unflushed = 0
        t.stage = TABLE
        return AGAIN
    t.stage = FLUSHED
    zone_pages = w.system[0].zone_pages
    folios = (pages + folio - 1) // folio
    start_program(w, task, FLUSH, t.process, pages, (pages + zone_pages - 1) // zone_pages, folios, WALK)
    return AGAIN


@compiled
def return_present(w: World, process: int, pages: int) -> None:
    """Book present pages as free."""
    p = w.process[process]
    p.present_back += pages
    if p.present_back == p.present:
        p.present_ns = w.system[0].now
        w.system[0].present_back_ns = w.system[0].now
    give_pages(w, pages)


@compiled
def _passed(w: World, task: int) -> int:
    """End a pass over the page tables."""
    t = w.task[task]
    p = w.process[t.process]
    if p.unflushed > 0:
        t.stage = FLUSHING
    elif w.system[0].present_first > 0 and t.second_pass == 0:
        t.second_pass = 1
        t.stage = TABLE
    else:
        t.stage = AWAIT
    return AGAIN


@compiled
def _close(w: World, task: int) -> int:
    """Close the gather: queue or free what it holds, and leave the count of exiting processes."""
    t = w.task[task]
    p = w.process[t.process]
    t.stage = LEAVE
    if w.system[0].hold == _GATHER:
        if finish(w.gather[t.process], w.shared):
            return _dispose(w, task, LEAVE)
    elif p.counted > 0:
        p.counted = 0
        w.system[0].exiting -= 1
    return AGAIN
