"""What more of something must do: contention, thresholds, nodes and workers, and runs that cannot end."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import MS, quiet_machine

import swaplib
from swaplib.model.kernel import Cost
from swaplib.model.storm import Background, Phase, Storm
from swaplib.sim import state

SYNC, V3 = swaplib.policy("sync"), swaplib.policy("async-v3")
SINCE_6_9 = ["6.11", "6.12", "6.14", "6.18", "mm-2026-06"]
TRANSFERS = {"handover_local_ps": 120_000, "line_local_ps": 30_000, "growth_permille": 50}


def simulate(machine, kernel, storm, policy, **options):
    """Simulate on a kernel and under a policy that are given or named."""
    kernel = swaplib.kernel(kernel) if isinstance(kernel, str) else kernel
    policy = swaplib.policy(policy) if isinstance(policy, str) else policy
    return swaplib.simulate(machine, kernel, storm, policy, **options)


def equal_runs(one, other):
    """Whether two outcomes did the same at the same time, whatever their policies are called."""
    same = one.summary().equals(other.summary()) and np.array_equal(one.trace, other.trace)
    return same and np.array_equal(one.world.sample, other.world.sample)


@pytest.mark.parametrize("name", swaplib.kernels().name)
def test_more_simultaneous_walkers_never_spin_less_for_an_entry(name):
    spin = []
    for walkers in (1, 2, 4, 8, 16):
        machine = quiet_machine(walkers, **TRANSFERS)
        storm = Storm("walkers", processes=walkers, swap_entries=4096)
        outcome = simulate(machine, name, storm, SYNC)
        spin.append(outcome.summary().spin_ms / (walkers * 4096))
    assert spin[0] == 0
    assert spin == sorted(spin)
    assert spin[-1] > 0


@pytest.mark.parametrize("period_ms", [1, 100])  # a real-time task that runs in between changes nothing
def test_a_worker_at_nice_minus_20_runs_soon_however_many_exits_wait(period_ms):
    machine = quiet_machine(1, gather_record_ps=15_000, slice_ns=MS)
    monitor = Background(1, MS // 10, period_ms * MS, realtime=True)
    storm = Storm("crowd", processes=16, swap_entries=2000, present_pages=8000, background=(monitor,))
    outcome = simulate(machine, "6.18", storm, V3)
    trace = outcome.df_trace()
    waited = trace[trace.category == "drain"].start_ms.min() - outcome.df_processes().exited_ms.min()
    assert waited < 3  # two slices and what it takes to switch
    assert outcome.df_processes().exited_ms.max() > trace[trace.category == "drain"].start_ms.min() + 10


def test_swap_space_in_front_comes_back_before_the_present_pages():
    machine = quiet_machine(1)
    storm = Storm("one", swap_entries=4096, present_pages=4096)
    spread = simulate(machine, "6.18", storm, SYNC).summary()
    front = simulate(machine, "6.18", storm.but(swapped_in_front=True), SYNC).summary()
    assert front.swap_freed_ms < 0.8 * front.exit_ms_last < spread.swap_freed_ms
    assert front.exit_ms_last == pytest.approx(spread.exit_ms_last, rel=0.001)


def test_a_dearer_swap_core_adds_its_entry_parts_and_leaves_zram_alone():
    """Without zram's part (deferred, with pages enough) the exit takes longer by as much as with it."""
    storm = Storm("one", swap_entries=4096, run_entries=512, layout="sequential", how="munmap")
    plain, dear = quiet_machine(2), quiet_machine(2, core_entry_permille=5000)
    added = []
    for policy in ("sync", "zram-slot-deferred"):
        exits = [simulate(machine, "6.18", storm, policy).summary().exit_ms_last for machine in (plain, dear)]
        added.append(exits[1] - exits[0])
    assert added[0] > 0.1
    assert added[1] == pytest.approx(added[0], rel=0.02)


@pytest.mark.parametrize("grain", [1, 4, 16])
@pytest.mark.parametrize("run_entries", [1, 16])
@pytest.mark.parametrize("name", swaplib.kernels().name)
def test_a_threshold_above_the_number_of_exits_is_sync_when_gathering_is_free(name, run_entries, grain):
    machine = quiet_machine(2, slice_ns=MS, switch_ns=1500, **TRANSFERS)
    few = Storm("few", processes=3, swap_entries=3000, present_pages=100, gap_ns=1000)
    few = few.but(run_entries=run_entries)
    one = simulate(machine, name, few, SYNC, grain=grain)
    assert equal_runs(one, simulate(machine, name, few, V3.but(threshold=4), grain=grain))


