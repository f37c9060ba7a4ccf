"""Holm's adjustment for several tests (Holm, 1979)."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from keras_entropy._checks import message
from keras_entropy.stats import _samples
from keras_entropy.stats.results import MeanDifference


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p-values by Holm's method.

    Reject the tests whose adjusted p-value is at most alpha: the probability of any false rejection is then at most
    alpha, however the tests depend on each other.

    Args:
        p_values: List or 1D array of at least one number from 0 to 1. All tests of the family, including those that
            showed nothing.

    Returns:
        Tuple of floats: the adjusted p-values, in the order of `p_values`.

    Raises:
        TypeError, ValueError: For no numbers, and for a number outside of 0 to 1.

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


def holm_adjusted(results: Sequence[MeanDifference | None]) -> tuple[MeanDifference | None, ...]:
    """Adjust several tests as one family, by Holm's method.

    A missing test and a test without a p-value count in the family as tests with p = 1. A single test needs no
    adjustment. The intervals are not adjusted.

    Args:
        results: Sequence of `MeanDifference`; None for a test that could not be made.

    Returns:
        Tuple of the same results with `p_adjusted` and `adjustment`.

    Raises:
        TypeError: If something else is among the results.

    Examples:
        >>> from keras_entropy.stats import holm_adjusted, paired_t
        >>> base = [90, 91, 90, 92, 91]
        >>> tests = [paired_t(arm, base) for arm in ([91, 92, 90, 92, 91], [95, 97, 94, 97, 96])]
        >>> [round(test.p_adjusted, 4) for test in holm_adjusted(tests)]
        [0.1778, 0.0002]
    """
    for i, result in enumerate(results):
        if not isinstance(result, MeanDifference | None):
            remedy = "For plain p-values use `holm`."
            raise TypeError(message(f"results[{i}]", "a MeanDifference, or None", result, remedy))
    if len(results) < 2:
        return tuple(results)
    p = [math.nan if result is None or result.p is None else result.p for result in results]
    values = holm([1.0 if math.isnan(value) else value for value in p])
    adjustment = f"Holm over {len(results)} tests"
    return tuple(
        None
        if result is None
        else dataclasses.replace(result, p_adjusted=math.nan if math.isnan(own) else value, adjustment=adjustment)
        for result, own, value in zip(results, p, values, strict=True)
    )
