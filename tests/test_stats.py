"""Numbers of keras_entropy.stats against published ones, R's, SciPy's and statsmodels'; and what is refused."""

import ast
import dataclasses
import math
import subprocess
import sys

import numpy as np
import pytest
from scipy import stats as scipy_stats

from conftest import ROOT
from keras_entropy import stats
from keras_entropy._checks import EntropyWarning

pytestmark = pytest.mark.once

# R's `sleep` (Student 1908): extra hours of sleep of ten patients under two drugs.
DRUG_1 = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
DRUG_2 = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
COMPARISONS = (stats.paired_t, stats.welch_t)


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


@pytest.mark.parametrize("values", [[0.01, 0.02, 0.03, 0.04, 0.05], [0.04, 0.01, 0.03, 0.01], [1.0], [0.9, 0.8, 0.0]])
def test_holm_is_that_of_statsmodels(values):
    multitest = pytest.importorskip("statsmodels.stats.multitest")

    assert stats.holm(values) == pytest.approx(tuple(multitest.multipletests(values, method="holm")[1]))


def test_holm_is_that_of_r():
    """p.adjust(c(0.01, 0.02, 0.03, 0.04, 0.05), "holm"), and with the order mixed."""
    assert stats.holm([0.01, 0.02, 0.03, 0.04, 0.05]) == pytest.approx((0.05, 0.08, 0.09, 0.09, 0.09))
    assert stats.holm([0.03, 0.01, 0.05, 0.02, 0.04]) == pytest.approx((0.09, 0.05, 0.09, 0.08, 0.09))


def test_effect_sizes_of_the_sleep_data():
    """Cohen's d = -0.83 and, paired, -1.28, as effectsize gives in R; g is J d."""
    unpaired, paired = stats.welch_t(DRUG_1, DRUG_2).effect, stats.paired_t(DRUG_1, DRUG_2).effect

    assert unpaired == pytest.approx(-0.8321811 * (1 - 3 / (4 * 18 - 1)), abs=2e-4)  # J by Hedges' approximation
    assert paired == pytest.approx(-1.284558 * (1 - 3 / (4 * 9 - 1)), abs=2e-3)


def test_two_pairs_have_no_unbiased_effect_size():
    r = stats.paired_t([1, 2], [3, 5])

    assert math.isnan(r.effect)
    assert r.low < 0 < r.high


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
    assert not stats.tost(DRUG_1, DRUG_2, 2.5, alpha=0.001).equivalent


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


def test_power_reaches_alpha_and_one_at_its_limits():
    """Of two pairs at 0.001 the critical value is 637; of ten million, the noncentrality is three million."""
    for n, alpha in ((2, 0.001), (2, 0.05), (5, 0.001), (1000, 0.01)):
        for paired in (True, False):
            assert stats.power(1e-9, 1, n, alpha, paired=paired).power == pytest.approx(alpha, rel=1e-6)
    assert stats.power(1000, 1, 10_000_000).power == pytest.approx(1)
    assert stats.power(1000, 1, 10_000_000, alternative="less").power == 0


def test_holm_adjusts_a_family_of_results():
    c = np.array(DRUG_2) + np.linspace(0, 0.1, 10)
    for function in COMPARISONS:
        tests = [function(DRUG_1, DRUG_2), function(DRUG_1, c), function(DRUG_2, c)]
        family = stats.holm_adjusted(tests)

        assert [r.p_adjusted for r in family] == list(stats.holm([r.p for r in tests]))
        assert [(r.p, r.low, r.high) for r in family] == [(r.p, r.low, r.high) for r in tests]
        assert {r.adjustment for r in family} == {"Holm over 3 tests"}
    assert stats.holm_adjusted(tests[:1]) == (tests[0],)
    with pytest.raises(TypeError, match=r"`results\[0\]` should be a MeanDifference, or None.*use `holm`"):
        stats.holm_adjusted([0.01, 0.04])
    assert stats.holm_adjusted([]) == ()


def test_a_pair_that_cannot_be_tested_counts_in_the_family():
    with pytest.warns(EntropyWarning, match="No t interval: the differences do not vary"):
        tests = [stats.paired_t(DRUG_1, DRUG_1), stats.paired_t(DRUG_1, DRUG_2), None]
    same, other, missing = stats.holm_adjusted(tests)

    assert math.isnan(same.p_adjusted)
    assert other.p_adjusted == pytest.approx(3 * tests[1].p)
    assert same.conclusion(lower_is_better=True) == "no difference shown"
    assert missing is None


# What does not vary.


