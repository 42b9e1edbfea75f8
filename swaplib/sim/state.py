"""What a running simulation consists of: record arrays for CPUs, tasks, processes, locks, works and queues.

Everything is int64; times are nanoseconds since the first kill; -1 is "none". Lists are linked through indices.
"""

from __future__ import annotations

import numpy as np

# What a CPU's time goes to. The order is the order of the outcome's columns.
(WALK, RELEASE, GATHER, DRAIN, SPIN, REAP, RECLAIM, FOREGROUND, BACKGROUND, SWITCH, OTHER, IDLE) = range(12)
CATEGORIES = (
    "walk",
    "release",
    "gather",
    "drain",
    "spin",
    "reap",
    "reclaim",
    "foreground",
    "background",
    "switch",
    "other",
    "idle",
)

# Kinds of task.
WALKER, WORKER, REAPER, FRONT, BACK = range(5)

# Where a task is.
ASLEEP, QUEUED, RUNNING, ENDED = range(4)

# What a task's step asks of the scheduler.
RUN, WAIT, SLEEP, AGAIN = range(4)

# Events.
CPU_EVENT, KILL_EVENT, WAKE_EVENT = range(3)

# What a CPU does between events.
CPU_IDLE, CPU_BUSY, CPU_SPINS = range(3)

# Operations of a release program.
WORK_OP, ACQUIRE_OP, RELEASE_OP = range(3)

# Stages of a dying process, in order; of a foreground thread; of a kworker.
(
    PRELUDE,
    OPEN,
    TABLE,
    SWAP,
    HANDOVER,
    PRESENT,
    FLUSHING,
    FLUSHED,
    PASSED,
    KEPT,
    AWAIT,
    CLOSE,
    LEAVE,
    GONE,
) = range(14)
COMPUTING, TOUCHING, STALLED, RECLAIMING, BARRIER = range(5)
FETCH, FREE = range(2)

# Release programs: a call for one entry, for a run, emptying a slot cache, the deferred zram part, a push to the list,
# reclaiming pages, and taking pages back into the allocator.
SINGLE, BY_RUN, EMPTY_CACHE, ZRAM_PART, LIST_PUSH, SWAP_OUT, FLUSH = range(7)
PROGRAMS = 7

MOST_HELD = 6


def _record(*names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names])


CPU = _record(
    "task",  # running or reserved
    "state",
    "generation",  # an event of an older generation is void
    "since",  # start of the present segment
    "category",
    "planned",  # planned length of the present segment
    "slice_since",
    "slice_end",
    "resched",
    "queue",  # the waiting task that runs next
    "tickets",  # given to tasks that joined the queue
    "waiting",
    "load",  # sum of the waiting tasks' weights
    "vruntime",  # least vruntime seen, for tasks that enter
    "last",  # task that ran last
    "cpu_scale",  # 1024 x nanoseconds here over nanoseconds at capacity 1024
    "capacity",
    "node",
    "pod",
    "cache",  # bag: the slot cache
    "objects",  # bag: deferred zram objects
    "handed",  # slot caches handed over and not yet emptied
    "trace_since",
    "trace_category",
    "trace_task",
)

TASK = _record(
    "kind",
    "state",
    "cpu",
    "vruntime",
    "weight",
    "realtime",
    "node",  # bound to this node
    "near",  # CPU near which it wants to run
    "next",  # in a run queue, a lock's queue or a pool of idle workers
    "child",  # in a run queue: the first task behind this one
    "ticket",  # in a run queue: order of joining it
    "atomic",  # may not be preempted now
    "stage",
    "after",  # stage to return to
    "process",
    "left_ns",  # of a burst, at capacity 1024
    "owed_ns",  # lock transfers to be added to the next segment
    "program",
    "operation",
    "end",
    "entries",
    "calls",
    "runs",
    "position",  # for the cost hash
    "by",  # category that the release is charged to
    "parts",  # list of parts being freed
    "swap_left",  # of the page table being walked
    "present_left",
    "file_left",
    "second_pass",
    "queue",  # a worker's
    "work",
    "pages_left",
    "phase",
    "period_ns",
    "burst_ns",
    "next_ns",
    "depth",  # locks held
    "calls_in_grain",  # line transfers owed when the awaited lock is handed over
    "cpu_ns",
)

