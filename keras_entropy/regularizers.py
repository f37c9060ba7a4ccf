"""Keras regularizers that reward or suppress the entropy that a layer's kernel passes on.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, functional
from keras_entropy._backend import Array

FORMS = ("log", "reciprocal")
REDUCTIONS = ("mean", "sum")
CHANNELS = ("elements", "matrix")
LAYOUTS = ("conv", "transpose", "depthwise")

# Keeps the gradient of |det| finite at a singular matrix; far below what float32 resolves of any determinant.
_DETERMINANT_FLOOR = 1e-30


class EntropyRegularizer(keras.Regularizer):
    """Base of the package's regularizers: a factor, a noise floor, a reduction, a form.

    A positive `factor` rewards entropy, a negative one suppresses it. (Section 4.1 of [A] says the opposite
    of its own equations; the equations are followed.)

    Subclasses implement `penalty` and `log_magnitudes`.

    Args:
        factor: strength of the term, a finite number.
        epsilon: in form `"log"` a noise floor in units of the kernel: it bounds the gradient by
            |factor| / (2 epsilon) for each singular value or corner. In form `"reciprocal"` the epsilon of
            [A, eq. 24, 25].
        reduction: `"mean"` (per dimension or filter, so that one factor suits layers of any size) or
            `"sum"` (the source's). The reciprocal of a determinant is one number, which has no mean.
        form: `"log"` or `"reciprocal"`.
    """

    unit: str
    """The unit of `measure`."""

    def __init__(self, factor: Any, epsilon: float, reduction: str, form: str) -> None:
        self.factor = factor
        self.epsilon = _checks.non_negative("epsilon", epsilon)
        self.reduction = _checks.one_of("reduction", reduction, REDUCTIONS)
        self.form = _checks.one_of("form", form, FORMS)
        if form == "reciprocal" and self.epsilon == 0:
            raise ValueError(_checks.message("epsilon", "positive where form='reciprocal'", epsilon))
        self.multiplier: float | keras.Variable = 1.0

    def __call__(self, x: Array) -> Array:
        """The penalty of kernel `x`: a scalar of type floatx; NumPy arrays are computed on the host in float64."""
        kernel = _backend.as_float(x)
        self.check_kernel(tuple(kernel.shape))
        penalty = self.penalty(kernel)
        multiplier = self.multiplier
        if _backend.is_host(penalty):
            return penalty * float(keras.ops.convert_to_numpy(multiplier))
        # Keras adds the penalty to a loss of type floatx, whatever the kernel's type; TensorFlow does not mix them.
        penalty = keras.ops.cast(penalty, keras.backend.floatx())
        return penalty * keras.ops.cast(multiplier, penalty.dtype)

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if a kernel of this shape is not one that the regularizer measures."""
        raise NotImplementedError

    def penalty(self, kernel: Array) -> Array:
        """The scalar penalty of `kernel`, without the multiplier of a schedule."""
        raise NotImplementedError

    def log_magnitudes(self, kernel: Array) -> Array:
        """The quantity that is rewarded, in nats, one value per dimension or filter."""
        raise NotImplementedError

    def measure(self, kernel: Array) -> Array:
        """The mean of `log_magnitudes`: a scalar in nats, per dimension or per filter."""
        values = self.log_magnitudes(_backend.as_float(kernel))
        return _backend.namespace(values).mean(values)

    @property
    def _floor(self) -> float:
        """The noise floor under the logarithm; the epsilon of the reciprocal form is none."""
        return self.epsilon if self.form == "log" else 0.0

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments, as the plain Python numbers that the user gave."""
        return {
            "factor": self.factor,
            "epsilon": self.epsilon,
            "reduction": self.reduction,
            "form": self.form,
        }

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self.get_config().items())
        return f"{type(self).__name__}({arguments})"


@keras.saving.register_keras_serializable(package="keras_entropy")
class DenseEntropy(EntropyRegularizer):
    """Reward (or suppress) the entropy that a Dense kernel passes on.

    `form="log"` adds -factor * log-volume(kernel) [A, eq. 21], where the log-volume is that of the whole
    kernel (`block="full"`) or log|det| of its leading square block (`block="leading"`, what the source
    measures; it ignores all other weights). `form="reciprocal"` adds factor / (volume + epsilon)
    [A, eq. 24]; volumes of kernels with more than a few units are far below float32's resolution of
    epsilon, where that form is a constant without a gradient: an `EntropyWarning` says so.

    The log form has no minimum: without another bound on the weights, such as `L2`, it makes them grow.

    Args:
        factor: a finite number; positive rewards entropy.
        epsilon: noise floor in units of the kernel (log form) or the epsilon of eq. 24. Defaults to 1e-4.
        reduction: `"mean"` (per dimension, default) or `"sum"` (the source's).
        form: `"log"` (default) or `"reciprocal"`.
        block: `"full"` (default) or `"leading"`.

    Call arguments:
        x: kernel (d, m), of `Dense` or a rank-2 `EinsumDense`.

    Raises:
        TypeError, ValueError: for bad arguments; when called, for a kernel whose rank is not 2.

    Example:
        >>> import numpy as np
        >>> from keras_entropy import DenseEntropy
        >>> float(DenseEntropy(0.1, epsilon=0.0)(np.diag([1.0, np.e])).round(6))  # -0.1 * (0 + 1) / 2
        -0.05
    """

    unit = "nats per dimension"

    def __init__(
        self,
        factor: float,
        epsilon: float = 1e-4,
        reduction: str = "mean",
        form: str = "log",
        block: str = "full",
    ) -> None:
        super().__init__(_checks.number("factor", factor), epsilon, reduction, form)
        self.block = _checks.one_of("block", block, functional.BLOCKS)
        self._checked_shapes: set[tuple[int, ...]] = set()
        self._warned = False

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Refuse kernels whose rank is not 2."""
        if len(shape) != 2:
            raise ValueError(
                f"DenseEntropy measures kernels of shape (d, m). Received: a kernel of shape {shape}. "
                "Use ConvCornerEntropy for convolutions; attention and other kernels of higher rank are "
                "not one matrix."
            )

    def __call__(self, x: Array) -> Array:
        """The penalty of kernel `x` (d, m): a scalar."""
        penalty = super().__call__(x)
        if self.form == "reciprocal" and not self._warned:
            self._check_saturation(x)
        return penalty

    def penalty(self, kernel: Array) -> Array:
        """[A, eq. 21] or [A, eq. 24]."""
        if self.form == "reciprocal":
            log_det = functional.dense_log_volume(kernel, self.block, _DETERMINANT_FLOOR)
            return self.factor * functional.reciprocal(log_det, self.epsilon)
        log_volume = functional.dense_log_volume(kernel, self.block, self.epsilon)
        return -self.factor * (log_volume / min(kernel.shape) if self.reduction == "mean" else log_volume)

    def log_magnitudes(self, kernel: Array) -> Array:
        """(min(d, m),): log sqrt(s^2 + epsilon^2) of the singular values; epsilon is 0 in the reciprocal form."""
        return functional.dense_log_spectrum(kernel, self.block, self._floor)

    def measure(self, kernel: Array) -> Array:
        """The log-volume divided by the number of dimensions min(d, m), in nats per dimension."""
        kernel = _backend.as_float(kernel)
        return functional.dense_log_volume(kernel, self.block, self._floor) / min(kernel.shape)

    def _check_saturation(self, kernel: Array) -> None:
        """Warn, once, if the first kernel of a shape has a determinant that float32 cannot tell from 0."""
        value = None if tuple(kernel.shape) in self._checked_shapes else _backend.host_value(kernel)
        if value is None:
            return
        self._checked_shapes.add(tuple(kernel.shape))
        log_det = float(functional.dense_log_volume(value, self.block))
        # Below half a unit in the last place of epsilon, |det| + epsilon is epsilon in float32.
        if log_det < math.log(self.epsilon * np.finfo(np.float32).epsneg):
            self._warned = True
            warnings.warn(
                f"DenseEntropy(form='reciprocal'): |det| is 10^{log_det / math.log(10):.1f} for a kernel of "
                f"shape {value.shape}, below the float32 resolution of epsilon={self.epsilon}. The penalty is "
                f"the constant factor / epsilon = {self.factor / self.epsilon:g} and has no gradient: it does "
                "not guide training, it only shifts the loss. Use form='log'.",
                _checks.EntropyWarning,
                stacklevel=3,
            )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "block": self.block}


@keras.saving.register_keras_serializable(package="keras_entropy")
class ConvCornerEntropy(EntropyRegularizer):
    """Reward (or suppress) the entropy of the corner elements of convolution filters.

    `form="log"` adds -sum of factor_d * log|c11| over the filters d (and input channels) [A, eq. 23];
    `form="reciprocal"` adds the sum of factor_d / (|c11| + epsilon) [A, eq. 25]. The corner c11 is
    `kernel[0, 0]` (`kernel[0]` in 1-D, `kernel[0, 0, 0]` in 3-D), for strided, dilated, grouped and
    transposed convolutions too. The other weights of the filter are not looked at.

    `channels="elements"` treats every (input channel, filter) pair by itself: the source's reading, which is
    not a bound on the entropy of a layer with several channels. `channels="matrix"` takes the log-volume of
    the corner matrix K[0, 0], which bounds the log-volume per pixel from below.

    Args:
        factor: a finite number, or one per filter; positive rewards entropy.
        epsilon: noise floor in units of the kernel (log form) or the epsilon of eq. 25. Defaults to 1e-4.
        reduction: `"mean"` over filters and input channels (default), for `channels="matrix"` over the
            min(c_in, c_out) dimensions; or `"sum"` (the source's).
        form: `"log"` (default) or `"reciprocal"`, which needs `channels="elements"`.
        channels: `"elements"` (default) or `"matrix"`.
        layout: where the filters of the kernel are: `"conv"` (*spatial, c_in, c_out), default, for `Conv1D`,
            `Conv2D`, `Conv3D` and pointwise kernels; `"transpose"` (*spatial, c_out, c_in);
            `"depthwise"` (*spatial, c_in, multiplier), whose c_in * multiplier filters are counted in the
            order of the layer's output channels. It matters for one factor per filter and for
            `channels="matrix"` only.
        groups: the `groups` of the layer; it matters for `channels="matrix"` only.

    Call arguments:
        x: kernel, with one to three spatial dimensions.

    Raises:
        TypeError, ValueError: for bad arguments; when called, for a kernel without spatial dimensions or
            another number of filters than factors.

    Example:
        >>> import keras
        >>> from keras_entropy import ConvCornerEntropy
        >>> layer = keras.layers.Conv2D(2, 3, kernel_regularizer=ConvCornerEntropy([1e-3, 0.0]))
        >>> layer.build((None, 8, 8, 1))
        >>> len(layer.losses)
        1
    """

    unit = "nats per filter"

    def __init__(
        self,
        factor: float | Sequence[float],
        epsilon: float = 1e-4,
        reduction: str = "mean",
        form: str = "log",
        channels: str = "elements",
        layout: str = "conv",
        groups: int = 1,
    ) -> None:
        super().__init__(_factors(factor), epsilon, reduction, form)
        self.channels = _checks.one_of("channels", channels, CHANNELS)
        self.layout = _checks.one_of("layout", layout, LAYOUTS)
        self.groups = _checks.positive_integer("groups", groups)
        if channels == "matrix" and (form == "reciprocal" or isinstance(self.factor, list)):
            raise ValueError(
                "`channels='matrix'` measures all filters of a kernel together: it takes form='log' and one "
                f"factor. Received: form={form!r}, factor={factor!r}. Use channels='elements'."
            )
        if groups > 1 and layout != "conv":
            raise ValueError(_checks.message("groups", f"1 where layout={layout!r}", groups))

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Refuse kernels without spatial dimensions, with no whole groups, or with another number of filters."""
        if not 3 <= len(shape) <= 5:
            raise ValueError(
                "ConvCornerEntropy measures kernels with one to three spatial dimensions: "
                f"(*spatial, c_in, c_out). Received: a kernel of shape {shape}. Use DenseEntropy for matrices."
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

    def penalty(self, kernel: Array) -> Array:
        """[A, eq. 23] or [A, eq. 25]."""
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
        factor = self.factor
        if isinstance(factor, list):
            factor = xp.asarray(factor) if xp is np else xp.convert_to_tensor(factor, dtype=terms.dtype)
        return xp.mean(terms * factor) if self.reduction == "mean" else xp.sum(terms * factor)

    def log_magnitudes(self, kernel: Array) -> Array:
        """Nats for each filter, averaged over its input channels; for `channels="matrix"` for each dimension."""
        corner = self._corner(kernel)
        xp = _backend.namespace(corner)
        if self.channels == "matrix":
            return xp.reshape(functional.dense_log_spectrum(corner, epsilon=self._floor), (-1,))
        return xp.mean(functional.log_magnitude(corner, self._floor), axis=0)

    def _corner(self, kernel: Array) -> Array:
        """The corner elements, (c_in, filters) whatever the layout; split into groups for `channels="matrix"`."""
        corner = functional.corner(kernel)
        xp = _backend.namespace(corner)
        if self.layout == "transpose":
            corner = xp.transpose(corner)
        groups = corner.shape[0] if self.layout == "depthwise" else self.groups
        if self.layout == "depthwise":
            corner = xp.reshape(corner, (1, -1))
        return functional.split_groups(corner, groups) if self.channels == "matrix" else corner

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
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
        return [_checks.number(f"factor[{i}]", value) for i, value in enumerate(factor)]
    return _checks.number("factor", factor)
