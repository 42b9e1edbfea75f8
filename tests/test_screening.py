"""Screening: one assumption moves at a time, and a point becomes a camera launch."""

import numpy as np
import pandas as pd

import swaplib

RANGES = pd.DataFrame({"low": [0, 10, -1], "high": [1, 30, 1]}, index=["a", "b", "c"])


def test_one_assumption_moves_at_a_time_and_the_base_comes_first():
    points = swaplib.one_at_a_time(RANGES.assign(base=[0, 20, 0]))
    assert points.loc[("base", "base")].tolist() == [0, 20, 0]
    assert points.loc[("b", "high")].tolist() == [0, 30, 0]
    assert len(points) == 1 + 2 * len(RANGES)


def test_a_latin_design_has_one_point_in_every_part_of_every_range():
    ranges = pd.DataFrame({"low": [0, 10], "high": [8, 160]}, index=["even", "in logarithms"])
    design = swaplib.latin_design(ranges, 4, seed=1)
    assert sorted(design["even"] // 2) == [0, 1, 2, 3]
    assert sorted(np.log2(design["in logarithms"] / 10) // 1) == [0, 1, 2, 3]
