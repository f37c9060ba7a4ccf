"""The slope of an activation: what it adds to the change of entropy of a layer.

For an invertible elementwise phi, y = phi(Wx) has the entropy h(y) = h(x) + log|det W| + E sum_i log|phi'(z_i)| with
z = Wx (change of variables). Its maximum over W makes the outputs independent and uniform: the infomax principle.

Sources:
    [B] Bell, Sejnowski: "An information-maximization approach to blind separation and blind deconvolution" (1995),
        eq. 3 and 11.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.elementary import log_magnitude

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
_FAR = 1e4
_LEAK = 0.2  # the default negative slope of `keras.activations.leaky_relu`

# Functions of several elements have no slope of their own.
_NOT_ELEMENTWISE = ("softmax", "log_softmax", "sparsemax", "glu")


def log_slope(x: Array, activation: Any, of: str = "input", epsilon: float = 1e-6) -> Array:
    """Log sqrt(phi'(z)^2 + epsilon^2) for an elementwise activation phi: what it adds to entropy, at each element.

    The change of entropy of a layer with its activation is the log-volume of its kernel plus the mean of this over the
    data, summed over the units [B, eq. 3, 11]; exactly where the kernel is square and phi is strictly monotone. For
    others (relu, gelu, silu) the noise floor decides: a unit in a flat part counts as one that keeps
    nothing but noise of standard deviation `epsilon`, and where phi folds two inputs onto one output, the value is
    that of each branch, an upper bound.

    From the input, slopes of saturating activations are computed in logarithms and are exact for any float.
    From the output they are exact up to its rounding: a sigmoid of 1 in float32 has the slope 0, and the floor counts.

    Args:
        x: pre-activations z, or outputs phi(z) with `of="output"`; any shape.
        activation: a name or function of `keras.activations`; from the input also any elementwise function of
            a tensor, which is differentiated by the backend, in its precision for NumPy arrays too.
        of: `"input"` or `"output"`. The slope is a function of the output for `ACTIVATIONS_OF_OUTPUT`.
        epsilon: noise floor, in units of the slope. Defaults to 1e-6.

    Returns:
        The shape of x: nats.

    Raises:
        ValueError: for an unknown activation, one that is not elementwise (softmax), one whose slope the
            output does not tell, or a negative epsilon.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.log_slope(np.array([0.0, 800.0]), "sigmoid", epsilon=0.0).round(6).tolist()
        [-1.386294, -800.0]
        >>> functional.log_slope(np.array([0.5, 1.0]), "sigmoid", of="output").round(6).tolist()
        [-1.386294, -13.815511]
    """
    _checks.one_of("of", of, ("input", "output"))
    epsilon = _checks.non_negative("epsilon", epsilon)
    name, function = _name_and_function(activation)
    if not is_elementwise(activation):
        remedy = "Its outputs depend on several inputs: it has no slope."
        raise ValueError(_checks.message("activation", "elementwise", activation, remedy))
    x = _backend.as_float(x)
    xp = _backend.namespace(x)
    if of == "output":
        if name not in _SLOPES_OF_OUTPUT:
            raise ValueError(
                f"The output of {name or activation!r} does not tell its slope. Use of='input' (in a model: "
                f"`EntropyActivation`), or one of {', '.join(ACTIVATIONS_OF_OUTPUT)}."
            )
        return log_magnitude(_SLOPES_OF_OUTPUT[name](xp, x), epsilon)
    if name in _LOG_SLOPES:
        return _with_floor(_LOG_SLOPES[name](xp, x), epsilon)
    z = x if xp is keras.ops else keras.ops.convert_to_tensor(x, dtype=keras.backend.floatx())
    if name is not None:  # the slopes of Keras's own are constant out there, but their squares overflow
        z = keras.ops.clip(z, -_FAR, _FAR)
    slope = _backend.derivative(function, z)
    if xp is np:
        slope = np.asarray(keras.ops.convert_to_numpy(slope), np.float64)
    return log_magnitude(slope, epsilon)


def is_elementwise(activation: Any) -> bool:
    """Whether an activation has a slope at each element: all but Keras's softmax kinds and glu.

    Args:
        activation: a name or function of `keras.activations`, or a function.

    Returns:
        True or False; functions that are not Keras's are taken to be elementwise.

    Raises:
        ValueError: for an unknown name.

    Examples:
        >>> from keras_entropy import functional
        >>> functional.is_elementwise("gelu"), functional.is_elementwise("softmax")
        (True, False)
    """
    name, function = _name_and_function(activation)
    return name not in _NOT_ELEMENTWISE and not isinstance(function, keras.layers.Softmax)


def _with_floor(value: Array, epsilon: float) -> Array:
    """Log sqrt(e^(2 value) + epsilon^2)."""
    if epsilon == 0:
        return value
    floor = math.log(epsilon)
    return floor + 0.5 * _backend.softplus(2 * (value - floor))


def _name_and_function(activation: Any) -> tuple[str | None, Callable[[Array], Array]]:
    """The name of an activation if it is Keras's own, and its function."""
    if activation is None or not (isinstance(activation, str) or callable(activation)):
        raise ValueError(_checks.message("activation", "a name or function of keras.activations", activation))
    function = keras.activations.get(activation)
    name = getattr(function, "__name__", None)
    return name if getattr(keras.activations, str(name), None) is function else None, function


def _log_sigmoid(z: Array) -> Array:
    return -_backend.softplus(-z)


# log|phi'| as a function of z; xp is numpy or keras.ops.
_LOG_SLOPES: dict[str | None, Callable[[Any, Array], Array]] = {
    "linear": lambda xp, z: xp.zeros_like(z),
    "sigmoid": lambda xp, z: _log_sigmoid(z) + _log_sigmoid(-z),
    "log_sigmoid": lambda xp, z: _log_sigmoid(-z),
    "softplus": lambda xp, z: _log_sigmoid(z),
    "tanh": lambda xp, z: math.log(4) + _log_sigmoid(2 * z) + _log_sigmoid(-2 * z),
    "exponential": lambda xp, z: z,
    "softsign": lambda xp, z: -2 * xp.log1p(xp.abs(z)),
    "elu": lambda xp, z: xp.where(z < 0, z, xp.zeros_like(z)),
    "celu": lambda xp, z: xp.where(z < 0, z, xp.zeros_like(z)),
    "selu": lambda xp, z: math.log(_SELU_SCALE) + xp.where(z < 0, z + math.log(_SELU_ALPHA), xp.zeros_like(z)),
    "leaky_relu": lambda xp, z: xp.where(z < 0, xp.full_like(z, math.log(_LEAK)), xp.zeros_like(z)),
    # Here because torch does not differentiate its derivative.
    "hard_sigmoid": lambda xp, z: xp.where(xp.abs(z) < 3, xp.full_like(z, -math.log(6)), xp.full_like(z, -math.inf)),
}

# phi' as a function of y = phi(z).
_SLOPES_OF_OUTPUT: dict[str | None, Callable[[Any, Array], Array]] = {
    "linear": lambda xp, y: xp.ones_like(y),
    "sigmoid": lambda xp, y: y * (1 - y),
    "softplus": lambda xp, y: -xp.expm1(-y),
    "tanh": lambda xp, y: (1 - y) * (1 + y),
    "exponential": lambda xp, y: y,
    "softsign": lambda xp, y: xp.square(1 - xp.abs(y)),
    "elu": lambda xp, y: xp.where(y < 0, 1 + y, xp.ones_like(y)),
    "selu": lambda xp, y: xp.where(y < 0, y + _SELU_SCALE * _SELU_ALPHA, xp.full_like(y, _SELU_SCALE)),
    "leaky_relu": lambda xp, y: xp.where(y < 0, xp.full_like(y, _LEAK), xp.ones_like(y)),
}

ACTIVATIONS_OF_OUTPUT = tuple(str(name) for name in _SLOPES_OF_OUTPUT)
"""The activations whose slope is a function of their output."""
