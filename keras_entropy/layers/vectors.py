"""The base class of layers with a term that belongs to the batch of vectors passing through them."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.layers.dual import expanded

POOLS = ("mean",)
DATA_FORMATS = ("channels_last", "channels_first")

Shape = tuple[int | None, ...]


class LayerOfVectors(keras.layers.Layer):
    """Base class of layers that pass inputs on, and add a term of the batch of their vectors to the loss.

    Subclasses implement `term`.

    Args:
        pool: String or None. `"mean"`: inputs with more than two axes are averaged over their positions, so that each
            sample is one vector. None: each position is a vector. Defaults to `"mean"`.
        data_format: String. The axis of the dimensions in inputs with more than two axes: `"channels_last"` or
            `"channels_first"`. Defaults to None: `keras.config.image_data_format()`, as in Keras's pooling layers.
        **kwargs: Arguments of `keras.layers.Layer`, such as `name`.
    """

    def __init__(self, pool: str | None = "mean", data_format: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pool = None if pool is None else _checks.one_of("pool", pool, POOLS)
        data_format = keras.config.image_data_format() if data_format is None else data_format
        self.data_format = _checks.one_of("data_format", data_format, DATA_FORMATS)
        self.supports_masking = True
        self.input_spec = keras.InputSpec(min_ndim=2)

    def build(self, input_shape: Shape) -> None:
        """Check that the number of dimensions is known, and keep it."""
        axis = 1 if self._channels_first(len(input_shape)) else -1
        size = input_shape[axis]
        if size is None:
            which = "last axis" if axis == -1 else "axis 1"
            raise ValueError(
                f"The {which} of the inputs of {type(self).__name__} should have a known size. Received: shape "
                f"{input_shape}. Set it in keras.Input."
            )
        self.dimensions = size
        self.input_spec = keras.InputSpec(min_ndim=2, axes={axis: size})
        self.built = True

    def call(self, inputs: Array, mask: Array | None = None, training: bool = False) -> Array:
        """Return the inputs, and add the term to the losses."""
        term = self.term(*self._vectors(_backend.as_float(inputs), mask), training)
        self.add_loss(_backend.framework().loss_of_replica(ops.cast(term, keras.backend.floatx())))
        return inputs

    def term(self, rows: Array, counts: Array | None, training: bool) -> Array:
        """Compute the term as a scalar.

        Args:
            rows: Tensor (n, d) of float32 or float64. The vectors of this replica.
            counts: Boolean tensor (n,), False for vectors that do not count; or None.
            training: Boolean. Whether the model trains.
        """
        raise NotImplementedError

    def _channels_first(self, rank: int) -> bool:
        return rank > 2 and self.data_format == "channels_first"

    def _vectors(self, x: Array, mask: Array | None) -> tuple[Array, Array | None]:
        """Return the vectors (n, d), and which of them count."""
        if self._channels_first(len(x.shape)):
            x = ops.moveaxis(x, 1, -1)
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

    def compute_output_shape(self, input_shape: Shape) -> Shape:
        """Return the shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "pool": self.pool, "data_format": self.data_format}
