"""The random twin of a model: the same weights, as their own initialisers would draw them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend
from keras_entropy.profile.keras_layers import HostArray
from keras_entropy.profile.weights import MeasurableWeight


def drawing(weight: MeasurableWeight, seed: int, index: int) -> Callable[[Any], HostArray] | None:
    """How the variables of a weight are drawn anew: no model is made, and no global generator is touched.

    Args:
        weight: of `measurable_weights`.
        seed: of the twin, at least 0.
        index: of the weight in its model.

    Returns:
        A function that gives for each variable of the weight an array of its shape, the same ones each time on one
        backend; None where the layer does not say how it initialises them, or its initialiser takes no seed.
    """
    initializers: dict[int, Any] = {}
    for i, value in enumerate((weight.linear_map.value, *weight.linear_map.others)):
        initializer = _initializer(weight, value, first=i == 0)
        state = np.random.SeedSequence([seed, index, i]).generate_state(1)[0]
        initializers[id(value)] = None if initializer is None else _reseeded(initializer, int(state) % 2**31)
        if initializers[id(value)] is None:
            return None

    def draw(variable: Any) -> HostArray:
        return _backend.to_host(initializers[id(variable)](tuple(variable.shape), dtype="float32"))

    return draw


def _initializer(weight: MeasurableWeight, variable: Any, first: bool) -> Any:
    if not isinstance(variable, keras.Variable):
        return None
    if first and weight.linear_map.initializer is not None:
        return keras.initializers.get(weight.linear_map.initializer)
    attributes = [name for name, value in vars(weight.layer).items() if value is variable]
    for name in (*attributes, variable.name):
        for stem in (name.removeprefix("_"), name.removesuffix("_kernel")):  # recurrent_kernel: recurrent_initializer
            found = getattr(weight.layer, f"{stem}_initializer", None)
            if found is not None:
                return keras.initializers.get(found)
    return None


def _reseeded(initializer: Any, seed: int) -> Any:
    """The initializer with another seed; None for one that takes no seed, and may draw from a global generator."""
    config = initializer.get_config() if isinstance(initializer, keras.Initializer) else {}
    if "seed" in config:
        return type(initializer).from_config({**config, "seed": seed})
    return initializer if type(initializer).__module__.startswith("keras.") else None
