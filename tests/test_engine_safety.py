"""Compiled code stays inside its arrays, no entry vanishes, and every run ends, whatever the models are."""

from dataclasses import replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import MS, QUIET, lock_kernel, machines, quiet_machine

import swaplib
from swaplib.model.kernel import Cost
from swaplib.model.machine import Machine
from swaplib.model.storm import Background, Phase, Storm
from swaplib.sim import prepare as preparing

SYNC, V3 = swaplib.policy("sync"), swaplib.policy("async-v3")


def test_compiled_code_under_test_refuses_an_index_outside_of_an_array_or_below_0():
    storm, machine = Storm("one"), quiet_machine(2)
    world = preparing.prepare(machine, swaplib.kernel("6.11"), storm, SYNC, storm.draw(machine))
    read, read_record = numba.njit(lambda a, i: a[i]), numba.njit(lambda w, i: w.cpu[i].task)
    assert read_record(world, 1) == -1
    for function, array, index in ((read, np.zeros(2), 2), (read_record, world, 2), (read_record, world, -1)):
        with pytest.raises(IndexError):
            function(array, index)


@settings(max_examples=40)
@given(
    machine=machines(),
    policy=st.sampled_from(["sync", "async-v3", "async-per-8", "reaper", "gather-sync"]),
    seed=st.integers(0, 9),
)
def test_holds_of_one_lock_never_overlap(machine, policy, seed):
    """All freeing happens under one lock, so that no two CPUs free at once."""
    busy = (Background(3, 2 * MS, 5 * MS), Background(2, MS, 3 * MS, nice=-10))
    storm = Storm("random", processes=9, swap_entries=[300, 2000], gap_ns=(0, 50_000), background=busy)
    kernel = lock_kernel(90_000)
    machine = machine.but(work_ns=0)  # taking up a work is charged as its freeing
    outcome = swaplib.simulate(machine, kernel, storm, swaplib.policy(policy), seed, grain=4)
    trace = outcome.df_trace().query("category in ('release', 'drain')").sort_values("start_ms")
    assert (trace.start_ms.to_numpy()[1:] >= trace.end_ms.to_numpy()[:-1]).all()


@pytest.mark.parametrize("batch_records", [1, 2])
def test_no_entry_vanishes_when_pushing_costs_nothing_and_a_record_makes_a_work(batch_records):
    kernel = replace(swaplib.kernel("6.11"), list_push=Cost())
    policy = swaplib.policy("async-list", batch_records=batch_records, swap_entries_min=0)
    storm = Storm("one", swap_entries=20_000)
    outcome = swaplib.simulate(swaplib.machine("phone-8gb"), kernel, storm, policy)
    assert outcome.summary().entries_async + outcome.stranded == 20_000
    assert not outcome.timed_out


@pytest.mark.parametrize("cpus", [600, 1000])
def test_the_trace_of_many_cpus_covers_the_whole_run_however_full_it_is(cpus):
    machine = quiet_machine(cpus)
    for limit_us in range(78_500, 79_900, 200):
        background = (Background(1, 1000, 10_000),)
        storm = Storm("busy", processes=2, gap_ns=1 << 40, background=background, limit_ns=1000 * limit_us)
        outcome = swaplib.simulate(machine, swaplib.kernel("6.11"), storm.but(swap_entries=3), SYNC)
        traced = np.zeros(cpus, np.int64)
        np.add.at(traced, outcome.trace[:, 0], outcome.trace[:, 2] - outcome.trace[:, 1])
        assert (traced == outcome.end_ns).all()


@pytest.mark.parametrize("policy", swaplib.policies().name)
def test_when_arrays_grow_changes_nothing(policy, monkeypatch):
    machine = quiet_machine(4, wake_ns=5000, switch_ns=1500, slice_ns=MS)
    storm = Storm("some", processes=6, swap_entries=3000, present_pages=500, run_entries=[1, 4])
    choices = {"swap_entries_min": 32} if policy == "async-list" else {}
    kernel = swaplib.kernel("mm-2026-06" if policy == "zram-handle-deferred" else "6.11")
    arguments = (machine, kernel, storm, swaplib.policy(policy, **choices))
    plenty = swaplib.simulate(*arguments)
    monkeypatch.setattr(preparing, "ROOM", {"work": 4, "portion": 4})
    scarce = swaplib.simulate(*arguments)
    assert np.array_equal(plenty.trace, scarce.trace)
    assert plenty.summary().equals(scarce.summary())


def test_a_storm_in_which_nothing_takes_time_ends_at_once():
    free = dict.fromkeys(("walk", "present", "flush", "zone", "list_push", "allocate", "compress"), Cost())
    storm = Storm("free", processes=20, swap_entries=5000, present_pages=3000)
    for policy in swaplib.policies().name[swaplib.policies().kernels == "all"]:
        outcome = swaplib.simulate(quiet_machine(3), lock_kernel(0, **free), storm, swaplib.policy(policy))
        assert outcome.end_ns == 0
        assert not outcome.timed_out


def test_reclaiming_that_costs_and_gains_nothing_is_cut_off_as_timed_out():
    numbers = {**QUIET, "zram_ratio_permille": 1000, "swap_slots": 1 << 32, "free_pages": 10}
    machine = Machine("quiet", "", (1024,), (0,), (0,), "full", numbers)
    storm = Storm("stuck", processes=0, foreground=(Phase(0, 64),))
    outcome = swaplib.simulate(machine, lock_kernel(0), storm, SYNC)
    assert outcome.timed_out
    assert outcome.end_ns == 0


def test_thousands_of_background_threads_on_a_thousand_cpus_find_their_events():
    background = (Background(4096, 1000, 2 * MS),)
    storm = Storm("many", processes=100, swap_entries=600, background=background)
    outcome = swaplib.simulate(quiet_machine(1000, nodes=4), swaplib.kernel("6.18"), storm, V3)
    assert not outcome.timed_out
    assert outcome.summary().entries_async + outcome.summary().entries_sync == 60_000
