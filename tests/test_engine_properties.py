"""What is true of every run: entries, memory, slots and CPU time are conserved, and nothing is left."""

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
        for process, entries in stranded_portions(outcome):
            held[process] += entries
        assert (freed + held == processes.swap_entries).all()
        assert outcome.summary().stranded == held.sum()


@many
@given(runs())
def test_the_time_of_every_cpu_adds_up_to_the_duration(run):
    outcome = swaplib.simulate(**run)
    assert (outcome.world.cpu.time.sum(axis=1) == outcome.world.system[0].now).all()
    assert (outcome.world.cpu.time >= 0).all()


@many
@given(runs())
def test_the_trace_tells_the_same_times_as_the_counters(run):
    outcome = swaplib.simulate(**run)
    times = np.zeros_like(outcome.world.cpu.time)
    cpu, start, end, category, task = outcome.trace.T
    np.add.at(times, (cpu, category), end - start)
    assert (times == outcome.world.cpu.time).all()
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
    assert int(world.counter[0].exiting) == 0
    assert int(world.shared[0].exiting) == 0
    assert [int(world.shared[0].gathers_alive), int(world.shared[0].pages_alive)] == [
        0,
        0,
    ]  # gathers and batch pages still allocated
    assert int(world.counter[0].queued_entries) == 0
    assert int(world.counter[0].working_entries) == 0
    assert int(system.works_pending) == 0
    in_list = int(world.store[0].entries)
    in_pages = int(world.store.entries[world.cpu.page].sum())
    assert int(world.counter[0].gathered_entries) == in_list
    assert int(world.counter[0].deferred_entries) == in_pages
    assert (world.process.batch_entries == 0).all()
    assert (world.process.unflushed_present_pages == 0).all()


@many
@given(runs())
def test_slots_and_pages_are_conserved(run):
    outcome = swaplib.simulate(**run)
    if outcome.timed_out:
        return
    world, system = outcome.world, outcome.world.system[0]
    p = world.process[: len(outcome.df_processes())]
    machine, storm = run["machine"], run["storm"]
    freed = int(p.freed_entries.sum())
    in_pages = int(world.store.entries[world.cpu.page].sum())  # their slots are free already
    slots = machine["swap_slots"] - storm.swap_used_entries - int(p.swap_entries.sum()) + freed + in_pages
    assert int(world.counter[0].free_slots) == slots - int(system.reclaimed)
    gained = int(system.reclaimed) // 32 * (32 * int(system.reclaim_gain_permille) // 1000)
    touched = sum(phase.pages for phase in storm.foreground)
    pages = (
        machine["free_pages"] + int(p.present_pages.sum()) + int(p.zram_pages_back.sum()) + gained - touched
    )
    assert int(world.counter[0].free_pages) == pages
    assert (p.present_pages_back == p.present_pages).all()
    assert (
        p.zram_pages_back[p.freed_entries == p.swap_entries]
        == p.zram_pages[p.freed_entries == p.swap_entries]
    ).all()


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
    if run["kernel"].slot_cache_entries == 0:
        assert (p.swap_freed_ms[by_itself] <= p.exited_ms[by_itself]).all()


def stranded_portions(outcome):
    """(process, entries) of everything that stays in the list, the slot caches and the object pages."""
    for store in outcome.world.store:
        portion = int(store.first)
        while portion >= 0:
            row = outcome.world.portion[portion]
            yield int(row.process), int(row.entries)
            portion = int(row.next)
