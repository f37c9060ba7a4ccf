"""Intervals and tests by Student's t (Student 1908, Welch 1947)."""

from __future__ import annotations

import math
from typing import Any

from keras_entropy._checks import number
from keras_entropy.stats import _samples
from keras_entropy.stats.effects import hedges_factor
from keras_entropy.stats.records import Comparison, Estimate


def t_interval(x: Any, level: float = 0.95, *, null: float | None = None, alternative: str = "two-sided") -> Estimate:
    """The mean of a sample with its t interval.

    It covers at its level if the values are independent and normal. Values that do not vary have neither interval nor
    p.

    Args:
        x: at least two numbers.
        level: confidence of the interval.
        null: a mean to test against; without it, p is None.
        alternative: as in SciPy: what the mean is, against `null`, if the null hypothesis is wrong.

    Examples:
        >>> from keras_entropy.stats import t_interval
        >>> print(t_interval([0.91, 0.93, 0.92, 0.94]))
        0.925 (95 % interval 0.904 to 0.946, t, n = 4)
    """
    values, level, alternative = _samples.sample("x", x), _samples.confidence(level), _samples.sidedness(alternative)
    center = 0.0 if null is None else float(number("null", null))
    n, mean = len(values), float(values.mean())
    record: dict[str, Any] = {
        "method": "t",
        "n": n,
        "estimate": mean,
        "level": level,
        "alternative": alternative,
        "df": float(n - 1),
    }
    if _samples.constant(values - mean, values):
        note = "the values do not vary"
        _samples.warn(f"There is no t interval: {note}.")
        return Estimate(**record, low=math.nan, high=math.nan, p=None if null is None else math.nan, note=note)
    error = float(values.std(ddof=1)) / math.sqrt(n)
    t, p, low, high = t_test(mean, error, n - 1, level, alternative, center)
    tested: dict[str, Any] = {} if null is None else {"statistic": t}
    return Estimate(**record, **tested, low=low, high=high, p=None if null is None else p)


def paired_t(a: Any, b: Any, level: float = 0.95, *, alternative: str = "two-sided") -> Comparison:
    """The mean of a minus b over pairs, such as runs with the same seed, with its t interval.

    Differences that do not vary have neither interval nor p, whatever their mean.

    Args:
        a: at least two numbers.
        b: as many, each the partner of the number of `a` at its place.
        level: confidence of the interval.
        alternative: as in SciPy: what a is, against b, if the null hypothesis is wrong.

    Examples:
        >>> from keras_entropy.stats import paired_t
        >>> r = paired_t([0.91, 0.93, 0.92, 0.94], [0.90, 0.91, 0.91, 0.92])
        >>> f"{r.difference:.3f}, {r.low:.4f} to {r.high:.4f}, p = {r.p:.3f}, {r.method}, n = {r.n}"
        '0.015, 0.0058 to 0.0242, p = 0.014, paired t, n = 4'
    """
    first, second = _samples.pairs(a, b)
    level, alternative = _samples.confidence(level), _samples.sidedness(alternative)
    mean, error, df = paired_error(first, second)
    n = len(first)
    effect = hedges_factor(df) * mean / (error * math.sqrt(n)) if error > 0 else math.nan
    return _comparison(
        mean, error, df, level, alternative, method="paired t", n=n, n_a=n, n_b=n, paired=True, effect=effect,
        effect_name="Hedges g of the differences",
    )  # fmt: skip


def welch_t(a: Any, b: Any, level: float = 0.95, *, alternative: str = "two-sided") -> Comparison:
    """The difference of the means of two samples that are not paired, with Welch's t interval.

    It does not suppose equal variances. If neither sample varies there is neither interval nor p.

    Args:
        a: at least two numbers.
        b: at least two numbers.
        level: confidence of the interval.
        alternative: as in SciPy: what a is, against b, if the null hypothesis is wrong.

    Examples:
        >>> from keras_entropy.stats import welch_t
        >>> r = welch_t([0.91, 0.93, 0.92, 0.94], [0.90, 0.91, 0.91])
        >>> f"{r.difference:.4f}, {r.low:.4f} to {r.high:.4f}, p = {r.p:.3f}, n = {r.n_a} and {r.n_b}"
        '0.0183, -0.0012 to 0.0379, p = 0.060, n = 4 and 3'
    """
    first, second = _samples.sample("a", a), _samples.sample("b", b)
    level, alternative = _samples.confidence(level), _samples.sidedness(alternative)
    difference, error, df = welch_error(first, second)
    n_a, n_b = len(first), len(second)
    pooled = math.sqrt(((n_a - 1) * first.var(ddof=1) + (n_b - 1) * second.var(ddof=1)) / (n_a + n_b - 2))
    effect = hedges_factor(n_a + n_b - 2) * difference / pooled if error > 0 else math.nan
    return _comparison(
        difference, error, df, level, alternative, method="Welch t", n=n_a + n_b, n_a=n_a, n_b=n_b, paired=False,
        effect=effect, effect_name="Hedges g",
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
    estimate: float, error: float, df: float, level: float, alternative: str, null: float = 0.0
) -> tuple[float, float, float, float]:
    """The t statistic, p, and both ends of the interval."""
    from scipy import special

    t = (estimate - null) / error
    if alternative == "two-sided":
        reach = float(special.stdtrit(df, (1 + level) / 2)) * error
        return t, min(2 * float(special.stdtr(df, -abs(t))), 1.0), estimate - reach, estimate + reach
    reach = float(special.stdtrit(df, level)) * error
    if alternative == "less":
        return t, float(special.stdtr(df, t)), -math.inf, estimate + reach
    return t, float(special.stdtr(df, -t)), estimate - reach, math.inf


def _comparison(
    estimate: float, error: float, df: float, level: float, alternative: str, *, paired: bool, **record: Any
) -> Comparison:
    record |= {"estimate": estimate, "level": level, "alternative": alternative, "df": float(df), "paired": paired}
    if error == 0:
        note = "the differences do not vary" if paired else "neither sample varies"
        _samples.warn(f"There is no t interval: {note}.", 2)
        return Comparison(**record, low=math.nan, high=math.nan, p=math.nan, note=note)
    t, p, low, high = t_test(estimate, error, df, level, alternative)
    return Comparison(**record, low=low, high=high, p=p, statistic=t)