PROCESS = _record(
    "entries",
    "present",
    "file",
    "run",
    "sorted_run",
    "jump",  # entries from one far jump in swap to the next
    "node",
    "tables",
    "next_table",
    "next_swap_table",  # of the second pass, where there are two
    "dying",
    "counted",
    "freed",
    "zram_pages",
    "zram_back",
    "unflushed",  # pages in the ordinary gather, file pages too
    "unflushed_present",
    "present_back",
    "taken",  # entries taken from the page table
    "kept",  # entries of the gather that the caller will free itself
    "reapers",
    "owner_waits",
    "killed_ns",
    "opened_ns",
    "present_ns",
    "exited_ns",
    "freed_ns",
    "sync",
    "deferred",
    "reaped",
    "started",  # entries whose freeing began, for the cost hash
)

LOCK = _record("kind", "owner", "last_cpu", "head", "tail", "waiters", "acquisitions", "contended", "wait_ns")
OPERATION = _record(
    "code",
    "lock",
    "per_entry",
    "touches",
    "objects",
    "entry_cpu_ps",
    "entry_memory_ps",
    "call_cpu_ps",
    "call_memory_ps",
    "run_cpu_ps",
    "run_memory_ps",
)
WORK = _record("parts", "entries", "pages", "cpu", "queued_ns", "next")
PART = _record("process", "entries", "runs", "next")
BAG = _record("head", "tail", "entries", "runs", "records")
QUEUE = _record("head", "tail", "length", "active", "limit", "idle", "node", "longest")

# One record: everything that exists once.
SYSTEM = _record(
    "now",
    "sequence",
    "handled",
    "heap_size",
    "segment_ns",
    "segment_category",
    # choices of the policy
    "hold",
    "by_caller",
    "grouping",
    "threshold",
    "entries_min",
    "reread",
    "dying_only",
    "if_useful",
    "backlog_max",
    "batch_records",
    "present_first",
    "workers",
    "exiting_per_worker",
    # the kernel's and the machine's rules
    "native_call",
    "cache_entries",
    "voluntary",
    "run_to_parity",
    "slice_ns",
    "tick_ns",
    "switch_ns",
    "wake_ns",
    "prelude_ns",
    "postlude_ns",
    "transfer_local_ns",
    "transfer_remote_ns",
    "waiter_ns",
    "memory_scale",
    "remote_scale",
    "gather_record_ps",
    "gather_page_ns",
    "queue_work_ns",
    "work_ns",
    "sort_ps",
    "fault_ns",
    "reclaim_gain_permille",
    "watermark",
    "flush_capacity",
    "zone_pages",
    "classes",
    "clusters",
    "sharing",
    "same_filled_permille",
    "zspage_objects",
    "in_order",
    "reclaims",
    "walk_entry_ps",
    "walk_run_cpu_ps",
    "walk_run_memory_ps",
    "present_cpu_ps",
    "present_memory_ps",
    "folio_pages",
    "in_front",  # swapped pages come first in the address space
    "grain",
    "variation",
    "limit_ns",
    "is_traced",
    # counters
    "exiting",
    "alive",
    "works_pending",
    "works",
    "first_reaper",  # tasks are in the order of their kinds
    "first_front",
    "first_back",
    "front_left",
    "front_phase",
    "front_phases",
    "free_pages",
    "free_slots",
    "cache_on",
    "gathered",
    "queued",
    "in_work",
    "deferred",
    "backlog_peak",
    "present_back_ns",
    "swap_back_ns",
    "pool_free",
    "reclaimed",
    "stalls",
    "stalled",
    "slot_failures",
    "atomic_failures",
    "free_work",  # head of the list of free works
    "free_works",
    "free_part",
    "free_parts",
    "queues",
    "traced",
    "samples",
    "sample_ns",
    "next_sample_ns",
    "timed_out",
)

SAMPLE_COLUMNS = (
    "time_ns",
    "gathered_entries",
    "queued_entries",
    "working_entries",
    "deferred_entries",
    "free_pages",
    "free_slots",
    "exiting",
    "spinning_cpus",
)
