"""Regression with a learned covariance between the errors of the outputs.

Sources:
    Kessy, Lewin, Strimmer (2018): Optimal whitening and decorrelation.
    Watanabe (1960): Information theoretical analysis of multivariate correlation.
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_entropy import _backend, _checks, _keras, functional
from keras_entropy._backend import Array
from keras_entropy._backend.adapter import HostArray

_SMALLEST_EIGENVALUE = 1e-10  # of a correlation matrix: predictions in float32 leave 1e-14 where the rank is deficient
_SMALLEST_RESIDUAL = 1e-6  # of the largest target: predictions in float32 leave 1e-7 where the fit is perfect


@keras.saving.register_keras_serializable(package="keras_entropy")
class CorrelatedRegressor(keras.Model):
    """A regression model with Gaussian noise whose covariance between the outputs is learned with the weights.

    `model` predicts the mean f(x) of the outputs. The noise has covariance (W'W)^-1, one for all inputs, and `fit`
    trains the square matrix W with the weights of `model`. The loss of a row is its negative log-likelihood in nats,

        1/2 |W (y - f(x))|^2 - log|det W| + outputs / 2 * log(2 pi).

    The log-volume of W is the normaliser of the density (`functional.gaussian_negative_log_likelihood`). With strongly
    correlated noise and enough rows the mean is estimated with less error than with the mean squared error, which is
    this loss for W = 1. With independent noise there is nothing to gain: with 12 outputs and 100 to 1000 rows the error
    of the mean grew by 2 to 4 %, and with `correlation_penalty` by about 1 %. With 100 rows (4 or 12
    outputs) W overfits: keep the W of `warm_start`, with `whitening.trainable = False` before `compile`.

    `compile`, `fit` and `evaluate` work as for any model; `compile` takes no loss. `predict` returns the mean. The
    reported loss includes penalties, as in Keras; `task_loss` of `EntropyLogger` is the loss without them. A sample
    weight counts for all outputs of a row; a NaN among its targets makes the loss NaN.

    W is the weight `whitening` with its columns divided by the weight `scale`. `whitening` starts at the identity.
    `scale` is not trained: it is 1, or the size of the residuals of `warm_start`. Scale the targets to a variance of
    about 1. Stop early or regularise `model`: if it fits the training data perfectly, or an output is constant, the
    likelihood has no upper bound. One step costs O(outputs^3) for the determinant.

    Args:
        model: A Keras model with one output of shape (batch, ..., outputs). It is trained in place.
        outputs: Integer. Number of outputs.
        warm_start: Tuple (x, y) or (x, y, sample_weight): W starts at the inverse square root of the covariance of the
            residuals y - f(x), in the form that treats outputs of any scale alike (Kessy et al., 2018, ZCA-cor). No
            other W has a higher likelihood on these data. First train `model` with the mean squared error: this is
            the start of two-step estimation (feasible generalised least squares), which keeps this W. If `model`
            overfits, use data that it was not trained on. Defaults to None, the identity.
        correlation_penalty: Float, at least 0. Weight of the total correlation of the noise given the other outputs, in
            nats: 1/2 (sum_j log P_jj - log|det P|) with P = W'W (Watanabe, 1960). It is 0 for independent noise, and
            does not depend on the scale of the outputs. For a fixed mean, it divides the estimated covariances between
            outputs by 1 + `correlation_penalty`. Choose it on validation data, such as among 0, 0.1, 0.3 and 1.
            Defaults to 0.
        name: String. Name of the model. Defaults to None, an automatic name.
        dtype: Dtype policy of the model. W has the dtype floatx under any policy. Defaults to None, the global policy.

    Call arguments:
        * inputs: Inputs of `model`.
        * training: Boolean. As in `keras.Model`.

    Raises:
        TypeError, ValueError: If an argument is invalid; if `model` has another number of outputs; or if the residuals
            of `warm_start` are not finite or only rounding errors, or their covariance has no inverse. When trained:
            if the targets and the predictions differ in shape, a weight is given for each output, or `class_weight`.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import CorrelatedRegressor
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=(200, 3))
        >>> y = x[:, :2] + rng.normal(size=(200, 2)) @ np.array([[1.0, 0.9], [0.0, 0.4]])
        >>> network = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
        >>> network.compile(keras.optimizers.Adam(0.1), "mse")
        >>> history = network.fit(x, y, epochs=20, verbose=0)
        >>> model = CorrelatedRegressor(network, outputs=2, warm_start=(x, y))
        >>> model.compile(keras.optimizers.Adam(0.01))
        >>> history = model.fit(x, y, epochs=20, verbose=0)
        >>> mean = model.predict(x, verbose=0)
        >>> bool(model.noise_covariance()[0, 1] > 0.5)
        True
        >>> model.sample(x[:5], 100, seed=0).shape
        (100, 5, 2)
        >>> model.log_prob(x, y).shape
        (200,)
    """

    def __init__(
        self,
        model: Any,
        outputs: int,
        warm_start: Any = None,
        correlation_penalty: float = 0.0,
        name: str | None = None,
        dtype: Any = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(name=name, dtype=dtype, **kwargs)
        if not isinstance(model, keras.Model):
            raise TypeError(_checks.message("model", "a Keras model", model))
        self.model = model
        self.outputs = _checks.positive_integer("outputs", outputs)
        self.correlation_penalty = _checks.non_negative("correlation_penalty", correlation_penalty)
        graph = _keras.graph_of(model)
        if graph is not None:
            _check_outputs(graph.output_shape, self.outputs)
        self.scale = self.add_weight(
            name="scale",
            shape=(self.outputs,),
            initializer="ones",
            trainable=False,
            dtype=keras.config.floatx(),
            autocast=False,
        )
        self.whitening = self.add_weight(
            name="whitening",
            shape=(self.outputs, self.outputs),
            initializer="identity",
            regularizer=_Independence(self.correlation_penalty) if self.correlation_penalty else None,
            dtype=keras.config.floatx(),
            autocast=False,
        )
        if warm_start is not None:
            scale, whitening = _scale_and_whitening(*self._warm_start(warm_start))
            self.scale.assign(scale)
            self.whitening.assign(whitening)
        if graph is not None:
            self.build(graph.input_shape)
        self.built = model.built

    def build(self, input_shape: Any) -> None:
        """Build `model` for the shapes of its inputs, unless it is built."""
        if not self.model.built:
            super().build(input_shape)
        self.built = True

    def call(self, inputs: Any, training: bool | None = None) -> Array:
        """Predict the mean, of shape (batch, ..., outputs)."""
        mean = self.model(inputs, training=training)
        _check_outputs(_shape_of(mean), self.outputs)
        return mean

    def compile(self, optimizer: Any = "rmsprop", loss: None = None, **options: Any) -> None:
        """Configure training, as `keras.Model.compile` does, with the negative log-likelihood as the loss.

        Args:
            optimizer: An optimizer of Keras or its name. Defaults to `"rmsprop"`.
            loss: None. The loss is part of the model.
            **options: `metrics` and all other arguments of `keras.Model.compile`.

        Raises:
            ValueError: If `loss` is not None.
        """
        if loss is not None:
            remedy = "The loss is part of the model. To watch another one, use metrics=[...]."
            raise ValueError(_checks.message("loss", "None for CorrelatedRegressor", loss, remedy))
        super().compile(optimizer, _NegativeLogLikelihood(self.scale, self.whitening), **options)

    @functools.wraps(keras.Model.fit)
    def fit(self, *args: Any, **options: Any) -> Any:
        """Train as `keras.Model.fit` does, without `class_weight`: the targets are numbers, not classes."""
        _refuse_class_weight(super().fit, args, options)
        return super().fit(*args, **options)

    @functools.wraps(keras.Model.train_on_batch)
    def train_on_batch(self, *args: Any, **options: Any) -> Any:
        """Train as `keras.Model.train_on_batch` does, without `class_weight`."""
        _refuse_class_weight(super().train_on_batch, args, options)
        return super().train_on_batch(*args, **options)

    def noise_covariance(self) -> HostArray:
        """Compute the covariance (W'W)^-1 of the noise.

        Returns:
            A NumPy array (outputs, outputs) of float64, in squared units of the targets.
        """
        inverse = np.linalg.inv(self._host_whitening())
        covariance: HostArray = inverse @ inverse.T
        return covariance

    def sample(self, x: Any, n: int, seed: int | None = None) -> HostArray:
        """Draw outputs from the predicted distribution.

        Args:
            x: Inputs, as for `predict`.
            n: Integer. Number of draws for each row.
            seed: Integer. Seed of the noise. Defaults to None: other noise at each call.

        Returns:
            A NumPy array (n, batch, ..., outputs) of float64.

        Raises:
            TypeError, ValueError: If `n` or `seed` is invalid.
        """
        n = _checks.positive_integer("n", n)
        rng = np.random.default_rng(None if seed is None else _checks.seed("seed", seed))
        mean = np.asarray(self.predict(x, verbose=0), np.float64)
        drawn: HostArray = mean + rng.standard_normal((n, *mean.shape)) @ np.linalg.inv(self._host_whitening()).T
        return drawn

    def log_prob(self, x: Any, y: Any) -> HostArray:
        """Compute the log-density of targets, in float64.

        Args:
            x: Inputs, as for `predict`.
            y: Array (batch, ..., outputs).

        Returns:
            A NumPy array (batch, ...), in nats. NaN where a target is NaN.

        Raises:
            ValueError: If the targets and the predictions differ in shape.
        """
        mean = np.asarray(self.predict(x, verbose=0), np.float64)
        residuals = _targets_like(mean, y) - mean
        log_prob: HostArray = -functional.gaussian_negative_log_likelihood(residuals, self._host_whitening())
        return log_prob

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor; W is saved as a weight, so that `warm_start` is not needed."""
        return {
            **super().get_config(),
            "model": keras.saving.serialize_keras_object(self.model),
            "outputs": self.outputs,
            "correlation_penalty": self.correlation_penalty,
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> CorrelatedRegressor:
        """Make a model from the dictionary of `get_config`."""
        model = keras.saving.deserialize_keras_object(config["model"], custom_objects)
        return cls(**{**config, "model": model})

    def get_compile_config(self) -> dict[str, Any]:
        """Return the arguments of `compile`."""
        config = super().get_compile_config()
        return {**config, "loss": None} if config else config

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Compile with the dictionary of `get_compile_config`."""
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built:
            self.optimizer.build(self.trainable_variables)

    def _host_whitening(self) -> HostArray:
        """Return W in float64."""
        scale, whitening = (_backend.to_host(v).astype(np.float64) for v in (self.scale, self.whitening))
        product: HostArray = whitening / scale
        return product

    def _warm_start(self, data: Any) -> tuple[HostArray, HostArray, HostArray]:
        """Return y - f(x), y and a weight for each row, in float64, with an axis of rows."""
        if not isinstance(data, tuple | list) or not 2 <= len(data) <= 3:
            raise TypeError(_checks.message("warm_start", "a tuple (x, y) or (x, y, sample_weight)", data))
        x, y, weights = keras.utils.unpack_x_y_sample_weight(tuple(data))
        mean = self.model.predict(x, verbose=0)
        _check_outputs(_shape_of(mean), self.outputs)
        mean = np.asarray(mean, np.float64)
        y = _targets_like(mean, y)
        counted = _weights_of_rows(mean, 1.0 if weights is None else weights)
        mask = _keras.mask_of(self.model(keras.tree.map_structure(lambda inputs: inputs[:1], x)))
        if mask is not None:
            counted = counted * _weights_of_rows(mean, _backend.to_host(_keras.mask_of(self.model(x))))
        return (y - mean).reshape(-1, self.outputs), y.reshape(-1, self.outputs), counted


def _refuse_class_weight(function: Any, arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
    """Raise for weights of classes: Keras would take the largest output of a row for its class."""
    weight = inspect.signature(function).bind(*arguments, **options).arguments.get("class_weight")
    if weight is not None:
        remedy = "The targets are numbers, not classes. Give a weight for each row as `sample_weight`."
        raise ValueError(_checks.message("class_weight", "None for CorrelatedRegressor", weight, remedy))


class _Independence(keras.Regularizer):
    """The total correlation of the columns of W. No entropy term: those act on weights that data pass through."""

    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, x: Any) -> Array:
        return self.factor * functional.total_correlation(x)


class _NegativeLogLikelihood(keras.losses.Loss):
    """The loss of each row under the present W, reduced and weighted as every loss of Keras."""

    def __init__(self, scale: Any, whitening: Any) -> None:
        super().__init__(name="negative_log_likelihood")
        self.scale = scale
        self.whitening = whitening

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Array:
        shape, of_outputs = getattr(sample_weight, "shape", ()), tuple(y_pred.shape)
        shape = () if _is_unknown(shape) else tuple(shape)
        if len(shape) == len(of_outputs) and shape[-1] not in (1, None):
            remedy = "A weight counts for all outputs of a row."
            expected = f"an array of shape (batch, ...) for predictions of shape {of_outputs}"
            raise ValueError(_checks.message("sample_weight", expected, sample_weight, remedy))
        return super().__call__(y_true, y_pred, sample_weight)

    def call(self, y_true: Array, y_pred: Array) -> Array:
        y_true = _aligned(y_true, y_pred)
        if len(y_true.shape) != len(y_pred.shape) or y_true.shape[-1] != y_pred.shape[-1]:
            expected = f"an array of the shape {tuple(y_pred.shape)} of the predictions"
            raise ValueError(_checks.message("y", expected, y_true))
        scale = ops.convert_to_tensor(self.scale)
        loss = functional.gaussian_negative_log_likelihood((y_true - y_pred) / scale, self.whitening)
        return loss + ops.sum(ops.log(scale))


def _aligned(y: Array, mean: Array) -> Array:
    """Return targets of a single output with the last axis that the predictions have."""
    if _is_unknown(y.shape) or None in tuple(y.shape)[-1:]:
        # A step of TensorFlow that was traced for targets of several shapes. Others than those of `mean` raise here.
        return ops.reshape(y, ops.shape(mean))
    missing = mean.shape[-1] == 1 and len(y.shape) == len(mean.shape) - 1
    return y[..., None] if missing else y


def _is_unknown(shape: Any) -> bool:
    """Whether not even the rank is known, as in a step of TensorFlow that was traced for several shapes."""
    return getattr(shape, "rank", 0) is None


def _targets_like(mean: HostArray, y: Any) -> HostArray:
    """Return targets in float64 and in the shape of the predictions."""
    targets: HostArray = _aligned(np.asarray(y, np.float64), mean)
    if targets.shape != mean.shape:
        remedy = f"The predictions have shape {mean.shape}."
        raise ValueError(_checks.message("y", f"an array of the shape {mean.shape} of the predictions", y, remedy))
    return targets


def _shape_of(mean: Any) -> Any:
    """Return the shape of one tensor as a tuple; whatever several outputs come in as it is."""
    return tuple(mean.shape) if hasattr(mean, "shape") else mean


def _check_outputs(shape: Any, outputs: int) -> None:
    """Raise `ValueError` unless `shape` is that of one tensor (batch, ..., outputs)."""
    if not isinstance(shape, tuple) or any(isinstance(size, tuple | list) for size in shape):
        raise ValueError("`model` should have one output of shape (batch, ..., outputs). Received: several outputs.")
    if len(shape) < 2 or shape[-1] != outputs:
        raise ValueError(
            f"`outputs` should be the last axis of the output of the model. Received: outputs={outputs} for outputs of "
            f"shape {tuple(shape)}."
        )


def _scale_and_whitening(residuals: HostArray, y: HostArray, weights: HostArray) -> tuple[HostArray, HostArray]:
    """Return D and R^-1/2 for the covariance D R D of residuals of mean 0: R^-1/2 D^-1 has the largest likelihood."""
    residuals, y, weights = (values[weights > 0] for values in (residuals, y, weights))
    covariance = (residuals.T * weights) @ residuals / weights.sum()
    scale = np.sqrt(np.diag(covariance))
    if not np.isfinite(covariance).all() or not (scale > _SMALLEST_RESIDUAL * np.abs(y).max(axis=0)).all():
        raise ValueError(
            "`warm_start` should give residuals that are finite, and larger than rounding errors in each output. "
            f"Received: root mean squares {scale}. Remove rows with missing targets, and outputs that are constant or "
            "perfectly predicted; centre targets that are large for their variation; or use warm_start=None."
        )
    values, vectors = np.linalg.eigh(covariance / scale / scale[:, None])
    if values[0] < _SMALLEST_EIGENVALUE:
        raise ValueError(
            "`warm_start` should give residuals whose covariance has an inverse. Received: a correlation matrix with "
            f"smallest eigenvalue {values[0]:.1e}, from {len(residuals)} rows and {residuals.shape[1]} outputs. Use "
            "more rows than outputs, and outputs that no other outputs determine; or warm_start=None."
        )
    return scale, (vectors / np.sqrt(values)) @ vectors.T


def _weights_of_rows(mean: HostArray, weights: Any) -> HostArray:
    """Return one weight for each row and position; a weight of a row counts for all positions in it."""
    shape, weights = mean.shape[:-1], np.asarray(weights, np.float64)
    if weights.shape != shape[: weights.ndim] or not (weights >= 0).all() or not weights.any():
        expected = f"at least 0, not all 0, and of shape {shape} or ({shape[0]},), for `warm_start`"
        raise ValueError(_checks.message("sample_weight", expected, weights))
    return np.broadcast_to(weights.reshape(weights.shape + (1,) * (len(shape) - weights.ndim)), shape).ravel()
