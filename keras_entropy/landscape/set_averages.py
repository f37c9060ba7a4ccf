"""Averages and paired differences over data sets."""

from __future__ import annotations

import dataclasses
import math
import warnings
from typing import Any, NamedTuple

import numpy as np

from keras_entropy._checks import EntropyWarning
from keras_entropy.stats import MeanDifference, paired_t

Array = np.ndarray[Any, Any]


class MeanOverSets(NamedTuple):
    """A mean over data sets.

    Attributes:
        mean: Float or array: the mean over the data sets that have a value; NaN if none has.
        standard_error: Float or array: the standard error of the mean; NaN for fewer than two values.
        count: Integer or array of integers: the number of data sets that have a value.
    """

    mean: Any
    standard_error: Any
    count: Any


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupSummary:
    """The walks of a group, and what they found in the region at the deep end of the first axis.

    Attributes:
        name: String. Name of the group.
        walks: Integer. Number of walks that finished.
        failed: Tuple of integers. Data sets whose walk did not finish.
        unconverged: Tuple of integers. Data sets whose walk finished and has not converged.
        entropy: `MeanOverSets` of the entropy of the region, nats.
        mean: `MeanOverSets` of the mean of the observable in the region, or None without an observable.
    """

    name: str
    walks: int
    failed: tuple[int, ...]
    unconverged: tuple[int, ...]
    entropy: MeanOverSets
    mean: MeanOverSets | None


@dataclasses.dataclass(frozen=True, kw_only=True)
class GroupDifference:
    """A group minus another one, paired by data set, in the region at the deep end of the first axis.

    Attributes:
        before: String. Name of the group that is subtracted.
        after: String. Name of the other group.
        entropy: `stats.MeanDifference` of the entropy of the region, nats; None for fewer than two pairs.
        mean: `stats.MeanDifference` of the mean of the observable there; None without an observable too.
    """

    before: str
    after: str
    entropy: MeanDifference | None
    mean: MeanDifference | None


def mean_over_sets(values: Array) -> MeanOverSets:
    """The mean over the first axis, the data sets, of the finite values."""
    known = np.isfinite(values)
    count = known.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(known, values, 0.0).sum(0) / count
        squares = np.where(known, (values - mean) ** 2, 0.0).sum(0)
        error = np.sqrt(squares / np.where(count > 1, (count - 1.0) * count, math.nan))
    if values.ndim == 1:
        return MeanOverSets(float(mean), float(error), int(count))
    return MeanOverSets(mean, error, count)


def paired(after: Array, before: Array, confidence: float) -> MeanDifference | None:
    """The difference over the data sets where both have a value; None for fewer than two of them."""
    both = np.isfinite(after) & np.isfinite(before)
    if both.sum() < 2:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EntropyWarning)  # about values that do not vary: the result has a note
        return paired_t(after[both], before[both], confidence)
