"""Where entries wait before they are freed: one section for each `Hold` of a policy, with its moments.

The moments are: a run is met by the walk of a dying process; a call has ended; a kworker fetches a work, goes
on with it, and has done it. A moment takes at most `STEP_ROOM` works and as many portions: the loop makes
room.
"""

import numpy as np

from swaplib.model.compiled import compiled, inlined
from swaplib.model.gather import FREED, QUEUED, add, finish, open_gather
from swaplib.model.policy import Hold
from swaplib.sim import state
from swaplib.sim.calls import nanoseconds, start_freeing, start_program
from swaplib.sim.cpu_time import spend
from swaplib.sim.foreground import credit, credit_slots, give_pages
from swaplib.sim.queues import append_work, empty, free_portion, new_portion, put
from swaplib.sim.state import AGAIN, DRAIN, GATHERING
from swaplib.sim.world import World

_GATHER, _LIST = int(Hold.GATHER), int(Hold.LIST)
_SLOT_CACHE, _ZRAM_BUFFER = int(Hold.SLOT_CACHE), int(Hold.ZRAM_BUFFER)

STEP_ROOM = 4  # works and portions; today's moments take at most one of each
FREE_NOW = -1  # what a run that is met says when it does not wait
LIST = 0  # the store of the one list


# The moments, and the policy's conditions.


@inlined
def run_is_met(w: World, task: int, run: int, count: int) -> int:
    """Let up to `count` runs of `run` entries wait if the policy says so: what the step asks, or FREE_NOW."""
    hold = w.policy[0].hold
    if hold == _GATHER and _may_wait(w, task):
        return _gather_meets(w, task, run, count)
    if hold == _LIST and _may_wait(w, task):
        return _list_meets(w, task, run, count)
    return FREE_NOW


@inlined
def call_has_ended(w: World, task: int, program: int) -> int:
    """Book what a call freed, or let it wait: what the step asks; another call may follow at once."""
    t, hold = w.task[task], w.policy[0].hold
    if program == state.SINGLE:
        put(w, w.cpu[t.cpu].cache, t.process, t.entries, t.jumps, t.entries)
        return _use_full_cache(w, task)
    if program == state.LIST_PUSH and t.kind != state.WORKER:
        return _list_is_pushed(w, task)
    if program == state.LIST_PUSH:
        _list_is_taken(w, task)
    if program <= state.EMPTY_CACHE and hold == _ZRAM_BUFFER:
        return _objects_wait(w, task)
    if program <= state.ZRAM_OBJECTS:
        if t.portions < 0:
            credit(w, t.process, t.entries, t.category)
        while t.portions >= 0:
            a = w.portion[t.portions]
            credit(w, a.process, a.entries, t.category)
            t.portions = free_portion(w, t.portions)
    return AGAIN


@compiled
def work_is_fetched(w: World, task: int) -> None:
    """Let a kworker take the whole list, if entries wait there, at the price of a push."""
    if w.policy[0].hold == _LIST:
        start_program(w, task, state.LIST_PUSH, -1, 0, 1, 0, DRAIN)


@inlined
def go_on_with_work(w: World, task: int) -> None:
    """Begin the next call of a kworker, and take what it frees out of its work."""
    hold, t = w.policy[0].hold, w.task[task]
    work = w.work[t.work]
    a = w.portion[work.portions]
    entries = min(a.entries, w.system[0].grain)
    if hold == _SLOT_CACHE:  # a whole cache in one call
        portions, portion, jumps = work.portions, work.portions, 0
        while portion >= 0:
            jumps += w.portion[portion].jumps
            portion = w.portion[portion].next
        start_program(w, task, state.EMPTY_CACHE, a.process, work.entries, 1, jumps, DRAIN)
        w.counter[0].working_entries -= work.entries
        t.portions, work.portions = portions, -1
        return
    if hold == _ZRAM_BUFFER:
        jumps = (entries * a.jumps + a.entries - 1) // a.entries
        start_program(w, task, state.ZRAM_OBJECTS, a.process, entries, entries, jumps, DRAIN)
    else:
        entries = start_freeing(w, task, a.process, a.entries, DRAIN)
    w.counter[0].working_entries -= entries
    a.jumps -= min(a.jumps, t.jumps)
    a.entries -= entries
    if a.entries == 0:
        work.portions = free_portion(w, work.portions)


