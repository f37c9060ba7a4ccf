"""What the problems of classifiers share: their data, and their observables."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.problems.problem import Observable

Array = np.ndarray[Any, Any]

REDUCTIONS, TIES = ("mean", "sum"), ("wrong", "first")

_ALWAYS_CLASSES, _CLASSES_PER_POINT = 1000, 10
"""Labels below the first number are taken for classes, and labels below this many times the number of points."""


def observables_of(y_train: Array, y_test: Array) -> dict[str, Observable]:
    """Return the training loss and both accuracies."""
    return {
        "train_loss": Observable(),
        "train_accuracy": Observable(len(y_train), "high"),
        "test_accuracy": Observable(max(1, len(y_test)), "high"),
    }


def checked_data(data: Iterable[Any], dimensions: int | None = 2) -> tuple[Array, Array, Array, Array]:
    """Return x_train, y_train, x_test and y_test, points as float64 and labels as int64.

    Args:
        data: The four arrays.
        dimensions: Integer. Number of dimensions of the points' arrays, or None for any. Defaults to 2.

    Raises:
        TypeError, ValueError: For anything else.
    """
    if not isinstance(data, Iterable):
        raise TypeError(_checks.message("data", "x_train, y_train, x_test and y_test", data))
    parts = tuple(np.asarray(part) for part in data)
    if len(parts) != 4:
        raise ValueError(f"`data` should be x_train, y_train, x_test and y_test. Received: {len(parts)} arrays.")
    x_train, y_train, x_test, y_test = parts
    for x, y, name in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        bad = x.ndim < 2 or (dimensions is not None and x.ndim != dimensions)
        if bad or y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer) or y.min(initial=0) < 0:
            inputs = "inputs" if dimensions == 2 else "..."
            raise ValueError(
                f"x_{name} should have the shape (n, {inputs}), and y_{name} should be (n,) integers from 0 on. "
                f"Received: shapes {x.shape} and {y.shape}, labels of type {y.dtype}."
            )
        if not np.all(np.isfinite(x)):
            raise ValueError(
                f"`data` should have a finite x_{name}. Received: values that are NaN or infinite. Drop these points."
            )
    if not len(x_train) or x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            "x_train should have at least one point, with as many inputs as x_test. Received: shapes "
            f"{x_train.shape} and {x_test.shape}."
        )
    largest, points = int(max(y_train.max(), y_test.max(initial=0))), len(y_train) + len(y_test)
    if largest >= max(_ALWAYS_CLASSES, _CLASSES_PER_POINT * points):
        raise ValueError(
            f"`data` should have labels that number the classes from 0 on. Received: the label {largest} for {points} "
            "points. Number the classes, as np.unique(labels, return_inverse=True) does."
        )
    return x_train.astype(np.float64), y_train.astype(np.int64), x_test.astype(np.float64), y_test.astype(np.int64)
