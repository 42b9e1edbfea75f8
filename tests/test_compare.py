"""A comparison tells what is real, says it in a mail's 80 columns, and warns where a statistician would."""

import json
import math
from fractions import Fraction

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swaplib
from swaplib.model.checks import printable


def camera():
    tables = [swaplib.load(f"mail/camera_{name}") for name in ("cold_start", "preview")]
    return pd.concat(tables, ignore_index=True)


def tidy(metric="exit", **arms):
    rows = [
        {"arm": arm, "run": run, "metric": metric, "unit": "ms", "better": "lower", "value": float(value)}
        for arm, values in arms.items()
        for run, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows)


def line(comparison, metric="exit"):
    return comparison.df().set_index("metric").loc[metric]


def test_the_cameras_cold_start_is_real_and_its_preview_fragile():
    table = swaplib.compare(camera(), value="value_ms").df().set_index("metric")
    assert table.p.round(3).to_dict() == {"cold_start": 0.011, "preview": 0.045}
    assert table.p_holm.round(3).to_dict() == {"cold_start": 0.022, "preview": 0.045}
    assert table.change_percent.round(1).to_dict() == {"cold_start": -20.4, "preview": -41.7}
    assert table.fragile.to_dict() == {"cold_start": False, "preview": True}
    assert table.verdict.to_dict() == {"cold_start": "better", "preview": "better"}
    assert table.difference_high["preview"] > 0 > table.difference_high["cold_start"]
    by_welch = swaplib.compare(camera(), value="value_ms", test="welch")
    assert (line(by_welch, "preview").p, line(by_welch, "preview").verdict) == (table.p_welch["preview"], "~")
    assert "p by Welch's t" in by_welch.text()


def test_the_text_for_a_mail_says_what_was_compared_then_the_table_in_benchstats_grammar():
    setting = {"kernel": "6.6", "machine": "phone", "swap_device": "zram 4 GiB"}
    text = swaplib.compare(camera(), value="value_ms", command="swaplib compare x.csv", **setting).text()
    lines = text.splitlines()
    assert lines[:7] == [
        "before (base) against after: 6 runs an arm",
        "lower is better: cold_start / ms, preview / ms",
        "kernel: 6.6",
        "machine: phone",
        "swap: zram 4 GiB",
        "change of means [95 % interval]; p by permutation; ~ if Holm's p > 0.05",
        "$ swaplib compare x.csv",
    ]
    assert lines[9] == "cold_start   1512 (159)   1204 (132)  -20.4 % [-31, -9] (p=0.011 n=6+6)"
    assert lines[10].endswith("-41.7 % [-62, +2] (p=0.045 n=6+6) [2,3]")
    assert "[2] fragile: tests disagree (p: permutation 0.045, Welch 0.055, rank test" in lines


def test_what_is_not_significant_gets_a_tilde_and_no_percentage():
    found = swaplib.compare(tidy(before=[1, 2, 3, 4, 5, 6], after=[2, 3, 1, 5, 4, 7]))
    assert line(found).p > 0.05
    told = next(told for told in found.text().splitlines() if told.startswith("exit"))
    assert told.split("  ")[-1].startswith(f"~ (p={line(found).p:.3f} n=6+6)")
    assert "%" not in told


@settings(max_examples=60)
@given(
    st.lists(st.text(min_size=1, max_size=90), min_size=3, max_size=3, unique=True),
    st.integers(1, 4),
    st.sampled_from([1e-9, 1.0, 1e7, 1e15]),
)
def test_no_line_of_a_mail_is_above_80_columns_or_holds_control_characters(names, runs, scale):
    base, arm, metric = names
    frame = tidy(metric, a=[1, 2, 4, 9][:runs], b=[3, 5, 6, 7][:runs])
    frame["arm"], frame["value"] = frame.arm.map({"a": base, "b": arm}), frame.value * scale
    for told in swaplib.compare(frame, base=base).text().split("\n"):
        assert len(told) <= 80
        assert told == printable(told)


