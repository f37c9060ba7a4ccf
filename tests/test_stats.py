"""Numbers of keras_entropy.stats against published ones, R's, SciPy's and statsmodels'; and what is refused."""

import ast
import dataclasses
import itertools
import math
import subprocess
import sys
import warnings

import numpy as np
import pytest
from scipy import stats as scipy_stats

from conftest import ROOT
from keras_entropy import stats
from keras_entropy._checks import EntropyWarning
from keras_entropy.stats import noncentral

pytestmark = pytest.mark.once

# R's `sleep` (Student 1908): extra hours of sleep of ten patients under two drugs.
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
# Hollander and Wolfe (1973), 29f, the example of R's ?wilcox.test.
BEFORE = [1.83, 0.50, 1.62, 2.48, 1.68, 1.88, 1.55, 3.06, 1.30]
AFTER = [0.878, 0.647, 0.598, 2.05, 1.06, 1.29, 1.06, 3.14, 1.29]
# Darwin's maize, the example of scipy.stats.wilcoxon.
MAIZE = [6, 8, 14, 16, 23, 24, 28, 29, 41, -48, 49, 56, 60, -67, 75]
# The spatial test of Efron and Tibshirani (1993), table 14.1, A.
SPATIAL = [48, 36, 20, 29, 42, 42, 20, 42, 22, 41, 45, 14, 6, 0, 33, 28, 34, 4, 32, 24, 47, 41, 24, 26, 30, 41]
# Dunnett (1955), the example of scipy.stats.dunnett.
BLOOD = {
    "control": [7.40, 8.50, 7.20, 8.24, 9.84, 8.32],
    "A": [9.76, 8.80, 7.68, 9.36],
    "B": [12.80, 9.68, 12.16, 9.20, 10.55],
}
PAIRED = (stats.paired_t, stats.wilcoxon)
COMPARISONS = (*PAIRED, stats.welch_t)


def test_paired_t_is_that_of_r():
    r = stats.paired_t(DRUG_1, DRUG_2)

    assert (r.statistic, r.df, r.n) == (pytest.approx(-4.0621, abs=5e-5), 9, 10)
    assert r.p == pytest.approx(0.002833, abs=5e-7)
    assert (r.low, r.high, r.difference) == pytest.approx((-2.4598858, -0.7001142, -1.58), abs=5e-8)


def test_welch_t_is_that_of_r():
    r = stats.welch_t(DRUG_1, DRUG_2)

    assert (r.statistic, r.df) == (pytest.approx(-1.8608, abs=5e-5), pytest.approx(17.776, abs=5e-4))
    assert r.p == pytest.approx(0.07939, abs=5e-6)
    assert (r.low, r.high) == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)
    assert (r.n, r.n_a, r.n_b) == (20, 10, 10)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
def test_t_tests_are_those_of_scipy(alternative):
    b, side = [*DRUG_2, 2.5, 0.3], {"alternative": alternative}
    for ours, theirs in (
        (stats.paired_t(DRUG_1, DRUG_2, 0.9, **side), scipy_stats.ttest_rel(DRUG_1, DRUG_2, **side)),
        (stats.welch_t(DRUG_1, b, 0.9, **side), scipy_stats.ttest_ind(DRUG_1, b, equal_var=False, **side)),
        (stats.t_interval(DRUG_1, 0.9, null=0.5, **side), scipy_stats.ttest_1samp(DRUG_1, 0.5, **side)),
    ):
        interval = theirs.confidence_interval(0.9)
        assert (ours.statistic, ours.p) == pytest.approx((theirs.statistic, theirs.pvalue))
        assert (ours.low, ours.high, ours.df) == pytest.approx((interval.low, interval.high, theirs.df))


def test_a_mean_without_a_null_hypothesis_has_no_p():
    r = stats.t_interval(DRUG_1)

    assert (r.p, r.statistic) == (None, None)
    assert r.estimate == pytest.approx(0.75)


@pytest.mark.parametrize(
    ("alternative", "p", "low", "high"),
    [("two-sided", 0.0390625, 0.010, 0.786), ("greater", 0.01953125, 0.175, math.inf)],
)
def test_wilcoxon_is_that_of_r(alternative, p, low, high):
    """V = 40, p-value = 0.01953, and the estimate and interval of Hollander and Wolfe."""
    r = stats.wilcoxon(BEFORE, AFTER, alternative=alternative)

    assert (r.statistic, r.p) == (40, p)
    assert (r.estimate, r.low, r.high) == pytest.approx((0.46, low, high), abs=1e-3)


