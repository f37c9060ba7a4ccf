"""Elementwise formulas that stay finite in floating point."""

from __future__ import annotations

import math

import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array


def log_magnitude(x: Array, epsilon: float = 0.0) -> Array:
    """Elementwise log sqrt(x^2 + epsilon^2), whose gradient x / (x^2 + epsilon^2) overflows for no finite x.

    Args:
        x: any shape.
        epsilon: noise floor, in units of x. Defaults to 0.

    Returns:
        The same shape: nats.

    Raises:
        ValueError: for a negative epsilon.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.log_magnitude(np.array([0.0, -1.0]), 1.0).round(6).tolist()
        [0.0, 0.346574]
    """
    x, epsilon = _backend.as_float(x), _checks.non_negative("epsilon", epsilon)
    xp = _backend.namespace(x)
    scale = _backend.at_least(xp.abs(_backend.stop_gradient(x)), max(epsilon, _backend.smallest_normal(x)))
    with np.errstate(divide="ignore"):  # log 0 = -inf is the value of a zero without a floor
        return xp.log(scale) + 0.5 * xp.log(xp.square(x / scale) + xp.square(epsilon / scale))


def reciprocal(log_magnitude: Array, epsilon: float) -> Array:
    """1 / (exp(log_magnitude) + epsilon), without overflow: the form of [A, eq. 24] for |det| = exp(...).

    Args:
        log_magnitude: any shape, nats.
        epsilon: positive number.

    Returns:
        The same shape, between 0 and 1 / epsilon.

    Raises:
        ValueError: if epsilon is not positive.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> float(functional.reciprocal(np.log(3.0), 1.0).round(6))
        0.25
    """
    if _checks.non_negative("epsilon", epsilon) == 0:
        raise ValueError(_checks.message("epsilon", "positive", epsilon))
    log_magnitude = _backend.as_float(log_magnitude)
    # 1 / (e^L + epsilon) = exp(-log epsilon - log(1 + e^(L - log epsilon)))
    shift = math.log(epsilon)
    return _backend.namespace(log_magnitude).exp(-shift - _backend.softplus(log_magnitude - shift))
