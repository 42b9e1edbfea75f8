"""Entries, runs and their encoding."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplib.model.entries import (
    ENTRY_MAX,
    NR_MAX,
    OFFSET_MAX,
    TYPE_MAX,
    decode,
    encode,
    merge_runs,
    offset_of,
    runs_of,
    swap_entry,
    type_of,
)

types = st.integers(0, TYPE_MAX)
offsets = st.one_of(st.integers(0, 2**20), st.integers(0, OFFSET_MAX - NR_MAX))
lengths = st.one_of(st.just(1), st.integers(1, 600), st.integers(1, NR_MAX))


def test_an_entry_has_its_type_in_bits_58_to_62_and_its_offset_below():
    assert int(swap_entry(3, 5)) == (3 << 58) + 5


def test_the_largest_entry_leaves_bit_63_free():
    assert int(swap_entry(31, 2**58 - 1)) == 2**63 - 1 == ENTRY_MAX


@given(st.lists(st.tuples(types, st.integers(0, OFFSET_MAX))))
def test_type_and_offset_come_back_from_an_entry(parts):
    swap_type, offset = np.array(parts, dtype=np.int64).reshape(-1, 2).T
    entry = swap_entry(swap_type, offset)
    assert entry.dtype == np.uint64
    assert type_of(entry).tolist() == swap_type.tolist()
    assert offset_of(entry).tolist() == offset.tolist()


def test_a_single_entry_takes_one_slot_and_a_run_two_with_bit_63_on_the_first():
    assert encode([7, 100, 9], [1, 16, 1]).tolist() == [7, 100 + 2**63, 16, 9]


@given(st.lists(st.tuples(types, offsets, lengths)))
def test_decoding_gives_back_what_was_encoded(runs):
    first = np.array([(swap_type << 58) + offset for swap_type, offset, _ in runs], dtype=np.uint64)
    nr = np.array([length for *_, length in runs], dtype=np.int64)
    slots = encode(first, nr)
    assert slots.size == np.where(nr == 1, 1, 2).sum()
    decoded, decoded_nr = decode(slots)
    assert (decoded.tolist(), decoded_nr.tolist()) == (first.tolist(), nr.tolist())


@given(
    st.lists(
        st.one_of(st.integers(0, ENTRY_MAX), st.integers(2**63, 2**64 - 1), st.integers(0, 5)), max_size=12
    )
)
def test_encoding_gives_back_every_sequence_of_slots_that_decodes(slots):
    try:
        runs = decode(np.array(slots, dtype=np.uint64))
    except ValueError:
        return
    assert encode(*runs).tolist() == slots


def test_a_mark_without_a_length_is_refused_with_its_index():
    with pytest.raises(ValueError, match=r"slots\[1\] is marked as a run and the last"):
        decode([1, 2**63 + 5])


@pytest.mark.parametrize("length", [0, 1, 2**31, 2**63 + 1])
def test_a_mark_with_a_length_that_no_run_has_is_refused_with_its_index(length):
    with pytest.raises(ValueError, match=rf"slots\[2\] is {length}, after a mark; expected a length of 2"):
        decode([1, 2**63 + 5, length, 8])


@pytest.mark.parametrize("bad", [-1, 32])
def test_a_type_that_does_not_fit_is_refused_with_index_and_value(bad):
    with pytest.raises(ValueError, match=rf"swap_type\[1\] is {bad}; expected 0 to 31"):
        swap_entry([0, bad], 1)


@pytest.mark.parametrize("bad", [-1, 2**58])
def test_an_offset_that_does_not_fit_is_refused_with_index_and_value(bad):
    with pytest.raises(ValueError, match=rf"offset\[2\] is {bad}; expected 0 to {OFFSET_MAX}"):
        swap_entry(1, [0, 5, bad])


@pytest.mark.parametrize("bad", [0, -3, 2**31])
def test_a_length_that_does_not_fit_is_refused_with_index_and_value(bad):
    with pytest.raises(ValueError, match=rf"nr\[1\] is {bad}; expected 1 to {NR_MAX}"):
        encode([1, 2], [1, bad])


def test_a_run_past_the_last_offset_is_refused():
    with pytest.raises(ValueError, match=r"nr\[1\] is 3 at offset .*; expected at most 2"):
        encode([5, swap_entry(4, OFFSET_MAX - 1)], [1, 3])


@pytest.mark.parametrize("bad", [2**63, 2**64, -1])
def test_an_entry_with_bit_63_or_beyond_is_refused(bad):
    with pytest.raises(ValueError, match=rf"entry\[0\] is {bad}; expected 0 to {ENTRY_MAX}"):
        encode([bad], 1)


@pytest.mark.parametrize("bad", [1.0, True, "3"])
def test_numbers_that_are_not_whole_are_refused(bad):
    with pytest.raises(TypeError, match=r"entry is of type .*; expected whole numbers"):
        encode([bad], 1)


def test_lengths_that_match_no_entry_are_refused():
    with pytest.raises(ValueError, match=r"nr has shape \(2,\); expected one number, or one for each"):
        encode([1, 2, 3], [1, 2])


def test_neighbours_of_the_walk_become_runs_and_descending_ones_do_not():
    first, nr = runs_of([10, 11, 12, 20, 19, 18, 30])
    assert list(zip(first.tolist(), nr.tolist(), strict=True)) == [
        (10, 3),
        (20, 1),
        (19, 1),
        (18, 1),
        (30, 1),
    ]


def test_a_run_ends_at_a_cluster_border_when_asked():
    first, nr = runs_of(np.arange(500, 1600), cluster_entries=512)
    assert list(zip(first.tolist(), nr.tolist(), strict=True)) == [
        (500, 12),
        (512, 512),
        (1024, 512),
        (1536, 64),
    ]


def test_a_run_ends_with_its_swap_device():
    first, nr = runs_of([swap_entry(1, OFFSET_MAX), swap_entry(2, 0), swap_entry(2, 1)])
    assert nr.tolist() == [1, 2]
    assert type_of(first).tolist() == [1, 2]


def test_entries_with_two_references_stay_apart_when_a_batch_is_merged():
    first, nr = merge_runs([14, 10, 10], [2, 4, 4])
    assert list(zip(first.tolist(), nr.tolist(), strict=True)) == [(10, 4), (10, 6)]


runs = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 300), st.integers(1, 40)), max_size=30)


@given(runs, st.one_of(st.none(), st.integers(1, 64)))
def test_merging_a_batch_keeps_every_entry_with_its_references(runs, cluster):
    def expanded(pairs):
        return sorted(int(entry) + i for entry, nr in pairs for i in range(int(nr)))

    entry = [(swap_type << 58) + offset for swap_type, offset, _ in runs]
    nr = [length for *_, length in runs]
    merged = merge_runs(entry, nr, cluster)
    assert expanded(zip(*merged, strict=True)) == expanded(zip(entry, nr, strict=True))
    if cluster is not None:
        offset, length = offset_of(merged[0]), merged[1]
        assert (offset // cluster == (offset + length - 1) // cluster).all()


@given(st.permutations(range(100, 160)), st.integers(1, 9))
def test_sorting_a_shuffled_batch_recovers_the_sequence(shuffled, block):
    first = [offset * block for offset in shuffled]
    merged, nr = merge_runs(first, block)
    assert (merged.tolist(), nr.tolist()) == ([100 * block], [60 * block])


@given(st.lists(st.integers(0, 40), max_size=60))
def test_runs_of_a_walk_cannot_be_joined_further_and_keep_its_order(walk):
    first, nr = runs_of(walk)
    assert [
        int(entry) + i for entry, length in zip(first, nr, strict=True) for i in range(int(length))
    ] == walk
    assert not (first[1:] == first[:-1] + nr[:-1].astype(np.uint64)).any()
