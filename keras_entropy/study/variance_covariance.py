"""The terms of VICReg for a hidden layer: the control of `RepresentationEntropy`.

Sources:
    Bardes, Ponce, LeCun (2022): VICReg: variance-invariance-covariance regularization for self-supervised learning.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_entropy import _checks
from keras_entropy._backend import Array
from keras_entropy.functional.covariance import centred
from keras_entropy.layers.vectors import LayerOfVectors
from keras_entropy.study.view_controls import variance_and_covariance


@keras.saving.register_keras_serializable(package="keras_entropy")
class VarianceCovariance(LayerOfVectors):
    """Pass inputs on, and add the variance and covariance terms of `VICReg` of the batch to the loss.

    The term is `variance` * v + `covariance` * c, with v the mean over the dimensions of max(0, 1 - standard deviation)
    and c the sum of the squared covariances of different dimensions divided by their number (Bardes et al., 2022,
    eq. 1 and 4). Bardes et al. apply both to the outputs of an encoder. The vectors and the batch are those of
    `RepresentationEntropy`; so are the limits under `tf.distribute`. In a batch with a single vector the term is 0.

    Args:
        variance: Float. Weight of v.
        covariance: Float. Weight of c.
        pool: As in `RepresentationEntropy`. Defaults to `"mean"`.
        data_format: As in `RepresentationEntropy`. Defaults to None.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        * inputs: Tensor of shape (batch, ..., d), or (batch, d, ...) with channels first. The output is the same.
        * mask: Mask of shape (batch, ...), which Keras passes on. Positions with False are left out.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the inputs have one axis, or d is unknown.

    Examples:
        >>> import keras
        >>> from keras_entropy.study import VarianceCovariance
        >>> layer = VarianceCovariance(variance=2.0, covariance=1.0)
        >>> _ = layer(keras.ops.zeros((8, 3)))  # collapsed: 2 * 0.99
        >>> round(float(layer.losses[0]), 4)
        1.98
    """

    def __init__(
        self,
        variance: float,
        covariance: float,
        pool: str | None = "mean",
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool, data_format, **kwargs)
        self.variance = _checks.non_negative("variance", variance)
        self.covariance = _checks.non_negative("covariance", covariance)

    def term(self, rows: Array, counts: Array | None, training: bool) -> Array:
        """Compute the weighted sum of both terms."""
        batch = centred(rows, counts)
        variance, covariance = variance_and_covariance(batch)
        value = self.variance * variance + self.covariance * covariance
        return ops.where(batch.count < 2, ops.zeros_like(value), value)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "variance": self.variance, "covariance": self.covariance}
