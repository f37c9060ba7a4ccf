"""What the intervals, p-values and powers of keras_entropy.stats promise, over simulated studies.

Of 10,000 studies, a share of 0.95 has a standard error of 0.0022: one percent is 4.6 of them.
"""

import numpy as np
import pytest
from scipy import stats as scipy_stats

from keras_entropy import stats

# They know no backend: once is enough.
pytestmark = pytest.mark.once

STUDIES = 10_000


def coverage(interval, draw, truth, studies=STUDIES, seed=0):
    rng = np.random.default_rng(seed)
    results = (interval(*draw(rng)) for _ in range(studies))
    return sum(r.low <= truth <= r.high for r in results) / studies


def normal(*arms):
    """Draws one sample of each (n, mean, deviation)."""
    return lambda rng: [rng.normal(mean, deviation, n) for n, mean, deviation in arms]


def seeds(rng):
    """Two arms of ten runs that share the luck of their seed."""
    luck = rng.normal(0, 3, 10)
    return luck + rng.normal(0.5, 1, 10), luck + rng.normal(0, 0.5, 10)


@pytest.mark.parametrize(
    ("interval", "draw", "truth"),
    [
        (stats.t_interval, normal((3, 1, 2)), 1),
        (stats.t_interval, normal((10, 1, 2)), 1),
        (stats.paired_t, seeds, 0.5),
        (stats.welch_t, normal((10, 1, 1), (10, 0, 1)), 1),
        (stats.welch_t, normal((20, 1, 1), (8, 0, 4)), 1),
        (lambda a, b: stats.tost(a, b, 1, level=0.025), seeds, 0.5),
    ],
    ids=["t of 3", "t of 10", "paired t", "Welch", "Welch, unequal", "TOST"],
)
def test_t_intervals_cover(interval, draw, truth):
    assert coverage(interval, draw, truth) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("alternative", ["less", "greater"])
def test_one_sided_intervals_cover(alternative):
    for interval in (stats.paired_t, stats.welch_t):
        truth = coverage(
            lambda a, b, f=interval: f(a, b, 0.9, alternative=alternative), normal((9, 1, 1), (9, 0, 1)), 1
        )
        assert truth == pytest.approx(0.9, abs=0.01)


@pytest.mark.parametrize("n", [8, 20])
def test_signed_rank_intervals_cover_as_exactly_as_they_can(n):
    """The test has few levels: of 8 pairs, the interval that inverts it covers 1 - 2 P(W <= k - 1), at least 95 %."""
    sums = np.zeros(n * (n + 1) // 2 + 1)
    sums[0] = 1
    for rank in range(1, n + 1):
        sums = (sums + np.concatenate([np.zeros(rank), sums[:-rank]])) / 2
    tails = np.cumsum(sums)
    exact = 1 - 2 * tails[tails <= 0.025][-1]

    assert 0.95 <= exact < 0.97
    assert coverage(stats.wilcoxon, normal((n, 1, 1), (n, 0, 2)), 1) == pytest.approx(exact, abs=0.008)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "paired"), [(10, True), (6, False)])
def test_intervals_of_effect_sizes_cover(n, paired):
    """The true effect: 0.8 deviations, of the differences (sqrt(2) in each arm's) or of the arms."""
    mean = 0.8 * (np.sqrt(2) if paired else 1)
    covered = coverage(lambda a, b: stats.effect_size(a, b, paired=paired), normal((n, mean, 1), (n, 0, 1)), 0.8)

    assert covered == pytest.approx(0.95, abs=0.01)


def test_hedges_g_is_unbiased():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(STUDIES, 2, 5)) + np.array([[1.0], [0.0]])
    g = [stats.welch_t(a, b).effect for a, b in samples]

    assert np.mean(g) == pytest.approx(1, abs=0.03)  # standard error 0.007; Cohen's d has 1.11


@pytest.mark.slow
@pytest.mark.parametrize(("n", "resamples"), [(10, 9999), (20, 999)])
def test_bootstrap_intervals_cover(n, resamples):
    covered = coverage(lambda x: stats.bootstrap(x, resamples=resamples), normal((n, 1, 2)), 1)

    assert covered == pytest.approx(0.95, abs=0.01)


def test_plain_bootstrap_intervals_of_few_values_do_not():
    """Why `expand` is there."""
    covered = coverage(lambda x: stats.bootstrap(x, resamples=999, expand=False), normal((10, 1, 2)), 1, 2000)

    assert covered < 0.93


def test_interquartile_mean_intervals_cover():
    """2000 studies: a standard error of 0.005. Of few values they are too wide rather than too short."""
    covered = coverage(lambda x: stats.interquartile_mean(x, resamples=999), normal((40, 1, 2)), 1, 2000)

    assert 0.935 <= covered <= 0.97


def p_values(rng, true):
    """The p-values of six t tests that share one control, of which the last `true` differ."""
    control = rng.normal(size=(STUDIES, 10))
    arms = rng.normal(size=(STUDIES, 6, 10)) + np.where(np.arange(6) >= 6 - true, 2.0, 0.0)[:, None]
    return scipy_stats.ttest_ind(arms, control[:, None], axis=2).pvalue


