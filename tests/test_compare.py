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
from swaplib.analysis.mail import escaped, plain, width


def camera():
    return pd.concat(
        [swaplib.load(f"mail/camera_{name}") for name in ("cold_start", "preview")], ignore_index=True
    )


def tidy(metric="exit", **arms):
    rows = [
        {"arm": arm, "run": run, "metric": metric, "unit": "ms", "better": "lower", "value": float(value)}
        for arm, values in arms.items()
        for run, value in enumerate(values, 1)
    ]
    return pd.DataFrame(rows)


def codes(comparison, metric=None):
    return {note.code for note in comparison.cautions if metric in (None, note.metric)}


def test_the_cameras_cold_start_is_real_and_its_preview_fragile():
    found = swaplib.compare(camera(), value="value_ms")
    table = found.df().set_index("metric")
    assert table.p.round(3).to_dict() == {"cold_start": 0.011, "preview": 0.045}
    assert table.p_holm.round(3).to_dict() == {"cold_start": 0.022, "preview": 0.045}
    assert table.change_percent.round(1).to_dict() == {"cold_start": -20.4, "preview": -41.7}
    assert table.fragile.to_dict() == {"cold_start": False, "preview": True}
    assert table.verdict.to_dict() == {"cold_start": "better", "preview": "better"}
    assert table.difference_high["preview"] > 0 > table.difference_high["cold_start"]


def test_the_text_for_a_mail_says_what_was_compared_then_the_table_in_benchstats_grammar():
    text = swaplib.compare(
        camera(),
        value="value_ms",
        kernel="6.6",
        machine="phone",
        swap_device="zram 4 GiB",
        command="swaplib compare x.csv",
    ).text()
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
    p = found.results[0].p
    assert p > 0.05
    line = next(line for line in found.text().splitlines() if line.startswith("exit"))
    assert line.split("  ")[-1].startswith(f"~ (p={p:.3f} n=6+6)")
    assert "%" not in line


@settings(max_examples=60)
@given(
    st.lists(st.text(min_size=1, max_size=90), min_size=3, max_size=3, unique=True),
    st.integers(1, 4),
    st.sampled_from([1e-9, 1.0, 1e7, 1e15]),
)
def test_no_line_of_a_mail_is_above_80_columns_or_holds_control_characters(names, runs, scale):
    base, arm, metric = names
    frame = tidy(metric, **{"a": [1, 2, 4, 9][:runs], "b": [3, 5, 6, 7][:runs]})
    frame["arm"], frame["value"] = frame.arm.map({"a": base, "b": arm}), frame.value * scale
    found = swaplib.compare(frame, base=base)
    for line in found.text().split("\n"):
        assert width(line) <= 80
        assert line == plain(line)


def test_markup_in_names_is_shown_and_does_nothing():
    hostile = "<script>alert(1)</script>|`x`\n# [a](javascript:b) \x1b[31m\u202e"
    frame = tidy(hostile, before=[1, 2, 3], after=[4, 5, 6])
    table = swaplib.compare(frame).markdown()
    assert "<" not in table
    assert "\x1b" not in table + swaplib.compare(frame).text()
    row = next(line for line in table.splitlines() if "script" in line and line.startswith("|"))
    assert row.replace("\\|", "").count("|") == 6
    assert escaped("a|b<c>&") == "a\\|b&lt;c&gt;&amp;"


def test_json_reads_back_equal():
    frame = pd.concat(
        [
            camera(),
            pd.DataFrame({"arm": ["before", "after"], "run": 1, "metric": "launch", "value_ms": [5.0, 4]}),
        ]
    )
    found = swaplib.compare(frame, value="value_ms", machine="télé\u0000phone")
    again = swaplib.Comparison.from_json(found.json())
    assert again == found
    assert again.text() == found.text()
    assert json.loads(found.json())["results"][2]["p"] is None
    with pytest.raises(ValueError, match="no comparison"):
        swaplib.Comparison.from_json("{}")


def test_arms_and_intervals_agree_with_the_numbers_they_come_from():
    one = swaplib.compare(tidy(before=[10, 12, 14], after=[20, 21, 25])).results[0]
    assert (one.mean_base, one.mean_arm, one.median_arm, one.difference, one.ratio) == (
        12,
        22,
        21,
        10,
        22 / 12,
    )
    assert (one.sd_base, one.shift, one.p_smallest) == (2, 10, 0.1)
    assert one.p == float(Fraction(2, 20))


def test_the_report_ends_its_header_with_the_call_that_makes_it_again():
    frame = tidy(before=[1, 2, 3, 4], after=[4, 5, 6, 7]).rename(columns={"value": "value_ms", "arm": "side"})
    options = {"value": "value_ms", "arm": "side", "paired": True, "alpha": 0.1, "test": "rank"}
    found = swaplib.compare(frame, **options)
    assert eval(found.command, {"swaplib": swaplib, "runs": frame}) == found
    assert f"$ {found.command}" in found.text().replace("\n  ", " ")


