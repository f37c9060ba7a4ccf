"""Total correlation: how much less entropy the outputs of a layer have together than one by one.

For outputs y of a linear map of white Gaussian noise it is sum_j h(y_j) - h(y), the multi-information. It does not
depend on the size of each output: it is the scale-free companion of the log-volume.

Sources:
    Watanabe (1960): Information theoretical analysis of multivariate correlation.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.conv import Band, Sizes, bands_of, mean_over_frequencies


def total_correlation(
    kernel: Array,
    grid: int | None = None,
    epsilon: float = 0.0,
    strides: Sizes = 1,
    dilation: Sizes = 1,
    groups: int = 1,
    transpose: bool = False,
) -> Array:
    """Total correlation of the outputs of a layer for white Gaussian input: >= 0, and 0 for orthogonal outputs.

    It is the sum of the log-norms of the output columns minus the log-volume of the kernel (Watanabe, 1960, eq. 2.9,
    for Gaussians). For a convolution it is the rate per output pixel, between pixels as well as between filters: each
    filter is divided by the norm of its whole kernel, and the log-volume is the mean over frequencies. Scaling an
    output changes nothing.

    The noise is relative to the norm of each output: the value is that of outputs of norm 1 with independent Gaussian
    noise of standard deviation `epsilon`. With more outputs m than inputs d it is infinite without noise, because d
    inputs determine m outputs. With noise it is the constant (m - d) log(1 / epsilon) plus a term that is smallest if
    all singular values are equal (a tight frame). A regularizer can then steer how evenly the outputs spread over the
    inputs.

    Args:
        kernel: Array (d, m), outputs last, or (*spatial, c_in / groups, c_out).
        grid: Integer. For a convolution, as in `conv_log_volume`.
        epsilon: Float >= 0. Standard deviation of the assumed noise, relative to the norm of an output. Defaults to 0.
        strides: Integer, or one for each spatial dimension. Strides of a convolution. Defaults to 1.
        dilation: Integer, or one for each spatial dimension. Dilation of a convolution. Defaults to 1.
        groups: Integer. Number of groups of a convolution. Defaults to 1.
        transpose: Boolean. Whether the outputs are the last axis but one, as in kernels of transposed convolutions. If
            these have strides, their outputs are c_out for each phase, and the value is per input pixel. Defaults to
            False.

    Returns:
        A scalar, in nats, for convolutions per output pixel. An output whose weights are all 0 is independent of the
        others; with `epsilon=0` it makes the value NaN.

    Raises:
        TypeError, ValueError: If the kernel has one axis or more than five, or as `conv_log_volume`.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> float(functional.total_correlation(np.diag([1.0, 5.0])).round(6)) + 0.0
        0.0
        >>> correlated = np.array([[1.0, 0.6], [0.0, 0.8]])  # two outputs of correlation 0.6
        >>> float(functional.total_correlation(correlated).round(6))  # -0.5 log(1 - 0.6^2)
        0.223144
    """
    epsilon = _checks.non_negative("epsilon", epsilon)
    bands, marginal, missing = _normalised(kernel, grid, epsilon, strides, dilation, groups, transpose)
    xp = _backend.namespace(marginal)
    joint = mean_over_frequencies((band, band.log_volumes(epsilon)) for band in bands)
    value = xp.sum(marginal) - xp.sum(joint)
    missing = missing * joint.shape[0]
    return value - missing * _log(epsilon) if missing else value


def correlation_log_spectrum(
    kernel: Array,
    grid: int | None = None,
    epsilon: float = 0.0,
    strides: Sizes = 1,
    dilation: Sizes = 1,
    groups: int = 1,
    transpose: bool = False,
) -> Array:
    """Terms of `total_correlation`, one for each principal direction of the normalised outputs.

    Args:
        kernel: Array (d, m) or (*spatial, c_in / groups, c_out), as in `total_correlation`.
        grid: Integer. For a convolution, as in `conv_log_volume`.
        epsilon: Float >= 0. Standard deviation of the assumed noise, relative to the norm of an output. Defaults to 0.
        strides: Integer, or one for each spatial dimension. Strides of a convolution. Defaults to 1.
        dilation: Integer, or one for each spatial dimension. Dilation of a convolution. Defaults to 1.
        groups: Integer. Number of groups of a convolution. Defaults to 1.
        transpose: Boolean. Whether the outputs are the last axis but one. Defaults to False.

    Returns:
        An array (m,), in nats, in the order of the groups and smallest first in each. A direction with more than its
        share of the variance has a negative value. The sum is `total_correlation`.

    Raises:
        TypeError, ValueError: As `total_correlation`.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> correlated = np.array([[1.0, 0.6], [0.0, 0.8]])
        >>> functional.correlation_log_spectrum(correlated).round(3).tolist()  # variances 1.6 and 0.4
        [-0.235, 0.458]
    """
    epsilon = _checks.non_negative("epsilon", epsilon)
    bands, marginal, missing = _normalised(kernel, grid, epsilon, strides, dilation, groups, transpose)
    xp = _backend.namespace(marginal)
    values = mean_over_frequencies((band, band.log_magnitudes(epsilon)) for band in bands)
    if missing:
        rest = xp.ones_like(marginal[:, :missing]) * _log(epsilon)
        values = xp.concatenate([values, rest], axis=-1)
    return xp.reshape(xp.mean(marginal, axis=-1, keepdims=True) - values, (-1,))


def _normalised(
    kernel: Array, grid: int | None, epsilon: float, strides: Sizes, dilation: Sizes, groups: int, transpose: bool
) -> tuple[Iterable[Band], Array, int]:
    """Transfer matrices of a kernel whose outputs have been divided by their norms.

    The squared norm of a filter is the mean over frequencies of that of its transfer function (Parseval's theorem).

    Returns:
        The matrices; log sqrt(norm^2 + epsilon^2), an array (groups, m); and the number of outputs of a group beyond
        that of its inputs.
    """
    kernel = _backend.as_float(kernel)
    xp = _backend.namespace(kernel)

    def transfer() -> Iterator[Band]:
        flat = len(kernel.shape) == 2
        found = [Band((kernel[None, None],), np.ones(1))] if flat else bands_of(kernel, grid, strides, dilation, groups)
        return (band.map(lambda part: xp.swapaxes(part, -1, -2)) if transpose else band for band in found)

    # On the host they are made three times, to save memory.
    bands = _Again(transfer) if xp is np else list(transfer())
    # A constant close to the norm, whose square neither overflows nor underflows.
    largest = (xp.max(xp.abs(_backend.stop_gradient(p)), axis=(0, 2), keepdims=True) for b in bands for p in b.parts)
    scale = functools.reduce(xp.maximum, largest)
    scale = xp.where(scale == 0, xp.ones_like(scale), scale)
    squares = mean_over_frequencies(
        (band, sum(xp.sum(xp.square(part / scale), axis=-2) for part in band.parts)) for band in bands
    )
    zero = squares == 0
    norms = xp.sqrt(xp.where(zero, xp.ones_like(squares), squares))
    present = xp.where(zero, xp.zeros_like(squares), xp.ones_like(squares))
    rows, columns = next(iter(bands)).parts[0].shape[-2:]
    normalised = (band.map(lambda part: part / scale / norms[None, :, None, :]) for band in bands)
    with np.errstate(divide="ignore"):
        return normalised, 0.5 * xp.log(present + epsilon**2), max(0, int(columns) - int(rows))


class _Again:
    """An iterable that calls a function for each iteration."""

    def __init__(self, make: Callable[[], Iterator[Band]]) -> None:
        self._make = make

    def __iter__(self) -> Iterator[Band]:
        return self._make()


def _log(epsilon: float) -> float:
    return math.log(epsilon) if epsilon else -math.inf
