"""Equivalence by two one-sided tests (Schuirmann 1987)."""

from __future__ import annotations

import math
from typing import Any

from keras_entropy._checks import flag, positive
from keras_entropy.stats import _samples, student
from keras_entropy.stats.records import Equivalence


def tost(a: Any, b: Any, margin: float, level: float = 0.05, *, paired: bool = True) -> Equivalence:
    """Whether a and b differ by less than a margin: the only test here that may say "equivalent".

    Both one-sided t tests must reject, paired or Welch's. Choose the margin before the runs: the largest difference
    that would not matter. Values that do not vary have neither interval nor p, and no equivalence is shown.

    Args:
        a: at least two numbers.
        b: at least two numbers, as many as `a` if paired.
        margin: above 0, in the unit of the values.
        level: error rate of the decision; the interval of the record has confidence 1 - 2 `level`.
        paired: whether each number of `b` is the partner of the number of `a` at its place.

    Examples:
        >>> from keras_entropy.stats import tost
        >>> r = tost([0.91, 0.93, 0.92, 0.94], [0.91, 0.92, 0.92, 0.95], 0.02)
        >>> r.equivalent, round(r.p, 4), round(r.level, 2)
        (True, 0.0081, 0.9)
    """
    margin, alpha = positive("margin", margin), _samples.significance(level)
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
        "level": 1 - 2 * alpha,
        "df": float(df),
        "paired": paired,
        "margin": margin,
        "alpha": alpha,
    }
    if error == 0:
        note = "the differences do not vary" if paired else "neither sample varies"
        _samples.warn(f"There is no test of equivalence: {note}.")
        return Equivalence(**record, low=math.nan, high=math.nan, p=math.nan, note=note)
    above = student.t_test(mean, error, df, 1 - alpha, "greater", -margin)
    below = student.t_test(mean, error, df, 1 - alpha, "less", margin)
    worst = max(above, below, key=lambda result: result[1])
    return Equivalence(**record, low=above[2], high=below[3], p=worst[1], statistic=worst[0])
