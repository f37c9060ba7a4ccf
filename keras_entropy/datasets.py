"""Data sets as arrays: images are float32 (n, height, width, channels) in [0, 1], labels are int32 (n,).

Sources:
    Zhang (2021): Correlation between entropy and generalizability in a neural network (the spirals).
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
import sys
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from keras_entropy import _checks, _files, _optional
from keras_entropy._checks import printable as _text

Array = np.ndarray[Any, Any]
PathLike = str | os.PathLike[str]

_MOST_PIXELS = 2**26
"""Pixels of the largest image that is read: 0.8 GB as float32."""

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp")


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Training and test data. Unpacks as `x_train, y_train, x_test, y_test`.

    Attributes:
        x_train, x_test: float32 arrays; the first axis is that of the samples.
        y_train, y_test: int32 arrays: labels (n,), or masks (n, height, width).
        class_names: Tuple of strings. The name of each label; empty if the labels have no names.
    """

    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    class_names: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Array]:
        return iter((self.x_train, self.y_train, self.x_test, self.y_test))


def load(name: str, data_dir: PathLike | None = None, seed: int = 0) -> Dataset:
    """Load a data set by name.

    Args:
        name: String. `"digits"`, `"spirals"`, the name of a prepared TensorFlow Datasets set such as `"mnist"` or
            `"cifar10"`, or the path of an image folder.
        data_dir: Folder of the prepared sets, see `prepared`.
        seed: Integer. Seed of the spirals. Defaults to 0.

    Returns:
        A `Dataset`.

    Raises:
        FileNotFoundError: If there is no such data set. The message says how to prepare it.
        OSError: If the files of a prepared set are damaged.
        ValueError: For an invalid `seed`, and for images that have several sizes or no labels.
        ModuleNotFoundError: If the extra `data` is not installed; only spirals need none.

    Examples:
        >>> from keras_entropy import datasets
        >>> datasets.load("spirals").class_names
        ('0', '1')
    """
    if name == "digits":
        return digits()
    if name == "spirals":
        return spirals(seed)
    if (Path(name) / "train").is_dir():
        return image_folder(name)
    if Path(name).is_absolute():
        raise FileNotFoundError(f"There is no image folder {_text(name)}: it should hold `train` and `test`.")
    return prepared(name, data_dir)


def digits() -> Dataset:
    """Load the 1797 handwritten digits that ship with scikit-learn.

    Returns:
        A `Dataset`: images (n, 8, 8, 1) of 10 classes, 1437 for training and 360 for testing. The split is
        stratified by class and always the same.

    Raises:
        ModuleNotFoundError: If the extra `data` is not installed.

    Examples:
        >>> from keras_entropy import datasets
        >>> x_train, y_train, x_test, y_test = datasets.digits()
        >>> x_train.shape, y_train.shape, x_test.shape
        ((1437, 8, 8, 1), (1437,), (360, 8, 8, 1))
    """
    _optional.require("sklearn", extra="data")
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    images, labels = load_digits(return_X_y=True)
    x = (images / 16).astype(np.float32).reshape(-1, 8, 8, 1)
    x_train, x_test, y_train, y_test = train_test_split(x, labels, test_size=0.2, stratify=labels, random_state=0)
    names = tuple(str(label) for label in range(10))
    return Dataset(x_train, y_train.astype(np.int32), x_test, y_test.astype(np.int32), names)


def spirals(seed: int, points: int = 20, noise: float = 0.1) -> Dataset:
    """Draw two spiral arms in the plane (Zhang, 2021, eq. 7).

    The radius r is uniform on [1, 5], the angle is 2 r + pi y for label y, and Gaussian noise is added to each
    coordinate.

    Args:
        seed: Integer from 0 to 2**32 - 1. The same seed gives the same points.
        points: Integer. Points of each arm, in the training set and in the test set. Defaults to 20.
        noise: Float. Standard deviation of the noise in each coordinate. Defaults to 0.1.

    Returns:
        A `Dataset`: x (2 * points, 2), labels 0 and 1.

    Raises:
        TypeError, ValueError: For an invalid argument.

    Examples:
        >>> from keras_entropy import datasets
        >>> datasets.spirals(seed=0).x_train.shape
        (40, 2)
    """
    points = _checks.positive_integer("points", points)
    noise = _checks.non_negative("noise", noise)
    generator = np.random.default_rng(_checks.seed("seed", seed))

    def arms() -> tuple[Array, Array]:
        labels = np.repeat(np.arange(2, dtype=np.int32), points)
        r = generator.uniform(1, 5, labels.size)
        theta = 2 * r + np.pi * labels
        x = np.stack([r * np.cos(theta), r * np.sin(theta)], axis=1)
        return (x + generator.normal(0, noise, x.shape)).astype(np.float32), labels

    return Dataset(*arms(), *arms(), class_names=("0", "1"))


