"""Problems whose entropy is known: a ball in a cube, and a perceptron with two weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.problems.problem import Observable, Problem, digest

Array = np.ndarray[Any, Any]


def ball_problem(dimension: int) -> Problem:
    """Create the problem of |x|^2 in the cube [-1, 1]^d, whose entropy is `exact.ball_entropy`.

    Observables are "energy", |x|^2, and "positive", the fraction of positive components.

    Args:
        dimension: Integer d.

    Returns:
        A `Problem`.

    Raises:
        TypeError, ValueError: For a dimension that is not a positive integer.

    Examples:
        >>> from keras_entropy.landscape import ball_problem
        >>> ball_problem(10).dimension
        10
    """
    dimension = _checks.positive_integer("dimension", dimension)

    def energy(parameters: Any) -> dict[str, Any]:
        positive = (parameters > 0) + 0.0 * parameters
        return {"energy": (parameters**2).sum(0), "positive": positive.sum(0) / dimension}

    def kernel(axes: tuple[str, ...]) -> Any:
        from keras_entropy.landscape.kernels.exact_kernels import ball_kernel

        return ball_kernel(dimension) if axes == ("energy",) else None

    return Problem(
        f"ball in a cube of {dimension} dimensions",
        dimension,
        1.0,
        {"energy": Observable(), "positive": Observable(levels=dimension, deep="high")},
        energy,
        digest=digest("ball", dimension),
        traceable=True,
        kernel=kernel,
    )


def perceptron_problem(train: tuple[Array, Array], test: tuple[Array, Array]) -> Problem:
    """Create the problem of a perceptron with two weights in [-1, 1]^2, whose entropy is `exact.perceptron_entropy`.

    Observables are "train_accuracy" and "test_accuracy". The perceptron classifies a point x with label y correctly if
    y w.x > 0.

    Args:
        train: Training points, array (n, 2), and labels, array (n,) of -1 and 1.
        test: Test points, array (m, 2), and labels, array (m,) of -1 and 1.

    Returns:
        A `Problem`.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy.landscape import perceptron_problem
        >>> points, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, -1])
        >>> perceptron_problem((points, labels), (points, labels)).observables["train_accuracy"].levels
        2
    """
    sets = {"train_accuracy": train, "test_accuracy": test}

    def energy(parameters: Array) -> dict[str, Array]:
        return {name: np.mean(y[:, None] * (x @ parameters) > 0, axis=0) for name, (x, y) in sets.items()}

    def kernel(axes: tuple[str, ...]) -> Any:
        from keras_entropy.landscape.kernels.exact_kernels import perceptron_kernel

        return perceptron_kernel() if axes == tuple(sets) else None

    return Problem(
        "perceptron with two weights",
        2,
        1.0,
        {name: Observable(levels=len(y), deep="high") for name, (_, y) in sets.items()},
        energy,
        digest=digest("perceptron", *train, *test),
        kernel=kernel,
        data=(*train, *test),
    )
