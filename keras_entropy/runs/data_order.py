"""The order of training data as a function of seed and epoch, so that a resumed run is bit-identical."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend


class Batches(keras.utils.PyDataset):
    """Training batches in an order that depends on the seed and the epoch alone.

    `begin` sets the order, and also that of a source of the backend that reads faster, if there is one.

    Args:
        x: Inputs: an array (n, ...), or a list or dict of arrays.
        y: Targets: as `x`, or None.
        size: Integer. Samples per batch.
        seed: Integer. Seed of the order.
        sample_weight: Array, list or dict, as for `fit`. Defaults to None.
        shuffle: Boolean. If False, the samples stay in the order of the arrays. Defaults to True.
    """

    def __init__(
        self, x: Any, y: Any, size: int, seed: int, *, sample_weight: Any = None, shuffle: bool = True
    ) -> None:
        super().__init__()
        self._parts, self._size, self._seed, self._shuffle = (x, y, sample_weight), size, seed, shuffle
        self._samples = len(keras.tree.flatten(x)[0])
        self._set_order: Callable[[Any], object] | None = None
        self.begin(epoch=0)

    def begin(self, epoch: int) -> None:
        """Draw the order of the samples of an epoch, counted from 0."""
        rows = np.arange(self._samples)
        self._order = np.random.default_rng((self._seed, epoch)).permutation(rows) if self._shuffle else rows
        if self._set_order is not None:
            self._set_order(self._order)

    def arguments_for(self, model: Any) -> dict[str, Any]:
        """Return the arguments of `fit` with which a model trains on these batches."""
        arrays = keras.utils.pack_x_y_sample_weight(*self._parts)
        found = _backend.framework().endless_batches(model, arrays, self._size)
        if found is None:
            return {"x": self}
        source, self._set_order = found
        return {"x": source, "steps_per_epoch": len(self)}

    def __len__(self) -> int:
        return math.ceil(self._samples / self._size)

    def __getitem__(self, index: int) -> Any:
        rows = self._order[index * self._size : (index + 1) * self._size]
        x, y, weight = (None if p is None else keras.tree.map_structure(lambda a: a[rows], p) for p in self._parts)
        return keras.utils.pack_x_y_sample_weight(x, y, weight)


class EpochOrder(keras.callbacks.Callback):
    """Callback that draws the random numbers of each epoch from the seed and the epoch.

    On torch, dropout and Keras's own shuffling draw from one shared generator; this callback seeds it at the start of
    each epoch. On the other backends each random layer has a generator with its own state, one of the model's
    variables.

    Args:
        seed: Integer. Seed of the run.
        batches: `Batches` to draw the order of each epoch for. Defaults to None.
    """

    def __init__(self, seed: int, batches: Batches | None = None) -> None:
        super().__init__()
        self._seed, self._batches = seed, batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the order of the batches and seed the shared generator."""
        if self._batches is not None:
            self._batches.begin(epoch)
        _backend.framework().seed_shared_generator(self._seed * 1_000_003 + epoch)


def ordered(kwargs: dict[str, Any], seed: int, model: Any) -> tuple[dict[str, Any], Batches | None]:
    """Put arrays among the arguments of `fit` into batches whose order depends on the seed and the epoch alone.

    Args:
        kwargs: Arguments of `keras.Model.fit` by name.
        seed: Integer. Seed of the order.
        model: The model to train.

    Returns:
        The new arguments and the batches; the old arguments and None for other data.
    """
    x, y, weight = (kwargs.get(name) for name in ("x", "y", "sample_weight"))
    parts = [part for part in (x, y, weight) if part is not None]
    if x is None or not all(map(_are_arrays, parts)):
        return kwargs, None
    x, y, weight = map(_as_arrays, (x, y, weight))
    parts = [part for part in (x, y, weight) if part is not None]
    if kwargs.get("steps_per_epoch") or kwargs.get("shuffle") == "batch":
        return kwargs, None
    taken = ("x", "y", "sample_weight", "shuffle", "batch_size", "validation_split")
    rest = {name: value for name, value in kwargs.items() if name not in taken}
    size = kwargs.get("batch_size") or 32
    split = kwargs.get("validation_split")
    if split and rest.get("validation_data") is None:  # the last samples, as in Keras
        count = math.floor(len(keras.tree.flatten(x)[0]) * (1 - split))
        held = tuple(keras.tree.map_structure(lambda array: array[count:], part) for part in parts)
        rest["validation_data"] = held
        x, y, weight = (
            None if part is None else keras.tree.map_structure(lambda array: array[:count], part)
            for part in (x, y, weight)
        )
    rest.setdefault("validation_batch_size", size)
    rest["validation_data"] = _validation(rest, model)
    batches = Batches(x, y, size, seed, sample_weight=weight, shuffle=kwargs.get("shuffle", True))
    # Keras refuses a class without a weight in the sources of a backend only.
    source = {"x": batches} if rest.get("class_weight") else batches.arguments_for(model)
    return {**rest, **source, "shuffle": False}, batches


def _validation(kwargs: dict[str, Any], model: Any) -> Any:
    """Return the validation data of `fit`: arrays in the form that the backend reads the fastest."""
    data = kwargs.get("validation_data")
    if not isinstance(data, tuple | list) or len(data) not in (2, 3) or kwargs.get("validation_steps"):
        return data
    if not all(part is None or _are_arrays(part) for part in data):
        return data
    arrays = keras.utils.pack_x_y_sample_weight(*map(_as_arrays, data))
    found = _backend.framework().batches(model, arrays, kwargs["validation_batch_size"])
    return data if found is None else found


def _as_arrays(part: Any) -> Any:
    """Return a part of the data with NumPy arrays, and with tuples for lists, which TensorFlow would stack."""
    return None if part is None else keras.tree.lists_to_tuples(keras.tree.map_structure(np.asarray, part))


def _are_arrays(x: Any) -> bool:
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(_is_array(leaf) for leaf in leaves)


def _is_array(leaf: Any) -> bool:
    """Whether an object is an array, a tensor or a table of numbers in the memory of the host."""
    if not (hasattr(leaf, "__array__") and hasattr(leaf, "shape")) or getattr(leaf, "is_cuda", False):
        return False
    return np.asarray(leaf).dtype.kind in "biufc"