def test_wilcoxon_of_the_maize():
    r = stats.wilcoxon(MAIZE, [0] * len(MAIZE))

    assert (r.statistic_sum - r.statistic, r.p) == (24, 0.041259765625)
    assert r.effect == pytest.approx((96 - 24) / 120)


def enumerated(differences, alternative):
    """The share of all signs that give a sum of ranks as extreme."""
    kept = np.array([d for d in differences if d])
    ranks = scipy_stats.rankdata(np.abs(kept))
    sums = np.array([ranks @ signs for signs in itertools.product((0, 1), repeat=len(kept))])
    seen = ranks[kept > 0].sum()
    less, greater = (sums <= seen).mean(), (sums >= seen).mean()
    return {"less": less, "greater": greater, "two-sided": min(1, 2 * min(less, greater))}[alternative]


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("differences", [[1, 1, -1, 2, 2, 3, -4, 0], [3, 3, 3, 3, -3, 3, 3], [0, 0, 5, 6, -1, 7, 1, 1]])
@pytest.mark.filterwarnings("ignore::keras_entropy._checks.EntropyWarning")
def test_wilcoxon_with_ties_and_zeros_is_the_exact_conditional_test(differences, alternative):
    r = stats.wilcoxon(differences, [0] * len(differences), alternative=alternative)

    assert r.p == pytest.approx(enumerated(differences, alternative), abs=1e-12)
    zeros = differences.count(0)
    assert ("left out" in r.note) == (zeros > 0)


def test_differences_equal_but_for_rounding_are_ties():
    a, b = [0.3, 0.4, 0.6, 0.8, 0.9, 0.75], [0.2, 0.3, 0.5, 0.9, 0.7, 0.45]

    assert stats.wilcoxon(a, b).p == pytest.approx(enumerated([1, 1, 1, -1, 2, 3], "two-sided"), abs=1e-12)


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize("n", [51, 120])
def test_wilcoxon_of_many_pairs_is_that_of_scipy(n, alternative):
    d = np.round(np.random.default_rng(0).normal(0.2, 1, n), 1) + 0.01
    theirs = scipy_stats.wilcoxon(d, correction=True, method="approx", alternative=alternative)

    assert stats.wilcoxon(d, np.zeros(n), alternative=alternative).p == pytest.approx(theirs.pvalue, rel=1e-9)


@pytest.mark.parametrize("n", [51, 80])
def test_the_signed_rank_interval_of_many_pairs_inverts_the_test(n):
    a, b = np.random.default_rng(n).normal(0.3, 1, n), np.zeros(n)
    r = stats.wilcoxon(a, b)

    for end, inwards in ((r.low, 1e-9), (r.high, -1e-9)):
        assert stats.wilcoxon(a - end - inwards, b).p > 0.05
        assert stats.wilcoxon(a - end + inwards, b).p <= 0.05


def test_a_difference_of_rounding_only_is_a_zero():
    a, b = [0.1 + 0.2, 1.5, 2.5, 2.75, 4.0, 5.5, 7.0], [0.3, 1.0, 1.5, 1.25, 2.0, 3.0, 4.0]

    assert stats.wilcoxon(a, b).p == 2 / 2**6
    assert stats.wilcoxon(a, b).note == "1 zero left out of the test"


def test_the_signed_rank_interval_inverts_the_test():
    a, b = np.array(BEFORE), np.array(AFTER)
    r = stats.wilcoxon(a, b)

    for end, inwards in ((r.low, 1e-6), (r.high, -1e-6)):
        assert stats.wilcoxon(a - end - inwards, b).p > 0.05
        assert stats.wilcoxon(a - end + inwards, b).p <= 0.05


@pytest.mark.parametrize("values", [[0.01, 0.02, 0.03, 0.04, 0.05], [0.04, 0.01, 0.03, 0.01], [1.0], [0.9, 0.8, 0.0]])
def test_holm_is_that_of_statsmodels(values):
    multitest = pytest.importorskip("statsmodels.stats.multitest")

    assert stats.holm(values) == pytest.approx(tuple(multitest.multipletests(values, method="holm")[1]))


def test_holm_is_that_of_r():
    """p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"), and with the order mixed."""
    assert stats.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx((0.05, 0.08, 0.09, 0.09, 0.09))
    assert stats.holm([0.03, 0.01, 0.05, 0.02, 0.04]) == pytest.approx((0.09, 0.05, 0.09, 0.08, 0.09))


