"""The engine against SimPy, Lindley's recursion and closed forms, equal to the nanosecond."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simpy_model import Costs, simulate_reduced
from strategies import lock_kernel, quiet_machine

import swaplib
from swaplib.model.kernel import Cost, Lock
from swaplib.model.storm import Deaths, Storm
from swaplib.sim.outcome import Outcome
from swaplib.sim.prepare import prepare
from swaplib.sim.simulate import run
from swaplib.sim.state import CATEGORIES

SYNC = swaplib.policy("sync")
V3 = swaplib.policy("async-v3")


def simulate_deaths(
    machine, kernel, policy, kill_ns, swap_entries, *, grain=1, variation=0, trace=True, **storm
):
    """Simulate processes with these very kill times and sizes."""
    kill_ns, swap_entries = np.asarray(kill_ns, np.int64), np.asarray(swap_entries, np.int64)
    zero = np.zeros_like(kill_ns)
    deaths = Deaths(kill_ns, swap_entries, zero, zero, np.ones_like(zero), zero % machine.nodes)
    storm = Storm("given", processes=len(kill_ns), **storm)
    world = prepare(machine, kernel, storm, policy, deaths, grain, variation, trace)
    return Outcome(machine, kernel, storm, policy, 0, *run(world))


def engine_reduced(kill_ns, swap_entries, costs, threshold, grain=1, trace=True):
    """The reduced model in the engine: a CPU for each process and one for the kworker."""
    machine = quiet_machine(
        len(kill_ns) + 1,
        handover_local_ps=1000 * costs.handover_ns,
        line_local_ps=1000 * costs.line_ns,
        growth_permille=costs.growth_permille,
        gather_record_ps=1000 * costs.record_ns,
        gather_page_ns=costs.page_ns,
        queue_work_ns=costs.queue_ns,
        work_ns=costs.work_ns,
    )
    kernel = lock_kernel(1000 * costs.hold_ns, 1000 * costs.outside_ns, walk_ps=1000 * costs.walk_ns)
    policy = SYNC if threshold is None else V3.but(threshold=threshold)
    return simulate_deaths(machine, kernel, policy, kill_ns, swap_entries, grain=grain, trace=trace)


def assert_equal_times(kill_ns, swap_entries, costs, threshold):
    expected = simulate_reduced(kill_ns, swap_entries, costs, threshold=threshold)
    world = engine_reduced(kill_ns, swap_entries, costs, threshold).world
    p, lock = world.process, world.lock[0]
    assert p.exited_ns.tolist() == expected.exit_ns
    assert p.swap_freed_ns.tolist() == expected.freed_ns
    assert int(world.system[0].works) == expected.works
    seen = [int(lock.acquisitions), int(lock.contended), int(lock.wait_ns)]
    assert seen == [expected.acquisitions, expected.contended, expected.wait_ns]


random_costs = st.builds(
    Costs,
    walk_ns=st.integers(0, 20),
    outside_ns=st.integers(0, 400),
    hold_ns=st.integers(1, 200),
    handover_ns=st.sampled_from((0, 80, 120)),  # whole nanoseconds with every growth
    line_ns=st.just(0),  # the engine's kworker may run on the CPU of a process that is gone
    growth_permille=st.sampled_from((0, 100, 250)),
    record_ns=st.integers(0, 30),
    page_ns=st.integers(0, 300),
    queue_ns=st.integers(0, 500),
    work_ns=st.integers(0, 300),
)


@settings(max_examples=60)
@given(st.data(), st.integers(1, 5), random_costs, st.sampled_from((None, 0, 2, 3)))
def test_random_storms_take_as_long_as_in_simpy(data, processes, costs, threshold):
    # Never two at one instant: who then counts as exiting first is nobody's rule.
    gaps = data.draw(st.lists(st.integers(1, 100_000), min_size=processes, max_size=processes))
    sizes = data.draw(st.lists(st.integers(0, 1500), min_size=processes, max_size=processes))
    assert_equal_times(np.cumsum(gaps).tolist(), sizes, costs, threshold)


@pytest.mark.parametrize("threshold", [None, 0, 2, 4])
def test_a_storm_with_full_works_takes_as_long_as_in_simpy(threshold):
    costs = Costs(12, 310, 97, 0, 0, 0, 15, 300, 500, 300)
    assert_equal_times([0, 1000, 250_000, 3_000_000], [12_000, 25_011, 9678, 30], costs, threshold)


@pytest.mark.parametrize("threshold", [None, 0])
def test_lock_hand_overs_take_as_long_as_in_simpy(threshold):
    moves = {"handover_ns": 120, "line_ns": 40, "growth_permille": 100}
    costs = Costs(walk_ns=11, outside_ns=203, hold_ns=101, page_ns=300, queue_ns=500, **moves)
    assert_equal_times([0, 13, 29], [11_000, 12_000, 13_000], costs, threshold)


@pytest.mark.parametrize(("nodes", "handover_ns"), [(1, 120), (2, 370)])
def test_a_lock_that_goes_to_and_fro_costs_a_hand_over_near_or_far(nodes, handover_ns):
    """Two walkers that always want it: N entries each, with 2 N - 1 hand-overs."""
    numbers = {"handover_local_ps": 120_000, "handover_remote_ps": 370_000}
    machine, kernel = quiet_machine(2, nodes, **numbers), lock_kernel(100_000, walk_ps=0)
    outcome = simulate_deaths(machine, kernel, SYNC, [0, 0], [50, 50])
    assert outcome.world.process.exited_ns.max() == 100 * 100 + 99 * handover_ns


@settings(max_examples=60)
@given(
    arrivals=st.lists(st.tuples(st.integers(0, 300_000), st.integers(0, 400)), min_size=1, max_size=8),
    wake_ns=st.sampled_from((0, 5000)),
)
def test_works_at_one_worker_start_and_end_by_lindleys_recursion(arrivals, wake_ns):
    """Every process queues one work; W(n+1) = max(0, W(n) + S(n) - A(n+1)), in absolute times."""
    arrivals = sorted(arrivals)
    kill_ns, sizes = (list(column) for column in zip(*arrivals, strict=True))
    walk_ns, record_ns, service_ns, work_ns = 12, 15, 333, 300
    times = {"gather_record_ps": 1000 * record_ns, "work_ns": work_ns, "wake_ns": wake_ns}
    machine = quiet_machine(len(arrivals) + 1, **times)
    kernel = lock_kernel(0, 1000 * service_ns, walk_ps=1000 * walk_ns, lock=Lock.NONE)
    outcome = simulate_deaths(machine, kernel, V3.but(threshold=0, swap_entries_min=0), kill_ns, sizes)

    queued = [kill + wake_ns + size * (walk_ns + record_ns) for kill, size in arrivals]
    free_at, works = -1, []
    for process in np.argsort(queued, kind="stable"):
        start = queued[process] + wake_ns if queued[process] > free_at else free_at
        free_at = start + work_ns + sizes[process] * service_ns
        works.append((start, free_at))
        if sizes[process]:
            assert int(outcome.world.process[process].swap_freed_ns) == free_at
    assert int(outcome.world.system[0].now) == works[-1][1]
    drained = outcome.world.cpu.time[:, CATEGORIES.index("drain")].sum()
    assert drained == sum(end - start for start, end in works)


@pytest.mark.parametrize("run_entries", [1, 16])
@pytest.mark.parametrize("name", swaplib.kernels().name)
def test_one_process_alone_exits_after_the_sum_of_its_costs_up_to_rounding(name, run_entries):
    kernel, entries = swaplib.kernel(name), 512 * 40
    machine = quiet_machine(1, prelude_ns=150_000, postlude_ns=100_000, switch_ns=1500, wake_ns=5000)
    storm = Storm("one", swap_entries=entries, run_entries=run_entries)
    outcome = swaplib.simulate(machine, kernel, storm, SYNC, grain=16, variation_permille=0)

    def total(stages, calls):
        costs = [stage.cost for top in stages for stage in top.walk()]
        return entries * sum(cost.total_ps(run_entries, calls * run_entries / entries) for cost in costs)

    one_by_one = kernel.native_call == "entry" or (kernel.slot_cache_entries and run_entries == 1)
    spent = entries * kernel.walk.total_ps(run_entries, 0)
    if one_by_one:
        spent += total(kernel.single, entries) + total(kernel.drain, entries // 64)
    else:
        spent += total(kernel.run, entries // run_entries)
    alone_ns = 5000 + 1500 + 150_000 + spent / 1000 + 100_000  # each grain is rounded to nanoseconds
    assert int(outcome.world.process[0].exited_ns) == pytest.approx(alone_ns, rel=1e-4)


@pytest.mark.parametrize("folio_pages", [1, 16])
def test_present_pages_cost_their_unmapping_their_freeing_and_a_zone_lock_every_63(folio_pages):
    kernel, pages = swaplib.kernel("6.18"), 5 * 512
    machine = quiet_machine(1)
    storm = Storm("one", swap_entries=0, present_pages=pages, folio_pages=folio_pages)
    outcome = swaplib.simulate(machine, kernel, storm, SYNC, variation_permille=0)

    flushes = -(-pages // (512 * folio_pages))
    zone_locks = flushes * -(-min(pages, 512 * folio_pages) // 63)
    of_page = kernel.present.total_ps(folio_pages, 0) + kernel.flush.total_ps(folio_pages, 0)
    expected_ns = (pages * of_page + zone_locks * kernel.zone.call_cpu_ps) / 1000
    assert int(outcome.world.process[0].exited_ns) == pytest.approx(expected_ns, abs=20)  # rounded


@pytest.mark.parametrize("name", ["6.1", "6.11", "6.12"])
def test_kworkers_gain_at_most_the_inverse_of_the_share_inside_the_device_lock(name):
    """Amdahl: what stands inside si->lock, zram's part with it, is done one after the other."""
    kernel = swaplib.kernel(name)
    inside, outside = device_lock_ps(kernel)
    most = (inside + outside) / inside
    one = drain_entries_per_ms(kernel, 1)
    gain = {workers: drain_entries_per_ms(kernel, workers) / one for workers in (2, 4, 8)}
    assert all(g <= most * 1.005 for g in gain.values())
    assert gain[8] > 0.97 * most


def device_lock_ps(kernel):
    """Picoseconds of an entry in a run of one: inside the device lock, outside of it."""
    tops = [(top, 1) for top in kernel.single]
    tops += [(top, 1 / kernel.slot_cache_entries) for top in kernel.drain]
    parts = {True: 0, False: 0}
    for top, calls in tops:
        parts[top.lock == Lock.DEVICE] += sum(stage.cost.total_ps(1, calls) for stage in top.walk())
    return parts[True], parts[False]


def drain_entries_per_ms(kernel, workers):
    """Entries that kworkers free in a millisecond while all of them have works."""
    machine = quiet_machine(workers + 1)
    policy = V3.but(threshold=0, max_active=workers)
    kernel = kernel if workers > 1 else replace(kernel, ordered_single=True)
    storm = Storm("one", swap_entries=9678 * 16, size_classes=100)
    outcome = swaplib.simulate(machine, replace(kernel, walk=Cost()), storm, policy)
    drains = outcome.df_trace().query("category == 'drain'")
    return storm.swap_entries / (drains.end_ms.max() - drains.start_ms.min())
