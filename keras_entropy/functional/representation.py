"""Entropies of representations: how many dimensions a batch of vectors fills, and how far.

All three functions take a batch of n vectors as an array (n, d). They depend on the singular values of the batch only,
and are computed from the smaller of its two Gram matrices, (d, d) or (n, n).

`epsilon` is a variance here, in squared units of the vectors: the literature of each formula adds it to a covariance.

Sources:
    Roy, Vetterli (2007): The effective rank: a measure of effective dimensionality.
    Yu, Chan, You, Song, Ma (2020): Learning diverse and discriminative representations via the principle of maximal
        coding rate reduction.
    Bishop (2006): Pattern recognition and machine learning, appendix B.
"""

from __future__ import annotations

import math

import keras
import numpy as np
import scipy.special

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.covariance import gram_log_det, is_known

BIASES = ("none", "first_order")
"""Corrections of the bias of `gaussian_entropy`."""


def gaussian_entropy(z: Array, epsilon: float = 1e-2, bias: str = "none") -> Array:
    """Entropy of a Gaussian with the covariance of a batch of vectors, up to a constant: 1/2 log det(C + eps I) / d.

    C is the sample covariance, with the divisor n - 1. The constant that is left out is log(2 pi e) / 2 = 1.419 nats
    per dimension, so that vectors with the identity as covariance have the value 0 for a small `epsilon`. A dimension
    that is constant adds log(epsilon) / 2. Scaling all vectors by a adds log a where their variance is far above
    `epsilon`. The gradient with respect to a vector is largest where the standard deviation is sqrt(epsilon), and it is
    0 if all vectors are equal: as a term it prevents a collapse, it does not undo one.

    The value of a batch is too low on average, because a few vectors do not fill all dimensions. `bias="first_order"`
    adds ((tr M)^2 + tr M^2) / (4 (n - 1) d) with M = C (C + eps I)^-1, the leading order of the bias for Gaussian
    vectors. Without a floor the bias is known exactly, see `gaussian_entropy_bias`. If d >= n the value is
    rank-limited: the batch fills at most n - 1 dimensions, the floor decides the others, and nothing corrects that.
    Two such values can be compared if n, d and `epsilon` are equal.

    Args:
        z: Array (n, d), n >= 2 vectors. NumPy arrays are computed in float64 by singular values, tensors by a Cholesky
            factorisation in float32 (float64 tensors in float64).
        epsilon: Float >= 0. Variance of the assumed noise, in squared units of `z`, not a standard deviation. For
            tensors of float32 it is at least 1e-6 times the sum of all variances, which a factorisation resolves: with
            a sum above 1e4, the default is raised. Defaults to 1e-2.
        bias: String. `"none"` or `"first_order"`. Defaults to `"none"`.

    Returns:
        A scalar, in nats per dimension. NaN if `z` has a NaN or an infinity.

    Raises:
        TypeError, ValueError: If `z` is not an array (n, d) with n >= 2, or if `epsilon` or `bias` is invalid; with
            `bias="first_order"`, if d >= n. If a compiled function does not know n, the value is NaN instead.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> z = np.array([[1.0, 2.0], [1.0, -2.0], [-1.0, 2.0], [-1.0, -2.0]])  # variances 4/3 and 16/3
        >>> float(functional.gaussian_entropy(z, epsilon=0.0).round(6))  # log(4/3 * 16/3) / 4
        0.490415
    """
    epsilon = _checks.non_negative("epsilon", epsilon)
    _checks.one_of("bias", bias, BIASES)
    z = _rows(z)
    count, columns = z.shape
    _check_count(count)
    if bias == "first_order" and is_known(count) and is_rank_limited(count, columns):
        expected = f"'none' for a batch of {count} vectors of {columns} dimensions, which is rank-limited"
        raise ValueError(_checks.message("bias", expected, bias, f"Use at least {columns + 1} vectors."))
    xp = _backend.namespace(z)
    centred = z - xp.mean(z, axis=0, keepdims=True)
    freedom = _count(z) - 1
    value = gram_log_det(centred, freedom, epsilon) / (2 * columns)
    if bias == "none":
        return value
    kept = _kept_variance(centred, freedom, epsilon)
    correction = (xp.square(xp.sum(kept)) + xp.sum(xp.square(kept))) / (4 * freedom * columns)
    return xp.where(freedom >= columns, value + correction, xp.full_like(value, math.nan))


def gaussian_entropy_bias(n: int, d: int) -> float:
    """Bias of `gaussian_entropy` with `epsilon=0` for Gaussian vectors, exact for any covariance.

    It is the mean of 1/2 log det(C) / d minus the value of the true covariance, of n independent vectors with d
    dimensions: (sum over k < d of psi((n - 1 - k) / 2) + d log 2 - d log(n - 1)) / (2 d), with the digamma function psi
    (Bishop, 2006, eq. B.81). Subtract it from a value. With a noise floor the bias is smaller in size; use
    `gaussian_entropy(z, epsilon, bias="first_order")`.

    Args:
        n: Integer. Number of vectors.
        d: Integer. Number of dimensions, below n.

    Returns:
        A float <= 0, in nats per dimension.

    Raises:
        TypeError, ValueError: If an argument is not a positive integer, or d >= n: then log det(C) is minus infinity.

    Examples:
        >>> from keras_entropy import functional
        >>> round(functional.gaussian_entropy_bias(128, 64), 3)
        -0.158
    """
    n, d = _checks.positive_integer("n", n), _checks.positive_integer("d", d)
    if is_rank_limited(n, d):
        raise ValueError(_checks.message("d", f"below n={n}; otherwise the entropy is rank-limited", d))
    freedom = n - 1
    total = scipy.special.digamma((freedom - np.arange(d)) / 2).sum() + d * math.log(2) - d * math.log(freedom)
    return float(total / (2 * d))