def mnist(data_dir: PathLike | None = None, train: str = "train", test: str = "test") -> Dataset:
    """Load MNIST, images (n, 28, 28, 1), from a prepared TensorFlow Datasets folder. See `prepared`."""
    return prepared("mnist", data_dir, train, test)


def cifar10(data_dir: PathLike | None = None, train: str = "train", test: str = "test") -> Dataset:
    """Load CIFAR-10, images (n, 32, 32, 3), from a prepared TensorFlow Datasets folder. See `prepared`."""
    return prepared("cifar10", data_dir, train, test)


def prepared(name: str, data_dir: PathLike | None = None, train: str = "train", test: str = "test") -> Dataset:
    """Load a labelled image set that TensorFlow Datasets has prepared. Nothing is downloaded.

    Args:
        name: String. Folder of the set in `data_dir`, with its configuration if it has one, such as `"mnist"`.
        data_dir: Folder of the prepared sets. Defaults to the environment variable `TFDS_DATA_DIR`, or to
            `~/tensorflow_datasets` without it.
        train: String. Training split in the notation of TensorFlow Datasets, such as `"train[:10000]"`. Defaults to
            `"train"`.
        test: String. Test split. Defaults to `"test"`.

    Returns:
        A `Dataset`. All images must have the same size.

    Raises:
        FileNotFoundError: If the set is not prepared. The message says how to prepare it.
        OSError: If files of the set are damaged.
        ValueError: For an unknown split, and for a set without labels.
        ModuleNotFoundError: If the extras `data` and `tensorflow` are not installed.

    Examples:
        >>> from keras_entropy import datasets
        >>> datasets.prepared("mnist", data_dir="/nowhere")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ...
        FileNotFoundError: No prepared data set 'mnist' in /nowhere...
    """
    data_dir = data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets"
    root = _files.local(data_dir, "data_dir").expanduser()
    versions = sorted((root / name).glob("*/dataset_info.json"), key=lambda info: _version(info.parent.name))
    if not versions:
        found = sorted({info.parents[1].relative_to(root).as_posix() for info in root.glob("*/*/dataset_info.json")})
        raise FileNotFoundError(
            f"No prepared data set {name!r} in {_text(root)} (found there: {_text(', '.join(found)) or 'none'}); "
            f"digits and spirals need no preparation. Run `tfds build {_text(name)} --data_dir {_text(root)}`, "
            "which needs TensorFlow, where there is a network, or name another folder (`data_dir`; --data-dir or "
            "--data of a command; or the environment variable TFDS_DATA_DIR)."
        )
    tfds = _tensorflow_datasets()
    folder = versions[-1].parent
    arrays: list[Array] = []
    try:
        builder = tfds.builder_from_directory(str(folder))
        for split in (train, test):
            data = builder.as_dataset(split=split, as_supervised=True, batch_size=-1)
            images, labels = tfds.as_numpy(data)
            arrays += [images.astype(np.float32) / 255, labels.astype(np.int32)]
        return _dataset(arrays, builder.info.features["label"].names)
    except (ValueError, MemoryError):  # of an argument, such as an unknown split, or of the machine
        raise
    except Exception as error:  # damaged files: TensorFlow's and protobuf's errors have no common class
        raise OSError(
            f"The prepared data set in {_text(folder)} could not be read: {type(error).__name__}: "
            f"{_first_line(error)}. "
            f"Prepare it again: remove the folder and run `tfds build {_text(name)} --data_dir {_text(root)}`."
        ) from error


def _first_line(error: Exception) -> str:
    return _text(next(iter(str(error).splitlines()), "")).strip().rstrip(".")


def image_folder(directory: PathLike, size: tuple[int, int] | None = None) -> Dataset:
    """Load photographs from `train/<class>/*` and `test/<class>/*`.

    Args:
        directory: Path of the folder that holds `train` and `test`.
        size: (height, width) to which the images are resized. Defaults to None: all images have the same size.

    Returns:
        A `Dataset`: RGB images (n, height, width, 3), labels in the alphabetical order of the classes.

    Raises:
        FileNotFoundError: If a folder is missing or holds no images.
        ValueError: If the images have several sizes and `size` is None, if a class of the test set is not in the
            training set, or if the folder holds masks.
        OSError: If a file is not a readable image. The message names it.
        ModuleNotFoundError: If the extra `data` is not installed.
    """
    directory = _files.local(directory, "directory")
    names = _folders(directory / "train")
    if set(names) == {"images", "masks"}:
        raise ValueError(f"{_text(directory)} holds images and masks, not classes of photographs. Name another folder.")
    arrays: list[Array] = []
    for split in ("train", "test"):
        root = directory / split
        unknown = set(_folders(root)) - set(names)
        if unknown:
            raise ValueError(
                _text(f"{root} has classes that {root.parent / 'train'} lacks: {', '.join(sorted(unknown))}.")
            )
        files = [(file, label) for label, name in enumerate(names) for file in _images(root / name, required=False)]
        if not files:
            raise FileNotFoundError(
                f"{_text(root)} holds no images ({', '.join(IMAGE_SUFFIXES)}) in its class folders."
            )
        arrays += [
            _read([file for file, _ in files], size),
            np.array([label for _, label in files], dtype=np.int32),
        ]
    return _dataset(arrays, names)


