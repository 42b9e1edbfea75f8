"""What a statistician would warn of: too few runs, unequal spread, outliers, blocks, ties, one of many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from swaplib.analysis.comparison import Caution, Result

SPREAD = 2.0  # a standard deviation so many times the other's is unequal: the variance is four times as great
OUTLIER = 3.5  # B. Iglewicz and D. C. Hoaglin 1993: modified z-score by the median absolute deviation
FEWEST, MOST = 5, 100  # values of an arm in which an outlier can be told: among more, chance alone makes some


def cautions(results: Sequence[Result], *, test: str, alpha: float, simulated: bool) -> Iterator[Caution]:
    """Yield what to consider before believing the results, line by line, then of the whole table."""
    for one in results:
        notes = _of_values(one) if simulated else _of_tests(one, test, alpha)
        yield from (Caution(code, one.metric, one.arm, text) for code, text in notes)
    if simulated:
        text = (
            "simulated runs, paired on common random numbers: no p, because more replications make anything "
            "significant; the interval is Monte Carlo error alone, and only the range over uncertain parameters "
            "supports a claim"
        )
        yield Caution("simulated", "", "", text)
        return
    tested = [one for one in results if one.p is not None and one.p_holm is not None]
    if len(tested) > 1:
        told = ", ".join(_p(one.p_holm) for one in tested[:6]) + (" ..." if len(tested) > 6 else "")
        text = f"{len(tested)} tests: p adjusted for all of them (Holm) is {told}; a metric chosen afterwards needs this"
        yield Caution("several", "", "", text)


def _of_tests(one: Result, test: str, alpha: float) -> Iterator[tuple[str, str]]:
    if one.p_smallest is None:
        yield "one-run", "one run in an arm: its spread is unknown, so there is nothing to test"
        return
    if one.p_smallest > alpha and test != "welch":
        yield (
            "too-few",
            f"{one.n_base}+{one.n_arm} runs can never be significant: the smallest possible p is {_p(one.p_smallest)}",
        )
    p = {"permutation": one.p_permutation, "Welch": one.p_welch, "rank test": one.p_rank}
    if len({value <= alpha for value in p.values() if value is not None}) > 1:
        told = ", ".join(f"{name} {_p(value)}" for name, value in p.items() if value is not None)
        yield "fragile", f"fragile: tests disagree (p: {told}); {test} was named before looking"
    if one.p is not None and one.p_holm is not None and one.p <= alpha < one.p_holm:
        yield (
            "holm",
            f"p={_p(one.p)} alone is not significant among all tests of this table (Holm: {_p(one.p_holm)})",
        )
    if one.permutation_kind == "Monte Carlo":
        yield "monte-carlo", f"permutation p from {one.splits:,} random splits (seeded), not from all"
    elif one.permutation_kind == "normal":
        yield "normal-limit", "permutation p by its normal limit: too many runs to try splits"
    yield from _of_values(one)
    if one.blocks == "order":
        yield "blocks", "one arm ran wholly before the other: drift counts as effect; interleave the arms"
    elif one.blocks == "rows":
        yield (
            "blocks",
            "rows come in blocks of one arm: if runs were made so, drift counts as effect; interleave the arms",
        )


def _of_values(one: Result) -> Iterator[tuple[str, str]]:
    arms = {one.base: one.values_base, one.arm: one.values_arm}
    flat = [name for name, values in arms.items() if len(values) > 1 and len(set(values)) == 1]
    if flat:
        yield "identical", f"all values of {' and of '.join(flat)} are identical: is the clock too coarse?"
    elif one.sd_base and one.sd_arm and min(one.n_base, one.n_arm) > 2:
        times = max(one.sd_base, one.sd_arm) / min(one.sd_base, one.sd_arm)
        if times >= SPREAD:
            wide = one.base if one.sd_base > one.sd_arm else one.arm
            yield (
                "unequal",
                f"spread is unequal: the sd of {wide} is {times:.2g} times the other's; take p with care",
            )
    for name, values in arms.items():
        far = _outliers(values)
        if far:
            told = ", ".join(f"{value:.4g}" for value in far[:3]) + (" ..." if len(far) > 3 else "")
            yield "outlier", f"far from the rest of {name}: {told} (kept)"
    both = one.values_base + one.values_arm
    if not flat and len(set(both)) < len(both):
        yield "ties", f"{len(both) - len(set(both))} of {len(both)} values repeat another: ranks are shared"


def _outliers(values: Sequence[float]) -> list[float]:
    if not FEWEST <= len(values) <= MOST:
        return []
    numbers = np.asarray(values)
    away = np.abs(numbers - np.median(numbers))
    spread = float(np.median(away))
    return [] if spread == 0 else [float(one) for one in numbers[0.6745 * away > OUTLIER * spread]]


def _p(p: float | None) -> str:
    return "none" if p is None else "<0.001" if p < 0.0005 else f"{p:.3f}"
