"""Random values of a model's weights, drawn by the weights' own initializers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend
from keras_entropy.profile.linear_map import HostArray
from keras_entropy.profile.weights import MeasurableWeight


def random_values(weight: MeasurableWeight, seed: int, index: int) -> Callable[[Any], HostArray] | None:
    """Return a function that draws the variables of a weight; no model is made, and no global generator is used.

    Args:
        weight: A `MeasurableWeight`.
        seed: Integer, at least 0. Seed of the randomly initialised copy of the model.
        index: Integer. Position of the weight in its model.

    Returns:
        A function of a variable of the weight that returns a NumPy array of its shape, the same one for the same seed
        and backend. None if the initializer of a variable is unknown, or takes no seed.
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
    """The initializer with another seed; None if it takes no seed, because it may draw from a global generator."""
    config = initializer.get_config() if isinstance(initializer, keras.Initializer) else {}
    if "seed" in config:
        return type(initializer).from_config({**config, "seed": seed})
    return initializer if type(initializer).__module__.startswith("keras.") else None
