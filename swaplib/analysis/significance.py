"""Whether two small samples differ: exact permutation, Welch and rank tests, and intervals of difference and ratio.

Everywhere an effect is arm minus base, or arm over base; ``alternative="greater"`` asks whether the arm is greater.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

Floats = npt.NDArray[np.float64]

EXACT_SPLITS = 200_000  # up to here every split is looked at: two arms of 10 runs have 184,756
DRAWS = 9_999  # random splits beyond that
DRAWN_VALUES = 2_000  # more values than this: the normal limit of the permutation distribution
EXACT, DRAWN, NORMAL = "exact", "Monte Carlo", "normal"

_ALTERNATIVES = ("two-sided", "less", "greater")


class PValue(NamedTuple):
    """A test's p, how it was computed (`EXACT`, `DRAWN` or `NORMAL`), over how many splits, and its statistic."""

    p: float
    kind: str
    splits: int
    statistic: float


class Welch(NamedTuple):
    """Difference of means, its interval, and Student's t with its degrees of freedom and two-sided p."""

    difference: float
    low: float
    high: float
    t: float
    df: float
    p: float


def welch(
    base: npt.ArrayLike, arm: npt.ArrayLike, *, paired: bool = False, confidence: float = 0.95
) -> Welch:
    """Return the difference of means with Welch's interval (B. L. Welch 1947); Student's of the differences if paired.

    Parameters
    ----------
    base, arm
        Values; finite. Paired ones correspond by position.
    paired
        Whether they are pairs.
    confidence
        Of the interval.

    Returns
    -------
    Welch
        NaN for what one value an arm cannot give; where no value varies the interval is the difference, and t, df and
        p are NaN.
    """
    b, a = arrays(base, arm, paired)
    difference = float(a.mean() - b.mean())
    if min(len(a), len(b)) < 2:
        return Welch(difference, *[math.nan] * 5)
    var_b, var_a = _variance_of_mean(b), _variance_of_mean(a)
    variance = _variance_of_mean(a - b) if paired else var_a + var_b
    if variance <= (1e-12 * _scale(a, b)) ** 2:
        return Welch(difference, difference, difference, *[math.nan] * 3)
    df = len(a) - 1 if paired else welch_df(var_a, len(a), var_b, len(b))
    error = math.sqrt(variance)
    reach = float(special.stdtrit(df, (1 + confidence) / 2)) * error
    t = difference / error
    return Welch(
        difference, difference - reach, difference + reach, t, df, 2 * float(special.stdtr(df, -abs(t)))
    )


