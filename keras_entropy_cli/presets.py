"""The data sets and models that the commands know by name, as functions that other processes can be sent."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras

from keras_entropy import datasets, models

MODELS = ("autoencoder", "cnn")


@dataclasses.dataclass(frozen=True)
class NamedData:
    """A data set by name, for an autoencoder with the inputs as targets. A process reads it once."""

    dataset: str
    data_dir: str | None
    reconstruct: bool

    def __call__(self, seed: int) -> tuple[Any, Any, Any, Any]:
        """Training and validation inputs and targets."""
        x_train, y_train, x_test, y_test = _loaded(self.dataset, self.data_dir, seed if self._is_drawn else 0)
        return (x_train, x_train, x_test, x_test) if self.reconstruct else (x_train, y_train, x_test, y_test)

    @property
    def classes(self) -> int:
        """How many there are."""
        return len(_loaded(self.dataset, self.data_dir, 0).class_names)

    @property
    def _is_drawn(self) -> bool:
        return self.dataset == "spirals"


@functools.lru_cache(maxsize=1)
def _loaded(dataset: str, data_dir: str | None, seed: int) -> datasets.Dataset:
    return datasets.load(dataset, data_dir, seed)


@dataclasses.dataclass(frozen=True)
class NamedModel:
    """A compiled model by name, with its sizes and its optimizer as arguments.

    Args:
        model: one of `MODELS`.
        shape: of a sample.
        classes: of the data, for a classifier.

    Raises:
        ValueError: for a cnn on samples that are no images.
    """

    model: str
    shape: tuple[int, ...]
    classes: int

    def __post_init__(self) -> None:
        if self.model == "cnn" and len(self.shape) != 3:
            raise ValueError(f"The model cnn needs images. Received: samples of shape {self.shape}. Use autoencoder.")

    def __call__(
        self,
        learning_rate: float = 1e-3,
        optimizer: str = "adam",
        width: int = 60,
        filters: int = 32,
        blocks: int = 2,
    ) -> Any:
        """The model; `width` is of an autoencoder, `filters` and `blocks` are of a cnn."""
        if self.model == "cnn":
            model = models.cnn(self.shape, self.classes, (filters,) * blocks)
            loss, metrics = "sparse_categorical_crossentropy", ["accuracy"]
        else:
            model = models.autoencoder(self.shape, width)
            loss, metrics = "mse", []
        step = keras.optimizers.get(optimizer)
        step.learning_rate = learning_rate
        model.compile(step, loss, metrics=metrics)
        return model
