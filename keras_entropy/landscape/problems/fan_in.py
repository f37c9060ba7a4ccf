"""The box of each weight by the number of inputs of its layer."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import layers

from keras_entropy import _keras

Array = np.ndarray[Any, Any]

_CONVOLUTIONS = (layers.Conv1D, layers.Conv2D, layers.Conv3D)
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
_SEPARABLE = (layers.SeparableConv1D, layers.SeparableConv2D)
_NORMALIZATIONS = (
    layers.BatchNormalization,
    layers.GroupNormalization,
    layers.LayerNormalization,
    layers.RMSNormalization,
)


def fan_in_half_widths(model: keras.Model) -> Array:
    """Return the half width 2 / sqrt(fan_in) of the box of each trainable parameter (Zhang, 2021).

    fan_in is the number of inputs that an output of the layer sums over, as in `keras.initializers.VarianceScaling`:
    the inputs of a `Dense` layer; kernel size times input channels (per group) of a convolution, kernel size of a
    depthwise one; the contracted axes of an `EinsumDense` layer, and so of the projections in `MultiHeadAttention`. A
    bias has the box of the kernel of its layer.

    An embedding, and the scale and offset of a normalization, act on one input: fan_in is 1, and their box is [-2, 2].
    Layers usually start with a scale of 1, which is inside, but the box is centred on 0: scales around 0, which switch
    a feature off, and negative ones are as common as those around 1. Set `trainable = False` on the layer, before you
    create the problem, to keep its values.

    Args:
        model: Built `keras.Model`.

    Returns:
        Array (d,), in the order of `model.trainable_variables`, each of them row by row.

    Raises:
        ValueError: For a weight that has no rule, such as one of a recurrent layer.

    Examples:
        >>> import keras
        >>> from keras_entropy.landscape import fan_in_half_widths
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1), keras.layers.Dense(2)])
        >>> fan_in_half_widths(model)
        array([1., 1., 1., 1., 1., 2., 2., 2., 2.])
    """
    fan_ins: dict[int, int] = {}
    for layer in _keras.layers_of(model):
        by_name = _fan_ins(layer)
        fan_ins |= {id(own): by_name[own.name] for own in _keras.own_variables(layer) if own.name in by_name}
    pieces = []
    for variable in model.trainable_variables:
        if id(variable) not in fan_ins:
            raise ValueError(
                f"`half_width`='fan_in' needs the number of inputs of each weight. Received: {variable.path!r}, for "
                "which there is no rule. Give a number as `half_width`, or set `trainable = False` on its layer."
            )
        pieces.append(np.full(math.prod(variable.shape), 2 / math.sqrt(fan_ins[id(variable)])))
    return np.concatenate(pieces)


def _fan_ins(layer: Any) -> dict[str, int]:
    """Return the number of inputs for the names of weights of a layer."""
    if isinstance(layer, _SEPARABLE):
        depthwise, pointwise = (
            _keras.stored_weight(layer, f"{name}_kernel").shape for name in ("depthwise", "pointwise")
        )
        fan_in = math.prod(pointwise[:-1])
        return {"depthwise_kernel": math.prod(depthwise[:-2]), "pointwise_kernel": fan_in, "bias": fan_in}
    if isinstance(layer, layers.Embedding):
        return {"embeddings": 1}
    if isinstance(layer, _NORMALIZATIONS):
        return dict.fromkeys(("gamma", "beta", "scale"), 1)
    if not isinstance(layer, (layers.Dense, layers.EinsumDense, *_CONVOLUTIONS, *_DEPTHWISE)):
        return {}
    shape = _keras.stored_weight(layer, "kernel").shape
    if isinstance(layer, layers.EinsumDense):
        operands, output = layer.equation.split("->")
        axes = operands.split(",")[1]
        fan_in = math.prod(size for axis, size in zip(axes, shape, strict=True) if axis not in output)
    else:
        fan_in = math.prod(shape[:-2] if isinstance(layer, _DEPTHWISE) else shape[:-1])
    return dict.fromkeys(("kernel", "bias"), fan_in)
