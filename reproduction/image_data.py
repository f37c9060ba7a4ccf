"""Images of prepared data sets, for autoencoders and small CNNs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from keras_entropy import datasets
from reproduction.entries import Settings

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one size.

    Attributes:
        name: Name of the data set.
        data: Training and test images with their labels.
        reduced: Sentences that say how they differ from the paper's data set.
    """

    name: str
    data: datasets.Dataset
    reduced: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one image."""
        return tuple(self.data.x_train.shape[1:])


def images(settings: Settings, names: tuple[str, ...], train: int, test: int, side: int) -> Images:
    """The first images of a prepared data set.

    At the small scale, and without a folder in the settings, the digits of scikit-learn replace a missing set.

    Args:
        settings: How the entry is run.
        names: Names of the set and of parts of it. Only the small scale takes a part.
        train: Integer, number of training images.
        test: Integer, number of test images.
        side: Integer, height and width in pixels. Larger images are averaged down.

    Raises:
        FileNotFoundError: If the set is missing; the message has the command that prepares it.
    """
    folder, small, error = settings.data, settings.scale == "small", None
    if folder is not None and (folder / "tfds").is_dir():
        folder = folder / "tfds"
    for name in names if small else names[:1]:
        try:
            data = _prepared(name, folder, train, test)
        except FileNotFoundError as missing:
            error = error or missing
        else:
            part = () if name == names[0] else (f"The images are from {name}, a part of {names[0]}.",)
            return _images(name, data, train, test, side, part)
    if error is not None and (not small or settings.data is not None):
        raise error
    said = f"No prepared {names[0]} was found. The images are the digits of scikit-learn, 8 x 8, enlarged."
    data = _first(datasets.digits(), train, test)
    return _images("the digits of scikit-learn", data, train, test, side, (said,))


def _images(name: str, data: datasets.Dataset, train: int, test: int, side: int, said: tuple[str, ...]) -> Images:
    """The images in their size; a sentence says if there are fewer than asked for."""
    for split, there, asked in (("train", len(data.x_train), train), ("test", len(data.x_test), test)):
        if there < asked:
            said += (f"{name} has {there} {split} images, not {asked}.",)
    small = dataclasses.replace(data, x_train=resized(data.x_train, side), x_test=resized(data.x_test, side))
    return Images(name, small, said)


def _prepared(name: str, folder: Path | None, train: int, test: int) -> datasets.Dataset:
    try:
        return datasets.prepared(name, folder, f"train[:{train}]", f"test[:{test}]")
    except ValueError:  # TensorFlow Datasets rejects a slice that is longer than the set
        return _first(datasets.prepared(name, folder), train, test)


def _first(data: datasets.Dataset, train: int, test: int) -> datasets.Dataset:
    x_train, y_train, x_test, y_test = data
    return datasets.Dataset(x_train[:train], y_train[:train], x_test[:test], y_test[:test], data.class_names)


def resized(x: Array, side: int) -> Array:
    """Square images of another side.

    Args:
        x: Array of shape (n, height, width, channels), height equal to width.
        side: Integer, new height and width. Larger images are averaged over squares of pixels; smaller ones get
            repeated pixels and a black frame.

    Raises:
        ValueError: If the images are larger and `side` does not divide their side.
    """
    now, channels = x.shape[1], x.shape[3]
    if now >= side:
        if now % side:
            raise ValueError(f"`side` should divide {now}. Received: side={side}.")
        k = now // side
        return np.ascontiguousarray(x.reshape(len(x), side, k, side, k, channels).mean((2, 4), dtype=np.float32))
    k = side // now
    low = (side - k * now) // 2
    frame = (low, side - k * now - low)
    return np.pad(np.kron(x, np.ones((1, k, k, 1), x.dtype)), ((0, 0), frame, frame, (0, 0)))
