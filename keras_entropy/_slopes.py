"""What activations do, measured on data: the entropy that they add, and how undecided their units are."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _keras, functional
from keras_entropy._backend import Array
from keras_entropy.layers import DualDense

_ROWS = 128  # of the sample in one call of the model


Quantity = Callable[[Array], Array]
"""An elementwise function of pre-activations."""


class _Recorder:
    """Stands for the activation of a layer and keeps the means of quantities at what it is called with."""

    def __init__(self, activation: Any, quantities: Mapping[str, Quantity]) -> None:
        self.activation = activation
        self.quantities = quantities
        self.totals = dict.fromkeys(quantities, 0.0)
        self.count = 0

    def __call__(self, z: Array) -> Array:
        for name, quantity in self.quantities.items():
            self.totals[name] += float(keras.ops.convert_to_numpy(quantity(z)).sum(dtype=np.float64))
        self.count += math.prod(z.shape)
        return self.activation(z)


def means_on_sample(model: Any, layers: Mapping[str, Any], sample: Any) -> dict[str, dict[str, float]]:
    """What the activation of each layer does on average over a sample, with the model in inference mode.

    Args:
        model: a built Keras model.
        layers: layers of the model by name, each with an attribute `activation`.
        sample: inputs of the model, as arrays (n, ...), alone or in a list or dict.

    Returns:
        By name, for the layers that the model called: "activation", the log slope in nats per unit, where the
        activation is elementwise; "sigmoid", the sigmoid entropy in bits per unit, of a `DualDense`.
    """
    recorders = {
        name: _Recorder(layer.activation, quantities)
        for name, layer in layers.items()
        if (quantities := _quantities(layer))
    }
    with contextlib.ExitStack() as stack:
        for name, recorder in recorders.items():
            stack.enter_context(_in_place_of_activation(layers[name], recorder))
        for start in range(0, len(keras.tree.flatten(sample)[0]), _ROWS):
            infer_rows(model, sample, start)
    return {
        name: {quantity: total / recorder.count for quantity, total in recorder.totals.items()}
        for name, recorder in recorders.items()
        if recorder.count
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
    with keras.StatelessScope():
        _keras.infer(model, batch)


@contextlib.contextmanager
def _in_place_of_activation(layer: Any, recorder: _Recorder) -> Iterator[None]:
    """Past Keras's tracking of attributes, so that a layer that is an activation stays tracked."""
    attributes = vars(layer)
    before = attributes.get("activation")
    attributes["activation"] = recorder
    try:
        yield
    finally:
        if before is None:
            del attributes["activation"]
        else:
            attributes["activation"] = before