def test_several_arms_are_each_compared_with_the_base_and_adjusted_together():
    frame = tidy(old=[10, 11, 12, 13, 14], new=[1, 2, 3, 4, 5], newer=[11, 12, 13, 14, 15])
    found = swaplib.compare(frame, base="old")
    assert [one.arm for one in found.results] == ["new", "newer"]
    assert found["exit", "new"].p_holm == 2 * found["exit", "new"].p
    assert [found.verdict(one) for one in found.results] == ["better", "~"]
    with pytest.raises(KeyError, match="more than one"):
        found["exit"]


def test_direction_turns_the_verdict():
    frame = tidy(before=[1, 2, 3, 4, 5], after=[11, 12, 13, 14, 15]).drop(columns="better")
    assert swaplib.compare(frame).df().verdict[0] == "worse"
    assert swaplib.compare(frame, better="higher").df().verdict[0] == "better"
    assert swaplib.compare(frame, better={"exit": "higher"}).df().verdict[0] == "better"


def test_pairs_are_joined_by_run_whatever_the_order_of_rows():
    frame = tidy(before=[10, 20, 30, 40, 50, 60], after=[11, 22, 33, 44, 55, 66])
    mixed = frame.sample(frac=1, random_state=3)
    one, other = (swaplib.compare(f, paired=True).results[0] for f in (frame, mixed))
    assert (one.p, one.difference) == (other.p, other.difference) == (2 / 2**6, 3.5)
    assert swaplib.compare(frame).results[0].p > 0.5  # the pairing is what tells
    with pytest.raises(ValueError, match="run 6 is not in both"):
        swaplib.compare(frame.iloc[:-1], paired=True)


def test_simulated_arms_are_paired_and_get_no_p():
    frame = tidy(sync=range(100, 130), fast=range(90, 120)).assign(simulated=True)
    found = swaplib.compare(frame, base="sync")
    one = found.results[0]
    assert (one.p, one.p_welch, one.p_rank, one.p_holm) == (None,) * 4
    assert (one.difference_low, one.difference_high) == (-10, -10)
    assert found.verdict(one) == "simulated"
    assert "simulated" in codes(found)
    assert "p=" not in found.text()


def test_a_sweeps_frame_is_compared_by_policy():
    policies = ["sync", "sync-batched"]
    runs = swaplib.sweep(machine="phone-8gb", kernel="6.11", storm="munmap", policy=policies, replications=3)
    found = swaplib.compare(runs, value="cpu_ms_total", base="sync")
    assert found.simulated
    assert [(one.arm, one.n_arm) for one in found.results] == [("sync-batched", 3)]


