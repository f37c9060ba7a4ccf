"""The log-volume of a convolution: the change of entropy per pixel that the whole kernel makes.

On a torus with n pixels per side a convolution with stride 1 is block-circulant. The Fourier transform turns it into
one small matrix for each frequency w, the transfer matrix K(w) = sum_j K[j] exp(i w.j) of shape (c_in, c_out). Its
singular values are those of all K(w) together (Sedghi et al., 2019, theorem 6). A convolution with stride s is a
convolution with stride 1 of the s x s images that take every s-th pixel (polyphase decomposition: Vaidyanathan, 1993,
section 4.3).

Sources:
    Sedghi, Gupta, Long (2019): The singular values of convolutional layers.
    Vaidyanathan (1993): Multirate systems and filter banks.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.elementary import log_magnitude
from keras_entropy.functional.layout import check_groups, conv_kernel

Sizes = int | Sequence[int]

_BYTES_PER_ANGLE = 32
"""Memory for each frequency of the grid and each tap of the kernel, at least."""


def conv_log_volume(
    kernel: Array,
    grid: int | None = None,
    epsilon: float = 0.0,
    strides: Sizes = 1,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Log-volume of a convolution per output pixel: the mean over frequencies of that of the transfer matrix.

    The value is exact for an input on a torus of `grid` output pixels per side. As the grid grows, it approaches the
    integral over all frequencies, which is the limit for large images with any boundary (docs/exact_entropy.md shows
    the differences). If c_in = c_out, it is the change of entropy per pixel. Otherwise it is the change from (or to)
    the part of the input (or output) that the smaller side spans, as for `dense_log_volume`.

    Dilation moves the taps apart and keeps the integral; on a grid that shares a divisor with it, frequencies repeat.
    A transposed convolution has the transposed transfer matrix, and so the same value: per input pixel, if it has
    strides.

    Args:
        kernel: Array (*spatial, c_in / groups, c_out), with one to three spatial dimensions. Give a depthwise kernel as
            (*spatial, 1, c_in * multiplier) with `groups=c_in`.
        grid: Integer. Number of frequencies per spatial dimension. Defaults to 8, doubled until it is larger than the
            support of the kernel and at least 8 frequencies differ.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in kernel units. Defaults to 0.
        strides: Integer, or one for each spatial dimension. Strides of the convolution. Defaults to 1.
        dilation: Integer, or one for each spatial dimension. Dilation of the convolution. Defaults to 1.
        groups: Integer. Number of groups of the convolution. Defaults to 1.

    Returns:
        A scalar, in nats per output pixel, summed over the groups * min(c_in * strides / groups, c_out / groups)
        dimensions. (`strides` is the product over the spatial dimensions; phases without a tap do not count.)

    Raises:
        TypeError, ValueError: If the kernel has another number of axes, `groups` does not divide c_out, an integer is
            not positive, or `epsilon` is negative or no number.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> kernel = np.array([1.0, 0.5]).reshape(2, 1, 1)  # 1 + 0.5 z: log-volume 0 by Jensen's formula
        >>> float(functional.conv_log_volume(kernel, grid=64).round(6)) + 0.0
        0.0
        >>> float(functional.conv_log_volume(2 * kernel, grid=64).round(6))
        0.693147
    """
    epsilon = _checks.non_negative("epsilon", epsilon)
    bands = bands_of(kernel, grid, strides, dilation, groups)
    volumes = mean_over_frequencies((band, band.log_volumes(epsilon)) for band in bands)
    return _backend.namespace(volumes).sum(volumes)