def test_dunnett_is_that_of_scipys_documentation():
    r = stats.dunnett(BLOOD, "control")

    assert list(r) == ["A", "B"]
    # SciPy integrates by random numbers: p moves by 1e-4, the ends by 1 % of the allowance.
    assert (r["A"].p, r["B"].p) == pytest.approx((0.62004941, 0.0059035), abs=5e-4)
    assert (r["B"].low, r["B"].high) == pytest.approx((0.84, 4.42), abs=0.05)
    assert r["B"].difference == pytest.approx(np.mean(BLOOD["B"]) - np.mean(BLOOD["control"]))
    assert (r["A"].n_a, r["A"].n_b, r["A"].df) == (4, 6, 12)
    assert stats.dunnett(BLOOD, "control") == r
    assert "99 % simultaneous interval" in stats.dunnett(BLOOD, "control", 0.99)["A"].sentence(
        "A", "c", lower_is_better=True
    )


def test_a_dunnett_interval_of_a_higher_level_is_wider():
    """The ends that SciPy gives at 99 %, right to 1 % of the allowance."""
    wide, narrow = (stats.dunnett(BLOOD, "control", level)["B"] for level in (0.99, 0.95))

    assert (wide.low, wide.high) == pytest.approx((0.2116809, 5.0443191), abs=0.05)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_dunnett_against_one_arm_is_students_t():
    r = stats.dunnett({"a": DRUG_1, "b": DRUG_2}, "b", alternative="less")["a"]
    theirs = scipy_stats.ttest_ind(DRUG_1, DRUG_2, alternative="less")

    assert (r.statistic, r.p) == (pytest.approx(theirs.statistic), pytest.approx(theirs.pvalue, abs=5e-4))
    assert (r.low, r.high) == (-math.inf, pytest.approx(theirs.confidence_interval(0.95).high, abs=0.05))


def test_noncentral_t_is_that_of_scipy_and_of_mbess():
    for t, df, delta in itertools.product((-3.0, 0.0, 0.5, 2.0, 9.0), (1, 2, 9, 126, 5000), (-1.0, 0.0, 2.5, 8.0)):
        theirs = scipy_stats.nct.cdf(t, df, delta)  # NaN for far tails
        expected = 0 if np.isnan(theirs) else theirs
        assert noncentral.cdf(t, df, delta) == pytest.approx(expected, abs=1e-7), (t, df, delta)
    # conf.limits.nct(2.83, 126) of R's MBESS (Kelley 2007).
    assert noncentral.noncentrality(2.83, 126, 0.975) == pytest.approx(0.8337502, abs=1e-6)
    assert noncentral.noncentrality(2.83, 126, 0.025) == pytest.approx(4.815359, abs=1e-6)


@pytest.mark.parametrize("df", [1, 4, 9, 200, 20000])
def test_noncentrality_goes_on_smoothly_where_the_quadrature_ends(df):
    for probability in (0.025, 0.975, 0.995):
        inside, outside = (noncentral.noncentrality(t, df, probability) / t for t in (100.0, 100.0001))
        width = noncentral.noncentrality(100.0, df, 0.025) - noncentral.noncentrality(100.0, df, 0.975)
        assert outside == pytest.approx(inside, abs=1e-3 * width / 100)
    assert noncentral.noncentrality(1e9, 9, 0.975) > 0


def test_effect_sizes_of_the_sleep_data():
    """Cohen's d = -0.83 [-1.74, 0.10] and, paired, -1.28 [-2.12, -0.41], as effectsize gives in R; g is J d."""
    unpaired, paired = (stats.effect_size(DRUG_1, DRUG_2, paired=paired) for paired in (False, True))

    assert unpaired.estimate == pytest.approx(
        -0.8321811 * (1 - 3 / (4 * 18 - 1)), abs=2e-4
    )  # J by Hedges' approximation
    assert (unpaired.low, unpaired.high) == pytest.approx((-1.74, 0.10), abs=6e-3)
    assert paired.estimate == pytest.approx(-1.284558 * (1 - 3 / (4 * 9 - 1)), abs=2e-3)
    assert (paired.low, paired.high) == pytest.approx((-2.12, -0.41), abs=6e-3)
    assert unpaired.estimate == pytest.approx(stats.welch_t(DRUG_1, DRUG_2).effect)
    assert paired.estimate == pytest.approx(stats.paired_t(DRUG_1, DRUG_2).effect)
    assert paired.p == pytest.approx(stats.paired_t(DRUG_1, DRUG_2).p)
    assert unpaired.p == pytest.approx(scipy_stats.ttest_ind(DRUG_1, DRUG_2).pvalue)


@pytest.mark.parametrize("margin", [0.5, 1.5, 2.5, 3.5])
def test_tost_is_that_of_statsmodels(margin):
    weightstats = pytest.importorskip("statsmodels.stats.weightstats")
    a, b = np.array(DRUG_1), np.array(DRUG_2)

    paired = weightstats.ttost_paired(a, b, -margin, margin)[0]
    assert stats.tost(a, b, margin).p == pytest.approx(paired)
    welch = weightstats.ttost_ind(a, b[:8], -margin, margin, usevar="unequal")[0]
    assert stats.tost(a, b[:8], margin, paired=False).p == pytest.approx(welch)


