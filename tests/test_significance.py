"""Small samples are tested as in published worked examples, in R's documentation and by statsmodels."""

import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower

import swaplib
from swaplib.analysis import significance as sig
from swaplib.analysis.compare import holm

# R's data set sleep (Student 1908; Cushny and Peebles 1905): hours of extra sleep with two drugs.
SLEEP_1 = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
SLEEP_2 = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
# R's ?wilcox.test: Hollander and Wolfe 1973, depression scores (p. 29) and permeability (p. 69).
DEPRESSION_X = np.array([1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30])
DEPRESSION_Y = np.array([0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29])
PERMEABILITY_X = np.array([0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46])
PERMEABILITY_Y = np.array([1.15, 0.88, 0.90, 0.74, 1.21])
# Darwin's maize, crossed minus self-fertilised, inch / 8 (R. A. Fisher 1935, The Design of Experiments, 21).
DARWIN = np.array([49.0, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48])

arrays = {"min_size": 2, "max_size": 6}
values = st.lists(st.integers(1, 1000).map(float), **arrays).map(np.array)
far_from_zero = st.lists(st.integers(80, 120).map(float), min_size=3, max_size=6).map(np.array)


def camera(name):
    frame = swaplib.load(f"mail/camera_{name}")
    return [frame.value_ms[frame.arm == arm].to_numpy(dtype=float) for arm in ("before", "after")]


def row(base, arm, paired=False):
    base, arm = np.array(base, float), np.array(arm, float)
    return sig.measures(base, arm, paired, 0.05) | sig.p_values(base, arm, paired)


@pytest.mark.parametrize(
    ("paired", "t", "df", "p", "interval"),
    [
        (False, -1.8608, 17.776, 0.07939, (-3.3654832, 0.2054832)),
        (True, -4.0621, 9, 0.00283, (-2.4598858, -0.7001142)),
    ],
    ids=["Welch", "pairs"],
)
def test_t_tests_give_what_r_prints_for_the_sleep_data(paired, t, df, p, interval):
    found = row(SLEEP_2, SLEEP_1, paired)
    assert (round(found["t"], 4), round(found["df"], 3), round(found["p_welch"], 5)) == (t, df, p)
    assert (found["difference_low"], found["difference_high"]) == pytest.approx(interval, abs=5e-8)


def test_ranks_give_what_r_prints_one_sided_for_depression_scores_and_permeability():
    assert round(sig.rank_p(DEPRESSION_Y, DEPRESSION_X, paired=True) / 2, 5) == 0.01953
    assert round(sig.rank_p(PERMEABILITY_Y, PERMEABILITY_X) / 2, 4) == 0.1272


def test_ranks_of_more_pairs_than_can_be_split_are_exact_as_in_r():
    change = [6.54, -8.161, -4.519, -1.431, 1.532, 0.646, -3.228, 7.974, -2.31, 3.258, -5.935, 0.532]
    change += [2.498, -1.657, -0.657, 0.328, 0.916, -1.11]
    assert sig.rank_p(np.zeros(18), np.array(change), paired=True) == pytest.approx(0.7018814, abs=5e-8)


def test_sign_flips_give_fishers_count_for_darwins_maize():
    assert sig.permutation_p(0 * DARWIN, DARWIN, paired=True) == (2 * 863 / 2**15, "exact", 2**15)


def test_permutation_p_equals_scipys_of_welchs_t():
    before, after = camera("preview")[0], camera("preview")[1][:4]
    theirs = stats.permutation_test(
        (after, before),
        lambda x, y: abs(stats.ttest_ind(x, y, equal_var=False).statistic),
        n_resamples=np.inf,
        alternative="greater",
    )
    assert sig.permutation_p(before, after)[0] == pytest.approx(theirs.pvalue, rel=1e-12)


