"""Whether two samples differ, by how much, and what so few runs could have shown.

An effect is arm minus base, or arm over base; `b` and `a` are their values, and pairs have the same place.
"""

from __future__ import annotations

import bisect
import itertools
import math
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import optimize, special, stats
from statsmodels.stats.multitest import multipletests

Floats = npt.NDArray[np.float64]
Interval = tuple[float, float, float]

EXACT_SPLITS = 200_000  # up to here every split is looked at: two arms of 10 runs have 184,756
DRAWS = 9_999  # random splits beyond that
DRAWN_VALUES = 2_000  # more values than this: the normal limit
EXACT, DRAWN, NORMAL = "exact", "Monte Carlo", "normal"
POWER = 0.8
MOST_RUNS = 1_000_000  # an effect that needs more runs an arm is none that runs can confirm


def measures(
    b: Floats, a: Floats, paired: bool, test: str, alpha: float, limit: int, seed: int
) -> dict[str, Any]:
    """Return the numbers of one line, which `Comparison.df` explains; NaN where one cannot be had.

    `test` is the one that decides; without it there are no p and no power.
    """
    row: dict[str, Any] = {"permutation_kind": "", "splits": 0, "hedges_g": math.nan}
    row |= dict.fromkeys(["p_permutation", "p_welch", "p_rank", "t", "g_low", "g_high"], math.nan)
    row |= dict.fromkeys(["p_smallest", "detectable", "runs_needed"], math.nan)
    for name, values in (("base", b), ("arm", a)):
        row |= {f"n_{name}": len(values), f"mean_{name}": values.mean(), f"median_{name}": np.median(values)}
        row[f"sd_{name}"] = values.std(ddof=1) if len(values) > 1 else math.nan
    row["ratio"], row["ratio_low"], row["ratio_high"] = ratio_interval(b, a, paired, alpha)
    difference, error, row["df"] = mean_difference(b, a, paired)
    reach = special.stdtrit(row["df"], 1 - alpha / 2) * error if error else 0.0
    row |= {"difference": difference, "shift": hodges_lehmann(b, a, paired)}
    row |= {"difference_low": difference - reach, "difference_high": difference + reach}
    if min(len(b), len(a)) < 2:
        return row
    row["hedges_g"], row["g_low"], row["g_high"] = hedges_g(b, a, paired, alpha)
    if not test:
        return row
    row["p_permutation"], row["permutation_kind"], row["splits"] = permutation_p(b, a, paired, limit, seed)
    row["p_rank"] = rank_p(b, a, paired, limit)
    row["p_smallest"] = smallest_p(len(b), len(a), paired, limit)
    row["detectable"] = error * seen(row["df"], alpha) if error else 0.0
    variances = [(a - b).var(ddof=1)] if paired else [b.var(ddof=1), a.var(ddof=1)]
    row["runs_needed"] = runs_needed(difference, variances, alpha, test)
    if error:
        row["t"] = difference / error
        row["p_welch"] = 2 * special.stdtr(row["df"], -abs(row["t"]))
    return row


def judged(table: pd.DataFrame, test: str, alpha: float, simulated: bool) -> pd.DataFrame:
    """Add changes in percent, p after Holm (S. Holm 1979) and verdicts."""
    for end in ("", "_low", "_high"):
        table[f"change{end}_percent"] = 100 * (table[f"ratio{end}"] - 1)
    table["p"], table["p_holm"] = table[f"p_{test}"], math.nan
    tested = table.p.notna()
    if tested.any():
        table.loc[tested, "p_holm"] = multipletests(table.p[tested], method="holm")[1]
    p = table[["p_permutation", "p_welch", "p_rank"]]
    table["fragile"] = (p <= alpha).any(axis=1) & (p > alpha).any(axis=1)
    is_better = (table.difference < 0) == (table.better == "lower")
    table["verdict"] = np.where(table.p_holm > alpha, "~", np.where(is_better, "better", "worse"))
    table.loc[~tested, "verdict"] = "simulated" if simulated else "not tested"
    return table


def mean_difference(b: Floats, a: Floats, paired: bool = False) -> Interval:
    """Return the difference of means, its standard error and degrees of freedom (B. L. Welch 1947).

    Student's of the differences if paired. The error is NaN for one value an arm, and 0 where nothing varies.
    """
    b, a = b - b[0], a - b[0]  # exact for great values that are close
    difference = float(a.mean() - b.mean())
    if min(len(b), len(a)) < 2:
        return difference, math.nan, math.nan
    variances = [float(part.var(ddof=1)) / len(part) for part in ([a - b] if paired else [b, a])]
    if math.sqrt(sum(variances)) <= 1e-12 * max(np.abs(b).max(), np.abs(a).max()):
        return difference, 0.0, math.nan
    if paired:
        return difference, math.sqrt(variances[0]), len(a) - 1
    return difference, *welch(variances[0], variances[1], len(b), len(a))


