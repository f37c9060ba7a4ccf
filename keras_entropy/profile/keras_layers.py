"""Which weights of a layer are linear maps, and why the others are not measured.

One function for each class of layers; `register_measurable` adds those of other packages.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, _keras
from keras_entropy.layers import DualDense
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.layouts import LAYOUTS as CONV_LAYOUTS

HostArray = np.ndarray[Any, Any]
LAYOUTS = ("dense", "scale", *CONV_LAYOUTS)


@dataclasses.dataclass(frozen=True)
class LinearMap:
    """A weight as a linear map, for `register_measurable`.

    Attributes:
        value: the weight: a Keras variable, a tensor or an array.
        layout: "dense": a matrix (inputs, outputs); "scale": one factor for each element or channel, of any shape;
            "conv": `(*spatial, c_in / groups, c_out)`; "transpose": `(*spatial, c_out, c_in)`; "depthwise":
            `(*spatial, c_in, multiplier)`.
        strides: of a convolution.
        dilation: of a convolution.
        groups: of a convolution.
        pieces: function of the value on the host, if it is not one such array itself: gives that array, or several of
            one shape by name, such as the heads of an attention layer or the gates of a recurrent one.
        others: further variables or arrays, which `pieces` is given too.
        current: function without arguments that gives the value in use, where that is not the variable itself.
        initializer: of the variable, where the layer does not keep it as `<name>_initializer`.
    """

    value: Any
    layout: str = "dense"
    strides: Any = 1
    dilation: Any = 1
    groups: int = 1
    pieces: Callable[..., HostArray | Mapping[str, HostArray]] | None = None
    others: tuple[Any, ...] = ()
    current: Callable[[], Any] | None = None
    initializer: Any = None

    def __post_init__(self) -> None:
        _checks.one_of("layout", self.layout, LAYOUTS)


Found = Mapping[str, LinearMap | str]
"""The weights of a layer by name: a linear map, or the reason why the weight is none."""

_KINDS: dict[type, tuple[Callable[[Any], Any], frozenset[str]]] = {}
_BIAS = frozenset(("bias",))


def register_measurable(layer_class: type, function: Callable[[Any], Any]) -> None:
    """Let the profile measure the weights of a class of layers, and of its subclasses.

    Args:
        layer_class: a subclass of `keras.layers.Layer`. An earlier registration, also one of this package, is replaced.
        function: is given a built layer and returns its weights by name: a dict of `LinearMap`, of variables or
            arrays (of rank 1: a scale; 2: a matrix (inputs, outputs); 3 to 5: a convolution), or of strings: the
            reason why a weight is not measured. One `LinearMap`, variable or array alone is called "kernel".
            Variables of the layer, rather than values computed from them, can also take an entropy term, and be drawn
            anew for a random twin if the layer has an attribute `<name>_initializer` or the `LinearMap` an
            `initializer`. Weights that are not returned are listed as skipped, but for one called "bias".

    Raises:
        TypeError: for another class, or something that cannot be called.

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
    _KINDS[layer_class] = function, _BIAS


def weights_of(layer: Any, head_axis: int | None = None) -> dict[str, LinearMap | str]:
    """The weights of a layer that a profile lists, by name: linear maps, and reasons for the others.

    Args:
        layer: a layer. Only weights that it holds itself count, not those of its sublayers.
        head_axis: of a projection of an attention layer: the axis of its kernel that counts the heads.

    Returns:
        A dict, in the order of the layer's weights. Biases and other shifts are left out: they change no entropy.
    """
    own = own_variables(layer)
    kind, shifts = next((_KINDS[base] for base in type(layer).__mro__ if base in _KINDS), (None, _BIAS))
    if kind is not None and not layer.built:
        return {"": "not built: give the model an input shape, or call it once on data"}
    mode = getattr(layer, "quantization_mode", None)
    if mode is not None:
        return {"": f"quantised to {mode}: measure the model before it is quantised"} if own else {}
    if kind is None:
        return {name: _unknown(layer, variable) for name, variable in own.items()}
    known = _einsum(layer, head_axis) if head_axis is not None else kind(layer)
    found = {name: _as_map(value, layer) for name, value in _by_name(known, layer).items()}
    used = {id(v) for m in found.values() if isinstance(m, LinearMap) for v in (m.value, *m.others)}
    for name, variable in own.items():
        if id(variable) not in used and name not in found and name not in shifts and not name.startswith("lora_"):
            found[name] = _unknown(layer, variable)
    return found


