"""The exact log-volume of convolutions, and total correlation of any kernel, as penalties.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
    [S] Sedghi, Gupta, Long: "The singular values of convolutional layers" (2019), theorem 6.
    [W] Watanabe: "Information theoretical analysis of multivariate correlation" (1960).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from keras_entropy import _backend, _checks, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers import layouts
from keras_entropy.regularizers.base import EntropyRegularizer

Sizes = int | Sequence[int]


class _Operator(EntropyRegularizer):
    """Base of the terms that measure a whole convolution: what describes its layer."""

    layer_arguments = ("layout", "strides", "dilation", "groups")

    def __init__(
        self,
        factor: float,
        epsilon: float = 1e-4,
        reduction: str = "mean",
        grid: int | None = None,
        layout: str = "conv",
        strides: Sizes = 1,
        dilation: Sizes = 1,
        groups: int = 1,
        every: int = 1,
    ) -> None:
        super().__init__(_checks.number("factor", factor), epsilon, reduction, every)
        self.grid = None if grid is None else _checks.positive_integer("grid", grid)
        self.layout, self.groups = layouts.check_layout(layout, groups)
        self.strides = _plain_sizes("strides", strides)
        self.dilation = _plain_sizes("dilation", dilation)

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Refuse kernels without spatial dimensions, or with no whole groups."""
        name = type(self).__name__
        if not 3 <= len(shape) <= 5:
            raise ValueError(
                f"{name} measures kernels with one to three spatial dimensions: (*spatial, c_in, c_out). "
                f"Received: a kernel of shape {shape}."
            )
        if shape[-1] % self.groups:
            raise ValueError(
                f"`groups` should divide the number of filters. Received: groups={self.groups} for a kernel "
                f"of shape {shape}, which has {shape[-1]} filters."
            )
        for argument in ("strides", "dilation"):
            value = getattr(self, argument)
            if isinstance(value, list) and len(value) != len(shape) - 2:
                expected = f"a number, or one for each of {len(shape) - 2} spatial dimensions"
                raise ValueError(_checks.message(argument, expected, value))

    def _arguments(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, Any]]:
        """The shape of the kernel as a grouped convolution, and what `functional` takes beside it."""
        shape, groups = layouts.as_conv(shape, self.layout, self.groups)
        return shape, {"grid": self.grid, "strides": self.strides, "dilation": self.dilation, "groups": groups}

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {
            **super().get_config(),
            "grid": self.grid,
            "layout": self.layout,
            "strides": self.strides,
            "dilation": self.dilation,
            "groups": self.groups,
        }


