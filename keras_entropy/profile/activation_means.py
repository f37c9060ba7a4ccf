"""Activations measured on data: the entropy that they add, and how undecided their units are."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import functional
from keras_entropy._backend import Array
from keras_entropy.layers.dual import DualDense, expanded
from keras_entropy.profile.sample import SamplePass

Quantity = Callable[[Array], Array]
"""An elementwise function of pre-activations."""


class ActivationMeans:
    """Means over a sample of quantities of the inputs of activations.

    Args:
        sample_pass: `SamplePass`. The run on which they are taken.
        layers: Mapping of layers by name. Each has an attribute `activation`, which may be None.
    """

    def __init__(self, sample_pass: SamplePass, layers: Mapping[str, Any]) -> None:
        self._recorders = {
            name: _Recorder(quantities) for name, layer in layers.items() if (quantities := _quantities(layer))
        }
        for name, recorder in self._recorders.items():
            sample_pass.watch(layers[name], "activation", before=recorder.inputs)
            if "sigmoid" in recorder.quantities:
                sample_pass.watch(layers[name], "call", before=recorder.mask)

    def means(self) -> dict[str, dict[str, float]]:
        """Return a dict by name of dicts, empty for layers that the model did not call.

        `"activation"`: mean log slope in nats per unit, if the activation is elementwise; `"sigmoid"`: mean sigmoid
        entropy of a `DualDense` in bits per unit, over the positions that its mask includes.
        """
        return {
            name: {quantity: recorder.totals[quantity] / count for quantity, count in recorder.counts.items() if count}
            for name, recorder in self._recorders.items()
        }


class _Recorder:
    """Sums quantities of the inputs of an activation."""

    def __init__(self, quantities: Mapping[str, Quantity]) -> None:
        self.quantities = quantities
        self.totals = dict.fromkeys(quantities, 0.0)
        self.counts = dict.fromkeys(quantities, 0)
        self._mask: Array | None = None

    def inputs(self, z: Array, *_: Any, **__: Any) -> None:
        """Add the quantities of the inputs of the activation."""
        for name, quantity in self.quantities.items():
            values = keras.ops.convert_to_numpy(quantity(z))
            if name == "sigmoid" and self._mask is not None:  # as in the layer's own term
                counts = keras.ops.convert_to_numpy(expanded(self._mask, z))
                values = values[np.broadcast_to(counts, values.shape)]
            self.totals[name] += float(values.sum(dtype=np.float64))
            self.counts[name] += values.size

    def mask(self, *args: Any, **kwargs: Any) -> None:
        """Keep the mask that Keras gives to the `call` of the layer by name."""
        self._mask = kwargs.get("mask")


def _quantities(layer: Any) -> dict[str, Quantity]:
    found: dict[str, Quantity] = {}
    if layer.activation is not None and functional.is_elementwise(layer.activation):
        found["activation"] = functools.partial(functional.log_slope, activation=layer.activation)
    if isinstance(layer, DualDense):
        found["sigmoid"] = functional.sigmoid_entropy
    return found
