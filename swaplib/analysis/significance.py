"""Whether two samples differ, by how much, and what so few runs could have shown.

An effect is arm less base, or arm over base; `b` and `a` are their values, and pairs have the same place.
"""

from __future__ import annotations

import itertools
import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float, float]

EXACT_SPLITS = 200_000  # up to here every split is looked at: two arms of 10 runs have 184,756
DRAWS = 9_999  # random splits beyond that
MOST_SPLIT = 200  # more values than these have Student's t, which splits of many values approach
EXACT, DRAWN, STUDENT = "exact", "Monte Carlo", "Student's t"
_POWER = 0.8
UNTESTED: dict[str, Any] = {"permutation_kind": "", "splits": 0}  # p_values where nothing is tested
UNTESTED |= dict.fromkeys(["p_permutation", "p_welch", "p_rank"], math.nan)
UNTESTED |= dict.fromkeys(["p_decides", "p_smallest", "p_error"], math.nan)
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
    difference, error, df = mean_difference(b, a, paired)
    welch = 2 * float(special.stdtr(df, -abs(difference / error))) if error else math.nan
    p, kind, splits = permutation_p(b, a, paired, limit, seed)
    is_mirrored = paired or len(b) == len(a)  # every split has one that is as extreme
    least = {EXACT: (1 + is_mirrored) / max(splits, 1), DRAWN: 1 / (DRAWS + 1), STUDENT: 0.0}[kind]
    told = {"p_permutation": p, "p_welch": welch, "p_rank": rank_p(b, a, paired, limit)}
    told |= {"p_decides": p if is_mirrored else float(np.fmax(p, welch)), "p_smallest": min(1.0, least)}
    told["p_error"] = math.sqrt(p * (1 - p) / splits) if kind == DRAWN else 0.0
    return told | {"permutation_kind": kind, "splits": splits}


def mean_difference(b: Floats, a: Floats, paired: bool = False) -> Interval:
    """Return the difference of means, its standard error and degrees of freedom (B. L. Welch 1947).

    Student's of the differences if paired. The error is NaN for one value an arm, and 0 where nothing varies.
    """
    b, a = b - b[0], a - b[0]  # exact for great values that are close
    difference = float(a.mean() - b.mean())
    if min(len(b), len(a)) < 2:
        return difference, math.nan, math.nan
    variances = [float(part.var(ddof=1)) / len(part) for part in ([a - b] if paired else [b, a])]
    error = math.sqrt(sum(variances))
    if error <= 1e-12 * max(np.abs(b).max(), np.abs(a).max()):
        return difference, 0.0, math.nan
    if paired:
        return difference, error, len(a) - 1
    return difference, error, _welch_df(variances[0], variances[1], len(b), len(a))


def _welch_df(variance_b: float, variance_a: float, n_b: int, n_a: int) -> float:
    parts = variance_b**2 / (n_b - 1) + variance_a**2 / (n_a - 1)
    return (variance_b + variance_a) ** 2 / parts if parts else n_b + n_a - 2.0


def ratio_interval(b: Floats, a: Floats, paired: bool = False, alpha: float = 0.05) -> Interval:
    """Return the ratio of means with Fieller's interval for unequal variances.

    It holds every ratio r at which a Welch test does not tell mean(a) from r x mean(b), with the degrees of
    freedom of that r (E. C. Fieller 1954; Tamhane and Logan 2004). NaN where the base's mean is not positive,
    -inf to inf where it is not told from 0.
    """
    mean_b, mean_a = float(b.mean()), float(a.mean())
    ratio = mean_a / mean_b if mean_b > 0 else math.nan
    if math.isnan(ratio) or min(len(b), len(a)) < 2:
        return ratio, math.nan, math.nan
    variance_b, variance_a = b.var(ddof=1) / len(b), a.var(ddof=1) / len(a)
    shared = np.cov(a, b)[0, 1] / len(a) if paired else 0.0

    def outside(r: float) -> float:
        variance = max(0.0, variance_a - 2 * r * shared + r * r * variance_b)
        df = len(a) - 1 if paired else _welch_df(r * r * variance_b, variance_a, len(b), len(a))
        return float((mean_a - r * mean_b) ** 2 - special.stdtrit(df, 1 - alpha / 2) ** 2 * variance)

    if outside(ratio) > -1e-18 * mean_b**2:  # nothing varies
        return ratio, ratio, ratio
    if mean_b**2 <= special.stdtrit(len(b) - 1, 1 - alpha / 2) ** 2 * variance_b:
        return ratio, -math.inf, math.inf
    ends = []
    for step in (-1e-3, 1e-3):
        while outside(ratio + step) <= 0:
            step *= 2
        ends.append(optimize.brentq(outside, ratio, ratio + step, xtol=1e-14, rtol=1e-13))
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
        difference, error, df = mean_difference(b, a, paired)
        return (2 * float(special.stdtr(df, -abs(difference) / error)) if error else 1.0), STUDENT, 0
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
        signs = 2 * (np.arange(2**n_a)[:, None] >> np.arange(n_a) & 1) - 1
        return signs.astype(np.float64), EXACT
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
        ranked = np.abs(a - b) if paired else pooled
        _, place, count = np.unique(ranked, return_inverse=True, return_counts=True)
        ranks = (np.cumsum(count) - (count - 1) / 2)[place]
        told = np.abs(chosen @ (ranks * np.sign(a - b) if paired else ranks - ranks.mean()))
        if kind == EXACT:
            return float((told >= told[-1] - _TIE).mean())
    if paired:
        return float(stats.wilcoxon(a - b, correction=True).pvalue)
    is_exact = len(b) * len(a) <= 2500 and len(np.unique(pooled)) == len(pooled)
    return float(stats.mannwhitneyu(a, b, method="exact" if is_exact else "asymptotic").pvalue)


def hedges_g(b: Floats, a: Floats, paired: bool = False, alpha: float = 0.05) -> Interval:
    """Return Hedges' g, the difference in (pooled) standard deviations without the bias of few runs.

    The interval is that of the noncentral t (L. V. Hedges 1981; G. Cumming and S. Finch 2001). NaN where
    nothing varies, for two pairs, and for ends beyond a t of 100,000.
    """
    difference, error, _ = mean_difference(b, a, paired)
    df, scale = len(a) + len(b) - 2, math.sqrt(1 / len(a) + 1 / len(b))
    if paired:
        df, scale = len(a) - 1, 1 / math.sqrt(len(a))
    if df < 2 or not error > 0:
        return math.nan, math.nan, math.nan
    squares = (len(b) - 1) * b.var(ddof=1) + (len(a) - 1) * a.var(ddof=1)
    if paired:
        squares = (a - b).var(ddof=1) * df
    t = difference / math.sqrt(squares / df) / scale
    correct = float(scale * special.poch((df - 1) / 2, 0.5) / math.sqrt(df / 2))
    low, high = special.nctdtrinc(df, [1 - alpha / 2, alpha / 2], t) if abs(t) < 1e5 else [math.nan] * 2
    return correct * t, correct * low, correct * high
