"""Contended locks and lines: bounds of the closed form, the fit, and the engine beside it."""

from collections import Counter
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import swaplib
from swaplib.model.kernel import Lock, Stage

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


def demands(kernel, machine, walkers, run_entries, size_classes):
    """Return an entry's ns when so many free at once on one node: alone; by lock, waited for and not.

    Caches are cold; a cluster's lock is the process's own; inside si->lock nothing else is waited for.
    """
    scales = {"cpu": machine["cpu_cost_permille"] / 1e6, "memory": machine["memory_cost_permille"] / 1e6}
    growth = 1 + max(0, walkers - 2) * machine["growth_permille"] / 1000
    line_ns, handover_ns = (growth * machine[f"{n}_local_ps"] / 1000 for n in ("line", "handover"))
    shared, alone = Counter(), Counter()

    def visit(stage, calls, is_waited_for):
        """Book what all share inside a stage; return its time an entry."""
        times = {"entry": 1.0, "call": calls, "run": 1 / run_entries}
        costs = [(f"{part}_{kind}_ps", n * scales[kind]) for part, n in times.items() for kind in scales]
        ns = sum(getattr(stage.cost, name) * n for name, n in costs)
        ns += sum(visit(one, calls, is_waited_for and stage.lock != Lock.DEVICE) for one in stage.children)
        if stage.lock in (Lock.NONE, Lock.CLUSTER):
            return ns
        moves = 1.0 if stage.acquired == "entry" and is_waited_for else calls
        free = ns + moves * line_ns * (stage.lines + (not stage.lock.is_line))
        if is_waited_for:
            ns += moves * (line_ns * stage.lines + handover_ns * (not stage.lock.is_line))
            shared[stage.lock] += ns / (size_classes if stage.lock == Lock.CLASS else 1)
            alone[stage.lock] += free / (size_classes if stage.lock == Lock.CLASS else 1)
        return free

    parts = [(kernel.run, 1 / run_entries)]
    if not (kernel.native_call == "run" or (kernel.native_call == "run-of-two" and run_entries > 1)):
        parts = [(kernel.single, 1.0), (kernel.drain, 1 / kernel.slot_cache_entries)]
    total = visit(Stage("walk", kernel.walk), 1 / run_entries, True)
    total += sum(visit(stage, calls, True) for stages, calls in parts for stage in stages)
    return total - alone.total(), list(shared.values()), list(alone.values())


@pytest.mark.parametrize("kernel", swaplib.kernels().name)
@pytest.mark.parametrize(("run_entries", "classes"), [(1, 60), (16, 1), (16, 60)])
@pytest.mark.parametrize("walkers", [4, 32])
def test_the_engine_frees_as_fast_as_the_closed_form(kernel, run_entries, classes, walkers):
    machine, model = SERVER.with_nodes(1, 32).but(prelude_ns=0, postlude_ns=0), swaplib.kernel(kernel)
    shape = {"run_entries": run_entries, "size_classes": classes}
    storm = swaplib.storm("server", processes=walkers, swap_entries=1500, present_pages=0, **shape)
    outcome = swaplib.simulate(machine, model, storm, swaplib.policy("sync"), grain=1, trace=False)
    cycle = swaplib.closed_network(walkers, *demands(model, machine, walkers, run_entries, classes))
    assert outcome.summary().swap_freed_ms * 1e6 / 1500 == pytest.approx(cycle, rel=0.06)


def test_memory_on_a_node_without_cpus_is_remote_to_every_process():
    storm = swaplib.storm("server", processes=8, swap_entries=2000, present_pages=0)
    near, far = SERVER.with_nodes(2, 16), SERVER.with_nodes(2, 16, memory_nodes=2)
    kernel, sync = swaplib.kernel("6.18"), swaplib.policy("sync")
    ms = [swaplib.simulate(m, kernel, storm, sync, trace=False).summary().exit_ms_last for m in (near, far)]
    assert ms[1] > ms[0]
