"""Callbacks of Keras that monitor a loss with the penalty."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import keras

from keras_entropy import _checks

PENALISED = ("loss", "val_loss")
"""Keys of the logs that contain the penalty."""


def watches_penalty(callback: Any) -> bool:
    """Whether a callback of Keras stops, saves or reduces the learning rate by a loss with the penalty."""
    monitors = isinstance(callback, keras.callbacks.EarlyStopping | keras.callbacks.ReduceLROnPlateau) or (
        isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_best_only
    )
    return monitors and callback.monitor in PENALISED


def warn_of_penalised_monitors(callbacks: Iterable[Any]) -> None:
    """Warn of the callbacks that watch the penalty."""
    for callback in callbacks:
        if watches_penalty(callback):
            name = type(callback).__name__
            warnings.warn(
                f'{name}(monitor="{callback.monitor}") monitors the task loss plus the penalty, so a change of the '
                f'penalty alone can trigger it. Use {name}(monitor="val_task_loss", mode="min").',
                _checks.EntropyWarning,
                stacklevel=2,
            )
