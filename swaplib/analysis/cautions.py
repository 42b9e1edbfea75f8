"""What a statistician would warn of, and how often the tests err where nothing differs."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import special

from swaplib.analysis import significance as sig

_SELDOM = 0.025  # how often, at most, a caution is raised by clean normal runs
_DRIFT = "drift counts as effect; interleave the arms"


def of_line(r: Any, base: str, arms: tuple[Any, Any], alpha: float, paired: bool) -> Iterator[str]:
    """Yield what to consider before believing one line of a comparison."""
    if min(r.n_base, r.n_arm) < 2:
        alone = base if r.n_base < 2 else r.arm
        yield f"one run of {alone}: its spread is unknown, so there is nothing to test"
    if r.verdict == "too few runs" and r.p_smallest > alpha:
        runs = f"{r.n_arm} pairs" if paired else f"{r.n_base}+{r.n_arm} runs"
        yield f"{runs} can never be significant: the smallest possible p is {told_p(r.p_smallest)}"
    elif r.verdict == "too few runs":
        yield f"so few runs cannot be significant among so many tests: p is {told_p(r.p_smallest)} at best"
    if r.tests_disagree:
        three = {"permutation": r.p_permutation, "Welch": r.p_welch, "ranks": r.p_rank}
        told = ", ".join(f"{name} {told_p(p)}" for name, p in three.items())
        yield f"tests disagree after adjusting (p before: {told}); that named before looking decides"
    if r.permutation_kind == sig.DRAWN:
        yield f"the permutation p is from {r.splits:,} random splits: {r.p_permutation:.3f} ± {r.p_error:.1g}"
    if r.permutation_kind == sig.STUDENT:
        yield "the permutation p is Student's t's: too many runs to try splits"
    if math.isinf(r.ratio_low):
        yield f"the mean of {base} is not told from 0: a change in percent would have no bounds"
    named = list(zip((base, r.arm), arms, strict=True))
    flat = [f"of {name} are {own[0]:.6g}" for name, own in named if len(own) > 1 and not np.ptp(own)]
    if flat:
        yield f"all values {' and '.join(flat)}: is the clock too coarse?"
    for name, own in named:
        n, away = len(own), np.abs(own - own.mean())
        if n < 4 or not np.ptp(own):
            continue
        g2 = float(away.max() / (own - own[0]).std(ddof=1)) ** 2  # F. E. Grubbs 1950, for each arm
        t = math.sqrt(n * (n - 2) * g2 / max((n - 1) ** 2 - n * g2, 1e-12))
        if 2 * n * special.stdtr(n - 2, -t) <= _SELDOM / 2:
            yield f"far from the rest of {name}: {own[away.argmax()]:.6g} (kept)"


def of_order(orders: tuple[Any, Any], arms: tuple[Any, Any]) -> Iterator[str]:
    """Yield what the order of runs speaks against: arms in blocks, values that rise or fall with it.

    Blocks: fewer changes of arm than a random order has (A. Wald and J. Wolfowitz 1940), or one arm early and
    the other late (ranks). The trend is the slope over order beside the difference of arms, by its t test.
    """
    order = np.concatenate(orders)
    if np.isnan(order).any():
        yield "no order of runs is known (a column order, among all arms): drift was not looked for"
        return
    place, n, both = np.argsort(order), len(order), 2.0 * len(orders[0]) * len(orders[1])
    in_arm = np.repeat([False, True], [len(one) for one in orders])[place]
    times: Any = [np.flatnonzero(which).astype(float) for which in (~in_arm, in_arm)]
    turns = np.count_nonzero(np.diff(in_arm))
    spread = math.sqrt(both * max(both - n, 1) / (n * n * (n - 1)))
    if turns == 1:
        yield f"one arm ran wholly before the other: {_DRIFT}"
    elif min(special.ndtr((turns + 0.5 - both / n) / spread), sig.rank_p(*times)) <= _SELDOM:
        yield f"arms ran nearly in blocks: {_DRIFT}"
    values = np.concatenate([one - one.mean() for one in arms])[place]
    at = np.arange(n) - np.where(in_arm, times[1].mean(), times[0].mean())
    if n < 5 or not values.any() or not at.any():
        return
    slope = float(at @ values / (at @ at))
    error = math.sqrt(float(((values - slope * at) ** 2).sum() / (at @ at)) / (n - 3))
    p = 2 * float(special.stdtr(n - 3, -abs(slope) / error)) if error else 0.0
    if p <= _SELDOM:
        direction = "rise" if slope > 0 else "fall"
        yield f"values {direction} with order by {abs(slope):.3g} a run (p{told_p(p, '=')})"


def error_rates(trials: int = 1000, alpha: float = 0.05, seed: int = 0) -> pd.DataFrame:
    """Return how often tests call significant what does not differ: simulated nulls, with a fixed seed.

    Returns
    -------
    DataFrame
        By null ("AR(1)": each run is like the last, correlation 0.9) and runs (of base and arm): the share of
        `trials` with p at most `alpha` by splits alone, by what decides in `swaplib.compare`, Welch's t and
        ranks; silently: by what decides, without a caution on blocks or trend.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    alike = [rng.normal(size=trials)]
    for _ in range(11):
        alike.append(0.9 * alike[-1] + math.sqrt(1 - 0.9**2) * rng.normal(size=trials))
    wide = np.repeat([1.0, 3.0], [10, 4]) * rng.normal(size=(trials, 14))
    nulls = [("normal", 6, rng.normal(size=(trials, 12))), ("lognormal", 6, rng.lognormal(size=(trials, 12)))]
    nulls += [("normal, three times the spread in the smaller arm", 10, wide)]
    nulls += [(f"AR(1), arms in {one}", 6, np.transpose(alike)) for one in ("random order", "blocks")]
    tests = {"splits": "p_permutation", "decides": "p_decides", "Welch": "p_welch", "ranks": "p_rank"}
    rows = []
    for null, n_b, drawn in nulls:
        for runs in drawn:
            order = np.arange(len(runs)) if "blocks" in null else rng.permutation(len(runs))
            values = runs[order] if "AR" in null else runs
            p = sig.p_values(values[:n_b], values[n_b:])
            row = {"null": null, "runs": f"{n_b}+{len(runs) - n_b}"}
            row |= {name: p[column] <= alpha for name, column in tests.items()}
            warned = list(of_order((order[:n_b], order[n_b:]), (values[:n_b], values[n_b:])))
            rows.append(row | {"silently": row["decides"] and not warned})
    return pd.DataFrame(rows).groupby(["null", "runs"], sort=False).mean()


def told_p(p: float, sign: str = "") -> str:
    """Return a p to three decimals, after a sign where it is not too small for them."""
    return "<0.001" if p < 0.0005 else f"{sign}{p:.3f}"