def test_tost_agrees_with_the_interval_of_90_percent():
    interval = stats.paired_t(DRUG_1, DRUG_2, 0.9)
    for margin in np.linspace(0.1, 4, 40):
        r = stats.tost(DRUG_1, DRUG_2, margin)
        assert (r.low, r.high) == pytest.approx((interval.low, interval.high))
        assert r.equivalent == (r.p <= 0.05) == (-margin < interval.low and interval.high < margin)
    assert stats.tost(DRUG_1, DRUG_2, 2.5).equivalent
    assert not stats.tost(DRUG_1, DRUG_2, 2.5, level=0.001).equivalent


def test_the_bca_interval_of_efron_and_tibshirani():
    """171.5 and (115.8, 259.6) at 90 %, from 2000 resamples: their ends have an error of some units."""
    r = stats.bootstrap(SPATIAL, np.var, 0.9, expand=False)

    assert r.estimate == pytest.approx(171.534, abs=1e-3)
    assert (r.low, r.high) == pytest.approx((115.8, 259.6), abs=5)


@pytest.mark.parametrize("statistic", ["mean", "median", "interquartile mean"])
def test_bootstrap_is_that_of_scipy(statistic):
    function = {"mean": np.mean, "median": np.median, "interquartile mean": lambda x: scipy_stats.trim_mean(x, 0.25)}
    plain = stats.bootstrap(SPATIAL, statistic, seed=3, expand=False, resamples=999)
    given = stats.bootstrap(SPATIAL, function[statistic], seed=3, expand=False, resamples=999)
    theirs = scipy_stats.bootstrap(
        (SPATIAL,), function[statistic], n_resamples=999, random_state=np.random.default_rng(3), vectorized=False
    ).confidence_interval

    assert (plain.low, plain.high) == pytest.approx((theirs.low, theirs.high))
    assert (given.low, given.high) == (plain.low, plain.high)
    assert plain.estimate == pytest.approx(function[statistic](np.array(SPATIAL)))
    wider = stats.bootstrap(SPATIAL, statistic, seed=3, resamples=999)
    assert wider.low <= plain.low < plain.high <= wider.high
    assert statistic == "median" or wider.high - wider.low > plain.high - plain.low  # medians: of few values
    assert stats.bootstrap(SPATIAL, statistic, seed=3, resamples=999) == wider


@pytest.mark.parametrize("n", [10, 40])
def test_the_expanded_bootstrap_interval_is_as_long_as_a_t_interval(n):
    """Of values that are as regular as normal ones can be; the means of ten are not quite normal."""
    x = scipy_stats.norm.ppf((np.arange(n) + 0.5) / n)
    r, t = stats.bootstrap(x, resamples=20_000), stats.t_interval(x)

    assert (r.high - r.low) / (t.high - t.low) == pytest.approx(1, abs=0.025)


def test_interquartile_mean():
    """rliable's definition: scipy.stats.trim_mean(x, 0.25)."""
    r = stats.interquartile_mean([100, 1, 2, 3, 4, 5, 6, -90], seed=1)

    assert r.estimate == pytest.approx(3.5)
    assert r.low < 3.5 < r.high
    assert r == stats.bootstrap([100, 1, 2, 3, 4, 5, 6, -90], "interquartile mean", seed=1)


def test_sizes_of_samples_are_those_of_r():
    """power.t.test(power = .90, delta = 1), with alternative = "one.sided", and power.t.test(n = 20, delta = 1).

    R stops looking for n at 1e-4.
    """
    two, one = (stats.seeds_needed(1, 1, 0.9, paired=False, alternative=side) for side in ("two-sided", "greater"))

    assert (two.n, two.n_exact) == (23, pytest.approx(22.02110, abs=5e-5))
    assert (one.n, one.n_exact) == (18, pytest.approx(17.84713, abs=5e-5))
    assert stats.power(1, 1, 20, paired=False).power == pytest.approx(0.8689528, abs=5e-7)
    assert two.power == stats.power(1, 1, 23, paired=False).power >= 0.9 > stats.power(1, 1, 22, paired=False).power


