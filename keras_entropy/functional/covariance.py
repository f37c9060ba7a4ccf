"""Covariances of the global batch, and log-determinants of Gram matrices with a noise floor."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from keras import backend, ops

from keras_entropy import _backend
from keras_entropy._backend import Array


class Batch(NamedTuple):
    """The vectors of a batch, of which a second moment is to be taken.

    Attributes:
        rows: Tensor (n, d). The vectors of this replica; 0 for vectors that do not count.
        count: Scalar tensor. Number of vectors that count, on all replicas.
        divisor: Scalar tensor. Divisor of the sum of squares.
    """

    rows: Array
    count: Array
    divisor: Array

    def covariance(self) -> Array:
        """Compute the second moments (d, d) of the vectors of all replicas."""
        framework = _backend.framework()
        return framework.sum_over_replicas(framework.gram(self.rows)) / self.divisor

    def log_det(self, epsilon: float) -> Array:
        """Compute log det(C + epsilon I) of the second moments, from the smaller side if all vectors are here."""
        if _backend.framework().replicas() > 1:
            return log_det(self.covariance(), epsilon)
        return gram_log_det(self.rows, self.divisor, epsilon)

    def trace(self) -> Array:
        """Compute the sum of the variances of all dimensions."""
        return _backend.framework().sum_over_replicas(ops.sum(ops.square(self.rows))) / self.divisor


def centred(z: Array, counts: Array | None = None) -> Batch:
    """Centre the vectors of the global batch; the second moments are then the sample covariance.

    The divisor is the count minus 1, or 1 for a batch of one or none.

    Args:
        z: Tensor (n, d), the vectors of this replica, of float32 or float64.
        counts: Boolean tensor (n,), False for vectors that do not count. Defaults to None: all count.
    """
    batch = uncentred(z, counts)
    rows = batch.rows - _backend.framework().sum_over_replicas(ops.sum(batch.rows, axis=0)) / batch.divisor
    if counts is not None:
        rows = ops.where(counts[:, None], rows, ops.zeros_like(rows))
    return Batch(rows, batch.count, _backend.at_least(batch.count - 1, 1.0))


def uncentred(z: Array, counts: Array | None = None) -> Batch:
    """Take the vectors of the global batch as they are.

    Args:
        z: Tensor (n, d), the vectors of this replica, of float32 or float64.
        counts: Boolean tensor (n,), False for vectors that do not count. Defaults to None: all count.
    """
    if counts is None:
        here = ops.cast(ops.shape(z)[0], z.dtype)
    else:
        here = ops.sum(ops.cast(counts, z.dtype))
        z = ops.where(counts[:, None], z, ops.zeros_like(z))
    count = _backend.framework().sum_over_replicas(here)
    return Batch(z, count, _backend.at_least(count, 1.0))


def is_known(size: int | None) -> bool:
    """Whether the size of an axis is a number, not None or a symbol, as in a step that takes batches of any size."""
    return isinstance(size, int)


def gram_log_det(z: Array, divisor: Array, epsilon: float) -> Array:
    """Log-determinant of Z^T Z / divisor + epsilon I.

    Args:
        z: Array (n, d), Z. NumPy arrays are computed by singular values.
        divisor: Number, or scalar tensor.
        epsilon: Float >= 0. The noise floor. For tensors it is at least 8 units of rounding of the trace.

    Returns:
        A scalar, in nats. NaN if Z has a NaN or an infinity.
    """
    rows, columns = z.shape
    if _backend.is_host(z):
        variances = np.square(_backend.singular_values(z)) / divisor
        with np.errstate(divide="ignore"):  # log 0 = -inf is the value of a singular matrix without a floor
            missing = columns - len(variances)
            return np.log(variances + epsilon).sum() + (missing * np.log(epsilon) if missing else 0.0)
    wide = is_known(rows) and rows < columns
    gram = _backend.framework().gram(ops.transpose(z) if wide else z) / divisor
    return log_det(gram, epsilon, columns - rows if wide else 0)


def log_det(gram: Array, epsilon: float, missing: int = 0) -> Array:
    """Log-determinant of a positive semidefinite matrix plus a noise floor, by Cholesky factorisation.

    The matrix is divided by its trace, so that the rounding of the factorisation is in proportion to the floor.

    Args:
        gram: Tensor (k, k).
        epsilon: Float >= 0. The noise floor. It is at least 8 units of rounding of the trace; below one unit the
            factorisation fails.
        missing: Integer. Number of further dimensions, with the floor alone. Defaults to 0.

    Returns:
        A scalar tensor, in nats. NaN if the matrix has a NaN or an infinity.
    """
    size = gram.shape[-1]
    finite = ops.all(ops.isfinite(gram))
    gram = ops.where(finite, gram, ops.zeros_like(gram))  # torch and TensorFlow raise for NaN
    trace = ops.stop_gradient(ops.sum(ops.diagonal(gram)))
    trace = ops.where(trace > 0, trace, ops.ones_like(trace))
    rounding = float(np.finfo(backend.standardize_dtype(gram.dtype)).eps)
    floor = _backend.at_least(epsilon / trace, 8 * rounding)
    factor = ops.cholesky(gram / trace + floor * ops.eye(size, dtype=gram.dtype))
    value = 2 * ops.sum(ops.log(ops.diagonal(factor))) + missing * ops.log(floor) + (size + missing) * ops.log(trace)
    # NaN reaches the gradient through the Gram matrix. Through the factorisation, TensorFlow would raise for it.
    return ops.where(finite, value, ops.full_like(value, math.nan))
