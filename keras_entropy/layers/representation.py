"""A layer that keeps the representation passing through it from a collapse.

Sources:
    Yu, Chan, You, Song, Ma (2020): Learning diverse and discriminative representations via the principle of maximal
        coding rate reduction.
    Ozsoy, Hamdan, Arik, Yuret, Erdogan (2022): Self-supervised learning with an information maximization criterion.
"""

from __future__ import annotations

import math
from typing import Any

import keras
from keras import ops

from keras_entropy import _checks
from keras_entropy._backend import Array
from keras_entropy.functional.covariance import Batch, centred, log_det, uncentred
from keras_entropy.layers.vectors import LayerOfVectors, Shape
from keras_entropy.regularizers import EntropyRegularizer

FORMS = ("gaussian", "entropy", "coding_rate")


class _Term(EntropyRegularizer):
    """Minus the factor times the entropy of a batch, as an entropy regularizer, so that a FactorSchedule finds it."""

    unit = "nats per dimension"

    def __init__(self, factor: float, form: str, epsilon: float) -> None:
        super().__init__(_checks.float32("factor", factor), epsilon, "mean")
        _checks.positive("epsilon", epsilon)
        self.form = _checks.one_of("form", form, FORMS)

    def batch(self, rows: Array, counts: Array | None) -> Batch:
        """Prepare vectors (n, d): centre them, or for the coding rate divide them by their norms."""
        if self.form != "coding_rate":
            return centred(rows, counts)
        squares = ops.sum(ops.square(rows), axis=-1, keepdims=True)
        squares = ops.where(squares > 0, squares, ops.ones_like(squares))
        return uncentred(rows / ops.sqrt(squares), counts)

    def term(self, batch: Batch, covariance: Array | None) -> Array:
        """Compute the term of a batch; with a covariance in place of that of the batch, if one is given."""
        dimensions = batch.rows.shape[-1]
        noise = self.epsilon / dimensions if self.form == "coding_rate" else self.epsilon
        logs = batch.log_det(noise) if covariance is None else log_det(covariance, noise)
        value = logs / (2 * dimensions)
        if self.form == "coding_rate":
            value = value - math.log(noise) / 2
        elif self.form == "gaussian":
            trace = batch.trace() if covariance is None else ops.sum(ops.diagonal(covariance))
            value = value - trace / (2 * dimensions)
        value = ops.where(batch.count < 2, ops.zeros_like(value), value)
        return self._times_multiplier(ops.cast(-self.factor_beside(value) * value, keras.backend.floatx()))


