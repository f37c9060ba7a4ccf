"""The weights of a model: those that can be measured, and the reason why the others cannot."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _keras
from keras_entropy.profile.keras_layers import einsum, merge_adapters
from keras_entropy.profile.layer_weights import holds_quantised_numbers, no_measure, own_variables, weights_of
from keras_entropy.profile.linear_map import HostArray, LinearMap, registered
from keras_entropy.regularizers import EntropyRegularizer, held_weight
from keras_entropy.regularizers.sum import members


@dataclasses.dataclass(frozen=True)
class MeasurableWeight:
    """A weight of a model that can be measured.

    Attributes:
        path: String. Names of the layers from the model down to the weight's layer, joined by "/". If the layer has
            several measured weights, the name of the weight follows.
        layer: The layer that holds the weight.
        attribute: String. Name of the weight's attribute of the layer.
        linear_map: `LinearMap`. The weight as a linear map.
        layer_path: String. The path without the name of the weight.
        in_attention: Boolean. Whether the layer is a projection of an attention layer.
    """

    path: str
    layer: Any
    attribute: str
    linear_map: LinearMap
    layer_path: str = ""
    in_attention: bool = False

    @property
    def layout(self) -> str:
        """String. `"dense"`, `"scale"`, `"conv"`, `"transpose"` or `"depthwise"`; see `LinearMap`."""
        return self.linear_map.layout

    @property
    def variable(self) -> Any:
        """The Keras variable that holds the weight and its regularizer; None for a computed value."""
        return self.linear_map.value if isinstance(self.linear_map.value, keras.Variable) else None

    @property
    def adapters(self) -> tuple[Any, ...]:
        """Tuple of variables. The two low-rank adapters of the weight, or none."""
        return _keras.low_rank_adapters(self.layer, self.attribute)

    @property
    def variables(self) -> tuple[Any, ...]:
        """Tuple of all variables that the value of the weight is computed from."""
        return (self.linear_map.value, *self.linear_map.others, *self.adapters)

    @property
    def trained_variables(self) -> tuple[Any, ...]:
        """Tuple of variables that training changes, and whose regularizers act: the variable, or its adapters."""
        return self.adapters or ((self.variable,) if self.variable is not None else ())

    @property
    def shape(self) -> tuple[int, ...]:
        """Tuple of integers. Shape of the variable."""
        return tuple(self.linear_map.value.shape)

    @property
    def kernel(self) -> HostArray:
        """NumPy array of float64. The weight, merged with its low-rank adapters."""
        return np.asarray(self._value(), dtype=np.float64)

    @property
    def finite(self) -> bool:
        """Boolean. Whether all values of the weight are finite."""
        values = self._values(None)
        with np.errstate(over="ignore", invalid="ignore"):
            quick = all(np.isfinite(np.sum(value)) for value in values)  # NaN and infinity survive a sum
        return quick or all(bool(np.isfinite(value).all()) for value in values)

    @property
    def regularizer(self) -> EntropyRegularizer | None:
        """The first `EntropyRegularizer` that is attached to the weight, or None."""
        return next((term for term in self.terms if isinstance(term, EntropyRegularizer)), None)

    @property
    def terms(self) -> tuple[Any, ...]:
        """Tuple of all regularizers that are attached to the weight, sums taken apart."""
        return members(self.trained_variables[0].regularizer) if self.trained_variables else ()

    @property
    def penalised(self) -> bool:
        """Boolean. Whether an entropy regularizer acts on the weight; Keras does not penalise frozen weights."""
        return self.regularizer is not None and not self.frozen

    @property
    def frozen(self) -> bool:
        """Boolean. Whether training does not change the weight."""
        return not (self.layer.trainable and any(variable.trainable for variable in self.trained_variables))

    @property
    def layer_arguments(self) -> dict[str, Any]:
        """Dict. Layout, strides, dilation and groups of the layer, as arguments of `ConvEntropy`."""
        found = self.linear_map
        if self.layout == "dense":
            equation = getattr(self.layer, "equation", "")
            outputs_first = equation and equation.split("->")[0].split(",")[1][-1] not in equation.split("->")[1]
            return {"layout": "transpose" if outputs_first else "conv"}
        return {
            "layout": found.layout,
            "strides": found.strides,
            "dilation": found.dilation,
            "groups": found.groups,
        }

    @property
    def regularizer_attribute(self) -> str:
        """String. Name of the layer's attribute for a regularizer of this weight."""
        if self.layout == "depthwise":
            return "depthwise_regularizer"
        return f"{self.attribute.removesuffix('_kernel')}_regularizer"

    def pieces(self, draw: Callable[[Any], HostArray] | None = None) -> dict[str, HostArray]:
        """Return the arrays that are measured, by name; a single one has the name "".

        Args:
            draw: Function that returns a NumPy array for each variable, to be used in place of its own value. Defaults
                to None.

        Returns:
            A dict of NumPy arrays, in the weight's layout and dtype.
        """
        values = self._values(draw)
        found = self.linear_map.pieces(*values) if self.linear_map.pieces is not None else values[0]
        return dict(found) if isinstance(found, Mapping) else {"": np.asarray(found)}

    def kernels(self, kernel: Any) -> list[Any]:
        """Return the kernels that an entropy regularizer measures one by one: the heads, blocks or gates.

        Args:
            kernel: The weight, as a NumPy array or a tensor.

        Returns:
            A list of arrays of the type of `kernel`, in the layout that `layer_arguments` says.
        """
        found = self.linear_map
        if found.pieces is None or not found.on_tensors or found.others:
            return [kernel]
        pieces = found.pieces(kernel)
        kernels = list(pieces.values()) if isinstance(pieces, Mapping) else [pieces]
        if self.layout == "dense" and self.layer_arguments["layout"] == "transpose":  # pieces have their inputs first
            kernels = [_backend.namespace(piece).swapaxes(piece, -1, -2) for piece in kernels]
        return kernels

    def tensor(self, x: Any) -> Any:
        """Return the weight as a tensor of the backend, merged with its low-rank adapters.

        Args:
            x: What Keras gives to a regularizer: the variable or an adapter, or its value in a step on JAX.
        """
        if not self.adapters:
            return _backend.as_float(x)
        return merge_adapters(self.layer, *map(_backend.as_float, (self.variable, *self.adapters)))

    def _values(self, draw: Callable[[Any], HostArray] | None) -> list[HostArray]:
        if draw is not None:
            return [draw(value) for value in (self.linear_map.value, *self.linear_map.others)]
        return [self._value(), *map(_backend.to_host, self.linear_map.others)]

    def _value(self) -> HostArray:
        current = self.linear_map.current
        return _backend.to_host(self.linear_map.value if current is None else current())


