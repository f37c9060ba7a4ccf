"""Names that the commands know: data sets, models and entropy terms. The objects can be sent to other processes."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import keras

from keras_entropy import ConvCornerEntropy, ConvEntropy, DenseEntropy, TotalCorrelation, datasets, models
from keras_entropy_cli.options import Model

MODELS = tuple(sorted(model.value for model in Model))
TERMS = {kind.__name__: kind for kind in (ConvCornerEntropy, ConvEntropy, DenseEntropy, TotalCorrelation)}


@dataclasses.dataclass(frozen=True)
class NamedData:
    """A data set by its name. Each process reads it once.

    Args:
        dataset: String. Name of the data set, or path of a folder of images, as in `keras_entropy.datasets.load`.
        data_dir: String. Folder of the prepared data sets; None for the default one.
        reconstruct: Boolean. Whether the inputs are the targets, as an autoencoder needs.
    """

    dataset: str
    data_dir: str | None
    reconstruct: bool

    def __call__(self, seed: int) -> tuple[Any, Any, Any, Any]:
        """Return training inputs and targets, validation inputs and targets. Only spirals depend on the seed."""
        data_seed = seed if self.dataset == "spirals" else 0
        x_train, y_train, x_test, y_test = _loaded(self.dataset, self.data_dir, data_seed)
        return (x_train, x_train, x_test, x_test) if self.reconstruct else (x_train, y_train, x_test, y_test)

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(_loaded(self.dataset, self.data_dir, 0).class_names)


@functools.lru_cache(maxsize=1)
def _loaded(dataset: str, data_dir: str | None, seed: int) -> datasets.Dataset:
    return datasets.load(dataset, data_dir, seed)


@dataclasses.dataclass(frozen=True)
class NamedModel:
    """A function that builds and compiles a model, by the model's name.

    Args:
        model: String. One of `MODELS`.
        shape: Tuple of integers. Shape of a sample.
        classes: Integer. Number of classes, for a classifier.

    Raises:
        ValueError: If the model is a cnn and the samples are not images.
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
        """Build the model. An autoencoder takes `width`; a cnn takes `filters` and `blocks`."""
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
