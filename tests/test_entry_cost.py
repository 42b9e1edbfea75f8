"""What others published about the cost of an entry follows from their tables, and zram's shares from their profiles."""

import numpy as np
import pandas as pd
import pytest

import swaplib

ENTRIES_PER_MIB = 256


def ns_per_entry(ms, mib):
    return 1e6 * ms / (ENTRIES_PER_MIB * mib)


def test_an_entry_of_real_data_takes_0_86_to_0_96_us_on_small_arm_cores():
    deferred, processes = (
        swaplib.load("published/munmap_deferred"),
        swaplib.load("published/munmap_by_processes"),
    )
    alone = processes[(processes.processes == 1) & (processes.machine == "Raspberry Pi 4B")]
    ns = [
        *ns_per_entry(deferred.base_munmap_ms, deferred.process_mib),
        *ns_per_entry(alone.munmap_ms, alone.process_mib),
    ]
    assert (round(min(ns), -1), round(max(ns), -1)) == (860, 960)


def test_an_entry_takes_0_18_us_on_a_desktop_core():
    row = swaplib.load("published/munmap_by_processes").query("machine == 'i7-12700'").iloc[0]
    assert round(ns_per_entry(row.munmap_ms, row.process_mib) / 1000, 2) == 0.18


def test_what_stays_of_an_entry_when_zram_is_deferred_takes_259_to_264_ns():
    sizes = swaplib.load("published/munmap_by_size").dropna(subset="deferred_munmap_ms")
    ns = ns_per_entry(sizes.deferred_munmap_ms, sizes.process_mib)
    assert (round(ns.min()), round(ns.max())) == (259, 264)


def test_batching_brings_a_same_filled_entry_from_about_196_to_63_ns():
    rounds = swaplib.load("published/munmap_bandwidth").assign(ns=lambda d: 4096e6 / d.munmap_bytes_per_ms)
    before, after = (rounds[rounds.arm == arm].ns.mean() for arm in ("before", "after"))
    assert (round(before), round(after)) == (196, 63)
    assert round(before / after, 1) == 3.1


def test_the_printed_speed_ups_of_deferring_follow_from_the_printed_times_within_1_percent():
    printed = pd.concat(
        [swaplib.load(f"published/munmap_{name}", printed=True) for name in ("by_size", "deferred")]
    )
    printed = (
        printed[printed.speedup != ""].assign(key=lambda d: d.machine + d.base_munmap_ms).set_index("key")
    )
    times = printed.base_munmap_ms.astype(float) / printed.deferred_munmap_ms.astype(float)
    checked = swaplib.reproduce(printed.speedup, times, tolerance_percent=1)
    assert "differs" not in set(checked.verdict)


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
    profile = swaplib.load(f"published/{table}").set_index("function")
    time = profile.cost_ms if "cost_ms" in profile else profile.share_percent
    assert round(100 * time[part] / time[whole], 1) == percent


def test_deferring_zram_takes_69_to_71_percent_off_a_munmap():
    deferred = swaplib.load("published/munmap_deferred")
    saved = 100 * (1 - deferred.deferred_munmap_ms / deferred.base_munmap_ms)
    assert np.allclose(sorted(saved.round(1)), [69.4, 70.6])


@pytest.mark.parametrize(("case", "percent"), [("nr=1", 68), ("nr=16", 90)])
def test_zram_takes_68_to_90_percent_of_an_exit_on_6_18(case, percent):
    profile = swaplib.load("measured/profile_6.18_2cpu").query("kind == 'inclusive' and case == @case")
    assert round(profile.set_index("function").percent_of_exit["zram_slot_free_notify"]) == percent


def test_on_6_1_an_entry_takes_as_many_instructions_in_long_runs_as_in_short_ones():
    counted = (
        swaplib.load("measured/instructions_by_function").groupby(["kernel", "case"]).insns_per_entry.sum()
    )
    old, new = counted["6.1"], counted["6.12"]
    assert old["swap run16 sync"] / old["swap random-single sync"] == pytest.approx(1, abs=0.02)
    assert new["swap nr=16 sync (4K folios)"] / new["swap nr=1 sync"] == pytest.approx(0.55, abs=0.01)


def test_runs_of_plain_pages_are_as_long_as_runs_of_folios():
    storms = swaplib.load("measured/exit_storm_6.18_2cpu").query(
        "swap_frac == 1 and layout_run == 16 and mb == 64"
    )
    runs = storms.assign(run=storms.swap_entries / storms.swap_runs).groupby("folio_pages").run.median()
    assert runs[1] == pytest.approx(runs[16], rel=0.05)
