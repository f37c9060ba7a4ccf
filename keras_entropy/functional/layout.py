"""The layout of convolution kernels: spatial dimensions, channels and groups."""

from __future__ import annotations

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array


def conv_kernel(kernel: Array) -> Array:
    """Return a convolution kernel (*spatial, c_in / groups, c_out) in the dtype of the formulas.

    Raises:
        ValueError: If it does not have one to three spatial dimensions.
    """
    kernel = _backend.as_float(kernel)
    if not 3 <= len(kernel.shape) <= 5:
        expected = "a kernel (*spatial, c_in, c_out) with one to three spatial dimensions"
        raise ValueError(_checks.message("kernel", expected, kernel))
    return kernel


def check_groups(groups: int, filters: int) -> int:
    """Return the number of groups of a convolution.

    Raises:
        TypeError, ValueError: If it is not a positive integer that divides the number of filters.
    """
    if filters % _checks.positive_integer("groups", groups):
        raise ValueError(_checks.message("groups", f"a divisor of the {filters} filters of the kernel", groups))
    return groups


def split_groups(matrix: Array, groups: int) -> Array:
    """Split the matrices of the groups of a grouped convolution, which lie side by side.

    Args:
        matrix: Array (c_in / groups, c_out), with the filters of each group next to each other, as in a Keras kernel.
        groups: Integer. Number of groups.

    Returns:
        An array (groups, c_in / groups, c_out / groups).

    Raises:
        TypeError, ValueError: If `groups` is not a positive integer that divides c_out.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.split_groups(np.array([[1.0, 2.0, 3.0, 4.0]]), 2).tolist()
        [[[1.0, 2.0]], [[3.0, 4.0]]]
    """
    matrix = _backend.as_float(matrix)
    rows, columns = matrix.shape
    groups = check_groups(groups, columns)
    xp = _backend.namespace(matrix)
    return xp.transpose(xp.reshape(matrix, (rows, groups, columns // groups)), (1, 0, 2))
