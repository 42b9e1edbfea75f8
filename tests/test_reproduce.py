"""A published number is judged by the decimals it was printed with."""

import math
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal

import pandas as pd
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import swaplib
from swaplib.analysis.reproduce import DIFFERS, EQUAL, ROUNDED, TRUNCATED, reproduce, verdict

computed_numbers = st.decimals(min_value=-(10**7), max_value=10**7, places=6)
places = st.integers(min_value=0, max_value=4)
roundings = st.sampled_from([ROUND_HALF_UP, ROUND_HALF_EVEN, ROUND_HALF_DOWN, ROUND_DOWN])


def printed(number, places, rounding=ROUND_HALF_UP):
    """Print a Decimal with so many decimals."""
    return number.quantize(Decimal(1).scaleb(-places), rounding)


@pytest.mark.parametrize(
    ("expected", "pairs"),
    [
        (EQUAL, [("352", 352.0), ("0.3", 0.1 + 0.2)]),
        (ROUNDED, [("1512", 1512 + 1 / 3), ("1205", 1204.5), ("30.87%", 30.8735), ("0.30", 0.304)]),
        (ROUNDED, [("29", 0.285 * 100), ("−1", -1.2), ("0", -0.4), ("5.4e4", 53_630), ("0.3", 0.31)]),
        (ROUNDED, [(3, 3.0988)]),
        (TRUNCATED, [("1204", 1204.5), ("1204", 1204.9), ("-1", -1.9)]),
        (DIFFERS, [("1203", 1204.5), ("1206", 1204.5), ("0.30", 0.31), ("0.2", -0.2)]),
    ],
)
def test_the_verdict_names_the_rounding_that_explains_the_number(expected, pairs):
    assert {verdict(*pair) for pair in pairs} == {expected}


@given(computed_numbers, places, roundings)
def test_a_number_printed_from_the_computed_one_is_equal_and_never_truncated_if_rounded(
    computed, places, rounding
):
    assert verdict(str(printed(computed, places, rounding)), float(computed)).startswith("equal")
    assert verdict(str(printed(computed, places)), computed) in (EQUAL, ROUNDED)


@given(computed_numbers, places, st.integers(min_value=-1000, max_value=1000).filter(bool))
def test_a_last_digit_that_is_off_differs_whichever_way(computed, places, steps):
    wrong = printed(computed, places) + steps * Decimal(1).scaleb(-places)
    assume(wrong != printed(computed, places, ROUND_DOWN))
    assert verdict(str(wrong), computed) == DIFFERS


def test_the_tolerance_counts_in_percent_of_the_published_number_and_a_rounding_goes_first():
    cases = ("100", 102.0, 2), ("100", 102.0, 1.9), ("1204", 1204.5, 5), ("0", 1.0, 50)
    assert [verdict(*case) for case in cases] == ["within 2 %", DIFFERS, TRUNCATED, DIFFERS]


def test_the_frame_has_one_row_a_number_in_published_order():
    said = pd.Series(["2.0%", "-4", "0"], index=list("bac"))
    ours = pd.Series([-5, 2.04, 1], index=list("abc"))
    frame = reproduce(said, ours, unit="ms").round(6)
    assert said.index.name is ours.index.name is None  # left as they were
    assert frame.loc[0].tolist() == ["b", "ms", "2.0", 2.04, 0.04, 2.0, ROUNDED]
    assert frame.loc[1].tolist() == ["a", "ms", "-4", -5.0, -1.0, -25.0, DIFFERS]
    assert math.isnan(frame.set_index("item").difference_percent["c"])


def test_index_levels_become_key_columns():
    keys = pd.MultiIndex.from_tuples([("rpi", 1), ("rpi", 2)], names=["machine", "processes"])
    frame = reproduce(pd.Series(["59.0", "94.6"], index=keys), pd.Series([94.6, 59.04], index=keys[::-1]))
    assert frame[["machine", "processes"]].to_numpy().tolist() == [["rpi", 1], ["rpi", 2]]
    assert frame.verdict.tolist() == [ROUNDED, EQUAL]


@pytest.mark.parametrize(
    ("published", "computed", "message"),
    [
        ({"a": "1"}, {"b": 1}, "a is not once in published and once in computed"),
        ({"a": "1"}, {"a": 1, "b": 1}, "b is not once in published"),
        ({"a": 1.5}, {"a": 1.5}, "a: the published number 1.5 is a float, which has lost its printed"),
        ({"a": "about 20"}, {"a": 20}, "a: the published number is 'about 20'; expected a finite number"),
        ({"a": ""}, {"a": 20}, "a: the published number is ''"),
        ({"a": "20"}, {"a": math.nan}, "a: the computed number is nan"),
        (pd.Series(["1", "2"], index=["a", "a"]), {"a": 1}, "a is not once in published"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_key(published, computed, message):
    with pytest.raises((ValueError, TypeError), match=message):
        reproduce(published, computed)


def test_the_printed_camera_averages_are_truncated():
    runs = pd.concat([swaplib.load("mail/camera_cold_start"), swaplib.load("mail/camera_preview")])
    said = swaplib.load("mail/camera_averages", printed=True).set_index(["metric", "arm"]).average_ms
    frame = reproduce(said, runs.groupby(["metric", "arm"]).value_ms.mean(), unit="ms")
    assert frame.computed.round(2).tolist() == [1512.33, 1204.5, 352.0, 205.17]
    assert frame.verdict.tolist() == [ROUNDED, TRUNCATED, EQUAL, ROUNDED]


@pytest.mark.parametrize("version", ["mail/process_memory", "mail/process_memory_v1"])
def test_every_printed_swap_ratio_follows_from_vmswap_and_vmrss(version):
    memory, said = swaplib.load(version), swaplib.load(version, printed=True).swap_ratio_percent
    ratio = 100 * memory.vmswap_kib / (memory.vmswap_kib + memory.vmrss_kib)
    assert set(reproduce(said, ratio, unit="%").verdict) == {ROUNDED}
