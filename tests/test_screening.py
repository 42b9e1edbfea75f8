"""Screening: what moves a known function, and how much of its variance, is found."""

import numpy as np
import pandas as pd
import pytest

import swaplib

RANGES = pd.DataFrame({"low": [0, 10, -1], "high": [1, 30, 1]}, index=["a", "b", "c"])


def test_the_effects_of_a_linear_function_are_its_slopes_times_the_ranges():
    design = swaplib.morris_design(RANGES, 5, seed=1)
    assert design.shape == (5 * (3 + 1), 3)
    effects = swaplib.morris_effects(RANGES, design, 4 * design.a - 0.5 * design.b)
    assert effects.to_dict() == pytest.approx({"a": 4, "b": 10, "c": 0})


def test_the_shares_of_a_sum_are_the_variances_of_its_parts():
    design = swaplib.sobol_design(RANGES, 1024, seed=1)
    assert len(design) == 1024 * (3 + 2)
    shares = swaplib.sobol_shares(RANGES, design.a + design.b / 10)  # variances 1/12 and 4/12
    assert np.allclose(shares["first"], [0.2, 0.8, 0], atol=0.01)
    assert np.allclose(shares["total"], [0.2, 0.8, 0], atol=0.01)
    pd.testing.assert_frame_equal(shares, swaplib.sobol_shares(RANGES, design.a + design.b / 10))
