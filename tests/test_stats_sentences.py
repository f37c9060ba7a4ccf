"""What keras_entropy.stats says in words, tested as strictly as its numbers."""

import dataclasses
import math
import re
import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from keras_entropy import stats
from keras_entropy.stats import Equivalence, MeanDifference

pytestmark = pytest.mark.once

TESTS = {"paired t": stats.paired_t, "Welch t": stats.welch_t}
NUMBER = r"-?\d+(?:\.\d+)?(?:e[-+]\d+)?"
VALUES = st.floats(-1e6, 1e6, allow_subnormal=False).map(lambda x: round(x, 4))


@st.composite
def two_samples(draw):
    n = draw(st.integers(2, 12))
    b = draw(st.lists(VALUES, min_size=n, max_size=n))
    shift, noise = draw(VALUES), draw(st.lists(st.floats(-1, 1), min_size=n, max_size=n))
    return [x + shift + e for x, e in zip(b, noise, strict=True)], b


def quiet(function, *arguments, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", stats._samples.EntropyWarning)
        return function(*arguments, **options)


def comparison(difference, low, high, p=0.002, **changes):
    given_fields = {"n": 10, "n_a": 10, "n_b": 10, "paired": True, "method": "paired t", "confidence": 0.95} | changes
    return MeanDifference(estimate=difference, low=low, high=high, p=p, **given_fields)


def equivalence(difference, low, high, p=0.002, **changes):
    fields = {"n": 10, "n_a": 10, "n_b": 10, "paired": True, "method": "TOST paired t", "confidence": 0.9}
    return Equivalence(estimate=difference, low=low, high=high, p=p, margin=0.001, alpha=0.05, **fields | changes)


TABLE = [
    (
        comparison(-0.0021, -0.0032, -0.0010),
        True,
        "total correlation is better than none by 0.0021 "
        "(95 % interval 0.0010 to 0.0032, paired t, n = 10 seeds, p = 0.002)",
    ),
    (
        comparison(-0.0021, -0.0032, -0.0010),
        False,
        "total correlation is worse than none by 0.0021 "
        "(95 % interval 0.0010 to 0.0032, paired t, n = 10 seeds, p = 0.002)",
    ),
    (
        comparison(0.0021, 0.0010, 0.0032),
        True,
        "total correlation is worse than none by 0.0021 "
        "(95 % interval 0.0010 to 0.0032, paired t, n = 10 seeds, p = 0.002)",
    ),
    (
        comparison(0.0021, 0.0010, 0.0032, p=1e-5),
        False,
        "total correlation is better than none by 0.0021 "
        "(95 % interval 0.0010 to 0.0032, paired t, n = 10 seeds, p < 0.001)",
    ),
    (
        comparison(0.0004, -0.0010, 0.0018, p=0.53),
        False,
        "no difference shown between total correlation and none (total correlation minus none 0.0004, "
        "95 % interval -0.0010 to 0.0018, paired t, n = 10 seeds, p = 0.530)",
    ),
    (
        comparison(
            3.0, 1.0, 5.0, p=0.001, p_adjusted=0.2, adjustment="Holm over 6 tests"
        ),
        False,
        "no difference shown between total correlation and none (total correlation minus none 3.0, "
        "95 % unadjusted interval 1.0 to 5.0, paired t, n = 10 seeds, p = 0.200 after Holm over 6 tests)",
    ),
    (
        comparison(3.0, 1.0, math.inf, p=0.01, alternative="greater", paired=False, n_b=8),
        True,
        "total correlation is worse than none by 3.0 "
        "(one-sided 95 % interval at least 1.0, paired t, n = 10 and 8 seeds, p = 0.010)",
    ),
    (
        comparison(-3.0, -math.inf, -1.0, p=0.01, alternative="less"),
        True,
        "total correlation is better than none by 3.0 "
        "(one-sided 95 % interval at least 1.0, paired t, n = 10 seeds, p = 0.010)",
    ),
    (
        comparison(3.0, -1.0, math.inf, p=0.2, alternative="greater"),
        False,
        "total correlation is not shown to be better than none (total correlation minus none 3.0, "
        "one-sided 95 % interval at least -1.0, paired t, n = 10 seeds, p = 0.200)",
    ),
    (
        comparison(3.0, -math.inf, 5.0, p=0.9, alternative="less"),
        False,
        "total correlation is not shown to be worse than none (total correlation minus none 3.0, "
        "one-sided 95 % interval at most 5.0, paired t, n = 10 seeds, p = 0.900)",
    ),
    (
        comparison(3.0, 0.0, 5.0, p=0.04, note="2 seeds left out of the test"),
        False,
        "no difference shown between total correlation and none (total correlation minus none 3.0, 95 % interval "
        "0.0 to 5.0, paired t, n = 10 seeds, p = 0.040; 2 seeds left out of the test; "
        "the interval includes 0 although the p-value is small)",
    ),
    (
        comparison(0.5, math.nan, math.nan, p=math.nan, note="the differences do not vary"),
        False,
        "no difference shown between total correlation and none (total correlation minus none 0.50, "
        "no interval and no p-value: the differences do not vary, paired t, n = 10 seeds)",
    ),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(TABLE)))
