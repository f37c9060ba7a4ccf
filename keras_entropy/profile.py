"""Which weights of a model can be measured, and their entropy, on the host in float64.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import dataclasses
import fnmatch
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks, _keras
from keras_entropy._backend import Array
from keras_entropy.regularizers import (
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyRegularizer,
    TotalCorrelation,
)

MEASURES = ("paper", "volume", "redundancy")

Selection = str | Iterable[str] | Callable[[Any], bool] | None


@dataclasses.dataclass(frozen=True)
class MeasurableWeight:
    """A kernel whose entropy change is known.

    Attributes:
        path: names of the layers from the model down, joined by "/"; the weight's name too where a layer has
            several measured weights, or one that is measured only because of its regularizer.
        layer: the layer that holds it.
        attribute: the name of the kernel on the layer.
        layout: "dense", or the `layout` of `ConvCornerEntropy`.
        layer_path: the path of the layer, without a weight's name.
    """

    path: str
    layer: Any
    attribute: str
    layout: str
    layer_path: str = ""

    @property
    def variable(self) -> Any:
        """The Keras variable that holds the weight and its regularizer."""
        # Layers with low-rank adapters show the merged kernel as `kernel` and keep the variable as `_kernel`.
        private = getattr(self.layer, f"_{self.attribute}", None)
        return private if isinstance(private, keras.Variable) else getattr(self.layer, self.attribute)

    @property
    def kernel(self) -> np.ndarray[Any, Any]:
        """The weight in float64 on the host."""
        value = keras.ops.convert_to_numpy(getattr(self.layer, self.attribute))
        return np.asarray(value, dtype=np.float64)

    @property
    def regularizer(self) -> EntropyRegularizer | None:
        """The entropy regularizer attached to the weight, if there is one."""
        regularizer = self.variable.regularizer
        return regularizer if isinstance(regularizer, EntropyRegularizer) else None

    @property
    def penalised(self) -> bool:
        """Whether its regularizer takes part in training: Keras leaves frozen weights out."""
        return self.regularizer is not None and self.layer.trainable and self.variable.trainable

    @property
    def layer_arguments(self) -> dict[str, Any]:
        """What the layer is, in the arguments of `ConvEntropy` and `TotalCorrelation`."""
        layer = self.layer
        if self.layout == "dense":
            equation = getattr(layer, "equation", "")
            outputs_first = equation and equation.split("->")[0].split(",")[1][-1] not in equation.split("->")[1]
            return {"layout": "transpose" if outputs_first else "conv"}
        pointwise = self.attribute == "pointwise_kernel"  # of a separable convolution, whose first part has the strides
        return {
            "layout": self.layout,
            "strides": 1 if pointwise else _plain(getattr(layer, "strides", 1)),
            "dilation": 1 if pointwise else _plain(getattr(layer, "dilation_rate", 1)),
            "groups": getattr(layer, "groups", 1) if self.layout == "conv" and not pointwise else 1,
        }

    @property
    def regularizer_attribute(self) -> str:
        """The name of the layer's regularizer for this weight."""
        if self.layout == "depthwise":
            return "depthwise_regularizer"
        return "pointwise_regularizer" if self.attribute == "pointwise_kernel" else "kernel_regularizer"


