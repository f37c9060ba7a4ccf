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

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.covariance import Batch, centred, log_det, uncentred
from keras_entropy.layers.dual import expanded
from keras_entropy.regularizers import EntropyRegularizer

FORMS = ("gaussian", "entropy", "coding_rate")
POOLS = ("mean",)

Shape = tuple[int | None, ...]


class _Term(EntropyRegularizer):
    """Minus the factor times the entropy of a batch, as an entropy regularizer, so that a FactorSchedule finds it."""

    unit = "nats per dimension"

    def __init__(self, factor: float, form: str, epsilon: float) -> None:
        super().__init__(_checks.number("factor", factor), epsilon, "mean")
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
class RepresentationEntropy(keras.layers.Layer):
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
        epsilon: Float > 0. Variance of the assumed noise, in squared units of the inputs; for `"coding_rate"` the mean
            squared error of a unit vector. Defaults to 1e-2.
        pool: String or None. `"mean"`: inputs with more than two axes are averaged over all axes but the first and the
            last, so that each sample is one vector. None: each position is a vector. Defaults to `"mean"`.
        momentum: Float from 0 to below 1, or None. Weight of the past in a running average of C (Ozsoy et al., 2022),
            for batches that are small beside d. The average starts without a bias, as in Adam. The gradient is that of
            the batch's own C, not shrunk by 1 - momentum. In inference the term is that of the batch. Defaults to None:
            no average.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.

    Call arguments:
        * inputs: Tensor of shape (batch, ..., d). The output is the same. 16-bit types are computed in float32.
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
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.entropy = _Term(factor, form, epsilon)
        self.pool = None if pool is None else _checks.one_of("pool", pool, POOLS)
        self.momentum = None if momentum is None else _checks.non_negative("momentum", momentum)
        if self.momentum is not None and self.momentum >= 1:
            raise ValueError(_checks.message("momentum", "below 1, or None", momentum))
        self.supports_masking = True
        self.input_spec = keras.InputSpec(min_ndim=2)

    def build(self, input_shape: Shape) -> None:
        """Create the running average, if there is one."""
        size = input_shape[-1]
        if size is None:
            raise ValueError(
                "The last axis of the inputs of RepresentationEntropy should have a known size. Received: shape "
                f"{input_shape}. Set it in keras.Input."
            )
        if self.momentum is not None:
            # Each replica computes the same values.
            arguments = {"dtype": "float32", "trainable": False, "autocast": False, "aggregation": "mean"}
            self.covariance = self.add_weight(name="covariance", shape=(size, size), initializer="zeros", **arguments)
            self.missing = self.add_weight(name="missing", shape=(), initializer="ones", **arguments)
        self.input_spec = keras.InputSpec(min_ndim=2, axes={-1: size})
        self.built = True

    def call(self, inputs: Array, mask: Array | None = None, training: bool = False) -> Array:
        """Return the inputs, and add the term to the losses."""
        batch = self.entropy.batch(*self._vectors(_backend.as_float(inputs), mask))
        averaged = self._averaged(batch, self.momentum) if self.momentum is not None and training else None
        self.add_loss(_backend.framework().loss_of_replica(self.entropy.term(batch, averaged)))
        return inputs

    def _vectors(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        """Return the vectors (n, d) of which the entropy is taken, and which of them count."""
        axes = tuple(range(1, len(x.shape) - 1))
        counts = None if mask is None else ops.broadcast_to(expanded(mask, x), (*ops.shape(x)[:-1], 1))
        if not self.pool or not axes:
            rows = ops.reshape(x, (-1, x.shape[-1]))
            return rows, None if counts is None else ops.reshape(counts, (-1,))
        if counts is None:
            return ops.mean(x, axis=axes), None
        total = ops.sum(ops.where(counts, x, ops.zeros_like(x)), axis=axes)
        number = ops.sum(ops.cast(counts, x.dtype), axis=axes)
        return total / _backend.at_least(number, 1.0), ops.squeeze(number > 0, axis=-1)

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

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"factor": self.entropy.factor, "form": self.entropy.form, "epsilon": self.entropy.epsilon}
        return {**super().get_config(), **own, "pool": self.pool, "momentum": self.momentum}
