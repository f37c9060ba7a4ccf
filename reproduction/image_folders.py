"""Photographs and masks of a reproduction: from folders, or made of the digits that ship with scikit-learn."""

from __future__ import annotations

import dataclasses
import functools
import os
import re
from pathlib import Path

import numpy as np

from keras_entropy import datasets
from keras_entropy.datasets import Array, Dataset
from reproduction.entries import Settings
from reproduction.image_data import resized

PHOTOGRAPHS, MASKS, WEIGHTS = "imagenette", "segmentation", "weights"


def find(settings: Settings, name: str) -> Path | None:
    """The folder of a set: that of the settings, or the one of that name in it; None where none is named.

    Raises:
        FileNotFoundError: if neither is there, or none is named for the full scale.
    """
    data = settings.data
    if data is None:
        if settings.scale == "full":
            raise FileNotFoundError(f"The full scale needs a set {name!r}. Name its folder with `data` (--data).")
        return None
    for folder in (Path(data) / name, Path(data)):
        if (folder / "train").is_dir():
            return folder.resolve()
    raise FileNotFoundError(
        f"There is no data set in {data}: neither {Path(data) / name / 'train'} nor {Path(data) / 'train'}. "
        "Name a folder that holds one, or leave `data` out for the digits that ship with scikit-learn."
    )


@functools.lru_cache(maxsize=1)  # a process reads the files once for all of its runs
def photographs(folder: str | None, side: int, images: int | None) -> Dataset:
    """Square photographs with standardised channels.

    Args:
        folder: with `train/<class>` and `test/<class>`; None for enlarged digits.
        side: of the images in pixels.
        images: how many to train on, drawn evenly from the classes; None for all.

    Returns:
        A `Dataset`; mean and deviation of its channels are those of the images to train on.
    """
    found = _enlarged(side) if folder is None else datasets.image_folder(folder, (side, side))
    x, y, x_test, y_test = found
    kept = _evenly(y, images)
    x, y = x[kept], y[kept]
    mean, deviation = x.mean((0, 1, 2)), np.maximum(x.std((0, 1, 2)), 1e-6)
    return Dataset((x - mean) / deviation, y, (x_test - mean) / deviation, y_test, found.class_names)


@functools.lru_cache(maxsize=1)
def masks(folder: str | None, height: int, width: int, images: int | None) -> Dataset:
    """Photographs with binary masks (n, height, width, 1).

    Masks of more than two classes become those of the class that covers most of the training images, whatever is not
    zero in masks of two.

    Args:
        folder: with `<split>/images` and `<split>/masks`; None for enlarged digits, whose strokes are the mask.
        height: in pixels.
        width: in pixels.
        images: how many to train on; None for all.
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
    """The class number that covers most; None for masks of at most two numbers, where all that is not 0 is meant."""
    values, counts = np.unique(classes, return_counts=True)
    return int(values[np.argmax(counts)]) if len(values) > 2 else None


def archive(data: Path | None, name: str, suffixes: tuple[str, ...]) -> Path | None:
    """The first file of trained weights whose name starts as that of an architecture; None if there is none.

    It is looked for in `data` and its folder `weights`, and where Keras keeps what it has downloaded.
    """
    places = [] if data is None else [Path(data) / WEIGHTS, Path(data)]
    ends = "|".join(map(re.escape, suffixes))
    own = re.compile(rf"{re.escape(name)}([^0-9A-Za-z].*)?({ends})")  # not its version 2
    for place in (*places, _keras_models()):
        found = sorted(p for p in place.glob(f"{name}*") if own.fullmatch(p.name) and "notop" not in p.name)
        if found:
            return found[0]
    return None


def _keras_models() -> Path:
    """Where Keras keeps the weights that it has downloaded."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def _enlarged(side: int) -> Dataset:
    """The digits as red, green and blue images."""
    digits = datasets.digits()
    x, x_test = (np.repeat(resized(images, side), 3, axis=-1) for images in (digits.x_train, digits.x_test))
    return dataclasses.replace(digits, x_train=x, x_test=x_test)


def _evenly(labels: Array, images: int | None) -> Array:
    """Indices of the first images of each class."""
    if images is None or images >= len(labels):
        return np.arange(len(labels))
    classes = np.unique(labels)
    each = max(1, images // len(classes))
    return np.sort(np.concatenate([np.flatnonzero(labels == label)[:each] for label in classes]))