def test_comparisons_in_words(case):
    record, lower_is_better, text = TABLE[case]

    assert record.sentence("total correlation", "none", lower_is_better=lower_is_better) == text


def test_equivalence_in_words():
    assert equivalence(0.0001, -0.0004, 0.0006).sentence("a", "b") == (
        "a and b are equivalent within 0.001 "
        "(a minus b 0.00010, 90 % interval -0.00040 to 0.00060, TOST paired t, n = 10 seeds, p = 0.002)"
    )
    assert equivalence(0.0001, -0.0009, 0.0011, p=0.07).sentence("a", "b", unit="folds") == (
        "equivalence within 0.001 not shown for a and b "
        "(a minus b 0.0001, 90 % interval -0.0009 to 0.0011, TOST paired t, n = 10 folds, p = 0.070)"
    )


def parsed(text):
    """The word, the amount and the interval of a sentence that shows a difference."""
    found = re.fullmatch(
        rf"(a|b) is (better|worse) than (a|b) by ({NUMBER}) \(95 % interval ({NUMBER}) to ({NUMBER}), .*\)", text
    )
    return found and (found[2], *map(float, found.group(4, 5, 6)))


@pytest.mark.parametrize("name", TESTS)
@settings(max_examples=150)
@given(samples=two_samples(), lower_is_better=st.booleans())
def test_swapping_the_samples_swaps_what_is_said(name, samples, lower_is_better):
    a, b = samples
    forth, back = quiet(TESTS[name], a, b), quiet(TESTS[name], b, a)

    assert forth.p == pytest.approx(back.p, rel=1e-9, nan_ok=True)
    assert (forth.low, forth.high) == pytest.approx((-back.high, -back.low), rel=1e-9, nan_ok=True)
    said = forth.sentence("a", "b", lower_is_better=lower_is_better)
    other = back.sentence("b", "a", lower_is_better=lower_is_better)
    assert said.translate(str.maketrans("", "", "-")).count(" shown ") == other.count(" shown ")
    if forth.shown:
        assert {
            forth.conclusion(lower_is_better=lower_is_better),
            back.conclusion(lower_is_better=lower_is_better),
        } == {
            "better",
            "worse",
        }
        assert parsed(said)[1:] == pytest.approx(parsed(other)[1:])
    else:
        assert said.startswith("no difference shown between a and b (")
        assert other.startswith("no difference shown between b and a (")
    assert forth.swapped().sentence("b", "a", lower_is_better=lower_is_better).split("(")[0] == other.split("(")[0]


