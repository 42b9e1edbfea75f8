"""The records of a running simulation: CPUs, tasks, processes, locks, works, events and what waits.

Everything is int64; times are nanoseconds since the first kill; -1 is "none". Lists are linked by indices.
What a policy, machine, kernel or storm says in whole numbers is a record too, with the names of its fields.
"""

from collections.abc import Iterable
from dataclasses import fields
from enum import IntEnum
from typing import get_type_hints

import numpy as np

from swaplib.model import gather
from swaplib.model.kernel import COST_PARTS, Kernel, Lock
from swaplib.model.machine import NUMBERS
from swaplib.model.policy import Policy
from swaplib.model.storm import Deaths, Storm

# What a CPU's time goes to, in the order of the outcome's columns.
_FIRST = ("walk", "release", "gather", "drain", "spin", "reap")
CATEGORIES = (*_FIRST, "reclaim", "foreground", "background", "switch", "other", "idle")
WALK, RELEASE, GATHERING, DRAIN, SPIN, REAP = range(6)
RECLAIM, FOREGROUND, BACKGROUND, SWITCH, OTHER, IDLE = range(6, 12)

# Kinds of task, and where a task is.
WALKER, WORKER, REAPER, FOREGROUND_THREAD, BACKGROUND_THREAD = range(5)
ASLEEP, QUEUED, RUNNING, ENDED = range(4)

# What a task's step asks for: CPU time, to spin for a lock, to sleep, or to be asked again at once.
RUN, WAIT, SLEEP, AGAIN = range(4)

# What a CPU does between events, and a time that no event has.
NEVER = (1 << 63) - 1
CPU_IDLE, CPU_BUSY, CPU_SPINS = range(3)

# What a dying process does next, in order; then a foreground thread; then a kworker.
PRELUDE, OPEN, TABLE, CLAIM, SWAP, HAND_OVER, FREE_BATCH, PRESENT = range(8)
FLUSH, FLUSHED, PASSED, AWAIT, CLOSE, LEAVE, GONE = range(8, 15)
COMPUTE, TOUCH, STALLED, RECLAIMED, BARRIER = range(5)
FETCH, FREE = range(2)

# Programs, made of operations: a call for one entry, a call for a run, emptying a slot cache, freeing zram
# objects alone, a push to the list, reclaiming pages, and taking pages back into the allocator.
SINGLE, BY_RUN, EMPTY_CACHE, ZRAM_OBJECTS, LIST_PUSH, SWAP_OUT, FREE_PAGES = range(7)
SPEND, ACQUIRE, DROP = range(3)

MOST_HELD = 6  # locks held by one task
WALK_COST, PRESENT_COST = range(2)


def _of(names: Iterable[str]) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


def _of_model(model: type) -> np.dtype:
    """Return the dtype of those fields of a dataclass that are whole numbers, flags or choices."""
    whole = (int | None, int, bool, *IntEnum.__subclasses__())
    return _of(name for name, kind in get_type_hints(model).items() if kind in whole)


def _record(text: str, *more: str, **arrays: int) -> np.dtype:
    """Return the dtype of the fields that stand before the colons of a text, of more of them, and arrays."""
    names = ",".join(line.partition(":")[0] for line in text.strip().splitlines()).split(",")
    short = [(name, np.int64, (length,)) for name, length in arrays.items()]
    return np.dtype([*_of([*map(str.strip, names), *more]).descr, *short])


POLICY = _of_model(Policy)
KERNEL = _of_model(Kernel)
STORM = _of_model(Storm)
MACHINE = _of(name for name, *_ in NUMBERS)
COST = _of(COST_PARTS)

CPU = _record(
    """
    task: running, or on its way here
    state: CPU_IDLE, CPU_BUSY or CPU_SPINS
    since, category, planned_ns: the present segment of its time, and how long that was to be
    slice_since, slice_end: of the running task
    next_balance: when it looks at the load of others, though it is busy
    resched: whether the running task is asked to give way, or to move to a faster CPU
    first_waiting, last_waiting: of the tasks that wait for it, in the order in which they run
    waiting, load: how many they are, and the sum of their weights
    vruntime, last: the least seen, for tasks that come; the task that ran last
    scale: 1024 x nanoseconds here over nanoseconds of the reference core
    capacity, node, pod: as the machine has them
    cache, page: the stores that are its slot cache and its page of zram objects
    handed_over: slot caches handed to a kworker and not yet emptied
    stretch_since, stretch_category, stretch_task: what is to be traced as one
    """,
    time=len(CATEGORIES),
)