@dataclasses.dataclass(frozen=True)
class SkippedWeight:
    """A weight of a model that is not measured.

    Attributes:
        path: String. As in `MeasurableWeight`.
        layer: The layer that holds the weight.
        shape: Tuple of integers. Shape of the weight; empty if the layer is not built.
        reason: String. Why the weight is not measured.
        layer_path: String. The path without the name of the weight.
        variable: The Keras variable; None if the reason concerns the whole layer.
    """

    path: str
    layer: Any
    shape: tuple[int, ...]
    reason: str
    layer_path: str = ""
    variable: Any = None

    @property
    def variables(self) -> tuple[Any, ...]:
        """Tuple of the variable, or of none."""
        return () if self.variable is None else (self.variable,)


def inventory(model: Any) -> list[MeasurableWeight | SkippedWeight]:
    """List all weights of a model except biases and other shifts, in the order of its layers, shared layers once.

    Args:
        model: A Keras model or layer, nested to any depth.

    Returns:
        A list with a `MeasurableWeight` for each weight that can be measured, and a `SkippedWeight` for each other one.
    """
    found: list[MeasurableWeight | SkippedWeight] = []
    taken: set[str] = set()
    head_axes: dict[int, int] = {}
    for path, layer in (("", model), *walk(model)):  # the model may hold weights itself
        head_axes |= {id(projection): axis for projection, axis in _keras.attention_projections(layer)}
        weights = _weights_with_heads(layer, head_axes.get(id(layer)))
        own = own_variables(layer) if weights else {}
        measured = [name for name, value in weights.items() if isinstance(value, LinearMap)]
        for name, value in weights.items():
            alone = len(weights) == 1 if isinstance(value, str) else [name] == measured
            known_as = path or (layer.name if layer is model and not isinstance(model, keras.Model) else "")
            unique = _unique("/".join(filter(None, (known_as, "" if alone and known_as else name))), taken)
            layer_path = unique if alone else unique[: len(path)]
            if isinstance(value, str):
                shape = tuple(own[name].shape) if name in own else ()
                found.append(SkippedWeight(unique, layer, shape, value, layer_path, own.get(name)))
            elif 0 in value.value.shape:
                shape = tuple(value.value.shape)
                found.append(SkippedWeight(unique, layer, shape, "it holds no values", layer_path))
            else:
                found.append(MeasurableWeight(unique, layer, name, value, layer_path, id(layer) in head_axes))
    return found


