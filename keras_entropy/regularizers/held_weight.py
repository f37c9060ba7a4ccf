"""The weight on which Keras calls a term, as its layer holds it: its axes, its heads or gates, its adapters."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol

import keras

from keras_entropy import _keras
from keras_entropy._backend import Array


class HeldWeight(Protocol):
    """What a term asks of a weight; a `MeasurableWeight` of `profile` answers."""

    @property
    def layer(self) -> Any:
        """The layer that holds the weight."""

    @property
    def layer_arguments(self) -> dict[str, Any]:
        """Layout, strides, dilation and groups of the layer."""

    @property
    def adapters(self) -> tuple[Any, ...]:
        """The two low-rank adapters of the weight, or none."""

    def tensor(self, x: Array) -> Array:
        """The weight as a tensor, merged with its adapters; `x` is its value where it has none."""

    def kernels(self, kernel: Array) -> list[Array]:
        """The matrices or convolutions that a kernel consists of: its heads, blocks or gates."""


Description = HeldWeight | str | None
"""A weight; the reason why no term can measure it; or None for a weight that nothing is known about."""

# `profile` knows the layers and is above this package, so it says here how to describe a variable of a layer.
_describe: list[Callable[[Any, Any, int | None], Description]] = []

# By the id of a variable. The layer that owns the variable keeps it alive.
_OWNERS: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
_HEAD_AXES: weakref.WeakKeyDictionary[Any, int] = weakref.WeakKeyDictionary()


def describe_with(function: Callable[[Any, Any, int | None], Description]) -> None:
    """Describe weights with a function of a layer, its variable and the axis of its attention heads."""
    _describe[:] = [function]


def weight_of(x: Array, regularizer: keras.Regularizer) -> tuple[HeldWeight, Any] | None:
    """Find the weight that Keras is regularizing, and the variable, which may be one of its adapters.

    Args:
        x: What Keras gives to a regularizer: a variable or, in a step on JAX, its value.
        regularizer: The regularizer that is called, for errors.

    Returns:
        The weight and the variable; None if the regularizer is called by other code, or nothing is known of the weight.

    Raises:
        TypeError: If `x` is the output of a layer.
        ValueError: If `x` is a bias, a scale or another weight that no term measures.
    """
    name = type(regularizer).__name__
    found = _keras.regularized(x)
    if found is None:
        layer = None if isinstance(x, keras.Variable) else _keras.regularized_outputs(x)
        if layer is not None:
            raise TypeError(
                f"{name} measures kernels. Received: the outputs of layer {layer.name!r}, as its activity_regularizer. "
                "Use kernel_regularizer=, or ActivationEntropy for the activation."
            )
        return None
    model, variable = found
    owner = _owner(model, variable)
    weight = _describe[0](owner, variable, _HEAD_AXES.get(owner)) if _describe and owner is not None else None
    if isinstance(weight, str):
        raise ValueError(
            f"{name} cannot measure the weight {variable.name!r} of layer {owner.name!r}: {weight}. Take the term off "
            "this weight."
        )
    return None if weight is None else (weight, variable)


def _owner(model: Any, variable: Any) -> Any:
    owner = _OWNERS.get(id(variable))
    if owner is None or not any(own is variable for own in _keras.own_variables(owner)):
        owner = _keras.owner_of(variable, model)
        if owner is not None and owner is not model:  # of a layer by itself, it is not known whether it counts heads
            _OWNERS[id(variable)] = owner
            for layer in _keras.layers_of(model):
                _HEAD_AXES.update(dict(_keras.attention_projections(layer)))
    return owner
