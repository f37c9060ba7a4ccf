"""Files of weights: those that Keras writes, and archives converted from other frameworks."""

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

from keras_entropy.models import safe_loading

Array = npt.NDArray[Any]

KERAS_SUFFIXES = (".weights.h5", ".h5", ".keras")
_UNREADABLE = (OSError, EOFError, KeyError, ValueError, TypeError, AttributeError, RuntimeError, zipfile.BadZipFile)
_LISTED = 6


def existing(path: str | os.PathLike[str]) -> Path:
    """Return `path` if there is such a file; raise `FileNotFoundError` otherwise."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"There is no file of weights {os.fspath(path)}. It may be a path relative to another folder."
        )
    return Path(path)


def load_keras(model: Any, path: str | os.PathLike[str]) -> None:
    """Load a file that Keras wrote (`.weights.h5`, `.h5`, `.keras`) into a model of the same layers.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a file that is damaged or holds the weights of other layers.
    """
    path = existing(path)
    try:
        with safe_loading.checked_weights(path) as file, warnings.catch_warnings():
            # For layers held twice, by files of older versions of Keras. What is missing is found below.
            warnings.filterwarnings("ignore", message="Skipping nested container")
            model.load_weights(file)
            stored = _number_of_arrays(file)
    except _UNREADABLE as error:
        # Keras goes on to print values and to list every layer.
        reason = re.split("List of objects that could not be loaded|Target variable:", str(error))[0]
        reason = textwrap.shorten(f"{type(error).__name__}: {reason}", 400)
        raise ValueError(
            f"{path} is damaged, or holds weights of other layers than {_words(model)}. {reason}"
        ) from error
    if stored not in (None, len(model.weights)):  # Keras passes over layers that only the file has
        raise ValueError(
            f"{path} holds weights of other layers than {_words(model)}. "
            f"Expected {len(model.weights)} arrays. Received: {stored}."
        )


def load_converted(model: Any, path: str | os.PathLike[str], head: str) -> None:
    """Load an `.npz` archive with the arrays `<layer>/kernel` and `<layer>/bias` of every layer, or nothing at all.

    A `/` in the archive's name of a layer is a `_` in Keras's.

    Args:
        model: a model whose layers' names have a `_` only there.
        path: of the archive.
        head: the layer that may have another number of outputs in the archive; it then stays as it is.

    Raises:
        FileNotFoundError: for a missing file.
        ValueError: for a file that is damaged, or an array that is missing, unknown or of another shape.
    """
    arrays = _read_archive(existing(path))
    variables = {f"{layer.name.replace('_', '/')}/{v.name}": v for layer in model.layers for v in layer.weights}
    if arrays.keys() != variables.keys():
        raise ValueError(
            f"{path} should hold the arrays of {_words(model)}. "
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
                f"{name} in {path} should be numbers of shape {expected}, for {_words(model)}. "
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
        raise ValueError(f"{path} is not a whole .npz archive of arrays. {reason}") from error


def _number_of_arrays(path: Path) -> int | None:
    """How many arrays of layers a file in Keras 3's format holds; None in the older format, where Keras counts."""
    import h5py  # type: ignore[import-untyped]

    if path.name.endswith(".weights.h5"):
        with h5py.File(path) as store:
            return _count(store)
    return None


def _count(store: Any) -> int:
    import h5py

    found: list[str] = []
    # Beside "layers" a file may hold the optimizer; the states of random generators are no weights.
    store["layers"].visititems(lambda name, item: found.append(name) if isinstance(item, h5py.Dataset) else None)
    return sum("seed_generator" not in name for name in found)


def _words(model: Any) -> str:
    return f"{model.name!r} with input {model.input_shape[1:]} and output {model.output_shape[1:]}"


def _listed(names: Collection[str]) -> str:
    shown = ", ".join(sorted(names)[:_LISTED]) or "none"
    return shown + (f" and {len(names) - _LISTED} more" if len(names) > _LISTED else "")
