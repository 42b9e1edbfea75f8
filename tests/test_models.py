"""Kernels, machines, storms and policies: what they refuse by name, what they draw, and their rules."""

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import QUIET, lock_kernel, quiet_machine

import swaplib
from swaplib.model.kernel import Cost, Lock, Stage
from swaplib.model.policy import Grouping, Hold, Policy, Workers
from swaplib.model.storm import Background, Phase, Storm, random_words, sorted_run_entries

SYNC = swaplib.policy("sync")
ONE = Storm("one", swap_entries=100)
WORDS = {
    (0, 0, 1): ["0x730150b2e3c8c450", "0x641b4e08066ad287", "0x93b439efc465df22"],
    (1, 2, 3): ["0xaba411f8f6c9b990", "0x1c6b7489df5024fb", "0x82f2425c7e3229b3"],
}
DRAWN = [[0, 548, 959, 1328], [380, 948, 269, 997], [7, 7, 7, 8]]  # kill_ns, swap_entries, present_pages

a_machine, a_kernel = partial(replace, quiet_machine(1)), partial(lock_kernel, 1000)
a_policy, a_storm = partial(Policy, "mine"), partial(Storm, "mine")


@pytest.mark.parametrize(
    ("build", "change", "message"),
    [
        (a_machine, {"capacity": (), "node": (), "pod": ()}, r"machine 'quiet': number of CPUs is 0"),
        (a_machine, {"capacity": (0,)}, r"capacity\[0\] is 0; expected a whole number from 1 to 1024"),
        (a_machine, {"capacity": None}, r"capacity is None; expected a tuple"),
        (a_machine, {"node": (1024,)}, r"node\[0\] is 1024; expected a whole number from 0 to 1023"),
        (a_machine, {"numbers": None}, r"numbers is None; expected a Mapping"),
        (a_machine, {"node": (0, 0)}, r"capacity, node and pod must name the same CPUs"),
        (a_machine, {"pod": (1,)}, r"every pod needs a CPU.*got pods \[1\]"),
        (a_machine, {"preemption": "none"}, r"preemption is 'none'; expected one of full, voluntary"),
        (a_machine, {"numbers": {**QUIET, "switch_ns": -1}}, r"switch_ns is -1; expected a whole number"),
        (a_machine, {"numbers": {**QUIET, "switch_ns": 1.5}}, r"switch_ns is 1.5; expected a whole number"),
        (a_machine, {"numbers": {**QUIET, "speed": 1}}, r"number is 'speed'; expected one of"),
        (a_machine, {"numbers": {k: v for k, v in QUIET.items() if k != "wake_ns"}}, r"wake_ns is missing"),
        (a_machine, {"numbers": {**QUIET, "memory_pages": 1}}, r"free_pages is more than memory_pages 1"),
        (a_kernel, {"native_call": "folio"}, r"kernel 'one lock': native_call is 'folio'; expected one of"),
        (a_kernel, {"slot_cache_entries": 64}, r"a slot cache and the stages that drain it go together"),
        (a_kernel, {"run": ()}, r"single and run need at least one stage"),
        (a_kernel, {"run": None}, r"run is None; expected a tuple"),
        (a_kernel, {"walk": 5}, r"walk is 5; expected a Cost"),
        (a_kernel, {"ordered_single": 2}, r"ordered_single is 2; expected a bool"),
        (a_policy, {"hold": "gathr"}, r"policy 'mine': hold is 'gathr'; expected one of nowhere, gather"),
        (a_policy, {"worker_nice": 20}, r"worker_nice is 20; expected a whole number from -20 to 19"),
        (a_policy, {"backlog_entries_max": 0}, r"backlog_entries_max is 0"),
        (a_policy, {"reapers": True}, r"reapers is True; expected a whole number"),
        (a_storm, {"swap_entries": 1.5}, r"storm 'mine': swap_entries is 1.5; expected a whole number"),
        (a_storm, {"swap_entries": []}, r"swap_entries is an empty list; expected equally likely values"),
        (a_storm, {"gap_ns": (5, 1)}, r"gap_ns is \(5, 1\); expected a range"),
        (a_storm, {"gap_ns": 1, "kill_timeout_ns": 9}, r"gap_ns is 1; expected 0 with kill_timeout_ns"),
        (a_storm, {"run_entries": 513}, r"run_entries is 513; expected a whole number from 1 to 512"),
        (a_storm, {"layout": "sorted"}, r"layout is 'sorted'; expected one of random, sequential, even-odd"),
        (a_storm, {"how": "crash"}, r"how is 'crash'; expected one of exit, munmap"),
        (a_storm, {"processes": 1000, "gap_ns": 1 << 50}, r"gap_ns is 1125899906842624; expected a whole"),
        (a_storm, {"cold": "no"}, r"cold is 'no'; expected a bool"),
        (a_storm, {"background": 3}, r"background is 3; expected a tuple"),
        (a_storm, {"foreground": [3]}, r"foreground\[0\] is 3; expected a Phase"),
        (ONE.but, {"proceses": 2}, r"storm 'one': choice is 'proceses'; expected one of .*processes"),
        (SYNC.but, {"treshold": 3}, r"policy 'sync' has no choice 'treshold'; its choices are .*threshold"),
        (Background, {"threads": 0, "burst_ns": 1, "period_ns": 1}, r"background: threads is 0"),
        (Phase, {"cpu_ns": 0, "pages": -1}, r"foreground phase: pages is -1"),
        (Cost, {"entry_cpu_ps": 1.0}, r"entry_cpu_ps is 1.0; expected a whole number from 0 to 1000000000"),
        (Stage, {"name": "free", "acquired": "page"}, r"stage 'free': acquired is 'page'; expected one of"),
    ],
)
def test_a_model_refuses_by_name(build, change, message):
    with pytest.raises(ValueError, match=message):
        build(**change)