@compiled
def work_is_done(w: World, work: int) -> None:
    """Give back a work, and what it took up while it waited."""
    hold, a, system = w.policy[0].hold, w.work[work], w.system[0]
    a.next, system.free_work = system.free_work, work
    system.free_works += 1
    system.works_pending -= 1
    if hold == _GATHER:
        _give_batch_pages(w, a.pages)
    elif hold == _SLOT_CACHE:
        w.cpu[a.cpu].handed_over = 0
    elif hold == _ZRAM_BUFFER:
        system.free_pool_pages += 1


@compiled
def _may_wait(w: World, task: int) -> bool:
    """Whether the policy lets the run that is met now wait; a gather has the last word on the threshold."""
    policy, counter, t = w.policy[0], w.counter[0], w.task[task]
    p = w.process[t.process]
    if policy.dying_only > 0 and p.dying == 0:
        return False
    if policy.minimum_is_reread > 0 and p.swap_entries - p.met_entries < policy.swap_entries_min:
        return False
    if policy.hold == _LIST and (p.counted == 0 or counter.exiting < policy.threshold):
        return False
    backlog = counter.gathered_entries + counter.queued_entries + counter.working_entries
    if policy.backlog_entries_max >= 0 and backlog >= policy.backlog_entries_max:
        return False
    useful = p.present_pages_back < p.present_pages or w.cpu[t.cpu].waiting > 0
    return policy.only_if_useful == 0 or useful


@compiled
def process_opens(w: World, task: int) -> None:
    """Count an exiting process; under the patch its gather does."""
    policy, process = w.policy[0], w.task[task].process
    p = w.process[process]
    may_wait = p.dying > 0 or policy.dying_only == 0
    if policy.hold == _GATHER:
        fail = _failing_calls(w)
        open_gather(w.gather[process], w.shared[0], w.limits[0], fail, may_wait, p.swap_entries)
        w.counter[0].exiting = w.shared[0].exiting
    elif may_wait and p.swap_entries >= policy.swap_entries_min:
        p.counted = 1
        w.counter[0].exiting += 1


@compiled
def process_closes(w: World, task: int) -> int:
    """Count an exiting process no longer; its gather hands over what it holds."""
    process = w.task[task].process
    if w.policy[0].hold == _GATHER:
        is_queued = finish(w.gather[process], w.shared[0])
        w.counter[0].exiting = w.shared[0].exiting
        return hand_over(w, task) if is_queued else AGAIN
    w.counter[0].exiting -= w.process[process].counted
    w.process[process].counted = 0
    return AGAIN


@compiled
def queue_work(w: World, task: int, portions: int, entries: int, pages: int) -> int:
    """Let a task queue a work for a kworker, and ask for the time that this takes; every policy pays it."""
    append_work(w, portions, entries, pages, w.task[task].cpu)
    return spend(w, w.machine[0].queue_work_ns, GATHERING)


@inlined
def meet(w: World, task: int, entries: int) -> None:
    """Take entries out of the page table that a task walks."""
    t, system, counter = w.task[task], w.system[0], w.counter[0]
    t.swap_left -= entries
    w.process[t.process].met_entries += entries
    backlog = counter.gathered_entries + counter.queued_entries + counter.working_entries
    system.backlog_peak = max(system.backlog_peak, backlog + counter.deferred_entries)


# Gather: the patch's bundle and batch pages, one gather a process.


@compiled
def _gather_meets(w: World, task: int, run: int, count: int) -> int:
    t, machine, shared = w.task[task], w.machine[0], w.shared[0]
    fail, before = _failing_calls(w), shared.pages_alive
    stored, outcome = add(w.gather[t.process], shared, w.limits[0], fail, fail, run, count)
    if outcome == FREED:
        return FREE_NOW
    pages = shared.pages_alive - before
    w.counter[0].free_pages -= pages
    w.counter[0].gathered_entries += stored * run
    meet(w, task, stored * run)
    if outcome == QUEUED:
        t.doing = state.HAND_OVER
    storing_ns = nanoseconds(w, t.cpu, -1, stored * machine.gather_record_ps, 0)
    return spend(w, storing_ns + pages * machine.gather_page_ns, GATHERING)


@compiled
def hand_over(w: World, task: int) -> int:
    """Queue the work that a gather has filled, or let the process sort it and free it before it goes on."""
    t = w.task[task]
    g = w.gather[t.process]
    entries, pages = g.queued_entries, g.queued_pages
    if w.policy[0].freed_by_caller == 0:
        portion = -1 if entries == 0 else new_portion(w, t.process, entries, g.queued_records)
        w.counter[0].gathered_entries -= entries
        return queue_work(w, task, portion, entries, pages)
    w.process[t.process].batch_entries += entries
    _give_batch_pages(w, pages)
    t.then, t.doing = t.doing, state.FREE_BATCH
    doublings = 0
    while (1 << doublings) < entries:
        doublings += 1
    sort_ps = entries * doublings * w.machine[0].sort_ps
    return spend(w, nanoseconds(w, t.cpu, -1, sort_ps, 0), GATHERING)


