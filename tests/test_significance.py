"""Tests of small samples agree with published worked examples, with R's documented outputs and with statsmodels."""

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy import stats
from statsmodels.stats.meta_analysis import effectsize_smd
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

import swaplib
from swaplib.analysis.power import (
    detectable_difference,
    hedges_g,
    hodges_lehmann,
    paired_detectable,
    paired_runs_needed,
    power,
    runs_needed,
)
from swaplib.analysis.significance import (
    holm,
    permutation_distribution,
    permutation_test,
    rank_test,
    ratio_interval,
    smallest_p,
    ways,
    welch,
)

# R's data set sleep (Student 1908; Cushny and Peebles 1905): hours of extra sleep with two drugs.
SLEEP_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SLEEP_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# R's ?wilcox.test: Hollander and Wolfe 1973, depression scores (p. 29) and permeability (p. 69).
DEPRESSION_X = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
DEPRESSION_Y = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
PERMEABILITY_X = [0.80, 0.83, 1.89, 1.04, 1.45, 1.38, 1.91, 1.64, 0.73, 1.46]
PERMEABILITY_Y = [1.15, 0.88, 0.90, 0.74, 1.21]
# Darwin's maize, crossed minus self-fertilised, inch / 8 (R. A. Fisher 1935, The Design of Experiments, section 21).
DARWIN = [49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]

values = st.lists(st.integers(1, 1000).map(float), min_size=2, max_size=6)
far_from_zero = st.lists(
    st.integers(80, 120).map(float), min_size=3, max_size=6
)  # both ratios have an interval


def camera(name):
    frame = swaplib.load(f"mail/camera_{name}")
    return [frame.value_ms[frame.arm == arm].to_numpy() for arm in ("before", "after")]


def test_welch_gives_what_r_prints_for_the_sleep_data():
    test = welch(SLEEP_2, SLEEP_1)
    assert (round(test.t, 4), round(test.df, 3), round(test.p, 5)) == (-1.8608, 17.776, 0.07939)
    assert (test.low, test.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)


def test_pairs_give_what_r_prints_for_the_sleep_data():
    test = welch(SLEEP_2, SLEEP_1, paired=True)
    assert (round(test.t, 4), test.df, round(test.p, 6)) == (-4.0621, 9, 0.002833)
    assert (test.low, test.high) == pytest.approx((-2.4598858, -0.7001142), abs=5e-8)


def test_welch_equals_statsmodels():
    before, after = camera("preview")
    theirs = CompareMeans(DescrStatsW(after), DescrStatsW(before))
    ours = welch(before, after)
    assert (ours.t, ours.p, ours.df) == pytest.approx(theirs.ttest_ind(usevar="unequal"), rel=1e-12)
    assert (ours.low, ours.high) == pytest.approx(theirs.tconfint_diff(usevar="unequal"), rel=1e-12)


def test_signed_ranks_give_what_r_prints_for_depression_scores():
    test = rank_test(DEPRESSION_Y, DEPRESSION_X, paired=True, alternative="greater")
    assert (test.statistic, round(test.p, 5), test.kind) == (40, 0.01953, "exact")


def test_mann_whitney_gives_what_r_prints_for_permeability():
    test = rank_test(PERMEABILITY_Y, PERMEABILITY_X, alternative="greater")
    assert (test.statistic, round(test.p, 4), test.kind) == (35, 0.1272, "exact")


def test_hodges_lehmann_gives_what_hollander_and_wolfe_print():
    assert hodges_lehmann(PERMEABILITY_Y, PERMEABILITY_X) == pytest.approx(0.305)
    assert hodges_lehmann(DEPRESSION_X, DEPRESSION_Y, paired=True) == pytest.approx(-0.46)


def test_sign_flips_give_fishers_count_for_darwins_maize():
    zero = [0.0] * len(DARWIN)
    test = permutation_test(zero, DARWIN, paired=True, alternative="greater")
    assert (test.p * 2**15, test.splits) == (863, 2**15)
    assert permutation_test(zero, DARWIN, paired=True).p == 1726 / 2**15


@pytest.mark.parametrize(
    ("name", "splits", "welch_p", "rank_p"), [("cold_start", 10, 0.005, 0.015), ("preview", 42, 0.055, 0.093)]
)
def test_the_cameras_splits_are_counted_exactly(name, splits, welch_p, rank_p):
    before, after = camera(name)
    test = permutation_test(before, after)
    assert (test.p, test.kind, test.splits) == (splits / 924, "exact", 924)
    assert round(welch(before, after).p, 3) == welch_p
    assert round(rank_test(before, after).p, 3) == rank_p


def test_permutation_p_equals_scipys():
    before, after = camera("preview")[0], camera("preview")[1][:4]
    theirs = stats.permutation_test(
        (after, before), lambda x, y: abs(np.mean(x) - np.mean(y)), n_resamples=np.inf, alternative="greater"
    )
    assert permutation_test(before, after).p == pytest.approx(theirs.pvalue, rel=1e-12)