def own_variables(layer: Any) -> dict[str, Any]:
    """The weights that a layer holds itself, by the name of the attribute that holds them, else their own name."""
    inner = {id(v) for sublayer in _keras.sublayers(layer) for v in sublayer.variables}  # wrappers share them
    attributes = {id(value): name.removeprefix("_") for name, value in vars(layer).items()}
    found: dict[str, Any] = {}
    for variable in _keras.own_variables(layer):
        if id(variable) not in inner:
            name = stem = attributes.get(id(variable), variable.name)
            n = 0
            while name in found:  # the weights of a list share a name
                n += 1
                name = f"{stem}_{n}"
            found[name] = variable
    return found


def _unknown(layer: Any, variable: Any) -> LinearMap | str:
    """A weight of which only its regularizer says what it is, or which nobody knows."""
    for regularizer in _keras.members(variable.regularizer):
        if isinstance(regularizer, EntropyRegularizer):
            rank = len(variable.shape)
            return LinearMap(variable, "dense" if rank == 2 else getattr(regularizer, "layout", "dense"))
    return f"no measure is known for this weight of {type(layer).__name__}; register_measurable adds one"


def _by_name(known: Any, layer: Any) -> Mapping[str, Any]:
    if isinstance(known, Mapping):
        return known
    if isinstance(known, LinearMap) or hasattr(known, "shape"):  # a variable, a tensor, an array
        return {"kernel": known}
    raise TypeError(
        f"The function registered for {type(layer).__name__} should return a dict of weights by name, or one weight. "
        f"Received: {known!r}."
    )


def _as_map(value: Any, layer: Any) -> LinearMap | str:
    if isinstance(value, LinearMap | str):
        return value
    if not hasattr(value, "shape"):
        raise TypeError(
            f"The function registered for {type(layer).__name__} should return variables, arrays, LinearMap objects or "
            f"reasons. Received: {value!r}."
        )
    layout = {0: "scale", 1: "scale", 2: "dense"}.get(len(value.shape), "conv")
    return LinearMap(value, layout)


def _kernel_of(layer: Any, layout: str = "dense", name: str = "kernel", **arguments: Any) -> LinearMap:
    """The kernel of a layer of Keras, which shows the merged kernel where low-rank adapters are enabled."""
    private = getattr(layer, f"_{name}", None)
    variable = private if isinstance(private, keras.Variable) else getattr(layer, name)
    if getattr(layer, "lora_enabled", False):
        arguments["current"] = functools.partial(_merged, layer, variable)
    return LinearMap(variable, layout, **arguments)


def _merged(layer: Any, variable: Any) -> HostArray:
    """The kernel with its low-rank adapters, in float64; Keras merges them in the type of the kernel."""
    kernel, a, b = (
        _backend.to_host(v).astype(np.float64) for v in (variable, layer.lora_kernel_a, layer.lora_kernel_b)
    )
    merged: HostArray = kernel + layer.lora_alpha / layer.lora_rank * (a @ b)
    return merged


def _dense(layer: Any) -> Found:
    return {"kernel": _kernel_of(layer)}


def _dual(layer: Any) -> Found:
    return {"kernel": LinearMap(layer.kernel, pieces=_sum, others=(layer.dual_kernel,))}


def _sum(w: HostArray, g: HostArray) -> HostArray:
    total: HostArray = w.astype(np.float64) + g
    return total


def _einsum(layer: Any, head_axis: int | None = None) -> Found:
    left, outputs = layer.equation.replace(".", "").split("->")
    inputs, letters = left.split(",")
    if head_axis is not None:
        letters = "".join(c if i != head_axis else "*" for i, c in enumerate(letters))
    shared = [i for i, c in enumerate(letters) if c == "*" or (c in inputs and c in outputs)]
    reads = [i for i, c in enumerate(letters) if i not in shared and c not in outputs]
    writes = [i for i, c in enumerate(letters) if i not in shared and c not in inputs]

    def pieces(kernel: HostArray) -> HostArray | Mapping[str, HostArray]:
        rows = int(np.prod([kernel.shape[i] for i in reads]))
        columns = int(np.prod([kernel.shape[i] for i in writes]))
        blocks = kernel.transpose(*shared, *reads, *writes).reshape(-1, rows, columns)
        name = "head" if head_axis is not None else "block"
        return {f"{name} {i + 1}": block for i, block in enumerate(blocks)} if shared else blocks[0]

    return {"kernel": _kernel_of(layer, pieces=pieces)}


def _conv(layer: Any) -> Found:
    return {"kernel": _kernel_of(layer, "conv", **_sizes(layer), groups=layer.groups)}


