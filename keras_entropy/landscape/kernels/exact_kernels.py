"""The kernels of the problems whose entropy is known: a ball in a cube, and a perceptron with two weights."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import ArrayLike

from keras_entropy.landscape.kernels.kernel import Kernel


@functools.cache
def ball_kernel(dimension: int) -> Kernel:
    """Compile the kernel of |x|^2, for one axis; `data` is empty."""

    @njit(error_model="numpy")
    def load(parameters: Any, data: Any, work: Any) -> Any:
        square = 0.0
        for value in parameters:
            square += value * value
        work[0] = square
        return square, 0.0

    @njit(error_model="numpy")
    def propose(work: Any, data: Any, parameters: Any, i: int, new: float) -> Any:
        work[1] = work[0] + (new - parameters[i]) * (new + parameters[i])
        return work[1], 0.0

    @njit(error_model="numpy")
    def accept(work: Any, data: Any, parameters: Any, i: int, new: float) -> None:
        work[0] = work[1]

    @njit(error_model="numpy")
    def observe(work: Any, data: Any, parameters: Any) -> Any:
        positive = 0
        for value in parameters:
            positive += value > 0.0
        return work[0], float(positive)

    def prepare() -> tuple[Any, ...]:
        return ()

    return Kernel(dimension, 8, np.float64, ("energy", "positive"), prepare, load, propose, accept, observe)


@functools.cache
def perceptron_kernel() -> Kernel:
    """Compile the kernel of a perceptron, for two axes: its numbers of correct training points and test points."""

    @njit(error_model="numpy")
    def correct(points: Any, first: float, second: float) -> float:
        found = 0
        for k in range(len(points)):
            found += first * points[k, 0] + second * points[k, 1] > 0.0
        return float(found)

    @njit(error_model="numpy")
    def load(parameters: Any, data: Any, work: Any) -> Any:
        work[0] = correct(data[0], parameters[0], parameters[1])
        work[1] = correct(data[1], parameters[0], parameters[1])
        return work[0], work[1]

    @njit(error_model="numpy")
    def propose(work: Any, data: Any, parameters: Any, i: int, new: float) -> Any:
        first, second = (new, parameters[1]) if i == 0 else (parameters[0], new)
        work[2] = correct(data[0], first, second)
        work[3] = correct(data[1], first, second)
        return work[2], work[3]

    @njit(error_model="numpy")
    def accept(work: Any, data: Any, parameters: Any, i: int, new: float) -> None:
        work[0], work[1] = work[2], work[3]

    @njit(error_model="numpy")
    def observe(work: Any, data: Any, parameters: Any) -> Any:
        return work[0], work[1]

    def prepare(
        points: ArrayLike, labels: ArrayLike, test_points: ArrayLike = (), test_labels: ArrayLike = ()
    ) -> tuple[Any, ...]:
        """Return points (n, 2) times labels, which are -1 or 1."""
        pairs = ((points, labels), (test_points, test_labels))
        return tuple(
            np.asarray(values, float).reshape(-1, 2) * np.asarray(signs, float).reshape(-1, 1)
            for values, signs in pairs
        )

    return Kernel(2, 8, np.float64, ("train_correct", "test_correct"), prepare, load, propose, accept, observe)
