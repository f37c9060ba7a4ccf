"""The corner of a convolution filter, which stands for its entropy in [A].

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.dense import dense_log_volume
from keras_entropy.functional.elementary import log_magnitude


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

    Examples:
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

    Examples:
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

    Examples:
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

    Examples:
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
