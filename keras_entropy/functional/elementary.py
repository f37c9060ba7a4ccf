"""Elementwise formulas that stay finite in floating point.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

import math

import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array


def log_magnitude(x: Array, epsilon: float = 0.0) -> Array:
    """Elementwise log sqrt(x^2 + epsilon^2), with the gradient x / (x^2 + epsilon^2), without overflow for finite x.

    Args:
        x: Array of any shape.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in units of `x`. Defaults to 0.

    Returns:
        An array of the shape of `x`, in nats.

    Raises:
        TypeError, ValueError: If `epsilon` is negative or no number.

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
    """Elementwise 1 / (exp(log_magnitude) + epsilon) without overflow (Meni et al., 2023, eq. 24 and 25).

    Args:
        log_magnitude: Array of any shape, in nats, such as log|det|.
        epsilon: Float > 0. Bounds the value, in units of exp(log_magnitude).

    Returns:
        An array of the shape of `log_magnitude`, between 0 and 1 / epsilon.

    Raises:
        TypeError, ValueError: If `epsilon` is not a positive number.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> float(functional.reciprocal(np.log(3.0), 1.0).round(6))
        0.25
    """
    epsilon = _checks.positive("epsilon", epsilon)
    log_magnitude = _backend.as_float(log_magnitude)
    # 1 / (e^L + epsilon) = exp(-log epsilon - log(1 + e^(L - log epsilon)))
    shift = math.log(epsilon)
    return _backend.namespace(log_magnitude).exp(-shift - _backend.softplus(log_magnitude - shift))