CONSTANT = {
    "t": lambda: stats.t_interval([0.3, 0.1 + 0.2, 0.3], null=0),
    "t, squares underflow": lambda: stats.t_interval([0.0, 1e-170, 2e-170]),
    "paired t, no difference": lambda: stats.paired_t([1, 2, 3], [1, 2, 3]),
    "paired t, one difference": lambda: stats.paired_t([1.1, 2.1, 3.1], [1, 2, 3]),
    "Welch": lambda: stats.welch_t([1, 1], [2, 2, 2]),
    "TOST": lambda: stats.tost([1, 2, 3], [1, 2, 3], 0.5),
    "TOST, not paired": lambda: stats.tost([1, 1], [1, 1], 0.5, paired=False),
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
    assert r.p is None or math.isnan(r.p)
    if isinstance(r, stats.MeanDifference):
        assert math.isnan(r.effect)
        assert r.sentence("a", "b", lower_is_better=True).startswith("no difference shown between a and b (")
    if isinstance(r, stats.Equivalence):
        assert not r.equivalent
        assert r.sentence("a", "b").startswith("equivalence within 0.5 not shown for a and b (")


def test_one_sample_that_does_not_vary_is_enough_for_welch():
    r = stats.welch_t([0.3, 0.1 + 0.2, 0.3], [1, 2, 3])
    theirs = scipy_stats.ttest_1samp([1, 2, 3], 0.3)

    assert (r.p, r.df) == pytest.approx((theirs.pvalue, 2))


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
    "paired_t a": ("a", lambda x: stats.paired_t(x, GOOD)),
    "paired_t b": ("b", lambda x: stats.paired_t(GOOD, x)),
    "welch_t a": ("a", lambda x: stats.welch_t(x, GOOD)),
    "welch_t b": ("b", lambda x: stats.welch_t(GOOD, x)),
    "tost": ("a", lambda x: stats.tost(x, GOOD, 1)),
    "tost, not paired": ("b", lambda x: stats.tost(GOOD, x, 1, paired=False)),
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


@pytest.mark.parametrize(
    "call",
    [
        lambda: stats.paired_t(GOOD, GOOD[:3]),
        lambda: stats.tost(GOOD, GOOD[:3], 1),
    ],
)
def test_pairs_need_partners(call):
    with pytest.raises(ValueError, match="because the samples are paired") as caught:
        call()

    assert "=3" in str(caught.value)


RATES = {
    "confidence": [
        lambda value: stats.t_interval(GOOD, value),
        *(lambda value, f=f: f(GOOD, GOOD[::-1], value) for f in COMPARISONS),
    ],
    "alpha": [
        lambda value: stats.tost(GOOD, GOOD, 1, value),
        lambda value: stats.power(1, 1, 5, value),
        lambda value: stats.seeds_needed(1, 1, 0.8, value),
    ],
}


@pytest.mark.parametrize("name", RATES)
@pytest.mark.parametrize("value", [0, 1, 1.5, -0.1, 0.5, 95, math.nan, "0.95", True, None, "other kind"])
def test_a_wrong_confidence_or_error_rate(name, value):
    other = {"confidence": 0.05, "alpha": 0.95}[name]
    for call in RATES[name]:
        with pytest.raises((ValueError, TypeError), match=f"`{name}` should be a") as caught:
            call(other if value == "other kind" else value)
        if value == "other kind":
            assert f"`{name}` should be a number between" in str(caught.value)
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
        (lambda: stats.holm([]), ValueError, "len(p_values)=0"),
        (lambda: stats.holm([0.1, math.nan]), ValueError, "`p_values[1]`"),
        (lambda: stats.holm([0.1, 0.2, 1.1]), ValueError, "`p_values[2]` should be between 0 and 1"),
        (lambda: stats.holm([-0.1]), ValueError, "`p_values[0]`"),
        (lambda: stats.holm(0.1), TypeError, "`p_values`"),
        (lambda: stats.power(1, 0, 5), ValueError, "`deviation` should be above 0"),
        (lambda: stats.power(1, 1, 1), ValueError, "`n` should be at least 2"),
        (lambda: stats.power(1, 1, 2.5), TypeError, "`n`"),
        (lambda: stats.power(math.nan, 1, 5), ValueError, "`difference`"),
        (lambda: stats.seeds_needed(0, 1), ValueError, "`difference` should be not 0"),
        (lambda: stats.seeds_needed(-1, 1, alternative="greater"), ValueError, "should be above 0 for alternative"),
        (lambda: stats.seeds_needed(1, 1, alternative="less"), ValueError, "should be below 0 for alternative"),
        (lambda: stats.seeds_needed(1, 1, 1.0), ValueError, "`power` should be between alpha = 0.05 and 1"),
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