@pytest.mark.parametrize("name", SINCE_6_9)
def test_on_one_node_a_kworker_a_node_is_the_one_kworker_of_v3(name):
    machine = swaplib.machine("phone-8gb")
    storm = swaplib.storm("camera", machine, swap_entries=15_000, processes=6)
    one, other = (simulate(machine, name, storm, policy) for policy in ("async-v3", "async-per-node"))
    assert equal_runs(one, other)


@pytest.mark.parametrize("run_entries", [1, 16, [1, 512]])
@pytest.mark.parametrize("name", ["6.12", "6.14", "6.18", "mm-2026-06"])
def test_batching_changes_nothing_where_the_kernel_frees_runs_itself(name, run_entries):
    machine = swaplib.machine("rpi-4b")
    storm = Storm("some", processes=6, swap_entries=5000, run_entries=run_entries)
    one, other = (simulate(machine, name, storm, policy) for policy in ("sync", "sync-batched"))
    assert equal_runs(one, other)


def concurrent_works(outcome):
    """Most kworkers that were freeing at once on each node."""
    trace = outcome.df_trace().query("kind == 'kworker' and category in ('drain', 'spin')")
    found = []
    for _, rows in trace.groupby(np.array(outcome.machine.node)[trace.cpu]):
        steps = pd.concat([pd.Series(1, rows.start_ms), pd.Series(-1, rows.end_ms)]).reset_index()
        found.append(int(steps.sort_values(["index", 0])[0].cumsum().max()))
    return found


def test_before_6_9_max_active_1_is_one_work_in_the_system():
    machine, long = quiet_machine(8, nodes=2), Storm("many", processes=12, swap_entries=9678 * 3)
    outcome = simulate(machine, "6.1", long, V3.but(threshold=0))
    assert (outcome.world.task.kind == state.WORKER).sum() == 1


@pytest.mark.parametrize("nodes", [1, 2, 4])
@pytest.mark.parametrize("max_active", [1, 2, 4])
def test_since_6_9_max_active_counts_on_each_node(nodes, max_active):
    machine = quiet_machine(8 * nodes, nodes=nodes)
    storm = Storm("many", processes=6 * nodes, swap_entries=9678 * 3, size_classes=256)
    policy = V3.but(threshold=0, max_active=max_active)
    assert concurrent_works(simulate(machine, "6.18", storm, policy)) == [max_active] * nodes