def test_markup_in_names_is_shown_and_does_nothing():
    hostile = "<script>alert(1)</script>|`x`\n# [a](javascript:b) \x1b[31m\u202e&"
    found = swaplib.compare(tidy(hostile, before=[1, 2, 3], after=[4, 5, 6]))
    assert "<" not in found.markdown()
    assert "\x1b" not in found.markdown() + found.text()
    told = next(told for told in found.markdown().splitlines() if "script" in told and told.startswith("|"))
    assert told.replace("\\|", "").count("|") == 5
    assert "&lt;script&gt;" in told
    assert told.count("&amp;") == 1


def test_json_holds_the_table_and_the_cautions():
    once = pd.DataFrame({"arm": ["before", "after"], "run": 1, "metric": "launch", "value_ms": [5.0, 4]})
    found = swaplib.compare(pd.concat([camera(), once]), value="value_ms", machine="télé\u0000phone")
    told = json.loads(found.json())
    assert told["results"][0]["p"] == pytest.approx(10 / 924, rel=1e-12)
    assert told["results"][2]["p"] is None
    assert [text for *_, text in told["cautions"]] == [text for *_, text in found.cautions]


def test_arms_and_intervals_agree_with_the_numbers_they_come_from():
    one = line(swaplib.compare(tidy(before=[10, 12, 14], after=[20, 21, 25])))
    means = one.mean_base, one.mean_arm, one.median_arm, one.difference, one.ratio
    assert means == (12, 22, 21, 10, 22 / 12)
    assert (one.sd_base, one["shift"], one.p_smallest, one.p) == (2, 10, 0.1, float(Fraction(2, 20)))


def test_the_report_ends_its_header_with_the_call_that_makes_it_again():
    frame = tidy(before=[1, 2, 3, 4], after=[4, 5, 6, 7]).rename(columns={"value": "value_ms", "arm": "side"})
    found = swaplib.compare(frame, value="value_ms", arm="side", paired=True, alpha=0.1, test="rank")
    call = found.heading[-1].removeprefix("$ ")
    assert eval(call, {"swaplib": swaplib, "runs": frame}).json() == found.json()


def test_several_arms_are_each_compared_with_the_base_and_adjusted_together():
    frame = tidy(old=[10, 11, 12, 13, 14], new=[1, 2, 3, 4, 5], newer=[11, 12, 13, 14, 15])
    found = swaplib.compare(frame, base="old")
    table = found.df()
    assert table.arm.tolist() == ["new", "newer"]
    assert table.p_holm[0] == 2 * table.p[0]
    assert table.verdict.tolist() == ["better", "~"]
    assert "exit, newer" in found.text()
    with pytest.raises(KeyError, match="more than one"):
        found.plot("exit")


def test_direction_turns_the_verdict():
    frame = tidy(before=[1, 2, 3, 4, 5], after=[11, 12, 13, 14, 15]).drop(columns="better")
    assert line(swaplib.compare(frame)).verdict == "worse"
    assert line(swaplib.compare(frame, better="higher")).verdict == "better"
    assert line(swaplib.compare(frame, better={"exit": "higher"})).verdict == "better"


def test_pairs_are_joined_by_run_whatever_the_order_of_rows():
    frame = tidy(before=[10, 20, 30, 40, 50, 60], after=[11, 22, 33, 44, 55, 66])
    mixed = frame.sample(frac=1, random_state=3)
    one, other = (line(swaplib.compare(f, paired=True)) for f in (frame, mixed))
    assert (one.p, one.difference) == (other.p, other.difference) == (2 / 2**6, 3.5)
    assert line(swaplib.compare(frame)).p > 0.5  # the pairing is what tells
    with pytest.raises(ValueError, match="run 6 is not in both"):
        swaplib.compare(frame.iloc[:-1], paired=True)
    five = swaplib.compare(frame[frame.run < 6], paired=True).notes()
    assert "5 pairs can never be significant: the smallest possible p is 0.062" in " ".join(five)