def is_rank_limited(n: int, d: int) -> bool:
    """Whether n vectors are too few to fill d dimensions: d >= n.

    Their covariance has a rank of at most n - 1, so that the noise floor decides the other dimensions of
    `gaussian_entropy`.

    Args:
        n: Integer. Number of vectors.
        d: Integer. Number of dimensions.

    Returns:
        A boolean.

    Examples:
        >>> from keras_entropy import functional
        >>> functional.is_rank_limited(64, 64), functional.is_rank_limited(65, 64)
        (True, False)
    """
    return d >= n


def effective_rank(z: Array) -> Array:
    """Number of dimensions that a batch of vectors uses: e^H, with H the entropy of its normalised singular values.

    The vectors are centred first; with s the singular values and p = s / sum s it is exp(-sum p log p) (Roy and
    Vetterli, 2007). It is k if the vectors have equal variances in k directions and none in the others.
    It depends neither on rotations nor on the scale of the vectors. It is at most min(d, n - 1).

    Args:
        z: Array (n, d), n >= 2 vectors. NumPy arrays are computed in float64.

    Returns:
        A scalar from 1 to min(d, n - 1), without a unit; 0 if all vectors are equal. NaN if `z` has a NaN or an
        infinity.

    Raises:
        ValueError: If `z` is not an array (n, d) with n >= 2.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> z = np.array([[1.0, 1.0, 5.0], [1.0, -1.0, 5.0], [-1.0, 1.0, 5.0], [-1.0, -1.0, 5.0]])
        >>> float(functional.effective_rank(z).round(6))
        2.0
    """
    z = _rows(z)
    _check_count(z.shape[0])
    xp = _backend.namespace(z)
    values = _backend.singular_values(z - xp.mean(z, axis=0, keepdims=True))
    total = xp.sum(values)
    collapsed = total == 0
    p = values / xp.where(collapsed, xp.ones_like(total), total)
    zero = p == 0  # 0 log 0 is 0
    logs = xp.log(xp.where(zero, xp.ones_like(p), p))
    return xp.where(collapsed, xp.zeros_like(total), xp.exp(-xp.sum(p * logs)))


def coding_rate(z: Array, epsilon: float = 1e-2) -> Array:
    """Nats per dimension that code each vector of a batch up to an error: 1/2 log det(I + d / (n eps) Z^T Z) / d.

    This is R(Z, e) of Yu et al. (2020) divided by d, with `epsilon` = e^2, the mean squared error of a vector.
    The vectors are not centred. The rate grows with the size of the vectors; divide each by its norm, as Yu et al. do,
    to compare or to maximise it.

    Args:
        z: Array (n, d). NumPy arrays are computed in float64 by singular values, tensors by a Cholesky factorisation in
            float32 (float64 tensors in float64).
        epsilon: Float > 0. Mean squared error of a vector, summed over its dimensions, in squared units of `z`. For
            tensors of float32, epsilon / d is at least 1e-6 times the mean squared norm. Yu et al. take 0.25 for unit
            vectors. Defaults to 1e-2.

    Returns:
        A scalar >= 0, in nats per dimension. NaN if `z` has a NaN or an infinity.

    Raises:
        TypeError, ValueError: If `z` is not an array (n, d), or if `epsilon` is not above 0.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> float(functional.coding_rate(np.eye(2), epsilon=1.0).round(6))  # log(2) / 2
        0.346574
    """
    epsilon = _checks.positive("epsilon", epsilon)
    z = _rows(z)
    columns = z.shape[1]
    noise = epsilon / columns
    return (gram_log_det(z, _count(z), noise) / columns - math.log(noise)) / 2


def _rows(z: Array) -> Array:
    if keras.utils.is_keras_tensor(z):
        remedy = "Compute it in the `call` of a layer, or put the layer RepresentationEntropy there."
        raise TypeError(_checks.message("z", "an array or tensor, not the symbolic output of a layer", z, remedy))
    z = _backend.as_float(z)
    if len(z.shape) != 2 or (is_known(z.shape[0]) and z.shape[0] < 1) or not z.shape[1]:
        raise ValueError(_checks.message("z", "a batch of vectors (n, d), with known d", z))
    return z


def _check_count(count: int | None) -> None:
    if is_known(count) and count == 1:
        remedy = "The covariance of a single vector is not defined."
        raise ValueError(_checks.message("z", "at least two vectors (n, d)", count, remedy))


def _count(z: Array) -> Array:
    """Return the number of vectors, as a tensor where a compiled function does not know it."""
    xp = _backend.namespace(z)
    return z.shape[0] if is_known(z.shape[0]) else xp.cast(xp.shape(z)[0], z.dtype)


def _kept_variance(centred: Array, freedom: Array, epsilon: float) -> Array:
    """Eigenvalues of C (C + eps I)^-1: the part of the variance of each direction that is above the noise."""
    xp = _backend.namespace(centred)
    variances = xp.square(_backend.singular_values(centred)) / freedom
    zero = variances == 0
    safe = xp.where(zero, xp.ones_like(variances), variances)
    return xp.where(zero, variances, safe / (safe + epsilon))