@pytest.mark.parametrize("alternative", ["two-sided", "less", "greater"])
@pytest.mark.parametrize(("effect", "n"), [(0.2, 30), (1, 5), (-0.7, 12), (3, 2), (-0.05, 400)])
def test_power_is_that_of_statsmodels(effect, n, alternative):
    module = pytest.importorskip("statsmodels.stats.power")
    names = {"two-sided": "two-sided", "less": "smaller", "greater": "larger"}

    paired = module.TTestPower().power(effect, n, 0.05, alternative=names[alternative])
    assert stats.power(effect, 1, n, alternative=alternative).power == pytest.approx(paired, abs=1e-6)
    arms = module.TTestIndPower().power(effect, n, 0.05, alternative=names[alternative])
    assert stats.power(3 * effect, 3, n, paired=False, alternative=alternative).power == pytest.approx(arms, abs=1e-6)


@pytest.mark.parametrize("paired", [True, False])
@pytest.mark.parametrize("effect", [-50, -2, 0.3, 1, 1e5])
def test_the_number_of_seeds_is_the_smallest(effect, paired):
    plan = stats.seeds_needed(effect, 1, 0.8, 0.01, paired=paired)

    assert plan.power >= 0.8
    assert plan.n == 2 or stats.power(effect, 1, plan.n - 1, 0.01, paired=paired).power < 0.8


def test_pairwise_is_holm_over_all_pairs():
    samples = {"a": DRUG_1, "b": DRUG_2, "c": np.array(DRUG_2) + np.linspace(0, 0.1, 10)}
    for name, function in (("paired_t", stats.paired_t), ("welch_t", stats.welch_t), ("wilcoxon", stats.wilcoxon)):
        results = stats.pairwise(samples, name, level=0.05)

        assert list(results) == [("a", "b"), ("a", "c"), ("b", "c")]
        for (a, b), r in results.items():
            single = function(samples[a], samples[b], 0.95)
            assert (r.p, r.low, r.high) == (single.p, single.low, single.high)
        assert [r.p_adjusted for r in results.values()] == list(stats.holm([r.p for r in results.values()]))
        raw = stats.pairwise(samples, name, adjust=None, level=0.05)
        assert [(r.p, r.p_adjusted) for r in raw.values()] == [(r.p, None) for r in results.values()]


def test_a_pair_that_cannot_be_tested_counts_in_the_family():
    samples = {"a": DRUG_1, "same": DRUG_1, "b": DRUG_2}
    with pytest.warns(EntropyWarning, match="no t interval: the differences do not vary"):
        results = stats.pairwise(samples, level=0.05)

    assert math.isnan(results["a", "same"].p_adjusted)
    assert results["a", "b"].p_adjusted == pytest.approx(3 * results["a", "b"].p)
    assert results["a", "same"].verdict(lower_is_better=True) == "no difference shown"


# What does not vary.


CONSTANT = {
    "t": lambda: stats.t_interval([0.3, 0.1 + 0.2, 0.3], null=0),
    "t, squares underflow": lambda: stats.t_interval([0.0, 1e-170, 2e-170]),
    "paired t, no difference": lambda: stats.paired_t([1, 2, 3], [1, 2, 3]),
    "paired t, one difference": lambda: stats.paired_t([1.1, 2.1, 3.1], [1, 2, 3]),
    "Welch": lambda: stats.welch_t([1, 1], [2, 2, 2]),
    "TOST": lambda: stats.tost([1, 2, 3], [1, 2, 3], 0.5),
    "TOST, not paired": lambda: stats.tost([1, 1], [1, 1], 0.5, paired=False),
    "effect size": lambda: stats.effect_size([1, 2, 3], [2, 3, 4], paired=True),
    "effect size, not paired": lambda: stats.effect_size([1, 1], [2, 2], paired=False),
    "bootstrap": lambda: stats.bootstrap([0.3, 0.1 + 0.2, 0.3] * 3),
    "bootstrap, median": lambda: stats.bootstrap([1, 1, 1, 1, 1, 1, 1, 1, 2], "median"),
    "interquartile mean": lambda: stats.interquartile_mean([1, 2, 2, 2, 2, 2, 2, 3]),
    "Dunnett": lambda: stats.dunnett({"a": [1, 1], "b": [2, 2]}, "b")["a"],
    "Wilcoxon": lambda: stats.wilcoxon([1.1, 2.1, 3.1, 4.1, 5.1, 6.1], [1, 2, 3, 4, 5, 6]),
    "Wilcoxon, zeros": lambda: stats.wilcoxon([1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 5, 6]),
}


@pytest.mark.parametrize("case", CONSTANT)
def test_no_interval_has_zero_width(case):
    with pytest.warns(EntropyWarning) as caught:
        r = CONSTANT[case]()

    assert [warning.filename for warning in caught] == [__file__]
    assert math.isnan(r.low)
    assert math.isnan(r.high)
    assert r.note.split(";")[0] in str(caught[0].message)
    assert "no interval" in str(r)
    if "Wilcoxon" in case:
        assert r.p == (1 if "zeros" in case else 2 / 2**6)
    else:
        assert r.p is None or math.isnan(r.p)
    if isinstance(r, stats.Comparison):
        assert r.sentence("a", "b", lower_is_better=True).startswith("no difference shown between a and b (")
    if isinstance(r, stats.Equivalence):
        assert not r.equivalent
        assert r.sentence("a", "b").startswith("equivalence within 0.5 not shown for a and b (")


