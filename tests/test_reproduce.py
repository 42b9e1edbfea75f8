"""A published number is judged by the decimals it was printed with."""

import math
from decimal import ROUND_DOWN, ROUND_HALF_DOWN, ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction

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
    ("published", "computed", "expected"),
    [
        ("352", 352.0, EQUAL),
        ("1512", 1512 + 1 / 3, ROUNDED),
        ("205", 205 + 1 / 6, ROUNDED),
        ("1205", 1204.5, ROUNDED),
        ("1204", 1204.5, TRUNCATED),
        ("1204", 1204.9, TRUNCATED),
        ("1203", 1204.5, DIFFERS),
        ("1206", 1204.5, DIFFERS),
        ("30.87%", 30.8735, ROUNDED),
        ("0.30", 0.304, ROUNDED),
        ("0.3", 0.31, ROUNDED),
        ("0.30", 0.31, DIFFERS),
        ("0.3", 0.1 + 0.2, EQUAL),
        ("29", 0.285 * 100, ROUNDED),
        ("-1", -1.9, TRUNCATED),
        ("−1", -1.2, ROUNDED),
        ("0.2", -0.2, DIFFERS),
        ("0", -0.4, ROUNDED),
        ("5.4e4", 53_630, ROUNDED),
        (3, 3.0988, ROUNDED),
        (Decimal("3.0"), Fraction(31, 10), DIFFERS),
    ],
)
def test_the_verdict_names_the_rounding_that_explains_the_number(published, computed, expected):
    assert verdict(published, computed) == expected


@given(computed_numbers, places, roundings)
def test_a_number_printed_from_the_computed_one_is_always_equal(computed, places, rounding):
    assert verdict(str(printed(computed, places, rounding)), float(computed)).startswith("equal")


@given(computed_numbers, places)
def test_a_number_rounded_half_up_is_never_called_truncated(computed, places):
    assert verdict(str(printed(computed, places)), computed) in (EQUAL, ROUNDED)


@given(computed_numbers, places, st.sampled_from([-1, 1]))
def test_a_last_digit_off_by_one_differs(computed, places, step):
    near = printed(computed, places)
    wrong = near + step * Decimal(1).scaleb(-places)
    assume(wrong != printed(computed, places, ROUND_DOWN))
    assert verdict(str(wrong), computed) == DIFFERS


@given(computed_numbers, places, st.integers(min_value=2, max_value=1000))
def test_a_last_digit_off_by_two_or_more_differs_whichever_way(computed, places, steps):
    for wrong in (steps, -steps):
        assert (
            verdict(str(printed(computed, places) + wrong * Decimal(1).scaleb(-places)), computed) == DIFFERS
        )


@given(computed_numbers, places, roundings)
def test_more_printed_decimals_never_make_a_wrong_number_right(computed, places, rounding):
    said = printed(computed, places, rounding)
    if verdict(str(said), computed) not in (EQUAL,):
        assert verdict(f"{said}{'' if '.' in str(said) else '.'}0000000", computed) == DIFFERS


def test_the_tolerance_counts_in_percent_of_the_published_number():
    assert verdict("100", 102.0, tolerance_percent=2) == "within 2 %"
    assert verdict("100", 102.0, tolerance_percent=1.9) == DIFFERS


def test_a_rounding_that_explains_goes_before_the_tolerance():
    assert verdict("1204", 1204.5, tolerance_percent=5) == TRUNCATED


def test_no_tolerance_reaches_from_a_published_zero():
    assert verdict("0", 1.0, tolerance_percent=50) == DIFFERS


def test_the_frame_has_one_row_a_number_in_published_order():
    frame = reproduce({"b": "2.0", "a": "4"}, {"a": 5, "b": 2.04}, unit="ms")
    assert list(frame) == [
        "item", "unit", "published", "computed", "difference", "difference_percent", "verdict",
    ]  # fmt: skip
    assert frame.item.tolist() == ["b", "a"]
    assert frame.published.tolist() == ["2.0", "4"]
    assert frame.difference.round(6).tolist() == [0.04, 1.0]
    assert frame.difference_percent.round(6).tolist() == [2.0, 25.0]
    assert frame.verdict.tolist() == [ROUNDED, DIFFERS]


def test_the_difference_of_a_negative_number_keeps_its_sign():
    row = reproduce({"a": "-10"}, {"a": -12}).iloc[0]
    assert (row.difference, row.difference_percent) == (-2.0, -20.0)