def ratio_interval(
    base: npt.ArrayLike, arm: npt.ArrayLike, *, paired: bool = False, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return the ratio of means, arm over base, with Fieller's interval for unequal variances.

    The interval holds every ratio r at which a Welch test (a Student test of pairs) does not tell mean(arm) from
    r x mean(base), with the degrees of freedom of that r (E. C. Fieller 1954; Tamhane and Logan 2004). Fieller and not
    the Welch interval of logarithms, because that is one of geometric means: another number than the change of means
    that people print, and it needs positive values. And Fieller's leaves out 1 exactly when the interval of
    the difference leaves out 0.

    Returns
    -------
    tuple of float
        ratio, low, high. All NaN where the base's mean is not positive; low and high are -inf and inf where the base's
        mean is not told from 0, and NaN for one value an arm.
    """
    b, a = arrays(base, arm, paired)
    mean_b, mean_a = float(b.mean()), float(a.mean())
    if mean_b <= 0:
        return math.nan, math.nan, math.nan
    ratio = mean_a / mean_b
    if min(len(a), len(b)) < 2:
        return ratio, math.nan, math.nan
    var_b, var_a = _variance_of_mean(b), _variance_of_mean(a)
    cov = float(np.cov(a, b, ddof=1)[0, 1]) / len(a) if paired else 0.0
    tail = (1 + confidence) / 2

    def excess(r: float) -> float:
        """Return by how much r is outside: the squared distance less what chance explains."""
        variance = max(0.0, var_a - 2 * r * cov + r * r * var_b)
        df = len(a) - 1 if paired else welch_df(var_a, len(a), r * r * var_b, len(b))
        return (mean_a - r * mean_b) ** 2 - float(special.stdtrit(df, tail)) ** 2 * variance

    if excess(ratio) > -1e-18 * mean_b**2:  # nothing varies
        return ratio, ratio, ratio
    if mean_b**2 <= float(special.stdtrit(len(b) - 1, tail)) ** 2 * var_b:
        return ratio, -math.inf, math.inf
    return ratio, _crossing(excess, ratio, -1), _crossing(excess, ratio, +1)


def permutation_test(
    base: npt.ArrayLike,
    arm: npt.ArrayLike,
    *,
    paired: bool = False,
    alternative: str = "two-sided",
    limit: int = EXACT_SPLITS,
    seed: int = 0,
) -> PValue:
    """Return how often chance alone makes a difference of means as great as the observed one.

    Every way to split the values into two arms of these sizes (every way to swap arms within pairs, if paired) up to
    `limit` ways; then `DRAWS` random ones, the observed one counted among them, so that p is never 0; above
    `DRAWN_VALUES` values the normal limit of the same distribution. Two-sided: as far from 0 in either direction.

    Returns
    -------
    PValue
        statistic: the difference of means. p is NaN for one value in both arms.
    """
    b, a = arrays(base, arm, paired)
    _check_alternative(alternative)
    observed = float(a.mean() - b.mean())
    total = len(a) + (0 if paired else len(b))
    if len(a) + len(b) <= 2:
        return PValue(math.nan, EXACT, 0, observed)
    if ways(len(b), len(a), paired=paired) > limit and total > DRAWN_VALUES:
        spread = _permutation_sd(b, a, paired)
        z = observed / spread if spread > 0 else 0.0
        return PValue(_normal_p(z, alternative), NORMAL, 0, observed)
    null, kind = permutation_distribution(b, a, paired=paired, limit=limit, seed=seed)
    hits = _as_extreme(null, observed, alternative, _scale(a, b))
    p = hits / len(null) if kind == EXACT else (hits + 1) / (len(null) + 1)
    return PValue(p, kind, len(null), observed)


def permutation_distribution(
    base: npt.ArrayLike, arm: npt.ArrayLike, *, paired: bool = False, limit: int = EXACT_SPLITS, seed: int = 0
) -> tuple[Floats, str]:
    """Return the differences of means that chance alone gives: of all splits (`EXACT`), or of random ones (`DRAWN`)."""
    b, a = arrays(base, arm, paired)
    exact = ways(len(b), len(a), paired=paired) <= limit
    rng = np.random.Generator(np.random.PCG64(seed))
    if paired:
        d = a - b
        signs = (
            _all_signs(len(d)) if exact else rng.integers(0, 2, (DRAWS, len(d)), dtype=np.int8) * 2.0 - 1.0
        )
        return signs @ d / len(d), EXACT if exact else DRAWN
    pooled = np.concatenate([b, a])
    pooled = pooled - pooled.mean()  # its sum is 0, so the arm's sum alone gives the difference
    if exact:
        sums = _all_splits(len(pooled), len(a)) @ pooled
    else:
        rows = max(1, 1_000_000 // len(pooled))
        sums = np.concatenate(
            [
                rng.permuted(np.tile(pooled, (min(rows, DRAWS - first), 1)), axis=1)[:, : len(a)].sum(axis=1)
                for first in range(0, DRAWS, rows)
            ]
        )
    return sums * (1 / len(a) + 1 / len(b)), EXACT if exact else DRAWN


def rank_test(
    base: npt.ArrayLike,
    arm: npt.ArrayLike,
    *,
    paired: bool = False,
    alternative: str = "two-sided",
    limit: int = EXACT_SPLITS,
) -> PValue:
    """Return the Mann-Whitney test; the signed-rank test of Wilcoxon if paired (pairs without difference left out).

    Tied values share their mean rank, and the exact p is that of all splits of these ranks, so it stays exact with
    ties, where usual tables are not. Beyond `limit` splits: scipy's exact p without ties up to 50 x 50 runs, else the
    normal limit, corrected for ties and continuity.

    Returns
    -------
    PValue
        statistic: U of the arm, or the sum of the ranks of positive differences (R's W and V).
    """
    b, a = arrays(base, arm, paired)
    _check_alternative(alternative)
    if len(a) + len(b) <= 2:
        return PValue(math.nan, EXACT, 0, math.nan)
    if paired:
        d = a - b
        d = d[d != 0]
        if not len(d):
            return PValue(1.0, EXACT, 1, 0.0)
        signed = stats.rankdata(np.abs(d)) * np.sign(d)
        v = float(signed[signed > 0].sum())
        if 2 ** len(d) <= limit:
            null = _all_signs(len(d)) @ np.abs(signed)
            return PValue(
                _as_extreme(null, signed.sum(), alternative, len(d)) / len(null), EXACT, len(null), v
            )
        p = stats.wilcoxon(d, alternative=alternative, method="asymptotic", correction=True).pvalue
        return PValue(float(p), NORMAL, 0, v)
    ranks = stats.rankdata(np.concatenate([b, a]))
    u = float(ranks[len(b) :].sum()) - len(a) * (len(a) + 1) / 2
    if ways(len(b), len(a)) <= limit:
        test = permutation_test(ranks[: len(b)], ranks[len(b) :], alternative=alternative, limit=limit)
        return test._replace(statistic=u)
    if not _varies(ranks):
        return PValue(1.0, NORMAL, 0, u)
    whole = (
        len(a) * len(b) <= 2500
        and np.array_equal(ranks, np.rint(ranks))
        and len(np.unique(ranks)) == len(ranks)
    )
    p = stats.mannwhitneyu(a, b, alternative=alternative, method="exact" if whole else "asymptotic").pvalue
    return PValue(float(p), EXACT if whole else NORMAL, 0, u)


def ways(n_base: int, n_arm: int, *, paired: bool = False) -> float:
    """Return the number of splits: of all values into arms of these sizes, or of swaps within pairs.

    Infinite where each arm has more than 500 values: more than anybody counts.
    """
    if min(n_base, n_arm) > 500:
        return math.inf
    return 2**n_arm if paired else math.comb(n_base + n_arm, n_arm)


def smallest_p(n_base: int, n_arm: int, *, paired: bool = False, limit: int = EXACT_SPLITS) -> float:
    """Return the least two-sided p that the permutation test can give when no values tie.

    In pairs and in arms of one size every split has a mirror image that is as extreme: 2/924 with six runs an arm.
    """
    count = ways(n_base, n_arm, paired=paired)
    if count > limit:
        return 0.0 if n_arm + (0 if paired else n_base) > DRAWN_VALUES else 1 / (DRAWS + 1)
    return min(1.0, (2 if paired or n_base == n_arm else 1) / count)


def holm(p: Sequence[float]) -> list[float]:
    """Return p adjusted for all of them being tested (S. Holm 1979); NaN is not tested and stays NaN."""
    values = np.asarray(p, dtype=float)
    order = [int(at) for at in np.argsort(values, kind="stable") if not math.isnan(values[at])]
    adjusted = np.full(len(values), math.nan)
    steps = values[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(steps))
    return [float(one) for one in adjusted]


def arrays(base: npt.ArrayLike, arm: npt.ArrayLike, paired: bool = False) -> tuple[Floats, Floats]:
    """Return both arms as finite numbers, or say what is wrong with them."""
    b, a = np.asarray(base, dtype=float), np.asarray(arm, dtype=float)
    for name, values in (("base", b), ("arm", a)):
        if values.ndim != 1 or not len(values):
            raise ValueError(f"{name} has shape {values.shape}; expected a list of at least one value")
        if not np.isfinite(values).all():
            at = int(np.flatnonzero(~np.isfinite(values))[0])
            raise ValueError(f"{name}[{at}] is {values[at]}; expected finite numbers")
    if paired and len(a) != len(b):
        raise ValueError(
            f"{len(b)} and {len(a)} values are no pairs; expected as many of the arm as of the base"
        )
    return b, a


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1)) / len(values)


def _check_alternative(alternative: str) -> None:
    if alternative not in _ALTERNATIVES:
        raise ValueError(f"alternative is {alternative!r}; expected one of {', '.join(_ALTERNATIVES)}")


def _scale(*arrays: Floats) -> float:
    return max(float(np.abs(values).max()) for values in arrays)


def _varies(values: Floats) -> bool:
    return float(np.ptp(values)) > 1e-12 * _scale(values)


def _as_extreme(null: Floats, observed: float, alternative: str, scale: float) -> int:
    """Count splits as extreme as the observed one; sums in another order differ in their last bits, ties do not."""
    slack = 1e-11 * scale
    if alternative == "two-sided":
        return int(np.count_nonzero(np.abs(null) >= abs(observed) - slack))
    sign = 1 if alternative == "greater" else -1
    return int(np.count_nonzero(sign * null >= sign * observed - slack))


def _permutation_sd(b: Floats, a: Floats, paired: bool) -> float:
    if paired:
        return math.sqrt(float(((a - b) ** 2).sum())) / len(a)
    return math.sqrt(float(np.concatenate([b, a]).var(ddof=1)) * (1 / len(a) + 1 / len(b)))


def _normal_p(z: float, alternative: str) -> float:
    if alternative == "two-sided":
        return float(2 * stats.norm.sf(abs(z)))
    return float(stats.norm.sf(z if alternative == "greater" else -z))


def welch_df(var_a: float, n_a: int, var_b: float, n_b: int) -> float:
    """Return Satterthwaite's degrees of freedom of a sum of two means' variances."""
    if var_a + var_b == 0:
        return float(n_a + n_b - 2)
    share = var_a / (var_a + var_b)
    return 1 / (share**2 / (n_a - 1) + (1 - share) ** 2 / (n_b - 1))


def _crossing(excess: Callable[[float], float], start: float, direction: int) -> float:
    """Return where `excess` turns positive, going from `start` in a direction."""
    step = max(abs(start), 1e-9) * 1e-3
    inner = start
    for _ in range(200):
        outer = start + direction * step
        if excess(outer) > 0:
            return float(optimize.brentq(excess, inner, outer, xtol=1e-14, rtol=1e-13))
        inner, step = outer, 2 * step
    return direction * math.inf


@lru_cache(maxsize=4)
def _all_splits(total: int, chosen: int) -> Floats:
    """Return one row a split: 1 where a value is in the arm."""
    count = math.comb(total, chosen)
    members = np.fromiter(
        itertools.chain.from_iterable(itertools.combinations(range(total), chosen)), np.intp, count * chosen
    ).reshape(count, chosen)
    matrix = np.zeros((count, total))
    np.put_along_axis(matrix, members, 1.0, axis=1)
    return matrix


@lru_cache(maxsize=4)
def _all_signs(pairs: int) -> Floats:
    """Return one row a way to swap: -1 where a pair is swapped."""
    return np.asarray(1.0 - 2.0 * ((np.arange(2**pairs)[:, None] >> np.arange(pairs)) & 1), dtype=float)
