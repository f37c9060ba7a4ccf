"""The log-volume of Dense kernels as a regularizer.

Sources:
    Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks" (2023).
"""

from __future__ import annotations

import math
import warnings
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers import held_weight
from keras_entropy.regularizers.base import TwoForms

# Keeps the gradient of |det| finite at a singular matrix; float32 does not resolve determinants this small.
_DETERMINANT_FLOOR = 1e-30


@keras.saving.register_keras_serializable(package="keras_entropy")
class DenseEntropy(TwoForms):
    """Reward (or suppress) the entropy that a Dense kernel passes on.

    `form="log"` adds -factor * log-volume of the kernel (Meni et al., 2023, eq. 21). `block="full"` takes the
    log-volume of the whole kernel; `block="leading"` takes log|det| of its leading square block, as Meni et al. do, and
    ignores all other weights. `form="reciprocal"` adds factor / (volume + epsilon) (Meni et al., 2023, eq. 24). In
    float32, the volume of a kernel with more than a few units vanishes beside epsilon: the term is then a constant
    without a gradient, and an `EntropyWarning` is issued.

    The log form has no minimum. Without another bound on the weights, such as `L2`, it makes them grow.

    Args:
        factor: Float. A positive factor rewards entropy, a negative one suppresses it.
        epsilon: Float, at least 0. Standard deviation of the assumed noise, in kernel units; in the reciprocal form
            epsilon of Meni et al., 2023, eq. 24, above 0. Defaults to 1e-4.
        reduction: String. `"mean"` over the min(d, m) dimensions, or `"sum"`, as in Meni et al. Defaults to `"mean"`.
        form: String. `"log"` or `"reciprocal"`. Defaults to `"log"`.
        block: String. `"full"` or `"leading"`. Defaults to `"full"`.
        every: Integer k. The term acts on every k-th step of `fit` only, with k times the weight. Defaults to 1.

    Call arguments:
        x: Kernel of shape (d, m). In a layer of Keras, each head of an attention layer, each block of an `EinsumDense`
            and each gate of an `LSTM` or `GRU` is measured by itself; `reduction` says whether they are averaged.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the rank of the kernel is not 2.

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
        super().__init__(_checks.float32("factor", factor), epsilon, reduction, form, every)
        self.block = _checks.one_of("block", block, functional.BLOCKS)
        self._checked_shapes: set[tuple[int, ...]] = set()
        self._warned = False

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if the rank of the kernel is not 2."""
        if len(shape) != 2:
            raise ValueError(
                f"DenseEntropy measures kernels of shape (d, m). Received: a kernel of shape {shape}. "
                "Use ConvEntropy or ConvCornerEntropy for convolutions. Kernels of attention layers are several "
                "matrices."
            )

    def __call__(self, x: Array) -> Array:
        """Compute the penalty of a kernel of shape (d, m) as a scalar."""
        penalty = super().__call__(x)
        if self.form == "reciprocal" and not self._warned:
            self._check_saturation(x)
        return penalty

    def penalty(self, kernel: Array) -> Array:
        """Meni et al., 2023, eq. 21 (form `"log"`) or eq. 24 (form `"reciprocal"`)."""
        if self.form == "reciprocal":
            log_det = functional.dense_log_volume(kernel, self.block, _DETERMINANT_FLOOR)
            return self.factor_beside(log_det) * functional.reciprocal(log_det, self.epsilon)
        log_volume = functional.dense_log_volume(kernel, self.block, self.epsilon)
        log_volume = log_volume / min(kernel.shape) if self.reduction == "mean" else log_volume
        return -self.factor_beside(log_volume) * log_volume

    def log_magnitudes(self, kernel: Array) -> Array:
        """Log sqrt(s^2 + epsilon^2) of the min(d, m) singular values s; epsilon is 0 in the reciprocal form."""
        return functional.dense_log_spectrum(kernel, self.block, self.floor)

    def measure(self, kernel: Array) -> Array:
        """The log-volume divided by min(d, m), in nats per dimension."""
        kernel = _backend.as_float(kernel)
        return functional.dense_log_volume(kernel, self.block, self.floor) / min(kernel.shape)

    def _check_saturation(self, x: Array) -> None:
        """Warn once if the determinant of the first kernel of a shape vanishes beside epsilon in float32."""
        value = None if tuple(x.shape) in self._checked_shapes else _backend.host_value(x)
        if value is None:
            return
        self._checked_shapes.add(tuple(x.shape))
        found = None if _backend.is_host(x) else held_weight.weight_of(x, self)
        if found is not None and found[0].adapters:  # a small matrix that is not the kernel
            return
        value = value if found is None else found[0].kernels(value)[0]
        log_det = float(functional.dense_log_volume(value, self.block))
        # Below half a unit in the last place of epsilon, |det| + epsilon is epsilon in float32.
        if log_det < math.log(self.epsilon * np.finfo(np.float32).epsneg):
            self._warned = True
            warnings.warn(
                f"DenseEntropy(form='reciprocal') has no gradient for a kernel of shape {value.shape}: its |det| is "
                f"10^{log_det / math.log(10):.1f}, below the float32 resolution of epsilon={self.epsilon}. The penalty "
                f"is the constant factor / epsilon = {self.factor / self.epsilon:g}, which only shifts the loss. Use "
                "form='log'.",
                _checks.EntropyWarning,
                stacklevel=3,
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "block": self.block}
