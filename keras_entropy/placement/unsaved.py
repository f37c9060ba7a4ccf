"""The regularizers of a model that Keras drops when it saves or clones the model, because its config lacks them."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterable, Iterator
from typing import Any

from keras_entropy import _keras
from keras_entropy.profile import MeasurableWeight

_MARK = "keras_entropy path"
"""Key of a config of a regularizer."""


def unsaved_terms(model: Any, weights: Iterable[MeasurableWeight]) -> dict[str, str]:
    """Find the weights whose regularizers the config of a model lacks.

    While configs are made, each regularizer puts a mark into its own, so the classes of the layers do not matter.

    Args:
        model: A built Keras model.
        weights: Weights of the model with regularizers.

    Returns:
        A dict of the path of each such weight to the name of the class whose config lacks its regularizer. It is empty
        if the model has no config: Keras raises an error then when it saves or clones the model.
    """
    by_path = {weight.path: weight for weight in weights}
    lacking: dict[str, str] = {}
    with _marked(by_path.values()):
        config = _config(model)
        if config is None:
            return {}
        known = {id(model): _marks(config)}
        lost = [path for path in by_path if path not in known[id(model)]]
        parents = _parents(model) if lost else {}
        for path in lost:
            owner = by_path[path].layer
            while path in _marks_of(owner, known):
                owner = parents[id(owner)]
            lacking[path] = type(owner).__name__
    return lacking


@contextlib.contextmanager
def _marked(weights: Iterable[MeasurableWeight]) -> Iterator[None]:
    """Replace the regularizers of the weights' layers by copies whose config has the path of the weight."""
    own: list[tuple[Any, str, Any]] = []
    try:
        for weight in weights:
            layer, name = weight.layer, weight.regularizer_attribute
            if hasattr(layer, name):
                regularizer = getattr(layer, name)
                own.append((layer, name, regularizer))
                setattr(layer, name, _with_mark(regularizer, weight.path))
        yield
    finally:
        for layer, name, regularizer in own:
            setattr(layer, name, regularizer)


def _with_mark(regularizer: Any, path: str) -> Any:
    marked = copy.copy(regularizer)
    marked.get_config = lambda: {**regularizer.get_config(), _MARK: path}
    return marked


def _config(owner: Any) -> Any:
    """The config of a layer or model; None if it has none."""
    try:
        with warnings.catch_warnings(action="ignore"):  # of a lambda: nothing is saved
            return owner.get_config()
    except Exception:  # NotImplementedError of Keras; a get_config of the user may raise anything
        return None


def _marks(config: Any) -> frozenset[str]:
    """The paths of the weights whose regularizers are in a config."""
    found, stack = set(), [config]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            found |= {item[_MARK]} if _MARK in item else set()
            stack += item.values()
        elif isinstance(item, list | tuple):
            stack += item
    return frozenset(found)


def _marks_of(owner: Any, known: dict[int, frozenset[str]]) -> frozenset[str]:
    """The paths of the weights whose regularizers are in the config of a layer or model."""
    if id(owner) not in known:
        known[id(owner)] = _marks(_config(owner))
    return known[id(owner)]


def _parents(model: Any) -> dict[int, Any]:
    return {id(inner): layer for layer in _keras.layers_of(model) for inner in _keras.sublayers(layer)}
