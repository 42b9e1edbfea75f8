"""What is true of every run: entries, memory, slots and CPU time are conserved, and nothing is left."""

import numpy as np
from hypothesis import HealthCheck, given, settings
from strategies import runs

import swaplib


def every_entry_is_freed_once_or_stranded(run, outcome):
    p = outcome.df_processes()
    freed = p.entries_sync + p.entries_async + p.entries_reaped
    assert (freed <= p.swap_entries).all()
    if not outcome.timed_out:
        stranded = np.zeros(len(p), np.int64)
        for process, entries in stranded_portions(outcome.world):
            stranded[process] += entries
        assert (freed + stranded == p.swap_entries)[p.killed_ms.notna()].all()
        assert not freed[p.killed_ms.isna()].any()
        assert outcome.summary().stranded == stranded.sum()


def every_nanosecond_of_a_cpu_is_charged_and_traced_once(run, outcome):
    time = outcome.world.cpu.time
    assert (time >= 0).all()
    assert (time.sum(axis=1) == outcome.end_ns).all()
    traced = np.zeros_like(time)
    cpu, start, end, category, _ = outcome.trace.T
    np.add.at(traced, (cpu, category), end - start)
    assert (traced == time).all()


def a_task_is_on_one_cpu_at_a_time(run, outcome):
    rows = outcome.trace[outcome.trace[:, 4] >= 0]
    _, start, end, _, task = rows[np.lexsort((rows[:, 1], rows[:, 4]))].T
    assert ((start[1:] >= end[:-1]) | (task[1:] != task[:-1])).all()


def a_finished_run_leaves_no_lock_held_and_no_counter_up(run, outcome):
    world, counter = outcome.world, outcome.world.counter[0]
    if outcome.timed_out:
        return
    if not (world.task.program >= 0).any():  # else a background task is cut off
        assert (world.lock.owner == -1).all()
    assert (world.lock.waiters == 0).all()
    shared = world.shared[0]
    left = [counter.exiting, shared.exiting, shared.gathers_alive, shared.pages_alive]
    left += [counter.queued_entries, counter.working_entries, world.system[0].works_pending]
    assert not np.any(left)
    assert counter.gathered_entries == world.store[0].entries
    assert counter.deferred_entries == world.store.entries[world.cpu.page].sum()
    assert not world.process.batch_entries.any()
    assert not world.process.unflushed_present_pages.any()


def slots_and_pages_are_conserved(run, outcome):
    world, machine, storm = outcome.world, run["machine"], run["storm"]
    if outcome.timed_out:
        return
    system, counter, p = world.system[0], world.counter[0], world.process[: len(outcome.df_processes())]
    killed = p.killed_ns >= 0
    freed = p.freed_entries.sum() + world.store.entries[world.cpu.page].sum()  # those have no slot any more
    slots = machine["swap_slots"] - storm.swap_used_entries - p.swap_entries.sum() + freed
    assert counter.free_slots == slots - system.reclaimed
    gained = system.reclaimed // 32 * (32 * system.reclaim_gain_permille // 1000)
    touched = sum(phase.pages for phase in storm.foreground)
    pages = machine["free_pages"] + p.present_pages[killed].sum() + p.zram_pages_back.sum()
    assert counter.free_pages == pages + gained - touched
    assert (p.present_pages_back == killed * p.present_pages).all()
    all_freed = p.freed_entries == p.swap_entries
    assert (p.zram_pages_back == p.zram_pages)[all_freed].all()


def counters_never_leave_their_range(run, outcome):
    samples = outcome.df_samples()
    assert (samples.drop(columns="time_ms") >= 0).all().all()
    assert samples.time_ms.is_monotonic_increasing
    assert (samples.backlog_entries <= outcome.df_processes().swap_entries.sum()).all()
    assert (samples.spinning_cpus < max(2, run["machine"].cpus)).all()


def every_process_dies_in_the_order_of_its_life(run, outcome):
    p = outcome.df_processes()
    if outcome.timed_out:
        return
    killed = p.killed_ms.notna()
    assert killed.sum() == outcome.summary().kills
    assert killed.all() or run["storm"].kill_timeout_ns
    assert p[~killed].exited_ms.isna().all()
    p = p[killed]
    assert (p.opened_ms >= p.killed_ms).all()
    assert (p.exited_ms >= p.opened_ms).all()
    assert not (p.present_freed_ms > p.exited_ms).any()
    all_freed = p.entries_sync + p.entries_async + p.entries_reaped == p.swap_entries
    assert (p.swap_freed_ms.notna() == (all_freed & (p.swap_entries > 0))).all()
    if run["kernel"].slot_cache_entries == 0:
        by_itself = (p.entries_sync == p.swap_entries) & (p.swap_entries > 0)
        assert (p.swap_freed_ms[by_itself] <= p.exited_ms[by_itself]).all()


PROPERTIES = [
    every_entry_is_freed_once_or_stranded,
    every_nanosecond_of_a_cpu_is_charged_and_traced_once,
    a_task_is_on_one_cpu_at_a_time,
    a_finished_run_leaves_no_lock_held_and_no_counter_up,
    slots_and_pages_are_conserved,
    counters_never_leave_their_range,
    every_process_dies_in_the_order_of_its_life,
]


@settings(max_examples=200, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(run=runs(6) | runs(600))
def test_every_run_keeps_what_the_functions_above_say(run):
    outcome = swaplib.simulate(**run)
    for holds in PROPERTIES:
        holds(run, outcome)


def stranded_portions(world):
    """(process, entries) of everything that stays in the list, the slot caches and the object pages."""
    for store in world.store:
        portion = int(store.first)
        while portion >= 0:
            row = world.portion[portion]
            yield int(row.process), int(row.entries)
            portion = int(row.next)
