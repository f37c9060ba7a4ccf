"""The data of a run: four arrays, checked."""

from __future__ import annotations

import inspect
import numbers
import warnings
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks


def load(data: Any, seed: int) -> tuple[Any, Any, Any, Any]:
    """The arrays of a study; a function of data is called, with the seed if it takes one."""
    if callable(data):
        data = data(seed=seed) if "seed" in inspect.signature(data).parameters else data()
    return check_data(data)


def check_data(data: Any) -> tuple[Any, Any, Any, Any]:
    """Return the four arrays of data.

    Raises:
        TypeError, ValueError: If they are something else.

    Warns:
        EntropyWarning: If they hold NaN or infinite numbers.
    """
    if not isinstance(data, Iterable):
        raise TypeError(_checks.message("data", "(x_train, y_train, x_val, y_val) or a function", data))
    arrays = tuple(data)  # of a Dataset these are its arrays
    if len(arrays) != 4:
        raise ValueError(
            f"`data` should be (x_train, y_train, x_val, y_val), or a function that returns them. Received: "
            f"{len(arrays)} values."
        )
    for part in keras.tree.flatten(arrays):
        dtype = getattr(part, "dtype", None)
        if isinstance(part, str | numbers.Number) or getattr(dtype, "kind", " ") in "OUS":
            received = type(part).__name__ if dtype is None else f"an array of {dtype}"
            raise TypeError(
                f"`data` should have arrays of numbers. Received: {received}. Convert lists with np.asarray, and text "
                "and objects to numbers."
            )
    for name, x, y in (("training", *arrays[:2]), ("validation", *arrays[2:])):
        sizes = {len(array) for part in (x, y) for array in keras.tree.flatten(part) if hasattr(array, "shape")}
        if x is None or len(sizes) > 1 or 0 in sizes or (sizes and y is None):  # a PyDataset brings its own targets
            raise ValueError(
                f"`data` should have as many {name} targets as inputs, and at least one. Received: arrays of "
                f"{', '.join(map(str, sorted(sizes))) or 'no'} samples."
            )
    _warn_of_nan(arrays)
    return arrays


def _warn_of_nan(arrays: tuple[Any, ...]) -> None:
    counts = {
        name: sum(map(_not_finite, keras.tree.flatten(part)))
        for name, part in zip(("x_train", "y_train", "x_val", "y_val"), arrays, strict=True)
    }
    found = [f"{count} in {name}" for name, count in counts.items() if count]
    if found:
        warnings.warn(
            f"`data` holds NaN or infinite numbers: {', '.join(found)}. A run may diverge of them, or end at chance "
            "level without a word, since a ReLU can make NaN a 0. Remove or replace them, unless the model does.",
            _checks.EntropyWarning,
            stacklevel=3,
        )


def _not_finite(array: Any) -> int:
    """How many numbers of an array in memory are NaN or infinite."""
    if keras.ops.is_tensor(array):
        array = _backend.to_host(array)
    if type(array) is not np.ndarray or array.dtype.kind != "f":
        return 0  # a file that is mapped into memory is not read
    with np.errstate(all="ignore"):
        if np.isfinite(array.sum(dtype=np.float64)):
            return 0
    return int(np.count_nonzero(~np.isfinite(array)))
