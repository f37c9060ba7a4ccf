"""The log-volume of a matrix: the change of entropy that a Dense layer makes.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.elementary import log_magnitude

BLOCKS = ("full", "leading")
"""Parts of a Dense kernel to measure: the whole kernel, or its leading square block."""


def log_abs_det(matrix: Array) -> Array:
    """Natural logarithm of the absolute value of the determinant.

    This is the change of differential entropy that the map x -> `matrix` x makes (Meni et al., 2023, theorem 2).

    Args:
        matrix: Array (..., n, n).

    Returns:
        An array (...), in nats: log|det|. For a singular matrix it is minus infinity or a large negative number.

    Raises:
        ValueError: If the last two axes differ in length.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> float(functional.log_abs_det(np.diag([2.0, 0.5, 4.0])).round(6))
        1.386294
    """
    matrix = _backend.as_float(matrix)
    if len(matrix.shape) < 2 or matrix.shape[-1] != matrix.shape[-2]:
        raise ValueError(_checks.message("matrix", "square matrices (..., n, n)", matrix))
    return _backend.log_volume(matrix, 0.0)


def dense_log_volume(kernel: Array, block: str = "full", epsilon: float = 0.0) -> Array:
    """Log-volume of a Dense kernel: the sum of log sqrt(s^2 + epsilon^2) over its singular values s.

    `block="leading"` takes the square part of Meni et al. (2023, theorem 3 and eq. 5-6): the leading k x k block of the
    kernel, k = min(d, m), whose log-volume is log|det|. It ignores all other weights.
    `block="full"` takes the whole kernel: the change of entropy, per input, from the row space of the kernel to its
    output. Divide by k for nats per dimension.

    Args:
        kernel: Array (..., d, m).
        block: String. `"full"` or `"leading"`. Defaults to `"full"`.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in kernel units. Defaults to 0.

    Returns:
        An array (...), in nats.

    Raises:
        TypeError, ValueError: If the kernel has fewer than two axes, `block` is unknown, or `epsilon` is negative or no
            number.

    Examples:
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
    """Terms of `dense_log_volume`: log sqrt(s^2 + epsilon^2) for each singular value s, largest first.

    Args:
        kernel: Array (..., d, m).
        block: String. `"full"` or `"leading"`. Defaults to `"full"`.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in kernel units. Defaults to 0.

    Returns:
        An array (..., min(d, m)), in nats per dimension.

    Raises:
        TypeError, ValueError: As `dense_log_volume`.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.dense_log_spectrum(np.diag([1.0, 2.0])).round(6).tolist()
        [0.693147, 0.0]
    """
    kernel = _block(kernel, block)
    return log_magnitude(_backend.singular_values(kernel), epsilon)


def _block(kernel: Array, block: str) -> Array:
    _checks.one_of("block", block, BLOCKS)
    kernel = _backend.as_float(kernel)
    if len(kernel.shape) < 2:
        raise ValueError(_checks.message("kernel", "matrices (..., d, m)", kernel))
    if block == "leading":
        k = min(kernel.shape[-2:])
        kernel = kernel[..., :k, :k]
    return kernel
