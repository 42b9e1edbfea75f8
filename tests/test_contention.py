"""Contended locks and lines: bounds of the closed form, the fit, and the engine beside it."""

from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib

SERVER = swaplib.machine("server-2x48")
times = st.floats(0, 1e6)


@given(st.integers(1, 60), times, st.lists(times, min_size=1, max_size=4))
def test_a_cycle_lies_between_the_asymptotic_bounds(walkers, think_ns, demands_ns):
    cycle = swaplib.closed_network(walkers, think_ns, demands_ns)
    alone, longest = think_ns + sum(demands_ns), walkers * max(demands_ns)
    assert max(alone, longest) * (1 - 1e-9) <= cycle <= think_ns + walkers * sum(demands_ns) * (1 + 1e-9)


def test_one_walker_pays_what_is_not_waited_for():
    assert swaplib.closed_network(1, 100, [50], [20]) == 120


@pytest.mark.parametrize(("threads", "node_cpus"), [(2, 1), (4, 2), (5, 3), (6, 2)])
def test_the_far_share_is_that_of_all_orders(threads, node_cpus):
    node = np.arange(threads) // node_cpus % 2
    steps = [node[a] != node[b] for order in permutations(range(threads)) for a, b in pairwise(order)]
    assert swaplib.far_share(threads, node_cpus) == pytest.approx(np.mean(steps))


def test_the_machine_has_the_numbers_that_the_fit_finds():
    fit = swaplib.fit_contention().value
    for name in ("handover_local_ps", "handover_remote_ps", "line_local_ps", "line_remote_ps"):
        assert SERVER[name] == pytest.approx(fit[name], rel=0.01)
    pi = swaplib.machine("rpi-4b")
    assert pi["line_local_ps"] == pytest.approx(fit["line_local_ps, no LSE"], rel=0.01)
    assert pi["growth_permille"] == pytest.approx(fit["growth_permille, no LSE"], rel=0.01)


def test_a_lock_of_a_machine_that_was_not_fitted_is_predicted():
    rows = swaplib.lockhammer("handover").query("split == 'test' and threads > 8")
    near, far, free = (SERVER[n] / 1000 for n in ("handover_local_ps", "handover_remote_ps", "line_local_ps"))
    predicted = swaplib.lockhammer_curve(rows, "handover", near, far, free)
    assert (predicted / rows.measured_ns - 1).abs().max() < 0.15


@pytest.mark.parametrize("name", swaplib.machines().name)
def test_only_cores_without_far_atomics_get_slower_with_every_waiter(name):
    machine = swaplib.machine(name)
    assert (machine["growth_permille"] > 0) == (machine.core == "no LSE")


@pytest.mark.parametrize("kernel", swaplib.kernels().name)
@pytest.mark.parametrize(("run_entries", "classes"), [(1, 60), (16, 1), (16, 60)])
@pytest.mark.parametrize("walkers", [4, 32])
def test_the_engine_frees_as_fast_as_the_closed_form(kernel, run_entries, classes, walkers):
    machine, model = SERVER.with_nodes(1, 32).but(prelude_ns=0, postlude_ns=0), swaplib.kernel(kernel)
    shape = {"run_entries": run_entries, "size_classes": classes}
    storm = swaplib.storm("server", processes=walkers, swap_entries=1500, present_pages=0, **shape)
    outcome = swaplib.simulate(machine, model, storm, swaplib.policy("sync"), grain=1, trace=False)
    alone, serial = swaplib.walker_demands(model, machine, walkers, run_entries, classes)
    cycle = swaplib.closed_network(walkers, alone, serial.queued_ns, serial.free_ns)
    assert outcome.summary().swap_freed_ms * 1e6 / 1500 == pytest.approx(cycle, rel=0.06)


def test_memory_on_a_node_without_cpus_is_remote_to_every_process():
    storm = swaplib.storm("server", processes=8, swap_entries=2000, present_pages=0)
    near, far = SERVER.with_nodes(2, 16), SERVER.with_nodes(2, 16, memory_nodes=2)
    kernel, sync = swaplib.kernel("6.18"), swaplib.policy("sync")
    ms = [swaplib.simulate(m, kernel, storm, sync, trace=False).summary().exit_ms_last for m in (near, far)]
    assert ms[1] > ms[0]
