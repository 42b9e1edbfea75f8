"""What one work of the patch's gather can hold, and how many works and bytes a process needs, in closed form."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from swaplib.model.arrays import whole_numbers
from swaplib.model.checks import at_least
from swaplib.model.entries import OFFSET_MAX

SLOT_BYTES = 8  # encoded_swpentry_t
PAGE_HEADER_BYTES = 16  # sizeof(struct mmu_swap_batch): next, nr, max
GATHER_HEADER_BYTES = 64  # sizeof(struct mmu_swap_gather) without its bundle: 32 + 8 + 8 + 16, on 64 bits
RECORDS_RULE = 10_000  # MAX_SWAP_GATHER_BATCH_COUNT: as many pages as 10 000 slots fill


@dataclass(frozen=True)
class Limits:
    """The constants of the gather, as the patch has them on 4 KiB pages (`for_page` gives those of other pages).

    threshold: exiting gathers from which entries are queued (NR_MIN_EXITING_PROCESSES).
    swap_entries_min: swap entries below which a process is never counted (SWAP_CLUSTER_MAX).
    page_bytes: size of a page, and so of a batch page and of what one swap entry stands for.
    bundle_slots: slots inside the gather itself (MMU_GATHER_BUNDLE).
    page_slots: slots of a batch page (MAX_SWAP_GATHER_BATCH).
    pages_per_work: most batch pages of one work (MAX_SWAP_GATHER_BATCH_COUNT).

    Source: [PATCH v3 2/2] mm: tlb: add tlb swap entries batch async release, 5 Aug 2024.
    """

    threshold: int = 2
    swap_entries_min: int = 32
    page_bytes: int = 4096
    bundle_slots: int = 8
    page_slots: int = 510
    pages_per_work: int = 19

    def __post_init__(self) -> None:
        lowest = {"page_bytes": 1, "bundle_slots": 2, "page_slots": 2}  # a run takes two slots
        for name, value in vars(self).items():
            at_least(name, value, lowest.get(name, 0))

    @classmethod
    def for_page(cls, page_bytes: int, **others: int) -> Limits:
        """Give the limits of a kernel with pages of `page_bytes` bytes; `others` replace further fields.

        A batch page has ``(page_bytes - 16) // 8`` slots, a work at most ``10000 // page_slots`` pages.
        """
        at_least("page_bytes", page_bytes, PAGE_HEADER_BYTES + 2 * SLOT_BYTES)
        page_slots = (page_bytes - PAGE_HEADER_BYTES) // SLOT_BYTES
        fields = {"page_slots": page_slots, "pages_per_work": RECORDS_RULE // page_slots}
        return cls(**{"page_bytes": page_bytes, **fields, **others})

    @property
    def gather_bytes(self) -> int:
        """Size of one gather with its bundle: 128 bytes on 64 bits."""
        return GATHER_HEADER_BYTES + SLOT_BYTES * self.bundle_slots

    def vector(self) -> npt.NDArray[np.int64]:
        """Give the limits in the order that `swaplib.model.gather_state` reads."""
        return np.array(
            [self.threshold, self.swap_entries_min, self.bundle_slots, self.page_slots, self.pages_per_work],
            dtype=np.int64,
        )


@dataclass(frozen=True)
class Capacity:
    """What one full work holds when every run has the same length; arrays of the shape of `nr`, or numbers.

    nr: entries of each run. records: runs in the work. slots: 8-byte slots used. entries: swap entries.
    swapped_bytes: swapped memory they stand for. memory_bytes: memory of the work itself, bundle and pages.
    """

    nr: Any
    records: Any
    slots: Any
    entries: Any
    swapped_bytes: Any
    memory_bytes: Any


@dataclass(frozen=True)
class Works:
    """What one process queues when all its runs are gathered and no allocation fails; arrays or numbers.

    entries: of the process. nr: entries of each run (the last may be shorter). records: runs. works: queued, with the
    one at the end that may be empty. pages: batch pages of all works. memory_bytes: pages and gathers of all works,
    which is what the process holds if no kworker runs before it has exited.
    """

    entries: Any
    nr: Any
    records: Any
    works: Any
    pages: Any
    memory_bytes: Any


def capacity(nr: npt.ArrayLike = 1, limits: Limits | None = None) -> Capacity:
    """Capacity of one work for runs of equal length.

    A batch (the bundle or a page) counts as full when at most one slot is free, so that a run of two slots always
    fits: it holds ceil((slots - 1) / slots per record) records.

    Parameters
    ----------
    nr : int or array of int
        Entries of each run, at least 1.
    limits : Limits
        The gather's constants; by default those of 4 KiB pages.

    Returns
    -------
    Capacity

    Raises
    ------
    ValueError
        If a run length is below 1.
    """
    limits = limits or Limits()
    nr = _counts("nr", nr, lowest=1)
    bundle, page = _records_a_batch(nr, limits)
    records = bundle + limits.pages_per_work * page
    entries = records * nr
    memory = limits.gather_bytes + limits.pages_per_work * limits.page_bytes
    return Capacity(
        nr, records, records * _slots(nr), entries, entries * limits.page_bytes, np.full_like(nr, memory)[()]
    )


def works_of(entries: npt.ArrayLike, nr: npt.ArrayLike = 1, limits: Limits | None = None) -> Works:
    """Works, batch pages and bytes that a process queues, its entries lying in runs of `nr` (the last may be shorter).

    Nothing is freed synchronously: the gather is freeing from its start. Equal to `swaplib.gather` on the same runs,
    without walking them.

    Parameters
    ----------
    entries : int or array of int
        Swap entries of the process.
    nr : int or array of int
        Entries of each run, at least 1; broadcast against `entries`.
    limits : Limits
        The gather's constants; by default those of 4 KiB pages.

    Returns
    -------
    Works

    Raises
    ------
    ValueError
        If a number is negative, or a run length below 1.
    """
    limits = limits or Limits()
    entries, nr = np.broadcast_arrays(_counts("entries", entries, lowest=0), _counts("nr", nr, lowest=1))
    bundle, page = _records_a_batch(nr, limits)
    equal, last = entries // nr, entries % nr
    full, held = np.divmod(
        equal, bundle + limits.pages_per_work * page
    )  # full works; records in the one after them
    pages = np.where(held < bundle, 0, 1 + (held - bundle) // page)

    # A shorter last run goes where the others left off, and may be the one that fills its batch.
    batch_slots = np.where(pages == 0, limits.bundle_slots, limits.page_slots)
    used = _slots(nr) * np.where(pages == 0, held, (held - bundle) % page)
    fills = (last > 0) & (used + _slots(last) >= batch_slots - 1)
    queues = fills & (pages == limits.pages_per_work)
    full, pages = full + queues, np.where(queues, 0, pages + fills)

    pages = full * limits.pages_per_work + pages
    memory = (full + 1) * limits.gather_bytes + pages * limits.page_bytes
    return Works(entries[()], nr[()], equal + (last > 0), full + 1, pages[()], memory[()])


def _slots(nr: Any) -> Any:
    """Slots of one record: the entry, and its length when it is a run."""
    return np.where(nr == 1, 1, 2)[()]


def _records_a_batch(nr: Any, limits: Limits) -> tuple[Any, Any]:
    """Count the records that fill the bundle, and those that fill a page."""
    slots = _slots(nr)
    return -((1 - limits.bundle_slots) // slots), -((1 - limits.page_slots) // slots)


def _counts(what: str, values: npt.ArrayLike, *, lowest: int) -> Any:
    return whole_numbers(what, values, lowest, OFFSET_MAX).astype(np.int64)
