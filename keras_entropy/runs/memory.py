"""The memory of training runs: what is freed, and what cannot be."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

import keras


@contextlib.contextmanager
def set_aside() -> Iterator[None]:
    """Exclude all objects that exist now from the garbage collections in this context.

    Each run of a study or a search ends with a collection, which frees its compiled steps. With TensorFlow's own
    objects, about a million, it would take longer than some epochs.
    """
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


def free() -> None:
    """Free the memory of a training that has ended.

    On TensorFlow the second collection frees objects that those of the first one held in C++, where Python's collector
    does not see them.
    """
    gc.collect()
    gc.collect()


def build_optimizer(model: keras.Model) -> None:
    """Create the optimizer's variables now: TensorFlow never frees the graph in which `fit` would create them."""
    if model.compiled and model.built and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)
