"""The images of prepared sets that autoencoders and small CNNs run on."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from keras_entropy import datasets
from keras_entropy.study.arm_groups import plural
from keras_entropy.study.records import RunRecord
from reproduction.entries import Settings

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Images:
    """Images of one size.

    Attributes:
        name: of the data set.
        data: training and test images with their labels.
        reduced: what they have less of than the set of the paper, each a sentence.
    """

    name: str
    data: datasets.Dataset
    reduced: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image."""
        return tuple(self.data.x_train.shape[1:])


def images(settings: Settings, names: tuple[str, ...], train: int, test: int, side: int) -> Images:
    """The first images of a prepared set.

    Args:
        settings: of the run. Without a folder of data, the small scale takes the digits of scikit-learn instead.
        names: of the set; further ones are parts of it, which the small scale may take.
        train: how many images to train on.
        test: how many to validate on.
        side: pixels of a side; larger images are averaged down.

    Raises:
        FileNotFoundError: for a folder without the set; it says what to run.
    """
    folder = settings.data
    if folder is not None and (folder / "tfds").is_dir():
        folder = folder / "tfds"
    error = None
    for name in names if settings.scale == "small" else names[:1]:
        try:
            data = _prepared(name, folder, train, test)
        except FileNotFoundError as missing:
            error = error or missing
        else:
            own, there = Images(name, _changed(data, side)), {"train": train, "test": test}
            return dataclasses.replace(own, reduced=(*_part(name, names), *_fewer(own, there)))
    if settings.scale != "small" or settings.data is not None:
        assert error is not None
        raise error
    digits = datasets.digits()
    own = Images("the digits of scikit-learn", _changed(_first(digits, train, test), side))
    said = f"No prepared {names[0]} was found: these are the digits of scikit-learn, 8 x 8, enlarged."
    return dataclasses.replace(own, reduced=(said, *_fewer(own, {"train": train, "test": test})))


def _prepared(name: str, folder: Path | None, train: int, test: int) -> datasets.Dataset:
    try:
        return datasets.prepared(name, folder, f"train[:{train}]", f"test[:{test}]")
    except ValueError:  # a slice of more images than there are is refused
        return _first(datasets.prepared(name, folder), train, test)


def _part(name: str, names: tuple[str, ...]) -> tuple[str, ...]:
    return () if name == names[0] else (f"The images are from {name}, a part of {names[0]}.",)


def _fewer(own: Images, asked: dict[str, int]) -> tuple[str, ...]:
    there = {"train": len(own.data.x_train), "test": len(own.data.x_test)}
    return tuple(
        f"{own.name} has {there[split]} {split} images, not {number}."
        for split, number in asked.items()
        if there[split] < number
    )


def _first(data: datasets.Dataset, train: int, test: int) -> datasets.Dataset:
    x_train, y_train, x_test, y_test = data
    return datasets.Dataset(x_train[:train], y_train[:train], x_test[:test], y_test[:test], data.class_names)


def _changed(data: datasets.Dataset, side: int) -> datasets.Dataset:
    return dataclasses.replace(data, x_train=resized(data.x_train, side), x_test=resized(data.x_test, side))


def resized(x: Array, side: int) -> Array:
    """Square images with another side: means of squares of pixels, or repeated pixels in a black frame."""
    now, channels = x.shape[1], x.shape[3]
    if now >= side:
        if now % side:
            raise ValueError(f"`side` should divide {now}. Received: {side}.")
        k = now // side
        return np.ascontiguousarray(x.reshape(len(x), side, k, side, k, channels).mean((2, 4), dtype=np.float32))
    k = side // now
    low = (side - k * now) // 2
    frame = (low, side - k * now - low)
    return np.pad(np.kron(x, np.ones((1, k, k, 1), x.dtype)), ((0, 0), frame, frame, (0, 0)))


def effort(records: Iterable[RunRecord]) -> str:
    """What all runs took, in one sentence: also those that earlier calls trained, or another folder."""
    runs = list(records)
    seconds = math.fsum(run.cpu_seconds for run in runs if math.isfinite(run.cpu_seconds))
    return f"{plural(len(runs), 'run')} in all, which took {seconds:.0f} s of processor time."
