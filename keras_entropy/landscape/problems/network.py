"""The parameter space of a small, fully connected network (Zhang, 2021).

Sources:
    Zhang (2021): Correlation between entropy and generalizability in a neural network.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.problems.classification import REDUCTIONS, TIES, checked_data, observables_of
from keras_entropy.landscape.problems.problem import Problem, digest

Array = np.ndarray[Any, Any]


def network_problem(
    depth: int,
    width: int,
    data: Iterable[Any],
    *,
    final_relu: bool = False,
    reduction: str = "mean",
    strength: float = 0.0,
    half_width: float | None = None,
    ties: str = "wrong",
) -> Problem:
    """Create the problem of a classifier with ReLU layers (Zhang, 2021, eqs. 3-7).

    Observables are "train_loss", the cross-entropy in nats, "train_accuracy" and "test_accuracy". The parameters are
    ordered layer by layer, the kernel (inputs, outputs) row by row and then the bias, as in Keras's `get_weights`.

    Args:
        depth: Integer. Number of hidden layers.
        width: Integer. Number of units of each hidden layer.
        data: x_train (n, inputs), y_train (n,), x_test (m, inputs), y_test (m,), with integer labels from 0 on.
        final_relu: Boolean. Whether the output layer has a ReLU too, as eq. 3 is printed. Defaults to False.
        reduction: String. Whether the loss is the "mean" of the cross-entropies of the points, or their "sum", as eq. 5
            is printed. Defaults to "mean".
        strength: Float. Strength of the regularization term strength * |c|^2 in the loss (eq. 6). Defaults to 0.
        half_width: Float. Half width of the box. Defaults to 2 / sqrt(width), as in the paper.
        ties: String. How equal outputs are classified: "wrong" if the output of the label must be larger than all
            others, "first" if the first of equal outputs wins. Defaults to "wrong".

    Returns:
        A `Problem`.

    Raises:
        TypeError, ValueError: For invalid arguments.

    Examples:
        >>> from keras_entropy import datasets
        >>> from keras_entropy.landscape import network_problem
        >>> network_problem(3, 6, datasets.spirals(seed=0)).dimension
        116
    """
    depth, width = _checks.positive_integer("depth", depth), _checks.positive_integer("width", width)
    _checks.one_of("reduction", reduction, REDUCTIONS)
    _checks.one_of("ties", ties, TIES)
    strength = _checks.non_negative("strength", strength)
    half_width = 2 / math.sqrt(width) if half_width is None else float(_checks.number("half_width", half_width))
    x_train, y_train, x_test, y_test = arrays = checked_data(data)
    classes = max(2, int(max(y_train.max(), y_test.max(initial=0))) + 1)
    inner = (depth - 1) * (width + 1) * width
    dimension = (x_train.shape[1] + 1) * width + inner + (width + 1) * classes
    _checks.fits_memory("depth" if depth > width else "width", max(depth, width), 8 * dimension)
    sizes = [x_train.shape[1], *[width] * depth, classes]
    energy = functools.partial(_energy, sizes, arrays, final_relu, reduction == "sum", strength, ties == "first")
    options: dict[str, Any] = {"final_relu": bool(final_relu), "ties": ties, "reduction": reduction}

    def kernel(axes: tuple[str, ...]) -> Any:
        from keras_entropy.landscape.kernels.network_kernel import network_kernel

        points = len(y_train), len(y_test)
        return network_kernel(sizes[0], depth, width, classes, *points, per_move=axes, **options)

    return Problem(
        name=f"network of {depth} hidden layers of {width} units",
        dimension=dimension,
        half_width=half_width,
        observables=observables_of(y_train, y_test),
        energy=energy,
        digest=digest("network", sizes, sorted(options.items()), strength, half_width, *arrays),
        traceable=True,
        kernel=kernel,
        data=(x_train, y_train, x_test, y_test, strength),
    )


def _energy(
    sizes: list[int],
    data: tuple[Array, Array, Array, Array],
    final_relu: bool,
    summed: bool,
    strength: float,
    first_wins: bool,
    parameters: Any,
) -> dict[str, Any]:
    """Return the observables at parameters (d, B), NumPy arrays or JAX arrays."""
    xp = np if isinstance(parameters, np.ndarray) else parameters.__array_namespace__()
    x_train, y_train, x_test, y_test = data
    # Apart, so that JAX leaves out the test points where only a gradient of the loss is asked for.
    train, test = (_logits(xp, sizes, final_relu, points, parameters) for points in (x_train, x_test))
    top = train.max(0)
    losses = top + xp.log(xp.exp(train - top).sum(0)) - train[y_train, np.arange(len(y_train))]
    loss = losses.sum(0) if summed else losses.mean(0)
    return {
        "train_loss": loss + strength * (parameters**2).sum(0),
        "train_accuracy": _accuracy(xp, train, y_train, first_wins),
        "test_accuracy": _accuracy(xp, test, y_test, first_wins),
    }


def _logits(xp: Any, sizes: list[int], final_relu: bool, points: Array, parameters: Any) -> Any:
    """Return (classes, points, B) outputs at parameters (d, B)."""
    values = xp.repeat(points.T[:, :, None], parameters.shape[1], 2)
    begin = 0
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        kernel = parameters[begin : begin + inputs * outputs].reshape(inputs, outputs, -1)
        bias = parameters[begin + inputs * outputs : begin + (inputs + 1) * outputs]
        values = xp.einsum("ipb,iob->opb", values, kernel) + bias[:, None]
        if final_relu or layer < len(sizes) - 2:
            values = xp.maximum(values, 0.0)
        begin += (inputs + 1) * outputs
    return values


def _accuracy(xp: Any, logits: Any, labels: Array, first_wins: bool) -> Any:
    if not len(labels):
        return xp.zeros(logits.shape[2])
    if first_wins:
        right = logits.argmax(0) == labels[:, None]
    else:
        own = xp.take_along_axis(logits, labels[None, :, None], 0)
        right = (logits >= own).sum(0) == 1
    return right.mean(0)
