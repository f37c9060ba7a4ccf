"""The entropy of the corner elements of convolution filters as a regularizer.

Sources:
    Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks" (2023).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers import layouts
from keras_entropy.regularizers.base import TwoForms

CHANNELS = ("elements", "matrix")


@keras.saving.register_keras_serializable(package="keras_entropy")
class ConvCornerEntropy(TwoForms):
    """Reward (or suppress) the entropy of the corner elements of convolution filters.

    `form="log"` adds the sum of -factor_d * log|c11| over the filters d and input channels (Meni et al., 2023, eq. 23).
    `form="reciprocal"` adds the sum of factor_d / (|c11| + epsilon) (Meni et al., 2023, eq. 25). The corner element c11
    is `kernel[0, 0]` (`kernel[0]` in 1-D, `kernel[0, 0, 0]` in 3-D), for strided, dilated, grouped and transposed
    convolutions too. All other weights of the filter are ignored.

    `channels="elements"` treats every pair of an input channel and a filter by itself, as Meni et al. do. Its value is
    not a bound on the entropy of a layer with several channels. `channels="matrix"` takes the log-volume of the
    matrix of all corner elements, which is a lower bound of the log-volume per pixel.

    Args:
        factor: Float, or one per filter. A positive factor rewards entropy, a negative one suppresses it.
        epsilon: Float, at least 0. Standard deviation of the assumed noise, in kernel units; in the reciprocal form
            epsilon of Meni et al., 2023, eq. 25, above 0. Defaults to 1e-4.
        reduction: String. `"mean"` over filters and input channels, with `channels="matrix"` over the min(c_in, c_out)
            dimensions; or `"sum"`, as in Meni et al. Defaults to `"mean"`.
        form: String. `"log"` or `"reciprocal"`, which needs `channels="elements"`. Defaults to `"log"`.
        channels: String. `"elements"` or `"matrix"`. Defaults to `"elements"`.
        layout: String. Axes of the kernel: `"conv"`: `(*spatial, c_in, c_out)`, of `Conv1D`, `Conv2D`, `Conv3D` and
            pointwise kernels; `"transpose"`: `(*spatial, c_out, c_in)`; `"depthwise"`: `(*spatial, c_in, multiplier)`,
            whose c_in * multiplier filters are in the order of the layer's output channels. It has an effect only with
            one factor per filter or `channels="matrix"`. Defaults to `"conv"`.
        groups: Integer. `groups` of the layer. It has an effect only with `channels="matrix"`. Defaults to 1.
        every: Integer k. The term acts on every k-th step of `fit` only, with k times the weight. Defaults to 1.

    Call arguments:
        x: Kernel with one to three spatial dimensions.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the kernel has no spatial dimensions, or
            another number of filters than there are factors.

    Examples:
        >>> import keras
        >>> from keras_entropy import ConvCornerEntropy
        >>> layer = keras.layers.Conv2D(2, 3, kernel_regularizer=ConvCornerEntropy([1e-3, 0.0]))
        >>> layer.build((None, 8, 8, 1))
        >>> len(layer.losses)
        1
    """

    unit = "nats per filter"
    layer_arguments = ("layout", "groups")

    def __init__(
        self,
        factor: float | Sequence[float],
        epsilon: float = 1e-4,
        reduction: str = "mean",
        form: str = "log",
        channels: str = "elements",
        layout: str = "conv",
        groups: int = 1,
        every: int = 1,
    ) -> None:
        super().__init__(_factors(factor), epsilon, reduction, form, every)
        self.channels = _checks.one_of("channels", channels, CHANNELS)
        self.layout, self.groups = layouts.check_layout(layout, groups)
        if channels == "matrix" and (form == "reciprocal" or isinstance(self.factor, list)):
            raise ValueError(
                "`channels='matrix'` should go with form='log' and one factor, because it measures all filters "
                f"together. Received: form={form!r}, factor={factor!r}. Use channels='elements'."
            )

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if the kernel has no spatial dimensions, or the wrong number of filters."""
        if not 3 <= len(shape) <= 5:
            raise ValueError(
                "ConvCornerEntropy measures kernels with one to three spatial dimensions, (*spatial, c_in, c_out). "
                f"Received: a kernel of shape {shape}. Use DenseEntropy for matrices."
            )
        filters = self._filters(shape)
        if isinstance(self.factor, list) and len(self.factor) != filters:
            raise ValueError(
                f"`factor` should be a number or one per filter. Received: {len(self.factor)} factors for a "
                f"kernel of shape {shape}, which has {filters} filters in layout {self.layout!r}."
            )
        if filters % self.groups:
            raise ValueError(
                f"`groups` should divide the number of filters. Received: groups={self.groups} for a kernel "
                f"of shape {shape}, which has {filters} filters."
            )

    def check_layer(self, arguments: dict[str, Any], name: str) -> None:
        """Raise `ValueError` if layout or groups differ from the layer's and have an effect."""
        if self.channels == "matrix":
            super().check_layer(arguments, name)
        elif isinstance(self.factor, list):
            super().check_layer({"layout": arguments["layout"]}, name)

    def penalty(self, kernel: Array) -> Array:
        """Meni et al., 2023, eq. 23 (form `"log"`) or eq. 25 (form `"reciprocal"`)."""
        corner = self._corner(kernel)
        xp = _backend.namespace(corner)
        if self.channels == "matrix":
            entropies = functional.dense_log_volume(corner, epsilon=self.epsilon)
            entropies = entropies / min(corner.shape[-2:]) if self.reduction == "mean" else entropies
            terms = -entropies
        elif self.form == "log":
            terms = -functional.log_magnitude(corner, self.epsilon)
        else:
            terms = 1 / (xp.abs(corner) + self.epsilon)
        terms = terms * self.factor_beside(terms)
        return xp.mean(terms) if self.reduction == "mean" else xp.sum(terms)

    def log_magnitudes(self, kernel: Array) -> Array:
        """Nats per filter, averaged over its input channels; per dimension with `channels="matrix"`."""
        corner = self._corner(kernel)
        xp = _backend.namespace(corner)
        if self.channels == "matrix":
            return xp.reshape(functional.dense_log_spectrum(corner, epsilon=self.floor), (-1,))
        return xp.mean(functional.log_magnitude(corner, self.floor), axis=0)

    def _corner(self, kernel: Array) -> Array:
        """The corner elements as (c_in, filters) for any layout, split into groups for `channels="matrix"`."""
        corner = functional.corner(kernel)
        xp = _backend.namespace(corner)
        if self.layout == "transpose":
            corner = xp.transpose(corner)
        groups = corner.shape[0] if self.layout == "depthwise" else self.groups
        if self.layout == "depthwise":
            corner = xp.reshape(corner, (1, -1))
        return functional.split_groups(corner, groups) if self.channels == "matrix" else corner

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "channels": self.channels,
            "layout": self.layout,
            "groups": self.groups,
        }

    def _filters(self, shape: tuple[int, ...]) -> int:
        return {"conv": shape[-1], "transpose": shape[-2], "depthwise": shape[-2] * shape[-1]}[self.layout]


def _factors(factor: Any) -> float | list[float]:
    """`factor` as a Python number or a list of Python numbers."""
    if isinstance(factor, list | tuple) or (isinstance(factor, np.ndarray) and factor.ndim == 1):
        if not len(factor):
            raise ValueError(_checks.message("factor", "a number or one number per filter", factor))
        return [_checks.float32(f"factor[{i}]", value) for i, value in enumerate(factor)]
    return _checks.float32("factor", factor)
