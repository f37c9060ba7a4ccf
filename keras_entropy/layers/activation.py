"""An activation as a layer that carries the entropy term of its slope.

Sources:
    [B] Bell, Sejnowski: "An information-maximization approach to blind separation and blind deconvolution" (1995).
"""

from __future__ import annotations

from typing import Any

import keras

from keras_entropy._backend import Array
from keras_entropy.regularizers import ActivationEntropy


@keras.saving.register_keras_serializable(package="keras_entropy")
class EntropyActivation(keras.layers.Layer):
    """Apply an activation, and reward (or suppress) the entropy that it adds: `ActivationEntropy` from the input.

    It sees the pre-activations, so it takes any elementwise activation: also relu, gelu and silu, whose output does
    not tell their slope, and saturated sigmoids beyond the resolution of their output. For relu, whose slope is 0 or
    1, the term counts dead units and has no gradient; nor has it any for leaky_relu, hard_sigmoid and linear.

    Args:
        activation: a name or elementwise function of `keras.activations`, or a function of your own
            (registered with Keras if the model is to be saved).
        factor: a finite number; positive rewards entropy.
        epsilon: noise floor in units of the slope. Defaults to 1e-6.
        reduction: over units: `"mean"` (default) or `"sum"`.
        axis: the axis of units or channels, for `reduction="sum"`. Defaults to -1.
        **kwargs: of `keras.layers.Layer`, such as `name`.

    Call arguments:
        inputs: pre-activations, any shape. The output has the same.

    Raises:
        TypeError, ValueError: for bad arguments; for an activation that is not elementwise, such as softmax.

    Examples:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, EntropyActivation
        >>> model = keras.Sequential([
        ...     keras.Input((8,)), keras.layers.Dense(4, kernel_regularizer=DenseEntropy(1e-3)),
        ...     EntropyActivation("gelu", 1e-3)])
        >>> model.output_shape
        (None, 4)
    """

    def __init__(
        self,
        activation: Any,
        factor: float,
        epsilon: float = 1e-6,
        reduction: str = "mean",
        axis: int = -1,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.entropy = ActivationEntropy(activation, factor, epsilon, reduction, "input", axis)
        self.activation = keras.activations.get(self.entropy.activation)
        self.supports_masking = True
        self.built = True

    def call(self, inputs: Array) -> Array:
        """The activation of `inputs`."""
        self.add_loss(self.entropy.term(inputs))
        return self.activation(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        config = self.entropy.get_config()
        del config["of"]
        return {**super().get_config(), **config}