def test_simulated_arms_are_paired_and_get_no_p():
    frame = tidy(sync=range(100, 130), fast=range(90, 120)).assign(simulated=True)
    found = swaplib.compare(frame, base="sync")
    one = line(found)
    assert one[["p", "p_welch", "p_rank", "p_holm"]].isna().all()
    assert (one.difference_low, one.difference_high, one.verdict) == (-10, -10, "simulated")
    assert "more replications make anything significant" in " ".join(found.notes())
    assert "p=" not in found.text()


def test_a_sweeps_frame_is_compared_by_policy():
    policies = ["sync", "sync-batched"]
    runs = swaplib.sweep(machine="phone-8gb", kernel="6.11", storm="munmap", policy=policies, replications=3)
    found = swaplib.compare(runs, value="cpu_ms_total", base="sync")
    assert found.simulated
    assert found.df()[["arm", "n_arm"]].to_numpy().tolist() == [["sync-batched", 3]]


def test_settings_of_a_sweep_must_be_told_apart():
    told = {"policy": ["a", "a", "b", "b"] * 2, "replication": [0, 1] * 4, "machine": ["m"] * 4 + ["n"] * 4}
    runs = pd.DataFrame({**told, "exit_ms": range(8)})
    with pytest.raises(ValueError, match="appears twice"):
        swaplib.compare(runs, value="exit_ms", base="a")
    found = swaplib.compare(runs, value="exit_ms", base="a", by="machine").df()
    assert found[["metric", "unit"]].to_numpy().tolist() == [["exit, m", "ms"], ["exit, n", "ms"]]


@pytest.mark.parametrize(
    ("arms", "warning"),
    [
        (([1, 2, 3], [4, 5, 6]), "3+3 runs can never be significant: the smallest possible p is 0.100"),
        (([1], [4]), "one run in an arm: its spread is unknown"),
        (([100, 200, 300, 400], [101, 102, 103, 104]), "the sd of before is 1e+02 times the other's"),
        (([1, 2, 3, 4, 5, 90], [4, 5, 6, 7, 8, 9]), "far from the rest of before: 90 (kept)"),
        (([1, 2, 2, 4], [4, 5, 6, 7]), "2 of 8 values repeat another: ranks are shared"),
        (([2, 2, 2, 2], [4, 5, 6, 7]), "all values of before are identical: is the clock too coarse?"),
        (([1, 2, 3, 4], [4, 5, 6, 7]), "rows come in blocks of one arm"),
        ((range(20), range(5, 25)), "permutation p from 9,999 random splits (seeded), not from all"),
        ((range(1100), range(5, 1105)), "permutation p by its normal limit"),
    ],
)
def test_a_statistician_would_warn(arms, warning):
    assert warning in " ".join(swaplib.compare(tidy(before=arms[0], after=arms[1])).notes())


def test_clean_interleaved_runs_get_no_warning():
    frame = tidy(before=[10.1, 11.7, 12.3, 13.2, 14.9, 12.6], after=[1.3, 2.2, 3.9, 4.4, 5.6, 3.1])
    assert swaplib.compare(frame.sort_values(["run", "arm"])).notes() == []


def test_the_column_order_decides_whether_arms_ran_in_blocks():
    frame = tidy(before=[1, 3, 5, 7], after=[2, 4, 6, 8])
    turns = swaplib.compare(frame.assign(order=[1, 3, 5, 7, 2, 4, 6, 8]))
    blocks = swaplib.compare(frame.assign(order=[5, 6, 7, 8, 1, 2, 3, 4]))
    assert not any("interleave" in note for note in turns.notes())
    assert any("ran wholly before" in note for note in blocks.notes())


def test_one_metric_of_many_is_not_significant_alone():
    noise = [tidy(f"m{i}", before=[1, 4, 2, 5, 3], after=[3, 1, 5, 2, 4]) for i in range(12)]
    found = swaplib.compare(
        pd.concat([tidy("chosen", before=[1, 2, 3, 4, 6], after=[5, 7, 8, 9, 10]), *noise])
    )
    chosen = line(found, "chosen")
    assert chosen.p < 0.05 < chosen.p_holm
    assert chosen.verdict == "~"
    assert any("alone is not significant among all tests" in note for note in found.notes())