def test_a_changed_number_is_marked_as_assumed():
    machine = swaplib.machine("phone-8gb", wake_ns=7)
    row = machine.df().set_index("number").loc["wake_ns"]
    assert [row.value, row.kind] == [7, "assumed"]


def test_numbers_of_numpy_become_whole_numbers_that_do_not_overflow():
    machine = replace(quiet_machine(1), capacity=[np.int64(512)]).but(fault_ns=np.int32(5))
    storm = Storm("mine", processes=np.uint8(200), swap_entries=(np.int16(1), 2))
    numbers = (*machine.capacity, machine["fault_ns"], storm.processes, *storm.swap_entries)
    assert {type(number) for number in numbers} == {int}


def test_features_follow_from_the_stages():
    assert swaplib.kernel("6.1").features == {"slot cache", "device lock"}
    assert swaplib.kernel("6.12").features == {"slot cache", "device lock", "free by run"}
    assert swaplib.kernel("6.18").features == {"free by run"}
    assert swaplib.kernel("mm-2026-06").features == {"free by run", "class in the object"}


@pytest.mark.parametrize("flag", ["zram", "objects", "zspages"])
@pytest.mark.parametrize("name", swaplib.kernels().name)
def test_what_is_deferred_and_what_is_left_cost_the_whole(name, flag):
    kernel = swaplib.kernel(name)
    left, deferred = kernel.without(flag), kernel.only(flag)

    def total(stages):
        return sum(stage.cost.total_ps() for top in stages for stage in top.walk())

    whole = kernel.drain or kernel.run
    stages = [stage for top in (*left.single, *left.run, *left.drain) for stage in top.walk()]
    assert not any(getattr(stage, flag) for stage in stages)
    assert total(left.drain or left.run) + total(deferred) == pytest.approx(total(whole))
    assert flag != "zram" or total(deferred) > 0.5 * total(whole)  # facts: most of the cost is zram's


@given(max_active=st.integers(1, 512), cpus=st.lists(st.integers(1, 64), min_size=1, max_size=8))
def test_workers_a_node_follow_commit_5797b1c18919(max_active, cpus):
    """clamp(ceil(max_active x node_cpus / cpus), min(max_active, 8), max_active)."""
    kernel = swaplib.kernel("6.18")
    for node in cpus:
        exact = int(np.clip(np.ceil(max_active * node / sum(cpus)), min(max_active, 8), max_active))
        assert kernel.workers_on_node(max_active, node, sum(cpus)) == exact


def test_choices_may_be_given_by_name():
    policy = Policy("mine", hold="gather", grouping="cluster", workers="per_cpu")
    assert [policy.hold, policy.grouping, policy.workers] == [Hold.GATHER, Grouping.CLUSTER, Workers.PER_CPU]
    assert policy.defers
    assert not policy.but(freed_by_caller=True).defers


@pytest.mark.parametrize(
    ("numbers", "change", "message"),
    [
        ({"swap_slots": 999}, {}, r"storm 'big' has 1000 swap entries; machine 'quiet' has 999"),
        ({"swap_slots": 1000}, {"swap_used_entries": 1}, r"has 1001 swap entries; machine 'quiet' has 1000"),
        ({"memory_pages": 1000, "free_pages": 900}, {}, r"needs 1150 pages.*machine 'quiet' has 1000"),
        ({"memory_pages": 1000, "free_pages": 0}, {"present_pages": 751}, r"needs 1001 pages"),
        ({"memory_pages": 1000, "free_pages": 0}, {"file_pages": 751}, r"needs 1001 pages"),
    ],
)
def test_a_storm_that_cannot_fit_is_refused_before_it_runs(numbers, change, message):
    storm = Storm("big", swap_entries=1000, **change)  # 250 pages of zram at a ratio of 4
    with pytest.raises(ValueError, match=message):
        swaplib.simulate(quiet_machine(1, **numbers), lock_kernel(1000), storm, SYNC)


