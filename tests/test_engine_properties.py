"""What is true of every run: entries, memory, slots and CPU time are conserved, and nothing is left behind."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from strategies import runs

import swaplib
from swaplib.sim import state

many = settings(max_examples=100, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@many
@given(runs())
def test_every_entry_is_freed_once_or_stranded(run):
    outcome = swaplib.simulate(**run)
    processes = outcome.df_processes()
    freed = processes.entries_sync + processes.entries_async + processes.entries_reaped
    assert (freed <= processes.swap_entries).all()
    if not outcome.timed_out:
        held = np.zeros(len(processes), np.int64)
        for process, entries in stranded_parts(outcome):
            held[process] += entries
        assert (freed + held == processes.swap_entries).all()
        assert outcome.summary().stranded == held.sum()


@many
@given(runs())
def test_the_time_of_every_cpu_adds_up_to_the_duration(run):
    outcome = swaplib.simulate(**run)
    assert (outcome.world.time.sum(axis=1) == outcome.world.system[0].now).all()
    assert (outcome.world.time >= 0).all()


@many
@given(runs())
def test_the_trace_tells_the_same_times_as_the_counters(run):
    outcome = swaplib.simulate(**run)
    times = np.zeros_like(outcome.world.time)
    cpu, start, end, category, task = outcome.trace.T
    np.add.at(times, (cpu, category), end - start)
    assert (times == outcome.world.time).all()
    busy = np.flatnonzero(task >= 0)  # a task is on one CPU at a time
    for one in np.unique(task[busy]):
        mine = outcome.trace[task == one]
        mine = mine[np.argsort(mine[:, 1], kind="stable")]
        assert (mine[1:, 1] >= mine[:-1, 2]).all()


@many
@given(runs())
def test_a_finished_run_leaves_no_lock_held_and_no_counter_up(run):
    outcome = swaplib.simulate(**run)
    if outcome.timed_out:
        return
    world, system = outcome.world, outcome.world.system[0]
    finished = np.isin(world.task.kind, (state.WALKER, state.WORKER, state.REAPER))
    if not finished.any() or not (world.task.program >= 0).any():  # else a background task is cut off
        assert (world.lock.owner == -1).all()
    assert (world.lock.waiters == 0).all()
    assert int(system.exiting) == 0
    assert int(world.shared[0]) == 0
    assert [int(world.shared[3]), int(world.shared[4])] == [0, 0]  # gathers and batch pages still allocated
    assert int(system.queued) == 0
    assert int(system.in_work) == 0
    assert int(system.works_pending) == 0
    in_list = int(world.bag[0].entries)
    in_pages = sum(int(world.bag[bag].entries) for bag in world.cpu.objects)
    assert int(system.gathered) == in_list
    assert int(system.deferred) == in_pages
    assert (world.process.kept == 0).all()
    assert (world.process.unflushed_present == 0).all()


@many
@given(runs())
def test_slots_and_pages_are_conserved(run):
    outcome = swaplib.simulate(**run)
    if outcome.timed_out:
        return
    world, system = outcome.world, outcome.world.system[0]
    p = world.process[: len(outcome.df_processes())]
    machine, storm = run["machine"], run["storm"]
    freed = int(p.freed.sum())
    in_pages = sum(int(world.bag[bag].entries) for bag in world.cpu.objects)  # their slots are free already
    slots = machine["swap_slots"] - storm.swap_used_entries - int(p.entries.sum()) + freed + in_pages
    assert int(system.free_slots) == slots - int(system.reclaimed)
    gained = int(system.reclaimed) // 32 * (32 * int(system.reclaim_gain_permille) // 1000)
    touched = sum(phase.pages for phase in storm.foreground)
    pages = machine["free_pages"] + int(p.present.sum()) + int(p.zram_back.sum()) + gained - touched
    assert int(system.free_pages) == pages
    assert (p.present_back == p.present).all()
    assert (p.zram_back[p.freed == p.entries] == p.zram_pages[p.freed == p.entries]).all()


@many
@given(runs())
def test_counters_never_leave_their_range(run):
    samples = swaplib.simulate(**run).df_samples()
    assert (samples.drop(columns="time_ms") >= 0).all().all()
    assert samples.time_ms.is_monotonic_increasing
    entries = run["storm"].draw(run["machine"], run["seed"]).swap_entries.sum()
    assert (samples.backlog_entries <= entries).all()
    assert (samples.spinning_cpus < max(2, run["machine"].cpus)).all()


@many
@given(runs())
def test_every_process_dies_in_the_order_of_its_life(run):
    outcome = swaplib.simulate(**run)
    if outcome.timed_out:
        return
    p = outcome.df_processes()
    assert (p.opened_ms >= p.killed_ms).all()
    assert (p.exited_ms >= p.opened_ms).all()
    assert not (p.present_freed_ms > p.exited_ms).any()
    assert (
        p.swap_freed_ms.notna()
        == ((p.entries_sync + p.entries_async + p.entries_reaped == p.swap_entries) & (p.swap_entries > 0))
    ).all()
    by_itself = (p.entries_async == 0) & (p.entries_reaped == 0) & p.swap_freed_ms.notna()
    if outcome.world.system[0].cache_entries == 0:
        assert (p.swap_freed_ms[by_itself] <= p.exited_ms[by_itself]).all()


def stranded_parts(outcome):
    """(process, entries) of everything that stays in the list, the slot caches and the object pages."""
    for bag in outcome.world.bag:
        part = int(bag.head)
        while part >= 0:
            row = outcome.world.part[part]
            yield int(row.process), int(row.entries)
            part = int(row.next)
