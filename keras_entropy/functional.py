"""Every formula of the package, as pure functions of arrays.

All take NumPy arrays, tensors of the Keras backend or `keras.Variable`s. NumPy arrays are computed on the
host in float64 and give NumPy results; tensors are computed by the backend, in float32 (or float64 where
they are float64), with a gradient, also inside compiled functions. All entropies are natural: nats.

The linear map x -> Wx changes differential entropy by log|det W| [A, theorem 2]; where W is not square,
the product of its singular values takes the place of |det W|. `epsilon` is a noise floor: with it every
value is the entropy of the map plus independent Gaussian noise of standard deviation `epsilon`, and values
and gradients are finite for singular matrices too.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import math

import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array

BLOCKS = ("full", "leading")


def log_abs_det(matrix: Array) -> Array:
    """Natural logarithm of the absolute value of the determinant.

    By [A, theorem 2] the change of differential entropy, in nats, that the map x -> `matrix` x makes.

    Args:
        matrix: (..., n, n).

    Returns:
        (...): log|det|, minus infinity or a large negative number for a singular matrix.

    Raises:
        ValueError: if the last two dimensions differ.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> float(functional.log_abs_det(np.diag([2.0, 0.5, 4.0])).round(6))
        1.386294
    """
    matrix = _backend.as_float(matrix)
    if len(matrix.shape) < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(f"`matrix` should have shape (..., n, n). Received: shape {tuple(matrix.shape)}.")
    return _backend.log_volume(matrix, 0.0)


def dense_log_volume(kernel: Array, block: str = "full", epsilon: float = 0.0) -> Array:
    """Log-volume of a Dense kernel: sum of log sqrt(s^2 + epsilon^2) over its singular values s.

    `block="leading"` takes the square part that [A, theorem 3 and eq. 5-6] takes: the leading k x k block
    of the kernel, k = min(d, m), whose log-volume is log|det|. It ignores all other weights.
    `block="full"` takes all of them: the change of entropy, per input, from the row space of the kernel to
    its output. Divide by k for nats per dimension.

    Args:
        kernel: (..., d, m).
        block: `"full"` or `"leading"`. Defaults to `"full"`.
        epsilon: noise floor, in units of the kernel. Defaults to 0.

    Returns:
        (...): nats.

    Raises:
        ValueError: for a kernel of rank below 2, an unknown block, a negative epsilon.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> kernel = np.array([[3.0, 0.0], [0.0, 1.0], [4.0, 0.0]])
        >>> float(functional.dense_log_volume(kernel).round(6))  # log 5
        1.609438
        >>> float(functional.dense_log_volume(kernel, block="leading").round(6))  # log 3
        1.098612
    """
    return _backend.log_volume(_block(kernel, block), _checks.non_negative("epsilon", epsilon))


def dense_log_spectrum(kernel: Array, block: str = "full", epsilon: float = 0.0) -> Array:
    """The terms of `dense_log_volume`: log sqrt(s^2 + epsilon^2) for each singular value s, largest first.

    Args:
        kernel: (..., d, m).
        block: `"full"` or `"leading"`. Defaults to `"full"`.
        epsilon: noise floor, in units of the kernel. Defaults to 0.

    Returns:
        (..., min(d, m)): nats per dimension.

    Raises:
        ValueError: for a kernel of rank below 2, an unknown block, a negative epsilon.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.dense_log_spectrum(np.diag([1.0, 2.0])).round(6).tolist()
        [0.693147, 0.0]
    """
    kernel = _block(kernel, block)
    return log_magnitude(_backend.singular_values(kernel), epsilon)


def corner_log_magnitude(kernel: Array, epsilon: float = 0.0) -> Array:
    """Log-magnitude of the corner element of every filter: log sqrt(c11^2 + epsilon^2).

    [A, corollary 6, eq. 18] gives log|c11| per output pixel as the change of entropy of a one-channel
    convolution that is made square by passing pixels of its input on. Keras correlates, as [A, eq. 7] does,
    so c11 is `kernel[0, 0]`; strides and dilation leave the corner where it is, and a transposed
    convolution, whose operator is the transposed matrix, has the same one. It says nothing of the other
    weights. For several channels the source's reading is one number per (channel, filter) pair; their mean
    bounds nothing, see `corner_log_volume`.

    Args:
        kernel: (*spatial, c_in, c_out), with one to three spatial dimensions.
        epsilon: noise floor, in units of the kernel. Defaults to 0.

    Returns:
        (c_in, c_out): nats per output pixel.

    Raises:
        ValueError: for a kernel without spatial dimensions, or a negative epsilon.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> kernel = np.array([[2.0, 1.0], [4.0, 3.0], [-2.0, 1.0]])[..., None, None]  # [A, example 5]
        >>> bool(np.isclose(6 * functional.corner_log_magnitude(kernel)[0, 0], np.log(64)))
        True
    """
    return log_magnitude(corner(kernel), epsilon)


def corner_log_volume(kernel: Array, epsilon: float = 0.0, groups: int = 1) -> Array:
    """Log-volume of the corner *matrix* `kernel[0, 0]`: corollary 6 of [A] for several channels.

    With as many input as output channels the square part of the convolution that [A, eq. 17] takes is block
    triangular with this matrix on its diagonal, so its log|det| per output pixel is log|det kernel[0, 0]|,
    and it bounds the log-volume per pixel of the whole convolution, on a large image, from below.

    Args:
        kernel: (*spatial, c_in / groups, c_out), with one to three spatial dimensions.
        epsilon: noise floor, in units of the kernel. Defaults to 0.
        groups: number of groups of the convolution, whose corner matrices are measured one by one and
            added; for a depthwise kernel reshaped to (*spatial, 1, c_in * multiplier) it is c_in.

    Returns:
        A scalar: nats per output pixel, summed over the min(c_in, c_out) dimensions.

    Raises:
        ValueError: for a kernel without spatial dimensions, c_out not divisible by `groups`, or a negative
            epsilon.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> kernel = np.zeros((3, 3, 2, 2))
        >>> kernel[0, 0] = [[1.0, 1.0], [0.0, 2.0]]
        >>> float(functional.corner_log_volume(kernel).round(6))
        0.693147
    """
    matrices = split_groups(corner(kernel), groups)
    return _backend.namespace(matrices).sum(dense_log_volume(matrices, epsilon=epsilon))


def corner(kernel: Array) -> Array:
    """The corner elements c11 of a convolution kernel [A, eq. 18].

    Args:
        kernel: (*spatial, c_in, c_out), with one to three spatial dimensions.

    Returns:
        (c_in, c_out): the elements at spatial index 0, 0.

    Raises:
        ValueError: for a kernel without spatial dimensions.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.corner(np.arange(8.0).reshape(2, 2, 1, 2)).tolist()
        [[0.0, 1.0]]
    """
    kernel = _backend.as_float(kernel)
    if not 3 <= len(kernel.shape) <= 5:
        raise ValueError(
            "`kernel` should have one to three spatial dimensions: (*spatial, c_in, c_out). "
            f"Received: shape {tuple(kernel.shape)}."
        )
    return kernel[(0,) * (len(kernel.shape) - 2)]


def split_groups(matrix: Array, groups: int) -> Array:
    """The matrices of the groups of a grouped convolution, side by side in `matrix`.

    Args:
        matrix: (c_in / groups, c_out), the columns of each group next to each other, as Keras keeps them.
        groups: number of groups.

    Returns:
        (groups, c_in / groups, c_out / groups).

    Raises:
        ValueError: if `groups` does not divide c_out.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.split_groups(np.array([[1.0, 2.0, 3.0, 4.0]]), 2).tolist()
        [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    matrix = _backend.as_float(matrix)
    rows, columns = matrix.shape
    if columns % _checks.positive_integer("groups", groups):
        raise ValueError(f"`groups` should divide the {columns} filters of the kernel. Received: groups={groups}.")
    xp = _backend.namespace(matrix)
    return xp.transpose(xp.reshape(matrix, (rows, groups, columns // groups)), (1, 0, 2))


def log_magnitude(x: Array, epsilon: float = 0.0) -> Array:
    """Elementwise log sqrt(x^2 + epsilon^2), whose gradient x / (x^2 + epsilon^2) overflows for no finite x.

    Args:
        x: any shape.
        epsilon: noise floor, in units of x. Defaults to 0.

    Returns:
        The same shape: nats.

    Raises:
        ValueError: for a negative epsilon.

    Example:
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

    Example:
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


def _block(kernel: Array, block: str) -> Array:
    _checks.one_of("block", block, BLOCKS)
    kernel = _backend.as_float(kernel)
    if len(kernel.shape) < 2:
        raise ValueError(f"`kernel` should have shape (..., d, m). Received: shape {tuple(kernel.shape)}.")
    if block == "leading":
        k = min(kernel.shape[-2:])
        kernel = kernel[..., :k, :k]
    return kernel
