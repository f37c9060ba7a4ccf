"""The order of training data as a function of seed and epoch alone, so that a run that goes on is the same run."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend


class Batches(keras.utils.PyDataset):
    """Training batches in an order that depends on the seed and the epoch.

    Args:
        x: inputs, an array or several in a list or dict.
        y: targets, likewise, or None.
        size: of a batch.
        seed: of the order.
        sample_weight: as of `fit`.
        shuffle: False for the order of the data.
    """

    def __init__(
        self, x: Any, y: Any, size: int, seed: int, *, sample_weight: Any = None, shuffle: bool = True
    ) -> None:
        super().__init__()
        self._parts, self._size, self._seed, self._shuffle = (x, y, sample_weight), size, seed, shuffle
        self._samples = len(keras.tree.flatten(x)[0])
        self.begin(epoch=0)

    def begin(self, epoch: int) -> None:
        """Set the order of an epoch."""
        rows = np.arange(self._samples)
        self._order = np.random.default_rng((self._seed, epoch)).permutation(rows) if self._shuffle else rows

    def __len__(self) -> int:
        return math.ceil(self._samples / self._size)

    def __getitem__(self, index: int) -> Any:
        rows = self._order[index * self._size : (index + 1) * self._size]
        x, y, weight = (None if p is None else keras.tree.map_structure(lambda a: a[rows], p) for p in self._parts)
        return keras.utils.pack_x_y_sample_weight(x, y, weight)


class EpochOrder(keras.callbacks.Callback):
    """Draws the random numbers of each epoch from the seed and the epoch.

    On torch dropout, and Keras's own shuffling, draw from one generator, which each epoch then seeds anew; on the other
    backends each layer's generator has a state of its own among the model's variables.

    Args:
        seed: of the run.
        batches: to be told which epoch it is.
    """

    def __init__(self, seed: int, batches: Batches | None = None) -> None:
        super().__init__()
        self._seed, self._batches = seed, batches

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras."""
        if self._batches is not None:
            self._batches.begin(epoch)
        _backend.framework().seed_shared_generator(self._seed * 1_000_003 + epoch)