@keras.saving.register_keras_serializable(package="keras_entropy")
class ConvEntropy(_Operator):
    """Reward (or suppress) the entropy that a convolution passes on: of all its weights, not of one corner.

    Adds -factor * log-volume of the kernel per output pixel, the mean over a grid of frequencies of the log-volume of
    the transfer matrix [S, theorem 6; A, theorem 2 for the entropy]: see `functional.conv_log_volume`. Of a transposed
    convolution with strides it is the log-volume per input pixel.

    A regularizer cannot see its layer: say its strides, dilation and groups, or let `apply_entropy` do it. Like every
    log-volume it has no minimum: without another bound on the weights, such as `L2`, or a saturating activation
    with `ActivationEntropy`, it makes them grow.

    Args:
        factor: a finite number; positive rewards entropy.
        epsilon: noise floor in units of the kernel. Defaults to 1e-4.
        reduction: `"mean"` (per dimension: min(c_in, c_out) for stride 1, default) or `"sum"`.
        grid: frequencies per spatial dimension. Defaults to 8, or the next power of two above the kernel's size.
        layout: `"conv"` (default), `"transpose"` or `"depthwise"`, as for `ConvCornerEntropy`.
        strides: of the layer. Defaults to 1.
        dilation: of the layer (`dilation_rate`). Defaults to 1.
        groups: of the layer. Defaults to 1.
        every: act on every k-th training step only, with k times the weight. Defaults to 1.

    Call arguments:
        x: kernel, with one to three spatial dimensions.

    Raises:
        TypeError, ValueError: for bad arguments; when called, for a kernel without spatial dimensions or with no
            whole groups.

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
        """Minus the factor times the log-volume."""
        volume, dimensions = self._log_volume(kernel)
        return -self.factor * (volume / dimensions if self.reduction == "mean" else volume)

    def measure(self, kernel: Array) -> Array:
        """The log-volume per output pixel and dimension, in nats."""
        volume, dimensions = self._log_volume(_backend.as_float(kernel))
        return volume / dimensions

    def log_magnitudes(self, kernel: Array) -> Array:
        """(k,): the mean over frequencies of the log of each singular value."""
        shape, arguments = self._arguments(tuple(kernel.shape))
        return functional.conv_log_spectrum(layouts.reshaped(kernel, shape), epsilon=self.epsilon, **arguments)

    def _log_volume(self, kernel: Array) -> tuple[Array, int]:
        shape, arguments = self._arguments(tuple(kernel.shape))
        groups, rows, columns = functional.transfer_shape(shape, self.strides, self.dilation, arguments["groups"])
        volume = functional.conv_log_volume(layouts.reshaped(kernel, shape), epsilon=self.epsilon, **arguments)
        return volume, groups * min(rows, columns)


@keras.saving.register_keras_serializable(package="keras_entropy")
class TotalCorrelation(_Operator):
    """Penalise (or reward) redundancy: how much the outputs of a layer tell of each other.

    Adds factor * total correlation of the outputs for white Gaussian input [W], between filters and between pixels: 0
    for orthogonal outputs. It does not depend on the norm of any filter and pushes none: unlike a log-volume it
    has a minimum. See `functional.total_correlation`, also for layers with more outputs than inputs.

    Args:
        factor: a finite number; positive penalises redundancy, and so rewards entropy at given norms.
        epsilon: noise floor relative to the norm of an output. Defaults to 1e-4.
        reduction: `"mean"` (per output, default) or `"sum"`.
        grid: of a convolution, as for `ConvEntropy`.
        layout: `"conv"`: outputs last (default), for Dense too; `"transpose"`: last but one, for transposed
            convolutions and `EinsumDense` kernels such as "ab,cb->ac"; `"depthwise"`.
        strides: of a convolution. Defaults to 1.
        dilation: of a convolution (`dilation_rate`). Defaults to 1.
        groups: of a convolution. Defaults to 1.
        every: act on every k-th training step only, with k times the weight. Defaults to 1.

    Call arguments:
        x: kernel (d, m), or with one to three spatial dimensions.

    Raises:
        TypeError, ValueError: for bad arguments; when called, for a kernel of another rank or with no whole groups.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import TotalCorrelation
        >>> round(float(TotalCorrelation(1.0)(np.array([[1.0, 0.6], [0.0, 0.8]]))), 4)  # -log(1 - 0.6^2) / 4
        0.1116
    """

    unit = "nats per output"

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Refuse kernels of rank 1 or above 5, or with no whole groups."""
        if len(shape) != 2:
            super().check_kernel(shape)
        elif self.layout == "depthwise" or self.groups > 1:
            raise ValueError(
                f"A kernel of shape {shape} has no spatial dimensions: layout='depthwise' and groups do not "
                "apply to it."
            )

    def penalty(self, kernel: Array) -> Array:
        """The factor times total correlation."""
        value, outputs = self._total_correlation(kernel)
        return self.factor * (value / outputs if self.reduction == "mean" else value)

    def measure(self, kernel: Array) -> Array:
        """The total correlation per output, in nats."""
        value, outputs = self._total_correlation(_backend.as_float(kernel))
        return value / outputs

    def log_magnitudes(self, kernel: Array) -> Array:
        """(m,): the contribution of each principal direction of the outputs; their mean is `measure`."""
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
        shape, arguments = self._arguments(tuple(kernel.shape))
        return layouts.reshaped(kernel, shape), {**arguments, "transpose": self.layout == "transpose"}


def _plain_sizes(argument: str, value: Any) -> int | list[int]:
    """`value` as a positive integer or a list of them."""
    if isinstance(value, list | tuple):
        return [_checks.positive_integer(argument, size) for size in value]
    return _checks.positive_integer(argument, value)
