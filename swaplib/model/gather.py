"""The patch's gather: where a dying process puts its swap entries until a kworker frees them.

Runs of entries are stored in *slots* of 8 bytes, first in the bundle inside the gather, then in batch pages:
a run of one takes one slot, a longer run two (its first entry with bit 63 set, and its length). When all are
full, the gather is queued as a *work* for a kworker, and the process goes on with a new one.

Source: [PATCH v3 2/2] mm: tlb: add tlb swap entries batch async release, 5 Aug 2024.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from swaplib.model import gather_steps as step
from swaplib.model.checks import at_least, check_fields, whole_numbers
from swaplib.model.storm import CLUSTER_ENTRIES

SLOT_BYTES = 8  # encoded_swpentry_t
PAGE_HEADER_BYTES = 16  # sizeof(struct mmu_swap_batch): next, nr, max
GATHER_HEADER_BYTES = 64  # sizeof(struct mmu_swap_gather) without its bundle: 32 + 8 + 8 + 16, on 64 bits
RECORDS_RULE = 10_000  # MAX_SWAP_GATHER_BATCH_COUNT: as many pages as 10 000 slots fill
NR_MAX = 2**31 - 1  # the patch counts the entries of a run in a C int


@dataclass(frozen=True)
class Limits:
    """The constants of the gather on 4 KiB pages; `for_page` gives those of other pages."""

    threshold: int = 2  # exiting processes from which entries are queued (NR_MIN_EXITING_PROCESSES)
    swap_entries_min: int = 32  # a process with less is never counted (SWAP_CLUSTER_MAX)
    page_bytes: int = 4096  # of a batch page, and of what one swap entry stands for
    bundle_slots: int = 8  # slots inside the gather itself (MMU_GATHER_BUNDLE)
    page_slots: int = 510  # slots of a batch page (MAX_SWAP_GATHER_BATCH)
    pages_per_work: int = 19  # most batch pages of one work (MAX_SWAP_GATHER_BATCH_COUNT)

    def __post_init__(self) -> None:
        check_fields("", self, threshold=(0, NR_MAX), swap_entries_min=(0, NR_MAX), page_bytes=(32, 65536))
        check_fields("", self, bundle_slots=(2, 8190), page_slots=(2, 8190), pages_per_work=(0, 5000))

    @classmethod
    def for_page(cls, page_bytes: int, **others: int) -> Limits:
        """Give the limits for pages of `page_bytes` (32 to 65536); `others` replace further fields.

        A batch page has ``(page_bytes - 16) // 8`` slots, a work at most ``10000 // page_slots`` pages.
        """
        page_slots = (cls(page_bytes=page_bytes).page_bytes - PAGE_HEADER_BYTES) // SLOT_BYTES
        fields = {"page_slots": page_slots, "pages_per_work": RECORDS_RULE // page_slots}
        return cls(**{"page_bytes": page_bytes, **fields, **others})

    @property
    def gather_bytes(self) -> int:
        """Size of one gather with its bundle: 128 bytes on 64 bits."""
        return GATHER_HEADER_BYTES + SLOT_BYTES * self.bundle_slots

    def record(self) -> step.Record:
        """Give the limits as steps read them."""
        return step.new_record(step.LIMITS, **{name: getattr(self, name) for name in step.LIMITS.names or ()})


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
    nr = whole_numbers("nr", nr, 1, CLUSTER_ENTRIES).astype(np.int64)[()]
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
    work_of_run: npt.NDArray[np.int64]  # the row of `works` that holds it; -1 if the process freed it itself
    batch_of_run: npt.NDArray[np.int64]  # where in that work: 0 for the bundle, else the page's number; or -1
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
    """Gather the runs of one process as [PATCH v3 2/2] mm: tlb: add tlb swap entries batch async release.

    Parameters
    ----------
    runs : array of int, shape (n,) or (n, 2)
        Length of each run in the order of the page-table walk, or rows of (first entry, length).
    exiting : int or array of int, shape (n,)
        Exiting processes while each run is met, this one included.
    threshold, swap_entries_min, page_bytes : int
        As in `Limits`; the page size (in bytes) gives its further fields.
    dying : bool
        False for a living process that unmaps.
    gather_fail, page_fail : iterable of int
        Which calls of the gather's and of the batch pages' allocator fail: ordinals from 1, or -1 for always.

    Returns
    -------
    Gathered

    Raises
    ------
    TypeError, ValueError
        If runs, exiting or a limit is not a whole number in its range; the message names it.

    Examples
    --------
    >>> gather([16] * 5000).works[["records", "pages", "entries", "at_finish"]]
       records  pages  entries  at_finish
    0     4849     19    77584      False
    1      151      1     2416       True
    """
    nr = np.asarray(runs)
    if nr.ndim == 2 and nr.shape[1] == 2:
        nr = nr[:, 1]
    if nr.ndim != 1:
        raise ValueError(f"runs have shape {nr.shape}; expected one length a run, or (first entry, length)")
    nr = whole_numbers("runs", nr if nr.size else [], 1, NR_MAX).astype(np.int64)
    counts = whole_numbers("exiting", exiting, 1, NR_MAX).astype(np.int64)
    if counts.shape not in ((), nr.shape) or (counts.ndim and not nr.size):
        raise ValueError(
            f"exiting has shape {counts.shape}; expected one number, or one for each of {nr.size} runs"
        )
    limits = Limits.for_page(page_bytes, threshold=threshold, swap_entries_min=swap_entries_min)
    bounds, fails = limits.record(), (ordinals("gather_fail", gather_fail), ordinals("page_fail", page_fail))

    walk = np.zeros(nr.size, step.RUN).view(np.recarray)
    walk.nr, walk.exiting = nr, counts
    own = step.new_record(step.GATHER)
    shared = step.new_record(step.SHARED, exiting=int(counts.flat[0]) - 1)  # opening counts this one
    state = step.open_gather(own, shared, bounds, fails[0], bool(dying), int(nr.sum()))
    met, works = 0, []
    while met < nr.size:
        met, outcome = step.add_runs(own, shared, bounds, *fails, walk, met)
        if outcome == step.QUEUED:
            works.append((*own.tolist()[-4:], met, False))
    if step.finish(own, shared):
        works.append((*own.tolist()[-4:], met, True))

    frame = pd.DataFrame(works, columns=["records", "slots", "pages", "entries", "queued_after", "at_finish"])
    frame = frame.astype({name: bool if name == "at_finish" else np.int64 for name in frame})
    stored = walk.batch >= 0
    work = np.searchsorted(frame["queued_after"].to_numpy(), np.arange(nr.size), side="right")
    return Gathered(
        state=step.STATES[state],
        works=frame,
        work_of_run=np.where(stored, work, -1),
        batch_of_run=walk.batch.copy(),
        entries_sync=int(nr[~stored].sum()),
        entries_async=int(nr[stored].sum()),
        memory_bytes=int(len(frame) * limits.gather_bytes + frame["pages"].sum() * limits.page_bytes),
        gather_allocations=int(shared.gather_calls),
        page_allocations=int(shared.page_calls),
    )


def ordinals(what: str, failing: Iterable[int]) -> npt.NDArray[np.int64]:
    """Return the ordinals of failing allocations as steps read them; one that no call has is a ValueError."""
    values = list(failing)
    for position, value in enumerate(values):
        if isinstance(value, bool) or value != -1:
            at_least(f"{what}[{position}], a failing call (-1: always),", value, 1, NR_MAX)
    return np.array(sorted(values), np.int64)