def test_one_sample_that_does_not_vary_is_enough_for_welch():
    r = stats.welch_t([0.3, 0.1 + 0.2, 0.3], [1, 2, 3])
    theirs = scipy_stats.ttest_1samp([1, 2, 3], 0.3)

    assert (r.p, r.df) == pytest.approx((theirs.pvalue, 2))


def test_two_pairs_have_no_unbiased_effect_size():
    r = stats.effect_size([1, 2], [3, 5], paired=True)

    assert math.isnan(r.estimate)
    assert r.low < 0 < r.high


@pytest.mark.parametrize(
    ("n", "level", "enough"), [(5, 0.95, False), (6, 0.95, True), (7, 0.99, False), (8, 0.99, True)]
)
def test_too_few_pairs_for_the_level_of_a_signed_rank_interval(n, level, enough):
    a = np.arange(1.0, n + 1) ** 1.5
    if enough:
        assert stats.wilcoxon(a, np.zeros(n), level).low == 1
        return
    with pytest.warns(EntropyWarning, match=f"unbounded: {n} pairs are too few"):
        r = stats.wilcoxon(a, np.zeros(n), level)
    assert (r.low, r.high) == (-math.inf, math.inf)
    assert "unbounded" in r.sentence("a", "b", lower_is_better=False)