def welch(variance_b: float, variance_a: float, n_b: int, n_a: int) -> tuple[float, float]:
    """Return the standard error of a difference of means of these variances, and its degrees of freedom."""
    variance = variance_b + variance_a
    if not variance:
        return 0.0, n_b + n_a - 2.0
    return math.sqrt(variance), variance**2 / (variance_b**2 / (n_b - 1) + variance_a**2 / (n_a - 1))


def ratio_interval(b: Floats, a: Floats, paired: bool = False, alpha: float = 0.05) -> Interval:
    """Return the ratio of means with Fieller's interval for unequal variances.

    It holds every ratio r at which a Welch test does not tell mean(a) from r x mean(b), with the degrees of
    freedom of that r (E. C. Fieller 1954; Tamhane and Logan 2004); so it leaves out 1 when that of the
    difference leaves out 0. NaN where the base's mean is not positive, -inf to inf where it is not told from
    0.
    """
    mean_b, mean_a = float(b.mean()), float(a.mean())
    ratio = mean_a / mean_b if mean_b > 0 else math.nan
    if math.isnan(ratio) or min(len(b), len(a)) < 2:
        return ratio, math.nan, math.nan
    variance_b, variance_a = b.var(ddof=1) / len(b), a.var(ddof=1) / len(a)
    shared = np.cov(a, b)[0, 1] / len(a) if paired else 0.0

    def outside(r: float) -> float:
        variance = max(0.0, variance_a - 2 * r * shared + r * r * variance_b)
        df = len(a) - 1 if paired else welch(r * r * variance_b, variance_a, len(b), len(a))[1]
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
    """Return how often chance makes means differ as much, how that was had, and of how many splits.

    In either direction; the observed split counts among random ones, so that p is never 0.
    """
    observed = abs(mean_difference(b, a, paired)[0])
    if ways(len(b), len(a), paired) > limit and len(a) + len(b) * (not paired) > DRAWN_VALUES:
        spread = np.concatenate([b, a]).std(ddof=1) * math.sqrt(1 / len(b) + 1 / len(a))
        if paired:
            spread = math.sqrt(((a - b) ** 2).sum()) / len(a)
        return (2 * float(stats.norm.sf(observed / spread)) if spread else 1.0), NORMAL, 0
    null, kind = chance(b, a, paired, limit, seed)
    slack = 1e-11 * np.ptp(np.concatenate([b, a]))  # sums in another order differ in their last bits
    hits = int((np.abs(null) >= observed - slack).sum())
    return (hits / len(null) if kind == EXACT else (hits + 1) / (DRAWS + 1)), kind, len(null)


def chance(
    b: Floats, a: Floats, paired: bool, limit: int = EXACT_SPLITS, seed: int = 0
) -> tuple[Floats, str]:
    """Return the differences of means that chance alone gives: of all splits, or of random ones.

    Counted here, because scipy's permutation test takes 14 s for 10 + 10 runs.
    """
    n_b, n_a = len(b), len(a)
    kind = EXACT if ways(n_b, n_a, paired) <= limit else DRAWN
    rng = np.random.Generator(np.random.PCG64(seed))
    if paired:
        flips = np.arange(2**n_a)[:, None] >> np.arange(n_a) & 1 if kind == EXACT else None
        if flips is None:
            flips = rng.integers(0, 2, (DRAWS, n_a), dtype=np.int8)
        return (2.0 * flips - 1.0) @ (a - b) / n_a, kind
    pooled = np.concatenate([b, a]) - b[0]
    pooled -= pooled.mean()  # its sum is 0, so that the arm's sum alone gives the difference
    if kind == EXACT:
        splits = pooled[_splits(n_b + n_a, n_a)]
    else:
        splits = rng.permuted(np.tile(pooled, (DRAWS, 1)), axis=1)[:, :n_a]
    return splits.sum(axis=1) * (1 / n_a + 1 / n_b), kind


@lru_cache(maxsize=4)
def _splits(total: int, chosen: int) -> npt.NDArray[np.int_]:
    return np.array(list(itertools.combinations(range(total), chosen)))


def rank_p(b: Floats, a: Floats, paired: bool = False, limit: int = EXACT_SPLITS) -> float:
    """Return the two-sided p of Mann and Whitney; if paired, of Wilcoxon, without pairs that are equal.

    Up to `limit` splits p is exact, ties sharing their mean rank; beyond, scipy's, exact for few without
    ties.
    """
    if paired:
        moved = (a - b)[a != b]
        if ways(len(moved), len(moved), paired) > limit:
            return float(stats.wilcoxon(moved, correction=True).pvalue)
        signed = stats.rankdata(np.abs(moved)) * np.sign(moved)
        return permutation_p(0 * signed, signed, paired, limit)[0] if len(moved) else 1.0
    pooled = np.concatenate([b, a])
    if ways(len(b), len(a)) <= limit:
        ranks = stats.rankdata(pooled)
        return permutation_p(ranks[: len(b)], ranks[len(b) :], limit=limit)[0]
    is_exact = len(b) * len(a) <= 2500 and len(np.unique(pooled)) == len(pooled)
    p = stats.mannwhitneyu(a, b, method="exact" if is_exact else "asymptotic").pvalue
    return float(p) if np.ptp(pooled) else 1.0


