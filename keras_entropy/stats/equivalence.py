"""Equivalence by two one-sided t tests (Schuirmann, 1987)."""

from __future__ import annotations

import math
from typing import Any

from keras_entropy._checks import flag, positive
from keras_entropy.stats import _samples, student
from keras_entropy.stats.results import Equivalence


def tost(a: Any, b: Any, margin: float, alpha: float = 0.05, *, paired: bool = True) -> Equivalence:
    """Test whether a and b differ by less than a margin. No other test here can say "equivalent".

    Both one-sided t tests must reject. Choose the margin before the runs: the largest difference that would not matter.
    If the values do not vary, the interval and p-value are NaN and equivalence is not shown.

    Args:
        a: List or 1D array of at least two numbers.
        b: List or 1D array of at least two numbers; as many as `a` if paired.
        margin: Float above 0, in the unit of the values.
        alpha: Float. Error rate of the decision; the interval of the result has confidence 1 - 2 `alpha`. Defaults to
            0.05.
        paired: Boolean. True for paired t tests, with `b[i]` the partner of `a[i]`; False for Welch's. Defaults to
            True.

    Returns:
        An `Equivalence`.

    Raises:
        TypeError, ValueError: For an invalid argument, such as too few values, or a value that is not finite.

    Examples:
        >>> from keras_entropy.stats import tost
        >>> r = tost([0.91, 0.93, 0.92, 0.94], [0.91, 0.92, 0.92, 0.95], 0.02)
        >>> r.equivalent, round(r.p, 4), round(r.confidence, 2)
        (True, 0.0081, 0.9)
    """
    margin, alpha = positive("margin", margin), _samples.alpha(alpha)
    if flag("paired", paired):
        first, second = _samples.pairs(a, b)
        mean, error, df = student.paired_error(first, second)
    else:
        first, second = _samples.sample("a", a), _samples.sample("b", b)
        mean, error, df = student.welch_error(first, second)
    record: dict[str, Any] = {
        "method": "TOST paired t" if paired else "TOST Welch t",
        "n": len(first) if paired else len(first) + len(second),
        "n_a": len(first),
        "n_b": len(second),
        "estimate": mean,
        "confidence": 1 - 2 * alpha,
        "df": float(df),
        "paired": paired,
        "margin": margin,
        "alpha": alpha,
    }
    if error == 0:
        note = student.constant_note(paired)
        _samples.warn(f"No test of equivalence: {note}.")
        return Equivalence(**record, low=math.nan, high=math.nan, p=math.nan, note=note)
    above = student.t_test(mean, error, df, 1 - alpha, "greater", -margin)
    below = student.t_test(mean, error, df, 1 - alpha, "less", margin)
    worst = max(above, below, key=lambda result: result[1])
    return Equivalence(**record, low=above[2], high=below[3], p=worst[1], statistic=worst[0])