def test_raw_words_are_the_same_on_every_machine():
    """PCG64 seeded by SeedSequence((experiment, seed, source)): numpy guarantees both streams."""
    assert [hex(word) for word in random_words(3, 0, 0, 1)] == WORDS[(0, 0, 1)]
    assert [hex(word) for word in random_words(3, 1, 2, 3)] == WORDS[(1, 2, 3)]


def test_a_known_storm_is_drawn():
    storm = Storm("known", processes=4, swap_entries=(10, 1000), present_pages=[7, 8], gap_ns=(0, 1000))
    deaths = storm.draw(quiet_machine(3, nodes=3), seed=5)
    assert [deaths.kill_ns.tolist(), deaths.swap_entries.tolist(), deaths.present_pages.tolist()] == DRAWN
    assert deaths.node.tolist() == [0, 1, 2, 0]


def test_a_source_of_randomness_does_not_disturb_another():
    """Common random numbers: changing how one thing is drawn leaves the others as they were."""
    storm = Storm("one", processes=9, swap_entries=(0, 999), present_pages=(0, 999), gap_ns=(0, 999))
    machine = quiet_machine(1)
    before, after = storm.draw(machine, 3), storm.but(swap_entries=5).draw(machine, 3)
    assert (before.present_pages == after.present_pages).all()
    assert (before.kill_ns == after.kill_ns).all()
    more = storm.but(processes=12).draw(machine, 3)
    assert (more.swap_entries[:9] == before.swap_entries).all()
    assert (storm.draw(machine, 4).swap_entries != before.swap_entries).any()
    assert (storm.draw(machine, 3, experiment=1).swap_entries != before.swap_entries).any()


@pytest.mark.parametrize(
    ("layout", "batch", "sharing", "expected"),
    [
        ("random", 9678, 1, 1),  # a tenth of the process: 1 / (1 - 0.1) rounds to 1
        ("random", 50_000, 1, 2),  # half of it
        ("random", 100_000, 1, 512),  # all of it: every cluster is whole
        ("random", 100_000, 8, 64),  # but others hold slots in between
        ("sequential", 9678, 1, 512),
        ("even-odd", 600, 1, 300),
    ],
)
def test_sorting_a_batch_joins_the_runs_that_lie_in_it(layout, batch, sharing, expected):
    assert sorted_run_entries(layout, 1, 100_000, batch, sharing) == expected


@pytest.mark.parametrize("kernel", ["6.14", "6.18", "mm-2026-06"])
@pytest.mark.parametrize("policy", [swaplib.policy("slot-cache-async"), Policy("mine", hold="slot_cache")])
def test_a_policy_that_needs_a_slot_cache_is_refused_where_there_is_none(kernel, policy):
    message = f"policy '{policy.name}' needs the slot cache, which kernel '{kernel}' does not have"
    with pytest.raises(ValueError, match=message):
        swaplib.simulate(quiet_machine(1), swaplib.kernel(kernel), ONE, policy)


def test_the_largest_costs_that_are_not_refused_still_add_up():
    machine = quiet_machine(2, cpu_cost_permille=1_000_000)
    kernel = lock_kernel(30_000_000, 30_000_000)
    storm = Storm("slow", processes=2, swap_entries=2000, limit_ns=1 << 50)
    outcome = swaplib.simulate(machine, kernel, storm, SYNC, variation_permille=1000)
    assert outcome.summary().entries_sync == 4000
    expected = 4000 * 2 * 30_000_000 / 1e9 * 1000  # ms
    assert outcome.df_cpu().release.sum() == pytest.approx(expected, rel=0.05)


def test_a_lock_inside_itself_is_refused():
    inside = Stage("inside", Cost(), Lock.DEVICE)
    kernel = lock_kernel(1000, run=(Stage("outer", Cost(), Lock.DEVICE, children=(inside,)),))
    with pytest.raises(ValueError, match="kernel 'one lock': stage 'inside' takes the DEVICE lock while"):
        swaplib.simulate(quiet_machine(1), kernel, ONE, SYNC)


def test_locks_nested_too_deep_are_refused():
    stage = Stage("innermost", Cost(), Lock.LIST)
    for lock in (Lock.ZRAM_COUNTER, Lock.SWAP_COUNTER, Lock.CLASS, Lock.POOL, Lock.CLUSTER, Lock.DEVICE):
        stage = Stage("outer", Cost(), lock, children=(stage,))
    with pytest.raises(ValueError, match=r"stage 'innermost' holds 7 locks; at most 6"):
        swaplib.simulate(quiet_machine(1), lock_kernel(1000, run=(stage,)), ONE, SYNC)


@pytest.mark.parametrize("options", [{"grain": 0}, {"grain": 65}, {"variation_permille": 1001}, {"seed": -1}])
def test_a_run_refuses_options_out_of_range(options):
    (name, value) = next(iter(options.items()))
    with pytest.raises(ValueError, match=f"{name} is {value}"):
        swaplib.simulate(quiet_machine(1), lock_kernel(1000), ONE, SYNC, **options)