@pytest.mark.parametrize("name", TESTS)
@settings(max_examples=150)
@given(samples=two_samples(), lower_is_better=st.booleans())
def test_a_sentence_says_what_the_numbers_say(name, samples, lower_is_better):
    r = quiet(TESTS[name], *samples)
    said = r.sentence("a", "b", lower_is_better=lower_is_better)

    assert "equal " not in said
    assert "equivalent" not in said
    assert f"n = {r.n} seeds" in said if r.paired else f"n = {r.n_a} and {r.n_b} seeds" in said
    if not (r.p <= 0.05 and (r.low > 0 or r.high < 0)):
        assert said.startswith("no difference shown between a and b (a minus b ")
        return
    word, amount, low, high = parsed(said)
    assert word == ("better" if (np.sign(r.estimate) > 0) != lower_is_better else "worse")
    assert 0 < low <= amount <= high
    ends = sorted((abs(r.low), abs(r.high)))
    assert (amount, low, high) == pytest.approx((abs(r.estimate), *ends), abs=0.06 * (ends[1] - ends[0]), rel=1e-5)
    # The other kind of metric, and negative values, turn the word and leave the numbers.
    opposite = {"better": "worse", "worse": "better"}[word]
    assert said.replace(f" {word} ", f" {opposite} ") == r.sentence("a", "b", lower_is_better=not lower_is_better)


@settings(max_examples=150)
@given(samples=two_samples(), alternative=st.sampled_from(["less", "greater"]), lower_is_better=st.booleans())
def test_one_sided_tests_speak_of_one_side(samples, alternative, lower_is_better):
    r = quiet(stats.paired_t, *samples, alternative=alternative)
    said = r.sentence("a", "b", lower_is_better=lower_is_better)

    word = "better" if (alternative == "greater") != lower_is_better else "worse"
    assert said.startswith((f"a is {word} than b by ", f"a is not shown to be {word} than b ("))
    assert said.startswith(f"a is {word}") == bool(r.p <= 0.05)


@settings(max_examples=100)
@given(samples=two_samples())
def test_swapped_is_the_test_of_swapped_samples(samples):
    for alternative, flipped in (("two-sided", "two-sided"), ("less", "greater"), ("greater", "less")):
        for function in TESTS.values():
            forth = quiet(function, *samples, alternative=alternative).swapped()
            back = quiet(function, *samples[::-1], alternative=flipped)
            for field in dataclasses.fields(back):
                ours, theirs = getattr(forth, field.name), getattr(back, field.name)
                if isinstance(ours, float):
                    assert ours == pytest.approx(theirs, rel=1e-9, abs=1e-12, nan_ok=True), field.name
                else:
                    assert ours == theirs, field.name


@settings(max_examples=150)
@given(samples=two_samples(), margin=st.floats(0.01, 100), paired=st.booleans())
def test_equivalence_is_said_of_intervals_within_the_margin_only(samples, margin, paired):
    r = quiet(stats.tost, *samples, margin, paired=paired)
    back = quiet(stats.tost, *samples[::-1], margin, paired=paired)
    said = r.sentence("a", "b")

    assert r.equivalent == back.equivalent
    assert r.p == pytest.approx(back.p, rel=1e-9, nan_ok=True)
    if r.equivalent:
        assert r.p <= 0.05
        assert -margin < r.low < r.high < margin
        assert said.startswith(f"a and b are equivalent within {margin:.12g} (a minus b ")
        shown = re.search(rf"90 % interval ({NUMBER}) to ({NUMBER})", said)
        assert all(abs(float(end)) <= margin for end in shown.groups())
    else:
        assert said.startswith(f"equivalence within {margin:.12g} not shown for a and b (")


