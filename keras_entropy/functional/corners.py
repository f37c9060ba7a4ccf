"""The corner of a convolution filter, which stands for the entropy of the filter in Meni et al.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

from keras_entropy import _backend
from keras_entropy._backend import Array
from keras_entropy.functional.dense import dense_log_volume
from keras_entropy.functional.elementary import log_magnitude
from keras_entropy.functional.layout import conv_kernel, split_groups


def corner_log_magnitude(kernel: Array, epsilon: float = 0.0) -> Array:
    """Log-magnitude of the corner element of each filter: log sqrt(c11^2 + epsilon^2).

    By corollary 6 (Meni et al., 2023, eq. 18), log|c11| is the change of entropy per output pixel of a convolution with
    one channel, made square by passing on pixels of its input. Keras correlates, as Meni et al. (2023, eq. 7) do, so
    that c11 is `kernel[0, 0]`. Strides and dilation keep the corner where it is. A transposed convolution has the same
    corner. The value ignores all other weights. For several channels there is one value for each pair of channel and
    filter; their mean bounds nothing, unlike `corner_log_volume`.

    Args:
        kernel: Array (*spatial, c_in, c_out), with one to three spatial dimensions.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in kernel units. Defaults to 0.

    Returns:
        An array (c_in, c_out), in nats per output pixel.

    Raises:
        TypeError, ValueError: If the kernel has another number of axes, or `epsilon` is negative or no number.

    Examples:
        Example 5 of Meni et al. (2023), with 6 output pixels:

        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> kernel = np.array([[2.0, 1.0], [4.0, 3.0], [-2.0, 1.0]])[..., None, None]
        >>> bool(np.isclose(6 * functional.corner_log_magnitude(kernel)[0, 0], np.log(64)))
        True
    """
    return log_magnitude(corner(kernel), epsilon)


def corner_log_volume(kernel: Array, epsilon: float = 0.0, groups: int = 1) -> Array:
    """Log-volume of the corner matrix `kernel[0, 0]`: corollary 6 of Meni et al. (2023) for several channels.

    With as many input as output channels, the square part of the convolution (Meni et al., 2023, eq. 17) is block
    triangular with this matrix on its diagonal. Its log|det| per output pixel is then log|det kernel[0, 0]|, a lower
    bound of the log-volume per pixel of the whole convolution on a large image.

    Args:
        kernel: Array (*spatial, c_in / groups, c_out), with one to three spatial dimensions. Give a depthwise kernel as
            (*spatial, 1, c_in * multiplier) with `groups=c_in`.
        epsilon: Float >= 0. Standard deviation of the assumed noise, in kernel units. Defaults to 0.
        groups: Integer. Number of groups of the convolution; the log-volumes of their corner matrices are added.
            Defaults to 1.

    Returns:
        A scalar, in nats per output pixel, summed over the min(c_in, c_out) dimensions.

    Raises:
        TypeError, ValueError: If the kernel has another number of axes, `groups` does not divide c_out, or `epsilon` is
            negative or no number.

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
    """Corner elements c11 of a convolution kernel (Meni et al., 2023, eq. 18).

    Args:
        kernel: Array (*spatial, c_in, c_out), with one to three spatial dimensions.

    Returns:
        An array (c_in, c_out), in kernel units: the elements at index 0 of each spatial dimension.

    Raises:
        ValueError: If the kernel has another number of axes.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import functional
        >>> functional.corner(np.arange(8.0).reshape(2, 2, 1, 2)).tolist()
        [[0.0, 1.0]]
    """
    kernel = conv_kernel(kernel)
    return kernel[(0,) * (len(kernel.shape) - 2)]
