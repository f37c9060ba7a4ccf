"""Intervals and tests by Student's t (Student, 1908; Welch, 1947), with Hedges' g (Hedges, 1981)."""

from __future__ import annotations

import math
from typing import Any

from keras_entropy._checks import number
from keras_entropy.stats import _samples
from keras_entropy.stats.results import Estimate, MeanDifference


def t_interval(
    x: Any, confidence: float = 0.95, *, null: float | None = None, alternative: str = "two-sided"
) -> Estimate:
    """The mean of a sample with its t interval.

    The interval covers the true mean with its confidence if the values are independent and normal. If the values do not
    vary, the interval and p-value are NaN.

    Args:
        x: List or 1D array of at least two numbers.
        confidence: Float. Confidence of the interval. Defaults to 0.95.
        null: Float. Mean to test against. Defaults to None: no test, and `p` is None.
        alternative: String, as in SciPy: `"two-sided"`, `"less"` or `"greater"`. Defaults to `"two-sided"`.

    Returns:
        An `Estimate`.

    Raises:
        TypeError, ValueError: For an invalid argument, such as too few values, or a value that is not finite.

    Examples:
        >>> from keras_entropy.stats import t_interval
        >>> print(t_interval([0.91, 0.93, 0.92, 0.94]))
        0.925 (95 % interval 0.904 to 0.946, t, n = 4)
    """
    values, alternative = _samples.sample("x", x), _samples.alternative(alternative)
    confidence = _samples.confidence(confidence)
    center = 0.0 if null is None else float(number("null", null))
    n, mean = len(values), float(values.mean())
    record: dict[str, Any] = {
        "method": "t",
        "n": n,
        "estimate": mean,
        "confidence": confidence,
        "alternative": alternative,
        "df": float(n - 1),
    }
    if _samples.constant(values - mean, values):
        note = "the values do not vary"
        _samples.warn(f"No t interval: {note}.")
        return Estimate(**record, low=math.nan, high=math.nan, p=None if null is None else math.nan, note=note)
    error = float(values.std(ddof=1)) / math.sqrt(n)
    t, p, low, high = t_test(mean, error, n - 1, confidence, alternative, center)
    tested: dict[str, Any] = {} if null is None else {"statistic": t}
    return Estimate(**record, **tested, low=low, high=high, p=None if null is None else p)


def paired_t(a: Any, b: Any, confidence: float = 0.95, *, alternative: str = "two-sided") -> MeanDifference:
    """The mean of a minus b over pairs, such as runs with the same seed, with its t interval and test.

    If the differences do not vary, the interval and p-value are NaN, whatever their mean.

    Args:
        a: List or 1D array of at least two numbers.
        b: List or 1D array of as many numbers; `b[i]` is the partner of `a[i]`.
        confidence: Float. Confidence of the interval. Defaults to 0.95.
        alternative: String, as in SciPy: `"two-sided"`, `"less"` or `"greater"`. Defaults to `"two-sided"`.

    Returns:
        A `MeanDifference`.

    Raises:
        TypeError, ValueError: For an invalid argument, such as too few values, or a value that is not finite.

    Examples:
        >>> from keras_entropy.stats import paired_t
        >>> r = paired_t([0.91, 0.93, 0.92, 0.94], [0.90, 0.91, 0.91, 0.92])
        >>> f"{r.difference:.3f}, {r.low:.4f} to {r.high:.4f}, p = {r.p:.3f}, {r.method}, n = {r.n}"
        '0.015, 0.0058 to 0.0242, p = 0.014, paired t, n = 4'
    """
    first, second = _samples.pairs(a, b)
    confidence, alternative = _samples.confidence(confidence), _samples.alternative(alternative)
    mean, error, df = paired_error(first, second)
    n = len(first)
    effect = hedges_factor(df) * mean / (error * math.sqrt(n)) if error > 0 else math.nan
    return _mean_difference(
        mean, error, df, confidence, alternative, method="paired t", n=n, n_a=n, n_b=n, paired=True, effect=effect
    )


