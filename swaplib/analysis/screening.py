"""Which assumptions matter: designs that move many at once, and shares of the result, computed by SALib.

Ranges are a frame with one row an assumption (its index) and the columns low and high; a design has one row a
point and one column an assumption. Designs and indices are the same bits for the same seed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from SALib.analyze import morris as morris_indices
from SALib.analyze import sobol as sobol_indices
from SALib.sample import morris, sobol


def morris_design(ranges: pd.DataFrame, trajectories: int, seed: int = 0) -> pd.DataFrame:
    """Return `trajectories` paths along which each assumption moves once, one after another, on four levels.

    Rows: trajectories times (assumptions + 1). Morris, Technometrics 33 (1991).
    """
    return pd.DataFrame(morris.sample(_problem(ranges), trajectories, seed=seed), columns=ranges.index)


def morris_effects(ranges: pd.DataFrame, design: pd.DataFrame, results: Sequence[float]) -> pd.Series:
    """Return the mean absolute effect (mu*) of each assumption on the results of a `morris_design`.

    It is the change of the result, in its own unit, over the whole range. Campolongo et al. (2007).
    """
    found = morris_indices.analyze(_problem(ranges), design.to_numpy(), np.asarray(results, float))
    return pd.Series(found["mu_star"], ranges.index)


def sobol_design(ranges: pd.DataFrame, base: int, seed: int = 0) -> pd.DataFrame:
    """Return points from which `sobol_shares` tells first-order and total shares.

    Rows: `base`, a power of two, times (assumptions + 2). Saltelli et al. (2010).
    """
    points = sobol.sample(_problem(ranges), base, calc_second_order=False, seed=seed)
    return pd.DataFrame(points, columns=ranges.index)


def sobol_shares(ranges: pd.DataFrame, results: Sequence[float], seed: int = 0) -> pd.DataFrame:
    """Return the share of the results' variance that each assumption explains, alone and with all others.

    Columns first, first ±, total, total ± (± are half-widths of bootstrapped 95 % intervals), one row an
    assumption; `results` are in the order of a `sobol_design`.
    """
    found = sobol_indices.analyze(
        _problem(ranges),
        np.asarray(results, float),
        calc_second_order=False,
        seed=seed + 1,  # SALib takes 0 for no seed
    )
    columns = {"first": "S1", "first ±": "S1_conf", "total": "ST", "total ±": "ST_conf"}
    return pd.DataFrame({name: found[key] for name, key in columns.items()}, ranges.index)


def _problem(ranges: pd.DataFrame) -> dict[str, Any]:
    """Return the ranges as SALib takes them."""
    bounds = ranges[["low", "high"]].to_numpy().tolist()
    return {"names": list(ranges.index), "num_vars": len(ranges), "bounds": bounds}
