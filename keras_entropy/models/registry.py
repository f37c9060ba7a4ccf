"""Architectures by name."""

from __future__ import annotations

import difflib
import functools
import inspect
import os
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras

from keras_entropy import _checks
from keras_entropy.models import architectures, squeezenet_v1
from keras_entropy.models import weights as _weights


class _Own(NamedTuple):
    make: Callable[..., Any]
    input_shape: tuple[int, ...]
    classes: int | None


_OWN = {
    "autoencoder": _Own(architectures.autoencoder, (28, 28, 1), None),
    "cnn": _Own(architectures.cnn, (32, 32, 3), 10),
    "squeezenet": _Own(squeezenet_v1.squeezenet, (227, 227, 3), 1000),
    "unet": _Own(architectures.unet, (128, 128, 3), 1),
}


def names() -> list[str]:
    """List the names that `by_name` knows: the architectures of this package, then those of `keras.applications`.

    Returns:
        A list of strings.

    Examples:
        >>> from keras_entropy import models
        >>> models.names()[:4]
        ['autoencoder', 'cnn', 'squeezenet', 'unet']
    """
    return [*_OWN, *sorted(_applications())]


def by_name(
    name: str,
    input_shape: Sequence[int] | None = None,
    classes: int | None = None,
    weights: str | os.PathLike[str] | None = None,
) -> Any:
    """Make an architecture of this package or of `keras.applications` by its name.

    Args:
        name: String. One of `names()`; case, `-` and `_` do not matter: "vgg16", "mobilenet_v3_small".
        input_shape: Tuple of integers. Shape of one sample. Defaults to None, the shape of the architecture:
            (32, 32, 3) for `cnn`, (28, 28, 1) for `autoencoder`, (128, 128, 3) for `unet`, (227, 227, 3) for
            `squeezenet`.
        classes: Integer. Number of classes. Defaults to None, the number of the architecture: 10 for `cnn`, 1 for
            `unet`, 1000 for others.
        weights: `"imagenet"`: the weights that Keras downloads for an application, with their own input shape and
            classes; or the path of a file with the weights of the same model: `.weights.h5`, `.h5` or `.keras`, for
            `squeezenet` also an `.npz` archive of converted weights. Defaults to None, random weights.

    Returns:
        An uncompiled Keras model.

    Raises:
        FileNotFoundError: If the file of weights does not exist.
        ValueError: If the name is unknown, or the file of weights is damaged or does not fit the model.

    Examples:
        >>> from keras_entropy import models
        >>> models.by_name("CNN", (8, 8, 1)).output_shape
        (None, 10)
    """
    known = _resolve(name)
    own = _OWN.get(known)
    arguments: dict[str, Any] = {}
    if input_shape is not None:
        arguments["input_shape"] = tuple(input_shape)
    if classes is not None:
        arguments["classes"] = _checks.positive_integer("classes", classes)
    if weights is not None and weights != "imagenet":
        _weights.existing(_file_of_weights(known, weights))  # before the model is built
    if own is None:
        model = _applications()[known](**arguments, weights="imagenet" if weights == "imagenet" else None)
    else:
        model = _make_own(known, own, arguments, weights)
    if weights is not None and weights != "imagenet" and not _is_archive(weights):
        _weights.load_weights(model, weights)
    return model


def _make_own(name: str, own: _Own, arguments: dict[str, Any], weights: Any) -> Any:
    if weights == "imagenet":
        raise ValueError(f"`weights` should be None or a file for {name!r}: Keras has no ImageNet weights for it.")
    if own.classes is None and "classes" in arguments:
        raise ValueError(f"`classes` should be None for {name!r}: it has no classes. Received: {arguments['classes']}.")
    arguments = {"input_shape": own.input_shape, **arguments}
    if own.classes is not None:
        arguments.setdefault("classes", own.classes)
    if weights is not None and _is_archive(weights):
        arguments["weights"] = weights
    return own.make(**arguments)


def has_imagenet_weights(name: str) -> bool:
    """Whether Keras has ImageNet weights of an architecture of `names()`."""
    return name not in _OWN


def suffixes_of_weights(name: str) -> tuple[str, ...]:
    """How the names of files of weights may end, for an architecture of `names()`."""
    return (*_weights.KERAS_SUFFIXES, ".npz") if name == "squeezenet" else _weights.KERAS_SUFFIXES


def _file_of_weights(name: str, weights: Any) -> Any:
    suffixes = suffixes_of_weights(name)
    if not isinstance(weights, str | os.PathLike) or not str(weights).endswith(suffixes):
        choices = 'None, "imagenet"' if has_imagenet_weights(name) else "None"
        expected = f"{choices} or a file ending in {', '.join(suffixes)} for {name!r}"
        raise ValueError(_checks.message("weights", expected, weights))
    return weights


def _is_archive(weights: Any) -> bool:
    return str(weights).endswith(".npz")


def known_name(name: str) -> str | None:
    """Return the name in `names()` that `name` stands for, whatever its case, `-` and `_`; None if there is none."""
    return _table().get(_plain(name))


def similar_names(name: str) -> list[str]:
    """Return up to four names of `names()` that resemble `name`, the most similar first."""
    table = _table()
    return [table[match] for match in difflib.get_close_matches(_plain(name), table, n=4)]


def _table() -> dict[str, str]:
    # The architectures of this package come last, and so have precedence.
    return {_plain(known): known for known in reversed(names())}


def _resolve(name: Any) -> str:
    text = name if isinstance(name, str) else ""
    known = known_name(text)
    if known is not None:
        return known
    remedy = "`keras_entropy.models.names()` lists all names."
    close = similar_names(text)
    if close:
        remedy = f"Similar names: {', '.join(close)}. {remedy}"
    raise ValueError(_checks.message("name", "the name of an architecture", name, remedy))


def _plain(name: str) -> str:
    return name.lower().replace("-", "").replace("_", "")


@functools.cache
def _applications() -> dict[str, Callable[..., Any]]:
    """The functions of `keras.applications` that make a model."""
    taken = {"input_shape", "classes", "weights", "include_top"}
    found = {name: getattr(keras.applications, name) for name in dir(keras.applications) if not name.startswith("_")}
    return {
        name: make
        for name, make in found.items()
        if inspect.isfunction(make) and taken <= inspect.signature(make).parameters.keys()
    }