def welch_t(a: Any, b: Any, confidence: float = 0.95, *, alternative: str = "two-sided") -> MeanDifference:
    """The difference of the means of two unpaired samples, with Welch's t interval and test.

    Welch's test does not assume equal variances. If neither sample varies, the interval and p-value are NaN.

    Args:
        a: List or 1D array of at least two numbers.
        b: List or 1D array of at least two numbers.
        confidence: Float. Confidence of the interval. Defaults to 0.95.
        alternative: String, as in SciPy: `"two-sided"`, `"less"` or `"greater"`. Defaults to `"two-sided"`.

    Returns:
        A `MeanDifference`.

    Raises:
        TypeError, ValueError: For an invalid argument, such as too few values, or a value that is not finite.

    Examples:
        >>> from keras_entropy.stats import welch_t
        >>> r = welch_t([0.91, 0.93, 0.92, 0.94], [0.90, 0.91, 0.91])
        >>> f"{r.difference:.4f}, {r.low:.4f} to {r.high:.4f}, p = {r.p:.3f}, n = {r.n_a} and {r.n_b}"
        '0.0183, -0.0012 to 0.0379, p = 0.060, n = 4 and 3'
    """
    first, second = _samples.sample("a", a), _samples.sample("b", b)
    confidence, alternative = _samples.confidence(confidence), _samples.alternative(alternative)
    mean, error, df = welch_error(first, second)
    n_a, n_b = len(first), len(second)
    pooled = math.sqrt(((n_a - 1) * first.var(ddof=1) + (n_b - 1) * second.var(ddof=1)) / (n_a + n_b - 2))
    effect = hedges_factor(n_a + n_b - 2) * mean / pooled if error > 0 else math.nan
    return _mean_difference(
        mean, error, df, confidence, alternative, method="Welch t", n=n_a + n_b, n_a=n_a, n_b=n_b, paired=False,
        effect=effect,
    )  # fmt: skip


def paired_error(a: _samples.Array, b: _samples.Array) -> tuple[float, float, float]:
    """Mean difference, its standard error (0 if the differences do not vary), and the degrees of freedom."""
    differences = a - b
    mean = float(differences.mean())
    if _samples.constant(differences - mean, a, b):
        return mean, 0.0, len(a) - 1
    return mean, float(differences.std(ddof=1)) / math.sqrt(len(a)), len(a) - 1


def welch_error(a: _samples.Array, b: _samples.Array) -> tuple[float, float, float]:
    """Difference of the means, its standard error (0 if neither sample varies), and Welch's degrees of freedom."""
    squares = [
        0.0 if _samples.constant(x - x.mean(), x) else float(x.var(ddof=1)) / len(x) for x in (a, b)
    ]  # squared standard errors
    difference, total = float(a.mean() - b.mean()), sum(squares)
    if total == 0:
        return difference, 0.0, len(a) + len(b) - 2
    shares = [(square / total) ** 2 / (len(x) - 1) for square, x in zip(squares, (a, b), strict=True)]
    return difference, math.sqrt(total), 1 / sum(shares)


def t_test(
    estimate: float, error: float, df: float, confidence: float, alternative: str, null: float = 0.0
) -> tuple[float, float, float, float]:
    """The t statistic, the p-value, and both ends of the interval."""
    from scipy import special

    t = (estimate - null) / error
    if alternative == "two-sided":
        reach = float(special.stdtrit(df, (1 + confidence) / 2)) * error
        return t, min(2 * float(special.stdtr(df, -abs(t))), 1.0), estimate - reach, estimate + reach
    reach = float(special.stdtrit(df, confidence)) * error
    if alternative == "less":
        return t, float(special.stdtr(df, t)), -math.inf, estimate + reach
    return t, float(special.stdtr(df, -t)), estimate - reach, math.inf


def hedges_factor(df: float) -> float:
    """The factor that makes Cohen's d unbiased, exact by gamma functions (Hedges, 1981, eq. 6e)."""
    if df <= 1:  # the mean of d does not exist
        return math.nan
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)


def constant_note(paired: bool) -> str:
    """Why there is no test: the samples do not vary."""
    return "the differences do not vary" if paired else "neither sample varies"


def _mean_difference(
    estimate: float, error: float, df: float, confidence: float, alternative: str, *, paired: bool, **record: Any
) -> MeanDifference:
    record |= {"estimate": estimate, "confidence": confidence, "alternative": alternative}
    record |= {"df": float(df), "paired": paired}
    if error == 0:
        note = constant_note(paired)
        _samples.warn(f"No t interval: {note}.", 2)
        return MeanDifference(**record, low=math.nan, high=math.nan, p=math.nan, note=note)
    t, p, low, high = t_test(estimate, error, df, confidence, alternative)
    return MeanDifference(**record, low=low, high=high, p=p, statistic=t)