@compiled
def free_batch(w: World, task: int) -> None:
    """Free what a gather held, in the process itself."""
    t = w.task[task]
    p = w.process[t.process]
    if p.batch_entries == 0:
        t.doing = t.then
        return
    entries = start_freeing(w, task, t.process, p.batch_entries, state.RELEASE)
    p.batch_entries -= entries
    w.counter[0].gathered_entries -= entries


@compiled
def _give_batch_pages(w: World, pages: int) -> None:
    """Give back a work's gather and its batch pages (end of tlb_swap_async_free_work)."""
    w.shared[0].gathers_alive -= 1
    w.shared[0].pages_alive -= pages
    give_pages(w, pages)


@compiled
def _failing_calls(w: World) -> np.ndarray:
    """Return which allocations fail now: all while less is free than GFP_ATOMIC leaves."""
    return w.system[0].always[: 1 if w.counter[0].free_pages < w.machine[0].atomic_reserve_pages else 0]


# List: one list and one lock for all processes. When it is longer than a batch, every further record queues a
# work that carries nothing: the first to run takes the whole list, and those behind it find nothing.


@compiled
def _list_meets(w: World, task: int, run: int, count: int) -> int:
    room = max(1, w.policy[0].batch_records - w.store[LIST].records)  # then one by one, each with its work
    count = min(count, w.system[0].grain, room)
    start_program(w, task, state.LIST_PUSH, w.task[task].process, count * run, count, count, GATHERING)
    meet(w, task, count * run)
    return AGAIN


@compiled
def _list_is_pushed(w: World, task: int) -> int:
    t = w.task[task]
    put(w, LIST, t.process, t.entries, t.jumps, t.calls)
    w.counter[0].gathered_entries += t.entries
    return queue_work(w, task, -1, 0, 0) if w.store[LIST].records > w.policy[0].batch_records else AGAIN


@compiled
def _list_is_taken(w: World, task: int) -> None:
    """Move all that is on the list, perhaps nothing, into a kworker's work."""
    counter, entries = w.counter[0], w.store[LIST].entries
    counter.gathered_entries -= entries
    counter.working_entries += entries
    w.work[w.task[task].work].portions = empty(w, LIST)


# Slot cache: a full one goes to a kworker; until that has emptied it, the process empties the next itself.


@compiled
def _use_full_cache(w: World, task: int) -> int:
    t, system, c = w.task[task], w.system[0], w.cpu[w.task[task].cpu]
    entries, jumps = w.store[c.cache].entries, w.store[c.cache].jumps
    if entries < w.kernel[0].slot_cache_entries and system.cache_is_on > 0:
        return AGAIN
    portions = empty(w, c.cache)
    if w.policy[0].hold == _SLOT_CACHE and c.handed_over == 0:
        c.handed_over = 1
        return queue_work(w, task, portions, entries, 0)
    calls = 1 if system.cache_is_on > 0 else entries
    start_program(w, task, state.EMPTY_CACHE, t.process, entries, calls, jumps, t.category)
    t.portions = portions
    return AGAIN


# Zram buffer: slots are free at once, objects wait in a page of the CPU, or are freed where there is no page.


@compiled
def _objects_wait(w: World, task: int) -> int:
    t, system, counter = w.task[task], w.system[0], w.counter[0]
    page, portions = w.cpu[t.cpu].page, t.portions  # of a slot cache; else the entries are of one process
    asked = AGAIN
    credit_slots(w, t.entries)
    if w.store[page].entries + t.entries > w.policy[0].page_objects:
        if system.free_pool_pages == 0:
            start_program(w, task, state.ZRAM_OBJECTS, t.process, t.entries, t.calls, t.jumps, t.category)
            t.portions = portions
            return AGAIN
        system.free_pool_pages -= 1
        entries = w.store[page].entries
        counter.deferred_entries -= entries
        asked = queue_work(w, task, empty(w, page), entries, 0)
    counter.deferred_entries += t.entries
    if portions < 0:
        put(w, page, t.process, t.entries, t.jumps, t.calls)
    while portions >= 0:
        a = w.portion[portions]
        put(w, page, a.process, a.entries, a.jumps, a.entries)
        portions = free_portion(w, portions)
    t.portions = -1
    return asked
