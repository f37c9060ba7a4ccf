"""Weights of the networks that a study has trained, kept beside its records."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras

from keras_entropy import models
from keras_entropy.study.records import RunRecord
from keras_entropy.study.training import fingerprint

FOLDER = "kept"


class Keep(keras.callbacks.Callback):
    """Writes the weights that a run ends with, in a file named after their fingerprint, as it stands in the record."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = Path(folder)

    def on_train_end(self, logs: Any = None) -> None:
        """Called by Keras."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = fingerprint(self.model)
        temporary = self._folder / f".{name}.weights.h5"
        self.model.save_weights(temporary)
        temporary.replace(self._folder / f"{name}.weights.h5")


def keeping(folder: str) -> list[Any]:
    """The callbacks of a study whose weights are kept."""
    return [Keep(folder)]


def restored(model: Any, record: RunRecord, folder: Path) -> Any:
    """A model with the weights that a run ended with; None where they are not there."""
    path = folder / f"{record.final_weights}.weights.h5"
    if not record.ok or not path.exists():
        return None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")  # only the weights are wanted
        models.load_weights(model, path)
    return model
