"""The published cost of an entry follows from the tables, and zram's shares from the profiles."""

import pytest

import swaplib


def published(name, query="index >= 0", **how):
    return swaplib.load(f"published/{name}", **how).query(query)


@pytest.mark.parametrize(
    ("table", "query", "column", "ns"),
    [
        ("munmap_deferred", "index >= 0", "base_munmap_ms", {860, 960}),
        ("munmap_by_processes", "machine == 'Raspberry Pi 4B' and processes == 1", "munmap_ms", {900}),
        ("munmap_by_processes", "machine == 'i7-12700' and processes == 1", "munmap_ms", {180}),
        ("munmap_by_size", "process_mib < 512", "deferred_munmap_ms", {260}),
    ],
)
def test_an_entry_of_real_data_takes_so_many_nanoseconds(table, query, column, ns):
    frame = published(table, query)
    of_entry = 1e6 * frame[column] / (256 * frame.process_mib)  # entries of 4 KiB in a MiB
    assert set(of_entry.round(-1)) <= ns


@pytest.mark.parametrize("name", ["munmap_by_size", "munmap_deferred"])
def test_the_printed_speed_ups_of_deferring_follow_from_the_printed_times_within_1_percent(name):
    printed = published(name, "speedup != ''", printed=True)
    times = printed.base_munmap_ms.astype(float) / printed.deferred_munmap_ms.astype(float)
    assert "differs" not in set(swaplib.reproduce(printed.speedup, times, tolerance_percent=1).verdict)


@pytest.mark.parametrize(
    ("table", "part", "whole", "percent"),
    [
        ("exit_profile", "$x.204 [zram]", "free_swap_and_cache", 30.5),
        ("exit_profile", "swap_entry_free", "free_swap_and_cache", 90.9),
        ("flame_graph", "zram_slot_free_notify", "free_swap_and_cache_nr", 84.7),
        ("flame_graph", "free_swap_and_cache_nr", "do_exit", 33.8),
    ],
)
def test_the_disputed_shares_are_these_parts_of_these_wholes(table, part, whole, percent):
    profile = published(table).set_index("function")
    time = profile.cost_ms if "cost_ms" in profile else profile.share_percent
    assert round(100 * time[part] / time[whole], 1) == percent


@pytest.mark.parametrize(("case", "percent"), [("nr=1", 68), ("nr=16", 90)])
def test_zram_takes_68_to_90_percent_of_an_exit_on_6_18(case, percent):
    profile = swaplib.load("measured/profile_6.18_2cpu").query("kind == 'inclusive' and case == @case")
    assert round(profile.set_index("function").percent_of_exit["zram_slot_free_notify"]) == percent
