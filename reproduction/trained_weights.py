"""Trained weights: those that the runs of a study end with, and files of pretrained ones."""

from __future__ import annotations

import os
import re
import warnings
from pathlib import Path
from typing import Any

import keras

from keras_entropy import models
from keras_entropy.study import RunRecord, fingerprint

KEPT, PRETRAINED = "kept", "weights"
"""Folder of the weights of a study, beside it, and folder of pretrained weights in that of the data."""
FORMATS = (".h5", ".keras")
"""Files that `models.by_name` reads for every architecture."""


class SaveFinalWeights(keras.callbacks.Callback):
    """Saves the weights that a run ends with, in a file named after their fingerprint, which its record holds."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def on_train_end(self, logs: Any = None) -> None:
        """Called by Keras at the end of training."""
        self._folder.mkdir(parents=True, exist_ok=True)
        name = fingerprint(self.model)
        temporary = self._folder / f".{name}.weights.h5"
        self.model.save_weights(temporary)
        temporary.replace(self._folder / f"{name}.weights.h5")


class WeightSaving:
    """Makes the callbacks of a study that saves its weights. The study stays the same if the folder is moved.

    Args:
        folder: Folder of the weights.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def __call__(self) -> list[Any]:
        """The callbacks of a run."""
        return [SaveFinalWeights(self._folder)]

    def describe(self) -> dict[str, Any]:
        """What distinguishes the study from one without these callbacks: nothing."""
        return {}


def restored(model: Any, record: RunRecord, folder: Path) -> Any:
    """A model with the weights that a run ended with.

    Args:
        model: Model of the run's architecture, which gets the weights.
        record: Record of the run.
        folder: Folder of the weights.

    Returns:
        The model, or None if the run did not finish.

    Raises:
        FileNotFoundError: If the file of the weights is missing.
    """
    if not record.ok:
        return None
    path = folder / f"{record.final_weights}.weights.h5"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: the final weights of arm {record.arm!r}, seed {record.seed}. Start anew with "
            "--overwrite, or in another folder."
        )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")  # only the weights are needed
        models.load_weights(model, path)
    return model


def pretrained(data: Path | None, name: str, suffixes: tuple[str, ...] = FORMATS) -> Path | None:
    """The first file with pretrained weights of an architecture.

    Args:
        data: Folder of the data. Its folder `weights` is searched first, then itself, then Keras's folder of models.
        name: Name of the architecture. The file's name starts with it; files without the top layers do not count.
        suffixes: Suffixes of the file. Defaults to `FORMATS`.

    Returns:
        The path, or None if there is no such file.
    """
    places = [] if data is None else [Path(data) / PRETRAINED, Path(data)]
    ends = "|".join(map(re.escape, suffixes))
    own = re.compile(rf"{re.escape(name)}([^0-9A-Za-z].*)?({ends})")  # not resnet50v2 for resnet50
    for place in (*places, _keras_models()):
        found = sorted(p for p in place.glob(f"{name}*") if own.fullmatch(p.name) and "notop" not in p.name)
        if found:
            return found[0]
    return None


def _keras_models() -> Path:
    """Folder of the weights that Keras has downloaded."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"
