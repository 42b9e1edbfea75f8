"""The patch's gather: its recorded cases, an independent reference, and what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gather_replay import replay
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.model.gather import Limits, capacity, gather

CASES = json.loads((Path(__file__).parent / "vectors" / "gather.json").read_text(encoding="utf-8"))["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_recorded_case_is_replayed_to_the_letter(case):
    assert json.dumps(replay(case)) == json.dumps(case["expect"])


# A reference, written from the description of the patch without its code: a work is a list of batches.


def works_of(runs, gather_fail, page_fail):
    calls = {"gather": 0, "page": 0}

    def allocates(kind, failing):
        calls[kind] += 1
        return -1 not in failing and calls[kind] not in failing

    def new_work():
        return [[]] if allocates("gather", gather_fail) else None

    works, work = [], new_work()
    for nr in runs:
        work = work or new_work()
        if work is None:
            continue  # the process frees the run itself
        work[-1].append(nr)
        used = sum(1 if nr == 1 else 2 for nr in work[-1])
        if (8 if len(work) == 1 else 510) - used > 1:
            continue
        if len(work) <= 19 and allocates("page", page_fail):
            work.append([])
        else:
            works.append(work)
            work = new_work()
    return works + [work] * (work is not None), calls


lengths = st.one_of(st.just(1), st.just(1), st.integers(2, 17), st.just(512))
failures = st.one_of(st.just([]), st.just([-1]), st.lists(st.integers(1, 30), unique=True, max_size=12))


@given(st.lists(lengths, min_size=32, max_size=900), failures, failures)
def test_a_gather_equals_the_reference_whatever_allocation_fails(runs, gather_fail, page_fail):
    gathered = gather(runs, gather_fail=gather_fail, page_fail=page_fail)
    works, calls = works_of(runs, gather_fail, page_fail)
    stored = [nr for work in works for batch in work for nr in batch]
    assert (gathered.entries_async, gathered.entries_sync) == (sum(stored), sum(runs) - sum(stored))
    assert gathered.works["entries"].tolist() == [sum(map(sum, work)) for work in works]
    assert gathered.works["records"].tolist() == [sum(map(len, work)) for work in works]
    assert gathered.works["pages"].tolist() == [len(work) - 1 for work in works]
    assert gathered.batch_of_run[gathered.batch_of_run >= 0].tolist() == [
        number for work in works for number, batch in enumerate(work) for _ in batch
    ]
    assert calls == {"gather": gathered.gather_allocations, "page": gathered.page_allocations}


@pytest.mark.parametrize(
    ("page_bytes", "nr", "records", "pages"),
    [(4096, 1, 9678, 19), (4096, 2, 4849, 19), (16384, 1, 8187, 4), (65536, 2, 4099, 1)],
)
def test_a_full_work_holds_so_many_runs_on_so_many_pages(page_bytes, nr, records, pages):
    """9,678 single entries or 4,849 runs on 4 KiB pages, by hand from the macros of the patch."""
    limits = Limits.for_page(page_bytes)
    first = gather(np.full(records + 1, nr), page_bytes=page_bytes).works.iloc[0]
    assert (first["records"], first["entries"], first["pages"]) == (records, records * nr, pages)
    assert (limits.page_slots, limits.pages_per_work) == ((page_bytes - 16) // 8, pages)
    full = capacity(nr, limits)
    assert (full.records, full.entries, full.slots) == (records, records * nr, first["slots"])
    assert (full.memory_bytes, full.swapped_bytes) == (128 + pages * page_bytes, records * nr * page_bytes)


@pytest.mark.parametrize(
    ("swap_kib", "works", "pages_kib"),
    [(202_692, 6, 400), (334_852, 9, 660), (366_488, 10, 720), (546_584, 15, 1076), (566_488, 15, 1116)],
)
def test_the_apps_of_the_thread_need_the_works_and_pages_derived_by_hand(swap_kib, works, pages_kib):
    app = gather(np.ones(swap_kib // 4, int))
    assert (len(app.works), app.works["pages"].sum() * 4) == (works, pages_kib)
    assert app.memory_bytes == 128 * works + 1024 * pages_kib


def test_single_entries_fill_the_bundle_with_7_and_each_page_with_509():
    batches = gather(np.ones(9678 + 8, int)).batch_of_run
    assert np.bincount(batches[:9678]).tolist() == [7] + [509] * 19
    assert batches[9678:].tolist() == [0] * 7 + [1]


def test_a_freeing_gather_stays_freeing_when_the_others_leave():
    gathered = gather(np.ones(100, int), exiting=[1] * 10 + [2] + [1] * 89)
    assert (gathered.state, gathered.entries_sync, gathered.entries_async) == ("freeable", 10, 90)


@pytest.mark.parametrize(
    ("entries", "dying", "state"), [(31, True, "none"), (32, True, "freeing"), (99, False, "none")]
)
def test_a_process_below_32_swap_entries_or_alive_is_not_eligible(entries, dying, state):
    gathered = gather(np.ones(entries, int), dying=dying)
    assert (gathered.state, gathered.entries_sync) == (state, 0 if state == "freeing" else entries)


@given(st.integers(1, 6), st.integers(0, 6))
def test_entries_are_queued_from_the_threshold_on(exiting, threshold):
    gathered = gather(np.ones(100, int), exiting=exiting, threshold=threshold)
    assert (gathered.entries_async == 100) == (exiting >= threshold)


def test_plain_python_equals_compiled_code():
    script = (
        "import json, sys\n"
        "from gather_replay import replay, step\n"
        "assert not hasattr(step.add, 'py_func'), 'still compiled'\n"
        "print(json.dumps([replay(case) for case in json.load(sys.stdin)]))\n"
    )
    places = os.pathsep.join([str(Path(swaplib.__file__).parents[1]), str(Path(__file__).parent)])
    plain = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(CASES),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": places},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(plain.stdout) == [replay(case) for case in CASES]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": [1, 0]}, r"runs\[1\] is 0; expected 1 to 2147483647"),
        ({"runs": [1, 2**31]}, r"runs\[1\] is 2147483648; expected 1 to 2147483647"),
        ({"runs": [[1, 2, 3]]}, r"runs have shape \(1, 3\); expected one length for each run"),
        ({"runs": 5}, r"runs have shape \(\); expected one length for each run"),
        ({"runs": [1] * 3, "exiting": [1, 2]}, r"exiting has shape \(2,\); .* or one for each of 3 runs"),
        ({"exiting": 0}, r"exiting is 0; expected 1 to"),
        ({"page_bytes": 16}, r"page_bytes is 16; expected a whole number from 32"),
        ({"threshold": True}, r"threshold is True; expected a whole number"),
        ({"page_fail": [3, 0]}, r"page_fail\[1\], a failing call .* is 0; expected"),
        ({"page_fail": [True]}, r"page_fail\[0\], a failing call .* is True; expected"),
        ({"runs": [1.5]}, r"runs is of type float64; expected whole numbers"),
        ({"runs": [True]}, r"runs is of type bool; expected whole numbers"),
        ({"runs": [None]}, r"runs is of type object; expected whole numbers"),
    ],
)
def test_arguments_out_of_range_are_refused_by_name_and_index(arguments, message):
    with pytest.raises((TypeError, ValueError), match=message):
        gather(**{"runs": [1], **arguments})
