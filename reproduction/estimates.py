"""Means, intervals and tests of few values, and the words in which pages print them."""

from __future__ import annotations

import contextlib
import math
import statistics
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from keras_entropy import EntropyWarning
from keras_entropy.stats import Estimate, MeanDifference, paired_t, t_interval
from keras_entropy.study.document import DASH


def mean(values: Iterable[float]) -> float:
    """The mean; NaN without a value."""
    found = list(values)
    return statistics.fmean(found) if found else math.nan


def mean_interval(values: Iterable[float]) -> Estimate | None:
    """The mean with its 95 % t interval; None without a value, and without an interval for one value."""
    found = list(values)
    if len(found) < 2:
        note = "one value has no interval"
        single: dict[str, Any] = {"low": math.nan, "high": math.nan, "p": None, "confidence": 0.95, "note": note}
        return Estimate(method="t", n=1, estimate=found[0], **single) if found else None
    with quiet():
        return t_interval(found)


def compared(
    a: Sequence[float], b: Sequence[float], test: Callable[..., MeanDifference] = paired_t, **options: Any
) -> MeanDifference | None:
    """A test of two samples; None if one of them has fewer than two values."""
    if min(len(a), len(b)) < 2:
        return None
    with quiet():
        return test(a, b, **options)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Silence the warning of samples without variation: their interval and p are NaN, and the page prints that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EntropyWarning)
        yield


def plural(count: int, noun: str) -> str:
    """A count with its noun."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def direction(estimate: Estimate) -> int:
    """1 if the interval lies above 0, -1 if it lies below, else 0."""
    return int(estimate.low > 0) - int(estimate.high < 0)


def points(estimate: Estimate | float | None) -> str:
    """A share in percentage points, with its interval if it is an estimate."""
    if estimate is None:
        return DASH
    if isinstance(estimate, float):
        return DASH if math.isnan(estimate) else f"{100 * estimate:+.2f}"
    if math.isnan(estimate.low):
        return f"{points(estimate.estimate)} (no interval)"
    return f"{points(estimate.estimate)} ({points(estimate.low)} to {points(estimate.high)})"


def p_equals(shown: str) -> str:
    """A p-value for a sentence: "= 0.02" or "< 0.001"."""
    return shown if shown.startswith("<") else f"= {shown}"
