"""The steps of the patch's gather on records of whole numbers, for the simulator and for single gathers.

An allocation fails when its ordinal (1 is the first call of all processes) stands in a sorted array of int64;
one that begins with -1 fails always, an empty one never. Steps name the functions of the patch.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from swaplib.model.compiled import compiled, entry

Record = Any  # an element of an np.recarray; compiled code gets its address
Vector = npt.NDArray[np.int64]


def _fields(names: str) -> np.dtype:
    return np.dtype([(name, np.int64) for name in names.split()])


# The gather of one process: its state; 1 once it is allocated; slots used in its active batch (the bundle, or
# the page added last); what its current work holds; and what the work held that it queued last.
GATHER = _fields(
    "state held used pages records slots entries queued_records queued_slots queued_pages queued_entries"
)
# What processes share: open gathers, calls of both allocators (failing ones too), what is still allocated.
SHARED = _fields("exiting gather_calls page_calls gathers_alive pages_alive")
# See `swaplib.model.gather.Limits`.
LIMITS = _fields("threshold swap_entries_min bundle_slots page_slots pages_per_work")
# A run: its entries, exiting processes when it is met, and where it is stored: 0 for the bundle, else the
# number of the work's page; -1 where the process frees it.
RUN = _fields("nr exiting batch")

STATES = ("none", "freeable", "freeing")
NONE, FREEABLE, FREEING = range(3)
# What became of runs: freed by the caller; stored; stored, and their work queued.
FREED, STORED, QUEUED = range(3)


def new_record(dtype: np.dtype, **values: int) -> Record:
    """Return a record of zeros, with some fields set."""
    record = np.zeros(1, dtype).view(np.recarray)[0]
    for name, value in values.items():
        record[name] = value
    return record


@entry
def open_gather(
    gather: Record, shared: Record, limits: Record, gather_fail: Vector, dying: bool, swap_entries: int
) -> int:
    """Open the gather of one process (tlb_gather_mmu) and return its state; what it held is forgotten."""
    gather.state = NONE
    gather.held = gather.pages = 0
    if dying and swap_entries >= limits.swap_entries_min:
        shared.exiting += 1
        gather.state = FREEABLE
        if shared.exiting >= limits.threshold:
            gather.state = FREEING
            _allocate_gather(gather, shared, gather_fail)
    return gather.state


@entry
def add(
    gather: Record,
    shared: Record,
    limits: Record,
    gather_fail: Vector,
    page_fail: Vector,
    nr: int,
    count: int,
) -> tuple[int, int]:
    """Meet `count` runs of `nr` entries each (__tlb_remove_swap_entries), up to the first change of outcome.

    Returns how many runs were taken, and what became of them all: FREED, STORED, or QUEUED when the last one
    filled its work. The caller offers the rest again. It takes one step a batch page, whatever the count.
    """
    if count < 1:
        return 0, FREED
    if gather.state == FREEABLE and shared.exiting >= limits.threshold:
        gather.state = FREEING  # never back
    if gather.state != FREEING:
        return count, FREED

    freed = 0
    while gather.held == 0 and freed < count:  # each run tries the allocation again
        if not _allocate_gather(gather, shared, gather_fail):
            freed += 1
    if freed > 0:
        return freed, FREED

    slots = 1 if nr == 1 else 2
    stored = 0
    while stored < count:
        batch_slots = limits.bundle_slots if gather.pages == 0 else limits.page_slots
        room = (batch_slots - 1 - gather.used + slots - 1) // slots  # full when at most one slot is left
        fitting = min(room, count - stored)
        gather.used += fitting * slots
        gather.slots += fitting * slots
        gather.records += fitting
        gather.entries += fitting * nr
        stored += fitting
        if fitting == room and not _next_page(gather, shared, limits, page_fail):
            _queue(gather)
            _allocate_gather(gather, shared, gather_fail)
            return stored, QUEUED
    return stored, STORED


@entry
def add_runs(
    gather: Record,
    shared: Record,
    limits: Record,
    gather_fail: Vector,
    page_fail: Vector,
    runs: Any,
    start: int,
) -> tuple[int, int]:
    """Meet `RUN` records one by one from `start` until a work is queued, and note where each is stored.

    Returns the index of the next run, and what became of the last one.
    """
    outcome = FREED
    for i in range(start, len(runs)):
        run, page = runs[i], gather.pages
        shared.exiting = run.exiting
        _, outcome = add(gather, shared, limits, gather_fail, page_fail, run.nr, 1)
        run.batch = page if outcome != FREED else -1
        if outcome == QUEUED:
            return i + 1, outcome
    return len(runs), outcome


@entry
def finish(gather: Record, shared: Record) -> bool:
    """Close the gather (tlb_finish_mmu); True when this queued a work, which may be empty."""
    if gather.state == NONE:
        return False
    shared.exiting -= 1
    gather.state = NONE
    if gather.held == 0:
        return False
    _queue(gather)
    return True


@entry
def drained(shared: Record, pages: int) -> None:
    """Give back one work's gather and its `pages` batch pages (end of tlb_swap_async_free_work)."""
    shared.gathers_alive -= 1
    shared.pages_alive -= pages


@compiled
def _allocate_gather(gather: Record, shared: Record, gather_fail: Vector) -> bool:
    """__tlb_swap_gather_init."""
    shared.gather_calls += 1
    if _fails(gather_fail, shared.gather_calls):
        return False
    shared.gathers_alive += 1
    gather.held = 1
    gather.used = gather.pages = gather.records = gather.slots = gather.entries = 0
    return True


@compiled
def _next_page(gather: Record, shared: Record, limits: Record, page_fail: Vector) -> bool:
    """__tlb_swap_next_batch; False when the work must be queued instead."""
    if gather.pages == limits.pages_per_work:
        return False
    shared.page_calls += 1
    if _fails(page_fail, shared.page_calls):
        return False
    shared.pages_alive += 1
    gather.pages += 1
    gather.used = 0
    return True


@compiled
def _queue(gather: Record) -> None:
    """__tlb_swap_gather_queuework, without the allocation that follows it."""
    gather.queued_records, gather.queued_slots = gather.records, gather.slots
    gather.queued_pages, gather.queued_entries = gather.pages, gather.entries
    gather.held = gather.pages = 0


@compiled
def _fails(failing: Vector, call: int) -> bool:
    for ordinal in failing:
        if ordinal == call or ordinal == -1:
            return True
        if ordinal > call:
            return False
    return False
