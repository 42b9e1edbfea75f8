"""Whether two samples differ, by how much, what so few runs could have shown, and what to beware of.

An effect is arm less base, or arm over base; `b` and `a` are their values, and pairs have the same place.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float, float]

EXACT_SPLITS = 200_000  # up to here every split is looked at: two arms of 10 runs have 184,756
DRAWS = 9_999  # random splits beyond that
MOST_SPLIT = 200  # more values than these have Student's t, which splits of many values approach
EXACT, DRAWN, STUDENT = "exact", "Monte Carlo", "Student's t"
_POWER = 0.8
_SELDOM = 0.025  # how often, at most, a caution is raised by clean normal runs
_DRIFT = "drift counts as effect; interleave the arms"
_P = ["p_permutation", "p_welch", "p_rank", "p_decides", "p_smallest", "p_error"]
UNTESTED: dict[str, Any] = {"permutation_kind": "", "splits": 0, **dict.fromkeys(_P, math.nan)}
_TIE = 1e-9  # statistics of at most 1 that are so near differ by rounding alone
_TINY = 1e-300


def measures(b: Floats, a: Floats, paired: bool, alpha: float) -> dict[str, Any]:
    """Return the numbers of one line but tests, as `Comparison.df` explains; NaN is what cannot be had."""
    row: dict[str, Any] = {}
    for name, values in (("base", b), ("arm", a)):
        row |= {f"n_{name}": len(values), f"mean_{name}": values.mean()}
        row[f"sd_{name}"] = (values - values[0]).std(ddof=1) if len(values) > 1 else math.nan
    difference, error, df = mean_difference(b, a, paired)
    least = special.stdtrit(df, 1 - alpha / 2)
    reach = least * error if error else 0.0
    row |= {"difference": difference, "df": df, "t": difference / error if error else math.nan}
    row |= {"difference_low": difference - reach, "difference_high": difference + reach}
    row["detectable"] = float(special.nctdtrinc(df, 1 - _POWER, least)) * error if error else 0.0
    row["ratio"], row["ratio_low"], row["ratio_high"] = ratio_interval(b, a, paired, alpha)
    row["hedges_g"], row["g_low"], row["g_high"] = hedges_g(b, a, paired, alpha)
    return row


def p_values(
    b: Floats, a: Floats, paired: bool = False, limit: int = EXACT_SPLITS, seed: int = 0
) -> dict[str, Any]:
    """Return p of each test, as `Comparison.df` explains; p_decides is that of permutation where it decides.

    If arms differ in size, it is the greater of splits' and Welch's: with few runs splits alone find too much
    where the smaller arm spreads more, in a tenth of nulls (`swaplib.error_rates`).
    """
    p, kind, splits = permutation_p(b, a, paired, limit, seed)
    is_mirrored = paired or len(b) == len(a)  # every split has one that is as extreme
    least = {EXACT: (1 + is_mirrored) / max(splits, 1), DRAWN: 1 / (DRAWS + 1), STUDENT: 0.0}[kind]
    told = {"p_permutation": p, "p_welch": welch_p(b, a, paired), "p_rank": rank_p(b, a, paired, limit)}
    told["p_decides"] = p if is_mirrored else float(np.fmax(p, told["p_welch"]))
    told["p_error"] = math.sqrt(p * (1 - p) / splits) if kind == DRAWN else 0.0
    return told | {"p_smallest": min(1.0, least), "permutation_kind": kind, "splits": splits}


def mean_difference(b: Floats, a: Floats, paired: bool = False) -> Interval:
    """Return the difference of means, its standard error and degrees of freedom (B. L. Welch 1947).

    Student's of the differences if paired. The error is NaN for one value an arm, and 0 where nothing varies.
    """
    b, a = b - b[0], a - b[0]  # exact for great values that are close
    difference = float(a.mean() - b.mean())
    if min(len(b), len(a)) < 2:
        return difference, math.nan, math.nan
    parts = [a - b] if paired else [b, a]
    variances = [float(part.var(ddof=1)) / len(part) for part in parts]
    error = math.sqrt(sum(variances))
    if error <= 1e-12 * max(np.abs(b).max(), np.abs(a).max()):
        return difference, 0.0, math.nan
    shares = [variance / sum(variances) for variance in variances]
    return difference, error, 1 / sum(s**2 / (len(part) - 1) for s, part in zip(shares, parts, strict=True))


def welch_p(b: Floats, a: Floats, paired: bool = False) -> float:
    """Return the two-sided p of Welch's t, or Student's of pairs; NaN where nothing varies."""
    difference, error, df = mean_difference(b, a, paired)
    return 2 * float(special.stdtr(df, -abs(difference / error))) if error else math.nan


def ratio_interval(b: Floats, a: Floats, paired: bool = False, alpha: float = 0.05) -> Interval:
    """Return the ratio of means with Fieller's interval for unequal variances.

    It holds every ratio r at which a Welch test does not tell mean(a) from r x mean(b), with the degrees of
    freedom of that r (E. C. Fieller 1954; Tamhane and Logan 2004). NaN where the base's mean is not positive,
    -inf to inf where it is not told from 0.
    """
    ratio = float(a.mean() / b.mean()) if b.mean() > 0 else math.nan
    if math.isnan(ratio) or min(len(b), len(a)) < 2:
        return ratio, math.nan, math.nan

    def outside(step: float) -> float:
        difference, error, df = mean_difference((ratio + step) * b, a, paired)
        return difference**2 - (special.stdtrit(df, 1 - alpha / 2) * error if error else 0.0) ** 2

    _, error, df = mean_difference(ratio * b, a, paired)
    if not error:  # nothing varies
        return ratio, ratio, ratio
    least = special.stdtrit(len(b) - 1, 1 - alpha / 2)
    if b.mean() ** 2 <= least**2 * (b - b[0]).var(ddof=1) / len(b):
        return ratio, -math.inf, math.inf
    ends = []
    for sign in (-1, 1):
        step = sign * special.stdtrit(df, 1 - alpha / 2) * error / b.mean()
        while outside(step) <= 0:
            step *= 2
        ends.append(ratio + optimize.brentq(outside, 0.0, step, xtol=1e-18, rtol=1e-9))
    return ratio, ends[0], ends[1]


def permutation_p(
    b: Floats, a: Floats, paired: bool = False, limit: int = EXACT_SPLITS, seed: int = 0
) -> tuple[float, str, int]:
    """Return how often chance makes Welch's t as great, how that was had, and of how many splits.

    Dividing by the error of each split keeps the level of many runs where spreads differ (A. Janssen
    1997); of arms of one size, and of pairs, it gives what the difference of means gives. Random splits
    are counted with the observed one, so that p is never 0.
    """
    if len(a) + len(b) * (not paired) > MOST_SPLIT:
        return float(np.nan_to_num(welch_p(b, a, paired), nan=1.0)), STUDENT, 0
    chosen, kind = splits_of(len(b), len(a), paired, limit, seed)
    values = a - b if paired else np.concatenate([b, a]) - b[0]
    values -= 0 if paired else values.mean()  # so that the arm's sum alone gives the difference
    values /= max(float(np.abs(values).sum()), _TINY)
    sums = chosen @ values
    told = np.abs(sums)
    if not paired:
        squares, n_b, n_a = chosen @ values**2, len(b), len(a)
        t2 = sums**2 * (1 / n_a + 1 / n_b) ** 2
        variances = np.maximum(squares - sums**2 / n_a, 0) / (n_a * (n_a - 1))
        variances += np.maximum((values**2).sum() - squares - sums**2 / n_b, 0) / (n_b * (n_b - 1))
        told = t2 / np.maximum(t2 + variances, _TINY)  # orders splits as t2 / variances, and is at most 1
    return float((told >= told[-1] - _TIE).mean()), kind, len(told) - (kind == DRAWN)


@lru_cache(maxsize=8)
def splits_of(n_b: int, n_a: int, paired: bool, limit: int, seed: int = 0) -> tuple[Floats, str]:
    """Return a row for each split, the observed last, and whether they are all or random ones.

    1 where a value is in the arm, else 0; if paired the sign of each difference. Counted here, because
    scipy's permutation test takes 14 s for 10 + 10 runs.
    """
    observed = np.ones(n_a) if paired else np.repeat([0.0, 1.0], [n_b, n_a])
    if (2**n_a if paired else math.comb(n_b + n_a, n_a)) > limit:
        rng = np.random.Generator(np.random.PCG64(seed))
        drawn = np.tile(observed, (DRAWS, 1))
        drawn = rng.choice(np.array([-1.0, 1.0]), drawn.shape) if paired else rng.permuted(drawn, axis=1)
        return np.vstack([drawn, observed]), DRAWN
    if paired:
        return np.array(list(itertools.product([-1.0, 1.0], repeat=n_a))), EXACT
    places = np.array(list(itertools.combinations(range(n_b + n_a), n_a)))
    chosen = np.zeros((len(places), n_b + n_a))
    np.put_along_axis(chosen, places, 1.0, axis=1)
    return chosen, EXACT


def rank_p(b: Floats, a: Floats, paired: bool = False, limit: int = EXACT_SPLITS) -> float:
    """Return the two-sided p of Mann and Whitney; if paired, of Wilcoxon, without pairs that are equal.

    Up to `limit` splits p is exact, ties sharing their mean rank; beyond, scipy's.
    """
    b, a = (b[a != b], a[a != b]) if paired else (b, a)
    pooled = np.concatenate([b, a])
    if not len(a) or np.ptp(pooled) == 0:
        return 1.0
    if len(pooled) <= MOST_SPLIT:
        chosen, kind = splits_of(len(b), len(a), paired, limit)
        ranks = stats.rankdata(np.abs(a - b)) * np.sign(a - b) if paired else stats.rankdata(pooled)
        told = np.abs(chosen @ (ranks if paired else ranks - ranks.mean()))
        if kind == EXACT:
            return float((told >= told[-1] - _TIE).mean())
    if paired:
        return float(stats.wilcoxon(a - b, correction=True).pvalue)
    exactly = len(b) * len(a) <= 2500 and len(np.unique(pooled)) == len(pooled)
    return float(stats.mannwhitneyu(a, b, method="exact" if exactly else "asymptotic").pvalue)


def hedges_g(b: Floats, a: Floats, paired: bool = False, alpha: float = 0.05) -> Interval:
    """Return Hedges' g, the difference in (pooled) standard deviations without the bias of few runs.

    The interval is that of the noncentral t (L. V. Hedges 1981; G. Cumming and S. Finch 2001). NaN where
    nothing varies, for two pairs, and for ends beyond a t of 100,000.
    """
    difference, error, _ = mean_difference(b, a, paired)
    parts = [a - b] if paired else [b, a]
    df = sum(map(len, parts)) - len(parts)
    if df < 2 or not error > 0:
        return math.nan, math.nan, math.nan
    squares = sum(float(part.var()) * len(part) for part in parts)
    scale = math.sqrt(sum(1 / len(part) for part in parts))
    t = difference / math.sqrt(squares / df) / scale
    correct = float(scale * special.poch((df - 1) / 2, 0.5) / math.sqrt(df / 2))
    low, high = special.nctdtrinc(df, [1 - alpha / 2, alpha / 2], t) if abs(t) < 1e5 else [math.nan] * 2
    return correct * t, correct * low, correct * high


def of_line(r: Any, base: str, arms: tuple[Any, Any], alpha: float, paired: bool) -> Iterator[str]:
    """Yield what to consider before believing one line of a comparison."""
    if min(r.n_base, r.n_arm) < 2:
        alone = base if r.n_base < 2 else r.arm
        yield f"one run of {alone}: its spread is unknown, so there is nothing to test"
    if r.verdict == "too few runs":
        runs = f"{r.n_arm} pairs" if paired else f"{r.n_base}+{r.n_arm} runs"
        among = "" if r.p_smallest > alpha else " among so many tests"
        yield f"{runs} can never be significant{among}: the smallest possible p is {told_p(r.p_smallest)}"
    if r.tests_disagree:
        three = f"permutation {told_p(r.p_permutation)}, Welch {told_p(r.p_welch)}, ranks {told_p(r.p_rank)}"
        yield f"tests disagree after adjusting (unadjusted p: {three}); not settled"
    if r.permutation_kind == DRAWN:
        yield f"the permutation p is from {r.splits:,} random splits: {r.p_permutation:.3f} ± {r.p_error:.1g}"
    if r.permutation_kind == STUDENT:
        yield "the permutation p is Student's t's: too many runs to try splits"
    if math.isinf(r.ratio_low):
        yield f"the mean of {base} is not told from 0: a change in percent would have no bounds"
    named = [(name, own) for name, own in zip((base, r.arm), arms, strict=True) if len(own) > 1]
    flat = [f"of {name} are {own[0]:.6g}" for name, own in named if not np.ptp(own)]
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
    elif min(special.ndtr((turns + 0.5 - both / n) / spread), rank_p(*times)) <= _SELDOM:
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
            p = p_values(values[:n_b], values[n_b:])
            row = {"null": null, "runs": f"{n_b}+{len(runs) - n_b}"}
            row |= {name: p[column] <= alpha for name, column in tests.items()}
            warned = list(of_order((order[:n_b], order[n_b:]), (values[:n_b], values[n_b:])))
            rows.append(row | {"silently": row["decides"] and not warned})
    return pd.DataFrame(rows).groupby(["null", "runs"], sort=False).mean()


def told_p(p: float, sign: str = "") -> str:
    """Return a p to three decimals, after a sign where it is not too small for them."""
    return "<0.001" if p < 0.0005 else f"{sign}{p:.3f}"
