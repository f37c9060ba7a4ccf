"""The signed-rank test (Wilcoxon 1945) with the estimate and interval that belong to it (Hodges, Lehmann 1963)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_entropy._checks import message
from keras_entropy.stats import _samples
from keras_entropy.stats.records import Comparison

_EXACT = 50
_MOST = 5000  # the interval needs the means of all pairs of differences


def wilcoxon(a: Any, b: Any, level: float = 0.95, *, alternative: str = "two-sided") -> Comparison:
    """The Wilcoxon signed-rank test of pairs, with the Hodges-Lehmann estimate of a minus b.

    Up to 50 differences p is exact; for tied ones it is the exact conditional p, by mid-ranks, where R and SciPy take
    the normal approximation. Beyond 50 the approximation is used, with corrections for ties and continuity. Zeros are
    left out of the test, as by R and SciPy, but not of the estimate and interval; where these then disagree with p,
    `verdict` shows no difference. If all differences are zero, p is 1. The interval inverts the test. With too few
    pairs to reach the level it is unbounded, and a warning says so: at 95 % with fewer than 6. Where it would have zero
    width it is NaN, with a warning. `statistic` is the sum of the ranks of the differences above zero.

    Args:
        a: at least two numbers, at most 5000.
        b: as many, each the partner of the number of `a` at its place.
        level: confidence of the interval.
        alternative: as in SciPy: where a lies, against b, if the null hypothesis is wrong.

    Examples:
        >>> from keras_entropy.stats import wilcoxon
        >>> r = wilcoxon([91, 93, 92, 95, 96, 90], [90, 91, 95, 91, 91, 84])
        >>> f"{r.difference}, {r.low} to {r.high}, p = {r.p}, statistic {r.statistic}"
        '3.0, -3.0 to 6.0, p = 0.15625, statistic 18.0'
    """
    from scipy import stats

    first, second = _samples.pairs(a, b)
    level, alternative = _samples.confidence(level), _samples.sidedness(alternative)
    if len(first) > _MOST:
        raise ValueError(
            message("len(a)", f"at most {_MOST}", len(first), "Use `paired_t`, whose interval holds here.")
        )
    differences = first - second
    # Differences within the rounding of their numbers are zeros; those that differ by no more are ties.
    unit = 32 * float(np.finfo(np.float64).eps) * float(np.maximum(np.abs(first), np.abs(second)).max())
    differences = np.where(np.abs(differences) <= unit, 0.0, differences)
    used = differences[differences != 0]
    ranks = stats.rankdata(_merged(np.abs(used), unit)) if len(used) else np.empty(0)
    statistic, total = float(ranks[used > 0].sum()), float(ranks.sum())
    walsh = np.sort(((differences[:, None] + differences) / 2)[np.triu_indices(len(differences))])
    low, high, note = _interval(walsh, len(differences), level, alternative, unit)
    zeros = len(differences) - len(used)
    notes = [note, f"{zeros} zero{'s' * (zeros > 1)} left out of the test" if zeros else ""]
    return Comparison(
        method="Wilcoxon signed-rank",
        n=len(first),
        estimate=float(np.median(walsh)),
        low=low,
        high=high,
        p=_p(ranks, statistic, alternative),
        level=level,
        alternative=alternative,
        statistic=statistic,
        statistic_sum=total,
        note="; ".join(text for text in notes if text),
        n_a=len(first),
        n_b=len(first),
        paired=True,
        effect=2 * statistic / total - 1 if total else 0.0,
        effect_name="matched-pairs rank-biserial correlation",
    )


def _merged(values: _samples.Array, unit: float) -> _samples.Array:
    """The values, those that differ by rounding only made the same."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    starts = np.concatenate([[True], np.diff(ordered) > unit])
    merged = np.empty_like(values)
    merged[order] = ordered[starts][np.cumsum(starts) - 1]
    return merged


def _distribution(ranks: _samples.Array) -> _samples.Array:
    """Probability of each sum of doubled ranks, when each rank counts or not by the toss of a coin."""
    doubled = np.rint(2 * ranks).astype(int)  # mid-ranks are halves
    chances = np.zeros(doubled.sum() + 1)
    chances[0] = 1.0
    for rank in doubled:
        chances[rank:] += chances[:-rank].copy()
        chances /= 2
    return chances


def _p(ranks: _samples.Array, statistic: float, alternative: str) -> float:
    from scipy import special

    if not len(ranks):
        return 1.0
    if len(ranks) <= _EXACT:
        chances, at = _distribution(ranks), round(2 * statistic)
        below, above = float(chances[: at + 1].sum()), float(chances[at:].sum())
    else:
        deviation, distance = math.sqrt(float(np.square(ranks).sum()) / 4), statistic - float(ranks.sum()) / 2
        below = float(special.ndtr((distance + 0.5) / deviation))
        above = float(special.ndtr((0.5 - distance) / deviation))
    two_sided = 2 * min(below, above)
    return min({"two-sided": two_sided, "less": below, "greater": above}[alternative], 1.0)


def _interval(walsh: _samples.Array, n: int, level: float, alternative: str, unit: float) -> tuple[float, float, str]:
    """The k-th smallest and k-th largest mean of two differences, where a sum of ranks below k is improbable enough."""
    from scipy import special

    tail = (1 - level) / (2 if alternative == "two-sided" else 1)
    if n <= _EXACT:
        cumulative = np.cumsum(_distribution(np.arange(1.0, n + 1))[::2])
        k = int((cumulative <= tail * (1 + 1e-9)).sum())
    else:
        middle, deviation = n * (n + 1) / 4, math.sqrt(n * (n + 1) * (2 * n + 1) / 24)
        k = math.floor(middle + float(special.ndtri(tail)) * deviation + 0.5)
    if k == 0:
        note = f"{n} pairs are too few for an interval of {100 * level:.10g} %"
        _samples.warn(f"The signed-rank interval is unbounded: {note}.", 2)
        return -math.inf, math.inf, note
    low, high = float(walsh[k - 1]), float(walsh[-k])
    if high - low <= unit:
        note = "the differences hardly vary"
        _samples.warn(f"There is no signed-rank interval: {note}, so that it would have zero width.", 2)
        return math.nan, math.nan, note
    return (low if alternative != "less" else -math.inf), (high if alternative != "greater" else math.inf), ""
