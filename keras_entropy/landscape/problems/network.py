"""The networks of [B]: small, fully connected, with every parameter in a box."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.problems.problem import Observable, Problem, digest

Array = np.ndarray[Any, Any]


def network_problem(
    depth: int,
    width: int,
    data: Iterable[Any],
    *,
    final_relu: bool = False,
    loss: str = "mean",
    strength: float = 0.0,
    half_width: float | None = None,
    ties: str = "wrong",
) -> Problem:
    """Parameter space of a classifier of `depth` hidden layers with `width` rectified units each [B, eq. 3-7].

    Observables are "train_loss", "train_accuracy" and "test_accuracy". The parameters stand layer by layer: the kernel
    (inputs, outputs) row by row, then the bias, which is the order of Keras's `get_weights`.

    Args:
        depth: hidden layers.
        width: units of each.
        data: x_train (n, inputs), y_train (n,) labels from 0 on, x_test, y_test.
        final_relu: True to rectify the outputs too, as eq. 3 is printed for all layers.
        loss: "mean" of the cross-entropies of all points, or their "sum" (eq. 5).
        strength: of the term strength |c|^2 that the loss then holds (eq. 6).
        half_width: of the box; by default 2 / sqrt(width), as in [B].
        ties: "wrong" where the right output has to be larger than all others, "first" where the first of equals wins.

    Raises:
        TypeError, ValueError: for arguments of another kind.

    Examples:
        >>> from keras_entropy import datasets
        >>> from keras_entropy.landscape import network_problem
        >>> network_problem(3, 6, datasets.spirals(seed=0)).dimension
        116
    """
    depth, width = _checks.positive_integer("depth", depth), _checks.positive_integer("width", width)
    _checks.one_of("loss", loss, ("mean", "sum"))
    _checks.one_of("ties", ties, ("wrong", "first"))
    strength = _checks.non_negative("strength", strength)
    half_width = 2 / math.sqrt(width) if half_width is None else float(_checks.number("half_width", half_width))
    x_train, y_train, x_test, y_test = arrays = checked_data(data)
    classes = max(2, int(max(y_train.max(), y_test.max(initial=0))) + 1)
    sizes = [x_train.shape[1], *[width] * depth, classes]
    energy = functools.partial(
        _energy, sizes, (x_train, y_train, x_test, y_test), final_relu, loss == "sum", strength, ties == "first"
    )
    observables = {
        "train_loss": Observable(),
        "train_accuracy": Observable(len(y_train), "high"),
        "test_accuracy": Observable(max(1, len(y_test)), "high"),
    }
    options: dict[str, Any] = {"final_relu": bool(final_relu), "ties": ties, "reduction": loss}

    def kernel(axes: tuple[str, ...]) -> Any:
        from keras_entropy.landscape.kernels.network_kernel import network_kernel

        points = len(y_train), len(y_test)
        return network_kernel(sizes[0], depth, width, classes, *points, per_move=axes, **options)

    return Problem(
        name=f"network of {depth} hidden layers of {width} units",
        dimension=sum((a + 1) * b for a, b in itertools.pairwise(sizes)),
        half_width=half_width,
        observables=observables,
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
    """What is observed at parameters (d, B), as arrays of their kind: NumPy's or JAX's."""
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
    """(classes, points, B) outputs at parameters (d, B)."""
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


def checked_data(data: Iterable[Any], dimensions: int | None = 2) -> tuple[Array, Array, Array, Array]:
    """Points of so many dimensions, or of any, as float64, and their labels.

    Raises:
        ValueError: for something else.
    """
    parts = tuple(np.asarray(part) for part in data)
    if len(parts) != 4:
        raise ValueError(f"`data` should be x_train, y_train, x_test, y_test. Received: {len(parts)} arrays.")
    x_train, y_train, x_test, y_test = parts
    for x, y, name in ((x_train, y_train, "train"), (x_test, y_test, "test")):
        bad = x.ndim < 2 or (dimensions is not None and x.ndim != dimensions)
        if bad or y.shape != (len(x),) or not np.issubdtype(y.dtype, np.integer) or y.min(initial=0) < 0:
            inputs = "inputs" if dimensions == 2 else "..."
            raise ValueError(
                f"x_{name} should be (n, {inputs}) and y_{name} (n,) integers from 0 on. Received: shapes {x.shape} "
                f"and {y.shape}, labels of {y.dtype}."
            )
        if not np.all(np.isfinite(x)):
            raise ValueError(f"x_{name} holds values that are not finite.")
    if not len(x_train) or x_train.shape[1:] != x_test.shape[1:]:
        raise ValueError(
            f"x_train should hold points with as many inputs as x_test. Received: {x_train.shape}, {x_test.shape}."
        )
    return x_train.astype(np.float64), y_train.astype(np.int64), x_test.astype(np.float64), y_test.astype(np.int64)
