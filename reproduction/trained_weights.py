"""Weights of the networks that a study has trained, kept beside its records."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import keras

from keras_entropy import models
from keras_entropy.study.records import RunRecord
from keras_entropy.study.single_run import fingerprint

FOLDER = "kept"


class Keep(keras.callbacks.Callback):
    """Writes the weights that a run ends with, in a file named after their fingerprint, as it stands in the record."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def on_train_end(self, logs: Any = None) -> None:
        """Called by Keras."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = fingerprint(self.model)
        temporary = self._folder / f".{name}.weights.h5"
        self.model.save_weights(temporary)
        temporary.replace(self._folder / f"{name}.weights.h5")


class Keeping:
    """Makes the callbacks of a study whose weights are kept. In a folder of another name it is the same study.

    Args:
        folder: of the weights.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> list[Any]:
        """The callbacks of a run."""
        return [Keep(self._folder)]

    def describe(self) -> dict[str, Any]:
        """What makes another study of it: nothing."""
        return {}


def restored(model: Any, record: RunRecord, folder: Path) -> Any:
    """A model with the weights that a run ended with; None for a run that did not finish.

    Raises:
        FileNotFoundError: where they are lost.
    """
    if not record.ok:
        return None
    path = folder / f"{record.final_weights}.weights.h5"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing, with the weights that arm {record.arm!r}, seed {record.seed} ended with. Begin anew, "
            "with --overwrite or in another folder."
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")  # only the weights are wanted
        models.load_weights(model, path)
    return model
