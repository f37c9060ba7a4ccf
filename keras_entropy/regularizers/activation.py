"""The log slope of an activation as a regularizer of a layer's outputs.

Sources:
    Bell, Sejnowski (1995): An information-maximization approach to blind separation and blind deconvolution.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_entropy import _backend, _checks, _keras, functional
from keras_entropy._backend import Array
from keras_entropy.regularizers.base import EntropyRegularizer


@keras.saving.register_keras_serializable(package="keras_entropy")
class ActivationEntropy(EntropyRegularizer):
    """Reward (or suppress) the entropy that an activation adds to a layer: its mean log slope.

    Adds -factor * mean over samples and pixels of log sqrt(phi'^2 + epsilon^2), averaged or summed over the units (Bell
    and Sejnowski, 1995, eq. 3 and 11). Added to the log-volume of the kernel it gives the change of entropy of the
    layer with its activation. This sum has a maximum, because growing weights saturate the units. `Dense(m, "sigmoid",
    kernel_regularizer=DenseEntropy(f), activity_regularizer=ActivationEntropy("sigmoid", f))` maximises the entropy of
    the output of a layer with m <= d; for any m, give both `reduction="sum"`.

    Use it as `activity_regularizer=` of a layer that applies the activation itself; Keras adds the term once per call
    of the layer. For an activation whose slope does not follow from its output, such as relu, gelu or silu, use the
    layer `EntropyActivation`. The term of linear and leaky_relu has no gradient, because their slopes are piecewise
    constant.

    Args:
        activation: String or function of `keras.activations`. The activation of the layer, one of
            `functional.ACTIVATIONS_OF_OUTPUT`.
        factor: Float. A positive factor rewards entropy, a negative one suppresses it.
        epsilon: Float, at least 0. Smallest slope that is resolved. Defaults to 1e-6.
        reduction: String. `"mean"` or `"sum"` over the units. Defaults to `"mean"`.
        of: String. What the regularizer is called on: the `"output"` of the activation, or its `"input"`. Defaults to
            `"output"`.
        axis: Integer. Axis of the units or channels, for `reduction="sum"`. Defaults to -1.

    Call arguments:
        x: Outputs of shape (batch, ...). Keras 3.14 and later divide the returned value by the batch size, earlier
            versions do not. The returned value compensates for that, so a factor means the same in all versions. The
            method `penalty` returns the value without this compensation.

    Raises:
        TypeError, ValueError: If an argument is invalid, or the slope of the activation does not follow from its
            output. When called: if `x` is a weight.

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
        super().__init__(_checks.float32("factor", factor), epsilon, reduction)
        self.activation = keras.activations.get(activation) if isinstance(activation, dict) else activation
        self.of = of
        if isinstance(axis, bool) or not isinstance(axis, int):
            raise TypeError(_checks.message("axis", "an integer", axis))
        self.axis = axis
        functional.log_slope(0.5, self.activation, of, self.epsilon)  # raises for what it cannot measure

    def __call__(self, x: Array) -> Array:
        """Compute the term as Keras expects it from an activity regularizer."""
        if isinstance(x, keras.Variable) or _keras.regularized(x) is not None:
            raise TypeError(
                "ActivationEntropy measures the outputs of a layer. Received: a weight. Use it as "
                "`activity_regularizer=`; for `kernel_regularizer=` use DenseEntropy, ConvEntropy or TotalCorrelation."
            )
        term = self.term(x)
        if not len(x.shape):
            return term
        batch = x.shape[0] if _backend.is_host(term) else keras.ops.cast(keras.ops.shape(x)[0], term.dtype)
        return term * batch

    def term(self, x: Array) -> Array:
        """Compute `penalty(x)` times the multiplier of a `FactorSchedule`, as it is added to the loss."""
        x = _backend.as_float(x)
        return self._times_multiplier(self.penalty(x) if _backend.is_host(x) else self._float_penalty(x))

    def penalty(self, x: Array) -> Array:
        """Compute -factor * mean log slope; summed over the units with `reduction="sum"`."""
        value = self.measure(x)
        value = -self.factor_beside(value) * value
        if self.reduction == "mean":
            return value
        if not -len(x.shape) <= self.axis < len(x.shape):
            raise ValueError(_checks.message("axis", f"an axis of outputs of shape {tuple(x.shape)}", self.axis))
        return value * x.shape[self.axis]

    def measure(self, x: Array) -> Array:
        """Compute the mean log slope of activations `x` as a scalar in nats per unit."""
        values = self.log_magnitudes(x)
        return _backend.namespace(values).mean(values)

    def log_magnitudes(self, x: Array) -> Array:
        """Compute the log slope at each element of `x`."""
        return functional.log_slope(x, self.activation, self.of, self.epsilon)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        config = super().get_config()
        del config["every"]
        activation = (
            self.activation if isinstance(self.activation, str) else keras.activations.serialize(self.activation)
        )
        return {"activation": activation, **config, "of": self.of, "axis": self.axis}
