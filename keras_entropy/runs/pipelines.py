"""TensorFlow's input pipelines, in processes that only train small models."""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras


def tune_none() -> None:
    """From now on the pipelines of this process are not tuned while they run.

    Each epoch of `fit` makes and ends pipelines, and the end of one waits for the thread that tunes it: up to seconds,
    where there are as many processes as cores. Arrays in memory leave nothing to be tuned. No result changes. It holds
    for the whole process, so that it is for processes of our own: those of a study and of the command.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    options = tf.data.experimental.AutotuneOptions
    usual = inspect.unwrap(options.__init__)

    @functools.wraps(usual)
    def untuned(self: Any) -> None:
        usual(self)
        self.enabled = False

    options.__init__ = untuned
