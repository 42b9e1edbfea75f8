"""The lab's results on its 1- and 2-CPU machines, as promises the engine keeps (data/measured/README.md)."""

from functools import cache

import pytest

import swaplib
from swaplib.catalogue import HASH_NS, MONITOR_NS, MS

MACHINES = {"lab-1cpu": HASH_NS["icount"], "lab-2cpu-emulated": HASH_NS["mttcg"]}
runs_of_1_and_16 = pytest.mark.parametrize("run", [1, 16])


@cache
def lab(cpus, policy, processes=16, run=1, **choices):
    name = list(MACHINES)[cpus - 1]
    machine = swaplib.machine(name)
    storm = swaplib.storm("lab", machine, processes=processes, mb=16, run_entries=run, hash_ns=MACHINES[name])
    kernel, policy = swaplib.kernel("6.12", "instructions"), swaplib.policy(policy, **choices)
    return swaplib.simulate(machine, kernel, storm, policy, trace=False).summary()


@runs_of_1_and_16
def test_on_one_saturated_cpu_a_worker_at_nice_minus_20_gains_the_foreground_nothing(run):
    sync, v3 = lab(1, "sync", run=run), lab(1, "async-v3", run=run)
    assert v3.foreground_ms == pytest.approx(sync.foreground_ms, rel=0.08)


@pytest.mark.parametrize(("run", "measured"), [(1, 0.713), (16, 0.907)])  # exit_storm_instructions.csv
def test_on_one_saturated_cpu_a_worker_at_nice_0_gains_the_foreground_as_much_as_measured(run, measured):
    sync, v3 = lab(1, "sync", run=run), lab(1, "async-v3", run=run, worker_nice=0)
    assert v3.foreground_ms / sync.foreground_ms == pytest.approx(measured, abs=0.1)
    assert v3.swap_freed_ms > 1.2 * sync.swap_freed_ms


@pytest.mark.parametrize(("run", "measured"), [(1, 2.63), (16, 1.78)])  # medians, exit_storm_6.12_patched.csv
def test_on_two_cpus_the_foreground_finishes_as_much_sooner_as_measured(run, measured):
    sooner = lab(2, "sync", run=run).foreground_ms / lab(2, "async-v3", run=run).foreground_ms
    assert sooner == pytest.approx(measured, rel=0.2)


def test_on_two_cpus_swap_comes_back_later_in_runs_of_1():
    assert 1.05 <= lab(2, "async-v3").swap_freed_ms / lab(2, "sync").swap_freed_ms <= 1.6


@pytest.mark.parametrize("max_active", [2, 4])
def test_on_two_cpus_more_workers_lose_most_of_the_gain(max_active):
    sync, one, more = lab(2, "sync"), lab(2, "async-v3"), lab(2, "async-v3", max_active=max_active)
    assert sync.foreground_ms - more.foreground_ms < 0.5 * (sync.foreground_ms - one.foreground_ms)


@pytest.mark.parametrize("cpus", [1, 2])
def test_with_one_process_nothing_changes(cpus):
    sync, v3 = lab(cpus, "sync", 1), lab(cpus, "async-v3", 1)
    assert v3.works == 0
    for metric in ("exit_ms_last", "foreground_ms", "swap_freed_ms"):
        assert v3[metric] == pytest.approx(sync[metric], rel=0.01)


def test_with_two_processes_the_exits_gain_and_the_foreground_does_not():
    sync, v3 = lab(2, "sync", 2), lab(2, "async-v3", 2)
    assert v3.exit_ms_median < 0.6 * sync.exit_ms_median
    assert v3.foreground_ms == pytest.approx(sync.foreground_ms, rel=0.1)


@runs_of_1_and_16
def test_work_is_moved_and_not_removed(run):
    """On one CPU nobody spins, so all CPU time of exits and worker is work; v3 adds what the gather costs."""
    sync, v3 = lab(1, "sync", run=run), lab(1, "async-v3", run=run)
    monitor = MONITOR_NS / MS * (v3.duration_ms - sync.duration_ms)  # the lab's own share of a CPU
    assert -0.01 <= (v3.cpu_ms_total - monitor) / sync.cpu_ms_total - 1 <= 0.04
