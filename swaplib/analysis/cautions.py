"""What a statistician would warn of: too few runs, unequal spread, outliers, blocks, ties, one of many."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from swaplib.analysis import significance as sig


def cautions_of_line(
    r: Any, base: str, values: tuple[sig.Floats, sig.Floats], test: str, alpha: float, paired: bool
) -> Iterator[str]:
    """Yield what a statistician would say of one line of a comparison."""
    if min(r.n_base, r.n_arm) < 2:
        yield "one run in an arm: its spread is unknown, so there is nothing to test"
    if r.p_smallest > alpha and test != "welch":
        n = f"{r.n_arm} pairs" if paired else f"{r.n_base}+{r.n_arm} runs"
        yield f"{n} can never be significant: the smallest possible p is {told_p(r.p_smallest)}"
    if r.fragile:
        p = {"permutation": r.p_permutation, "Welch": r.p_welch, "rank test": r.p_rank}
        told = ", ".join(f"{name} {told_p(one)}" for name, one in p.items() if not math.isnan(one))
        yield f"fragile: tests disagree (p: {told}); {test} was named before looking"
    if r.p <= alpha < r.p_holm:
        told = f"p={told_p(r.p)} alone is not significant among all tests of this table"
        yield f"{told} (Holm: {told_p(r.p_holm)})"
    if r.permutation_kind == sig.DRAWN:
        yield f"permutation p from {r.splits:,} random splits (seeded), not from all"
    if r.permutation_kind == sig.NORMAL:
        yield "permutation p by its normal limit: too many runs to try splits"
    arms = dict(zip((base, r.arm), values, strict=True))
    flat = [name for name, own in arms.items() if len(own) > 1 and np.ptp(own) == 0]
    (narrow, _), (wide, wider) = sorted([(r.sd_base, base), (r.sd_arm, r.arm)])
    if flat:
        yield f"all values of {' and of '.join(flat)} are identical: is the clock too coarse?"
    elif min(r.n_base, r.n_arm) > 2 and wide >= 2 * narrow:  # four times the variance
        times = f"{wide / narrow:.2g} times the other's"
        yield f"spread is unequal: the sd of {wider} is {times}; take p with care"
    for name, own in arms.items():  # B. Iglewicz and D. C. Hoaglin 1993: modified z-score
        away = np.abs(own - np.median(own))
        is_told = np.median(away) > 0 and 5 <= len(own) <= 100
        far = [f"{one:.4g}" for one in own[0.6745 * away > 3.5 * np.median(away)]] if is_told else []
        if far:
            yield f"far from the rest of {name}: {', '.join(far[:3])}{' ...' * (len(far) > 3)} (kept)"
    repeated = sum(map(len, values)) - len(np.unique(np.concatenate(values)))
    if repeated and not flat:
        yield f"{repeated} of {sum(map(len, values))} values repeat another: ranks are shared"
    if r.blocks == "order":
        yield "one arm ran wholly before the other: drift counts as effect; interleave the arms"
    if r.blocks == "rows":
        told = "rows come in blocks of one arm: if runs were made so, drift counts as effect"
        yield f"{told}; interleave the arms"


def cautions_of_all(holm: pd.Series, simulated: bool) -> Iterator[str]:
    """Yield what a statistician would say of all lines together."""
    if simulated:
        yield (
            "simulated runs, paired on common random numbers: no p, because more replications make anything "
            "significant; the interval is Monte Carlo error alone, and only the range over uncertain "
            "parameters supports a claim"
        )
    if len(holm) > 1:
        told = ", ".join(map(told_p, holm[:6])) + " ..." * (len(holm) > 6)
        tests = f"{len(holm)} tests: p adjusted for all of them (Holm) is {told}"
        yield f"{tests}; a metric chosen afterwards needs this"


def told_p(p: float, sign: str = "") -> str:
    """Return a p to three decimals, after a sign where it is not too small for them."""
    return "<0.001" if p < 0.0005 else f"{sign}{p:.3f}"
