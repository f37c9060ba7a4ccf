"""The slope of activations as a penalty on a layer's outputs.

Sources:
    [B] Bell, Sejnowski: "An information-maximization approach to blind separation and blind deconvolution" (1995).
"""

from __future__ import annotations

from typing import Any

import keras

from keras_entropy import _backend, _checks, _keras, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers.base import EntropyRegularizer


@keras.saving.register_keras_serializable(package="keras_entropy")
class ActivationEntropy(EntropyRegularizer):
    """Reward (or suppress) what an activation adds to the entropy of a layer: the mean log slope, from the outputs.

    Adds -factor * mean over samples and pixels of log sqrt(phi'^2 + epsilon^2), averaged (or summed) over the units
    [B, eq. 3, 11]. Together with the log-volume of the kernel it is the change of entropy of the layer
    with its activation, which, unlike the log-volume alone, has a maximum: growing weights saturate the units.
    `Dense(m, "sigmoid", kernel_regularizer=DenseEntropy(f), activity_regularizer=ActivationEntropy("sigmoid", f))`
    maximises the entropy of that layer's output (for m <= d; with reduction="sum" in both for any m).

    It is for `activity_regularizer=` of a layer that applies the activation itself. Keras adds the term once for each
    call of the layer. `EntropyActivation` is the layer for activations whose output does not tell their slope.
    The slopes of linear and leaky_relu are constant, but for a step at 0: their term has no gradient.

    Args:
        activation: the activation of the layer: a name or function of `keras.activations`, one of
            `functional.ACTIVATIONS_OF_OUTPUT`. relu, gelu and silu are not among them: see `EntropyActivation`.
        factor: a finite number; positive rewards entropy.
        epsilon: noise floor in units of the slope. Defaults to 1e-6.
        reduction: over units: `"mean"` (default) or `"sum"`.
        of: what is given when called: `"output"` of the activation (default), or its `"input"`.
        axis: the axis of units or channels, for `reduction="sum"`. Defaults to -1.

    Call arguments:
        x: outputs (batch, ...). Keras 3.14 and later divide what is returned by the size of the batch, earlier
            versions do not; the returned value is multiplied by it where Keras divides, so that a factor means the
            same everywhere. `penalty` is the value itself.

    Raises:
        TypeError, ValueError: for bad arguments, and for an activation whose output does not tell its slope.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import ActivationEntropy, DenseEntropy
        >>> layer = keras.layers.Dense(
        ...     4,
        ...     "sigmoid",
        ...     kernel_regularizer=DenseEntropy(1e-3),
        ...     activity_regularizer=ActivationEntropy("sigmoid", 1e-3),
        ... )
        >>> _ = layer(np.ones((2, 8)))
        >>> len(layer.losses)
        2
    """

    unit = "nats per unit"

    def __init__(
        self,
        activation: Any,
        factor: float,
        epsilon: float = 1e-6,
        reduction: str = "mean",
        of: str = "output",
        axis: int = -1,
    ) -> None:
        super().__init__(_checks.number("factor", factor), epsilon, reduction)
        self.activation = keras.activations.get(activation) if isinstance(activation, dict) else activation
        self.of = of
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise TypeError(_checks.message("axis", "an integer", axis))
        self.axis = axis
        functional.log_slope(0.5, self.activation, of, self.epsilon)  # refuses what it cannot measure
        self._divided = _keras.activity_losses_are_divided()

    def __call__(self, x: Array) -> Array:
        """`penalty(x)` as Keras wants it from an activity regularizer."""
        if isinstance(x, keras.Variable):
            raise TypeError(
                "ActivationEntropy measures the outputs of a layer. Received: a weight. Give it to "
                "`activity_regularizer=`, and DenseEntropy, ConvEntropy or TotalCorrelation to `kernel_regularizer=`."
            )
        term = self.term(x)
        if not self._divided or not len(x.shape):
            return term
        batch = x.shape[0] if _backend.is_host(term) else keras.ops.cast(keras.ops.shape(x)[0], term.dtype)
        return term * batch

    def term(self, x: Array) -> Array:
        """`penalty(x)` times the multiplier of a schedule: what is added to the loss."""
        x = _backend.as_float(x)
        return self._times_multiplier(self.penalty(x) if _backend.is_host(x) else self._float_penalty(x))

    def penalty(self, x: Array) -> Array:
        """-factor * mean log slope; summed over units for `reduction="sum"`."""
        value = -self.factor * self.measure(x)
        if self.reduction == "mean":
            return value
        if not -len(x.shape) <= self.axis < len(x.shape):
            raise ValueError(_checks.message("axis", f"an axis of outputs of shape {tuple(x.shape)}", self.axis))
        return value * x.shape[self.axis]

    def measure(self, x: Array) -> Array:
        """The mean log slope of activations `x` (not of a kernel): a scalar in nats per unit."""
        values = self.log_magnitudes(x)
        return _backend.namespace(values).mean(values)

    def log_magnitudes(self, x: Array) -> Array:
        """The log slope at each element of `x`."""
        return functional.log_slope(x, self.activation, self.of, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = super().get_config()
        del config["every"]
        activation = (
            self.activation if isinstance(self.activation, str) else keras.activations.serialize(self.activation)
        )
        return {"activation": activation, **config, "of": self.of, "axis": self.axis}
