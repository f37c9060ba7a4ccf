"""The slope of an activation: what it adds to the change of entropy of a layer.

For an invertible elementwise phi, y = phi(Wx) has the entropy h(y) = h(x) + log|det W| + E sum_i log|phi'(z_i)| with
z = Wx (change of variables; Bell and Sejnowski, 1995, eq. 3 and 11). Its maximum over W makes the outputs independent
and uniform: the infomax principle.

Sources:
    Bell, Sejnowski (1995): An information-maximization approach to blind separation and blind deconvolution.
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

# Each output depends on several inputs.
_NOT_ELEMENTWISE = ("softmax", "log_softmax", "sparsemax", "glu")


def log_slope(x: Array, activation: Any, of: str = "input", epsilon: float = 1e-6) -> Array:
    """Log slope of an elementwise activation phi, log sqrt(phi'(z)^2 + epsilon^2): what each element adds to entropy.

    The change of entropy of a layer with its activation is the log-volume of its kernel plus the mean of the log slope
    over the data, summed over the units (Bell and Sejnowski, 1995, eq. 3 and 11). This is exact if the kernel is square
    and phi is strictly monotone. For other activations (relu, gelu, silu) the noise decides: a unit in a flat part
    keeps nothing but noise of standard deviation `epsilon`. If phi maps two inputs to one output, each input has the
    slope of its own branch, and the sum is an upper bound.

    From the input, slopes of saturating activations are computed as logarithms and are exact for all floats. From the
    output they are exact up to the rounding of the output: a sigmoid of 1 in float32 has the slope 0, so that its
    log slope is log(epsilon).

    Args:
        x: Array of any shape: pre-activations z, or outputs phi(z) with `of="output"`.
        activation: String or function: an activation of `keras.activations`. With `of="input"` also any elementwise
            function of a tensor, which the backend differentiates, in the precision of the backend for NumPy arrays
            too.
        of: String. `"input"` or `"output"`. The output determines the slope for `ACTIVATIONS_OF_OUTPUT`. Defaults to
            `"input"`.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in units of the slope. Defaults to 1e-6.

    Returns:
        An array of the shape of `x`, in nats. NaN where `x` is NaN.

    Raises:
        TypeError, ValueError: If the activation is unknown or not elementwise (softmax), if its output does not
            determine its slope, or if `epsilon` is negative or no number.

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
        remedy = "Each of its outputs depends on several inputs, so that it has no slope."
        raise ValueError(_checks.message("activation", "elementwise", activation, remedy))
    x = _backend.as_float(x)
    xp = _backend.namespace(x)
    if of == "output":
        if name not in _SLOPES_OF_OUTPUT:
            expected = f"one of {', '.join(ACTIVATIONS_OF_OUTPUT)} with of='output'"
            remedy = (
                "The output of others does not determine the slope. Use of='input', in a model `EntropyActivation`."
            )
            raise ValueError(_checks.message("activation", expected, activation, remedy))
        return log_magnitude(_SLOPES_OF_OUTPUT[name](xp, x), epsilon)
    if name in _LOG_SLOPES:
        return _with_floor(_LOG_SLOPES[name](xp, x), epsilon)
    z = x if xp is keras.ops else keras.ops.convert_to_tensor(x, dtype=keras.backend.floatx())
    if name is not None:  # beyond, the slopes of Keras's own are constant, but their squares overflow
        z = keras.ops.clip(z, -_FAR, _FAR)
    slope = _or_nan(keras.ops, z, _backend.derivative(function, z))
    if xp is np:
        slope = np.asarray(keras.ops.convert_to_numpy(slope), np.float64)
    return log_magnitude(slope, epsilon)


def is_elementwise(activation: Any) -> bool:
    """Whether each output of an activation depends on one input, as for all of Keras but the softmax kinds and glu.

    Args:
        activation: String or function: an activation of `keras.activations`, or any function.

    Returns:
        A boolean. It is True for all functions that are not Keras's.

    Raises:
        ValueError: If the name is unknown.

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
    """Return the name of an activation, None if it is not Keras's own, and its function."""
    if activation is None or not (isinstance(activation, str) or callable(activation)):
        raise ValueError(_checks.message("activation", "a name or function of keras.activations", activation))
    try:
        function = keras.activations.get(activation)
    except ValueError:
        raise ValueError(_checks.message("activation", "a name or function of keras.activations", activation)) from None
    name = getattr(function, "__name__", None)
    return name if getattr(keras.activations, str(name), None) is function else None, function


def _or_nan(xp: Any, x: Array, value: Array) -> Array:
    """Return `value`, with NaN where `x` is NaN."""
    return xp.where(xp.isnan(x), x, value)


def _log_sigmoid(z: Array) -> Array:
    return -_backend.softplus(-z)


# log|phi'| as a function of z; xp is numpy or keras.ops.
_LOG_SLOPES: dict[str | None, Callable[[Any, Array], Array]] = {
    "linear": lambda xp, z: _or_nan(xp, z, xp.zeros_like(z)),
    "sigmoid": lambda xp, z: _log_sigmoid(z) + _log_sigmoid(-z),
    "log_sigmoid": lambda xp, z: _log_sigmoid(-z),
    "softplus": lambda xp, z: _log_sigmoid(z),
    "tanh": lambda xp, z: math.log(4) + _log_sigmoid(2 * z) + _log_sigmoid(-2 * z),
    "exponential": lambda xp, z: z,
    "softsign": lambda xp, z: -2 * xp.log1p(xp.abs(z)),
    "elu": lambda xp, z: xp.where(z >= 0, xp.zeros_like(z), z),
    "celu": lambda xp, z: xp.where(z >= 0, xp.zeros_like(z), z),
    "selu": lambda xp, z: math.log(_SELU_SCALE) + xp.where(z >= 0, xp.zeros_like(z), z + math.log(_SELU_ALPHA)),
    "leaky_relu": lambda xp, z: _or_nan(xp, z, xp.where(z < 0, xp.full_like(z, math.log(_LEAK)), xp.zeros_like(z))),
    # Listed because torch does not differentiate its derivative.
    "hard_sigmoid": lambda xp, z: _or_nan(
        xp, z, xp.where(xp.abs(z) < 3, xp.full_like(z, -math.log(6)), xp.full_like(z, -math.inf))
    ),
}

# phi' as a function of y = phi(z).
_SLOPES_OF_OUTPUT: dict[str | None, Callable[[Any, Array], Array]] = {
    "linear": lambda xp, y: _or_nan(xp, y, xp.ones_like(y)),
    "sigmoid": lambda xp, y: y * (1 - y),
    "softplus": lambda xp, y: -xp.expm1(-y),
    "tanh": lambda xp, y: (1 - y) * (1 + y),
    "exponential": lambda xp, y: y,
    "softsign": lambda xp, y: xp.square(1 - xp.abs(y)),
    "elu": lambda xp, y: xp.where(y >= 0, xp.ones_like(y), 1 + y),
    "selu": lambda xp, y: xp.where(y >= 0, xp.full_like(y, _SELU_SCALE), y + _SELU_SCALE * _SELU_ALPHA),
    "leaky_relu": lambda xp, y: _or_nan(xp, y, xp.where(y < 0, xp.full_like(y, _LEAK), xp.ones_like(y))),
}

ACTIVATIONS_OF_OUTPUT = tuple(str(name) for name in _SLOPES_OF_OUTPUT)
"""Names of the activations whose output determines their slope."""
