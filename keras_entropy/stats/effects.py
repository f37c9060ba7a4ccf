"""Effect sizes: Hedges' g (Hedges 1981) with an interval by the noncentral t distribution."""

from __future__ import annotations

import math
from typing import Any

from keras_entropy._checks import flag
from keras_entropy.stats import _samples
from keras_entropy.stats.noncentral import noncentrality
from keras_entropy.stats.records import Estimate


def effect_size(a: Any, b: Any, *, paired: bool, level: float = 0.95) -> Estimate:
    """Hedges' g: the difference of the means in standard deviations, corrected for the bias of small samples.

    Paired, the deviation is that of the differences (g_z, from Cohen's d_z): it says how visible a difference is
    between runs of one seed, and does not compare with an unpaired g. Unpaired, it is the pooled one, which supposes
    equal variances. The interval is the exact one of the true effect, and p that of the t test (Student's, if unpaired)
    of no effect. Values that do not vary have none of them; of two pairs, g itself is NaN.

    Args:
        a: at least two numbers.
        b: at least two numbers, as many as `a` if paired.
        paired: whether each number of `b` is the partner of the number of `a` at its place.
        level: confidence of the interval.

    Examples:
        >>> from keras_entropy.stats import effect_size
        >>> print(effect_size([0.91, 0.93, 0.92, 0.94], [0.90, 0.91, 0.91], paired=False))
        1.4 (95 % interval -0.2 to 3.5, Hedges g, n = 7, p = 0.074)
    """
    from scipy import special

    level = _samples.confidence(level)
    if flag("paired", paired):
        first, second = _samples.pairs(a, b)
        differences = first - second
        n, df, mean, root = len(first), len(first) - 1, float(differences.mean()), math.sqrt(len(first))
        still, deviation = _samples.constant(differences - mean, first, second), float(differences.std(ddof=1))
        method, note = "Hedges g of the differences", "the differences do not vary"
    else:
        first, second = _samples.sample("a", a), _samples.sample("b", b)
        n, df = len(first) + len(second), len(first) + len(second) - 2
        mean, root = float(first.mean() - second.mean()), math.sqrt(len(first) * len(second) / n)
        still = all(_samples.constant(x - x.mean(), x) for x in (first, second))
        deviation = math.sqrt(sum((len(x) - 1) * float(x.var(ddof=1)) for x in (first, second)) / df)
        method, note = "Hedges g", "neither sample varies"
    record: dict[str, Any] = {"method": method, "n": n, "level": level, "df": float(df)}
    if still:
        _samples.warn(f"There is no effect size: {note}.")
        return Estimate(**record, estimate=math.nan, low=math.nan, high=math.nan, p=math.nan, note=note)
    d = mean / deviation
    t = d * root
    low, high = (noncentrality(t, df, tail) / root for tail in ((1 + level) / 2, (1 - level) / 2))
    p = min(2 * float(special.stdtr(df, -abs(t))), 1.0)
    return Estimate(**record, estimate=hedges_factor(df) * d, low=low, high=high, p=p, statistic=t)


def hedges_factor(df: float) -> float:
    """What Cohen's d is multiplied with to be unbiased: the exact one, by gamma functions (Hedges 1981, eq. 6e)."""
    if df <= 1:  # the mean of d does not exist: nothing makes it unbiased
        return math.nan
    return math.exp(math.lgamma(df / 2) - math.lgamma((df - 1) / 2)) / math.sqrt(df / 2)