def test_settings_of_a_sweep_must_be_told_apart():
    runs = pd.DataFrame(
        {
            "policy": ["a", "a", "b", "b"] * 2,
            "replication": [0, 1] * 4,
            "machine": ["m"] * 4 + ["n"] * 4,
            "exit_ms": range(8),
        }
    )
    with pytest.raises(ValueError, match="appears twice"):
        swaplib.compare(runs, value="exit_ms", base="a")
    found = swaplib.compare(runs, value="exit_ms", base="a", by="machine")
    assert [one.metric for one in found.results] == ["exit, m", "exit, n"]
    assert found.results[0].unit == "ms"


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        (tidy(before=[1, 2, 3], after=[4, 5, 6]), "too-few"),
        (tidy(before=[1], after=[4]), "one-run"),
        (tidy(before=[100, 200, 300, 400], after=[101, 102, 103, 104]), "unequal"),
        (tidy(before=[1, 2, 3, 4, 5, 90], after=[4, 5, 6, 7, 8, 9]), "outlier"),
        (tidy(before=[1, 2, 2, 4], after=[4, 5, 6, 7]), "ties"),
        (tidy(before=[2, 2, 2, 2], after=[4, 5, 6, 7]), "identical"),
        (tidy(before=[1, 2, 3, 4], after=[4, 5, 6, 7]), "blocks"),
        (tidy(before=range(20), after=range(5, 25)), "monte-carlo"),
        (tidy(before=range(1100), after=range(5, 1105)), "normal-limit"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_a_statistician_would_warn(frame, code):
    assert code in codes(swaplib.compare(frame))


def test_clean_interleaved_runs_get_no_warning():
    frame = tidy(before=[10.1, 11.7, 12.3, 13.2, 14.9, 12.6], after=[1.3, 2.2, 3.9, 4.4, 5.6, 3.1])
    frame = frame.sort_values(["run", "arm"])
    assert codes(swaplib.compare(frame)) == set()


def test_the_column_order_decides_whether_arms_ran_in_blocks():
    frame = tidy(before=[1, 3, 5, 7], after=[2, 4, 6, 8])
    turns = swaplib.compare(frame.assign(order=[1, 3, 5, 7, 2, 4, 6, 8]))
    blocks = swaplib.compare(frame.assign(order=[5, 6, 7, 8, 1, 2, 3, 4]))
    assert "blocks" not in codes(turns)
    assert any("ran wholly before" in note.text for note in blocks.cautions)


def test_one_metric_of_many_is_not_significant_alone():
    noise = [tidy(f"m{i}", before=[1, 4, 2, 5, 3], after=[3, 1, 5, 2, 4]) for i in range(12)]
    frame = pd.concat([tidy("chosen", before=[1, 2, 3, 4, 6], after=[5, 7, 8, 9, 10]), *noise])
    found = swaplib.compare(frame)
    assert found["chosen"].p < 0.05 < found["chosen"].p_holm
    assert "holm" in codes(found, "chosen")
    assert found.verdict(found["chosen"]) == "~"


def test_one_number_an_arm_is_shown_with_its_change_and_nothing_tested():
    found = swaplib.compare(tidy(before=[230.76], after=[225.23]))
    assert found.verdict(found.results[0]) == "not tested"
    assert "-2.4 % (n=1+1)" in found.text()
    assert math.isnan(found.df().p[0])


def test_the_test_is_named_before_looking():
    found = swaplib.compare(camera(), value="value_ms", test="welch")
    assert found["preview"].p == found["preview"].p_welch
    assert found.verdict(found["preview"]) == "~"
    assert "p by Welch's t" in found.text()


def test_runs_needed_are_never_fewer_than_can_be_significant():
    found = swaplib.compare(tidy(before=[100, 101, 102, 103], after=[1, 2, 3, 4])).results[0]
    assert found.runs_needed == 4  # three an arm give p = 0.1 at best


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        (lambda f: f, {"value": "ms"}, "column 'ms' is missing; there are 'arm', 'run'"),
        (
            lambda f: f,
            {"base": "old"},
            "no run has arm 'old', which is the base; there are 'before', 'after'",
        ),
        (lambda f: f[f.arm == "before"], {}, "all runs have arm 'before'"),
        (lambda f: f.iloc[:0], {}, "no rows"),
        (lambda f: f.assign(value=[1, 2, math.nan, 4]), {}, "row 3: column 'value' is nan"),
        (lambda f: f.assign(value=[1, 2, math.inf, 4]), {}, "row 3: column 'value' is inf"),
        (
            lambda f: f.assign(value=["1", "2", "n/a", "4"]),
            {},
            "row 3: column 'value' is 'n/a'; expected a finite number",
        ),
        (lambda f: f.assign(arm=["before", None, "after", "after"]), {}, "row 2: column 'arm' is empty"),
        (
            lambda f: f.assign(unit=["ms", "ms", "s", "s"]),
            {},
            "metric 'exit' mixes in column 'unit' 'ms', 's'",
        ),
        (lambda f: f.assign(better="up"), {}, "better is 'up' for metric 'exit'"),
        (
            lambda f: f.assign(run=[1, 1, 1, 2]),
            {},
            "row 2: run 1 of arm 'before' appears twice for metric 'exit'",
        ),
        (lambda f: f.assign(simulated=[True, True, False, False]), {}, "mixes simulated and measured"),
        (lambda f: f, {"test": "best"}, "test is 'best'"),
        (lambda f: f, {"alpha": 5}, "alpha is 5"),
    ],
    ids=lambda x: x[:24] if isinstance(x, str) else "",
)
def test_a_bad_frame_is_refused_with_row_and_column(change, options, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(")):
        swaplib.compare(change(tidy(before=[1, 2], after=[3, 4])), **options)


def test_the_frame_that_is_compared_stays_as_it_was():
    frame = camera()
    swaplib.compare(frame, value="value_ms")
    pd.testing.assert_frame_equal(frame, camera())


@pytest.mark.parametrize("kind", ["estimation", "order", "power"])
def test_pictures_say_what_the_table_says(kind):
    found = swaplib.compare(camera(), value="value_ms")
    figure = found.plot("preview", kind=kind)
    title = (
        figure.get_suptitle()
        or figure.axes[0].get_title()
        or figure.axes[0].get_title()
        or figure.axes[0].get_title(loc="left")
    )
    expected = {
        "estimation": "-41.7 % [-62, +2] (p=0.045 n=6+6)",
        "order": "-20.7 in before",
        "power": "208 ms",
    }
    assert expected[kind] in title
    assert "/ ms" in figure.axes[0].get_ylabel() + figure.axes[0].get_xlabel()
    plt.close(figure)


def test_the_estimation_plot_shows_every_value():
    figure = swaplib.compare(camera(), value="value_ms").plot("preview")
    shown = sorted(y for spots in figure.axes[0].collections for _, y in spots.get_offsets())
    assert shown == sorted(swaplib.load("mail/camera_preview").value_ms)
    plt.close(figure)


def test_a_million_rows_take_seconds_and_say_which_p_is_not_exact():
    rng = np.random.default_rng(1)
    frame = pd.DataFrame(
        {"arm": np.repeat(["before", "after"], 500_000), "value": rng.normal(100, 10, 1_000_000)}
    )
    found = swaplib.compare(frame)
    assert found.results[0].permutation_kind == "normal"
    assert len(found.results[0].values_base) == 1000
    assert swaplib.Comparison.from_json(found.json()) == found
