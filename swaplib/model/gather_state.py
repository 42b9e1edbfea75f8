"""The patch's gather as a state machine on small integer vectors, one code for the simulator and for single gathers.

Three int64 vectors say everything, and the names below say what stands where:

- the *gather* of one exiting process (`GATHER_FIELDS` numbers): its state, what its current work holds and, after a
  work was queued, what that work held;
- what all processes *share* (`SHARED_FIELDS` numbers): the exiting counter and the two allocators;
- the *limits* (`swaplib.model.capacity.Limits.vector`).

An allocation fails when its ordinal stands in a sorted int64 array of failing calls (1 is the first call of all
processes); an array that begins with -1 fails always, an empty one never.

Source: [PATCH v3 2/2] mm: tlb: add tlb swap entries batch async release, 5 Aug 2024; the function that each step
follows is named beside it.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swaplib.model.compiled import compiled

Vector = npt.NDArray[np.int64]

# The gather vector. USED counts the slots of the active batch (the bundle, or the page added last).
STATE, HELD, USED, PAGES, RECORDS, SLOTS, ENTRIES = range(7)
QUEUED_PAGES, QUEUED_RECORDS, QUEUED_SLOTS, QUEUED_ENTRIES = range(7, 11)
GATHER_FIELDS = 11

# The shared vector. Calls count failing ones too; alive is what was allocated and not yet freed by a kworker.
EXITING, GATHER_CALLS, PAGE_CALLS, GATHERS_ALIVE, PAGES_ALIVE = range(5)
SHARED_FIELDS = 5

# The limits vector.
THRESHOLD, SWAP_ENTRIES_MIN, BUNDLE_SLOTS, PAGE_SLOTS, PAGES_PER_WORK = range(5)

# States of a gather.
NONE, FREEABLE, FREEING = range(3)

# What became of records: freed by the caller, stored, or stored and their work queued.
FREED, STORED, QUEUED = range(3)


@compiled
def open_gather(
    gather: Vector, shared: Vector, limits: Vector, gather_fail: Vector, dying: bool, swap_entries: int
) -> int:
    """Open the gather of one process (tlb_gather_mmu) and return its state.

    A gather that was open is forgotten with what it held, as the kernel would.
    """
    gather[:] = 0
    if dying and swap_entries >= limits[SWAP_ENTRIES_MIN]:
        shared[EXITING] += 1
        if shared[EXITING] < limits[THRESHOLD]:
            gather[STATE] = FREEABLE
        else:
            gather[STATE] = FREEING
            _allocate_gather(gather, shared, gather_fail)
    return gather[STATE]


@compiled
def add(
    gather: Vector,
    shared: Vector,
    limits: Vector,
    gather_fail: Vector,
    page_fail: Vector,
    nr: int,
    count: int,
) -> tuple[int, int]:
    """Meet `count` runs of `nr` entries each (__tlb_remove_swap_entries), up to the first change of outcome.

    Returns how many runs were taken, and what became of all of them: FREED, STORED, or QUEUED when the last one filled
    its work. The caller offers what is left again. The cost is one step a batch page, whatever the count.
    """
    if count < 1:
        return 0, FREED
    if gather[STATE] == FREEABLE and shared[EXITING] >= limits[THRESHOLD]:
        gather[STATE] = FREEING  # never back
    if gather[STATE] != FREEING:
        return count, FREED

    freed = 0
    while gather[HELD] == 0 and freed < count:  # each record tries the allocation again
        if not _allocate_gather(gather, shared, gather_fail):
            freed += 1
    if freed > 0:
        return freed, FREED

    slots = 1 if nr == 1 else 2
    stored = 0
    while stored < count:
        room = records_to_event(gather, limits, nr)
        grain = min(room, count - stored)
        gather[USED] += grain * slots
        gather[SLOTS] += grain * slots
        gather[RECORDS] += grain
        gather[ENTRIES] += grain * nr
        stored += grain
        if grain == room and not _next_page(gather, shared, limits, page_fail):
            _queue(gather)
            _allocate_gather(gather, shared, gather_fail)
            return stored, QUEUED
    return stored, STORED


@compiled
def add_runs(
    gather: Vector,
    shared: Vector,
    limits: Vector,
    gather_fail: Vector,
    page_fail: Vector,
    nr: Vector,
    exiting: Vector,
    batch: Vector,
    start: int,
) -> tuple[int, int]:
    """Meet the runs ``nr[start:]`` one by one, ``exiting[i]`` gathers being open at run i, until a work is queued.

    Returns the index of the next run and the last outcome; fills `batch` with where each run was stored: 0 for the
    bundle, else the number of the work's page, or -1 where the process frees the run.
    """
    outcome = FREED
    for i in range(start, nr.size):
        shared[EXITING] = exiting[i]
        page = gather[PAGES]
        _, outcome = add(gather, shared, limits, gather_fail, page_fail, nr[i], 1)
        batch[i] = page if outcome != FREED else -1
        if outcome == QUEUED:
            return i + 1, outcome
    return nr.size, outcome


@compiled
def finish(gather: Vector, shared: Vector) -> bool:
    """Close the gather (tlb_finish_mmu); True when this queued a work, which may be empty."""
    if gather[STATE] == NONE:
        return False
    shared[EXITING] -= 1
    gather[STATE] = NONE
    if gather[HELD] == 0:
        return False
    _queue(gather)
    return True


@compiled
def drained(shared: Vector, pages: int) -> None:
    """Give back one work's gather and its `pages` batch pages (end of tlb_swap_async_free_work)."""
    shared[GATHERS_ALIVE] -= 1
    shared[PAGES_ALIVE] -= pages


