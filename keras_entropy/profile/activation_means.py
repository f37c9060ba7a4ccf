"""What activations do, measured on data: the entropy that they add, and how undecided their units are."""

from __future__ import annotations

import contextlib
import functools
import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import functional
from keras_entropy._backend import Array
from keras_entropy.layers.dual import DualDense, expanded

_ROWS = 128  # of the sample in one call of the model


Quantity = Callable[[Array], Array]
"""An elementwise function of pre-activations."""


class _Recorder:
    """Stands for the activation of a layer and keeps the means of quantities at what it is called with."""

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
        """Stands for the `call` of a layer that takes a mask, which Keras gives by name, to see it."""
        self._mask = kwargs.get("mask")
        return self._call(*args, **kwargs)


def means_on_sample(model: Any, layers: Mapping[str, Any], sample: Any) -> dict[str, dict[str, float]]:
    """What the activation of each layer does on average over a sample, with the model in inference mode.

    Args:
        model: a built Keras model.
        layers: layers of the model by name, each with an attribute `activation`.
        sample: inputs of the model, as arrays (n, ...), alone or in a list or dict.

    Returns:
        By name, for the layers that the model called: "activation", the log slope in nats per unit, where the
        activation is elementwise; "sigmoid", the sigmoid entropy in bits per unit, of a `DualDense`,
        over the positions that its mask leaves.
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
    if functional.is_elementwise(layer.activation):
        found["activation"] = functools.partial(functional.log_slope, activation=layer.activation)
    if isinstance(layer, DualDense):
        found["sigmoid"] = functional.sigmoid_entropy
    return found


def infer_rows(model: Any, sample: Any, start: int = 0) -> None:
    """Call the model on the rows of a sample from `start`, as many as fit in one call, without changing its state."""
    batch = keras.tree.map_structure(lambda x: x[start : start + _ROWS], sample)
    # No state of the model, such as that of a random generator, changes in the scope.
    takes_training = "training" in inspect.signature(model.call).parameters
    with keras.StatelessScope():
        model(batch, training=False) if takes_training else model(batch)


@contextlib.contextmanager
def _in_place(layer: Any, name: str, stand_in: Any) -> Iterator[None]:
    """Past Keras's tracking of attributes, so that a layer that is an activation stays tracked."""
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