def test_random_splits_say_so_agree_with_all_splits_and_repeat():
    before, after = camera("preview")
    p, kind, splits = sig.permutation_p(before, after, limit=100, seed=4)
    assert (kind, splits) == ("Monte Carlo", 9999)
    assert p == pytest.approx(42 / 924, abs=4 * sig.p_values(before, after, limit=100)["p_error"])
    assert sig.permutation_p(before, after, limit=100, seed=4)[0] == p
    assert sig.permutation_p(before, after, limit=100, seed=5)[0] != p
    assert sig.permutation_p(np.arange(30.0), np.arange(1000.0, 1030))[0] == 1 / 10_000  # never 0


def test_many_runs_have_students_t_which_agrees_with_random_splits():
    rng = np.random.default_rng(3)
    base, arm = rng.exponential(1, 100), rng.exponential(1.3, 101)
    many, drawn = sig.permutation_p(base, arm), sig.permutation_p(base, arm[:100])
    assert (many[1], drawn[1]) == ("Student's t", "Monte Carlo")
    assert many[0] == pytest.approx(drawn[0], abs=0.02)


@given(values, values, st.floats(0.1, 10), st.booleans())
def test_scaling_shifting_and_swapping_change_no_p(base, arm, scale, paired):
    if paired:
        base, arm = base[: len(arm)], arm[: len(base)]
    p = sig.permutation_p(base, arm, paired)[0]
    assert sig.permutation_p(arm, base, paired)[0] == p
    assert sig.permutation_p(scale * base, scale * arm, paired)[0] == p
    assert sig.permutation_p(base + 2.0**50, arm + 2.0**50, paired)[0] == p


@given(values, values)
def test_the_ratios_interval_leaves_out_one_exactly_when_the_differences_leaves_out_zero(base, arm):
    found = row(base, arm)
    low, high = found["difference_low"], found["difference_high"]
    assume(min(abs(low), abs(high)) > 1e-6)
    if math.isfinite(found["ratio_low"]):
        assert (found["ratio_low"] > 1 or found["ratio_high"] < 1) == (low > 0 or high < 0)


@given(far_from_zero, far_from_zero)
def test_swapping_arms_turns_the_ratio_over(base, arm):
    there, back = sig.ratio_interval(base, arm), sig.ratio_interval(arm, base)
    assert (1 / back[0], 1 / back[2], 1 / back[1]) == pytest.approx(there, rel=1e-6)


def test_a_base_that_may_be_zero_has_an_unbounded_ratio():
    wide, negative = np.array([-5.0, 1.0, 9.0]), np.array([-1.0, -2.0])
    assert sig.ratio_interval(wide, np.array([3.0, 4.0, 5.0]))[1:] == (-math.inf, math.inf)
    assert math.isnan(sig.ratio_interval(negative, -negative)[0])


def test_intervals_cover_what_they_promise_at_six_runs_with_unequal_spread():
    rng = np.random.default_rng(11)
    drawn = rng.normal([100.0] * 6 + [80.0] * 6, [12.0] * 6 + [5.0] * 6, (1500, 12))
    rows = [sig.measures(x[:6], x[6:], False, 0.05) for x in drawn]
    for name, truth in (("difference", -20), ("ratio", 0.8)):
        covered = [row[f"{name}_low"] <= truth <= row[f"{name}_high"] for row in rows]
        assert np.mean(covered) == pytest.approx(0.95, abs=0.017)  # three standard errors


@pytest.mark.parametrize("paired", [False, True], ids=["arms", "pairs"])
@pytest.mark.parametrize(
    "test", [lambda *x: sig.permutation_p(*x)[0], sig.rank_p], ids=["permutation", "ranks"]
)
def test_p_is_uniform_under_the_null(test, paired):
    rng = np.random.default_rng(7)
    p = np.array([test(x[:6], x[6:], paired) for x in rng.lognormal(0, 0.5, (2000, 12))])
    for level in np.unique(p)[np.unique(p) <= 0.2]:  # at each p that can be had, exactly so often
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 2000))


def test_hedges_interval_holds_noncentralities_that_do_not_exclude_the_observed_t():
    before, after = camera("cold_start")
    g, low, high = sig.hedges_g(before, after)
    t = stats.ttest_ind(after, before).statistic
    tails = [stats.nct.cdf(t, 10, one * t / g) for one in (low, high)]
    assert tails == pytest.approx([0.975, 0.025], rel=1e-5)
    apart = sig.hedges_g(np.array([0.0, 1]), np.array([40.0, 41]))
    assert apart == pytest.approx((31.915, 5.0484, 61.315), rel=1e-4)