def ways(n_b: int, n_a: int, paired: bool = False) -> float:
    """Return the number of splits: of all values into arms of these sizes, or of swaps within pairs."""
    if min(n_b, n_a) > 500:
        return math.inf  # more than anybody counts
    return 2**n_a if paired else math.comb(n_b + n_a, n_a)


def smallest_p(n_b: int, n_a: int, paired: bool = False, limit: int = EXACT_SPLITS) -> float:
    """Return the least p that the permutation test can give without ties: 2/924 with six runs an arm."""
    count = ways(n_b, n_a, paired)
    if count > limit:
        return 0.0 if n_a + n_b * (not paired) > DRAWN_VALUES else 1 / (DRAWS + 1)
    mirrored = paired or n_b == n_a  # every split has one that is as extreme
    return min(1.0, (1 + mirrored) / count)


def hedges_g(b: Floats, a: Floats, paired: bool = False, alpha: float = 0.05) -> Interval:
    """Return Hedges' g, the difference in (pooled) standard deviations without the bias of few runs.

    The interval is that of the noncentral t (L. V. Hedges 1981; G. Cumming and S. Finch 2001). NaN where
    nothing varies, for two pairs, and for ends beyond a t of 100,000.
    """
    df, scale = len(a) + len(b) - 2, math.sqrt(1 / len(a) + 1 / len(b))
    spread = math.sqrt(((len(b) - 1) * b.var(ddof=1) + (len(a) - 1) * a.var(ddof=1)) / df)
    if paired:
        df, scale, spread = len(a) - 1, 1 / math.sqrt(len(a)), float((a - b).std(ddof=1))
    difference, error, _ = mean_difference(b, a, paired)
    if df < 2 or not error:
        return math.nan, math.nan, math.nan
    t = difference / spread / scale
    correct = float(scale * special.poch((df - 1) / 2, 0.5) / math.sqrt(df / 2))
    low, high = special.nctdtrinc(df, [1 - alpha / 2, alpha / 2], t) if abs(t) < 1e5 else [math.nan] * 2
    return correct * t, correct * low, correct * high


def hodges_lehmann(b: Floats, a: Floats, paired: bool = False) -> float:
    """Return the median of all differences, or of the means of any two if paired.

    Of large arms, that of 2,000 quantiles.
    """
    if paired:
        moved = _thinned(a - b)
        first, second = np.triu_indices(len(moved))
        return float(np.median((moved[first] + moved[second]) / 2))
    return float(np.median(np.subtract.outer(_thinned(a), _thinned(b))))


def _thinned(values: Floats) -> Floats:
    shares = np.linspace(0, 1, min(len(values), DRAWN_VALUES))
    return np.quantile(values, shares, method="nearest")


def power(noncentral: Floats, df: float, alpha: float) -> Floats:
    """Return the chance that a two-sided t test sees true differences of so many standard errors."""
    least = special.stdtrit(df, 1 - alpha / 2)
    return 1 - special.nctdtr(df, noncentral, least) + special.nctdtr(df, noncentral, -least)


def seen(df: float, alpha: float) -> float:
    """Return the true difference, in standard errors, that a two-sided t test sees four times in five."""
    return float(special.nctdtrinc(df, 1 - POWER, special.stdtrit(df, 1 - alpha / 2)))


def runs_needed(difference: float, variances: list[float], alpha: float = 0.05, test: str = "welch") -> float:
    """Return the runs an arm that see a difference four times in five; NaN for none and above a million.

    `variances` are those of both arms, or that of the differences of pairs; tests other than Welch's need
    runs enough for a p of at most alpha. An observed difference that was found significant is on average too
    great: plan for more.
    """
    total = sum(variances)
    df_per_run = total**2 / sum(one**2 for one in variances) if total else 1.0

    def enough(runs: int) -> bool:
        is_seen = abs(difference) * math.sqrt(runs) >= math.sqrt(total) * seen(df_per_run * (runs - 1), alpha)
        return is_seen and (test == "welch" or smallest_p(runs, runs, len(variances) == 1) <= alpha)

    found = 2 + bisect.bisect_left(range(2, MOST_RUNS), True, key=enough)
    return float(found) if difference and found < MOST_RUNS else math.nan
