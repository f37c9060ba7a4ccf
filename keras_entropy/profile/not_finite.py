"""Weights with NaN or infinite values, also those of which a profile has no record otherwise."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend
from keras_entropy.profile.layer_weights import own_variables
from keras_entropy.profile.record import NOT_FINITE
from keras_entropy.profile.weights import MeasurableWeight, SkippedWeight, layers_by_path


def not_finite(values: Iterable[Any]) -> str | None:
    """Count the NaN and infinite values of variables or arrays; None if there are none."""
    arrays = [_backend.to_host(value).reshape(-1) for value in values]
    counts = {"NaN": 0, "infinite": 0}
    for array in arrays:
        if array.dtype.kind in "fc":
            counts["NaN"] += int(np.isnan(array).sum())
            counts["infinite"] += int(np.isinf(array).sum())
    found = " and ".join(f"{count} {name}" for name, count in counts.items() if count)
    return f"{NOT_FINITE}{found} of {sum(array.size for array in arrays)} values" if found else None


def shifts_not_finite(model: Any, weights: Sequence[MeasurableWeight | SkippedWeight]) -> list[SkippedWeight]:
    """List the biases and other shifts that are not finite, which `inventory` leaves out.

    Args:
        model: A built Keras model or layer.
        weights: What `inventory` lists of it.

    Returns:
        A list of `SkippedWeight`, in the order of the layers.
    """
    listed = {id(variable) for weight in weights for variable in weight.variables}
    taken = {weight.path for weight in weights}
    found = []
    outermost = "" if isinstance(model, keras.Model) else model.name
    for path, layer in {outermost: model, **layers_by_path(model)}.items():
        for name, variable in own_variables(layer).items():
            where = "/".join(filter(None, (path, name)))
            reason = None if id(variable) in listed or where in taken else not_finite([variable])
            if reason is not None:
                found.append(SkippedWeight(where, layer, tuple(variable.shape), reason, path, variable))
    return found
