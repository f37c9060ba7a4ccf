"""The log-volume of convolutions as a regularizer.

Sources:
    Sedghi, Gupta, Long: "The singular values of convolutional layers" (2019).
    Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks" (2023).
"""

from __future__ import annotations

import keras

from keras_entropy import _backend, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers import layouts
from keras_entropy.regularizers.operator import OperatorRegularizer


@keras.saving.register_keras_serializable(package="keras_entropy")
class ConvEntropy(OperatorRegularizer):
    """Reward (or suppress) the entropy that a convolution passes on, measured from all its weights.

    Adds -factor * log-volume per output pixel: the mean over a grid of frequencies of the log-volume of the transfer
    matrix (Sedghi, Gupta and Long, 2019, theorem 6, for the singular values; Meni et al., 2023, theorem 2, for the
    entropy). See `functional.conv_log_volume`. For a transposed convolution with strides it is the log-volume per input
    pixel.

    Give the term the layout, strides, dilation and groups of its layer, or let `apply_entropy` set them: values that
    differ from the layer's raise an error in the first step. The term has no minimum. Without another bound on the
    weights, such as `L2` or a saturating activation with `ActivationEntropy`, it makes them grow.

    Args:
        factor: Float. A positive factor rewards entropy, a negative one suppresses it.
        epsilon: Float, at least 0. Standard deviation of the assumed noise, in kernel units. Defaults to 1e-4.
        reduction: String. `"mean"` over the dimensions, min(c_in, c_out) without strides; or `"sum"`. Defaults to
            `"mean"`.
        grid: Integer. Frequencies per spatial dimension. Defaults to 8, or the next power of two above the kernel size.
        layout: String. `"conv"`, `"transpose"` or `"depthwise"`, as in `ConvCornerEntropy`. Defaults to `"conv"`.
        strides: Integer, or one per spatial dimension. `strides` of the layer. Defaults to 1.
        dilation: Integer, or one per spatial dimension. `dilation_rate` of the layer. Defaults to 1.
        groups: Integer. `groups` of the layer. Defaults to 1.
        every: Integer k. The term acts on every k-th step of `fit` only, with k times the weight. Defaults to 1.

    Call arguments:
        x: Kernel with one to three spatial dimensions. The gates of a recurrent convolution are measured one by one.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the kernel has no spatial dimensions, or its
            filters cannot be split into groups.

    Examples:
        >>> import keras
        >>> from keras_entropy import ConvEntropy
        >>> layer = keras.layers.Conv2D(8, 3, kernel_regularizer=ConvEntropy(1e-3, every=10))
        >>> layer.build((None, 8, 8, 8))
        >>> len(layer.losses)
        1
    """

    unit = "nats per dimension"

    def penalty(self, kernel: Array) -> Array:
        """Compute -factor * log-volume."""
        volume, dimensions = self._log_volume(kernel)
        return -self.factor_beside(volume) * (volume / dimensions if self.reduction == "mean" else volume)

    def measure(self, kernel: Array) -> Array:
        """Compute the log-volume per output pixel and dimension, in nats."""
        volume, dimensions = self._log_volume(_backend.as_float(kernel))
        return volume / dimensions

    def log_magnitudes(self, kernel: Array) -> Array:
        """Mean over frequencies of the log of each singular value, in nats."""
        shape, arguments = self.operator_arguments(tuple(kernel.shape))
        return functional.conv_log_spectrum(layouts.reshaped(kernel, shape), epsilon=self.epsilon, **arguments)

    def _log_volume(self, kernel: Array) -> tuple[Array, int]:
        shape, arguments = self.operator_arguments(tuple(kernel.shape))
        groups, rows, columns = functional.transfer_shape(shape, self.strides, self.dilation, arguments["groups"])
        volume = functional.conv_log_volume(layouts.reshaped(kernel, shape), epsilon=self.epsilon, **arguments)
        return volume, groups * min(rows, columns)