def test_the_detectable_difference_is_that_of_statsmodels_power_when_spread_and_runs_are_equal():
    expected = TTestIndPower().solve_power(nobs1=6, alpha=0.05, power=0.8)
    spread = np.array([-1.0, -1, -1, 1, 1, 1])
    assert row(spread, spread + 9)["detectable"] == pytest.approx(expected * spread.std(ddof=1), rel=1e-6)
    expected = TTestPower().solve_power(nobs=6, alpha=0.05, power=0.8)
    found = row(np.zeros(6), spread, paired=True)["detectable"]
    assert found == pytest.approx(expected * spread.std(ddof=1), rel=1e-6)


@settings(max_examples=8)  # of which each collects garbage, in statsmodels
@given(st.lists(st.floats(0, 1) | st.just(math.nan), max_size=9))
def test_holms_p_is_that_of_statsmodels_for_what_is_known(values):
    known = [p for p in values if not math.isnan(p)]
    expected = multipletests(known, method="holm")[1] if known else []
    assert holm(pd.Series(values, dtype=float)).sort_index().to_numpy() == pytest.approx(expected, rel=1e-12)


def test_tests_keep_their_level_where_nothing_differs():
    rates = swaplib.error_rates(trials=1000, seed=2).droplevel("runs")
    honest = ["normal", "lognormal", "AR(1), arms in random order"]
    most = 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1000)
    assert (rates.loc[honest, ["splits", "decides", "Welch", "ranks"]] <= most).all(axis=None)
    unequal = rates.loc["normal, three times the spread in the smaller arm"]
    assert unequal.decides <= most < unequal.splits
    assert rates.decides["AR(1), arms in blocks"] > 0.3, "drift is what no test can see"
    assert rates.silently["AR(1), arms in blocks"] == 0


def test_values_that_never_vary_have_no_t_and_are_no_error():
    same, apart = row([5, 5, 5], [5, 5, 5]), row([5, 5, 5], [4, 4, 4])
    assert (same["difference"], same["difference_low"], same["difference_high"]) == (0, 0, 0)
    assert (same["p_permutation"], same["p_rank"], apart["p_permutation"]) == (1, 1, 0.1)
    assert (apart["ratio"], apart["ratio_low"], apart["ratio_high"]) == (0.8, 0.8, 0.8)
    assert math.isnan(same["p_welch"])
    assert sig.ratio_interval(np.array([5.0, 6, 9]), np.zeros(3)) == (0, 0, 0)
    assert math.isnan(apart["hedges_g"])


def test_a_paired_change_has_students_interval_and_is_clear_beyond_it_and_the_noise():
    draws = pd.MultiIndex.from_product([["b", "a"], range(4)], names=["case", "replication"])
    old = pd.Series([10.0, 12, 11, 9, 5, 6, 7, 5], draws)
    new = old * 0.7 + pd.Series([0.1, 0, -0.1, 0.2, 1.5, 1.8, 2.1, 1.4], draws)
    table = swaplib.paired_change(new, old)
    assert [*table.index] == ["b", "a"]
    for case, row in table.iterrows():
        percent = 100 * (new - old)[case] / old[case].mean()
        low, high = stats.ttest_1samp(percent, 0).confidence_interval()
        assert (row["mean"] - row.error, row["mean"] + row.error) == pytest.approx((low, high))
    assert table.said.tolist() == ["-30 % (±8)", "+0 % (±1, undecided)"]
    assert table.word.tolist() == ["30 % sooner", "undecided"]
    assert not swaplib.paired_change(new, old, noise=31).is_clear.any()
    in_ms = swaplib.paired_change(new - old, 0 * old, unit="ms", digits=1)
    assert in_ms.said.b == "-3.1 ms (±0.8)"
    assert [*swaplib.paired_change(new.where(draws.codes[0] == 0), old).index] == ["a"]
