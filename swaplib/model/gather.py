"""The patch's gather walked over the swapped runs of one process: what is queued when, what is freed synchronously."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from swaplib.model import gather_state as step
from swaplib.model.arrays import whole_numbers
from swaplib.model.capacity import Limits
from swaplib.model.entries import NR_MAX
from swaplib.model.gather_replay import ordinals, replay

__all__ = ["Gathered", "gather", "replay"]


@dataclass(frozen=True, eq=False)
class Gathered:
    """What became of the runs of one process.

    state: of the gather when it was opened: "none" (not eligible), "freeable" or "freeing".
    works: one row a queued work, in order of queueing, with the columns records, slots, pages (batch pages), entries,
        queued_after (runs met when it was queued) and at_finish (queued at the end of the process, perhaps empty).
    work_of_run: for each run the row of `works` that holds it, -1 if the process freed it itself.
    batch_of_run: where in that work it lies: 0 for the bundle, else the number of the batch page; -1 if in none.
    entries_sync, entries_async: entries freed by the process itself and entries queued.
    memory_bytes: memory of all works, which the process holds if no kworker runs before it has exited.
    gather_allocations, page_allocations: calls of the two allocators, failing ones included.
    """

    state: str
    works: pd.DataFrame
    work_of_run: npt.NDArray[np.int64]
    batch_of_run: npt.NDArray[np.int64]
    entries_sync: int
    entries_async: int
    memory_bytes: int
    gather_allocations: int
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
    """Gather the runs of one process as [PATCH v3 2/2] mm: tlb: add tlb swap entries batch async release does.

    Parameters
    ----------
    runs : array of int, shape (n,) or (n, 2)
        Length of each run in the order of the page-table walk, or rows of (first entry, length).
    exiting : int or array of int, shape (n,)
        Exiting processes while each run is met, this one included.
    threshold : int
        Exiting processes from which entries are queued (the patch: 2).
    swap_entries_min : int
        Swap entries below which the process frees all itself (the patch: 32).
    page_bytes : int
        Page size in bytes: batch pages of ``(page_bytes - 16) // 8`` slots.
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
    nr = _lengths(runs)
    exiting = _exiting(exiting, nr.size)
    limits = Limits.for_page(page_bytes, threshold=threshold, swap_entries_min=swap_entries_min)
    bounds, fails = limits.vector(), (ordinals("gather_fail", gather_fail), ordinals("page_fail", page_fail))
    state = np.zeros(step.GATHER_FIELDS, np.int64)
    shared = np.zeros(step.SHARED_FIELDS, np.int64)
    shared[step.EXITING] = exiting[0] - 1  # opening counts this one
    opened = step.open_gather(state, shared, bounds, fails[0], bool(dying), int(nr.sum()))

    batch, works, met = np.full(nr.size, -1), [], 0
    while met < nr.size:
        met, outcome = step.add_runs(state, shared, bounds, *fails, nr, exiting, batch, met)
        if outcome == step.QUEUED:
            works.append((*_queued(state), met, False))
    if step.finish(state, shared):
        works.append((*_queued(state), met, True))

    frame = pd.DataFrame(works, columns=["records", "slots", "pages", "entries", "queued_after", "at_finish"])
    frame = frame.astype({name: bool if name == "at_finish" else np.int64 for name in frame})
    stored = batch >= 0
    work = np.searchsorted(frame["queued_after"].to_numpy(), np.arange(nr.size), side="right")
    return Gathered(
        state=("none", "freeable", "freeing")[opened],
        works=frame,
        work_of_run=np.where(stored, work, -1),
        batch_of_run=batch,
        entries_sync=int(nr[~stored].sum()),
        entries_async=int(nr[stored].sum()),
        memory_bytes=int(len(frame) * limits.gather_bytes + frame["pages"].sum() * limits.page_bytes),
        gather_allocations=int(shared[step.GATHER_CALLS]),
        page_allocations=int(shared[step.PAGE_CALLS]),
    )


def _queued(state: step.Vector) -> tuple[int, int, int, int]:
    fields = (step.QUEUED_RECORDS, step.QUEUED_SLOTS, step.QUEUED_PAGES, step.QUEUED_ENTRIES)
    records, slots, pages, entries = (int(state[field]) for field in fields)
    return records, slots, pages, entries


def _lengths(runs: npt.ArrayLike) -> npt.NDArray[np.int64]:
    array = np.asarray(runs)
    if array.size and not (array.ndim == 1 or (array.ndim == 2 and array.shape[1] == 2)):
        raise ValueError(
            f"runs have shape {array.shape}; expected one length a run, or rows of (first entry, length)"
        )
    nr = array[:, 1] if array.ndim == 2 and array.size else array.ravel()
    return whole_numbers("runs", nr if nr.size else [], 1, NR_MAX).astype(np.int64)


def _exiting(exiting: int | npt.ArrayLike, runs: int) -> npt.NDArray[np.int64]:
    """One count a run; a count even where there is no run, for the gather's opening."""
    counts = whole_numbers("exiting", exiting, 1, NR_MAX).astype(np.int64)
    if counts.shape not in ((), (runs,)) or counts.size == 0:
        raise ValueError(
            f"exiting has shape {counts.shape}; expected one number, or one for each of {runs} runs"
        )
    return np.array(np.broadcast_to(counts, max(runs, 1)))
