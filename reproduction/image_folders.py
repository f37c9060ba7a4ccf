"""Photographs and masks from folders. Without a folder, enlarged digits of scikit-learn replace them."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

import numpy as np

from keras_entropy import datasets
from keras_entropy.datasets import Dataset
from reproduction.entries import Settings
from reproduction.image_data import Array, resized

PHOTOGRAPHS, MASKS = "imagenette", "segmentation"


@dataclasses.dataclass(frozen=True)
class FolderData:
    """Data that each process of a study loads for itself.

    Attributes:
        folder: Folder of the images; None for the digits.
        load: Returns the `Dataset`; a process reads the files once.
    """

    folder: Path | None
    load: Callable[[], Dataset]

    @property
    def counts(self) -> tuple[int, int]:
        """Numbers of training and test images. Faulty data raise an error here, before the first run."""
        data = self.load()
        return len(data.x_train), len(data.x_test)


def photograph_data(settings: Settings, side: int, images: int | None) -> FolderData:
    """The photographs that the settings name; see `photographs`."""
    folder = find(settings, PHOTOGRAPHS)
    return FolderData(folder, functools.partial(photographs, _text(folder), side, images))


def mask_data(settings: Settings, height: int, width: int, images: int | None) -> FolderData:
    """The photographs with masks that the settings name; see `masks`."""
    folder = find(settings, MASKS)
    return FolderData(folder, functools.partial(masks, _text(folder), height, width, images))


def find(settings: Settings, name: str) -> Path | None:
    """The folder of an image set.

    Args:
        settings: How the entry is run. `data` names the folder, or one that holds it under `name`.
        name: Name of the set.

    Returns:
        The folder, or None if the settings name none.

    Raises:
        FileNotFoundError: If `data` holds no such set, or if the full scale has no `data`.
    """
    data = settings.data
    if data is None:
        if settings.scale == "full":
            raise FileNotFoundError(f"The full scale needs the set {name!r}. Name its folder with `data` (--data).")
        return None
    for folder in (Path(data) / name, Path(data)):
        if (folder / "train").is_dir():
            return folder.resolve()
    raise FileNotFoundError(
        f"{data} holds no data set: neither {Path(data) / name / 'train'} nor {Path(data) / 'train'} is a folder. "
        "Name a folder that holds one, or leave `data` out to use the digits of scikit-learn."
    )


@functools.lru_cache(maxsize=1)
def photographs(folder: str | None, side: int, images: int | None) -> Dataset:
    """Square photographs, their channels standardised by the training images.

    Args:
        folder: Folder with `train/CLASS` and `test/CLASS`; None for enlarged digits.
        side: Integer, height and width in pixels.
        images: Integer, number of training images, the same for each class; None for all.
    """
    found = _enlarged(side) if folder is None else datasets.image_folder(folder, (side, side))
    x, y, x_test, y_test = found
    kept = _balanced(y, images)
    x, y = x[kept], y[kept]
    mean, deviation = x.mean((0, 1, 2)), np.maximum(x.std((0, 1, 2)), 1e-6)
    return Dataset((x - mean) / deviation, y, (x_test - mean) / deviation, y_test, found.class_names)


@functools.lru_cache(maxsize=1)
def masks(folder: str | None, height: int, width: int, images: int | None) -> Dataset:
    """Photographs with binary masks of shape (n, height, width, 1).

    A mask of several classes becomes that of the class that covers most of the training images.

    Args:
        folder: Folder with `train` and `test`, each with `images` and `masks`; None for enlarged digits, whose strokes
            are the mask.
        height: Integer, height in pixels.
        width: Integer, width in pixels.
        images: Integer, number of training images; None for all.
    """
    if folder is None:
        side = min(height, width)
        x, _, x_test, _ = _enlarged(side)
        pad = ((0, 0), (0, height - side), (0, width - side), (0, 0))
        x, x_test = np.pad(x[:images], pad), np.pad(x_test[:60], pad)
        y, y_test = (v.mean(-1, keepdims=True) > 0.5 for v in (x, x_test))
        return Dataset(x, y.astype(np.float32), x_test, y_test.astype(np.float32))
    x, y, x_test, y_test = datasets.segmentation_folder(folder, (height, width))
    wanted = mask_class(y)
    y, y_test = ((v > 0 if wanted is None else v == wanted)[..., None].astype(np.float32) for v in (y, y_test))
    kept = slice(None) if images is None else np.linspace(0, len(x) - 1, min(images, len(x))).astype(int)
    return Dataset(x[kept], y[kept], x_test, y_test)


def mask_class(classes: Array) -> int | None:
    """The class that covers most pixels; None for at most two classes, where every number above 0 is the mask."""
    values, counts = np.unique(classes, return_counts=True)
    return int(values[np.argmax(counts)]) if len(values) > 2 else None


def _text(folder: Path | None) -> str | None:
    return None if folder is None else str(folder)


def _enlarged(side: int) -> Dataset:
    """The digits as images with three channels."""
    digits = datasets.digits()
    x, x_test = (np.repeat(resized(images, side), 3, axis=-1) for images in (digits.x_train, digits.x_test))
    return dataclasses.replace(digits, x_train=x, x_test=x_test)


def _balanced(labels: Array, images: int | None) -> Array:
    """Indices of the first images of each class."""
    if images is None or images >= len(labels):
        return np.arange(len(labels))
    classes = np.unique(labels)
    each = max(1, images // len(classes))
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:each] for label in classes]))
