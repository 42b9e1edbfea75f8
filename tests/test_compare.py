"""A comparison tells what is significant, says it in a mail's 80 columns, and warns."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import swaplib
from swaplib.model.checks import printable

TURNS = [1, 4, 5, 8, 9, 12, 2, 3, 6, 7, 10, 11]  # b a a b b a a b b a a b


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


def notes(frame, **options):
    return " ".join(swaplib.compare(frame, **options).notes())


def test_the_cameras_cold_start_is_significant_and_tests_disagree_on_its_preview():
    table = swaplib.compare(camera(), value="value_ms").df().set_index("metric")
    assert table.p.round(3).to_dict() == {"cold_start": 0.011, "preview": 0.045}
    assert table.p_holm.round(3).to_dict() == {"cold_start": 0.022, "preview": 0.045}
    assert table.change_percent.round(1).to_dict() == {"cold_start": -20.4, "preview": -41.7}
    assert table.tests_disagree.to_dict() == {"cold_start": False, "preview": True}
    assert table.verdict.to_dict() == {"cold_start": "better", "preview": "better"}
    assert table.difference_high["preview"] > 0 > table.difference_high["cold_start"]
    by_welch = swaplib.compare(camera(), value="value_ms", test="welch")
    assert (line(by_welch, "preview").p, line(by_welch, "preview").verdict) == (table.p_welch["preview"], "~")
    assert "p by Welch's t" in by_welch.text()


def test_the_text_for_a_mail_says_what_was_compared_then_the_table_in_benchstats_grammar():
    about = {"kernel": "6.6", "machine": "phone", "swap_device": "zram 4 GiB", "command": "swaplib compare x"}
    lines = swaplib.compare(camera(), value="value_ms", **about).text().splitlines()
    assert lines[:8] == [
        "before (base) against after",
        "lower is better: cold_start / ms, preview / ms",
        "change of means [95 % interval]; p by studentized permutation, adjusted for 2",
        "  tests (Holm); ~ if p > 0.05",
        "kernel: 6.6",
        "machine: phone",
        "swap device: zram 4 GiB",
        "command: swaplib compare x",
    ]
    assert lines[10].split("  ")[-1].strip() == "-20.4 % [-30.7, -8.53] (p=0.022 n=6+6)"
    assert "[2] preview: tests disagree after adjusting (unadjusted p: permutation 0.045," in lines


def test_what_is_not_significant_has_its_change_and_interval_after_a_tilde():
    found = swaplib.compare(tidy(before=[1, 2, 3, 4, 5, 6], after=[2, 3, 1, 5, 4, 7]))
    assert "~ +4.76 % [-60, +143] (p=1.000 n=6+6)" in found.text()
    assert line(found).verdict == "~"


def test_too_few_runs_are_told_from_tests_that_disagree():
    found = swaplib.compare(tidy(before=[1000, 1000.1, 1000.2], after=[2000, 2000.1, 2000.2]))
    assert line(found)[["verdict", "tests_disagree"]].tolist() == ["too few runs", False]
    assert "(too few runs to say, n=3+3)" in found.text()
    assert "1000.1 (0.1)" in found.text()
    both = pd.concat([tidy(m, before=[1, 2, 3, 4], after=[5, 6, 7, 8]) for m in ("a", "b")])
    assert "4+4 runs can never be significant among so many tests" in notes(both)


@settings(max_examples=12)
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


def test_json_holds_the_table_and_the_notes():
    once = pd.DataFrame({"arm": ["before", "after"], "run": 1, "metric": "launch", "value_ms": [5.0, 4]})
    found = swaplib.compare(pd.concat([camera(), once]), value="value_ms", machine="télé\u0000phone")
    told = json.loads(found.json())
    assert told["results"][0]["p"] == pytest.approx(10 / 924, rel=1e-12)
    assert told["results"][2]["p"] is None
    assert told["notes"] == found.notes()


def test_several_arms_are_each_compared_with_the_base_and_adjusted_together():
    frame = tidy(old=[10, 11, 12, 13, 14], new=[1, 2, 3, 4, 5], newer=[11, 12, 13, 14, 15])
    found = swaplib.compare(frame, base="old")
    table = found.df()
    assert table.arm.tolist() == ["new", "newer"]
    assert table.p_holm[0] == 2 * table.p[0]
    assert table.verdict.tolist() == ["better", "~"]
    assert "exit, newer" in found.text()


def test_arms_of_unequal_size_need_welchs_p_as_well():
    one = line(swaplib.compare(tidy(before=[11, 10, 10, 11, 10, 11, 10, 10, 8, 9], after=[16, 12, 11, 19])))
    assert one.p_permutation < 0.05 < one.p_welch == one.p
    assert one.verdict == "~"


def test_pairs_are_joined_by_run_whatever_the_order_of_rows():
    frame = tidy(before=[10, 20, 30, 40, 50, 60], after=[11, 22, 33, 44, 55, 66])
    mixed = frame.sample(frac=1, random_state=3)
    one, other = (line(swaplib.compare(f, paired=True)) for f in (frame, mixed))
    assert (one.p, one.difference) == (other.p, other.difference) == (2 / 2**6, 3.5)
    assert line(swaplib.compare(frame)).p > 0.5  # the pairing is what tells
    with pytest.raises(ValueError, match="row 6: column 'run' is 6; expected pairs, and it is not in both"):
        swaplib.compare(frame.iloc[:-1], paired=True)
    told = notes(frame[frame.run < 6], paired=True)
    assert "5 pairs can never be significant: the smallest possible p is 0.062" in told


@pytest.mark.parametrize(
    ("arms", "warning"),
    [
        (([1, 2, 3], [4, 5, 6]), "3+3 runs can never be significant: the smallest possible p is 0.100"),
        (([1], [4, 5]), "one run of before: its spread is unknown"),
        (([1, 2, 3, 4, 5, 90], [4, 5, 6, 7, 8, 9]), "far from the rest of before: 90 (kept)"),
        (([5, 5, 5, 5], [6, 6, 6, 6]), "all values of before are 5 and of after are 6"),
        (([1, 2, 3, 4], [4, 5, 6, 7]), "no order of runs is known (a column order, among all arms)"),
        (([0.1, 0.2, 9, 0.1], [20, 22, 21, 23]), "a change in percent would have no bounds"),
        ((range(20), range(5, 25)), "the permutation p is from 9,999 random splits"),
        ((range(101), range(5, 106)), "the permutation p is Student's t's"),
    ],
)
def test_a_statistician_would_warn(arms, warning):
    assert warning in notes(tidy(before=arms[0], after=arms[1]))


def test_a_drawn_p_has_its_error_beside_it_and_an_unbounded_ratio_is_a_difference():
    drawn = swaplib.compare(tidy(before=range(20), after=range(5, 25)))
    assert f"(p={line(drawn).p:.3f}±0.001 n=20+20)" in drawn.text()
    told = swaplib.compare(tidy(before=[0.1, 0.2, 9, 0.1], after=[20, 22, 21, 23])).text()
    assert "+19.1 ms [+12.4, +25.9] (p=0.029" in told


def test_no_caution_is_raised_by_clean_normal_runs_more_than_once_in_twenty():
    rng = np.random.default_rng(5)
    frames = []
    for metric in range(300):
        values = rng.normal(100, 5, 12)
        frame = tidy(f"m{metric}", before=values[:6], after=values[6:])
        frames.append(frame.assign(order=rng.permutation(12)))
    about = swaplib.compare(pd.concat(frames)).cautions
    for words in ("far from", "blocks", "with order", "disagree", "identical"):
        assert sum(len(lines) for note, lines in about.items() if words in note) <= 0.05 * 300


@pytest.mark.parametrize(
    ("order", "values", "warning"),
    [
        (TURNS, None, ""),
        ([7, 8, 9, 10, 11, 12, 1, 2, 3, 4, 5, 6], None, "one arm ran wholly before the other"),
        ([1, 2, 3, 4, 5, 7, 6, 8, 9, 10, 11, 12], None, "arms ran nearly in blocks"),
        (TURNS, np.arange(12), "values rise with order by 3 a run"),
    ],
)
def test_the_column_order_tells_blocks_and_trends(order, values, warning):
    noise = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    drift = [0.01 * one + 3 * place for one, place in zip(noise, order, strict=True)]
    values = noise if values is None else drift
    told = notes(tidy(before=values[:6], after=values[6:]).assign(order=order))
    assert warning in told
    assert warning or not told


def test_one_number_an_arm_is_shown_with_its_change_and_nothing_tested():
    found = swaplib.compare(tidy(before=[230.76], after=[225.23]))
    assert line(found).verdict == "not tested"
    assert math.isnan(line(found).p)
    assert "-2.4 % (n=1+1)" in found.text()


def test_a_metric_without_a_partner_is_left_out_and_named():
    frame = pd.concat([tidy(before=[1, 2, 3], after=[4, 5, 6]), tidy("frames", after=[90, 91])])
    found = swaplib.compare(frame)
    assert found.df().metric.tolist() == ["exit"]
    assert "left out, for want of a partner: frames (of after alone)" in found.notes()


@pytest.mark.parametrize(
    ("change", "options", "said"),
    [
        ({}, {"value": "ms"}, "column 'ms' is missing; there are 'arm', 'run'"),
        ({}, {"base": "old"}, "of the base 'old' and of another arm; there are the arms 'before', 'after'"),
        ({"arm": "before", "run": [1, 2, 3, 4]}, {}, "runs of the base 'before' and of another arm"),
        ({"value": [1, 2, math.nan, 4]}, {}, "row 3: column 'value' is nan"),
        ({"value": [1, 2, math.inf, 4]}, {}, "row 3: column 'value' is inf"),
        ({"value": [1, 2, 1e160, 4]}, {}, "row 3: column 'value' is 1e+160"),
        ({"value": ["1", "2", "n/a", "4"]}, {}, "row 3: column 'value' is 'n/a'; expected a finite number"),
        ({"arm": ["before", None, "after", "after"]}, {}, "row 2: column 'arm' is "),
        ({"unit": ["ms", "ms", "s", "s"]}, {}, "row 3: column 'unit' is 's'; expected one for all runs"),
        ({"better": "up"}, {}, "row 1: column 'better' is 'up'; expected lower or higher"),
        ({"run": [1, 1, 1, 2]}, {}, "row 2: column 'run' is 1; expected one value a run"),
        ({"order": [1, 2, 1, 3]}, {}, "row 3: column 'order' is 1; expected one run at a time"),
        ({}, {"test": "best"}, "test is 'best'"),
        ({}, {"alpha": 5}, "alpha is 5"),
    ],
)
def test_a_bad_frame_is_refused_with_row_and_column(change, options, said):
    with pytest.raises(ValueError, match=said.replace("(", r"\(").replace("+", r"\+")):
        swaplib.compare(tidy(before=[1, 2], after=[3, 4]).assign(**change), **options)


def test_more_arms_and_metrics_than_seconds_allow_are_refused_with_their_number():
    arms, metrics = ["before", "after"] * 2500, np.repeat(range(2500), 2)
    frame = pd.DataFrame({"arm": arms, "metric": metrics, "value": 1.0})
    with pytest.raises(ValueError, match="2,500 arms x metrics to compare; expected at most 2,000"):
        swaplib.compare(frame)


def test_times_since_the_epoch_in_nanoseconds_are_told_apart():
    frame = tidy(before=np.arange(6) * 1e6, after=2e7 + np.arange(6) * 1e6)
    plain, epoch = (line(swaplib.compare(f)) for f in (frame, frame.assign(value=1.7e18 + frame.value)))
    assert plain.p == epoch.p == 2 / 924
    assert epoch.p_welch == pytest.approx(plain.p_welch, rel=1e-6)
