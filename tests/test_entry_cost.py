"""The published cost of an entry follows from the tables, and zram's shares from the profiles."""

import pandas as pd
import pytest

import swaplib


def published(name, query="index >= 0", **how):
    return swaplib.load(f"published/{name}", **how).query(query)


def ns_per_entry(frame, column="munmap_ms"):
    return 1e6 * frame[column] / (256 * frame.process_mib)  # entries of 4 KiB in a MiB


def test_an_entry_of_real_data_takes_0_86_to_0_96_us_on_small_arm_cores_and_0_18_on_a_desktop_core():
    deferred, alone = published("munmap_deferred"), published("munmap_by_processes", "processes == 1")
    small, desktop = (alone[alone.machine == name] for name in ("Raspberry Pi 4B", "i7-12700"))
    ns = [*ns_per_entry(deferred, "base_munmap_ms"), *ns_per_entry(small)]
    assert (round(min(ns), -1), round(max(ns), -1)) == (860, 960)
    assert ns_per_entry(desktop).round(-1).tolist() == [180]


def test_what_stays_of_an_entry_when_zram_is_deferred_takes_259_to_264_ns():
    ns = ns_per_entry(published("munmap_by_size"), "deferred_munmap_ms").dropna()
    assert (round(ns.min()), round(ns.max())) == (259, 264)


def test_batching_brings_a_same_filled_entry_from_about_196_to_63_ns():
    rounds = published("munmap_bandwidth")
    ns = (4096e6 / rounds.munmap_bytes_per_ms).groupby(rounds.arm).mean()
    assert (round(ns.before), round(ns.after), round(ns.before / ns.after, 1)) == (196, 63, 3.1)


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


def test_deferring_zram_takes_69_to_71_percent_off_a_munmap():
    deferred = published("munmap_deferred")
    saved = 100 * (1 - deferred.deferred_munmap_ms / deferred.base_munmap_ms)
    assert sorted(saved.round(1)) == pytest.approx([69.4, 70.6])


@pytest.mark.parametrize(("case", "percent"), [("nr=1", 68), ("nr=16", 90)])
def test_zram_takes_68_to_90_percent_of_an_exit_on_6_18(case, percent):
    profile = swaplib.load("measured/profile_6.18_2cpu").query("kind == 'inclusive' and case == @case")
    assert round(profile.set_index("function").percent_of_exit["zram_slot_free_notify"]) == percent


def test_on_6_1_an_entry_takes_as_many_instructions_in_long_runs_as_in_short_ones():
    counted = swaplib.load("measured/instructions_by_function").groupby(["kernel", "case"])
    old, new = counted.insns_per_entry.sum()["6.1"], counted.insns_per_entry.sum()["6.12"]
    assert old["swap run16 sync"] / old["swap random-single sync"] == pytest.approx(1, abs=0.02)
    assert new["swap nr=16 sync (4K folios)"] / new["swap nr=1 sync"] == pytest.approx(0.55, abs=0.01)


def test_runs_of_plain_pages_are_as_long_as_runs_of_folios():
    storms = swaplib.load("measured/exit_storm_6.18_2cpu").query(
        "swap_frac == 1 and layout_run == 16 and mb == 64"
    )
    runs = pd.Series(storms.swap_entries / storms.swap_runs).groupby(storms.folio_pages).median()
    assert runs[1] == pytest.approx(runs[16], rel=0.05)
