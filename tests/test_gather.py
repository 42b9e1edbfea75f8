"""The patch's gather: its recorded cases, an independent reference, what it promises, and its closed form."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.model import gather_state as step
from swaplib.model.capacity import Limits, capacity, works_of
from swaplib.model.gather import gather, replay
from swaplib.model.gather_replay import append_runs

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
    ("nr", "records", "entries"), [(1, 9678, 9678), (2, 4849, 9698), (512, 4849, 2_482_688)]
)
def test_a_full_work_holds_9678_single_entries_or_4849_runs(nr, records, entries):
    first = gather(np.full(9679, nr)).works.iloc[0]
    assert (first["records"], first["entries"], first["pages"]) == (records, entries, 19)


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
    exiting = [1] * 10 + [2] + [1] * 89
    gathered = gather(np.ones(100, int), exiting=exiting)
    assert (gathered.state, gathered.entries_sync, gathered.entries_async) == ("freeable", 10, 90)


def test_a_process_that_fills_its_last_work_queues_an_empty_one_at_its_end():
    works = gather(np.ones(9678, int)).works
    assert works["records"].tolist() == [9678, 0]
    assert works["at_finish"].tolist() == [False, True]


@pytest.mark.parametrize(("entries", "state"), [(31, "none"), (32, "freeing")])
def test_a_process_below_32_swap_entries_is_not_eligible(entries, state):
    assert gather(np.ones(entries, int)).state == state


def test_a_living_process_frees_all_itself():
    assert gather(np.ones(100, int), dying=False).entries_sync == 100


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
    assert gathered.works.to_numpy().tolist() == [
        [work[name] for name in columns] for work in expected["works"]
    ]
    held = gathered.work_of_run[gathered.work_of_run >= 0]
    assert np.bincount(held, minlength=len(expected["works"])).tolist() == [
        work["items"] for work in expected["works"]
    ]
    assert (gathered.gather_allocations, gathered.page_allocations) == (
        expected["cache_allocs"],
        expected["page_allocs"],
    )


def test_rows_of_first_entry_and_length_gather_like_the_lengths_alone():
    rows = np.array([[100, 16], [900, 1], [5000, 40]])
    assert gather(rows).works.equals(gather(rows[:, 1]).works)
    assert gather(rows).entries_async == 57


def test_the_public_name_is_the_gather():
    assert swaplib.gather is gather


# The closed form.


small_limits = st.builds(
    Limits,
    swap_entries_min=st.just(0),
    bundle_slots=constants["local_slots"],
    page_slots=constants["page_slots"],
    pages_per_work=constants["max_pages_per_work"],
)


@given(small_limits, st.integers(0, 150), st.integers(1, 4))
def test_the_closed_form_equals_the_state_machine_in_small_works(limits, entries, nr):
    closed_form_equals_state_machine(limits, entries, nr)


@given(st.sampled_from(PAGES_BYTES).map(Limits.for_page), st.integers(0, 60_000), lengths)
def test_the_closed_form_equals_the_state_machine_on_every_page_size(limits, entries, nr):
    closed_form_equals_state_machine(limits, entries, nr)


def closed_form_equals_state_machine(limits, entries, nr):
    last = [["rm", 0, 0, entries % nr, 1, 0]] if entries % nr else []
    walked = replay(
        {
            "ops": [["inc", 1], ["gather", 0, 1, 32], ["rm", 0, 0, nr, entries // nr, 0], *last, ["fin", 0]],
            "page_size": limits.page_bytes,
            "local_slots": limits.bundle_slots,
            "page_slots": limits.page_slots,
            "max_pages_per_work": limits.pages_per_work,
        }
    )
    closed = works_of(entries, nr, limits)
    assert (closed.works, closed.pages) == (len(walked["works"]), walked["peak_pages"])
    assert closed.records == sum(work["items"] for work in walked["works"])
    assert closed.memory_bytes == closed.works * limits.gather_bytes + closed.pages * limits.page_bytes


@given(small_limits, lengths)
def test_the_capacity_is_what_the_first_work_holds(limits, nr):
    one = capacity(nr, limits)
    assert works_of(one.entries - nr, nr, limits).works == 1
    assert works_of(one.entries, nr, limits).works == 2


def test_the_closed_form_takes_arrays_as_it_takes_numbers():
    entries, nr = np.array([[50_673], [91_622]]), np.array([1, 16, 512])
    many = works_of(entries, nr)
    assert many.works.tolist() == [[6, 1, 1], [10, 2, 1]]
    assert many.memory_bytes.tolist() == [
        [int(works_of(int(e), int(n)).memory_bytes) for n in nr] for e in entries.ravel()
    ]


@pytest.mark.parametrize(
    ("swap_kib", "works", "pages_kib"),
    [(202_692, 6, 400), (334_852, 9, 660), (366_488, 10, 720), (546_584, 15, 1076), (566_488, 15, 1116)],
)
def test_the_apps_of_the_thread_need_the_works_and_pages_derived_by_hand(swap_kib, works, pages_kib):
    app = works_of(swap_kib // 4)
    assert (app.works, app.pages * 4) == (works, pages_kib)


@pytest.mark.parametrize(
    ("page_bytes", "slots", "pages"), [(4096, 510, 19), (16384, 2046, 4), (65536, 8190, 1)]
)
def test_limits_follow_from_the_page_size(page_bytes, slots, pages):
    limits = Limits.for_page(page_bytes)
    assert (limits.page_slots, limits.pages_per_work, limits.gather_bytes) == (slots, pages, 128)


def test_the_limits_are_those_of_4_kib_pages_unless_told():
    assert Limits() == Limits.for_page(4096)


# What the simulator's engine relies on.


@given(small_limits, lengths, lengths, st.integers(0, 200))
def test_nothing_is_allocated_or_queued_before_the_record_of_the_next_event(limits, before, nr, records):
    state, shared = np.zeros(step.GATHER_FIELDS, np.int64), np.zeros(step.SHARED_FIELDS, np.int64)
    bounds, never = limits.vector(), np.array([], np.int64)
    shared[step.EXITING] = limits.threshold
    step.open_gather(state, shared, bounds, never, True, 100)
    while records > 0:
        records -= step.add(state, shared, bounds, never, never, before, records)[0]
    calls = shared[[step.GATHER_CALLS, step.PAGE_CALLS]].copy()

    until = step.records_to_event(state, bounds, nr)
    assert until >= 1
    step.add(state, shared, bounds, never, never, nr, until - 1)
    assert (shared[[step.GATHER_CALLS, step.PAGE_CALLS]] == calls).all()
    step.add(state, shared, bounds, never, never, nr, 1)
    assert (shared[[step.GATHER_CALLS, step.PAGE_CALLS]] > calls).any()


def test_a_million_records_are_gathered_in_well_under_a_second():
    runs = np.random.default_rng(0).integers(1, 17, 1_000_000)
    gather(runs[:100])  # compiles
    started = time.perf_counter()
    assert gather(runs).works["records"].sum() == 1_000_000
    assert time.perf_counter() - started < 0.7


def test_plain_python_equals_compiled_code():
    script = (
        "import json, sys, numba\n"
        "from swaplib.model import gather_state\n"
        "from swaplib.model.gather import replay\n"
        "assert not hasattr(gather_state.add, 'py_func'), 'still compiled'\n"
        "print(json.dumps([replay(case) for case in json.load(sys.stdin)]))\n"
    )
    plain = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(CASES),
        env={**os.environ, "NUMBA_DISABLE_JIT": "1", "PYTHONPATH": str(Path(swaplib.__file__).parents[1])},
        capture_output=True,
        text=True,
        check=True,
    )
    assert hasattr(step.add, "py_func") or os.environ.get("NUMBA_DISABLE_JIT") == "1"
    assert json.loads(plain.stdout) == [replay(case) for case in CASES]


# Refusals.


@pytest.mark.parametrize("bad", [0, -1, 2**31])
def test_a_run_of_impossible_length_is_refused_with_its_index(bad):
    with pytest.raises(ValueError, match=rf"runs\[1\] is {bad}; expected 1 to 2147483647"):
        gather([1, bad])


def test_runs_that_are_no_whole_numbers_are_refused():
    with pytest.raises(TypeError, match="runs is of type float64; expected whole numbers"):
        gather([1.5])


def test_runs_of_another_shape_are_refused():
    with pytest.raises(ValueError, match=r"runs have shape \(1, 3\); expected one length a run, or rows"):
        gather([[1, 2, 3]])


def test_counts_of_exiting_processes_for_other_runs_are_refused():
    with pytest.raises(
        ValueError, match=r"exiting has shape \(2,\); expected one number, or one for each of 3 runs"
    ):
        gather([1, 1, 1], exiting=[1, 2])


def test_no_exiting_process_is_refused():
    with pytest.raises(ValueError, match="exiting is 0; expected 1 to"):
        gather([1], exiting=0)


@pytest.mark.parametrize("bad", [0, -2, 1.5, True])
def test_an_ordinal_that_no_call_has_is_refused(bad):
    with pytest.raises(ValueError, match=rf"page_fail\[1\] is {bad}; expected the ordinal of a call"):
        gather([1], page_fail=[3, bad])


@pytest.mark.parametrize(
    ("operation", "message"),
    [
        (["remove", 0], "is 'remove'; expected one of inc, gather, rm, fin"),
        (["rm", 0, 1], r"expected \[rm, process, first_entry, nr, count, stride\] in whole numbers"),
        (["rm", 0, 1, 0, 1, 1], "expected nr of at least 1"),
        (["inc", 0.5], r"expected \[inc, change\] in whole numbers"),
    ],
)
def test_a_malformed_operation_is_refused_with_its_index(operation, message):
    with pytest.raises(ValueError, match=rf"ops\[1\].*{message}"):
        replay({"ops": [["inc", 1], operation]})


@pytest.mark.parametrize("field", ["bundle_slots", "page_slots"])
def test_a_batch_without_room_for_a_run_is_refused(field):
    with pytest.raises(ValueError, match=rf"{field} is 1; expected a whole number of at least 2"):
        Limits(**{field: 1})


def test_a_page_without_room_for_a_run_is_refused():
    with pytest.raises(ValueError, match="page_bytes is 16; expected a whole number of at least 32"):
        gather([1], page_bytes=16)
