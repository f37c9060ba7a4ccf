"""Files of weights: those of Keras, and archives converted from other frameworks."""

from __future__ import annotations

import os
import re
import textwrap
import warnings
import zipfile
import zlib
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from keras_entropy import _checks, _files
from keras_entropy.models import safe_loading

Array = npt.NDArray[Any]

KERAS_SUFFIXES = (".weights.h5", ".h5", ".keras")
_UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile)
_LISTED = 6


def existing(path: str | os.PathLike[str]) -> Path:
    """Return `path` if it is a file; raise `FileNotFoundError` otherwise."""
    if not _files.local(path).is_file():
        raise FileNotFoundError(
            f"There is no file of weights {_checks.printable(os.fspath(path))}. Relative paths start at the working "
            "folder."
        )
    return Path(path)


def load_weights(model: Any, path: str | os.PathLike[str]) -> None:
    """Load a weight file of Keras, which need not be trusted, into a model with the same layers.

    Args:
        model: A built Keras model.
        path: Path of a `.weights.h5`, `.h5` or `.keras` file.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged, or has the weights of other layers.

    Examples:
        >>> import pathlib, tempfile
        >>> from keras_entropy import models
        >>> model = models.autoencoder((4,), width=2)
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     model.save_weights(pathlib.Path(folder, "a.weights.h5"))
        ...     models.load_weights(model, pathlib.Path(folder, "a.weights.h5"))
    """
    path = existing(path)
    try:
        with safe_loading.checked_weights(path) as file, warnings.catch_warnings():
            # Keras warns of layers that old files hold twice. The check below finds arrays that are missing.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            model.load_weights(file)
            stored = _number_of_arrays(file)
    except _files.WriteError:
        raise
    except _UNREADABLE as error:
        # After the reason, Keras prints values and lists every layer.
        reason = re.split("List of objects that could not be loaded|Target variable:", str(error))[0]
        reason = _checks.printable(textwrap.shorten(f"{type(error).__name__}: {reason}", 400))
        raise ValueError(
            f"{_checks.printable(path)} should have the weights of {_words(model)}. Received: a damaged "
            f"file, or the weights of other layers. Name a file that the same architecture has saved. {reason}"
        ) from error
    if stored not in (None, len(model.weights)):  # Keras ignores layers that only the file has
        raise ValueError(
            f"{_checks.printable(path)} should have the weights of {_words(model)}, {len(model.weights)} arrays. "
            f"Received: {stored} arrays, so it has the weights of other layers. Name a file that the same architecture "
            "has saved."
        )


def load_converted(model: Any, path: str | os.PathLike[str], head: str) -> None:
    """Load an `.npz` archive with the arrays `<layer>/kernel` and `<layer>/bias` of every layer.

    The name of a layer in the archive has a `/` for each `_` of its name in Keras. If an array does not fit, no weight
    of the model is changed.

    Args:
        model: A built Keras model.
        path: Path of the archive.
        head: String. Name of the layer that may have another number of outputs in the archive; it then keeps its
            weights.

    Raises:
        FileNotFoundError: If the file does not exist.
        ValueError: If the file is damaged, or an array is missing, unknown, or of another shape.
    """
    arrays = _read_archive(existing(path))
    variables = {f"{layer.name.replace('_', '/')}/{v.name}": v for layer in model.layers for v in layer.weights}
    if arrays.keys() != variables.keys():
        raise ValueError(
            f"{_checks.printable(path)} should have the arrays of {_words(model)}. "
            f"Missing: {_listed(variables.keys() - arrays.keys())}. "
            f"Unknown: {_listed(arrays.keys() - variables.keys())}."
        )
    outputs = arrays[f"{head}/kernel"].shape[-1:]
    fitting = {}
    for name, variable in variables.items():
        array, shape = arrays[name], tuple(variable.shape)
        is_head = name.startswith(f"{head}/")
        expected = (*shape[:-1], *outputs) if is_head else shape
        if array.shape != expected or array.dtype.kind not in "fiu":
            raise ValueError(
                f"{_checks.printable(f'{name} in {path}')} should be an array of numbers of shape {expected} for "
                f"{_words(model)}. "
                f"Received: {array.dtype} of shape {array.shape}."
            )
        if expected == shape:
            fitting[name] = array
    for name, array in fitting.items():
        variables[name].assign(array)


def _read_archive(path: Path) -> dict[str, Array]:
    try:
        if not zipfile.is_zipfile(path):
            raise ValueError("it is not a zip archive, or its end is missing")
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (*_UNREADABLE, zlib.error) as error:
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 400)
        raise ValueError(
            f"{_checks.printable(path)} is not an .npz archive of arrays, or is damaged. {_checks.printable(reason)}"
        ) from error


def _number_of_arrays(path: Path) -> int | None:
    """Count the weights in a file of Keras 3; None for the older format, whose arrays Keras counts itself."""
    import h5py  # type: ignore[import-untyped]

    if path.name.endswith(".weights.h5"):
        with h5py.File(path) as store:
            return _count(store)
    return None


def _count(store: Any) -> int:
    import h5py

    found: list[str] = []
    store.visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    # A file may also have an optimizer. States of random generators are not weights.
    return sum(not name.startswith("optimizer/") and "seed_generator" not in name for name in found)


def _words(model: Any) -> str:
    if not hasattr(model, "input_shape"):  # a class of its own
        return repr(model.name)
    return f"{model.name!r} with input {model.input_shape[1:]} and output {model.output_shape[1:]}"


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_LISTED]) or "none"
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
