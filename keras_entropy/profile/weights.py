"""Which weights of a model can be measured, where they are, and why the others cannot."""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, _keras
from keras_entropy.profile.keras_layers import HostArray, LinearMap, own_variables, weights_of
from keras_entropy.regularizers import EntropyRegularizer

Selection = str | Iterable[str] | Callable[[Any], bool] | None
"""Which layers: a glob on layer paths, several globs, a predicate on layers, or None for all."""


@dataclasses.dataclass(frozen=True)
class MeasurableWeight:
    """A weight whose entropy change is known.

    Attributes:
        path: names of the layers from the model down, joined by "/"; the weight's name too where a layer has several
            measured weights.
        layer: the layer that holds it.
        attribute: the name of the weight on the layer.
        linear_map: what the weight does.
        layer_path: the path of the layer, without a weight's name.
        in_attention: whether the layer is a projection of an attention layer.
    """

    path: str
    layer: Any
    attribute: str
    linear_map: LinearMap
    layer_path: str = ""
    in_attention: bool = False

    @property
    def layout(self) -> str:
        """Of the weight: "dense", "scale", or the `layout` of `ConvCornerEntropy`."""
        return self.linear_map.layout

    @property
    def variable(self) -> Any:
        """The Keras variable that holds the weight and its regularizer; None for a value that is computed."""
        return self.linear_map.value if isinstance(self.linear_map.value, keras.Variable) else None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the variable."""
        return tuple(self.linear_map.value.shape)

    @property
    def kernel(self) -> HostArray:
        """The weight in float64 on the host, low-rank adapters merged."""
        return np.asarray(self._value(), dtype=np.float64)

    @property
    def finite(self) -> bool:
        """Whether no value of the weight is NaN or infinite."""
        values = self._values(None)
        with np.errstate(over="ignore", invalid="ignore"):
            quick = all(np.isfinite(np.sum(value)) for value in values)  # NaN and infinity survive a sum
        return quick or all(bool(np.isfinite(value).all()) for value in values)

    @property
    def regularizer(self) -> EntropyRegularizer | None:
        """The entropy regularizer attached to the weight, if there is one; the first of several."""
        found = _keras.members(getattr(self.variable, "regularizer", None))
        return next((member for member in found if isinstance(member, EntropyRegularizer)), None)

    @property
    def penalised(self) -> bool:
        """Whether its regularizer takes part in training: Keras leaves frozen weights out."""
        return self.regularizer is not None and not self.frozen

    @property
    def frozen(self) -> bool:
        """Whether training leaves the weight as it is."""
        return self.variable is None or not (self.layer.trainable and self.variable.trainable)

    @property
    def layer_arguments(self) -> dict[str, Any]:
        """What the layer is, in the arguments of `ConvEntropy` and `TotalCorrelation`."""
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
        """The name of the layer's regularizer for this weight."""
        if self.layout == "depthwise":
            return "depthwise_regularizer"
        return f"{self.attribute.removesuffix('_kernel')}_regularizer"

    def pieces(self, draw: Callable[[Any], HostArray] | None = None) -> dict[str, HostArray]:
        """The arrays that are measured, in the weight's layout and type, by name; "" where there is one only.

        Args:
            draw: if given, the values are those that it gives for the variables, not their own.
        """
        values = self._values(draw)
        found = self.linear_map.pieces(*values) if self.linear_map.pieces is not None else values[0]
        return dict(found) if isinstance(found, Mapping) else {"": np.asarray(found)}

    def _values(self, draw: Callable[[Any], HostArray] | None) -> list[HostArray]:
        if draw is not None:
            return [draw(value) for value in (self.linear_map.value, *self.linear_map.others)]
        return [self._value(), *map(_backend.to_host, self.linear_map.others)]

    def _value(self) -> HostArray:
        current = self.linear_map.current
        return _backend.to_host(self.linear_map.value if current is None else current())


@dataclasses.dataclass(frozen=True)
class SkippedWeight:
    """A weight that is not measured, and the reason."""

    path: str
    layer: Any
    shape: tuple[int, ...]
    reason: str


