"""Which assumptions matter: designs that move many at once, and shares of the result, computed by SALib.

Ranges have one row an assumption, columns low and high; designs one row a point, one column an assumption.
"""

from typing import Any

import numpy as np
import pandas as pd
from SALib.analyze import morris as morris_indices
from SALib.analyze import sobol as sobol_indices
from SALib.sample import morris, sobol


def morris_design(ranges: pd.DataFrame, trajectories: int, seed: int = 0) -> pd.DataFrame:
    """Return paths along which each assumption moves once, on four levels (Morris, Technometrics, 1991)."""
    return pd.DataFrame(morris.sample(_problem(ranges), trajectories, seed=seed), columns=ranges.index)


def morris_effects(ranges: pd.DataFrame, design: pd.DataFrame, results: pd.Series) -> pd.Series:
    """Return mu* of each assumption: the mean absolute change of the results over its whole range."""
    found = morris_indices.analyze(_problem(ranges), design.to_numpy(), np.asarray(results, float))
    return pd.Series(found["mu_star"], ranges.index)


def sobol_design(ranges: pd.DataFrame, base: int, seed: int = 0) -> pd.DataFrame:
    """Return `base` (a power of two) times (assumptions + 2) points for `sobol_shares` (Saltelli, 2010)."""
    points = sobol.sample(_problem(ranges), base, calc_second_order=False, seed=seed)
    return pd.DataFrame(points, columns=ranges.index)


def sobol_shares(ranges: pd.DataFrame, results: pd.Series, seed: int = 0) -> pd.DataFrame:
    """Return shares of a `sobol_design`'s variance: first (alone), total, and ± of each (95 % interval)."""
    options = {"calc_second_order": False, "seed": seed + 1}  # 0 is no seed
    found = sobol_indices.analyze(_problem(ranges), np.asarray(results, float), **options)
    found = pd.DataFrame(found, ranges.index)[["S1", "S1_conf", "ST", "ST_conf"]]
    return found.set_axis(["first", "first ±", "total", "total ±"], axis=1)


def _problem(ranges: pd.DataFrame) -> dict[str, Any]:
    bounds = ranges[["low", "high"]].to_numpy().tolist()
    return {"names": list(ranges.index), "num_vars": len(ranges), "bounds": bounds}