@keras.saving.register_keras_serializable(package="keras_entropy")
class RepresentationEntropy(LayerOfVectors):
    """Pass inputs on, and reward the entropy that they have over the batch: no dimension and no direction dies.

    The layer stands wherever the representation is to be kept, before an activation or after one. It adds minus
    `factor` times one of these, with C the covariance of the batch and H its `functional.gaussian_entropy`, in nats per
    dimension:

    * `"gaussian"`: H - tr C / (2 d). It has a maximum, where all variances are 1 - epsilon and all correlations 0: up
      to a constant it is minus the divergence from a Gaussian with the same mean and the identity as covariance. For
      hidden layers, best before the activation;
    * `"entropy"`: H alone. It grows with the scale of the inputs without end, so that something else has to limit it;
    * `"coding_rate"`: `functional.coding_rate` of the inputs divided by their norms (Yu et al., 2020).

    The term prevents a collapse. It does not undo one: the gradient of a dimension that is constant is 0.

    A batch of n vectors fills at most n - 1 dimensions. Use batches of at least 2 d vectors, or `momentum`. The batch
    is the global batch: under `tf.distribute` the vectors of all replicas, under `keras.distribution` on JAX the whole
    array. In one of several torch processes it is the batch of the process. Under `tf.distribute`, compile the model
    with `jit_compile=False`, and put no layer that adds a loss, other than this one, before this one: Keras drops its
    loss on the first replica, as before a synchronized `BatchNormalization`.

    Args:
        factor: Float. Strength of the term. A positive factor rewards entropy, a negative one suppresses it.
        form: String. `"gaussian"`, `"entropy"` or `"coding_rate"`. Defaults to `"gaussian"`.
        epsilon: Float > 0. Variance of the assumed noise, in squared units of the inputs, not a standard deviation; for
            `"coding_rate"` the mean squared error of a unit vector. In float32 the variance is at least 1e-6 tr C,
            which a factorisation resolves. Defaults to 1e-2.
        pool: String or None. `"mean"`: inputs with more than two axes are averaged over their positions, so that each
            sample is one vector. None: each position is a vector. Defaults to `"mean"`.
        momentum: Float from 0 to below 1, or None. Weight of the past in a running average of C (Ozsoy et al., 2022),
            for batches that are small beside d. The average starts without a bias, as in Adam. The gradient is that of
            the batch's own C, not shrunk by 1 - momentum. In inference the term is that of the batch. Defaults to None:
            no average.
        data_format: String. The axis of the dimensions in inputs with more than two axes: `"channels_last"`, or
            `"channels_first"` for shapes (batch, d, ...). Defaults to None: `keras.config.image_data_format()`, as in
            Keras's pooling layers. If that is `"channels_first"`, give `"channels_last"` after layers that always have
            their channels last, such as `LSTM` and `MultiHeadAttention`.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        * inputs: Tensor of shape (batch, ..., d), or (batch, d, ...) with channels first. The output is the same.
            16-bit types are computed in float32.
        * mask: Mask of shape (batch, ...), which Keras passes on. Positions with False are left out.
        * training: Boolean. Whether the running average is updated.

    In a batch with a single vector the term is 0.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the inputs have one axis, or d is unknown.

    Examples:
        >>> import keras
        >>> from keras_entropy import RepresentationEntropy
        >>> model = keras.Sequential([
        ...     keras.Input((8,)), keras.layers.Dense(4), RepresentationEntropy(0.1), keras.layers.ReLU(),
        ...     keras.layers.Dense(1)])
        >>> model.output_shape
        (None, 1)
    """

    def __init__(
        self,
        factor: float,
        form: str = "gaussian",
        epsilon: float = 1e-2,
        pool: str | None = "mean",
        momentum: float | None = None,
        data_format: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(pool, data_format, **kwargs)
        self.entropy = _Term(factor, form, epsilon)
        self.momentum = None if momentum is None else _checks.non_negative("momentum", momentum)
        if self.momentum is not None and self.momentum >= 1:
            raise ValueError(_checks.message("momentum", "below 1, or None", momentum))

    def build(self, input_shape: Shape) -> None:
        """Create the running average, if there is one."""
        super().build(input_shape)
        if self.momentum is not None:
            # Each replica computes the same values.
            arguments = {"dtype": "float32", "trainable": False, "autocast": False, "aggregation": "mean"}
            shape = (self.dimensions, self.dimensions)
            self.covariance = self.add_weight(name="covariance", shape=shape, initializer="zeros", **arguments)
            self.missing = self.add_weight(name="missing", shape=(), initializer="ones", **arguments)

    def term(self, rows: Array, counts: Array | None, training: bool) -> Array:
        """Compute minus the factor times the entropy of the batch, or of the running average."""
        batch = self.entropy.batch(rows, counts)
        averaged = self._averaged(batch, self.momentum) if self.momentum is not None and training else None
        return self.entropy.term(batch, averaged)

    def _averaged(self, batch: Batch, momentum: float) -> Array:
        """Update the running average, and return it with the gradient of the covariance of the batch."""
        own = batch.covariance()
        # A batch without a covariance is left out, and one that is not finite makes its own term NaN alone.
        counts = (batch.count >= 2) & ops.all(ops.isfinite(own))
        past, missing = ops.convert_to_tensor(self.covariance), ops.convert_to_tensor(self.missing)
        value = ops.cast(ops.stop_gradient(own), past.dtype)
        present = ops.where(counts, momentum * past + (1 - momentum) * value, past)
        missing = ops.where(counts, momentum * missing, missing)
        self.covariance.assign(present)
        self.missing.assign(missing)
        known = ops.where(missing < 1, 1 - missing, ops.ones_like(missing))
        return ops.cast(present / known, own.dtype) + (own - ops.stop_gradient(own))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"factor": self.entropy.factor, "form": self.entropy.form, "epsilon": self.entropy.epsilon}
        return {**super().get_config(), **own, "momentum": self.momentum}
