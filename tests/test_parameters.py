"""Parameters are refused before anything runs, in words that say what would be right."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swaplib import check_parameters, each


def refusal(value, spec):
    with pytest.raises(ValueError, match=r"^parameter 'x'") as caught:
        check_parameters({"x": value}, x=spec)
    return str(caught.value)


def test_a_value_outside_a_list_is_refused_with_the_list():
    assert refusal(5, [4, 16, 64]) == "parameter 'x' is 5; expected one of 4, 16, 64"
    assert (
        refusal("async", ["sync", "reaper"]) == "parameter 'x' is 'async'; expected one of 'sync', 'reaper'"
    )


def test_true_is_not_the_whole_number_one():
    for spec in ([1, 2], range(3), (0, 2), int, float, each(range(3))):
        refusal(True, spec)


def test_a_range_takes_whole_numbers_only():
    assert refusal(513, range(1, 513)) == "parameter 'x' is 513; expected a whole number from 1 to 512"
    assert refusal(4.0, range(1, 513)) == "parameter 'x' is 4.0; expected a whole number from 1 to 512"
    assert (
        refusal(3, range(0, 11, 2))
        == "parameter 'x' is 3; expected a whole number from 0 to 10 in steps of 2"
    )


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 60))
def test_a_range_takes_what_python_says_is_in_it(value, start, length):
    inside = range(start, start + length)
    if value in inside:
        check_parameters({"x": value}, x=inside)
    else:
        refusal(value, inside)


def test_an_interval_includes_its_ends():
    for value in (0, 0.0, 0.25, 1):
        check_parameters({"x": value}, x=(0.0, 1.0))
    assert refusal(1.01, (0.0, 1.0)) == "parameter 'x' is 1.01; expected a number from 0.0 to 1.0"


def test_none_leaves_an_end_of_an_interval_open():
    check_parameters(
        {"low": 1e300, "high": -1e300, "both": 7}, low=(0, None), high=(None, 0), both=(None, None)
    )
    assert refusal(-1, (0, None)) == "parameter 'x' is -1; expected a number of at least 0"
    assert refusal(1, (None, 0)) == "parameter 'x' is 1; expected a number of at most 0"


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_finite_numbers_are_numbers(value):
    refusal(value, (None, None))
    refusal(value, float)


def test_a_type_takes_its_own_values_and_float_takes_whole_numbers():
    check_parameters({"a": "", "b": False, "c": 3, "d": 3, "e": 0.5}, a=str, b=bool, c=int, d=float, e=float)
    assert refusal(3, str) == "parameter 'x' is 3; expected text"
    assert refusal("yes", bool) == "parameter 'x' is 'yes'; expected True or False"
    assert refusal(3.0, int) == "parameter 'x' is 3.0; expected a whole number"
    assert refusal("3", float) == "parameter 'x' is '3'; expected a number"


def test_each_names_the_item_that_is_wrong():
    check_parameters({"x": [4, 64]}, x=each([4, 16, 64]))
    assert refusal([4, 5], each([4, 16, 64])) == "parameter 'x', item 2 is 5; expected one of 4, 16, 64"


@pytest.mark.parametrize("value", [[], 4, "4", (4,)])
def test_each_needs_a_list_that_is_not_empty(value):
    assert (
        refusal(value, each([4]))
        == f"parameter 'x' is {value!r}; expected a list of one or more items, each one of 4"
    )


def test_every_wrong_parameter_has_its_line_in_one_message():
    with pytest.raises(ValueError, match="expected") as caught:
        check_parameters({"page_kib": 5, "share": 2, "good": 1}, page_kib=[4], share=(0, 1), good=int)
    assert [line.split("'")[1] for line in str(caught.value).splitlines()] == ["page_kib", "share"]


def test_a_specification_for_no_parameter_is_the_authors_error():
    with pytest.raises(NameError, match="specification for 'pages', which the notebook lacks"):
        check_parameters({"page_kib": 4}, pages=[4])


@pytest.mark.parametrize("spec", [3, [], range(0), (1,), ("a", "b"), dict, None])
def test_what_is_no_specification_is_refused(spec):
    with pytest.raises(TypeError, match="is not a specification"):
        check_parameters({"x": 3}, x=spec)
    with pytest.raises(TypeError, match="is not a specification"):
        each(spec)


def test_a_text_that_arrived_as_a_number_says_how_to_keep_it_a_text():
    given = {"kernel": 6.18, "kernels": ["6.11", 6.18]}
    with pytest.raises(ValueError, match="quote it") as refused:
        check_parameters(given, kernel=["6.11", "6.18"], kernels=each(["6.11", "6.18"]))
    assert [line.split(" is ")[0] for line in str(refused.value).splitlines()] == [
        "parameter 'kernel'",
        "parameter 'kernels', item 2",
    ]
    assert str(refused.value).count("for papermill take -r") == 2
