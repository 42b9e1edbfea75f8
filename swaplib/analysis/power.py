"""How great an effect is, and how great it must be to be seen: effect sizes, power, runs needed."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import optimize, special, stats

from swaplib.analysis.significance import Floats, arrays, welch_df

POWER, ALPHA = 0.8, 0.05
MOST_RUNS = 1_000_000  # an effect that needs more runs an arm is none that runs can confirm
_MANY = 500  # degrees of freedom from which the normal distribution stands for the noncentral t
_PAIRWISE = 2_000  # values of an arm whose differences to the other's are all formed


def hedges_g(
    base: npt.ArrayLike, arm: npt.ArrayLike, *, paired: bool = False, confidence: float = 0.95
) -> tuple[float, float, float]:
    """Return Hedges' g, the difference in standard deviations without the bias of few runs, and its interval.

    By the pooled standard deviation, or that of the differences if paired; corrected by the exact gamma factor; the
    interval inverts the noncentral t (L. V. Hedges 1981; G. Cumming and S. Finch 2001), above 500 degrees of freedom
    the normal one.

    Returns
    -------
    tuple of float
        g, low, high; NaN where nothing varies, or an arm has one value.
    """
    b, a = arrays(base, arm, paired)
    if min(len(a), len(b)) < 2:
        return math.nan, math.nan, math.nan
    if paired:
        df, per_t, spread = len(a) - 1, 1 / math.sqrt(len(a)), float((a - b).std(ddof=1))
    else:
        df, per_t = len(a) + len(b) - 2, math.sqrt(1 / len(a) + 1 / len(b))
        spread = math.sqrt(((len(a) - 1) * float(a.var(ddof=1)) + (len(b) - 1) * float(b.var(ddof=1))) / df)
    difference = float(a.mean() - b.mean())
    if spread <= 1e-12 * max(float(np.abs(a).max()), float(np.abs(b).max())):
        return math.nan, math.nan, math.nan
    d = difference / spread
    correct = (
        math.exp(special.gammaln(df / 2) - special.gammaln((df - 1) / 2)) / math.sqrt(df / 2)
        if df > 1
        else 0.0
    )
    tail = (1 - confidence) / 2
    t = d / per_t
    if df > _MANY or abs(t) > 30:
        reach = float(stats.norm.isf(tail)) * math.sqrt(per_t**2 + d * d / (2 * df))
        low, high = d - reach, d + reach
    else:
        low, high = (per_t * _noncentrality(t, df, share) for share in (1 - tail, tail))
    return correct * d, correct * low, correct * high


def hodges_lehmann(base: npt.ArrayLike, arm: npt.ArrayLike, *, paired: bool = False) -> float:
    """Return the median of all differences, arm minus base; of the mean of any two differences if paired.

    Arms of more than 2,000 values stand by 2,000 of their quantiles.
    """
    b, a = arrays(base, arm, paired)
    if paired:
        d = _thinned(a - b)
        i, j = np.triu_indices(len(d))
        return float(np.median((d[i] + d[j]) / 2))
    return float(np.median(np.subtract.outer(_thinned(a), _thinned(b))))


def power(
    difference: float, sd_base: float, sd_arm: float, n_base: int, n_arm: int, *, alpha: float = ALPHA
) -> float:
    """Return the chance that a two-sided Welch test at `alpha` sees a true difference, for normal values.

    Parameters
    ----------
    difference, sd_base, sd_arm
        In the metric's unit.
    n_base, n_arm
        Runs; at least two each.
    """
    var_b, var_a = sd_base**2 / n_base, sd_arm**2 / n_arm
    if var_a + var_b == 0:
        return 1.0 if difference else alpha
    return _power(abs(difference) / math.sqrt(var_a + var_b), welch_df(var_a, n_arm, var_b, n_base), alpha)


def detectable_difference(
    sd_base: float, sd_arm: float, n_base: int, n_arm: int, *, alpha: float = ALPHA
) -> float:
    """Return the least true difference that these runs see four times in five; NaN with fewer than two an arm."""
    if min(n_base, n_arm) < 2:
        return math.nan
    var_b, var_a = sd_base**2 / n_base, sd_arm**2 / n_arm
    if var_a + var_b == 0:
        return 0.0
    df = welch_df(var_a, n_arm, var_b, n_base)
    return math.sqrt(var_a + var_b) * _needed(df, alpha)


def runs_needed(difference: float, sd_base: float, sd_arm: float, *, alpha: float = ALPHA) -> float:
    """Return the runs an arm that see this difference four times in five; NaN above a million, or for none.

    An observed difference that was found significant is on average greater than the true one, so plan for more.
    """
    if not (difference and math.isfinite(sd_base + sd_arm)):
        return math.nan
    if power(difference, sd_base, sd_arm, MOST_RUNS, MOST_RUNS, alpha=alpha) < POWER:
        return math.nan
    low, high = 1, MOST_RUNS  # one run shows nothing; a million are enough
    while high - low > 1:
        middle = (low + high) // 2
        if power(difference, sd_base, sd_arm, middle, middle, alpha=alpha) >= POWER:
            high = middle
        else:
            low = middle
    return float(high)


def paired_detectable(sd_differences: float, n: int, *, alpha: float = ALPHA) -> float:
    """Return `detectable_difference` of `n` pairs whose differences vary by a standard deviation."""
    return math.nan if n < 2 else sd_differences / math.sqrt(n) * _needed(n - 1, alpha)


def paired_runs_needed(difference: float, sd_differences: float, *, alpha: float = ALPHA) -> float:
    """Return `runs_needed` in pairs."""
    if not (difference and math.isfinite(sd_differences)):
        return math.nan
    if sd_differences == 0:
        return 2.0
    low, high = 1, MOST_RUNS
    while high - low > 1:
        middle = (low + high) // 2
        enough = _power(abs(difference) / sd_differences * math.sqrt(middle), middle - 1, alpha) >= POWER
        low, high = (low, middle) if enough else (middle, high)
    return float(high) if high < MOST_RUNS else math.nan


def _power(noncentrality: float, df: float, alpha: float) -> float:
    least = float(stats.t.isf(alpha / 2, df))
    limits = float(stats.norm.sf(least - noncentrality)), float(stats.norm.cdf(-least - noncentrality))
    if df > _MANY:
        return sum(limits)
    parts = float(stats.nct.sf(least, df, noncentrality)), float(stats.nct.cdf(-least, df, noncentrality))
    # scipy gives NaN far out, where the normal distribution says the same: 1 and 0
    return sum(limit if math.isnan(part) else part for part, limit in zip(parts, limits, strict=True))


def _needed(df: float, alpha: float) -> float:
    """Return the noncentrality that gives the power."""
    most = 4.0
    while _power(most, df, alpha) < POWER:
        most *= 2
    return float(optimize.brentq(lambda x: _power(x, df, alpha) - POWER, 0.0, most))


def _noncentrality(t: float, df: float, share: float) -> float:
    """Return the noncentrality under which `share` of values are below t."""

    def below(x: float) -> float:
        chance = float(stats.nct.cdf(t, df, x))
        return (
            float(x < t) if math.isnan(chance) else chance
        ) - share  # scipy gives NaN far out, where it is 0 or 1

    low, high = t - 1.0, t + 1.0
    while below(low) < 0:
        low -= 2 * (t - low)
    while below(high) > 0:
        high += 2 * (high - t)
    return float(optimize.brentq(below, low, high))


def _thinned(values: Floats) -> Floats:
    if len(values) <= _PAIRWISE:
        return values
    ordered = np.sort(values)
    return ordered[np.linspace(0, len(ordered) - 1, _PAIRWISE).round().astype(int)]