@pytest.mark.parametrize(
    ("n", "level", "enough"), [(5, 0.95, False), (6, 0.95, True), (4, 0.875, True), (3, 0.875, False)]
)
def test_too_few_values_for_the_level_of_a_bootstrap_interval(n, level, enough):
    """The mean of a symmetric sample lies in its range in a share 1 - 2 / 2^n of samples."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        r = stats.bootstrap(DRUG_1[:n], level=level)

    assert (not caught) == enough
    assert all(warning.category is EntropyWarning and warning.filename == __file__ for warning in caught)
    assert r.low < r.estimate < r.high


# What is refused.

SAMPLES = [
    ("text", TypeError, "one-dimensional list or array of numbers"),
    (["1", "2", "3"], TypeError, "one-dimensional"),
    ([True, False, True], TypeError, "one-dimensional"),
    ([0.5, True, 0.2], TypeError, "one-dimensional"),
    ([1.0, None, 2.0], TypeError, "one-dimensional"),
    ([1j, 2, 3], TypeError, "one-dimensional"),
    (0.5, TypeError, "one-dimensional"),
    (None, TypeError, "one-dimensional"),
    ({1.0, 2.0}, TypeError, "one-dimensional"),
    ({"a": 1.0}, TypeError, "one-dimensional"),
    ((x for x in (1.0, 2.0)), TypeError, "one-dimensional"),
    ([[1.0, 2.0], [3.0, 4.0]], ValueError, "one number for each seed"),
    ([[1.0], [3.0, 4.0]], ValueError, "one-dimensional"),
    (np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]), ValueError, "without masked values"),
    ([], ValueError, "len(NAME)=0"),
    ([1.0], ValueError, "len(NAME)=1"),
    ([1.0, 2.0, math.nan, 4.0], ValueError, "`NAME[2]` should be a finite number. Received: NAME[2]=nan"),
    ([1.0, -math.inf, 3.0], ValueError, "NAME[1]=-inf"),
    ([1.0, 2.0, 1e200], ValueError, "at most 1e+100"),
]
GOOD = [1.0, 2.0, 4.0, 3.0]
CALLS = {
    "t_interval": ("x", stats.t_interval),
    "bootstrap": ("x", stats.bootstrap),
    "paired_t a": ("a", lambda x: stats.paired_t(x, GOOD)),
    "paired_t b": ("b", lambda x: stats.paired_t(GOOD, x)),
    "welch_t a": ("a", lambda x: stats.welch_t(x, GOOD)),
    "welch_t b": ("b", lambda x: stats.welch_t(GOOD, x)),
    "wilcoxon": ("b", lambda x: stats.wilcoxon(GOOD, x)),
    "tost": ("a", lambda x: stats.tost(x, GOOD, 1)),
    "tost, not paired": ("b", lambda x: stats.tost(GOOD, x, 1, paired=False)),
    "effect_size": ("a", lambda x: stats.effect_size(x, GOOD, paired=True)),
    "effect_size, not paired": ("b", lambda x: stats.effect_size(GOOD, x, paired=False)),
    "pairwise": ("samples['n']", lambda x: stats.pairwise({"n": x, "m": GOOD})),
    "dunnett": ("samples['n']", lambda x: stats.dunnett({"n": x, "m": GOOD}, "m")),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("case", range(len(SAMPLES)))
def test_a_bad_sample_is_named(call, case):
    values, error, text = SAMPLES[case]
    name, function = CALLS[call]

    with pytest.raises(error) as caught:
        function(values)

    assert text.replace("NAME", name) in str(caught.value)
    assert f"`{name}" in str(caught.value) or f"`len({name})" in str(caught.value)


@pytest.mark.parametrize("n", [0, 1, 2, 3])
def test_fewer_than_four_values_have_no_middle_half(n):
    with pytest.raises(ValueError, match="at least 4 values"):
        stats.interquartile_mean(GOOD[:n])


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.paired_t(GOOD, GOOD[:3]),
        lambda: stats.wilcoxon(GOOD, GOOD[:3]),
        lambda: stats.tost(GOOD, GOOD[:3], 1),
        lambda: stats.effect_size(GOOD, GOOD[:3], paired=True),
        lambda: stats.pairwise({"a": GOOD, "b": GOOD[:3]}),
    ],
)
def test_pairs_need_partners(call):
    with pytest.raises(ValueError, match="because the samples are paired") as caught:
        call()

    assert "=3" in str(caught.value)


LEVELS = {
    "confidence": [
        lambda level: stats.t_interval(GOOD, level),
        lambda level: stats.bootstrap(GOOD * 2, level=level),
        lambda level: stats.interquartile_mean(GOOD * 2, level),
        lambda level: stats.effect_size(GOOD, GOOD, paired=False, level=level),
        lambda level: stats.dunnett({"a": GOOD, "b": GOOD}, "a", level),
        *(lambda level, f=f: f(GOOD, GOOD[::-1], level) for f in COMPARISONS),
    ],
    "error rate": [
        lambda level: stats.tost(GOOD, GOOD, 1, level),
        lambda level: stats.pairwise({"a": GOOD, "b": GOOD[::-1]}, level=level),
        lambda level: stats.power(1, 1, 5, level),
        lambda level: stats.seeds_needed(1, 1, 0.8, level),
    ],
}


@pytest.mark.parametrize("kind", LEVELS)
@pytest.mark.parametrize("level", [0, 1, 1.5, -0.1, 0.5, 95, math.nan, "0.95", True, None, "other kind"])
def test_a_wrong_level(kind, level):
    other = {"confidence": 0.05, "error rate": 0.95}[kind]
    for call in LEVELS[kind]:
        with pytest.raises((ValueError, TypeError), match=r"`level` should be a") as caught:
            call(other if level == "other kind" else level)
        if level == "other kind":
            assert f"{kind} between" in str(caught.value)
            assert f"Did you mean {1 - other:g}?" in str(caught.value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: stats.paired_t(GOOD, GOOD, alternative="one-sided"), ValueError, "`alternative` should be one of"),
        (lambda: stats.t_interval(GOOD, null=math.nan), ValueError, "`null`"),
        (lambda: stats.t_interval(GOOD, null="0"), TypeError, "`null`"),
        (lambda: stats.tost(GOOD, GOOD, 0), ValueError, "`margin` should be above 0"),
        (lambda: stats.tost(GOOD, GOOD, -1), ValueError, "`margin`"),
        (lambda: stats.tost(GOOD, GOOD, math.inf), ValueError, "`margin`"),
        (lambda: stats.tost(GOOD, GOOD, 1, paired=1), TypeError, "`paired` should be True or False"),
        (lambda: stats.effect_size(GOOD, GOOD, paired="no"), TypeError, "`paired`"),
        (lambda: stats.holm([]), ValueError, "len(p_values)=0"),
        (lambda: stats.holm([0.1, math.nan]), ValueError, "`p_values[1]`"),
        (lambda: stats.holm([0.1, 0.2, 1.1]), ValueError, "`p_values[2]` should be between 0 and 1"),
        (lambda: stats.holm([-0.1]), ValueError, "`p_values[0]`"),
        (lambda: stats.holm(0.1), TypeError, "`p_values`"),
        (lambda: stats.dunnett({"a": GOOD, "b": GOOD}, "c"), ValueError, "`control` should be one of 'a', 'b'"),
        (lambda: stats.dunnett({"a": GOOD}, "a"), ValueError, "at least 2 samples"),
        (lambda: stats.dunnett([GOOD, GOOD], "a"), TypeError, "a dict of samples by name"),
        (lambda: stats.dunnett({"a": GOOD, "b": GOOD[::-1]}, "a", seed=0.5), TypeError, "`seed`"),
        (lambda: stats.pairwise({1: GOOD, "b": GOOD}), TypeError, "`samples` should be a name"),
        (lambda: stats.pairwise({"a": GOOD, "b": GOOD}, "t"), ValueError, "`test` should be one of"),
        (lambda: stats.pairwise({"a": GOOD, "b": GOOD}, adjust="bonferroni"), ValueError, "`adjust`"),
        (lambda: stats.bootstrap(GOOD, "mode"), ValueError, "`statistic` should be one of"),
        (lambda: stats.bootstrap(GOOD, lambda x: math.nan), ValueError, "gives a finite number"),
        (lambda: stats.bootstrap(GOOD, lambda x: x), ValueError, "gives a finite number"),
        (lambda: stats.bootstrap(GOOD, seed=-1), ValueError, "`seed`"),
        (lambda: stats.bootstrap(GOOD, seed=True), TypeError, "`seed`"),
        (lambda: stats.bootstrap(GOOD, resamples=10), ValueError, "`resamples` should be at least 100"),
        (lambda: stats.bootstrap(GOOD, expand=1), TypeError, "`expand`"),
        (lambda: stats.wilcoxon([1.0] * 5001, [0.0] * 5001), ValueError, "at most 5000"),
        (lambda: stats.power(1, 0, 5), ValueError, "`deviation` should be above 0"),
        (lambda: stats.power(1, 1, 1), ValueError, "`n` should be at least 2"),
        (lambda: stats.power(1, 1, 2.5), TypeError, "`n`"),
        (lambda: stats.power(math.nan, 1, 5), ValueError, "`difference`"),
        (lambda: stats.seeds_needed(0, 1), ValueError, "`difference` should be not 0"),
        (lambda: stats.seeds_needed(-1, 1, alternative="greater"), ValueError, "should be above 0 for alternative"),
        (lambda: stats.seeds_needed(1, 1, alternative="less"), ValueError, "should be below 0 for alternative"),
        (lambda: stats.seeds_needed(1, 1, 1.0), ValueError, "`power` should be between level = 0.05 and 1"),
        (lambda: stats.seeds_needed(1, 1, 0.05), ValueError, "`power`"),
        (lambda: stats.seeds_needed(1e-6, 1), ValueError, "needs more than"),
    ],
)  # fmt: skip
def test_wrong_arguments(call, error, text):
    with pytest.raises(error) as caught:
        call()

    assert text in str(caught.value)


# The package.


def test_records_are_frozen():
    for record in (
        stats.t_interval(GOOD),
        stats.paired_t(GOOD, DRUG_1[:4]),
        stats.tost(GOOD, DRUG_1[:4], 1),
        stats.power(1, 1, 5),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            record.n = 3
        assert record.n in (4, 5)
        assert str(record)


def test_samples_are_not_changed():
    a, b = np.array(DRUG_1), np.array(DRUG_2)
    for call in COMPARISONS:
        call(a, b)
    stats.bootstrap(a)

    assert a.tolist() == DRUG_1
    assert b.tolist() == DRUG_2


def test_every_kind_of_vector_is_taken():
    pandas = pytest.importorskip("pandas")
    for values in (
        tuple(GOOD),
        np.array(GOOD, "float32"),
        np.array([1, 2, 4, 3]),
        pandas.Series(GOOD, index=[7, 8, 9, 3]),
    ):
        assert stats.t_interval(values) == stats.t_interval(GOOD)


def test_the_modules_import_no_network_and_no_statistics_package():
    """Keras, SciPy and statsmodels are not there; the package itself is stood in for, because it imports Keras."""
    code = (
        "import sys, types\n"
        "package = types.ModuleType('keras_entropy'); package.__path__ = ['keras_entropy']\n"
        "sys.modules.update({'keras_entropy': package, 'keras': None, 'scipy': None, 'statsmodels': None})\n"
        "import keras_entropy.stats as stats\n"
        "print(stats.holm([0.01, 0.5]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)

    assert done.stdout.strip() == "(0.02, 0.5)", done.stderr


def test_the_modules_know_nothing_else_of_this_package():
    for path in (ROOT / "keras_entropy" / "stats").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else [getattr(node, "module", "")]
            if isinstance(node, ast.Import | ast.ImportFrom):
                for name in names:
                    own = name.startswith("keras_entropy")
                    assert not own or name.startswith(("keras_entropy.stats", "keras_entropy._checks")), (path, name)
                    assert name.split(".")[0] not in ("keras", "statsmodels", "tensorflow"), (path, name)
