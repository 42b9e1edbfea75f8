"""The patch's gather: where a dying process puts its swap entries until a kworker frees them.

Runs of entries are stored in *slots* of 8 bytes, first in the bundle inside the gather, then in batch pages:
a run of one takes one slot, a longer run two (its first entry with bit 63 set, and its length). When all are
full, the gather is queued as a *work* for a kworker, and the process goes on with a new one. The steps below,
which the simulator shares, name the functions of the patch.

Source: [PATCH v3 2/2] mm: tlb: add tlb swap entries batch async release, 5 Aug 2024.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from swaplib.model.checks import at_least, check_fields, whole_numbers
from swaplib.model.compiled import compiled, entry
from swaplib.model.storm import CLUSTER_ENTRIES

Record = Any  # an element of an np.recarray; compiled code gets its address
Array = npt.NDArray[np.int64]

RECORDS_RULE = 10_000  # MAX_SWAP_GATHER_BATCH_COUNT: as many pages as 10 000 slots fill
NR_MAX = 2**31 - 1  # the patch counts the entries of a run in a C int

# The gather of one process: its state; 1 once it is allocated; slots used in its active batch (the bundle, or
# the page added last); what its current work holds; and what the work held that it queued last.
GATHER = "state held used pages records slots entries queued_records queued_slots queued_pages queued_entries"
# What processes share: open gathers, calls of both allocators (failing ones too), what is still allocated.
SHARED = "exiting gather_calls page_calls gathers_alive pages_alive"
LIMITS = "threshold swap_entries_min bundle_slots page_slots pages_per_work"

STATES = ("none", "freeable", "freeing")
NONE, FREEABLE, FREEING = range(3)
FREED, STORED, QUEUED = range(3)  # what became of runs: freed by the caller; stored; and their work queued


@dataclass(frozen=True)
class Limits:
    """The constants of the gather on 4 KiB pages; `for_page` gives those of other pages."""

    threshold: Annotated[int, 0, NR_MAX] = 2  # exiting processes from which entries are queued
    swap_entries_min: Annotated[int, 0, NR_MAX] = 32  # a process with less is not counted (SWAP_CLUSTER_MAX)
    page_bytes: Annotated[int, 32, 65536] = 4096  # of a batch page, and of what one swap entry stands for
    bundle_slots: Annotated[int, 2, 8190] = 8  # slots inside the gather itself (MMU_GATHER_BUNDLE)
    page_slots: Annotated[int, 2, 8190] = 510  # slots of a batch page (MAX_SWAP_GATHER_BATCH)
    pages_per_work: Annotated[int, 0, 5000] = 19  # most batch pages of one work

    def __post_init__(self) -> None:
        check_fields("", self)

    @classmethod
    def for_page(cls, page_bytes: int, **others: int) -> Limits:
        """Give the limits for pages of `page_bytes` (32 to 65536); `others` replace further fields.

        A batch page has ``(page_bytes - 16) // 8`` slots: sizeof(struct mmu_swap_batch) is 16, a slot 8.
        """
        page_slots = (cls(page_bytes=page_bytes).page_bytes - 16) // 8
        fields = {"page_slots": page_slots, "pages_per_work": RECORDS_RULE // page_slots}
        return cls(**{"page_bytes": page_bytes, **fields, **others})

    @property
    def gather_bytes(self) -> int:
        """Size of one gather: struct mmu_swap_gather is 64 bytes and its bundle, 128 in all on 64 bits."""
        return 64 + 8 * self.bundle_slots

    def record(self) -> Record:
        """Give the limits as steps read them."""
        return new_record(LIMITS, **{name: getattr(self, name) for name in LIMITS.split()})


@dataclass(frozen=True)
class Capacity:
    """What one full work holds: numbers, or arrays of the shape of `nr`."""

    nr: Any  # entries of each run
    records: Any  # runs
    slots: Any  # of 8 bytes, that they use
    entries: Any
    swapped_bytes: Any  # swapped memory that the entries stand for
    memory_bytes: Any  # memory of the work itself, bundle and pages


def capacity(nr: npt.ArrayLike = 1, limits: Limits | None = None) -> Capacity:
    """Capacity of one work for runs of `nr` entries each: 1 to 512, a number or an array; else a ValueError.

    A batch (the bundle or a page) counts as full when at most one slot is free, so that a run always fits: it
    holds ceil((slots - 1) / slots per record) records.
    """
    limits = limits or Limits()
    nr = whole_numbers("nr", nr, 1, CLUSTER_ENTRIES)[()]
    slots = np.where(nr == 1, 1, 2)[()]
    in_bundle, in_page = (-((1 - batch) // slots) for batch in (limits.bundle_slots, limits.page_slots))
    records = in_bundle + limits.pages_per_work * in_page
    memory = np.full_like(nr, limits.gather_bytes + limits.pages_per_work * limits.page_bytes)[()]
    return Capacity(nr, records, records * slots, records * nr, records * nr * limits.page_bytes, memory)


@dataclass(frozen=True, eq=False)
class Gathered:
    """What became of the runs of one process.

    `works` has one row a queued work, in order of queueing: records, slots, pages (batch pages), entries,
    queued_after (runs met when it was queued) and at_finish (queued at the end, perhaps empty).
    """

    state: str  # when the gather was opened: "none" (not eligible), "freeable" or "freeing"
    works: pd.DataFrame
    work_of_run: Array  # the row of `works` that holds it; -1 if the process freed it itself
    batch_of_run: Array  # where in that work: 0 for the bundle, else the page's number; or -1
    entries_sync: int  # freed by the process itself
    entries_async: int  # queued
    memory_bytes: int  # of all works: what the process holds if no kworker runs before it has exited
    gather_allocations: int  # calls of the two allocators, failing ones included
    page_allocations: int


def gather(
    runs: npt.ArrayLike,
    exiting: int | npt.ArrayLike = 2,
    threshold: int = 2,
    *,
    swap_entries_min: int = 32,
    page_bytes: int = 4096,
    dying: bool = True,
    gather_fail: Iterable[int] = (),
    page_fail: Iterable[int] = (),
) -> Gathered:
    """Gather the runs of one process as the patch does.

    Parameters
    ----------
    runs : array of int, shape (n,)
        Length of each run in the order of the page-table walk.
    exiting : int or array of int, shape (n,)
        Exiting processes while each run is met, this one included.
    threshold, swap_entries_min, page_bytes : int
        As in `Limits`; the page size (in bytes) gives its further fields.
    dying : bool
        False for a living process that unmaps.
    gather_fail, page_fail : iterable of int
        Which calls of the gather's and of the batch pages' allocator fail: ordinals from 1, or -1 for always.

    Raises
    ------
    TypeError, ValueError
        If runs, exiting or a limit is not a whole number in its range; the message names it.
    """
    nr = np.asarray(runs)
    if nr.ndim != 1:
        raise ValueError(f"runs have shape {nr.shape}; expected one length for each run")
    nr = whole_numbers("runs", nr, 1, NR_MAX)
    counts = whole_numbers("exiting", exiting, 1, NR_MAX)
    if counts.shape not in ((), nr.shape) or (counts.ndim and not nr.size):
        what = f"exiting has shape {counts.shape}"
        raise ValueError(f"{what}; expected one number, or one for each of {nr.size} runs")
    limits = Limits.for_page(page_bytes, threshold=threshold, swap_entries_min=swap_entries_min)
    bounds, fails = limits.record(), (ordinals("gather_fail", gather_fail), ordinals("page_fail", page_fail))

    own, shared = new_record(GATHER), new_record(SHARED, exiting=int(counts.flat[0]) - 1)  # opening counts it
    state = open_gather(own, shared, bounds, fails[0], bool(dying), int(nr.sum()))
    walk = (nr, np.broadcast_to(counts, nr.shape).copy(), np.empty_like(nr))
    met, works = 0, []
    while met < nr.size:
        met, is_queued = _add_runs(own, shared, bounds, fails, walk, met)
        if is_queued:
            works.append((*own.tolist()[-4:], met, False))
    if finish(own, shared):
        works.append((*own.tolist()[-4:], met, True))

    columns = ["records", "slots", "pages", "entries", "queued_after", "at_finish"]
    frame = pd.DataFrame(works, columns=columns).astype(dict.fromkeys(columns, int) | {"at_finish": bool})
    stored, batch = walk[2] >= 0, walk[2]
    work = np.searchsorted(frame["queued_after"].to_numpy(), np.arange(nr.size), side="right")
    entries = int(nr[~stored].sum()), int(nr[stored].sum())
    memory = int(len(frame) * limits.gather_bytes + frame["pages"].sum() * limits.page_bytes)
    calls = int(shared.gather_calls), int(shared.page_calls)
    return Gathered(STATES[state], frame, np.where(stored, work, -1), batch, *entries, memory, *calls)


def ordinals(what: str, failing: Iterable[int]) -> Array:
    """Return the ordinals of failing allocations as steps read them; one that no call has is a ValueError."""
    calls = list(failing)
    for i, call in enumerate(calls):
        at_least(f"{what}[{i}], a failing call (-1: always),", call, -1 if call == -1 else 1, NR_MAX)
    return np.array(calls, np.int64)


def new_record(names: str, **values: int) -> Record:
    """Return a record of zeros, with some fields set."""
    record = np.zeros(1, [(name, np.int64) for name in names.split()]).view(np.recarray)[0]
    for name, value in values.items():
        record[name] = value
    return record


# The steps. An allocation fails when its ordinal (1 is the first call of all processes) is among those that
# are to fail, or -1 is. What the caller frees itself is FREED.


@entry
def open_gather(
    gather: Record, shared: Record, limits: Record, gather_fail: Array, dying: bool, swap_entries: int
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
    gather: Record, shared: Record, limits: Record, gather_fail: Array, page_fail: Array, nr: int, count: int
) -> tuple[int, int]:
    """Meet `count` runs of `nr` entries each (__tlb_remove_swap_entries), up to the first change of outcome.

    Returns how many runs were taken, and what became of them all: FREED, STORED, or QUEUED when the last one
    filled its work. The caller offers the rest again. It takes one step a batch page, whatever the count.
    """
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
def _add_runs(own: Record, shared: Record, limits: Record, fails: Any, walk: Any, i: int) -> tuple[int, bool]:
    """Meet runs one by one from `i` on until a work is queued, and note the batch of each."""
    nr, exiting, batch = walk
    outcome = FREED
    while i < len(nr) and outcome != QUEUED:
        shared.exiting, page = exiting[i], own.pages
        _, outcome = add(own, shared, limits, fails[0], fails[1], nr[i], 1)
        batch[i] = -1 if outcome == FREED else page
        i += 1
    return i, outcome == QUEUED


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


@compiled
def _allocate_gather(gather: Record, shared: Record, gather_fail: Array) -> bool:
    """__tlb_swap_gather_init."""
    shared.gather_calls += 1
    if _fails(gather_fail, shared.gather_calls):
        return False
    shared.gathers_alive += 1
    gather.held = 1
    gather.used = gather.pages = gather.records = gather.slots = gather.entries = 0
    return True


@compiled
def _next_page(gather: Record, shared: Record, limits: Record, page_fail: Array) -> bool:
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
def _fails(failing: Array, call: int) -> bool:
    found = False
    for ordinal in failing:
        found = found or ordinal == call or ordinal == -1
    return found
