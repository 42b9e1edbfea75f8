"""Swap entries and runs of them, as 64-bit numbers in numpy arrays.

An entry names one page-sized slot of one swap device: its type (which device) in bits 58 to 62, its offset in bits 0
to 57. A run is `nr` entries with consecutive offsets, given by its first entry. The gather stores a run of one entry
in one 8-byte slot; a longer run takes two, the entry with bit 63 set and then `nr`.

Source: [PATCH v3 2/2] mm: tlb: add tlb swap entries batch async release, 5 Aug 2024 (encoded_swpentry_t).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from swaplib.model.arrays import whole_numbers

Entries = npt.NDArray[np.uint64]
Lengths = npt.NDArray[np.int64]

TYPE_BITS, OFFSET_BITS = 5, 58
TYPE_MAX = 2**TYPE_BITS - 1
OFFSET_MAX = 2**OFFSET_BITS - 1
ENTRY_MAX = 2 ** (TYPE_BITS + OFFSET_BITS) - 1
NR_MAX = 2**31 - 1  # the patch counts the entries of a run in a C int
CLUSTER_ENTRIES = 512  # SWAPFILE_CLUSTER with transparent huge pages; 256 without

_OFFSET_BITS = np.uint64(OFFSET_BITS)
_OFFSET_MASK = np.uint64(OFFSET_MAX)
_RUN_MARK = np.uint64(1 << 63)


def swap_entry(swap_type: npt.ArrayLike, offset: npt.ArrayLike) -> Entries:
    """Make entries of types (0 to 31) and offsets (0 to 2**58 - 1), broadcast against each other.

    Returns
    -------
    array of uint64

    Raises
    ------
    TypeError, ValueError
        If a number is not whole or does not fit; the message gives its index.
    """
    types = whole_numbers("swap_type", swap_type, 0, TYPE_MAX).astype(np.uint64)
    return (types << _OFFSET_BITS) | whole_numbers("offset", offset, 0, OFFSET_MAX).astype(np.uint64)


def type_of(entry: npt.ArrayLike) -> Lengths:
    """Types of entries: bits 58 to 62."""
    return (_entries(entry) >> _OFFSET_BITS).astype(np.int64)


def offset_of(entry: npt.ArrayLike) -> Lengths:
    """Offsets of entries: bits 0 to 57."""
    return (_entries(entry) & _OFFSET_MASK).astype(np.int64)


def encode(entry: npt.ArrayLike, nr: npt.ArrayLike = 1) -> Entries:
    """Encode runs as the gather stores them.

    Parameters
    ----------
    entry : array of int, shape (n,)
        First entry of each run.
    nr : int or array of int, shape (n,)
        Entries of each run: 1 to 2**31 - 1, and not beyond the last offset of the type.

    Returns
    -------
    array of uint64
        The slots: one for each run of 1, two for each longer one.

    Raises
    ------
    TypeError, ValueError
        If an entry or a length is not whole or does not fit; the message gives its index.
    """
    first, lengths = _runs(entry, nr)
    is_run = lengths > 1
    at = (
        np.arange(first.size) + np.cumsum(is_run) - is_run
    )  # each longer run before moves the rest by one slot
    slots = np.empty(first.size + np.count_nonzero(is_run), np.uint64)
    slots[at] = np.where(is_run, first | _RUN_MARK, first)
    slots[at[is_run] + 1] = lengths[is_run].astype(np.uint64)
    return slots


def decode(slots: npt.ArrayLike) -> tuple[Entries, Lengths]:
    """Decode slots of the gather: the inverse of `encode`.

    Returns
    -------
    tuple of arrays, shape (n,)
        First entries (uint64) and lengths (int64) of the runs.

    Raises
    ------
    TypeError, ValueError
        If a marked slot is not followed by a length of 2 to 2**31 - 1; the message gives its index.
    """
    slots = whole_numbers("slots", slots, 0, 2**64 - 1).astype(np.uint64).ravel()
    is_mark = (slots & _RUN_MARK) != 0
    if is_mark.size and is_mark[-1]:
        raise ValueError(
            f"slots[{slots.size - 1}] is marked as a run and the last; expected its length after it"
        )
    is_length = np.zeros(slots.size, np.bool_)
    is_length[1:] = is_mark[:-1]
    bad = np.flatnonzero(is_length & ((slots < 2) | (slots > NR_MAX)))
    if bad.size:
        raise ValueError(
            f"slots[{bad[0]}] is {slots[bad[0]]}, after a mark; expected a length of 2 to {NR_MAX}"
        )
    lengths = np.ones(slots.size, np.int64)
    lengths[is_mark] = slots[is_length].astype(np.int64)
    return _runs(slots[~is_length] & ~_RUN_MARK, lengths[~is_length])


def runs_of(entry: npt.ArrayLike, cluster_entries: int | None = None) -> tuple[Entries, Lengths]:
    """Join neighbours with consecutive offsets to the runs that a page-table walk sees.

    Parameters
    ----------
    entry : array of int, shape (n,)
        Entries in the order of the walk.
    cluster_entries : int, optional
        Split runs at the borders of clusters of so many entries (Linux: 512).

    Returns
    -------
    tuple of arrays
        First entries (uint64) and lengths (int64) of the runs, in the order of the walk.
    """
    return _split(*_joined(*_runs(entry, 1)), cluster_entries)


def merge_runs(
    entry: npt.ArrayLike, nr: npt.ArrayLike = 1, cluster_entries: int | None = None
) -> tuple[Entries, Lengths]:
    """Sort a batch of runs by type and offset and join those that continue each other.

    Parameters
    ----------
    entry, nr : array of int, shape (n,)
        First entry and length of each run. Runs that overlap (an entry with several references) stay apart.
    cluster_entries : int, optional
        Split runs at the borders of clusters of so many entries (Linux: 512).

    Returns
    -------
    tuple of arrays
        First entries (uint64) and lengths (int64), sorted.
    """
    first, lengths = _runs(entry, nr)
    order = np.lexsort((lengths, first))
    return _split(*_joined(first[order], lengths[order]), cluster_entries)


def _joined(first: Entries, nr: Lengths) -> tuple[Entries, Lengths]:
    if first.size == 0:
        return first, nr
    continues = (first[1:] == first[:-1] + nr[:-1].astype(np.uint64)) & ((first[1:] & _OFFSET_MASK) != 0)
    starts = np.flatnonzero(np.concatenate(([True], ~continues)))
    return first[starts], np.add.reduceat(nr, starts)


def _split(first: Entries, nr: Lengths, cluster_entries: int | None) -> tuple[Entries, Lengths]:
    if cluster_entries is None or first.size == 0:
        return first, nr
    cluster = int(whole_numbers("cluster_entries", cluster_entries, 1, OFFSET_MAX))
    offset = offset_of(first)
    pieces = (offset + nr - 1) // cluster - offset // cluster + 1
    run = np.repeat(np.arange(first.size), pieces)
    piece = np.arange(run.size) - np.repeat(np.cumsum(pieces) - pieces, pieces)
    starts = np.maximum(offset[run], (offset[run] // cluster + piece) * cluster)
    ends = np.minimum(offset[run] + nr[run], (offset[run] // cluster + piece + 1) * cluster)
    return first[run] + (starts - offset[run]).astype(np.uint64), ends - starts


def _entries(entry: npt.ArrayLike) -> Entries:
    return whole_numbers("entry", entry, 0, ENTRY_MAX).astype(np.uint64)


def _runs(entry: npt.ArrayLike, nr: npt.ArrayLike) -> tuple[Entries, Lengths]:
    first = np.atleast_1d(_entries(entry))
    lengths = whole_numbers("nr", nr, 1, NR_MAX).astype(np.int64)
    if first.ndim != 1 or lengths.shape not in ((), first.shape):
        raise ValueError(
            f"nr has shape {lengths.shape}; expected one number, or one for each of {first.shape} entries"
        )
    lengths = np.array(np.broadcast_to(lengths, first.shape))
    beyond = np.flatnonzero(offset_of(first) > OFFSET_MAX + 1 - lengths)
    if beyond.size:
        i = beyond[0]
        raise ValueError(
            f"nr[{i}] is {lengths[i]} at offset {offset_of(first[i])}; expected at most "
            f"{OFFSET_MAX + 1 - int(offset_of(first[i]))}, to the last offset {OFFSET_MAX}"
        )
    return first, lengths