def test_one_number_an_arm_is_shown_with_its_change_and_nothing_tested():
    found = swaplib.compare(tidy(before=[230.76], after=[225.23]))
    assert line(found).verdict == "not tested"
    assert math.isnan(line(found).p)
    assert "-2.4 % (n=1+1)" in found.text()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"value": "ms"}, "column 'ms' is missing; there are 'arm', 'run'"),
        ({}, {"base": "old"}, "no run has arm 'old', which is the base; there are 'before', 'after'"),
        ({"arm": "before", "run": [1, 2, 3, 4]}, {}, "all runs have arm 'before'"),
        ({"value": [1, 2, math.nan, 4]}, {}, "row 3: column 'value' is nan"),
        ({"value": [1, 2, math.inf, 4]}, {}, "row 3: column 'value' is inf"),
        ({"value": [1, 2, 1e160, 4]}, {}, "row 3: column 'value' is 1e+160"),
        ({"value": ["1", "2", "n/a", "4"]}, {}, "row 3: column 'value' is 'n/a'; expected a finite number"),
        ({"arm": ["before", None, "after", "after"]}, {}, "row 2: column 'arm' is empty"),
        ({"unit": ["ms", "ms", "s", "s"]}, {}, "metric 'exit' mixes in column 'unit' 'ms', 's'"),
        ({"better": "up"}, {}, "better is 'up' for metric 'exit'"),
        ({"run": [1, 1, 1, 2]}, {}, "row 2: run 1 of arm 'before' appears twice for metric 'exit'"),
        ({"simulated": [True, True, False, False]}, {}, "mixes simulated and measured"),
        ({}, {"test": "best"}, "test is 'best'"),
        ({}, {"alpha": 5}, "alpha is 5"),
    ],
)
def test_a_bad_frame_is_refused_with_row_and_column(change, options, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace("+", r"\+")):
        swaplib.compare(tidy(before=[1, 2], after=[3, 4]).assign(**change), **options)
    with pytest.raises(ValueError, match="no rows"):
        swaplib.compare(tidy(before=[1], after=[2]).iloc[:0])


def test_the_frame_that_is_compared_stays_as_it_was():
    frame = camera()
    swaplib.compare(frame, value="value_ms")
    pd.testing.assert_frame_equal(frame, camera())


@pytest.mark.parametrize(
    ("kind", "said"),
    [("estimation", "-41.7 % [-62, +2] (p=0.045 n=6+6)"), ("order", "-20.7 in before"), ("power", "208 ms")],
)
def test_pictures_say_what_the_table_says(kind, said):
    figure = swaplib.compare(camera(), value="value_ms").plot(("preview", "after"), kind=kind)
    title = figure.get_suptitle() + figure.axes[0].get_title() + figure.axes[0].get_title(loc="left")
    assert said in title
    assert "/ ms" in figure.axes[0].get_ylabel() + figure.axes[0].get_xlabel()
    shown = sorted(y for spots in figure.axes[0].collections for _, y in spots.get_offsets())
    assert kind != "estimation" or shown == sorted(swaplib.load("mail/camera_preview").value_ms)
    plt.close(figure)


def test_times_since_the_epoch_in_nanoseconds_are_told_apart():
    frame = tidy(before=np.arange(6) * 1e6, after=2e7 + np.arange(6) * 1e6)
    plain, epoch = (line(swaplib.compare(f)) for f in (frame, frame.assign(value=1.7e18 + frame.value)))
    assert plain.p == epoch.p == 2 / 924
    assert epoch.p_welch == pytest.approx(plain.p_welch, rel=1e-6)


def test_a_million_rows_keep_a_thousand_values_and_say_which_p_is_not_exact():
    drawn = np.random.default_rng(1).normal(100, 10, 1_000_000)
    found = swaplib.compare(pd.DataFrame({"arm": np.repeat(["before", "after"], 500_000), "value": drawn}))
    assert line(found, "value").permutation_kind == "normal"
    assert [len(values) for values in dict(found.values)["value", "after"]] == [1000, 1000]
