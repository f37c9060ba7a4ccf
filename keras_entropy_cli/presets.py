"""Names that the commands know: data sets, models and entropy terms. The objects can be sent to other processes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_entropy import ConvCornerEntropy, ConvEntropy, DenseEntropy, TotalCorrelation, datasets, models
from keras_entropy.study.run_data import load
from keras_entropy_cli import user_file
from keras_entropy_cli.options import MODELS

TERMS = {kind.__name__: kind for kind in (ConvCornerEntropy, ConvEntropy, DenseEntropy, TotalCorrelation)}


@dataclasses.dataclass
class Choice:
    """The model and the data that two options of a command, or two entries of a file, name.

    Args:
        model: String. One of `MODELS`, or a function of the user as `user_file.function_of` takes it.
        dataset: String. As for `NamedData`, or a function of the user that returns training inputs and targets, and
            validation inputs and targets.
        data_dir: String. As for `NamedData`. Defaults to None.
        folder: Path. Folder in which files and modules of the user lie. Defaults to the working folder.
        model_option: String. Name of the option or entry, for errors. Defaults to `"--model"`.
        dataset_option: String. Name of the option or entry, for errors. Defaults to `"--dataset"`.

    Raises:
        FileNotFoundError: If there is no such file of the user.
        ValueError: If `model` is neither a known name nor a function, or code of the user cannot be imported.
    """

    model: str
    dataset: str
    data_dir: str | None = None
    folder: Path = Path()
    model_option: str = "--model"
    dataset_option: str = "--dataset"
    own_model: Callable[..., Any] | None = dataclasses.field(init=False, default=None)
    """The function of the user that builds the model, or None."""
    own_data: Callable[..., Any] | None = dataclasses.field(init=False, default=None)
    """The function of the user that returns the data, or None."""

    def __post_init__(self) -> None:
        if user_file.is_code(self.model):
            self.own_model = user_file.function_of(self.model, self.model_option, self.folder)
        elif self.model not in MODELS:
            raise ValueError(
                f"{self.model_option} should be {', '.join(MODELS)}, {user_file.FORMS}. Received: {self.model!r}."
            )
        if user_file.is_code(self.dataset):
            self.own_data = user_file.function_of(self.dataset, self.dataset_option, self.folder)

    @property
    def data(self) -> Callable[..., Any]:
        """The function that returns the data."""
        data = self.own_data or NamedData(self.dataset, self.data_dir)
        return Reconstruction(data) if self.model == "autoencoder" else data

    def arrays(self, seed: int) -> tuple[Any, Any, Any, Any]:
        """The data of a seed. An error in the user's file names its line."""
        if self.own_data is None:
            return load(self.data, seed)
        with user_file.located_errors(self.dataset, self.dataset_option, self.folder):
            return load(self.data, seed)

    def build(self, arrays: Any) -> Callable[..., Any]:
        """The function that builds the model. A named model fits the arrays; one of the user needs none."""
        if self.own_model is not None:
            return self.own_model
        x, y = arrays[:2]
        if not hasattr(x, "shape"):
            raise ValueError(
                f"{self.model_option} {self.model} needs one array of inputs. Received: {type(x).__name__} from "
                f"{self.dataset}. Give a model of your own: {user_file.FORMS}."
            )
        return NamedModel(self.model, tuple(x.shape[1:]), self._classes(y) if self.model == "cnn" else 0)

    def _classes(self, targets: Any) -> int:
        """The number of classes of the data."""
        if self.own_data is None:
            return NamedData(self.dataset, self.data_dir).classes
        labels = np.asarray(targets)
        if labels.ndim != 1 or labels.dtype.kind not in "iu" or labels.min() < 0:
            raise ValueError(
                f"{self.model_option} cnn needs labels, integers from 0. Received: targets of shape {labels.shape} and "
                f"type {labels.dtype} from {self.dataset}. Give a model of your own: {user_file.FORMS}."
            )
        return int(labels.max()) + 1


@dataclasses.dataclass(frozen=True)
class NamedData:
    """A data set by its name. Each process reads it once.

    Args:
        dataset: String. Name of the data set, or path of a folder of images, as in `keras_entropy.datasets.load`.
        data_dir: String. Folder of the prepared data sets. Defaults to None, the default one.
    """

    dataset: str
    data_dir: str | None = None

    def __call__(self, seed: int) -> tuple[Any, Any, Any, Any]:
        """Return training inputs and targets, validation inputs and targets. Only spirals depend on the seed."""
        data_seed = seed if self.dataset == "spirals" else 0
        x_train, y_train, x_test, y_test = _loaded(self.dataset, self.data_dir, data_seed)
        return x_train, y_train, x_test, y_test

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(_loaded(self.dataset, self.data_dir, 0).class_names)


@dataclasses.dataclass(frozen=True)
class Reconstruction:
    """Data whose inputs are the targets, as an autoencoder needs.

    Args:
        data: Function that returns the data, with or without an argument `seed`.
    """

    data: Callable[..., Any]

    def __call__(self, seed: int) -> tuple[Any, Any, Any, Any]:
        """Return training inputs twice and validation inputs twice."""
        x_train, _, x_val, _ = load(self.data, seed)
        return x_train, x_train, x_val, x_val


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
