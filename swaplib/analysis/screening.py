"""Which assumptions matter: points at which they move, and the camera launch of a point."""

from collections.abc import Mapping
from typing import Any

import pandas as pd
from scipy.stats import qmc

from swaplib import catalogue


def latin_design(ranges: pd.DataFrame, points: int, seed: int = 0) -> pd.DataFrame:
    """Return a Latin hypercube: every range covered evenly, in logarithms where it begins above 0."""
    low, high = ranges.low.to_numpy(float), ranges.high.to_numpy(float)
    share = qmc.LatinHypercube(len(ranges), rng=seed).random(points)
    design = low + (high - low) * share
    positive = low > 0
    design[:, positive] = low[positive] * (high[positive] / low[positive]) ** share[:, positive]
    return pd.DataFrame(design, columns=ranges.index)


def one_at_a_time(ranges: pd.DataFrame) -> pd.DataFrame:
    """Return the base of all assumptions, then each at its low and its high end while others stay.

    ranges also has a column base; the index of the result is the assumption and the end ("base" twice first).
    """
    points = {("base", "base"): ranges["base"]}
    for name in ranges.index:
        for end in ("low", "high"):
            points[name, end] = ranges["base"].where(ranges.index != name, ranges[end])
    return pd.DataFrame(points).T


def camera_launch(point: Mapping[str, float]) -> dict[str, Any]:
    """Return kernel, machine and storm of a launch on the assumed phone for one point of a design.

    The point has a value for each row of data/assumptions/camera.csv; values are cut to whole numbers.
    """
    values = {name: int(value) for name, value in point.items()}
    kernel = catalogue.kernel(("6.1", "6.11", "6.18")[values.pop("kernel")])
    phone = catalogue.machine("phone-8gb")
    own = {name: values.pop(name) for name in list(values) if name in phone.numbers}
    return {
        "kernel": kernel,
        "machine": phone.but(**own),
        "storm": catalogue.storm("camera", phone, **values),
    }