def test_random_splits_say_so_agree_with_all_splits_and_repeat():
    before, after = camera("preview")
    drawn = permutation_test(before, after, limit=100, seed=4)
    assert (drawn.kind, drawn.splits) == ("Monte Carlo", 9999)
    assert drawn.p == pytest.approx(42 / 924, abs=4 * math.sqrt(0.045 * 0.955 / 9999))
    assert drawn == permutation_test(before, after, limit=100, seed=4)
    assert drawn.p != permutation_test(before, after, limit=100, seed=5).p


def test_a_p_of_random_splits_is_never_zero():
    test = permutation_test(range(30), range(1000, 1030))
    assert (test.p, test.kind) == (1 / 10_000, "Monte Carlo")


def test_many_runs_use_the_normal_limit_which_agrees_with_random_splits():
    rng = np.random.default_rng(3)
    base, arm = rng.exponential(1, 1000), rng.exponential(1.06, 1001)
    limit = permutation_test(base, arm)
    drawn = permutation_test(base, arm[:1000])
    assert (limit.kind, drawn.kind) == ("normal", "Monte Carlo")
    assert limit.p == pytest.approx(drawn.p, abs=0.02)


@given(values, values)
def test_ranks_without_ties_equal_scipys_exact_test(base, arm):
    assume(len(set(base + arm)) == len(base + arm))
    theirs = stats.mannwhitneyu(arm, base, method="exact")
    ours = rank_test(base, arm)
    assert ours.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert ours.statistic == theirs.statistic


def test_tied_ranks_are_exact_by_hand():
    # ranks 1, 2.5 | 2.5, 4: of six splits two sum to 3.5, two to 5 and two to 6.5, as observed
    assert rank_test([1, 2], [2, 3]).p == 4 / 6
    assert rank_test([1, 2], [2, 3], alternative="greater").p == 2 / 6


@given(values, values, st.floats(0.1, 10), st.booleans())
def test_scaling_and_swapping_change_no_p(base, arm, scale, paired):
    if paired:
        base, arm = base[: len(arm)], arm[: len(base)]
    p = permutation_test(base, arm, paired=paired).p
    assert permutation_test(arm, base, paired=paired).p == p
    assert permutation_test([scale * x for x in base], [scale * x for x in arm], paired=paired).p == p


@given(values, values)
def test_the_ratios_interval_leaves_out_one_exactly_when_the_differences_leaves_out_zero(base, arm):
    difference, (_, low, high) = welch(base, arm), ratio_interval(base, arm)
    assume(min(abs(difference.low), abs(difference.high)) > 1e-6)
    if math.isfinite(low):
        assert (low > 1 or high < 1) == (difference.low > 0 or difference.high < 0)


@given(far_from_zero, far_from_zero)
def test_swapping_arms_turns_the_ratio_over(base, arm):
    there, back = ratio_interval(base, arm), ratio_interval(arm, base)
    assert (1 / back[0], 1 / back[2], 1 / back[1]) == pytest.approx(there, rel=1e-6)


def test_fiellers_interval_of_equal_spread_solves_fiellers_quadratic():
    base, arm = [10.0, 12.0, 14.0], [17.0, 20.0, 23.0]
    base = [12 + (x - 12) * 1.5 for x in base]  # both arms have sd 3
    _, low, high = ratio_interval(base, arm)
    for r in (low, high):  # t of Welch-Satterthwaite at r, by its definition
        a, b = 9 / 3, r * r * 9 / 3
        df = (a + b) ** 2 / (a * a / 2 + b * b / 2)
        assert (20 - 12 * r) ** 2 / (a + b) == pytest.approx(stats.t.ppf(0.975, df) ** 2, rel=1e-9)


def test_a_base_that_may_be_zero_has_an_unbounded_ratio():
    assert ratio_interval([-5.0, 1.0, 9.0], [3.0, 4.0, 5.0])[1:] == (-math.inf, math.inf)
    assert math.isnan(ratio_interval([-1.0, -2.0], [1.0, 2.0])[0])


def test_intervals_cover_what_they_promise_at_six_runs_with_unequal_spread():
    rng = np.random.default_rng(11)
    drawn = rng.normal([100.0] * 6 + [80.0] * 6, [12.0] * 6 + [5.0] * 6, (1500, 12))
    covered = [
        (d.low <= -20 <= d.high, r[1] <= 0.8 <= r[2])
        for d, r in ((welch(x[:6], x[6:]), ratio_interval(x[:6], x[6:])) for x in drawn)
    ]
    assert np.mean(covered, axis=0) == pytest.approx([0.95, 0.95], abs=0.017)  # three standard errors


@pytest.mark.parametrize("test", [permutation_test, rank_test], ids=["permutation", "ranks"])
@pytest.mark.parametrize("paired", [False, True], ids=["arms", "pairs"])
def test_p_is_uniform_under_the_null(test, paired):
    rng = np.random.default_rng(7)
    p = np.array([test(x[:6], x[6:], paired=paired).p for x in rng.lognormal(0, 0.5, (3000, 12))])
    for level in np.unique(p)[np.unique(p) <= 0.2]:  # at each p that can be had, exactly so often
        assert np.mean(p <= level) == pytest.approx(level, abs=4 * math.sqrt(level * (1 - level) / 3000))