@dataclasses.dataclass(frozen=True)
class WeightEntropy:
    """The entropy change that one weight makes.

    Attributes:
        path: as in `MeasurableWeight`.
        kind: class name of the layer.
        shape: of the kernel.
        mean: nats per filter, dimension or output.
        unit: what `mean` and `values` are per: "nats per filter", "nats per dimension" or "nats per output".
        measure: name of the measure, or the regularizer whose quantity this is.
        penalised: whether an entropy regularizer acts on the weight; False for a frozen layer.
        values: per filter or dimension; empty where they were not asked for.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    unit: str
    measure: str
    penalised: bool
    values: tuple[float, ...] = ()


def measurable_weights(model: Any) -> list[MeasurableWeight]:
    """The weights of a model that can be measured, in the order of its layers; shared layers once.

    Measured are the kernels of Dense, EinsumDense (rank 2), Conv1D/2D/3D, their transposed and depthwise
    kinds, both parts of separable convolutions, and every kernel that has an entropy regularizer. Layers
    that are not built or are quantised are left out.

    Args:
        model: a Keras model or layer, nested to any depth.

    Returns:
        A list of `MeasurableWeight`.

    Example:
        >>> import keras
        >>> from keras_entropy.profile import measurable_weights
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="code")])
        >>> [weight.path for weight in measurable_weights(model)]
        ['code']
    """
    weights: list[MeasurableWeight] = []
    taken: set[str] = set()
    for path, layer in walk(model):
        if getattr(layer, "quantization_mode", None) is not None:
            continue
        table = _attributes(layer)
        single = len(table) == 1
        known = {id(MeasurableWeight("", layer, name, layout).variable) for name, layout in table}
        found = [(path if single else f"{path}/{name}", name, layout) for name, layout in table]
        known |= {id(variable) for inner in _keras.sublayers(layer) for variable in inner.variables}  # wrappers share
        for variable in _keras.own_variables(layer):
            if isinstance(variable.regularizer, EntropyRegularizer) and id(variable) not in known:
                name = next((name for name, value in vars(layer).items() if value is variable), None)
                if name is not None:
                    layout = "dense" if len(variable.shape) == 2 else getattr(variable.regularizer, "layout", "dense")
                    found.append((f"{path}/{variable.name}", name, layout))
        for full_path, name, layout in found:
            unique = _unique(full_path, taken)
            layer_path = unique if full_path == path else unique[: len(path)]
            weights.append(MeasurableWeight(unique, layer, name, layout, layer_path))
    return weights


def select(weights: list[MeasurableWeight], layers: Selection) -> list[MeasurableWeight]:
    """The weights that `layers` names.

    Args:
        weights: of `measurable_weights`.
        layers: None for all; a glob on layer paths, such as `"encoder/*"`; several of them; or a predicate
            on layers.

    Returns:
        The chosen weights, in their order.

    Raises:
        ValueError: if a glob matches no path; it lists the paths.
        TypeError: for anything else.
    """
    layers = check_selection(layers)
    if layers is None:
        return weights
    if callable(layers):
        return [weight for weight in weights if layers(weight.layer)]
    for pattern in layers:
        if not any(fnmatch.fnmatchcase(weight.path, pattern) for weight in weights):
            paths = ", ".join(weight.path for weight in weights) or "none"
            raise ValueError(f"No measurable layer matches {pattern!r}. Measurable layers: {paths}.")
    return [w for w in weights if any(fnmatch.fnmatchcase(w.path, pattern) for pattern in layers)]


def check_selection(layers: Any) -> tuple[str, ...] | Callable[[Any], bool] | None:
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
    raise TypeError(_checks.message("layers", "a glob, several globs, or a predicate on layers", layers))


def measure_weight(weight: MeasurableWeight, measure: str | None = None, values: bool = False) -> WeightEntropy:
    """Measure one weight on the host, in float64.

    Args:
        weight: of `measurable_weights`.
        measure: `"paper"`: what [A] measures, log|det| of the leading block of a Dense kernel and log|c11| of
            a convolution; `"volume"`: the exact log-volume of the whole kernel; both without a noise floor;
            `"redundancy"`: total correlation, with a noise floor of 1e-4; or None: the quantity of the weight's own
            entropy regularizer, `"paper"` where it has none.
        values: whether to find the value of each filter or dimension too. That takes singular values, except for
            `"paper"` of a convolution.

    Returns:
        A `WeightEntropy`, in nats.
    """
    regularizer = weight.regularizer if measure is None else None
    quantity = regularizer or _quantity(weight, measure or "paper")
    kernel = weight.kernel
    return WeightEntropy(
        path=weight.path,
        kind=type(weight.layer).__name__,
        shape=kernel.shape,
        mean=float(quantity.measure(kernel)),
        unit=quantity.unit,
        measure=type(regularizer).__name__ if regularizer else measure or "paper",
        penalised=weight.penalised,
        values=tuple(quantity.log_magnitudes(kernel).tolist()) if values else (),
    )


def penalty(model: Any) -> float:
    """The sum of the entropy penalties of a model's kernels at their present values, on the host in float64.

    Args:
        model: a Keras model.

    Returns:
        The part of `sum(model.losses)` that comes from the package's regularizers of kernels, not of activations.
    """
    total = 0.0
    for variable in model.trainable_variables:
        if isinstance(variable.regularizer, EntropyRegularizer):
            kernel: Array = np.asarray(keras.ops.convert_to_numpy(variable), dtype=np.float64)
            total += float(variable.regularizer(kernel))
    return total


def _quantity(weight: MeasurableWeight, measure: str) -> EntropyRegularizer:
    arguments = weight.layer_arguments
    if measure == "redundancy":
        return TotalCorrelation(1.0, **arguments)
    if weight.layout == "dense":
        return DenseEntropy(1.0, epsilon=0.0, block="full" if measure == "volume" else "leading")
    if measure == "volume":
        return ConvEntropy(1.0, epsilon=0.0, **arguments)
    return ConvCornerEntropy(1.0, epsilon=0.0, layout=weight.layout)


def _plain(sizes: Any) -> int | list[int]:
    """Sizes of a layer as one number where they are equal."""
    values = list(sizes) if isinstance(sizes, list | tuple) else [sizes]
    return values[0] if len(set(values)) == 1 else values


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


def _attributes(layer: Any) -> list[tuple[str, str]]:
    """The kernels of a built layer that are measured: (attribute, layout)."""
    layers = keras.layers
    table: list[tuple[str, str]]
    if isinstance(layer, layers.SeparableConv1D | layers.SeparableConv2D):
        table = [("depthwise_kernel", "depthwise"), ("pointwise_kernel", "conv")]
    elif isinstance(layer, layers.DepthwiseConv1D | layers.DepthwiseConv2D):
        table = [("kernel", "depthwise")]
    elif isinstance(layer, layers.Conv1DTranspose | layers.Conv2DTranspose | layers.Conv3DTranspose):
        table = [("kernel", "transpose")]
    elif isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Conv3D):
        table = [("kernel", "conv")]
    elif isinstance(layer, layers.Dense | layers.EinsumDense):
        table = [("kernel", "dense")]
    else:
        return []
    if not layer.built:
        return []
    rank = len(getattr(layer, table[0][0]).shape)
    return table if table[0][1] != "dense" or rank == 2 else []


def _unique(path: str, taken: set[str]) -> str:
    """Tell two layers of the same path apart: layers of a subclassed model may share a name."""
    candidate, n = path, 1
    while candidate in taken:
        candidate, n = f"{path}_{n}", n + 1
    taken.add(candidate)
    return candidate