def _transposed(layer: Any) -> Found:
    return {"kernel": _kernel_of(layer, "transpose", **_sizes(layer))}


def _depthwise(layer: Any) -> Found:
    return {"kernel": _kernel_of(layer, "depthwise", **_sizes(layer), initializer=layer.depthwise_initializer)}


def _separable(layer: Any) -> Found:
    return {  # the first part has the strides
        "depthwise_kernel": LinearMap(
            layer.depthwise_kernel, "depthwise", **_sizes(layer), initializer=layer.depthwise_initializer
        ),
        "pointwise_kernel": LinearMap(layer.pointwise_kernel, "conv", initializer=layer.pointwise_initializer),
    }


def _sizes(layer: Any) -> dict[str, Any]:
    return {"strides": _plain(layer.strides), "dilation": _plain(layer.dilation_rate)}


def _plain(sizes: Any) -> int | list[int]:
    """Sizes of a layer as one number where they are equal."""
    values = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    return values[0] if len(set(values)) == 1 else values


def _recurrent(*gates: str) -> Callable[[Any], Found]:
    def split(kernel: HostArray) -> HostArray | Mapping[str, HostArray]:
        return dict(zip(gates, np.split(kernel, len(gates), axis=1), strict=True)) if gates else kernel

    return lambda cell: {
        "kernel": LinearMap(cell.kernel, pieces=split),
        "recurrent_kernel": LinearMap(cell.recurrent_kernel, pieces=split, initializer=cell.recurrent_initializer),
    }


def _normalisation(layer: Any) -> Found:
    gamma = getattr(layer, "gamma", None)
    gamma = getattr(layer, "scale", None) if gamma is None else gamma  # RMSNormalization's
    if not isinstance(gamma, keras.Variable):
        return {}
    return {"gamma": LinearMap(gamma, "scale", initializer=getattr(layer, "gamma_initializer", "ones"))}


def _batch_normalisation(layer: Any) -> Found:
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


def _standardisation(layer: Any) -> Found:
    if not isinstance(getattr(layer, "adapt_variance", None), keras.Variable):
        return {}

    def pieces(variance: HostArray) -> HostArray:
        sigma: HostArray = np.maximum(np.sqrt(variance.astype(np.float64)), keras.backend.epsilon())
        return sigma if layer.invert else 1 / sigma

    return {"adapt_variance": LinearMap(layer.adapt_variance, "scale", pieces=pieces, initializer="ones")}


def _embedding(layer: Any) -> Found:
    found: dict[str, LinearMap | str] = dict.fromkeys(
        own_variables(layer),
        "an embedding looks rows up by integers: it maps no continuous input, so it changes no entropy",
    )
    reverse = getattr(layer, "reverse_embeddings", None)  # of a ReversibleEmbedding, from vectors to words
    return found | {"reverse_embeddings": LinearMap(reverse)} if isinstance(reverse, keras.Variable) else found


def _prelu(layer: Any) -> Found:
    return {"alpha": "an activation: its part depends on the data; see EntropyLogger(sample=...)"}


def _layer_scale(layer: Any) -> Found:
    return {"gamma": LinearMap(layer.gamma, "scale", initializer=keras.initializers.Constant(layer.init_values))}


def _register_layers() -> None:
    layers = keras.layers
    renorm = ("moving_stddev", "renorm_mean", "renorm_stddev")
    table: list[tuple[Callable[[Any], Any], tuple[str, ...], tuple[type, ...]]] = [
        (_dense, ("bias",), (layers.Dense,)),
        (_dual, ("bias",), (DualDense,)),
        (_einsum, ("bias",), (layers.EinsumDense,)),
        (_conv, ("bias",), (layers.Conv1D, layers.Conv2D, layers.Conv3D)),
        (_transposed, ("bias",), (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)),
        (_depthwise, ("bias",), (layers.DepthwiseConv1D, layers.DepthwiseConv2D)),
        (_separable, ("bias",), (layers.SeparableConv1D, layers.SeparableConv2D)),
        (_recurrent(), ("bias",), (layers.SimpleRNNCell,)),
        (_recurrent("input gate", "forget gate", "candidate", "output gate"), ("bias",), (layers.LSTMCell,)),
        (_recurrent("update gate", "reset gate", "candidate"), ("bias",), (layers.GRUCell,)),
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
    ]
    for function, shifts, classes in table:
        for layer_class in classes:
            _KINDS[layer_class] = function, frozenset(shifts)


_register_layers()
