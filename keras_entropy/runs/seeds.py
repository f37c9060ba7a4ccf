"""The random numbers of a run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras

from keras_entropy import _keras


@contextlib.contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed all random numbers that Keras draws in this context.

    Keras draws the seeds of layers from Python's shared generator, as other threads of an executor do too: a worker of
    Dask that has just started draws to measure its disk. In this context they come from a generator of their own.

    Args:
        seed: Integer. The seed.
    """
    keras.utils.set_random_seed(seed)
    with _keras.default_seeds_from(seed):
        yield