def test_hedges_g_agrees_with_statsmodels():
    before, after = camera("cold_start")
    theirs = effectsize_smd(after.mean(), after.std(ddof=1), 6, before.mean(), before.std(ddof=1), 6)[0]
    assert hedges_g(before, after)[0] == pytest.approx(
        theirs, rel=1e-3
    )  # theirs approximates the gamma factor


def test_hedges_interval_holds_noncentralities_that_do_not_exclude_the_observed_t():
    before, after = camera("cold_start")
    g, low, high = hedges_g(before, after)
    t = stats.ttest_ind(after, before).statistic
    assert [stats.nct.cdf(t, 10, one * t / g) for one in (low, high)] == pytest.approx(
        [0.975, 0.025], rel=1e-6
    )


def test_hedges_interval_of_many_runs_joins_that_of_few():
    draw = np.random.default_rng(5).normal(0, 1, 506)
    few, many = (hedges_g(draw[:n], draw[n : 2 * n] + 0.5) for n in (250, 253))
    assert few == pytest.approx(many, abs=0.03)


def test_power_equals_statsmodels_when_spread_and_runs_are_equal():
    theirs = TTestIndPower()
    assert power(1.5, 1, 1, 6, 6) == pytest.approx(theirs.power(1.5, 6, 0.05), rel=1e-6)
    assert detectable_difference(2, 2, 6, 6) == pytest.approx(
        2 * theirs.solve_power(nobs1=6, alpha=0.05, power=0.8), rel=1e-6
    )
    assert (
        runs_needed(1.0, 1, 1) == math.ceil(theirs.solve_power(effect_size=1.0, alpha=0.05, power=0.8)) == 17
    )
    assert runs_needed(0.1, 1, 1) == math.ceil(theirs.solve_power(effect_size=0.1, alpha=0.05, power=0.8))


def test_power_of_pairs_equals_statsmodels():
    theirs = TTestPower()
    assert paired_detectable(2, 8) == pytest.approx(
        2 * theirs.solve_power(nobs=8, alpha=0.05, power=0.8), rel=1e-6
    )
    assert (
        paired_runs_needed(0.5, 1)
        == math.ceil(theirs.solve_power(effect_size=0.5, alpha=0.05, power=0.8))
        == 34
    )


def test_power_is_met_in_a_simulation_of_unequal_spread():
    rng = np.random.default_rng(2)
    drawn = rng.normal([0.0] * 6 + [2.2] * 6, [2.0] * 6 + [1.0] * 6, (2000, 12))
    seen = np.mean(stats.ttest_ind(drawn[:, 6:], drawn[:, :6], axis=1, equal_var=False).pvalue <= 0.05)
    assert power(2.2, 2, 1, 6, 6) == pytest.approx(seen, abs=4 * math.sqrt(0.25 / 2000))


def test_no_difference_and_a_hopeless_one_need_runs_that_cannot_be_had():
    assert math.isnan(runs_needed(0, 1, 1))
    assert math.isnan(runs_needed(1e-6, 1, 1))


@settings(max_examples=15)  # theirs collects garbage each time
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_equals_statsmodels(p):
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_holm_gives_his_steps_and_leaves_out_what_was_not_tested():
    assert holm([0.01, math.nan, 0.04, 0.03]) == pytest.approx([0.03, math.nan, 0.06, 0.06], nan_ok=True)


@pytest.mark.parametrize(("n", "p"), [((6, 6), 2 / 924), ((3, 3), 0.1), ((5, 4), 1 / 126)])
def test_the_smallest_p_is_that_of_arms_that_do_not_overlap(n, p):
    apart = [x**2 for x in range(n[0])], [1000 + x**3 for x in range(n[1])]
    assert smallest_p(*n) == p == permutation_test(*apart).p
    assert ways(*n) == len(permutation_distribution(*apart)[0])


def test_values_that_never_vary_have_no_t_and_are_no_error():
    same = welch([5, 5, 5], [5, 5, 5])
    assert (same.difference, same.low, same.high) == (0, 0, 0)
    assert math.isnan(same.p)
    assert permutation_test([5, 5, 5], [5, 5, 5]).p == 1
    assert rank_test([5, 5, 5], [5, 5, 5]).p == 1
    assert ratio_interval([5, 5, 5], [4, 4, 4]) == (0.8, 0.8, 0.8)
    assert permutation_test([5, 5, 5], [4, 4, 4]).p == 0.1


@pytest.mark.parametrize(
    ("base", "arm", "options", "said"),
    [
        ([1, math.nan], [1, 2], {}, r"base\[1\] is nan"),
        ([1, 2], [], {}, "arm has shape"),
        ([1, 2], [1, 2, 3], {"paired": True}, "2 and 3 values are no pairs"),
        ([1, 2], [1, 2], {"alternative": "both"}, "alternative is 'both'"),
    ],
)
def test_bad_values_are_refused(base, arm, options, said):
    with pytest.raises(ValueError, match=said):
        permutation_test(base, arm, **options)
