"""The patch's gather: its recorded cases, an independent reference, and what it promises."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from gather_replay import append_runs, replay
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.model.gather import Limits, capacity, gather

VECTORS = Path(__file__).parent / "vectors" / "gather.json"
CASES = json.loads(VECTORS.read_text(encoding="utf-8"))["cases"]
PAGES_BYTES = [4096, 16384, 65536]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_a_recorded_case_is_replayed_to_the_letter(case):
    assert json.dumps(replay(case)) == json.dumps(case["expect"])


# A reference, written from the description of the patch without its code: lists, one call at a time.


class Reference:
    """Every process has a state and perhaps a gather: a list of batches with their runs and free slots."""

    def __init__(self, case):
        self.case, self.exiting, self.processes, self.works = case, 0, {}, []
        self.calls, self.alive = {"cache": 0, "page": 0}, {"cache": 0, "page": 0}
        for index, (name, *arguments) in enumerate(case["ops"]):
            self.index = index
            getattr(self, name)(*arguments)

    def allocate(self, kind):
        self.calls[kind] += 1
        failing = self.case[f"{kind}_alloc_fail"]
        succeeds = -1 not in failing and self.calls[kind] not in failing
        self.alive[kind] += succeeds
        return succeeds

    def new_gather(self):
        return [{"free": self.case["local_slots"], "runs": []}] if self.allocate("cache") else None

    def process(self, p):
        fresh = {"state": "none", "first": None, "gather": None, "calls": 0, "freed": []}
        return self.processes.setdefault(p, fresh)

    def inc(self, change):
        self.exiting += change

    def gather(self, p, dying, mm_swapents):
        process = self.process(p)
        process.update(state="none", gather=None)
        if dying and mm_swapents >= self.case["swap_cluster_max"]:
            self.exiting += 1
            process["state"] = "freeable" if self.exiting < self.case["nr_min"] else "freeing"
            if process["state"] == "freeing":
                process["gather"] = self.new_gather()
        process["first"] = process["state"]

    def rm(self, p, first, nr, count, stride):
        for k in range(count):
            process = self.process(p)
            process["calls"] += 1
            if not self.stores(p, process, (first + k * stride, nr)):
                process["freed"].append((first + k * stride, nr))

    def stores(self, p, process, run):
        if process["state"] == "freeable" and self.exiting >= self.case["nr_min"]:
            process["state"] = "freeing"
        if process["state"] != "freeing":
            return False
        process["gather"] = process["gather"] or self.new_gather()
        if process["gather"] is None:
            return False
        batches = process["gather"]
        batches[-1]["runs"].append(run)
        batches[-1]["free"] -= slots_of([run])
        if batches[-1]["free"] <= 1:
            if len(batches) - 1 < self.case["max_pages_per_work"] and self.allocate("page"):
                batches.append({"free": self.case["page_slots"], "runs": []})
            else:
                self.queue(p, process, at_finish=False)
                process["gather"] = self.new_gather()
        return True

    def fin(self, p):
        process = self.process(p)
        if process["state"] != "none":
            self.exiting -= 1
            if process["state"] == "freeing" and process["gather"] is not None:
                self.queue(p, process, at_finish=True)
        process.update(state="none", gather=None)

    def queue(self, p, process, at_finish):
        runs = [run for batch in process["gather"] for run in batch["runs"]]
        self.works.append(
            {
                "p": p,
                "op": self.index,
                "after_calls": process["calls"],
                "at_finish": at_finish,
                "pages": len(process["gather"]) - 1,
                "slots": slots_of(runs),
                "items": len(runs),
                "entries": sum(nr for _, nr in runs),
                "list": coded(runs),
            }
        )

    def expect(self):
        pages = sum(work["pages"] for work in self.works)
        return {
            "works": self.works,
            "sync": {str(p): coded(one["freed"]) for p, one in self.processes.items() if one["freed"]},
            "init_state": {str(p): one["first"] for p, one in self.processes.items() if one["first"]},
            "final_nr_exiting": self.exiting,
            "cache_allocs": self.calls["cache"],
            "page_allocs": self.calls["page"],
            "peak_pages": self.alive["page"],
            "pages_held_before_drain": self.alive["page"],
            "drained_entries": sum(work["entries"] for work in self.works),
            "drain_matches": True,
            "leaked_gathers": self.alive["cache"] - len(self.works),
            "leaked_pages": self.alive["page"] - pages,
            "vm_bug": 0,
        }


def slots_of(runs):
    return sum(1 if nr == 1 else 2 for _, nr in runs)


def coded(runs):
    """Greedy run-length coding, run by run."""
    code = []
    for first, nr in runs:
        if code and code[-1][1] == nr and code[-1][2] == 1:
            code[-1][2:] = [2, first - code[-1][0]]
        elif code and code[-1][1] == nr and first == code[-1][0] + code[-1][2] * code[-1][3]:
            code[-1][2] += 1
        else:
            code.append([first, nr, 1, 0])
    return code


processes = st.integers(0, 3)
lengths = st.one_of(st.just(1), st.just(1), st.integers(2, 17), st.just(512))
operations = st.one_of(
    st.tuples(st.just("inc"), st.integers(-1, 2)),
    st.tuples(st.just("gather"), processes, st.sampled_from([1, 1, 1, 0]), st.integers(0, 60)),
    st.tuples(st.just("fin"), processes),
    *[
        st.tuples(
            st.just("rm"), processes, st.integers(0, 99), lengths, st.integers(0, 40), st.integers(0, 20)
        )
    ]
    * 3,
)
failures = st.one_of(st.just([]), st.just([-1]), st.lists(st.integers(1, 30), unique=True, max_size=12))
constants = {
    "nr_min": st.integers(0, 4),
    "swap_cluster_max": st.sampled_from([0, 1, 32]),
    "local_slots": st.integers(2, 9),
    "page_slots": st.integers(2, 13),
    "max_pages_per_work": st.integers(0, 3),
}
opening = st.just([("inc", 1), ("gather", 0, 1, 60)])  # most examples should gather something
small_cases = st.fixed_dictionaries(
    {
        "ops": st.builds(list.__add__, st.one_of(opening, st.just([])), st.lists(operations, max_size=25)),
        "cache_alloc_fail": failures,
        "page_alloc_fail": failures,
        **constants,
    }
)


@given(small_cases)
def test_a_replay_equals_the_reference_whatever_is_interleaved_or_fails(case):
    assert replay(case) == Reference(case).expect()


@pytest.mark.parametrize("page_bytes", PAGES_BYTES)
@given(
    runs=st.lists(
        st.tuples(st.sampled_from([1, 1, 2, 16, 512]), st.integers(0, 12_000)), min_size=1, max_size=4
    ),
    gather_fail=failures,
    page_fail=failures,
)
def test_a_replay_equals_the_reference_on_every_page_size(page_bytes, runs, gather_fail, page_fail):
    slots = (page_bytes - 16) // 8
    patch = {"nr_min": 2, "swap_cluster_max": 32, "local_slots": 8, "max_pages_per_work": 10_000 // slots}
    removes = [["rm", 0, 10_000_000 * i, nr, count, nr] for i, (nr, count) in enumerate(runs)]
    case = {
        "ops": [["inc", 1], ["gather", 0, 1, 32], *removes, ["fin", 0]],
        "cache_alloc_fail": gather_fail,
        "page_alloc_fail": page_fail,
    }
    expected = Reference({**case, **patch, "page_slots": slots}).expect()
    assert replay({**case, "page_size": page_bytes}) == expected


@given(
    st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1, 16]), st.integers(0, 9), st.integers(-3, 20)))
)
def test_runs_are_coded_block_by_block_as_one_by_one(blocks):
    code = []
    for first, nr, count, stride in blocks:
        append_runs(code, first, nr, count, stride)
    assert code == coded(
        [(first + k * stride, nr) for first, nr, count, stride in blocks for k in range(count)]
    )


# What the patch promises, and what it does not.


@pytest.mark.parametrize(
    ("page_bytes", "nr", "records", "pages"),
    [
        (4096, 1, 9678, 19),
        (4096, 2, 4849, 19),
        (4096, 512, 4849, 19),
        (16384, 1, 8187, 4),
        (65536, 2, 4099, 1),
    ],
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


@given(st.sampled_from(PAGES_BYTES), st.integers(1, 512))
def test_the_capacity_is_what_the_first_work_of_a_gather_holds(page_bytes, nr):
    full = capacity(nr, Limits.for_page(page_bytes))
    first = gather(np.full(int(full.records), nr), page_bytes=page_bytes).works.iloc[0]
    assert (first["records"], first["slots"], first["at_finish"]) == (full.records, full.slots, False)


def test_the_limits_are_those_of_4_kib_pages_unless_told():
    assert Limits() == Limits.for_page(4096)
    assert Limits().gather_bytes == 128


def test_a_capacity_takes_arrays_as_it_takes_numbers():
    lengths = np.array([[1, 2], [16, 512]])
    each = [[int(capacity(int(nr)).entries) for nr in row] for row in lengths]
    assert capacity(lengths).entries.tolist() == each


@pytest.mark.parametrize(
    ("swap_kib", "works", "pages_kib"),
    [(202_692, 6, 400), (334_852, 9, 660), (366_488, 10, 720), (546_584, 15, 1076), (566_488, 15, 1116)],
)
def test_the_apps_of_the_thread_need_the_works_and_pages_derived_by_hand(swap_kib, works, pages_kib):
    app = gather(np.ones(swap_kib // 4, int))
    assert (len(app.works), app.works["pages"].sum() * 4) == (works, pages_kib)
    assert app.memory_bytes == 128 * works + 1024 * pages_kib


def test_single_entries_fill_the_bundle_with_7_and_each_page_with_509():
    gathered = gather(np.ones(9678 + 8, int))
    first = gathered.batch_of_run[gathered.work_of_run == 0]
    assert np.bincount(first).tolist() == [7] + [509] * 19
    assert gathered.batch_of_run[gathered.work_of_run == 1].tolist() == [0] * 7 + [1]


@given(st.lists(lengths, min_size=32, max_size=400), failures, failures)
def test_no_entry_is_lost_when_allocations_fail(runs, gather_fail, page_fail):
    gathered = gather(runs, gather_fail=gather_fail, page_fail=page_fail)
    queued = np.array(runs)[gathered.work_of_run >= 0].sum()
    assert gathered.works["entries"].sum() == queued == gathered.entries_async
    assert gathered.entries_sync + gathered.entries_async == sum(runs)


def test_all_is_freed_synchronously_and_tried_once_a_record_when_every_gather_fails():
    gathered = gather(np.ones(5000, int), gather_fail=[-1])
    assert (gathered.entries_sync, len(gathered.works), gathered.gather_allocations) == (5000, 0, 5001)


def test_works_shrink_to_the_bundle_when_every_page_fails():
    gathered = gather(np.ones(100, int), page_fail=[-1])
    assert gathered.works["records"].tolist() == [7] * 14 + [2]
    assert gathered.entries_sync == 0


def test_a_freeing_gather_stays_freeing_when_the_others_leave():
    gathered = gather(np.ones(100, int), exiting=[1] * 10 + [2] + [1] * 89)
    assert (gathered.state, gathered.entries_sync, gathered.entries_async) == ("freeable", 10, 90)


def test_a_process_that_fills_its_last_work_queues_an_empty_one_at_its_end():
    works = gather(np.ones(9678, int)).works
    assert works["records"].tolist() == [9678, 0]
    assert works["at_finish"].tolist() == [False, True]


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


@given(st.lists(lengths, min_size=1, max_size=300), st.sampled_from([2, 4]), failures, failures)
def test_a_gather_of_runs_equals_the_replay_of_its_calls(runs, threshold, gather_fail, page_fail):
    gathered = gather(runs, 2, threshold, gather_fail=gather_fail, page_fail=page_fail)
    calls = [["rm", 0, 0, nr, 1, 0] for nr in runs]
    case = {"nr_min": threshold, "cache_alloc_fail": gather_fail, "page_alloc_fail": page_fail}
    expected = replay({"ops": [["inc", 1], ["gather", 0, 1, sum(runs)], *calls, ["fin", 0]], **case})
    columns = ["items", "slots", "pages", "entries", "after_calls", "at_finish"]
    works = [[work[name] for name in columns] for work in expected["works"]]
    assert gathered.works.to_numpy().tolist() == works
    held = gathered.work_of_run[gathered.work_of_run >= 0]
    assert np.bincount(held, minlength=len(works)).tolist() == [items for items, *_ in works]
    calls = (gathered.gather_allocations, gathered.page_allocations)
    assert calls == (expected["cache_allocs"], expected["page_allocs"])


def test_rows_of_first_entry_and_length_gather_like_the_lengths_alone():
    rows = np.array([[100, 16], [900, 1], [5000, 40]])
    assert gather(rows).works.equals(gather(rows[:, 1]).works)
    assert gather(rows).entries_async == 57


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


# Refusals.


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"runs": [1, 0]}, r"runs\[1\] is 0; expected 1 to 2147483647"),
        ({"runs": [1, 2**31]}, r"runs\[1\] is 2147483648; expected 1 to 2147483647"),
        ({"runs": [[1, 2, 3]]}, r"runs have shape \(1, 3\); expected one length a run, or"),
        ({"runs": 5}, r"runs have shape \(\); expected one length a run, or"),
        (
            {"runs": [1] * 3, "exiting": [1, 2]},
            r"exiting has shape \(2,\); expected one number, or one for each of 3",
        ),
        ({"exiting": 0}, r"exiting is 0; expected 1 to"),
        ({"page_bytes": 16}, r"page_bytes is 16; expected a whole number from 32"),
        ({"threshold": True}, r"threshold is True; expected a whole number"),
        *(
            ({"page_fail": [3, bad]}, rf"page_fail\[1\], a failing call .* is {bad}; expected")
            for bad in (0, -2, 1.5, True)
        ),
    ],
)
def test_arguments_out_of_range_are_refused_by_name_and_index(arguments, message):
    with pytest.raises(ValueError, match=message):
        gather(**{"runs": [1], **arguments})


@pytest.mark.parametrize("bad", [1.5, True, "3", None])
def test_runs_that_are_no_whole_numbers_are_refused(bad):
    with pytest.raises(TypeError, match=r"runs is of type .*; expected whole numbers"):
        gather([bad])


@pytest.mark.parametrize("field", ["bundle_slots", "page_slots"])
def test_a_batch_without_room_for_a_run_is_refused(field):
    with pytest.raises(ValueError, match=rf"{field} is 1; expected a whole number from 2"):
        Limits(**{field: 1})
