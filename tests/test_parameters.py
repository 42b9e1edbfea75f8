"""Parameters are refused before anything runs, in words that say what would be right."""

import math

import pytest

from swaplib import check_parameters, each


def refusal(value, spec):
    with pytest.raises(ValueError, match=r"^parameter 'x'") as caught:
        check_parameters({"x": value}, x=spec)
    return str(caught.value).removeprefix("parameter 'x'")


@pytest.mark.parametrize(
    ("value", "spec", "words"),
    [
        (5, [4, 16, 64], " is 5; expected one of 4, 16, 64"),
        ("async", ["sync", "reaper"], " is 'async'; expected one of 'sync', 'reaper'"),
        (513, range(1, 513), " is 513; expected a whole number from 1 to 512"),
        (4.0, range(1, 513), " is 4.0; expected a whole number from 1 to 512"),
        (3, range(0, 11, 2), " is 3; expected a whole number from 0 to 10 in steps of 2"),
        (1.01, (0.0, 1.0), " is 1.01; expected a number from 0.0 to 1.0"),
        (-1, (0, None), " is -1; expected a number from 0 to inf"),
        (1, (None, 0), " is 1; expected a number from -inf to 0"),
        (3, str, " is 3; expected text"),
        ("yes", bool, " is 'yes'; expected True or False"),
        (3.0, int, " is 3.0; expected a whole number"),
        ("3", float, " is '3'; expected a number"),
        ([4, 5], each([4, 16, 64]), ", item 2 is 5; expected one of 4, 16, 64"),
        ([], each([4]), " is []; expected a list of one or more items, each one of 4"),
        ((4,), each([4]), " is (4,); expected a list of one or more items, each one of 4"),
    ],
)
def test_a_wrong_value_is_refused_with_what_would_be_right(value, spec, words):
    assert refusal(value, spec) == words


@pytest.mark.parametrize("spec", [[1, 2], range(3), (0, 2), int, float, each(range(3))])
def test_true_is_not_the_whole_number_one(spec):
    refusal(True, spec)


def test_ends_are_included_none_leaves_one_open_and_a_float_may_be_whole():
    values = {"a": 0, "b": 1.0, "c": 1e300, "d": -1e300, "e": 7, "f": 3, "g": [4, 64], "h": 4}
    specs = {"a": (0.0, 1.0), "b": (0, 1), "c": (0, None), "d": (None, 0), "e": (None, None), "f": float}
    check_parameters(values, **specs, g=each([4, 16, 64]), h=[4.0])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_only_finite_numbers_are_numbers(value):
    refusal(value, (None, None))
    refusal(value, float)


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
    for value, spec in ((6.18, ["6.11", "6.18"]), (["6.11", 6.18], each(["6.11", "6.18"]))):
        told = "(it was read as a number: quote it; for papermill take -r instead of -p)"
        assert refusal(value, spec).endswith(told)
