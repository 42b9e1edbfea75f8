"""The lab's results on its 1- and 2-CPU machines, as promises the engine keeps (source: data/measured/README.md)."""

from functools import cache

import pandas as pd
import pytest

import swaplib
from swaplib.catalogue import MONITOR_NS, MS

HASH_NS = {"lab-1cpu": 16_800_000, "lab-2cpu-emulated": 6_000_000}
RUNS = [1, 16]


@cache
def lab(machine: str, policy: str, processes: int, run: int = 1, **choices: int) -> pd.Series:
    m = swaplib.machine(machine)
    storm = swaplib.storm("lab", m, processes=processes, mb=16, run_entries=run, hash_ns=HASH_NS[machine])
    rule = swaplib.policy(policy, **choices)
    return swaplib.simulate(m, swaplib.kernel("6.12", "instructions"), storm, rule, trace=False).summary()


def nice_0(machine: str, processes: int, run: int) -> pd.Series:
    return lab(machine, "async-v3", processes, run, worker_nice=0)


@pytest.mark.parametrize("run", RUNS)
def test_on_one_saturated_cpu_a_worker_at_nice_minus_20_gains_the_foreground_nothing(run):
    sync, v3 = lab("lab-1cpu", "sync", 16, run), lab("lab-1cpu", "async-v3", 16, run)
    assert v3.foreground_ms == pytest.approx(sync.foreground_ms, rel=0.08)


@pytest.mark.parametrize(("run", "measured"), [(1, 0.713), (16, 0.907)])  # exit_storm_instructions.csv
def test_on_one_saturated_cpu_a_worker_at_nice_0_gains_the_foreground_as_much_as_measured(run, measured):
    sync, v3 = lab("lab-1cpu", "sync", 16, run), nice_0("lab-1cpu", 16, run)
    assert v3.foreground_ms / sync.foreground_ms == pytest.approx(measured, abs=0.1)
    assert v3.swap_freed_ms > 1.2 * sync.swap_freed_ms


@pytest.mark.parametrize("run", RUNS)
def test_on_two_cpus_the_foreground_finishes_two_to_three_times_sooner(run):
    sync, v3 = lab("lab-2cpu-emulated", "sync", 16, run), lab("lab-2cpu-emulated", "async-v3", 16, run)
    assert 2 <= sync.foreground_ms / v3.foreground_ms <= 3


def test_on_two_cpus_swap_comes_back_later_in_runs_of_1():
    sync, v3 = lab("lab-2cpu-emulated", "sync", 16), lab("lab-2cpu-emulated", "async-v3", 16)
    assert 1.05 <= v3.swap_freed_ms / sync.swap_freed_ms <= 1.6


@pytest.mark.parametrize("max_active", [2, 4])
def test_on_two_cpus_more_workers_lose_most_of_the_gain(max_active):
    sync, one = lab("lab-2cpu-emulated", "sync", 16), lab("lab-2cpu-emulated", "async-v3", 16)
    more = lab("lab-2cpu-emulated", "async-v3", 16, max_active=max_active)
    assert sync.foreground_ms - more.foreground_ms < 0.5 * (sync.foreground_ms - one.foreground_ms)


@pytest.mark.parametrize("machine", list(HASH_NS))
def test_with_one_process_nothing_changes(machine):
    sync, v3 = lab(machine, "sync", 1), lab(machine, "async-v3", 1)
    assert v3.works == 0
    for metric in ("exit_ms_last", "foreground_ms", "swap_freed_ms"):
        assert v3[metric] == pytest.approx(sync[metric], rel=0.01)


def test_with_two_processes_the_exits_gain_and_the_foreground_does_not():
    sync, v3 = lab("lab-2cpu-emulated", "sync", 2), lab("lab-2cpu-emulated", "async-v3", 2)
    assert v3.exit_ms_median < 0.6 * sync.exit_ms_median
    assert v3.foreground_ms == pytest.approx(sync.foreground_ms, rel=0.1)


@pytest.mark.parametrize("run", RUNS)
def test_work_is_moved_and_not_removed(run):
    """On one CPU nobody spins, so all CPU time of the exits and the worker is work; v3 adds what the gather costs."""
    sync, v3 = lab("lab-1cpu", "sync", 16, run), lab("lab-1cpu", "async-v3", 16, run)
    monitor = MONITOR_NS / MS * (v3.duration_ms - sync.duration_ms)  # the lab's own share of a CPU
    assert -0.01 <= (v3.cpu_ms_total - monitor) / sync.cpu_ms_total - 1 <= 0.04
