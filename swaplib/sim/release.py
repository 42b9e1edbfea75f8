"""Freeing swap entries: the stages of a kernel as a program of operations, run in grains of some entries."""

from __future__ import annotations

from swaplib.model.compiled import compiled
from swaplib.model.kernel import Lock
from swaplib.model.policy import Grouping, Hold
from swaplib.sim.bags import empty_bag, fill_bag, free_parts
from swaplib.sim.cost import mix, operation_ns
from swaplib.sim.locks import acquire, release
from swaplib.sim.memory import credit, credit_slots
from swaplib.sim.state import (
    ACQUIRE_OP,
    AGAIN,
    BY_RUN,
    EMPTY_CACHE,
    LIST_PUSH,
    RUN,
    SINGLE,
    SPIN,
    WAIT,
    WORK_OP,
    WORKER,
    ZRAM_PART,
)
from swaplib.sim.works import queue_work
from swaplib.sim.world import World

# Plain numbers for the compiler.
_DEVICE, _CLUSTER, _CLASS, _ZONE = int(Lock.DEVICE), int(Lock.CLUSTER), int(Lock.CLASS), int(Lock.ZONE)
_KERNEL, _ENTRY, _RUN, _CLUSTERED = (int(g) for g in Grouping)
_SLOT_CACHE, _ZRAM_BUFFER = int(Hold.SLOT_CACHE), int(Hold.ZRAM_BUFFER)
_NATIVE_ENTRY, _NATIVE_RUN = 0, 1

LONGEST_GRAIN = 64  # entries of several runs in one grain