TASK = _record(
    """
    kind, state, cpu
    vruntime, weight, realtime: for the scheduler
    node, near: the node that it is bound to, the CPU near which it wants to run
    capacity_max: of the CPUs in its cpuset
    ahead, behind: its neighbours among the tasks that wait for a CPU
    next_waiter: behind it among the tasks that wait for a lock
    next_idle, next_woken: behind it among the kworkers without a work, and among those just woken
    is_atomic: may not be preempted now
    doing, then: what it does next, and after that
    process: whose entries it frees
    left_ns: of a burst, at capacity 1024
    owed_ps: for moving locks and cache lines, added to its next segment
    program, operation, operations_end: of the call that it makes
    entries, calls, jumps, category: that this grain of the call stands for, and what it is charged to
    first_entry: the place of its entries in the process, for variation
    portions: that the call frees; -1 when all are of one process
    swap_left, present_left, file_left: of the page table being walked
    tables_passed, table_lock: of this pass; the lock of the table, where another walks beside
    second_pass: over the page tables
    queue, work: of a kworker
    pages_left: that a foreground thread will touch
    burst_ns, period_ns, next_burst_ns, missed: of a background thread; periods over before the burst was
    handovers, moves: of the lock and of cache lines, owed when the awaited lock is its own
    depth, cpu_ns: locks held, and CPU time used
    """,
    held=MOST_HELD,
)

PROCESS = _record(
    """
    sorted_run_entries, jump_entries: of a sorted batch; from one far jump in swap to the next
    first_table, tables, taken_in_front, taken_at_end: page tables, and those walked already
    dying, counted: not unmapping; among the exiting
    met_entries, begun_entries, freed_entries: met by the walk, begun to be freed, freed
    batch_entries: of its gather, that it frees itself
    zram_pages, zram_pages_back
    unflushed_pages, unflushed_present_pages, present_pages_back: in the ordinary gather, and free again
    reapers, owner_waits: at work on it
    killed_ns, opened_ns, present_freed_ns, exited_ns, swap_freed_ns
    entries_sync, entries_async, entries_reaped: by whom they were freed
    """,
    *(field.name for field in fields(Deaths)),
)

LOCK = _record("kind, owner, last_cpu, first_waiter, last_waiter, waiters, acquisitions, contended, wait_ns")
OPERATION = _record(
    """
    code, lock, is_line
    per_entry, moves_per_entry: whether it is taken, and moves to this CPU, for every entry
    lines, objects, zspages: see `swaplib.model.kernel.Stage`
    """,
    *COST_PARTS,
)
PROGRAM = _record("first, end: of its operations")
WORK = _record("portions, entries, pages, cpu, next: batch pages, who queued it, what is queued behind it")
PORTION = _record("process, entries, jumps, next: so many entries of one process")
STORE = _record("first, last, entries, jumps, records: portions in the list, a slot cache or a page")
QUEUE = _record("first, last, active, limit, idle, node: works; kworkers at work, at most, without work")
EVENT = _record("time, sequence, slot: when something happens, and to whom; see `swaplib.sim.queues`")
PHASE = _record("cpu_ns, pages, threads, end_ns: of the foreground")
POWER = _record("of_65536: the share that is its index, to the power of the objects in a zspage")
STRETCH = _record("cpu, since, until, category, task: CPU time as traced")
SAMPLE = COUNTER = _record(
    "time_ns, gathered_entries, queued_entries, working_entries, deferred_entries\n"
    "free_pages, free_slots, exiting, spinning_cpus"
)
SAMPLE_COLUMNS = SAMPLE.names or ()
GATHER, SHARED, LIMITS = (_of(names.split()) for names in (gather.GATHER, gather.SHARED, gather.LIMITS))

SYSTEM = _record(
    """
    now, sequence, handled: the present, events so far, events that happened
    turn, turn_sequence: the CPU whose event this is, and which event
    steps, steps_max: at the present instant, and at most
    next_kill, phase, phase_threads_left, first_woken, last_woken
    segment_ns, segment_category: what a step asks for
    timed_out, grain, variation: of the run
    is_voluntary, frees_by_entry: how tasks are preempted; what a call of the kernel frees
    memory_scale, remote_scale: 1024 x nanoseconds over nanoseconds of the reference machine
    reclaim_gain_permille, flush_capacity, clusters
    alive, works, works_pending
    first_table_lock: of the first process's first page table
    first_worker, first_reaper, first_foreground, first_background: tasks are in the order of their kinds
    free_pool_pages, cache_is_on, backlog_peak, swap_back_ns: the last is when a slot last came back
    reclaimed, stalls, stalled, slot_failures
    free_work, free_works, free_portion, free_portions: lists of what is unused
    is_traced, stretches, samples, sample_ns, next_sample_ns
    """,
    lock_base=len(Lock),
    always=1,
)
