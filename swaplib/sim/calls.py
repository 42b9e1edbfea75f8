"""One call into the swap core: its nested stages as operations, what they cost, and the locks that they hold.

A call is made in grains: several acquisitions of a lock are simulated as one, for as many entries at once.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any

import numpy as np

from swaplib.model.compiled import compiled, inlined
from swaplib.model.kernel import COST_PARTS, Kernel, Lock, Stage
from swaplib.model.policy import Deferred, Grouping, Hold, Policy
from swaplib.sim import state
from swaplib.sim.cpu_time import begin_segment, close_segment, spend
from swaplib.sim.state import ACQUIRE, AGAIN, BY_RUN, CPU_BUSY, RUN, SINGLE, SPEND, WAIT
from swaplib.sim.world import Records, World, records

# Plain numbers for the compiler.
_CLUSTER, _CLASS, _ZONE = int(Lock.CLUSTER), int(Lock.CLASS), int(Lock.ZONE)
_KERNEL, _ENTRY, _SORTED = int(Grouping.KERNEL), int(Grouping.ENTRY), int(Grouping.CLUSTER)
_DEFERRED = {Deferred.SLOT_FREE: "zram", Deferred.HANDLE: "objects", Deferred.ZSPAGE: "zspages"}
_STORED = (Lock.POOL, Lock.POOL_READERS, Lock.CLASS, Lock.ZRAM_COUNTER)  # taken by a page on its way to zram
_MASK = (1 << 31) - 1  # products of two 31-bit numbers stay inside int64, in numpy too

LONGEST_GRAIN = 64  # entries of several runs in one grain
CLUSTERS = 1024  # at most so many cluster locks are told apart


@lru_cache(maxsize=256)  # no run changes them
def programs_of(kernel: Kernel, policy: Policy) -> tuple[Records, Records]:
    """Return the operations of all programs, and where each begins and ends; bad locks are a ValueError."""
    deferred = _DEFERRED[policy.deferred]
    calls = kernel.without(deferred) if policy.hold == Hold.ZRAM_BUFFER else kernel
    slots = Lock.DEVICE if "device lock" in kernel.features else Lock.SWAP_COUNTER
    stages = [stage for top in kernel.run for stage in top.walk()]
    objects = [stage for stage in stages if stage.lock in _STORED]
    stores = (replace(stage, zram=False, objects=False, children=()) for stage in objects)
    of_program = {
        state.SINGLE: calls.single,
        state.BY_RUN: calls.run,
        state.EMPTY_CACHE: calls.drain,
        state.ZRAM_OBJECTS: kernel.only(deferred),
        # With the list's lock moves its head; with a zone's the head of a free list, its count, a neighbour.
        state.LIST_PUSH: (Stage("push", kernel.list_push, Lock.LIST, lines=1),),
        state.SWAP_OUT: (Stage("slots", kernel.allocate, slots), Stage("compress", kernel.compress), *stores),
        state.FREE_PAGES: (Stage("free pages", kernel.flush), Stage("zone", kernel.zone, Lock.ZONE, lines=3)),
    }
    programs = records(state.PROGRAM, len(of_program))
    operations: list[Any] = []
    for program, of_call in of_program.items():
        programs[program].first = len(operations)
        operations.extend(_operations(f"kernel '{kernel.name}'", of_call, ()))
        programs[program].end = len(operations)
    return np.array(operations, state.OPERATION).view(np.recarray), programs


def _operations(where: str, stages: tuple[Stage, ...], held: tuple[Lock, ...]) -> Iterator[Any]:
    """Yield the operations of stages in order: inside its lock a stage's own work, then its children.

    Inside si->lock, of which there is one, nobody else comes between two entries: what is taken for every
    entry then moves to this CPU once a call.
    """

    def operation(code: int, **values: int) -> Any:
        made = np.zeros((), state.OPERATION)
        for name, value in {"code": code, **values}.items():
            made[name] = value
        return made

    for stage in stages:
        costs = {part: getattr(stage.cost, part) for part in COST_PARTS}
        by_entry = stage.acquired == "entry"
        inside = (*held, stage.lock) if stage.lock else held
        what, name = f"{where}: stage '{stage.name}'", stage.lock.name
        if stage.lock and stage.lock in held:
            raise ValueError(f"{what} takes the {name} lock while it is held; it would wait for ever")
        if len(inside) > state.MOST_HELD:
            raise ValueError(f"{what} holds {len(inside)} locks; at most {state.MOST_HELD}")
        if stage.lock:
            moved = {"moves_per_entry": by_entry and Lock.DEVICE not in held, "lines": stage.lines}
            yield operation(ACQUIRE, lock=stage.lock, is_line=stage.lock.is_line, per_entry=by_entry, **moved)
        if any(costs.values()):
            yield operation(SPEND, objects=stage.objects, zspages=stage.zspages, **costs)
        yield from _operations(where, stage.children, inside)
        if stage.lock:
            yield operation(state.DROP, lock=stage.lock)


@inlined
def start_freeing(w: World, task: int, process: int, available: int, category: int) -> int:
    """Begin a call that frees up to `available` entries of a process, as the policy groups them: how many."""
    system, p, t = w.system[0], w.process[process], w.task[task]
    grouping, cached = w.policy[0].grouping, w.kernel[0].slot_cache_entries
    run = p.sorted_run_entries if grouping == _SORTED else p.run_entries
    by_entry = grouping == _ENTRY or (grouping == _KERNEL and system.frees_by_entry > 0)
    call = 1 if grouping == _ENTRY else run
    if cached > 0 and (by_entry or call == 1):
        room = cached - w.store[w.cpu[t.cpu].cache].entries
        entries = min(available, room if system.cache_is_on > 0 else system.grain)
        program, calls = SINGLE, entries
    else:
        entries = min(available, call * max(1, min(system.grain, LONGEST_GRAIN // call)))
        program, calls = BY_RUN, _parts(entries, call)
    jump = run if grouping == _SORTED else p.jump_entries
    jumps = _parts(p.begun_entries + entries, jump) - _parts(p.begun_entries, jump)
    start_program(w, task, program, process, entries, calls, jumps, category)
    return entries


@inlined
def _parts(entries: int, size: int) -> int:
    """Return in how many parts of a size entries fall, the last perhaps smaller; divisions are dear."""
    return entries if size == 1 else (entries + size - 1) // size


@inlined
def start_program(
    w: World, task: int, program: int, process: int, entries: int, calls: int, jumps: int, category: int
) -> None:
    """Begin a program; `step_program` carries it on."""
    t = w.task[task]
    t.program, t.process, t.portions, t.is_atomic = program, process, -1, 1
    t.operation, t.operations_end = w.program[program].first, w.program[program].end
    t.entries, t.calls, t.jumps, t.category = entries, calls, jumps, category
    if process >= 0:
        t.first_entry = w.process[process].begun_entries
        w.process[process].begun_entries += entries


@inlined
def step_program(w: World, task: int) -> int:
    """Go on with a program until it takes time (RUN), waits for a lock (WAIT) or is over (AGAIN)."""
    t = w.task[task]
    while t.operation < t.operations_end:
        o = w.operation[t.operation]
        if o.code == SPEND:
            if spend(w, _next_spend_ns(w, task), t.category) == RUN:
                return RUN
        elif o.code == ACQUIRE:
            lock = _lock_of(w, task, o.lock)
            t.held[t.depth] = lock
            t.depth += 1
            t.operation += 1
            times = t.entries if o.per_entry > 0 else t.calls
            moves = t.entries if o.moves_per_entry > 0 else t.calls
            if lock >= 0 and not acquire(w, lock, task, times, moves * (1 - o.is_line), moves * o.lines):
                return WAIT
        else:
            lock, owed = t.held[t.depth - 1], t.owed_ps // 1000
            if lock >= 0 and owed > 0:  # moving the line is part of the hold
                t.owed_ps -= owed * 1000
                return spend(w, owed, t.category)
            t.depth -= 1
            t.operation += 1
            if lock >= 0:
                drop(w, lock)
    return AGAIN


@inlined
def _next_spend_ns(w: World, task: int) -> int:
    """Return what the operation that a program is at takes, with what its task owes, and go behind it."""
    t = w.task[task]
    owed = t.owed_ps // 1000
    t.owed_ps -= owed * 1000
    t.operation += 1
    return _operation_ns(w, task, t.operation - 1) + owed


@inlined
def nanoseconds(w: World, cpu: int, node: int, cpu_ps: int, memory_ps: int) -> int:
    """Return what so many picoseconds at capacity 1024 take on a CPU, with the memory on a node."""
    c, system = w.cpu[cpu], w.system[0]
    memory_scale = system.memory_scale if node < 0 or node == c.node else system.remote_scale
    return ((cpu_ps * c.scale + memory_ps * memory_scale) // 1024 + 500) // 1000


@inlined
def _operation_ns(w: World, task: int, operation: int) -> int:
    """Return the time of one operation, for the entries, calls and jumps of this grain."""
    t, o = w.task[task], w.operation[operation]
    cpu_ps = t.entries * o.entry_cpu_ps + t.calls * o.call_cpu_ps + t.jumps * o.run_cpu_ps
    memory_ps = t.entries * o.entry_memory_ps + t.calls * o.call_memory_ps + t.jumps * o.run_memory_ps
    same_filled, variation = w.storm[0].same_filled_permille, w.system[0].variation
    if o.zspages > 0:
        cpu_ps = cpu_ps * w.storm[0].free_zspage_permille // 1000
        memory_ps = memory_ps * w.storm[0].free_zspage_permille // 1000
    if o.objects > 0:
        cpu_ps = cpu_ps * (1000 - same_filled) // 1000
        memory_ps = memory_ps * (1000 - same_filled) // 1000
    if variation > 0:
        factor = 1024000 + (2 * _mix(t.process, t.first_entry, operation) - 1023) * variation
        cpu_ps = cpu_ps // 1024 * factor // 1000
        memory_ps = memory_ps // 1024 * factor // 1000
    return nanoseconds(w, t.cpu, -1 if t.process < 0 else w.process[t.process].node, cpu_ps, memory_ps)


@compiled
def _mix(process: int, entry: int, salt: int) -> int:
    """Return a number from 0 to 1023 that depends on its arguments alone, each value about equally often."""
    h = (process * 40503 + entry * 2654435 + salt * 7919 + 12345) & _MASK
    h = ((h ^ (h >> 15)) * 739982445) & _MASK
    h = ((h ^ (h >> 12)) * 695872825) & _MASK
    return (h ^ (h >> 15)) & 1023


# Locks: first come, first served; waiters burn their CPU; holders and waiters are not preempted.


@inlined
def _lock_of(w: World, task: int, kind: int) -> int:
    """Return the lock of a kind that this grain takes, or -1 when nobody else can want it."""
    t, system, storm = w.task[task], w.system[0], w.storm[0]
    base = system.lock_base[kind]
    if base < 0:
        return -1
    if kind == _CLASS:
        return base + _mix(t.process, t.first_entry, 1) * storm.size_classes // 1024
    if kind == _CLUSTER:
        # Any of the clusters that `sharing` processes filled together. Were it one for neighbouring entries,
        # processes at one place of their tables would march in step, and the grain would decide the waiting.
        process = max(0, t.process)
        clusters = max(1, system.clusters * storm.sharing // len(w.process))
        first = process // storm.sharing * clusters
        return base + (first + _mix(process, t.first_entry, 2) * clusters // 1024) % system.clusters
    return base + w.cpu[t.cpu].node if kind == _ZONE else base


@inlined
def acquire(w: World, lock: int, task: int, acquisitions: int, handovers: int, moves: int) -> bool:
    """Take a lock as often as the grain does in a row, or wait behind the others; True when it was free."""
    a, t = w.lock[lock], w.task[task]
    a.acquisitions += acquisitions
    t.handovers, t.moves = handovers, moves
    if a.owner < 0:
        _grant(w, lock, task, False)
        return True
    w.counter[0].spinning_cpus += 1
    a.contended += acquisitions
    a.waiters += 1
    t.next_waiter = -1
    if a.first_waiter < 0:
        a.first_waiter = task
    else:
        w.task[a.last_waiter].next_waiter = task
    a.last_waiter = task
    return False


@inlined
def _grant(w: World, lock: int, task: int, has_waited: bool) -> None:
    """Give a lock to a task, which will pay for what moves to its CPU.

    From another CPU come the lock, handed over if it was waited for and else as a line, and the lines that
    it protects. Each CPU that goes on waiting makes that dearer, on cores that retry their atomic changes.
    """
    a, t, machine = w.lock[lock], w.task[task], w.machine[0]
    a.owner = task
    if a.last_cpu >= 0 and a.last_cpu != t.cpu:
        is_near = w.cpu[a.last_cpu].node == w.cpu[t.cpu].node
        line_ps = machine.line_local_ps if is_near else machine.line_remote_ps
        handover_ps = line_ps
        if has_waited:
            handover_ps = machine.handover_local_ps if is_near else machine.handover_remote_ps
        moved_ps = t.handovers * handover_ps + t.moves * line_ps
        t.owed_ps += moved_ps + moved_ps * a.waiters // 1000 * machine.growth_permille
    a.last_cpu = t.cpu


@inlined
def drop(w: World, lock: int) -> None:
    """Drop a lock; the first waiter has it at once, and its CPU begins what it does inside."""
    a = w.lock[lock]
    a.owner = -1
    task = a.first_waiter
    if task < 0:
        return
    a.first_waiter = w.task[task].next_waiter
    a.waiters -= 1
    cpu = w.task[task].cpu
    a.wait_ns += w.system[0].now - w.cpu[cpu].since
    close_segment(w, cpu)
    _grant(w, lock, task, True)
    w.cpu[cpu].state = CPU_BUSY
    w.counter[0].spinning_cpus -= 1
    t = w.task[task]
    spends = t.program >= 0 and w.operation[t.operation].code == SPEND  # else it steps now
    begin_segment(w, cpu, _next_spend_ns(w, task) if spends else 0, t.category)
