"""Checks of samples, confidences and error rates."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_entropy._checks import EntropyWarning, message, number, one_of

Array = npt.NDArray[np.float64]

ALTERNATIVES = ("two-sided", "less", "greater")
LARGEST = 1e100
"""Largest magnitude of a value: the squares of larger ones overflow."""


def sample(argument: str, values: Any, minimum: int = 2) -> Array:
    """Return `values` as a float64 vector of at least `minimum` finite numbers."""
    kind = "a one-dimensional list or array of numbers"
    if isinstance(values, str | bytes | Mapping | set | frozenset):
        raise TypeError(message(argument, kind, values))
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        raise ValueError(message(argument, "without masked values", values, "Remove the masked values."))
    try:
        array = np.asarray(values)
    except ValueError as error:  # rows of different lengths
        raise ValueError(message(argument, kind, values)) from error
    mixed = isinstance(values, list | tuple) and any(isinstance(value, bool | np.bool_) for value in values)
    if array.ndim == 0 or mixed or (array.size and array.dtype.kind not in "iuf"):
        raise TypeError(message(argument, kind, values))
    if array.ndim != 1:
        raise ValueError(message(argument, kind, values, "Give one number for each seed."))
    if len(array) < minimum:
        plural = "values" if minimum > 1 else "value"
        raise ValueError(message(f"len({argument})", f"at least {minimum} {plural}", len(array), "Run more seeds."))
    array = array.astype(np.float64)
    for i in np.flatnonzero(~(np.abs(array) <= LARGEST))[:1]:
        expected = f"a finite number of at most {LARGEST:g}" if math.isfinite(array[i]) else "a finite number"
        remedy = "Find out why this run failed: dropping it silently would bias the result."
        raise ValueError(message(f"{argument}[{i}]", expected, float(array[i]), remedy))
    return array


def pairs(a: Any, b: Any, minimum: int = 2) -> tuple[Array, Array]:
    """Return two samples of equal length."""
    first, second = sample("a", a, minimum), sample("b", b, minimum)
    if len(first) != len(second):
        expected = f"len(a) = {len(first)}, because the samples are paired"
        remedy = "Pair the runs by seed, or use a test for unpaired samples."
        raise ValueError(message("len(b)", expected, len(second), remedy))
    return first, second


def label(argument: str, name: Any) -> str:
    """Return `name` if it is a string that is not blank."""
    if not isinstance(name, str):
        raise TypeError(message(argument, "a name", name))
    if not name.strip():
        raise ValueError(message(argument, "a name", name))
    return name


def confidence(value: Any) -> float:
    """Return `value` if it can be the confidence of an interval."""
    return _between("confidence", value, 0.5, 1, "a number between 0.5 and 1, such as 0.95")


def alpha(value: Any) -> float:
    """Return `value` if it can be the error rate of a decision."""
    return _between("alpha", value, 0, 0.5, "a number between 0 and 0.5, such as 0.05")


def _between(argument: str, value: Any, above: float, below: float, expected: str) -> float:
    plain = float(number(argument, value))
    if not above < plain < below:
        remedy = f"Did you mean {1 - plain:g}?" if above < 1 - plain < below else ""
        raise ValueError(message(argument, expected, value, remedy))
    return plain


def alternative(value: Any) -> str:
    """Return `value` if it is one of SciPy's alternatives."""
    return one_of("alternative", value, ALTERNATIVES)


def constant(residuals: Array, *origins: Iterable[float]) -> bool:
    """Whether residuals are only the rounding errors of the numbers that they were computed from."""
    scale = max(float(np.abs(np.asarray(origin)).max()) for origin in origins)
    # A difference of two rounded numbers and the subtraction of its mean lose a few units in the last place.
    return bool(np.abs(residuals).max() <= 32 * np.finfo(np.float64).eps * scale) or not np.square(residuals).sum() > 0


def warn(text: str, depth: int = 1) -> None:
    """Warn at the line that called the public function, `depth` calls above."""
    warnings.warn(text, EntropyWarning, stacklevel=2 + depth)