def _weights_with_heads(layer: Any, head_axis: int | None) -> dict[str, LinearMap | str]:
    return weights_of(layer, None if head_axis is None else functools.partial(einsum, head_axis=head_axis))


def _described(layer: Any, variable: Any, head_axis: int | None) -> MeasurableWeight | str | None:
    """What a term has to know of a variable of a layer, or of an adapter of one; see `held_weight`."""
    function, _ = registered(layer)
    if function is None:
        return None
    for name, value in _weights_with_heads(layer, head_axis).items():
        if isinstance(value, str):
            if not name or own_variables(layer).get(name) is variable:  # no name: it concerns the whole layer
                return None if value == no_measure(layer) else value
        elif value.value is variable or any(a is variable for a in _keras.low_rank_adapters(layer, name)):
            if value.layout == "scale":
                return "it scales single elements or channels, and has no rows and columns"
            return MeasurableWeight(layer.name, layer, name, value, layer.name, head_axis is not None)
    return "it shifts values, which changes no entropy"


held_weight.describe_with(_described)


def measurable_weights(model: Any) -> list[MeasurableWeight]:
    """List the weights of a model that can be measured, in the order of its layers, shared layers once.

    These are the kernels of Dense and EinsumDense layers, of all convolutions (both kernels of separable ones), and of
    the projections of attention layers; both kernels of recurrent cells; the scales of normalisations; the weights that
    `register_measurable` adds; and every kernel with an entropy regularizer. Layers that are quantised or not built
    are left out.

    Args:
        model: A Keras model or layer, nested to any depth.

    Returns:
        A list of `MeasurableWeight`.

    Examples:
        >>> import keras
        >>> from keras_entropy.profile import measurable_weights
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="code")])
        >>> [weight.path for weight in measurable_weights(model)]
        ['code']
    """
    return [weight for weight in inventory(model) if isinstance(weight, MeasurableWeight)]


def quantised_weights(model: Any) -> list[SkippedWeight]:
    """List the weights of quantised layers, which training does not change and terms do not act on.

    Args:
        model: A Keras model or layer, nested to any depth.

    Returns:
        A list of `SkippedWeight`, without those of embeddings, which are tables.
    """
    skipped = (weight for weight in inventory(model) if isinstance(weight, SkippedWeight))
    return [
        weight
        for weight in skipped
        if holds_quantised_numbers(weight.layer) and not isinstance(weight.layer, keras.layers.Embedding)
    ]


def layers_with_idle_terms(model: Any) -> list[str]:
    """Return the paths of quantised layers that have an entropy regularizer, which has no effect."""
    held = (
        (path, members(value))
        for path, layer in walk(model)
        if holds_quantised_numbers(layer)
        for value in vars(layer).values()
    )
    return list(dict.fromkeys(path for path, terms in held if any(isinstance(t, EntropyRegularizer) for t in terms)))


def walk(model: Any) -> Iterator[tuple[str, Any]]:
    """Iterate over the path of each layer of a model and the layer itself, outer layers first, shared layers once."""
    return _walk(model, "", set())


def layers_by_path(model: Any) -> dict[str, Any]:
    """Return the layers of `walk` by path; paths that several layers share are numbered."""
    taken: set[str] = set()
    return {_unique(path, taken): layer for path, layer in walk(model)}


def _walk(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    for sublayer in _keras.sublayers(layer):
        if id(sublayer) not in seen:
            seen.add(id(sublayer))
            inner = f"{path}/{sublayer.name}" if path else sublayer.name
            yield inner, sublayer
            yield from _walk(sublayer, inner, seen)


def _unique(path: str, taken: set[str]) -> str:
    """Number paths that are taken already: layers of a subclassed model may share a name."""
    candidate, n = path, 1
    while candidate in taken:
        candidate, n = f"{path}_{n}", n + 1
    taken.add(candidate)
    return candidate