@compiled
def start_freeing(w: World, task: int, process: int, available: int, by: int) -> int:
    """Begin to free up to `available` entries of a process, as the policy groups them; return how many."""
    system = w.system[0]
    p = w.process[process]
    t = w.task[task]
    run = p.sorted_run if system.grouping == _CLUSTERED else p.run
    call = 1 if system.grouping == _ENTRY else run
    by_entry = system.grouping == _ENTRY or (
        system.grouping == _KERNEL and system.native_call == _NATIVE_ENTRY
    )
    single = system.cache_entries > 0 and (by_entry or call == 1)
    if single:
        room = system.cache_entries - w.bag[w.cpu[t.cpu].cache].entries
        entries = min(available, room if system.cache_on > 0 else system.grain)
        program, calls = SINGLE, entries
    else:
        entries = min(available, call * max(1, min(system.grain, LONGEST_GRAIN // call)))
        program, calls = BY_RUN, (entries + call - 1) // call
    jump = run if system.grouping == _CLUSTERED else p.jump
    start_program(w, task, program, process, entries, calls, jumps(p.started, entries, jump), by)
    return entries


@compiled
def jumps(position: int, entries: int, jump: int) -> int:
    """Return how many stretches of `jump` entries begin within so many entries from a position."""
    return (position + entries + jump - 1) // jump - (position + jump - 1) // jump


@compiled
def start_program(
    w: World, task: int, program: int, process: int, entries: int, calls: int, runs: int, by: int
) -> None:
    """Begin a program; `step_program` carries it on."""
    t = w.task[task]
    t.program = program
    t.operation = w.program[program, 0]
    t.end = w.program[program, 1]
    t.entries, t.calls, t.runs, t.by = entries, calls, runs, by
    t.process = process
    t.atomic = 1
    t.parts = -1
    if process >= 0:
        t.position = w.process[process].started
        w.process[process].started += entries


@compiled
def step_program(w: World, task: int) -> int:
    """Go on with the program until it takes time (RUN), waits for a lock (WAIT) or is over (AGAIN)."""
    t = w.task[task]
    while True:
        code = _advance(w, task)
        if code != AGAIN:
            return code
        if not _conclude(w, task):
            t.program = -1
            t.atomic = 1 if t.kind == WORKER and w.system[0].voluntary > 0 else 0
            return AGAIN


@compiled
def _advance(w: World, task: int) -> int:
    t = w.task[task]
    system = w.system[0]
    while t.operation < t.end:
        o = w.operation[t.operation]
        if o.code == WORK_OP:
            duration = operation_ns(w, task, t.operation) + t.owed_ns
            t.owed_ns = 0
            t.operation += 1
            if duration > 0:
                system.segment_ns, system.segment_category = duration, t.by
                return RUN
        elif o.code == ACQUIRE_OP:
            lock = _instance(w, task, o.lock)
            w.held[task, t.depth] = lock
            t.depth += 1
            t.operation += 1
            if lock >= 0:
                count = t.entries if o.per_entry > 0 else t.calls
                if not acquire(w, lock, task, count, o.touches):
                    system.segment_ns, system.segment_category = 0, SPIN
                    return WAIT
        else:
            lock = w.held[task, t.depth - 1]
            if lock >= 0 and t.owed_ns > 0:  # the line's transfer is part of the hold
                system.segment_ns, system.segment_category = t.owed_ns, t.by
                t.owed_ns = 0
                return RUN
            t.depth -= 1
            t.operation += 1
            if lock >= 0:
                release(w, lock)
    return AGAIN


@compiled
def _instance(w: World, task: int, kind: int) -> int:
    """Return the lock of a kind that this grain takes, or -1 when nobody else can want it."""
    base = w.lock_base[kind]
    if base < 0:
        return -1
    t = w.task[task]
    system = w.system[0]
    if kind == _CLASS:
        return base + mix(t.process, t.position, 1) * system.classes // 1024
    if kind == _CLUSTER:
        # Any of the clusters that `sharing` processes filled together. Were it the same one for neighbouring entries,
        # processes at the same place of their tables would march in step, and the grain would decide the waiting.
        process = max(0, t.process)
        clusters = max(1, system.clusters * system.sharing // w.process.shape[0])
        first = process // system.sharing * clusters
        return base + (first + mix(process, t.position, 2) * clusters // 1024) % system.clusters
    if kind == _ZONE:
        return base + w.cpu[t.cpu].node
    return base


@compiled
def _conclude(w: World, task: int) -> bool:
    """Book what a finished program freed; True when another program follows from it."""
    t = w.task[task]
    system = w.system[0]
    if t.program == SINGLE:
        cache = w.cpu[t.cpu].cache
        fill_bag(w, cache, t.process, t.entries, t.runs, t.entries)
        return _use_full_cache(w, task, cache)
    if t.program == EMPTY_CACHE:
        if system.hold == _ZRAM_BUFFER:
            return _defer_objects(w, task)
        _credit_parts(w, task)
    elif t.program == BY_RUN:
        if system.hold == _ZRAM_BUFFER:
            return _defer_objects(w, task)
        credit(w, t.process, t.entries, t.by)
    elif t.program == ZRAM_PART:
        if t.parts >= 0:
            _credit_parts(w, task)
        else:
            credit(w, t.process, t.entries, t.by)
    elif t.program == LIST_PUSH:
        fill_bag(w, 0, t.process, t.entries, t.runs, t.calls)
        system.gathered += t.entries
        if w.bag[0].records >= system.batch_records:
            entries = w.bag[0].entries
            system.gathered -= entries
            queue_work(w, empty_bag(w, 0), entries, 0, t.cpu)
    return False


@compiled
def _use_full_cache(w: World, task: int, cache: int) -> bool:
    """Empty the slot cache when it is full or off: by a worker where the policy says so, else by this task."""
    t = w.task[task]
    system = w.system[0]
    b = w.bag[cache]
    if b.entries < system.cache_entries and system.cache_on > 0:
        return False
    entries, runs = b.entries, b.runs
    calls = 1 if system.cache_on > 0 else entries
    if system.hold == _SLOT_CACHE and w.cpu[t.cpu].handed == 0:
        w.cpu[t.cpu].handed = 1
        queue_work(w, empty_bag(w, cache), entries, 0, t.cpu)
        return False
    parts = empty_bag(w, cache)
    start_program(w, task, EMPTY_CACHE, t.process, entries, calls, runs, t.by)
    t.parts = parts
    return True


@compiled
def _credit_parts(w: World, task: int) -> None:
    t = w.task[task]
    part = t.parts
    while part >= 0:
        credit(w, w.part[part].process, w.part[part].entries, t.by)
        part = w.part[part].next
    free_parts(w, t.parts)
    t.parts = -1


@compiled
def _defer_objects(w: World, task: int) -> bool:
    """Leave the zram objects of freed entries in the CPU's page; free them here when no page is to be had."""
    t = w.task[task]
    system = w.system[0]
    bag = w.cpu[t.cpu].objects
    parts = t.parts  # of a slot cache; else the entries are one part
    credit_slots(w, t.process, t.entries)
    if w.bag[bag].entries + t.entries > 512:
        if system.pool_free == 0:
            start_program(w, task, ZRAM_PART, t.process, t.entries, t.calls, t.runs, t.by)
            t.parts = parts
            return True
        system.pool_free -= 1
        entries = w.bag[bag].entries
        system.deferred -= entries
        queue_work(w, empty_bag(w, bag), entries, 0, t.cpu)
    system.deferred += t.entries
    if parts < 0:
        fill_bag(w, bag, t.process, t.entries, t.runs, t.calls)
        return False
    part = parts
    while part >= 0:
        k = w.part[part]
        fill_bag(w, bag, k.process, k.entries, k.runs, k.entries)
        part = k.next
    free_parts(w, parts)
    t.parts = -1
    return False
