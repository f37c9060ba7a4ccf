"""The kernels that feed the merging layers of a functional model."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

from keras_entropy import _keras
from keras_entropy.profile import MeasurableWeight, SkippedWeight, inventory

# A call of a nested model: the graph that it is called in, that graph's own call, and the node of the call.
_Call = tuple[Any, Any, Any]


def feeding(model: Any, merge: str) -> list[MeasurableWeight]:
    """Find the kernels whose output reaches a merging layer without passing another kernel.

    The search goes from each merging layer towards the inputs, through normalisations, activations, pooling, reshaping
    and all other layers without a kernel, and into nested functional and sequential models, also inside
    `TimeDistributed`. In an attention layer the output projection counts, in a separable convolution the pointwise
    kernel, in stacked recurrent cells the last one. Sums inside custom layers and subclassed models are not seen.

    Args:
        model: A functional or sequential model.
        merge: String. `"Add"` or `"Concatenate"`: the layer, or the operation (`a + b`) of two tensors.

    Returns:
        A list of `MeasurableWeight`, in the order of the model's layers.

    Raises:
        ValueError: If the model is subclassed, because its graph is not known; or if the search reaches a custom layer
            or a subclassed model with several kernels.
    """
    graph = _keras.graph_of(model)
    if graph is None:
        raise ValueError(
            f"`model` should be functional or sequential to find what feeds its {merge} layers. Received: "
            f"{type(model).__name__}, a subclassed model. Name the layers instead."
        )
    search = _Search(model)
    for tensor, scope, call in _merged(graph, None, merge):
        search.trace(tensor, scope, call)
    return [weight for weight in search.kernels if weight.path in search.found]


def _merged(graph: Any, call: _Call | None, merge: str) -> Iterator[tuple[Any, Any, _Call | None]]:
    """The inputs of the merging layers, each with its graph and the call of that graph."""
    for node in _keras.nodes_of(graph):
        inner = _inner(node.operation)
        if inner is not None:
            yield from _merged(inner, (graph, call, node), merge)
        elif _is(node.operation, merge) and len({id(tensor) for tensor in node.input_tensors}) > 1:
            yield from ((tensor, graph, call) for tensor in node.input_tensors)


class _Search:
    def __init__(self, model: Any) -> None:
        weights = inventory(model)
        self.kernels = [w for w in weights if isinstance(w, MeasurableWeight) and w.layout != "scale"]
        self.found: set[str] = set()
        self._opaque = {
            id(weight.layer)
            for weight in weights
            if isinstance(weight, SkippedWeight) and not isinstance(weight.layer, keras.layers.PReLU)
        }
        self._seen: set[tuple[int, ...]] = set()

    def trace(self, tensor: Any, graph: Any, call: _Call | None) -> None:
        """Search from a tensor towards the inputs, up to the first kernels."""
        stack = [(tensor, graph, call)]
        while stack:
            tensor, graph, call = stack.pop()
            key = (id(tensor), *_chain(call))
            if key not in self._seen:
                self._seen.add(key)
                stack += self._before(tensor, graph, call)

    def _before(self, tensor: Any, graph: Any, call: _Call | None) -> list[tuple[Any, Any, _Call | None]]:
        """The tensors that a tensor is computed from; none if a kernel computes it."""
        position = next((i for i, entry in enumerate(graph.inputs) if entry is tensor), None)
        if position is not None:
            if call is None:
                return []
            outer, outer_call, node = call
            return [(node.input_tensors[position], outer, outer_call)]
        node, tensor_index = _keras.origin_of(tensor)
        operation = node.operation
        inner = _inner(operation)
        if inner is not None:
            return [(inner.outputs[tensor_index], inner, (graph, call, node))]
        if self._stops(operation):
            return []
        return [(before, graph, call) for before in node.input_tensors]

    def _stops(self, operation: Any) -> bool:
        if not isinstance(operation, keras.layers.Layer):
            return False
        last = self._last(operation)
        self.found |= {weight.path for weight in last}
        return bool(last) or any(id(layer) in self._opaque for layer in _keras.layers_of(operation))

    def _last(self, layer: Any) -> list[MeasurableWeight]:
        """The last kernels that a layer applies."""
        own = [w for w in self.kernels if w.layer is layer and w.attribute != "depthwise_kernel"]
        if own:
            return own
        within = _ends(layer)
        if within is None:
            within = [inner for inner in _keras.sublayers(layer) if self._last(inner)]
            if len(within) > 1:
                raise ValueError(
                    f"The last kernel of layer {layer.name!r} is unknown: it is a {type(layer).__name__} with several "
                    "layers inside and no graph. Name the layers instead."
                )
        return [weight for inner in within for weight in self._last(inner)]


def _ends(layer: Any) -> list[Any] | None:
    """The sublayers that compute the output of a layer of Keras; None for other layers."""
    layers = keras.layers
    projections = [inner for inner, _ in _keras.attention_projections(layer)]
    if projections:
        return projections[-1:]
    if isinstance(layer, layers.Bidirectional):
        return [layer.forward_layer, layer.backward_layer]
    if isinstance(layer, layers.StackedRNNCells):
        return [layer.cells[-1]]
    if isinstance(layer, layers.RNN):
        return [layer.cell]
    return [layer.layer] if isinstance(layer, layers.Wrapper) else None


def _inner(operation: Any) -> Any:
    """The graph inside an operation: that of a nested model; None for other operations."""
    return _keras.graph_of(operation.layer if isinstance(operation, keras.layers.TimeDistributed) else operation)


def _chain(call: _Call | None) -> Iterator[int]:
    while call is not None:
        _, call, node = call
        yield id(node)


def _is(operation: Any, merge: str) -> bool:
    """Whether an operation is Keras's layer of that name, a subclass of it, or the operation of `keras.ops`."""
    return any(base.__name__ == merge and base.__module__.startswith("keras.") for base in type(operation).__mro__)