def conv_log_spectrum(
    kernel: Array,
    grid: int | None = None,
    epsilon: float = 0.0,
    strides: Sizes = 1,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Array:
    """Terms of `conv_log_volume`: the mean over frequencies of log sqrt(s^2 + epsilon^2), s the i-th singular value.

    Args:
        kernel: Array (*spatial, c_in / groups, c_out).
        grid: Integer. As in `conv_log_volume`.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in kernel units. Defaults to 0.
        strides: Integer, or one for each spatial dimension. Strides of the convolution. Defaults to 1.
        dilation: Integer, or one for each spatial dimension. Dilation of the convolution. Defaults to 1.
        groups: Integer. Number of groups of the convolution. Defaults to 1.

    Returns:
        An array (k,), in nats per output pixel and dimension, largest first in each group. Its sum is
        `conv_log_volume`.

    Raises:
        TypeError, ValueError: As `conv_log_volume`.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> kernel = np.zeros((3, 3, 2, 2))
        >>> kernel[1, 1] = np.diag([1.0, 2.0])
        >>> functional.conv_log_spectrum(kernel).round(6).tolist()
        [0.693147, 0.0]
    """
    epsilon = _checks.non_negative("epsilon", epsilon)
    bands = bands_of(kernel, grid, strides, dilation, groups)
    values = mean_over_frequencies((band, band.log_magnitudes(epsilon)) for band in bands)
    return _backend.namespace(values).reshape(values, (-1,))


@dataclasses.dataclass(frozen=True)
class Band:
    """Transfer matrices of several frequencies, either all real or all complex.

    Attributes:
        parts: The real parts (frequencies, groups, phases * c_in / groups, c_out / groups), and for complex matrices
            the imaginary parts.
        weights: (frequencies,): The share of all frequencies that each stands for.
    """

    parts: tuple[Array, ...]
    weights: np.ndarray[Any, np.dtype[np.float64]]

    def log_volumes(self, epsilon: float) -> Array:
        """Return the log-volumes, (frequencies, groups), in nats."""
        return _backend.log_volume(self.parts[0], epsilon, *self.parts[1:])

    def log_magnitudes(self, epsilon: float) -> Array:
        """Return log sqrt(s^2 + epsilon^2) of the singular values, (frequencies, groups, k), in nats, largest first."""
        return log_magnitude(_backend.singular_values(*self.parts), epsilon)

    def map(self, function: Callable[[Array], Array]) -> Band:
        """Apply `function` to each of the parts."""
        return Band(tuple(map(function, self.parts)), self.weights)


def mean_over_frequencies(values_of: Iterable[tuple[Band, Array]]) -> Array:
    """Average values (frequencies, ...) of bands over all frequencies; return an array (...)."""
    total = 0.0
    for band, value in values_of:
        xp = _backend.namespace(value)
        weights = band.weights.reshape(-1, *[1] * (len(value.shape) - 1))
        weights = weights if xp is np else xp.convert_to_tensor(weights, dtype=value.dtype)
        total = total + xp.sum(weights * value, axis=0)
    return total


_BAND = 2**18
"""Size of the transfer matrices of a band on the host, in numbers."""


def bands_of(
    kernel: Array, grid: int | None = None, strides: Sizes = 1, dilation: Sizes = 1, groups: int = 1
) -> Iterator[Band]:
    """Yield the transfer matrices of a convolution on a grid of frequencies.

    Of a pair w, -w, and of frequencies that repeat, there is one, with the weight of all.

    Args:
        kernel: Array (*spatial, c_in / groups, c_out).
        grid: Integer. As in `conv_log_volume`.
        strides: Integer, or one for each spatial dimension. Strides of the convolution.
        dilation: Integer, or one for each spatial dimension. Dilation of the convolution.
        groups: Integer. Number of groups of the convolution.

    Yields:
        A `Band` of the frequencies with a real matrix, and one of the others, if there are any. On the host there are
        several small ones of each, made one after the other to save memory.

    Raises:
        TypeError, ValueError: As `conv_log_volume`.
    """
    kernel = conv_kernel(kernel)
    *size, rows, columns = kernel.shape
    groups = check_groups(groups, columns)
    strides, dilation = _sizes("strides", strides, len(size)), _sizes("dilation", dilation, len(size))
    if grid is None:
        grid = default_grid(tuple(size), strides, dilation)
    transforms_of = _fourier(tuple(size), _checks.positive_integer("grid", grid), strides, dilation)
    xp = _backend.namespace(kernel)
    flat = xp.reshape(kernel, (-1, rows * columns))

    def matrices(transform: np.ndarray[tuple[int, int, int], np.dtype[np.float64]]) -> Array:
        frequencies, phases, taps = transform.shape
        matrix = transform.reshape(-1, taps)
        matrix = matrix if xp is np else xp.convert_to_tensor(matrix, dtype=kernel.dtype)
        with np.errstate(invalid="ignore"):  # an infinity times 0 is NaN
            product = matrix @ flat  # keras.ops.matmul computes float64 in float32 on torch
        product = xp.reshape(product, (frequencies, phases * rows, groups, columns // groups))
        return xp.transpose(product, (0, 2, 1, 3))

    for transforms, weights in transforms_of:
        count, phases, _ = transforms[0].shape
        step = max(1, _BAND // (phases * rows * columns)) if xp is np else count
        for i in range(0, count, step):
            yield Band(tuple(matrices(transform[i : i + step]) for transform in transforms), weights[i : i + step])


def transfer_shape(
    shape: tuple[int, ...], strides: Sizes = 1, dilation: Sizes = 1, groups: int = 1
) -> tuple[int, int, int]:
    """Size of the transfer matrices of a convolution.

    Args:
        shape: Tuple of integers. Shape of the kernel, (*spatial, c_in / groups, c_out).
        strides: Integer, or one for each spatial dimension. Strides of the convolution. Defaults to 1.
        dilation: Integer, or one for each spatial dimension. Dilation of the convolution. Defaults to 1.
        groups: Integer. Number of groups of the convolution. Defaults to 1.

    Returns:
        A tuple (groups, rows, columns): rows is the number of phases with a tap times c_in / groups, columns is
        c_out / groups.

    Raises:
        TypeError, ValueError: If `strides` or `dilation` is not a positive integer, or one for each spatial dimension.

    Examples:
        >>> from keras_entropy import functional
        >>> functional.transfer_shape((3, 3, 16, 32), strides=2)
        (1, 64, 32)
    """
    *size, rows, columns = shape
    taps = np.array(list(np.ndindex(*size))) * _sizes("dilation", dilation, len(size))
    phases = len(np.unique(taps % _sizes("strides", strides, len(size)), axis=0))
    return groups, phases * rows, columns // groups


def default_grid(size: tuple[int, ...], strides: tuple[int, ...], dilation: tuple[int, ...]) -> int:
    """Return 8, doubled until it is larger than the support of the kernel and at least 8 frequencies differ."""
    grid = 8
    while any(
        grid // math.gcd(grid, r) < 8 or s * grid // math.gcd(s * grid, r) <= k
        for k, s, r in zip(size, strides, dilation, strict=True)
    ):
        grid *= 2
    return grid


@functools.lru_cache(maxsize=256)
def _fourier(size: tuple[int, ...], grid: int, strides: tuple[int, ...], dilation: tuple[int, ...]) -> list[Any]:
    """Fourier transforms of the taps on a half of the frequencies, split by the phase of the input that a tap reads.

    Returns:
        A list with one entry for the frequencies with a real transform and one for the others, if there are any. An
        entry holds the transforms (frequencies, phases, taps), a cosine and for the others a sine, and the weights of
        the frequencies.
    """
    _checks.fits_memory("grid", grid, _BYTES_PER_ANGLE * grid ** len(size) * math.prod(size))
    taps = np.array(list(np.ndindex(*size))) * dilation
    phase_of, delays = taps % strides, taps // strides
    phases, phase = np.unique(phase_of, axis=0, return_inverse=True)
    frequencies = np.array(list(np.ndindex(*[grid] * len(size))))
    angles = frequencies @ delays.T % grid  # in units of 2 pi / grid
    opposite = -angles % grid
    # K(-w) is the conjugate of K(w) and has the same volume: of the two, keep the lexicographically first.
    differs = angles != opposite
    first = np.argmax(differs, axis=1)[:, None]
    swap = np.take_along_axis(angles > opposite, first, axis=1)
    angles, counts = np.unique(np.where(swap, opposite, angles), axis=0, return_counts=True)
    is_real = (angles == -angles % grid).all(axis=1)
    reads = np.arange(len(phases))[:, None] == phase.reshape(1, -1)
    parts = []
    for chosen in (is_real, ~is_real):
        if chosen.any():
            turn = 2 * np.pi / grid * angles[chosen][:, None, :]
            functions = (np.cos,) if chosen is is_real else (np.cos, np.sin)
            parts.append((tuple(reads * function(turn) for function in functions), counts[chosen] / counts.sum()))
    return parts


def _sizes(argument: str, value: Sizes, rank: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, list | tuple) else (value,) * rank
    if len(values) != rank:
        raise ValueError(_checks.message(argument, f"one integer, or one for each of {rank} spatial dimensions", value))
    return tuple(_checks.positive_integer(argument, v) for v in values)
