"""An activation as a layer, with the entropy term of its slope.

Sources:
    Bell, Sejnowski (1995): An information-maximization approach to blind separation and blind deconvolution.
"""

from __future__ import annotations

from typing import Any

import keras

from keras_entropy._backend import Array
from keras_entropy.regularizers import ActivationEntropy


@keras.saving.register_keras_serializable(package="keras_entropy")
class EntropyActivation(keras.layers.Layer):
    """Apply an activation, and reward (or suppress) the entropy that it adds: its mean log slope.

    Adds the term of `ActivationEntropy` (Bell and Sejnowski, 1995, eq. 3 and 11), computed from the inputs of the
    activation. So it takes any elementwise activation, also relu, gelu and silu, and it resolves the slope of saturated
    sigmoids. The term of relu, whose slope is 0 or 1, counts dead units and has no gradient; the terms of leaky_relu,
    hard_sigmoid and linear have no gradient either.

    Args:
        activation: String or elementwise function of `keras.activations`, or a function of your own. Register your
            function with Keras if you save the model.
        factor: Float. A positive factor rewards entropy, a negative one suppresses it.
        epsilon: Float, at least 0. Smallest slope that is resolved. Defaults to 1e-6.
        reduction: String. `"mean"` or `"sum"` over the units. Defaults to `"mean"`.
        axis: Integer. Axis of the units or channels, for `reduction="sum"`. Defaults to -1.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        inputs: Tensor of any shape. The output has the same shape.

    Raises:
        TypeError, ValueError: If an argument is invalid, or the activation is not elementwise, such as softmax.

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

    def call(self, inputs: Array) -> Array:
        """Apply the activation, and add the term to the losses."""
        self.add_loss(self.entropy.term(inputs))
        return self.activation(inputs)

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        config = self.entropy.get_config()
        del config["of"]
        return {**super().get_config(), **config}
