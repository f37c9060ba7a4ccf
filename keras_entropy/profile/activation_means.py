"""Activations measured on data: the entropy that they add, and how undecided their units are."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks, functional
from keras_entropy._backend import Array
from keras_entropy.layers.dual import DualDense, expanded

_ROWS = 128
"""Rows of the sample in one call of the model."""


Quantity = Callable[[Array], Array]
"""An elementwise function of pre-activations."""


class _Recorder:
    """Replaces the activation of a layer, and sums quantities of its inputs."""

    def __init__(self, layer: Any, quantities: Mapping[str, Quantity]) -> None:
        self.activation = layer.activation
        self.quantities = quantities
        self.totals = dict.fromkeys(quantities, 0.0)
        self.counts = dict.fromkeys(quantities, 0)
        self._call = layer.call
        self._mask: Array | None = None

    def __call__(self, z: Array) -> Array:
        for name, quantity in self.quantities.items():
            values = keras.ops.convert_to_numpy(quantity(z))
            if name == "sigmoid" and self._mask is not None:  # as in the layer's own term
                counts = keras.ops.convert_to_numpy(expanded(self._mask, z))
                values = values[np.broadcast_to(counts, values.shape)]
            self.totals[name] += float(values.sum(dtype=np.float64))
            self.counts[name] += values.size
        return self.activation(z)

    def call(self, *args: Any, **kwargs: Any) -> Array:
        """Replaces the `call` of a layer, to see the mask that Keras gives by name."""
        self._mask = kwargs.get("mask")
        return self._call(*args, **kwargs)


def means_on_sample(model: Any, layers: Mapping[str, Any], sample: Any) -> dict[str, dict[str, float]]:
    """Measure activations on a sample, with the model in inference mode.

    Args:
        model: A built Keras model.
        layers: Mapping of layers of the model by name. Each has an attribute `activation`, which may be None.
        sample: Inputs of the model: an array of shape (n, ...), or a list or dict of arrays.

    Returns:
        A dict by name, for the layers that the model called, of dicts: `"activation"`: mean log slope in nats per unit,
        if the activation is elementwise; `"sigmoid"`: mean sigmoid entropy of a `DualDense` in bits per unit, over the
        positions that its mask includes.
    """
    recorders = {
        name: _Recorder(layer, quantities) for name, layer in layers.items() if (quantities := _quantities(layer))
    }
    with contextlib.ExitStack() as stack:
        for name, recorder in recorders.items():
            stack.enter_context(_in_place(layers[name], "activation", recorder))
            if "sigmoid" in recorder.quantities:
                stack.enter_context(_in_place(layers[name], "call", recorder.call))
        for start in range(0, len(keras.tree.flatten(sample)[0]), _ROWS):
            infer_rows(model, sample, start)
    return {
        name: {quantity: recorder.totals[quantity] / count for quantity, count in recorder.counts.items() if count}
        for name, recorder in recorders.items()
    }


def _quantities(layer: Any) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    if layer.activation is not None and functional.is_elementwise(layer.activation):
        found["activation"] = functools.partial(functional.log_slope, activation=layer.activation)
    if isinstance(layer, DualDense):
        found["sigmoid"] = functional.sigmoid_entropy
    return found


def checked_sample(sample: Any) -> Any:
    """Return a sample that has the same number of rows for each input, at least one; or None."""
    if sample is None:
        return None
    rows = [len(x) if len(getattr(x, "shape", ())) else 0 for x in keras.tree.flatten(sample)]
    if not rows or not all(rows) or len(set(rows)) > 1:
        expected = "arrays of shape (n, ...), as for `model.predict`, with the same n > 0 for all inputs"
        raise ValueError(_checks.message("sample", expected, _shapes(sample)))
    return sample


def check_sample_fits(model: Any, sample: Any) -> None:
    """Raise `ValueError` if a model cannot be called on a sample."""
    try:
        infer_rows(model, sample)
    except Exception as error:  # Keras, the backend and layers of the user raise anything
        shape = getattr(model, "input_shape", None)
        expected = "inputs of the model" if shape is None else f"inputs of the model, of shape {shape}"
        remedy = (
            f"Give rows of the training inputs, such as x[:500]. The model raised the {type(error).__name__} above."
        )
        raise ValueError(_checks.message("sample", expected, _shapes(sample), remedy)) from error


def _shapes(sample: Any) -> Any:
    return keras.tree.map_structure(lambda leaf: tuple(leaf.shape) if hasattr(leaf, "shape") else leaf, sample)


def infer_rows(model: Any, sample: Any, start: int = 0) -> None:
    """Call the model on up to 128 rows of a sample from `start` on, without changing its state."""
    batch = keras.tree.map_structure(lambda x: x[start : start + _ROWS], sample)
    takes_training = "training" in inspect.signature(model.call).parameters
    # In this scope no state of the model changes, such as that of a random generator.
    with keras.StatelessScope():
        model(batch, training=False) if takes_training else model(batch)


@contextlib.contextmanager
def _in_place(layer: Any, name: str, stand_in: Any) -> Iterator[None]:
    """Replace an attribute without Keras's tracking, so that a layer used as activation stays tracked."""
    attributes = vars(layer)
    before = attributes.get(name)
    attributes[name] = stand_in
    try:
        yield
    finally:
        if before is None:
            del attributes[name]
        else:
            attributes[name] = before
