"""The log-volume of Dense kernels as a penalty.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers.base import TwoForms

# Keeps the gradient of |det| finite at a singular matrix; far below what float32 resolves of any determinant.
_DETERMINANT_FLOOR = 1e-30


@keras.saving.register_keras_serializable(package="keras_entropy")
class DenseEntropy(TwoForms):
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
        every: act on every k-th training step only, with k times the weight. Defaults to 1.

    Call arguments:
        x: kernel (d, m), of `Dense` or a rank-2 `EinsumDense`.

    Raises:
        TypeError, ValueError: for bad arguments; when called, for a kernel whose rank is not 2.

    Examples:
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
        every: int = 1,
    ) -> None:
        super().__init__(_checks.number("factor", factor), epsilon, reduction, form, every)
        self.block = _checks.one_of("block", block, functional.BLOCKS)
        self._checked_shapes: set[tuple[int, ...]] = set()
        self._warned = False

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Refuse kernels whose rank is not 2."""
        if len(shape) != 2:
            raise ValueError(
                f"DenseEntropy measures kernels of shape (d, m). Received: a kernel of shape {shape}. "
                "Use ConvEntropy or ConvCornerEntropy for convolutions; attention and other kernels of higher rank are "
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
        return functional.dense_log_spectrum(kernel, self.block, self.floor)

    def measure(self, kernel: Array) -> Array:
        """The log-volume divided by the number of dimensions min(d, m), in nats per dimension."""
        kernel = _backend.as_float(kernel)
        return functional.dense_log_volume(kernel, self.block, self.floor) / min(kernel.shape)

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
