"""The total correlation of a layer's outputs as a regularizer.

Sources:
    Watanabe: "Information theoretical analysis of multivariate correlation" (1960).
"""

from __future__ import annotations

from typing import Any

import keras

from keras_entropy import _backend, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers import layouts
from keras_entropy.regularizers.operator import OperatorRegularizer


@keras.saving.register_keras_serializable(package="keras_entropy")
class TotalCorrelation(OperatorRegularizer):
    """Penalise (or reward) the dependence between the outputs of a layer, which repeat each other.

    Adds factor * total correlation of the outputs for white Gaussian inputs (Watanabe, 1960), between filters and
    between pixels. It is 0 for orthogonal outputs, and does not depend on the norm of any filter. Unlike a log-volume
    it has a minimum. See `functional.total_correlation`, also for layers with more outputs than inputs.

    Args:
        factor: Float. A positive factor penalises dependence, and so rewards entropy at given norms.
        epsilon: Float, at least 0. Standard deviation of the assumed noise, relative to the norm of an output. Defaults
            to 1e-4.
        reduction: String. `"mean"` over the outputs, or `"sum"`. Defaults to `"mean"`.
        grid: Integer. As in `ConvEntropy`.
        layout: String. Where the outputs are: `"conv"`: on the last axis, of `Dense` too; `"transpose"`: on the last
            axis but one, of transposed convolutions and of `EinsumDense` kernels such as "ab,cb->ac"; `"depthwise"`.
            Defaults to `"conv"`.
        strides: Integer, or one per spatial dimension. `strides` of a convolution. Defaults to 1.
        dilation: Integer, or one per spatial dimension. `dilation_rate` of a convolution. Defaults to 1.
        groups: Integer. `groups` of a convolution. Defaults to 1.
        every: Integer k. The term acts on every k-th step of `fit` only, with k times the weight. Defaults to 1.

    Call arguments:
        x: Kernel of shape (d, m), or with one to three spatial dimensions. Heads, blocks and gates are measured one by
            one, as by `DenseEntropy`.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the kernel has another rank, or its filters
            cannot be split into groups.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import TotalCorrelation
        >>> round(float(TotalCorrelation(1.0)(np.array([[1.0, 0.6], [0.0, 0.8]]))), 4)  # -log(1 - 0.6^2) / 4
        0.1116
    """

    unit = "nats per output"

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if the rank is not 2 to 5, or the filters cannot be split into groups."""
        if len(shape) != 2:
            super().check_kernel(shape)
        elif self.layout == "depthwise" or self.groups > 1:
            raise ValueError(
                "`layout` and `groups` should be 'conv' or 'transpose' and 1 for a kernel without spatial dimensions. "
                f"Received: layout={self.layout!r}, groups={self.groups} for a kernel of shape {shape}."
            )

    def penalty(self, kernel: Array) -> Array:
        """Compute factor * total correlation."""
        value, outputs = self._total_correlation(kernel)
        return self.factor_beside(value) * (value / outputs if self.reduction == "mean" else value)

    def measure(self, kernel: Array) -> Array:
        """Compute the total correlation per output, in nats."""
        value, outputs = self._total_correlation(_backend.as_float(kernel))
        return value / outputs

    def log_magnitudes(self, kernel: Array) -> Array:
        """Contribution of each principal direction of the outputs in nats; their mean is `measure`."""
        kernel, arguments = self._prepared(kernel)
        return functional.correlation_log_spectrum(kernel, epsilon=self.epsilon, **arguments)

    def _total_correlation(self, kernel: Array) -> tuple[Array, int]:
        kernel, arguments = self._prepared(kernel)
        shape = tuple(kernel.shape)
        if len(shape) > 2:
            groups, rows, columns = functional.transfer_shape(shape, self.strides, self.dilation, arguments["groups"])
        else:
            groups, (rows, columns) = 1, shape
        value = functional.total_correlation(kernel, epsilon=self.epsilon, **arguments)
        return value, groups * (rows if arguments["transpose"] else columns)

    def _prepared(self, kernel: Array) -> tuple[Array, dict[str, Any]]:
        shape, arguments = self.operator_arguments(tuple(kernel.shape))
        return layouts.reshaped(kernel, shape), {**arguments, "transpose": self.layout == "transpose"}
