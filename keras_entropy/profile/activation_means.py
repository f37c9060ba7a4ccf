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
"""Rows of the sample in one call of a model that takes batches of any size."""


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
        sample: Inputs of the model, from `checked_sample`.

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
            stack.enter_context(in_place(layers[name], "activation", recorder))
            if "sigmoid" in recorder.quantities:
                stack.enter_context(in_place(layers[name], "call", recorder.call))
        run_on_sample(model, sample)
    return {
        name: {quantity: recorder.totals[quantity] / count for quantity, count in recorder.counts.items() if count}
        for name, recorder in recorders.items()
    }


def run_on_sample(model: Any, sample: Any) -> None:
    """Call a model on a sample from `checked_sample`, batch by batch, in inference mode."""
    for batch in _batches(model, sample):
        _call(model, sample, batch)


def _quantities(layer: Any) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    if layer.activation is not None and functional.is_elementwise(layer.activation):
        found["activation"] = functools.partial(functional.log_slope, activation=layer.activation)
    if isinstance(layer, DualDense):
        found["sigmoid"] = functional.sigmoid_entropy
    return found


def checked_sample(sample: Any) -> Any:
    """Return a sample as arrays with the same number of rows for each input, at least one; or None.

    Raises:
        ValueError: If it is anything else.
    """
    if sample is None:
        return None
    rows = [leaf.shape[0] if len(getattr(leaf, "shape", ())) else 0 for leaf in keras.tree.flatten(sample)]
    if not rows or not all(rows) or len(set(rows)) > 1:
        expected = "arrays of shape (n, ...), as for `model.predict`, with the same n > 0 for all inputs"
        remedy = "Give rows of the training inputs, such as x[:500]: np.asarray of lists, a batch of a data set."
        raise ValueError(_checks.message("sample", expected, _shapes(sample), remedy))
    return keras.tree.map_structure(_sliceable, sample)


def _sliceable(leaf: Any) -> Any:
    """Return an array, or a sparse matrix of SciPy, whose rows can be taken by slices."""
    if hasattr(leaf, "tocsr"):
        return leaf.tocsr()
    if hasattr(leaf, "to_numpy"):  # a table of pandas
        return leaf.to_numpy()
    return keras.ops.convert_to_numpy(leaf) if type(leaf).__name__ == "SparseTensor" else leaf


def _shapes(sample: Any) -> Any:
    return keras.tree.map_structure(lambda leaf: tuple(leaf.shape) if hasattr(leaf, "shape") else leaf, sample)


def check_sample_fits(model: Any, sample: Any) -> None:
    """Raise `ValueError` if a model cannot be called on the first rows of a sample."""
    _call(model, sample, next(_batches(model, sample)))


def _batches(model: Any, sample: Any) -> Iterator[Any]:
    """Yield the rows of a sample in batches; whole batches alone, if the model takes batches of a fixed size."""
    rows = keras.tree.flatten(sample)[0].shape[0]
    inputs = keras.tree.flatten(getattr(model, "inputs", None))
    size = next((x.shape[0] for x in inputs if x is not None and x.shape[0] is not None), None)
    if size is not None and rows < size:
        expected = f"inputs of at least {size} rows, the batch size of the model"
        raise ValueError(_checks.message("sample", expected, _shapes(sample)))
    for start in range(0, rows, _ROWS) if size is None else range(0, rows - size + 1, size):
        yield keras.tree.map_structure(lambda x, i=start: _dense(x[i : i + (size or _ROWS)]), sample)


def _dense(rows: Any) -> Any:
    return rows.toarray() if hasattr(rows, "toarray") else rows


def _call(model: Any, sample: Any, batch: Any) -> None:
    """Call a model on a batch in inference mode, without changing its state."""
    takes_training = "training" in inspect.signature(model.call).parameters
    try:
        # In this scope no state of the model changes, such as that of a random generator.
        with keras.StatelessScope():
            model(batch, training=False) if takes_training else model(batch)
    except Exception as error:  # Keras, the backend and layers of the user raise anything
        shape = getattr(model, "input_shape", None)
        expected = "inputs of the model" if shape is None else f"inputs of the model, of shape {shape}"
        remedy = (
            f"Give rows of the training inputs, such as x[:500]. The model raised the {type(error).__name__} above."
        )
        raise ValueError(_checks.message("sample", expected, _shapes(sample), remedy)) from error


@contextlib.contextmanager
def in_place(layer: Any, name: str, stand_in: Any) -> Iterator[None]:
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