@compiled
def records_to_event(gather: Vector, limits: Vector, nr: int) -> int:
    """Count the runs of `nr` entries up to and with the one that asks for a page or fills the work.

    0 when the gather is not freeing; 1 when it is but its next record must allocate it first.
    """
    if gather[STATE] != FREEING:
        return 0
    if gather[HELD] == 0:
        return 1
    slots = 1 if nr == 1 else 2
    batch_slots = limits[BUNDLE_SLOTS] if gather[PAGES] == 0 else limits[PAGE_SLOTS]
    return (
        batch_slots - 1 - gather[USED] + slots - 1
    ) // slots  # a batch is full when at most one slot is left


@compiled
def _allocate_gather(gather: Vector, shared: Vector, gather_fail: Vector) -> bool:
    """__tlb_swap_gather_init."""
    shared[GATHER_CALLS] += 1
    if _fails(gather_fail, shared[GATHER_CALLS]):
        return False
    shared[GATHERS_ALIVE] += 1
    gather[HELD] = 1
    gather[USED : ENTRIES + 1] = 0
    return True


@compiled
def _next_page(gather: Vector, shared: Vector, limits: Vector, page_fail: Vector) -> bool:
    """__tlb_swap_next_batch; False when the work must be queued instead."""
    if gather[PAGES] == limits[PAGES_PER_WORK]:
        return False
    shared[PAGE_CALLS] += 1
    if _fails(page_fail, shared[PAGE_CALLS]):
        return False
    shared[PAGES_ALIVE] += 1
    gather[PAGES] += 1
    gather[USED] = 0
    return True


@compiled
def _queue(gather: Vector) -> None:
    """__tlb_swap_gather_queuework, without the allocation that follows it."""
    gather[QUEUED_PAGES] = gather[PAGES]
    gather[QUEUED_RECORDS] = gather[RECORDS]
    gather[QUEUED_SLOTS] = gather[SLOTS]
    gather[QUEUED_ENTRIES] = gather[ENTRIES]
    gather[HELD : ENTRIES + 1] = 0


@compiled
def _fails(ordinals: Vector, call: int) -> bool:
    if ordinals.size == 0:
        return False
    if ordinals[0] == -1:
        return True
    i = np.searchsorted(ordinals, call)
    return bool(i < ordinals.size and ordinals[i] == call)