def segmentation_folder(directory: PathLike, size: tuple[int, int] | None = None) -> Dataset:
    """Load images from `<split>/images/*` and their class masks from files of the same name in `<split>/masks/*`.

    Args:
        directory: Path of the folder that holds `train` and `test`.
        size: (height, width) to which images are resized, and masks by nearest neighbour. Defaults to None: all have
            the same size.

    Returns:
        A `Dataset`: RGB images (n, height, width, 3) and masks (n, height, width) of class numbers.

    Raises:
        FileNotFoundError: If a folder is missing, or an image has no mask.
        ValueError: If the images have several sizes and `size` is None, or if a mask has several channels.
        OSError: If a file is not a readable image. The message names it.
        ModuleNotFoundError: If the extra `data` is not installed.
    """
    directory = _files.local(directory, "directory")
    arrays: list[Array] = []
    for split in ("train", "test"):
        root = directory / split
        images = _images(root / "images")
        masks = {mask.stem: mask for mask in _images(root / "masks")}
        missing = [image.name for image in images if image.stem not in masks]
        if missing:
            raise FileNotFoundError(_text(f"{root / 'masks'} has no mask for {missing[0]} ({len(missing)} in all)."))
        arrays += [_read(images, size), _read([masks[image.stem] for image in images], size, mask=True)]
    return _dataset(arrays, ())


def _dataset(arrays: list[Array], class_names: Iterable[str]) -> Dataset:
    x_train, y_train, x_test, y_test = arrays
    return Dataset(x_train, y_train, x_test, y_test, tuple(class_names))


def _read(files: list[Path], size: tuple[int, int] | None, mask: bool = False) -> Array:
    Image = _optional.require("PIL.Image", extra="data")  # noqa: N806

    pictures = []
    for file in files:
        with _opened(file) as image:
            picture = image if mask else image.convert("RGB")
            if size is not None:
                kind = Image.Resampling.NEAREST if mask else Image.Resampling.BILINEAR
                picture = picture.resize((size[1], size[0]), kind)
            pixels = np.asarray(picture)
        if mask and pixels.ndim != 2:
            raise ValueError(f"{_text(file)} should have one channel of class numbers. Received: mode {image.mode}.")
        pictures.append(pixels)
    shapes = sorted({picture.shape[:2] for picture in pictures})
    if len(shapes) > 1:
        raise ValueError(f"The images have several sizes, from {shapes[0]} to {shapes[-1]}. Pass size=(height, width).")
    stacked = np.stack(pictures)
    return stacked.astype(np.int32) if mask else stacked.astype(np.float32) / 255


@contextlib.contextmanager
def _opened(file: Path) -> Iterator[Any]:
    """Open an image, without the time and memory that a huge or hostile one would take.

    Raises:
        ValueError: If it has too many pixels.
        OSError: If it is not a readable image.
    """
    Image = _optional.require("PIL.Image", extra="data")  # noqa: N806

    if not file.is_file():  # a pipe would wait for its writer
        raise OSError(f"{_text(file)} is not a file. Remove it.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(file)
        with image:
            pixels = image.width * image.height
            if pixels <= _MOST_PIXELS:
                yield image
                return
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises many kinds of errors for damaged files
        raise OSError(
            f"{_text(file)} cannot be read as an image: {type(error).__name__}: {_first_line(error)}. Repair or remove "
            "it."
        ) from error
    most = _MOST_PIXELS / 1e6
    size = f"{pixels / 1e6:.0f} million pixels, and may have {most:.0f} million"
    raise ValueError(f"{_text(file)} has {size}. Scale it down.")


def _folders(root: Path) -> list[str]:
    if not root.is_dir():
        raise FileNotFoundError(f"There is no folder {_text(root)}.")
    return sorted(folder.name for folder in root.iterdir() if folder.is_dir() and not folder.name.startswith("."))


def _images(root: Path, required: bool = True) -> list[Path]:
    files = sorted(file for file in root.glob("[!.]*") if file.suffix.lower() in IMAGE_SUFFIXES)
    if required and not files:
        raise FileNotFoundError(f"{_text(root)} holds no images ({', '.join(IMAGE_SUFFIXES)}).")
    return files


def _version(name: str) -> tuple[int, ...]:
    return tuple(int(part) if part.isdigit() else -1 for part in name.split("."))


def _tensorflow_datasets() -> Any:
    loaded_here = "tensorflow" not in sys.modules
    tf = _optional.require("tensorflow", extra="data,tensorflow")
    tfds = _optional.require("tensorflow_datasets", extra="data,tensorflow")
    if loaded_here:  # TensorFlow only reads files here: leave the GPU to the backend
        tf.config.set_visible_devices([], "GPU")
    return tfds
