"""Families of tests: Holm's adjustment (Holm 1979), all pairs, and many against one control (Dunnett 1955)."""

from __future__ import annotations

import dataclasses
import itertools
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_entropy._checks import message, one_of
from keras_entropy.stats import _samples
from keras_entropy.stats.effects import hedges_factor
from keras_entropy.stats.ranks import wilcoxon
from keras_entropy.stats.records import Comparison
from keras_entropy.stats.student import paired_t, welch_t

_TESTS: dict[str, Callable[..., Comparison]] = {"paired_t": paired_t, "welch_t": welch_t, "wilcoxon": wilcoxon}


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's adjusted p-values, in the order of the given ones.

    Rejecting those of at most alpha keeps the chance of any false rejection in the family at alpha, however the tests
    depend on each other. Reject by the adjusted values only: they are as large as those of smaller p before them.

    Args:
        p_values: of all tests of the family, also of those that showed nothing.

    Examples:
        >>> from keras_entropy.stats import holm
        >>> [round(p, 2) for p in holm([0.01, 0.04, 0.03])]
        [0.03, 0.06, 0.06]
    """
    values = _samples.sample("p_values", p_values, 1)
    for i in np.flatnonzero((values < 0) | (values > 1))[:1]:
        raise ValueError(message(f"p_values[{i}]", "between 0 and 1", float(values[i])))
    order = np.argsort(values, kind="stable")
    stepped = np.minimum(np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1)), 1)
    adjusted = np.empty_like(values)
    adjusted[order] = stepped
    return tuple(float(p) for p in adjusted)


def pairwise(
    samples: Mapping[str, Any], test: str = "paired_t", adjust: str | None = "holm", level: float = 0.01
) -> dict[tuple[str, str], Comparison]:
    """The comparison of each two samples, in the order of their names; `swapped` gives the other direction.

    A test that could not be made counts in the family as one that showed nothing. The intervals, of confidence
    1 - `level`, are those of each comparison alone; the decision is by the adjusted p.

    Args:
        samples: at least two, by name.
        test: `"paired_t"`, `"welch_t"` or `"wilcoxon"`.
        adjust: `"holm"`, or None for p-values that are each of its own.
        level: error rate of the decisions: for the whole family if adjusted.

    Examples:
        >>> from keras_entropy.stats import pairwise
        >>> arms = {"none": [90, 91, 90, 92, 91], "l2": [91, 92, 90, 92, 91], "both": [95, 97, 94, 97, 96]}
        >>> for (a, b), r in pairwise(arms).items():
        ...     print(a, r.verdict(lower_is_better=False), b, round(r.p_adjusted, 4))
        none no difference shown l2 0.1778
        none worse both 0.0002
        l2 worse both 0.0001
    """
    arms, alpha = _samples.named(samples), _samples.significance(level)
    compare = _TESTS[one_of("test", test, tuple(_TESTS))]
    if adjust is not None:
        one_of("adjust", adjust, ("holm",))
    results = {(a, b): _between(compare, arms, a, b, 1 - alpha) for a, b in itertools.combinations(arms, 2)}
    if adjust is None or len(results) == 1:
        return results
    adjusted = holm([1.0 if r.p is None or math.isnan(r.p) else r.p for r in results.values()])
    family: dict[str, Any] = {"adjustment": f"Holm over {len(results)} tests", "interval_kind": "unadjusted interval"}
    return {
        names: dataclasses.replace(
            result, p_adjusted=math.nan if result.p is None or math.isnan(result.p) else p, **family
        )
        for (names, result), p in zip(results.items(), adjusted, strict=True)
    }


def dunnett(
    samples: Mapping[str, Any], control: str, level: float = 0.95, *, alternative: str = "two-sided", seed: int = 0
) -> dict[str, Comparison]:
    """Each sample against one control, with p-values and intervals that hold for all together (`scipy.stats.dunnett`).

    The samples are not paired and are supposed to have one variance; with paired runs that differ by seed, it is
    conservative. If no sample varies there is neither interval nor p.

    Args:
        samples: at least two, by name, with the control.
        control: its name.
        level: confidence of all intervals together.
        alternative: as in SciPy: what a sample is, against the control, if the null hypothesis is wrong.
        seed: of the integration by SciPy, whose p is right to about 1e-4.

    Examples:
        >>> from keras_entropy.stats import dunnett
        >>> arms = {"none": [7.4, 8.5, 7.2, 8.2, 9.8], "A": [9.8, 8.8, 7.7, 9.4], "B": [12.8, 9.7, 12.2, 9.2]}
        >>> {name: round(r.p, 2) for name, r in dunnett(arms, "none").items()}
        {'A': 0.64, 'B': 0.02}
    """
    from scipy import stats

    arms = _samples.named(samples)
    one_of("control", control, tuple(arms))
    level, alternative = _samples.confidence(level), _samples.sidedness(alternative)
    base = arms[control]
    others = {name: values for name, values in arms.items() if name != control}
    still = all(_samples.constant(values - values.mean(), values) for values in arms.values())
    df = sum(len(values) - 1 for values in arms.values())
    pooled = math.sqrt(sum((len(values) - 1) * float(values.var(ddof=1)) for values in arms.values()) / df)
    k = len(others)
    ends = np.full((4, k), math.nan)
    note = "no sample varies" if still else ""
    if still:
        _samples.warn(f"There is no Dunnett test: {note}.")
    else:
        with warnings.catch_warnings(record=True) as caught, np.errstate(all="ignore"):
            warnings.simplefilter("always")
            result = stats.dunnett(
                *others.values(), control=base, alternative=alternative, **_samples.generator(stats.dunnett, seed)
            )
            interval = result.confidence_interval(level)
            ends = np.array([interval.low, interval.high, np.clip(result.pvalue, 0, 1), result.statistic])
        if any("confidence interval" in str(warning.message) for warning in caught):
            note = "SciPy's integration left the level of the interval off by more than 1 % of its error rate"
            _samples.warn(f"The Dunnett interval is approximate: {note}.")
    return {
        name: Comparison(
            method=f"Dunnett with {k} arm{'s' * (k > 1)}",
            n=len(values) + len(base),
            n_a=len(values),
            n_b=len(base),
            paired=False,
            estimate=float(values.mean() - base.mean()),
            low=float(ends[0, i]),
            high=float(ends[1, i]),
            p=float(ends[2, i]),
            statistic=None if still else float(ends[3, i]),
            level=level,
            alternative=alternative,
            df=float(df),
            effect=math.nan if still else hedges_factor(df) * float(values.mean() - base.mean()) / pooled,
            effect_name="Hedges g, deviation pooled over all arms",
            interval_kind="simultaneous interval",
            note=note,
        )
        for i, (name, values) in enumerate(others.items())
    }


def _between(
    compare: Callable[..., Comparison], arms: dict[str, _samples.Array], a: str, b: str, level: float
) -> Comparison:
    if compare is not welch_t and len(arms[a]) != len(arms[b]):
        expected = f"as long as samples[{a!r}], {len(arms[a])} values, because the samples are paired"
        raise ValueError(message(f"len(samples[{b!r}])", expected, len(arms[b]), 'Or use test="welch_t".'))
    return compare(arms[a], arms[b], level)