def test_the_model_allows_as_many_works_at_once_as_were_measured():
    """data/measured/kworkers_by_node.csv: 8 CPUs on 1 or 2 nodes, maxima seen, so lower bounds."""
    for row in swaplib.load("measured/kworkers_by_node").itertuples():
        measured = [int(part.split(":")[1]) for part in row.max_concurrent_per_node.split()]
        kernel = swaplib.kernel(row.kernel.removesuffix("+v3"))
        allowed = kernel.workers_on_node(row.max_active, 8 // row.nodes, 8)
        assert all(allowed >= most for most in measured)
        assert row.max_active > 1 or measured == [allowed] * row.nodes  # here the bound was reached


def test_per_8_starts_a_worker_for_every_eight_that_exit_at_a_time():
    machine = quiet_machine(40)
    storm = Storm("many", processes=24, swap_entries=30_000, size_classes=256)
    policy = swaplib.policy("async-per-8", threshold=0)
    assert concurrent_works(simulate(machine, "6.18", storm, policy)) == [3]
    few = storm.but(gap_ns=MS)  # at most 8 exit at a time, though there is work for more
    outcome = simulate(machine, "6.18", few, policy)
    assert outcome.df_samples().exiting.max() <= 8
    assert outcome.df_samples().queued_entries.max() > 30_000
    assert concurrent_works(outcome) == [1]


@settings(max_examples=40)
@given(st.integers(0, 60_000), st.sampled_from((1, 2, 16, 512)), st.integers(0, 1))
def test_one_process_queues_the_works_that_its_gather_says(entries, run_entries, threshold):
    storm = Storm("one", swap_entries=entries, run_entries=run_entries)
    policy = V3.but(threshold=threshold, swap_entries_min=0)
    outcome = simulate(quiet_machine(2), "6.18", storm, policy)
    tables = max(1, -(-entries // 512))
    cuts = np.arange(tables + 1) * entries // tables
    runs = []
    for size in np.diff(cuts):
        runs += [run_entries] * (size // run_entries) + [size % run_entries]
    runs = [run for run in runs if run]
    alone = swaplib.gather(runs, exiting=1, threshold=threshold, swap_entries_min=0)
    assert outcome.summary().works == len(alone.works)
    assert outcome.summary().entries_async == entries


@pytest.mark.parametrize("name", ["6.1", "6.11", "6.12", "6.18"])
def test_deferred_objects_are_freed_after_their_slots_on_every_kernel(name):
    machine = quiet_machine(2)
    storm = Storm("one", swap_entries=20_000)
    outcome = simulate(machine, name, storm, "zram-slot-deferred")
    in_pages = int(outcome.world.store.entries[outcome.world.cpu.page].sum())
    in_caches = outcome.stranded - in_pages
    summary = outcome.summary()
    assert 0 < in_pages <= 1024
    assert summary.entries_async == 20_000 - outcome.stranded
    assert 1024 - 16 < summary.entries_async / summary.works <= 1024  # a grain is not split between pages
    assert int(outcome.world.counter[0].free_slots) == machine["swap_slots"] - in_caches


@pytest.mark.parametrize("policy", swaplib.policies().name)
def test_whoever_queues_a_work_pays_for_each(policy):
    """All else that a gather, a list or a buffer does is free here."""
    kernel = swaplib.policies().set_index("name").loc[policy, "kernels"].split(", ")[-1]
    kernel = replace(swaplib.kernel("6.11" if kernel == "all" else kernel), list_push=Cost())
    storm, machine = Storm("two", processes=2, swap_entries=9000), quiet_machine(3, queue_work_ns=5000)
    outcome = simulate(machine, kernel, storm, policy, trace=False)
    paid_ms, works = outcome.df_cpu().gather.sum(), outcome.summary().works
    assert paid_ms == pytest.approx(works * 0.005)
    assert (works > 0) == swaplib.policy(policy).defers


def test_the_first_work_of_a_list_takes_all_of_it_and_those_behind_it_find_nothing():
    """One process that never waits pushes 1000 records before the kworker wakes up."""
    machine = quiet_machine(2, wake_ns=2 * MS, queue_work_ns=500)
    policy = swaplib.policy("async-list", swap_entries_min=0, max_active=1)
    outcome = simulate(machine, "6.18", Storm("one", swap_entries=1000), policy)
    assert outcome.summary().works == 1000 - policy.batch_records
    assert (outcome.summary().entries_async, outcome.stranded) == (1000, 0)
    assert outcome.df_samples().working_entries.max() > 950


@pytest.mark.parametrize("policy", ["present-first", "sync", "async-v3", "gather-sync"])
def test_a_reaper_and_the_owner_free_no_entry_twice(policy):
    storm = Storm("two", processes=2, swap_entries=9000, present_pages=3000)
    policy = swaplib.policy(policy, reapers=2)
    summary = simulate(quiet_machine(4, prelude_ns=1000), "6.18", storm, policy).summary()
    assert summary.entries_reaped > 0
    assert summary.entries_sync + summary.entries_async + summary.entries_reaped == 18_000


def test_exits_stay_on_the_cpus_of_their_cpuset_and_the_kworker_that_frees_for_them_need_not():
    phone = swaplib.machine("phone-8gb")
    storm = Storm("apps", processes=12, swap_entries=5000, present_pages=5000, exits_capacity_max=300)
    trace = simulate(phone, "6.11", storm, V3).df_trace()
    trace["capacity"] = np.array(phone.capacity)[trace.cpu]
    fastest = trace.groupby("category").capacity.max()
    assert fastest[["walk", "gather"]].tolist() == [300, 300]
    assert fastest["drain"] == 1024
    assert trace[trace.category == "walk"].cpu.nunique() == 4
    with pytest.raises(ValueError, match="exits_capacity_max is 299; machine 'phone-8gb' has CPUs from 300"):
        simulate(phone, "6.11", storm.but(exits_capacity_max=299), V3)


def test_a_thread_behind_a_reaper_at_nice_minus_20_is_moved_to_a_cpu_of_less_load_though_all_are_busy():
    storm = Storm("kills", processes=2, swap_entries=[1, 200_000], gap_ns=10 * MS, size_classes=256)
    storm = storm.but(foreground=(Phase(1000 * MS, threads=2),), foreground_at_ns=5 * MS)
    machine = quiet_machine(2, prelude_ns=MS, slice_ns=3 * MS)
    trace = simulate(machine, "6.18", storm, swaplib.policy("reaper", reapers=1), seed=3).df_trace()
    assert trace[trace.category == "reap"].eval("end_ms - start_ms").max() > 200
    runs = trace[trace.category == "foreground"].sort_values(["task", "start_ms"])
    waited_ms = runs.start_ms - runs.groupby("task").end_ms.shift()
    assert waited_ms.max() < 2 * 16 + 2 * 3  # it is looked for every 16 ms x CPUs, then it shares a CPU


def test_a_reaper_that_comes_after_exit_mm_frees_nothing():
    storm = Storm("one", swap_entries=9000)
    assert simulate(quiet_machine(2), "6.18", storm, "reaper").summary().entries_reaped == 0


@pytest.mark.parametrize(("backwards", "spins"), [(False, 1), (True, 0)])
def test_one_of_owner_and_reaper_spins_for_all_swapped_page_tables_unless_they_come_from_both_ends(
    backwards, spins
):
    storm = Storm("one", swap_entries=512 * 40, size_classes=256)
    policy = swaplib.policy("reaper", reapers_walk_backwards=backwards)
    outcome = simulate(quiet_machine(2, prelude_ns=1000), "6.18", storm, policy)
    waited = outcome.df_locks().set_index("lock").wait_ms["page table"]
    assert waited / outcome.summary().exit_ms_last == pytest.approx(spins, abs=0.05)


def test_published_cpu_times_of_an_exit_beside_a_reaper_are_predicted_when_nothing_is_swapped():
    """The measured app's share in swap is not given; its profile is mostly that of present pages."""
    phone = swaplib.machine("phone-8gb")
    storm = Storm("one", swap_entries=0, present_pages=200_000)
    spent = {}
    for case, choices in [("", {}), ("same", {"reapers": 1}), ("opposite", {"reapers": 1})]:
        policy = swaplib.policy("sync", **choices, reapers_walk_backwards=case == "opposite")
        tasks = simulate(phone, "6.12", storm, policy).world.task
        spent[case] = tasks.cpu_ns[tasks.kind <= state.REAPER].sum()
    rows = swaplib.load("published/reaper_beside_exit").query("metric == 'running time'")
    published = rows.groupby("arm").value_ms.sum()
    for case in ("same", "opposite"):
        (beside,) = (ms for arm, ms in published.items() if case in arm)
        assert spent[case] / spent[""] == pytest.approx(beside / published["exit alone"], rel=0.12)


def test_a_stalled_thread_reclaims_as_soon_as_slots_come_back():
    """Swap is full and memory short; the exit gives slots back long before zspages, and slots are enough."""
    machine = quiet_machine(2, free_pages=1000, watermark_pages=1000, swap_slots=4000)
    phases = (Phase(0, 64),)
    storm = Storm("full", swap_entries=4000, zspage_objects=64, foreground=phases, limit_ns=1000 * MS)
    outcome = simulate(machine, "6.18", storm, SYNC)
    summary = outcome.summary()
    assert summary.stalls >= 1
    assert summary.slot_failures >= 1
    assert int(outcome.world.system[0].reclaimed) > 0
    assert summary.foreground_ms < summary.swap_freed_ms


def test_two_threads_that_reclaim_never_take_the_same_slots():
    machine = quiet_machine(4, free_pages=1000, watermark_pages=1000, swap_slots=100)
    storm = Storm("short", processes=0, foreground=(Phase(0, 400, threads=4),), limit_ns=10 * MS)
    outcome = simulate(machine, "6.18", storm, SYNC)
    assert outcome.df_samples().free_slots.min() >= 0
    assert outcome.timed_out


def test_munmap_is_gathered_only_where_the_policy_says_so():
    storm = Storm("unmap", processes=2, swap_entries=5000, how="munmap")
    for dying, works in ((True, 0), (False, 2)):
        policy = V3.but(threshold=0, dying_only=dying)
        assert simulate(quiet_machine(3), "6.18", storm, policy).summary().works == works


def times_and_spin(kernel, storm, policy, grain, cpus):
    """Times in ms (median and last exit, swap back, CPU) and the share of busy time spent spinning."""
    machine = quiet_machine(cpus, prelude_ns=150_000, **TRANSFERS)
    outcome = simulate(machine, kernel, storm, policy, grain=grain, trace=False)
    s, busy = outcome.summary(), outcome.df_cpu().drop(columns="idle").to_numpy().sum()
    return np.array([s.exit_ms_median, s.exit_ms_last, s.swap_freed_ms, s.cpu_ms_total]), s.spin_ms / busy


@pytest.mark.parametrize("shares", [1, 8])
@pytest.mark.parametrize("cpus", [2, 8])
@pytest.mark.parametrize("kernel", ["6.11", "6.12", "6.18", "mm-2026-06"])
@pytest.mark.parametrize("policy", [SYNC, V3])
def test_grains_up_to_16_agree_within_a_percent_and_two_points_of_spin(policy, kernel, cpus, shares):
    classes = 1 if shares == 1 else 100
    storm = Storm("walkers", processes=cpus, swap_entries=20_480, sharing=shares, size_classes=classes)
    times, spin = times_and_spin(kernel, storm, policy, 1, cpus)
    for grain in (4, 16):
        coarse_times, coarse_spin = times_and_spin(kernel, storm, policy, grain, cpus)
        assert coarse_times == pytest.approx(times, rel=0.01)
        assert coarse_spin == pytest.approx(spin, abs=0.02)


def test_real_time_tasks_on_all_cpus_starve_the_worker_until_the_limit():
    """Andrew Morton, 31 Jul 2024: all CPUs busy with SCHED_FIFO, and the kworker never runs."""
    machine = quiet_machine(2)
    busy = (Background(2, 2 * MS, 2 * MS, realtime=True),)
    storm = Storm("starved", processes=2, swap_entries=20_000, background=busy, limit_ns=300 * MS)
    outcome = simulate(machine, "6.18", storm, V3)
    summary = outcome.summary()
    assert summary.timed_out
    assert summary.duration_ms == 300
    assert summary.entries_async == 0
    assert (outcome.df_cpu().background > 290).all()


def lmkd_storm(**choices):
    """Four processes of which lmkd kills the next one whenever the last is gone, while swap is low."""
    lmkd = {"kill_timeout_ns": 1000 * MS, "kill_below_pages": 1 << 23, "kill_below_slots_permille": 1000}
    return Storm("lmkd", processes=4, swap_entries=20_000, **{**lmkd, **choices})


@pytest.mark.parametrize("policy", ["sync", "async-v3"])
def test_lmkd_kills_when_its_last_victim_is_gone_or_its_patience_over(policy):
    for timeout_ns in (1000 * MS, 100_000):
        outcome = simulate(quiet_machine(2), "6.18", lmkd_storm(kill_timeout_ns=timeout_ns), policy)
        p = outcome.df_processes()
        expected = np.minimum(p.exited_ms, p.killed_ms + timeout_ns / MS)
        assert p.killed_ms[1:].tolist() == pytest.approx(expected[:-1].tolist(), abs=1e-9)


def test_lmkd_kills_as_long_as_both_memory_and_swap_are_short_and_no_more():
    machine = quiet_machine(2)
    slots, free = machine["swap_slots"], machine["free_pages"]
    for used, below_pages, kills in ((0, free, 0), (slots - 80_000, free, 0), (0, free + 1, 0)):
        choices = {"kill_below_slots_permille": 500, "kill_below_pages": below_pages}
        storm = lmkd_storm(swap_used_entries=used, **choices)
        assert simulate(machine, "6.18", storm, SYNC).summary().kills == kills
    # Three thousandths of the slots are 50,331: the first death brings 40,000, the second 60,000.
    storm = lmkd_storm(kill_below_slots_permille=3, swap_used_entries=slots - 100_000)
    outcome = simulate(machine, "6.18", storm, SYNC)
    assert outcome.summary().kills == 2
    assert outcome.world.counter[0].free_slots == 60_000


def test_a_period_that_is_over_before_its_burst_is_a_missed_frame():
    frame = Background(1, 3 * MS, 2 * MS, frames=True)
    storm = Storm("frames", processes=0, background=(frame,), foreground=(Phase(31 * MS),))
    assert simulate(quiet_machine(2), "6.18", storm, SYNC).summary().frames_missed == 10
    calm = storm.but(background=(Background(1, MS, 2 * MS, frames=True), Background(1, 3 * MS, 2 * MS)))
    assert simulate(quiet_machine(3), "6.18", calm, SYNC).summary().frames_missed == 0
