"""Release programs: the nested stages of a kernel, flattened into acquire, work and release operations."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from swaplib.model.kernel import COST_PARTS, Cost, Kernel, Lock, Stage
from swaplib.model.policy import Hold, Policy
from swaplib.sim import state
from swaplib.sim.world import Records, Table

NO_COST = Cost()


@dataclass(frozen=True)
class Operation:
    """One operation: its code, the lock it is about, and what it costs."""

    code: int
    lock: Lock = Lock.NONE
    per_entry: bool = False
    touches: int = 1
    objects: bool = False
    cost: Cost = NO_COST


def flatten(stages: tuple[Stage, ...]) -> Iterator[Operation]:
    """Yield the operations of stages in order: a stage's own work comes first inside its lock, then its children."""
    for stage in stages:
        if stage.lock:
            yield Operation(state.ACQUIRE_OP, stage.lock, stage.acquired == "entry", stage.touches)
        if any(getattr(stage.cost, part) for part in COST_PARTS):
            yield Operation(state.WORK_OP, objects=stage.objects, cost=stage.cost)
        yield from flatten(stage.children)
        if stage.lock:
            yield Operation(state.RELEASE_OP, stage.lock)


def build_programs(kernel: Kernel, policy: Policy) -> tuple[Records, Table]:
    """Return the operations of all programs, and where each program begins and ends (shape (PROGRAMS, 2))."""
    calls = kernel.without_zram() if policy.hold == Hold.ZRAM_BUFFER else kernel
    programs: dict[int, tuple[Stage, ...]] = {
        state.SINGLE: calls.single,
        state.BY_RUN: calls.run,
        state.EMPTY_CACHE: calls.drain,
        state.ZRAM_PART: kernel.zram_stages(),
        state.LIST_PUSH: (Stage("push", kernel.list_push, Lock.LIST),),
        state.SWAP_OUT: _swap_out(kernel),
        state.FLUSH: (Stage("free pages", kernel.flush), Stage("zone", kernel.zone, Lock.ZONE)),
    }
    operations: list[Operation] = []
    bounds = np.zeros((state.PROGRAMS, 2), np.int64)
    for program in range(state.PROGRAMS):
        bounds[program, 0] = len(operations)
        operations.extend(flatten(programs[program]))
        bounds[program, 1] = len(operations)
    rows = [
        (o.code, o.lock, o.per_entry, o.touches, o.objects, *(getattr(o.cost, part) for part in COST_PARTS))
        for o in operations
    ]
    return np.array(rows, state.OPERATION).view(np.recarray), bounds


def _swap_out(kernel: Kernel) -> tuple[Stage, ...]:
    """Return the stages of reclaiming pages: allocate slots, compress, store objects under the freeing path's locks."""
    features = kernel.features
    slots = Stage(
        "allocate slots", kernel.allocate, Lock.DEVICE if "device lock" in features else Lock.SWAP_COUNTER
    )
    objects = [
        replace(stage, name="store", zram=False, objects=False, children=())
        for top in kernel.run
        for stage in top.walk()
        if stage.lock in (Lock.POOL, Lock.CLASS, Lock.ZRAM_COUNTER)
    ]
    return (slots, Stage("compress", kernel.compress), *objects)
