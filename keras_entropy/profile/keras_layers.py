"""The weights of the layers of Keras and of this package as linear maps: one function for each kind of layer."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _keras
from keras_entropy.layers import DualDense
from keras_entropy.models import CorrelatedRegressor
from keras_entropy.profile.layer_weights import own_variables
from keras_entropy.profile.linear_map import Described, HostArray, LinearMap, register
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.sum import members


def _kernel_of(layer: Any, layout: str = "dense", name: str = "kernel", **arguments: Any) -> LinearMap:
    """The kernel of a layer; with low-rank adapters, the merged kernel is its current value."""
    variable = _keras.stored_weight(layer, name)
    adapters = _keras.low_rank_adapters(layer, name)
    if adapters:
        arguments["current"] = functools.partial(_merged, layer, variable, *adapters)
    return LinearMap(variable, layout, **arguments)


def _merged(layer: Any, variable: Any, a: Any, b: Any) -> HostArray:
    parts = (_backend.to_host(v).astype(np.float64) for v in (variable, a, b))
    merged: HostArray = merge_adapters(layer, *parts)
    return merged


def merge_adapters(layer: Any, kernel: Any, a: Any, b: Any) -> Any:
    """A kernel with its low-rank adapters in their dtype; Keras merges in the dtype that the layer computes in."""
    return kernel + layer.lora_alpha / layer.lora_rank * _backend.namespace(kernel).matmul(a, b)


def _dense(layer: Any) -> Described:
    return {"kernel": _kernel_of(layer)}


def _dual(layer: Any) -> Described:
    return {"kernel": LinearMap(layer.kernel, pieces=_sum, others=(layer.dual_kernel,))}


def _sum(w: HostArray, g: HostArray) -> HostArray:
    total: HostArray = w.astype(np.float64) + g
    return total


def einsum(layer: Any, head_axis: int | None = None) -> Described:
    """The kernel of an `EinsumDense` as one matrix, or one per block or attention head.

    Args:
        layer: An `EinsumDense` layer.
        head_axis: Integer. The axis of the kernel that counts the heads of an attention layer. Defaults to None.
    """
    left, outputs = layer.equation.replace(".", "").split("->")
    inputs, letters = left.split(",")
    initializer = _with_axes(layer.kernel_initializer, [c in outputs for c in letters])
    if head_axis is not None:
        letters = "".join(c if i != head_axis else "*" for i, c in enumerate(letters))
    shared = [i for i, c in enumerate(letters) if c == "*" or (c in inputs and c in outputs)]
    reads = [i for i, c in enumerate(letters) if i not in shared and c not in outputs]
    writes = [i for i, c in enumerate(letters) if i not in shared and c not in inputs]

    def pieces(kernel: Any) -> Any:
        count, rows, columns = (math.prod(kernel.shape[i] for i in axes) for axes in (shared, reads, writes))
        xp = _backend.namespace(kernel)
        blocks = xp.reshape(xp.transpose(kernel, (*shared, *reads, *writes)), (count, rows, columns))
        name = "head" if head_axis is not None else "block"
        return {f"{name} {i + 1}": blocks[i] for i in range(count)} if shared else blocks[0]

    return {"kernel": _kernel_of(layer, pieces=pieces, on_tensors=True, initializer=initializer)}


def _with_axes(initializer: Any, is_output: Sequence[bool]) -> Any:
    """The initializer with which an `EinsumDense` draws its kernel: it counts the inputs and outputs of the equation.

    Keras makes it anew when it builds the layer, and keeps only the one that was given. Before Keras 3.15 it draws with
    that one, which has no `input_axes`.
    """
    config = initializer.get_config() if isinstance(initializer, keras.initializers.VarianceScaling) else {}
    if "input_axes" not in config or None not in (config["input_axes"], config["output_axes"]):
        return initializer
    inputs, outputs = ([i for i, out in enumerate(is_output) if out == wanted] for wanted in (False, True))
    return type(initializer).from_config({**config, "input_axes": inputs, "output_axes": outputs})


def _conv(layer: Any) -> Described:
    return {"kernel": _kernel_of(layer, "conv", **_sizes(layer), groups=layer.groups)}


def _transposed(layer: Any) -> Described:
    return {"kernel": _kernel_of(layer, "transpose", **_sizes(layer))}


def _depthwise(layer: Any) -> Described:
    return {"kernel": _kernel_of(layer, "depthwise", **_sizes(layer), initializer=layer.depthwise_initializer)}


def _separable(layer: Any) -> Described:
    return {  # the depthwise part has the strides
        "depthwise_kernel": LinearMap(
            layer.depthwise_kernel, "depthwise", **_sizes(layer), initializer=layer.depthwise_initializer
        ),
        "pointwise_kernel": LinearMap(layer.pointwise_kernel, "conv", initializer=layer.pointwise_initializer),
    }


def _sizes(layer: Any) -> dict[str, Any]:
    return {"strides": _plain(layer.strides), "dilation": _plain(layer.dilation_rate)}


def _plain(sizes: Any) -> int | list[int]:
    """Strides or dilation rates as one number if they are equal."""
    values = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    return values[0] if len(set(values)) == 1 else values


_LSTM_GATES = ("input gate", "forget gate", "candidate", "output gate")


def _gates(names: tuple[str, ...]) -> dict[str, Any]:
    """Arguments of a `LinearMap` for a kernel whose last axis joins that of several gates."""

    def split(kernel: Any) -> dict[str, Any]:
        return dict(zip(names, _backend.namespace(kernel).split(kernel, len(names), axis=-1), strict=True))

    return {"pieces": split, "on_tensors": True} if names else {}


def _recurrent(*names: str) -> Callable[[Any], Described]:
    gates = _gates(names)
    return lambda cell: {
        "kernel": LinearMap(cell.kernel, **gates),
        "recurrent_kernel": LinearMap(cell.recurrent_kernel, initializer=cell.recurrent_initializer, **gates),
    }


def _conv_lstm(cell: Any) -> Described:
    gates, recurrent = _gates(_LSTM_GATES), cell.recurrent_initializer
    return {  # the recurrent convolution has neither strides nor dilation
        "kernel": LinearMap(cell.kernel, "conv", **_sizes(cell), **gates),
        "recurrent_kernel": LinearMap(cell.recurrent_kernel, "conv", initializer=recurrent, **gates),
    }


def _normalisation(layer: Any) -> Described:
    gamma = getattr(layer, "gamma", None)
    gamma = getattr(layer, "scale", None) if gamma is None else gamma  # RMSNormalization's
    if not isinstance(gamma, keras.Variable):
        return {}
    return {"gamma": LinearMap(gamma, "scale", initializer=getattr(layer, "gamma_initializer", "ones"))}


def _batch_normalisation(layer: Any) -> Described:
    variance = layer.moving_variance
    if layer.gamma is None:
        return {
            "moving_variance": LinearMap(
                variance,
                "scale",
                pieces=functools.partial(_inverse_root, epsilon=layer.epsilon),
                initializer=layer.moving_variance_initializer,
            )
        }

    def pieces(gamma: HostArray, v: HostArray) -> HostArray:
        scale: HostArray = gamma * _inverse_root(v, layer.epsilon)
        return scale

    return {"gamma": LinearMap(layer.gamma, "scale", pieces=pieces, others=(variance,))}


def _inverse_root(variance: HostArray, epsilon: float) -> HostArray:
    with np.errstate(invalid="ignore"):  # a variance below 0 gives NaN, as in the layer
        root: HostArray = 1 / np.sqrt(variance.astype(np.float64) + epsilon)
    return root


def _standardisation(layer: Any) -> Described:
    if not isinstance(getattr(layer, "adapt_variance", None), keras.Variable):
        return {}

    def pieces(variance: HostArray) -> HostArray:
        sigma: HostArray = np.maximum(np.sqrt(variance.astype(np.float64)), keras.backend.epsilon())
        return sigma if layer.invert else 1 / sigma

    return {"adapt_variance": LinearMap(layer.adapt_variance, "scale", pieces=pieces, initializer="ones")}


def _embedding(layer: Any) -> Described:
    """An embedding is measured as a matrix if it has an entropy regularizer, as that measures it."""
    reason = "an embedding looks up rows by integers: it has no continuous input whose entropy it could change"
    found: dict[str, LinearMap | str] = {}
    for name, variable in own_variables(layer).items():
        if not name.startswith("lora_"):
            terms = (member for member in members(variable.regularizer) if isinstance(member, EntropyRegularizer))
            found[name] = reason if next(terms, None) is None else _kernel_of(layer, name=name)
    reverse = getattr(layer, "reverse_embeddings", None)  # a ReversibleEmbedding maps vectors to words with it
    return found | {"reverse_embeddings": LinearMap(reverse)} if isinstance(reverse, keras.Variable) else found


def _prelu(layer: Any) -> Described:
    return {"alpha": "an activation: its entropy depends on the data; see EntropyLogger(sample=...)"}


def _layer_scale(layer: Any) -> Described:
    return {"gamma": LinearMap(layer.gamma, "scale", initializer=keras.initializers.Constant(layer.init_values))}


def _noise(model: Any) -> Described:
    return {"whitening": "a part of the loss, which describes the noise: no data pass through it"}


def _register_layers() -> None:
    layers = keras.layers
    renorm = ("moving_stddev", "renorm_mean", "renorm_stddev")
    table: list[tuple[Callable[[Any], Any], tuple[str, ...], tuple[type, ...]]] = [
        (_dense, ("bias",), (layers.Dense,)),
        (_dual, ("bias",), (DualDense,)),
        (einsum, ("bias",), (layers.EinsumDense,)),
        (_conv, ("bias",), (layers.Conv1D, layers.Conv2D, layers.Conv3D)),
        (_transposed, ("bias",), (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)),
        (_depthwise, ("bias",), (layers.DepthwiseConv1D, layers.DepthwiseConv2D)),
        (_separable, ("bias",), (layers.SeparableConv1D, layers.SeparableConv2D)),
        (_recurrent(), ("bias",), (layers.SimpleRNNCell,)),
        (_recurrent(*_LSTM_GATES), ("bias",), (layers.LSTMCell,)),
        (_recurrent("update gate", "reset gate", "candidate"), ("bias",), (layers.GRUCell,)),
        (_conv_lstm, ("bias",), (_keras.ConvLSTMCell,)),
        (_batch_normalisation, ("beta", "moving_mean", *renorm), (layers.BatchNormalization,)),
        (
            _normalisation,
            ("beta",),
            (layers.LayerNormalization, layers.GroupNormalization, layers.RMSNormalization),
        ),
        (_standardisation, ("adapt_mean", "count"), (layers.Normalization,)),
        (lambda layer: {}, ("vector_u",), (layers.SpectralNormalization,)),  # the state of its power iteration
        (_embedding, (), (layers.Embedding,)),
        (_prelu, (), (layers.PReLU,)),
        (_layer_scale, (), (_keras.LayerScale,)),
        (_noise, (), (CorrelatedRegressor,)),
    ]
    for function, shifts, classes in table:
        for layer_class in classes:
            register(layer_class, function, frozenset(shifts))


_register_layers()