def test_a_published_zero_has_no_relative_difference():
    assert math.isnan(reproduce({"a": "0"}, {"a": 1}).difference_percent.iloc[0])


def test_index_levels_become_key_columns():
    keys = pd.MultiIndex.from_tuples([("rpi", 1), ("rpi", 2)], names=["machine", "processes"])
    frame = reproduce(
        pd.Series(["59.0", "94.6"], index=keys), pd.Series([94.6, 59.04], index=keys[::-1]), unit="ms"
    )
    assert frame[["machine", "processes"]].to_numpy().tolist() == [["rpi", 1], ["rpi", 2]]
    assert frame.verdict.tolist() == [ROUNDED, EQUAL]


def test_a_frame_is_compared_cell_by_cell_with_a_unit_a_column():
    said = pd.DataFrame(
        {"time_ms": ["1.0", "2.0"], "share": ["10", "20"]}, index=pd.Index(["x", "y"], name="case")
    )
    frame = reproduce(said, said.astype(float), unit={"time_ms": "ms", "share": "%"})
    assert list(frame.columns[:3]) == ["case", "item", "unit"]
    assert frame.unit.tolist() == ["ms", "%", "ms", "%"]
    assert set(frame.verdict) == {EQUAL}


def test_the_arguments_are_left_as_they_were():
    said, ours = pd.Series(["1"], index=["a"]), pd.Series([1.0], index=["a"])
    reproduce(said, ours)
    assert said.index.name is None
    assert ours.index.name is None


@pytest.mark.parametrize(
    ("published", "computed", "error", "message"),
    [
        ({"a": "1"}, {"b": 1}, ValueError, "a is in published but not in computed"),
        ({"a": "1"}, {"a": 1, "b": 1}, ValueError, "b is in computed but not in published"),
        (
            {"a": 1.5},
            {"a": 1.5},
            TypeError,
            "a: the published number 1.5 is a float, which has lost its printed",
        ),
        (
            {"a": "about 20"},
            {"a": 20},
            ValueError,
            "a: the published number is 'about 20'; expected a number",
        ),
        ({"a": ""}, {"a": 20}, ValueError, "a: the published number is ''"),
        ({"a": "nan"}, {"a": 20}, ValueError, "expected a finite number"),
        ({"a": "20"}, {"a": math.nan}, ValueError, "a: the computed number is nan"),
        ({"a": "20"}, {"a": "20"}, ValueError, "a: the computed number is '20'; expected a number"),
        (["20"], {"a": 20}, TypeError, "expected a Series, a DataFrame or a mapping, got list"),
        (pd.Series(["1", "2"], index=["a", "a"]), {"a": 1}, ValueError, "a stands twice in published"),
    ],
)
def test_what_cannot_be_compared_is_refused_by_key(published, computed, error, message):
    with pytest.raises(error, match=message):
        reproduce(published, computed)


def test_a_unit_that_lacks_an_item_is_refused():
    with pytest.raises(ValueError, match="a: unit has no entry for 'a'; it has b"):
        reproduce({"a": "1"}, {"a": 1}, unit={"b": "ms"})


@pytest.mark.parametrize("tolerance_percent", [-1, math.nan, math.inf])
def test_a_tolerance_that_is_none_is_refused(tolerance_percent):
    with pytest.raises(ValueError, match="tolerance_percent is"):
        reproduce({"a": "1"}, {"a": 2}, tolerance_percent=tolerance_percent)


def test_the_printed_camera_averages_are_truncated():
    runs = pd.concat([swaplib.load("mail/camera_cold_start"), swaplib.load("mail/camera_preview")])
    said = swaplib.load("mail/camera_averages", printed=True).set_index(["metric", "arm"]).average_ms
    frame = reproduce(said, runs.groupby(["metric", "arm"]).value_ms.mean(), unit="ms")
    assert frame.computed.round(2).tolist() == [1512.33, 1204.5, 352.0, 205.17]
    assert frame.verdict.tolist() == [ROUNDED, TRUNCATED, EQUAL, ROUNDED]


@pytest.mark.parametrize("version", ["mail/process_memory", "mail/process_memory_v1"])
def test_every_printed_swap_ratio_follows_from_vmswap_and_vmrss(version):
    memory = swaplib.load(version)
    ratio = 100 * memory.vmswap_kib / (memory.vmswap_kib + memory.vmrss_kib)
    assert set(
        reproduce(swaplib.load(version, printed=True).swap_ratio_percent, ratio, unit="%").verdict
    ) == {ROUNDED}
