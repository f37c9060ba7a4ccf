"""Checks of samples and levels."""

from __future__ import annotations

import inspect
import math
import numbers
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_entropy._checks import EntropyWarning, message, number, one_of

Array = npt.NDArray[np.float64]

ALTERNATIVES = ("two-sided", "less", "greater")
LARGEST = 1e100  # squares of larger values overflow


def sample(argument: str, values: Any, minimum: int = 2) -> Array:
    """Return `values` as a float64 vector of at least `minimum` finite numbers."""
    kind = "a one-dimensional list or array of numbers"
    if isinstance(values, str | bytes | Mapping | set | frozenset):
        raise TypeError(message(argument, kind, values))
    if np.ma.isMaskedArray(values) and np.ma.is_masked(values):
        raise ValueError(message(argument, "without masked values", values, "Take the masked values out."))
    try:
        array = np.asarray(values)
    except ValueError as error:  # of unequal rows
        raise ValueError(message(argument, kind, values)) from error
    mixed = isinstance(values, list | tuple) and any(isinstance(value, bool | np.bool_) for value in values)
    if array.ndim == 0 or mixed or (array.size and array.dtype.kind not in "iuf"):
        raise TypeError(message(argument, kind, values))
    if array.ndim != 1:
        raise ValueError(message(argument, kind, values, "Compare one number for each seed."))
    if len(array) < minimum:
        plural = "values" if minimum > 1 else "value"
        raise ValueError(message(f"len({argument})", f"at least {minimum} {plural}", len(array), "Run more seeds."))
    array = array.astype(np.float64)
    for i in np.flatnonzero(~(np.abs(array) <= LARGEST))[:1]:
        expected = f"a finite number of at most {LARGEST:g}" if math.isfinite(array[i]) else "a finite number"
        remedy = "Find out why this run failed; leaving it out silently would bias the result."
        raise ValueError(message(f"{argument}[{i}]", expected, float(array[i]), remedy))
    return array


def pairs(a: Any, b: Any, minimum: int = 2) -> tuple[Array, Array]:
    """Return two samples of equal length."""
    first, second = sample("a", a, minimum), sample("b", b, minimum)
    if len(first) != len(second):
        remedy = "Pair the runs by seed, or use a test for samples that are not paired."
        raise ValueError(
            message("len(b)", f"len(a) = {len(first)}, because the samples are paired", len(second), remedy)
        )
    return first, second


def named(samples: Any, minimum: int = 2) -> dict[str, Array]:
    """Return a dict of at least two samples under their names."""
    if not isinstance(samples, Mapping):
        raise TypeError(message("samples", "a dict of samples by name", samples))
    for name in samples:
        label("samples", name)
    if len(samples) < 2:
        raise ValueError(message("len(samples)", "at least 2 samples", len(samples)))
    return {name: sample(f"samples[{name!r}]", values, minimum) for name, values in samples.items()}


def label(argument: str, name: Any) -> str:
    """Return `name` if it is a string that says something."""
    if not isinstance(name, str):
        raise TypeError(message(argument, "a name", name))
    if not name.strip():
        raise ValueError(message(argument, "a name", name))
    return name


def confidence(level: Any) -> float:
    """Return `level` if it can be the confidence of an interval."""
    return _level(level, 0.5, 1, "a confidence between 0.5 and 1, such as 0.95")


def significance(level: Any) -> float:
    """Return `level` if it can be the error rate of a decision."""
    return _level(level, 0, 0.5, "an error rate between 0 and 0.5, such as 0.05")


def _level(level: Any, above: float, below: float, expected: str) -> float:
    plain = float(number("level", level))
    if not above < plain < below:
        remedy = f"Did you mean {1 - plain:g}?" if above < 1 - plain < below else ""
        raise ValueError(message("level", expected, level, remedy))
    return plain


def sidedness(alternative: Any) -> str:
    """Return `alternative` if it is one of SciPy's."""
    return one_of("alternative", alternative, ALTERNATIVES)


def constant(residuals: Array, *origins: Iterable[float]) -> bool:
    """Whether residuals are no more than the rounding of the numbers that they were computed from."""
    scale = max(float(np.abs(np.asarray(origin)).max()) for origin in origins)
    # A difference of two rounded numbers and the subtraction of its mean lose a few units in the last place.
    return bool(np.abs(residuals).max() <= 32 * np.finfo(np.float64).eps * scale) or not np.square(residuals).sum() > 0


def warn(text: str, depth: int = 1) -> None:
    """Warn at the line that called the public function, `depth` calls above."""
    warnings.warn(text, EntropyWarning, stacklevel=2 + depth)


def natural(argument: str, value: Any) -> int:
    """Return `value` if it is an integer of at least 0."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message(argument, "an integer of at least 0", value))
    if value < 0:
        raise ValueError(message(argument, "an integer of at least 0", value))
    return int(value)


def generator(function: Callable[..., Any], seed: int) -> dict[str, np.random.Generator]:
    """The seed as the argument of a SciPy function: `rng`, before SciPy 1.15 `random_state`."""
    name = "rng" if "rng" in inspect.signature(function).parameters else "random_state"
    return {name: np.random.default_rng(natural("seed", seed))}
