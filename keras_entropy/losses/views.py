"""A loss for pretraining without labels: two views of each sample should agree, and fill all dimensions.

Sources:
    Ozsoy, Hamdan, Arik, Yuret, Erdogan (2022): Self-supervised learning with an information maximization criterion.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_entropy import _backend, _checks, _keras
from keras_entropy._backend import Array
from keras_entropy.functional.covariance import Batch, centred


class LossOfViews(keras.losses.Loss):
    """Base class of losses of two views of each sample that belong to the batch as a whole.

    Subclasses implement `loss_of_views`. The batch is the global batch: under `tf.distribute` the vectors of all
    replicas, under `keras.distribution` on JAX the whole array. In one of several torch processes it is the batch of
    the process. Under `tf.distribute`, compile the model with `jit_compile=False`.

    Args:
        name: String. As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`.
    """

    def __init__(self, name: str | None = None, dtype: Any = None) -> None:
        super().__init__(name=name, dtype=dtype)

    def __call__(self, y_true: Any, y_pred: Array, sample_weight: Any = None) -> Array:
        """Compute the loss; `y_true` may be anything, also None.

        Raises:
            TypeError, ValueError: If `y_pred` is not a floating-point array (batch, 2, dim), or has a mask, or if
                `sample_weight` is given.
        """
        if sample_weight is not None or _keras.mask_of(y_pred) is not None:
            raise ValueError(
                f"{type(self).__name__} should be called without weights and masks of samples. Received: "
                f"{'a mask of `y_pred`' if sample_weight is None else '`sample_weight`'}. Its terms belong to the "
                "whole batch: leave out the samples that should not count."
            )
        return _keras.scale_loss(self.call(y_true, y_pred))

    def call(self, y_true: Any, y_pred: Array) -> Array:
        """Compute the loss of the batch, a scalar."""
        views = _backend.as_float(self._checked(y_pred))
        value = self.loss_of_views(views[:, 0], views[:, 1])
        return ops.cast(value, self.dtype)

    def loss_of_views(self, first: Array, second: Array) -> Array:
        """Compute the loss as a scalar.

        Args:
            first: Tensor (batch, dim) of float32 or float64. The representation of the first view of each sample.
            second: Tensor (batch, dim). That of the second view.
        """
        raise NotImplementedError

    def _checked(self, y_pred: Any) -> Array:
        y_pred = ops.convert_to_tensor(y_pred)
        name, shape = type(self).__name__, tuple(y_pred.shape)
        if not keras.backend.is_float_dtype(keras.backend.standardize_dtype(y_pred.dtype)):
            raise TypeError(
                f"`y_pred` of {name} should be of a floating-point dtype. Received: {y_pred.dtype}. Give the "
                "representations that the model computes."
            )
        if len(shape) != 3 or shape[1] != 2:
            raise ValueError(
                f"`y_pred` of {name} should have shape (batch, 2, dim), two views of each sample. Received: shape "
                f"{shape}. End the model with keras.ops.stack([first, second], axis=1)."
            )
        return y_pred

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {name: value for name, value in super().get_config().items() if name != "reduction"}


@keras.saving.register_keras_serializable(package="keras_entropy")
class ViewEntropy(LossOfViews):
    """Mean squared distance of two views minus the entropies of both: pretraining without labels.

    The loss is mean (z1 - z2)^2 - `factor` * (H(z1) + H(z2)), with z1 and z2 the representations of two views of each
    sample, such as two random crops of an image, and H the `functional.gaussian_entropy` of the batch in nats per
    dimension. The distance makes the views agree; the entropies keep the representation from a collapse, to a point or
    to a few dimensions (Ozsoy et al., 2022, maximise the same with a running covariance). Multiplying the
    representation by a number adds a constant to H, so `factor` sets the scale of the representation, and hardly
    anything else.

    Use batches of at least 2 dim samples: a batch of n samples fills at most n - 1 dimensions. The batch is the global
    batch under `tf.distribute`, there with `compile(jit_compile=False)`, and under `keras.distribution`. In a batch of
    one sample the entropies count as 0.

    Args:
        factor: Float. Weight of the entropies. A positive factor rewards entropy. Defaults to 0.5.
        epsilon: Float > 0. Variance of the assumed noise, in squared units of the representation, not a standard
            deviation. Dimensions with a variance far below it have no entropy to gain. In float32 it is at least 1e-6
            times the sum of all variances, which a factorisation resolves. Defaults to 1e-2.
        name: String. Name of the loss. Defaults to `"view_entropy"`.
        dtype: Dtype of the loss. Defaults to None, Keras's floatx.

    Call arguments:
        * y_true: Ignored.
        * y_pred: Tensor of shape (batch, 2, dim). 16-bit types are computed in float32.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if `y_pred` is not a floating-point tensor
            (batch, 2, dim), or if it has a mask or sample weights.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import ViewEntropy
        >>> encoder = keras.Sequential([keras.layers.Dense(4, "relu"), keras.layers.Dense(2)])
        >>> images = keras.Input((6,))
        >>> views = [encoder(keras.layers.GaussianNoise(0.1)(images)) for _ in range(2)]
        >>> model = keras.Model(images, keras.ops.stack(views, axis=1))
        >>> model.compile("adam", ViewEntropy())
        >>> _ = model.fit(np.random.default_rng(0).normal(size=(64, 6)), verbose=0)
    """

    def __init__(
        self, factor: float = 0.5, epsilon: float = 1e-2, name: str | None = "view_entropy", dtype: Any = None
    ) -> None:
        super().__init__(name, dtype)
        self.factor = _checks.float32("factor", factor)
        _checks.positive("epsilon", epsilon)
        self.epsilon = _checks.number("epsilon", epsilon)

    def loss_of_views(self, first: Array, second: Array) -> Array:
        """Compute the mean squared distance minus the factor times both entropies."""
        distance = ops.mean(ops.square(first - second))
        return distance - self.factor * (self._entropy(centred(first)) + self._entropy(centred(second)))

    def _entropy(self, vectors: Batch) -> Array:
        entropy = vectors.log_det(self.epsilon) / (2 * vectors.rows.shape[-1])
        return ops.where(vectors.count < 2, ops.zeros_like(entropy), entropy)

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "factor": self.factor, "epsilon": self.epsilon}