def inventory(model: Any) -> list[MeasurableWeight | SkippedWeight]:
    """All weights of a model but biases and other shifts, in the order of its layers; shared layers once.

    Args:
        model: a Keras model or layer, nested to any depth.

    Returns:
        A `MeasurableWeight` for each weight that can be measured, a `SkippedWeight` for each other one.
    """
    found: list[MeasurableWeight | SkippedWeight] = []
    taken: set[str] = set()
    head_axes: dict[int, int] = {}
    for path, layer in (("", model), *walk(model)):  # the model may hold weights itself
        head_axes |= {id(projection): axis for projection, axis in _keras.attention_projections(layer)}
        weights = weights_of(layer, head_axes.get(id(layer)))
        own = own_variables(layer) if weights else {}
        measured = [name for name, value in weights.items() if isinstance(value, LinearMap)]
        for name, value in weights.items():
            alone = len(weights) == 1 if isinstance(value, str) else [name] == measured
            known_as = path or (layer.name if layer is model and not isinstance(model, keras.Model) else "")
            unique = _unique("/".join(filter(None, (known_as, "" if alone and known_as else name))), taken)
            if isinstance(value, str):
                shape = tuple(own[name].shape) if name in own else ()
                found.append(SkippedWeight(unique, layer, shape, value))
            elif 0 in value.value.shape:
                found.append(SkippedWeight(unique, layer, tuple(value.value.shape), "it holds no values"))
            else:
                layer_path = unique if alone else unique[: len(path)]
                found.append(MeasurableWeight(unique, layer, name, value, layer_path, id(layer) in head_axes))
    return found


def measurable_weights(model: Any) -> list[MeasurableWeight]:
    """The weights of a model that can be measured, in the order of its layers; shared layers once.

    Measured are the kernels of Dense and EinsumDense layers, of all convolutions (both parts of separable ones), of the
    projections of attention layers, both kernels of recurrent cells, the scales of normalisations, what
    `register_measurable` adds, and every kernel that has an entropy regularizer. Layers that are not built or are
    quantised are left out.

    Args:
        model: a Keras model or layer, nested to any depth.

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


def select(weights: list[MeasurableWeight], layers: Selection, argument: str = "layers") -> list[MeasurableWeight]:
    """The weights that `layers` names.

    Args:
        weights: of `measurable_weights`.
        layers: None for all; a glob on layer paths, such as `"encoder/*"`, or, where it matches none, on the names of
            layers at any depth; several of them; or a predicate on layers.
        argument: the name that errors give to `layers`.

    Returns:
        The chosen weights, in their order.

    Raises:
        ValueError: if a glob matches no path; it lists the paths.
        TypeError: for anything else.
    """
    layers = check_selection(layers, argument)
    if layers is None:
        return weights
    if callable(layers):
        return [weight for weight in weights if layers(weight.layer)]
    chosen: set[str] = set()
    for pattern in layers:
        found = {w.path for w in weights if fnmatch.fnmatchcase(w.path, pattern)}
        found = found or {w.path for w in weights if any(fnmatch.fnmatchcase(n, pattern) for n in w.path.split("/"))}
        if not found:
            paths = ", ".join(weight.path for weight in weights) or "none"
            raise ValueError(f"No measurable layer matches {pattern!r}. Measurable layers: {paths}.")
        chosen |= found
    return [weight for weight in weights if weight.path in chosen]


def check_selection(layers: Any, argument: str = "layers") -> tuple[str, ...] | Callable[[Any], bool] | None:
    """Return `layers` with globs as a tuple; raise `TypeError` if it is no `Selection`."""
    if layers is None:
        return None
    if callable(layers):
        predicate: Callable[[Any], bool] = layers
        return predicate
    patterns = (layers,) if isinstance(layers, str) else layers
    if isinstance(patterns, Iterable):
        patterns = tuple(patterns)
        if patterns and all(isinstance(pattern, str) for pattern in patterns):
            return patterns
    raise TypeError(_checks.message(argument, "a glob, several globs, or a predicate on layers", layers))


def walk(model: Any) -> Iterator[tuple[str, Any]]:
    """The path of each layer of a model, and the layer, outer ones first; shared layers once."""
    return _walk(model, "", set())


def _walk(layer: Any, path: str, seen: set[int]) -> Iterator[tuple[str, Any]]:
    for sublayer in _keras.sublayers(layer):
        if id(sublayer) not in seen:
            seen.add(id(sublayer))
            inner = f"{path}/{sublayer.name}" if path else sublayer.name
            yield inner, sublayer
            yield from _walk(sublayer, inner, seen)


def _unique(path: str, taken: set[str]) -> str:
    """Tell two layers of the same path apart: layers of a subclassed model may share a name."""
    candidate, n = path, 1
    while candidate in taken:
        candidate, n = f"{path}_{n}", n + 1
    taken.add(candidate)
    return candidate
