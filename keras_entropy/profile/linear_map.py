"""A weight as a linear map, and the functions that describe the weights of a class of layers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks
from keras_entropy.regularizers.layouts import LAYOUTS as CONV_LAYOUTS

HostArray = np.ndarray[Any, Any]
LAYOUTS = ("dense", "scale", *CONV_LAYOUTS)


@dataclasses.dataclass(frozen=True)
class LinearMap:
    """A weight as a linear map, for `register_measurable`.

    Attributes:
        value: The weight: a Keras variable, a tensor or an array.
        layout: String. Which axes the weight has:

            * `"dense"`: a matrix `(inputs, outputs)`;
            * `"scale"`: one factor per element or channel, of any shape;
            * `"conv"`: `(*spatial, c_in / groups, c_out)`;
            * `"transpose"`: `(*spatial, c_out, c_in)`;
            * `"depthwise"`: `(*spatial, c_in, multiplier)`.

            Defaults to `"dense"`.
        strides: Integer, or one per spatial axis. Strides of a convolution. Defaults to 1.
        dilation: Integer, or one per spatial axis. Dilation rate of a convolution. Defaults to 1.
        groups: Integer. Groups of a convolution. Defaults to 1.
        pieces: Function of the weight as a NumPy array. It returns the array to measure, in `layout`, or a dict of
            several arrays of one shape by name, such as the heads of an attention layer. Defaults to None: the weight
            itself is measured.
        on_tensors: Boolean. Whether `pieces` works on a tensor of the backend too, because it uses indexing or
            functions of `keras.ops` alone. An entropy regularizer then acts on each piece by itself, otherwise on the
            whole weight. Defaults to False.
        others: Tuple of more variables or arrays, which `pieces` takes as further arguments. Defaults to none.
        current: Function without arguments that returns the value in use, if it is not the variable's own. Defaults to
            None.
        initializer: Initializer of the variable, if the layer has no attribute `<name>_initializer`. Defaults to None.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy.profile import LinearMap
        >>> LinearMap(np.ones((3, 3, 2, 5)), "conv", strides=2).layout
        'conv'
    """

    value: Any
    layout: str = "dense"
    strides: Any = 1
    dilation: Any = 1
    groups: int = 1
    pieces: Callable[..., HostArray | Mapping[str, HostArray]] | None = None
    on_tensors: bool = False
    others: tuple[Any, ...] = ()
    current: Callable[[], Any] | None = None
    initializer: Any = None

    def __post_init__(self) -> None:
        _checks.one_of("layout", self.layout, LAYOUTS)


Described = Mapping[str, LinearMap | str]
"""Weights of a layer by name: a linear map, or the reason why the weight is not measured."""

_FUNCTIONS: dict[type, tuple[Callable[..., Any], frozenset[str]]] = {}
_BIAS = frozenset(("bias",))


def register_measurable(layer_class: type, function: Callable[[Any], Any]) -> None:
    """Make the weights of a class of layers, and of its subclasses, measurable.

    Args:
        layer_class: A subclass of `keras.layers.Layer`. An earlier registration, also one of this package, is replaced.
        function: Function that takes a built layer and returns a dict of its weights by name. Each value is a
            `LinearMap`; a variable or an array (rank 0 or 1: a scale, rank 2: a matrix `(inputs, outputs)`, rank 3 to
            5: a convolution); or a string, the reason why the weight is not measured. A single `LinearMap`, variable or
            array stands for a dict with the name `"kernel"`. Weights that are not returned are listed as skipped,
            except for one called `"bias"`.

            An entropy regularizer can be attached only to a variable, not to an array that the function computes. It
            calls the function in compiled training steps too, so compute with `keras.ops` for a layer that has one. A
            profile with random weights draws a variable if the layer has an attribute `<name>_initializer`, or the
            `LinearMap` an `initializer`.

    Raises:
        TypeError: If `layer_class` is not a class of layers, or `function` is not callable.

    Examples:
        >>> import keras
        >>> from keras_entropy.profile import entropy_profile, register_measurable
        >>> class Scale(keras.layers.Layer):
        ...     def build(self, shape):
        ...         self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")
        ...     def call(self, x):
        ...         return x * self.gain
        >>> register_measurable(Scale, lambda layer: {"gain": layer.gain})
        >>> entropy_profile(keras.Sequential([keras.Input((3,)), Scale(name="s")])).records[0].mean
        0.0
    """
    if not (isinstance(layer_class, type) and issubclass(layer_class, keras.layers.Layer)):
        raise TypeError(_checks.message("layer_class", "a subclass of keras.layers.Layer", layer_class))
    if not callable(function):
        raise TypeError(_checks.message("function", "a function of a layer", function))
    register(layer_class, function)


def register(layer_class: type, function: Callable[..., Any], shifts: frozenset[str] = _BIAS) -> None:
    """Register without checks; `shifts` names the weights that change no entropy and are not listed."""
    _FUNCTIONS[layer_class] = function, shifts


def registered(layer: Any) -> tuple[Callable[..., Any] | None, frozenset[str]]:
    """The function for a layer, by the nearest registered base class, or None; and the names of its shifts."""
    return next((_FUNCTIONS[base] for base in type(layer).__mro__ if base in _FUNCTIONS), (None, _BIAS))