@pytest.mark.parametrize("true", [0, 2])
def test_holm_keeps_the_error_of_the_family(true):
    p = p_values(np.random.default_rng(0), true)
    adjusted = np.array([stats.holm(row) for row in p])
    nulls = 6 - true
    family = (adjusted[:, :nulls] <= 0.05).any(axis=1).mean()

    assert 0.02 < family <= 0.05  # below 5 %, because the tests share a control
    assert (p[:, :nulls] <= 0.05).any(axis=1).mean() > 0.1
    bonferroni = (6 * p[:, nulls:] <= 0.05).sum()
    assert (adjusted[:, nulls:] <= 0.05).sum() > bonferroni or not true


def test_holm_of_independent_tests_uses_the_whole_error():
    p = np.random.default_rng(0).random((STUDIES, 4))
    family = np.mean([min(stats.holm(row)) <= 0.05 for row in p])

    assert family == pytest.approx(1 - (1 - 0.05 / 4) ** 4, abs=0.007)  # 0.0491; three standard errors
    assert family <= 0.05 + 0.0066


def test_pairwise_keeps_the_error_of_the_family():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(2000):
        results = stats.pairwise({name: rng.normal(size=8) for name in "abcd"}, level=0.05)
        wrong += any(r.shown for r in results.values())

    assert 0.015 < wrong / 2000 <= 0.05 + 0.0146  # three standard errors


def test_dunnett_keeps_the_error_of_the_family():
    """Its intervals are some number of standard errors wide: beside Dunnett's table (1964), and over all studies."""
    x = np.random.default_rng(0).normal(size=(STUDIES, 4, 6))
    pooled = np.sqrt(x.var(axis=2, ddof=1).mean(axis=1) / 3)  # of a difference of two means of 6
    first = stats.dunnett(dict(zip("abcd", x[0], strict=True)), "a")
    reach = first["b"].high - first["b"].difference
    t = (x[:, 1:].mean(axis=2) - x[:, :1].mean(axis=2)) / pooled[:, None]

    assert [r.statistic for r in first.values()] == pytest.approx(list(t[0]))
    assert reach / pooled[0] == pytest.approx(2.54, abs=0.02)
    assert (np.abs(t) > reach / pooled[0]).any(axis=1).mean() == pytest.approx(0.05, abs=0.007)


@pytest.mark.parametrize("alternative", ["two-sided", "greater"])
@pytest.mark.parametrize(("effect", "n"), [(1.0, 8), (0.5, 20)])
def test_power_is_the_share_of_studies_that_show_the_difference(effect, n, alternative):
    rng = np.random.default_rng(0)
    a, b = rng.normal(effect, 1, (STUDIES, n)), rng.normal(0, 1, (STUDIES, n))
    for test, deviation, tolerance in (
        (stats.paired_t, np.sqrt(2), 0.015),  # three standard errors
        (stats.welch_t, 1.0, 0.025),  # it loses a little against Student's, which is planned
    ):
        paired = test is stats.paired_t
        shown = np.mean([test(x, y, alternative=alternative).shown > 0 for x, y in zip(a, b, strict=True)])
        planned = stats.power(effect, deviation, n, paired=paired, alternative=alternative).power
        assert shown == pytest.approx(planned, abs=tolerance)
    rejected = scipy_stats.ttest_ind(a, b, axis=1, alternative=alternative).pvalue <= 0.05
    assert rejected.mean() == pytest.approx(planned, abs=0.015)


@pytest.mark.parametrize("paired", [True, False])
def test_the_planned_number_of_seeds_has_the_power(paired):
    plan = stats.seeds_needed(0.7, 1, 0.8, paired=paired)
    rng = np.random.default_rng(0)
    a, b = rng.normal(0.7, 1, (STUDIES, plan.n)), np.zeros((STUDIES, plan.n))
    b = b if paired else rng.normal(0, 1, (STUDIES, plan.n))
    test = stats.paired_t if paired else stats.welch_t
    shown = np.mean([test(x, y).shown > 0 for x, y in zip(a, b, strict=True)])

    assert 0.785 <= shown <= plan.power + 0.015


def test_tost_says_equivalent_by_mistake_in_five_percent():
    """At a true difference of exactly the margin."""
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 0.5, (STUDIES, 12)), rng.normal(0, 0.5, (STUDIES, 12))
    wrong = np.mean([stats.tost(x, y, 1).equivalent for x, y in zip(a, b, strict=True)])

    assert wrong == pytest.approx(0.05, abs=0.007)


def test_a_sentence_says_better_by_mistake_in_five_percent():
    rng = np.random.default_rng(0)
    said = [stats.paired_t(*seeds_alike(rng)).sentence("a", "b", lower_is_better=True) for _ in range(STUDIES)]
    better, worse = (sum(f" is {word} than " in text for text in said) / STUDIES for word in ("better", "worse"))

    assert better == pytest.approx(0.025, abs=0.005)
    assert worse == pytest.approx(0.025, abs=0.005)


def seeds_alike(rng):
    luck = rng.normal(0, 3, 10)
    return luck + rng.normal(0, 1, 10), luck + rng.normal(0, 1, 10)
