"""Means of runs, also of too few for an interval."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Sequence

from keras_entropy._checks import EntropyWarning
from keras_entropy.stats import Estimate, t_interval
from keras_entropy.stats._samples import LARGEST


def is_usable(value: float) -> bool:
    """Whether the statistics accept a value: it is finite and not too large."""
    return abs(value) <= LARGEST  # NaN is not


def mean_of(values: Sequence[float], confidence: float = 0.95) -> Estimate | None:
    """The mean with its t interval; None without values, and no interval with one value."""
    if not values:
        return None
    if len(values) == 1:
        return Estimate(
            method="t", n=1, estimate=values[0], low=math.nan, high=math.nan, p=None, confidence=confidence,
            note="one value has no interval",
        )  # fmt: skip
    with quiet():
        return t_interval(values, confidence)


def finite_mean(values: Sequence[float]) -> float:
    """The mean of the finite values; NaN if there is none."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Ignore the warnings about values that do not vary: the result has a note."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EntropyWarning)
        yield
