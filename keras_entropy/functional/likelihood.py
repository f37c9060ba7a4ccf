"""The Gaussian likelihood of residuals, with a whitening matrix in place of a covariance.

Sources:
    Kessy, Lewin, Strimmer (2018): Optimal whitening and decorrelation.
"""

from __future__ import annotations

import math

from keras import ops

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.dense import log_abs_det


def gaussian_negative_log_likelihood(residuals: Array, whitening: Array) -> Array:
    """Negative log-density of residuals r under a Gaussian with mean 0 and covariance (W'W)^-1.

    W whitens the residuals: the covariance of W r is the identity (Kessy et al., 2018, eq. 1 and 4). The value is

        1/2 |W r|^2 - log|det W| + d / 2 * log(2 pi).

    The log-volume of W is the normaliser. Without it, W = 0 would be the best whitening. The inverse of any square root
    of the covariance, such as that of its Cholesky factor, gives the same value.

    Args:
        residuals: Array (..., d), targets minus predictions.
        whitening: Array (d, d), W, in inverse units of the residuals.

    Returns:
        An array (...), in nats. NaN for residuals with a NaN; infinity or a very large number for a singular W.

    Raises:
        ValueError: If the shapes do not fit.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> covariance = np.array([[1.0, 0.9], [0.9, 1.0]])
        >>> whitening = np.linalg.inv(np.linalg.cholesky(covariance))
        >>> residuals = np.array([[1.0, 1.0], [1.0, -1.0]])
        >>> functional.gaussian_negative_log_likelihood(residuals, whitening).round(3).tolist()
        [1.534, 11.008]
    """
    residuals, whitening = _together(residuals, whitening)
    shape, of_residuals = tuple(whitening.shape), tuple(residuals.shape)
    if len(shape) != 2 or shape[0] != shape[1]:
        raise ValueError(_checks.message("whitening", "a square matrix (d, d)", whitening))
    if of_residuals[-1:] != shape[:1]:
        remedy = f"`whitening` has the shape {shape}."
        raise ValueError(_checks.message("residuals", f"an array (..., {shape[0]})", residuals, remedy))
    xp = _backend.namespace(residuals)
    white = xp.matmul(residuals, xp.transpose(whitening))
    constant = 0.5 * math.log(2 * math.pi) * shape[0]
    return 0.5 * xp.sum(xp.square(white), axis=-1) - log_abs_det(whitening) + constant


def _together(residuals: Array, whitening: Array) -> tuple[Array, Array]:
    """Return both as NumPy arrays in float64 or, if one is a tensor, as tensors in the dtype of the residuals."""
    if _backend.is_host(residuals) and _backend.is_host(whitening):
        return _backend.as_float(residuals), _backend.as_float(whitening)
    residuals = _backend.as_float(ops.convert_to_tensor(residuals))
    return residuals, ops.cast(ops.convert_to_tensor(whitening), residuals.dtype)