@given(p=st.floats(0, 1), confidence=st.sampled_from([0.9, 0.95, 0.99, 0.999, 0.9995]))
@example(p=0.01245, confidence=0.9876)
@example(p=0.0007, confidence=0.9995)
def test_the_printed_p_lies_on_the_side_of_alpha_that_decided(p, confidence):
    low, high = (1.0, 3.0) if p <= round(1 - confidence, 12) else (-1.0, 5.0)
    said = comparison(2.0, low, high, p=p, confidence=confidence).sentence("a", "b", lower_is_better=False)
    relation, printed = re.search(r"p (=|<) (\S+)\)", said).groups()

    alpha = round(1 - confidence, 12)
    if relation == "<":
        assert p < float(printed) <= alpha
    else:
        assert (float(printed) <= alpha) == (p <= alpha)
        assert float(printed) == pytest.approx(p, abs=6e-4, rel=5e-3)
    assert said.startswith("a is better") == (p <= alpha)


@pytest.mark.parametrize("p", [0.0499999, 0.0500001, 0.05, 0.0095, 0.0104])
def test_a_p_beside_alpha_gets_the_decimals_it_needs(p):
    said = comparison(2.0, 1.0, 3.0, p=p).sentence("a", "b", lower_is_better=False)

    assert (float(re.search(r"p = ([\d.]+)", said)[1]) <= 0.05) == (p <= 0.05)


@given(low=st.floats(1e-9, 1e9), width=st.floats(1e-9, 1e9))
def test_an_end_that_leaves_zero_out_is_not_printed_as_zero(low, width):
    word, amount, *ends = parsed(comparison(low + width, low, low + 2 * width).sentence("a", "b", lower_is_better=True))

    assert word == "worse"
    assert 0 < ends[0] <= amount <= ends[1]


@given(name=st.sampled_from(list(TESTS)), lower_is_better=st.booleans())
def test_the_same_runs_are_never_called_equal(name, lower_is_better):
    x = [0.91, 0.92, 0.95, 0.93, 0.9, 0.94]
    said = quiet(TESTS[name], x, x).sentence("a", "b", lower_is_better=lower_is_better)

    assert said.startswith("no difference shown between a and b (a minus b 0")
    assert "equal" not in said


def test_nan_is_never_a_conclusion():
    for p, low, high in ((math.nan, 1, 2), (0.01, math.nan, math.nan), (None, 1, 2)):
        assert comparison(1.5, low, high, p=p).conclusion(lower_is_better=True) == "no difference shown"
        assert not equivalence(0, low / 1e4, high / 1e4, p=p).equivalent
    assert comparison(1.5, 1, 2, p=0.01, p_adjusted=math.nan).shown == 0
    assert comparison(1.5, 1, 2, p=0.2, p_adjusted=0.01).shown == 1


def test_p_and_the_interval_must_agree():
    assert comparison(1.5, 0, 3, p=0.01).shown == 0
    assert comparison(1.5, 1, 3, p=0.06).shown == 0
    assert comparison(1.5, 1, 3, p=0.05).shown == 1
    assert not equivalence(0.0, -0.001, 0.0005).equivalent
    assert not equivalence(0.0, -0.0005, 0.001).equivalent
    assert not equivalence(0.0, -0.0005, 0.0005, p=0.06).equivalent


@pytest.mark.parametrize(
    ("arguments", "options", "error", "text"),
    [
        (("a", "a"), {"lower_is_better": True}, ValueError, "different from `name_a`"),
        (("", "a"), {"lower_is_better": True}, ValueError, "`name_a` should be a name"),
        (("a", 1), {"lower_is_better": True}, TypeError, "`name_b` should be a name"),
        (("a", "b"), {"lower_is_better": 1}, TypeError, "`lower_is_better` should be True or False"),
        (("a", "b"), {"lower_is_better": None}, TypeError, "`lower_is_better`"),
        (("a", "b"), {"lower_is_better": True, "unit": " "}, ValueError, "`unit`"),
        (("a", "b"), {}, TypeError, "lower_is_better"),
        (("a", "b", True), {}, TypeError, "positional"),
    ],
)
def test_a_sentence_needs_names_and_a_direction(arguments, options, error, text):
    with pytest.raises(error) as caught:
        comparison(1.5, 1, 2).sentence(*arguments, **options)

    assert text in str(caught.value)
