"""What the intervals, p-values and powers of keras_entropy.stats promise, over simulated studies.

Of 10,000 studies, a share of 0.95 has a standard error of 0.0022: one percent is 4.6 of them.
"""

import itertools

import numpy as np
import pytest
from scipy import stats as scipy_stats

from keras_entropy import stats

pytestmark = [pytest.mark.once, pytest.mark.slow]

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
        (lambda a, b: stats.tost(a, b, 1, alpha=0.025), seeds, 0.5),
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


def test_hedges_g_is_unbiased():
    rng = np.random.default_rng(0)
    samples = rng.normal(size=(STUDIES, 2, 5)) + np.array([[1.0], [0.0]])
    g = [stats.welch_t(a, b).effect for a, b in samples]

    assert np.mean(g) == pytest.approx(1, abs=0.03)  # standard error 0.007; Cohen's d has 1.11


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


def test_holm_over_all_pairs_keeps_the_error_of_the_family():
    rng = np.random.default_rng(1)
    wrong = 0
    for _ in range(2000):
        arms = rng.normal(size=(4, 8))
        family = stats.holm_adjusted([stats.paired_t(a, b) for a, b in itertools.combinations(arms, 2)])
        wrong += any(r.shown for r in family)

    assert 0.015 < wrong / 2000 <= 0.05 + 0.0146  # three standard errors


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
