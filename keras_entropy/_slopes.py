"""What activations add to the entropy of a model's layers, measured on data."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from keras_entropy import _keras, functional
from keras_entropy._backend import Array

_ROWS = 128  # of the sample in one call of the model


class _Recorder:
    """Stands for the activation of a layer and keeps the mean log slope at what it is called with."""

    def __init__(self, activation: Any) -> None:
        self.activation = activation
        self.total = 0.0
        self.count = 0

    def __call__(self, z: Array) -> Array:
        values = keras.ops.convert_to_numpy(functional.log_slope(z, self.activation))
        self.total += float(values.sum(dtype=np.float64))
        self.count += values.size
        return self.activation(z)


def mean_log_slopes(model: Any, layers: dict[str, Any], sample: Any) -> dict[str, float]:
    """The mean log slope of the activation of each layer over a sample, with the model in inference mode.

    Args:
        model: a built Keras model.
        layers: layers of the model by name, each with an attribute `activation`.
        sample: inputs of the model, as arrays (n, ...), alone or in a list or dict.

    Returns:
        Nats per unit by name, for the layers whose activation is elementwise and that the model called.
    """
    recorders = {
        name: _Recorder(layer.activation)
        for name, layer in layers.items()
        if functional.is_elementwise(layer.activation)
    }
    with contextlib.ExitStack() as stack:
        for name, recorder in recorders.items():
            stack.enter_context(_in_place_of_activation(layers[name], recorder))
        for start in range(0, len(keras.tree.flatten(sample)[0]), _ROWS):
            infer_rows(model, sample, start)
    return {name: recorder.total / recorder.count for name, recorder in recorders.items() if recorder.count}


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
