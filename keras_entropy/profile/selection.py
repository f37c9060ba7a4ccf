"""Selection of weights or layers by globs on layer paths, or by a predicate on layers."""

from __future__ import annotations

import fnmatch
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeVar

import keras

from keras_entropy import _checks
from keras_entropy.profile.weights import MeasurableWeight, SkippedWeight

Selection = str | Iterable[str] | Callable[[Any], bool] | None
"""A glob on layer paths, several globs, a predicate on layers, or None for all layers."""

_Weight = TypeVar("_Weight", bound=MeasurableWeight | SkippedWeight)


def select(weights: Sequence[_Weight], layers: Selection, argument: str = "layers") -> list[_Weight]:
    """Select weights by their layers.

    Args:
        weights: List of `MeasurableWeight`, from `measurable_weights`, or of `SkippedWeight`.
        layers: The path of a layer or a glob on paths, such as `"encoder/*"`; if no path matches, it is tried on the
            names of layers at any depth. A path or name as it stands wins over the glob, so `"block[0]"` finds a layer
            of that name; in a longer glob write `"block[[]0]/*"`. Or several globs, a predicate on layers, or None for
            all weights.
        argument: String. The name of `layers` in error messages. Defaults to `"layers"`.

    Returns:
        A list of the selected weights, in their order.

    Raises:
        ValueError: If a glob matches no layer; the message lists the paths.
        TypeError: If `layers` has another type.

    Examples:
        >>> import keras
        >>> from keras_entropy.profile import measurable_weights, select
        >>> layers = [keras.layers.Dense(3, name="code"), keras.layers.Dense(4, name="head")]
        >>> weights = measurable_weights(keras.Sequential([keras.Input((4,)), *layers]))
        >>> [weight.path for weight in select(weights, "h*")]
        ['head']
    """
    places = [_Place(weight.layer, (weight.path, weight.layer_path), weight.path.split("/")) for weight in weights]
    remedy = " `register_measurable` makes the weights of other layers measurable."
    return [weights[index] for index in _chosen(places, layers, argument, "layers with a measured weight", remedy)]


def select_layers(paths: Mapping[str, Any], layers: Selection, argument: str = "layers") -> dict[str, Any]:
    """Select layers from a mapping of layers by path, as `select` does; a name is that of the layer itself."""
    places = [_Place(layer, (path,), (layer.name,)) for path, layer in paths.items()]
    entries = list(paths.items())
    return dict(entries[index] for index in _chosen(places, layers, argument))


def of_path(weights: Sequence[_Weight], path: Any) -> list[_Weight]:
    """Return the weights that have exactly this path, or whose layer has it; none if `path` is no string."""
    return [weight for weight in weights if isinstance(path, str) and path in (weight.path, weight.layer_path)]


class _Place(NamedTuple):
    """Where a pattern looks for a weight or a layer."""

    layer: Any
    paths: Sequence[str]  # its own path first
    names: Sequence[str]


def _chosen(
    places: Sequence[_Place],
    layers: Selection,
    argument: str,
    expected: str = "layers of the model",
    remedy: str = "",
) -> list[int]:
    """Return the indices of the places that a selection names, in their order."""
    layers = check_selection(layers, argument)
    if layers is None:
        return list(range(len(places)))
    if callable(layers):
        return [index for index, place in enumerate(places) if layers(place.layer)]
    chosen: set[int] = set()
    for pattern in layers:
        found = _matching(places, pattern)
        if not found:
            paths = ", ".join(place.paths[0] for place in places) or "none"
            raise ValueError(
                f"`{argument}` should match {expected}. Received: {pattern!r}, which matches none. "
                f"Available: {_checks.printable(paths)}.{remedy}"
            )
        chosen |= found
    return sorted(chosen)


def _matching(places: Sequence[_Place], pattern: str) -> set[int]:
    """Try a pattern as a path, as a glob on paths, as the name of a layer, and as a glob on the names of layers."""
    readings: tuple[Callable[[_Place], bool], ...] = (
        lambda place: pattern in place.paths,
        lambda place: fnmatch.fnmatchcase(place.paths[0], pattern),
        lambda place: pattern in place.names,
        lambda place: any(fnmatch.fnmatchcase(name, pattern) for name in place.names),
    )
    for reading in readings:
        found = {index for index, place in enumerate(places) if reading(place)}
        if found:
            return found
    return set()


def refuse_layers(layers: Any, argument: str) -> None:
    """Refuse layers in place of their names: a layer can be called, but is no predicate.

    Raises:
        TypeError: If `layers` is a layer, or has one among several.
    """
    parts = [layers] if isinstance(layers, keras.Layer) else layers if isinstance(layers, list | tuple | set) else []
    names = [f"{p.name}/*" if isinstance(p, keras.Model) else p.name for p in parts if isinstance(p, keras.Layer)]
    if names:
        kind = "a layer. Give its name" if isinstance(layers, keras.Layer) else "layers. Give their names"
        given = repr(names[0]) if isinstance(layers, keras.Layer) else repr(names)
        raise TypeError(
            f"`{argument}` should be a glob, several globs, or a predicate on layers. Received: {kind}: {given}."
        )


def check_selection(layers: Any, argument: str = "layers") -> tuple[str, ...] | Callable[[Any], bool] | None:
    """Return `layers` with globs as a tuple; raise `TypeError` if it is not a `Selection`."""
    if layers is None:
        return None
    refuse_layers(layers, argument)
    if callable(layers):
        predicate: Callable[[Any], bool] = layers
        return predicate
    patterns = (layers,) if isinstance(layers, str) else layers
    if isinstance(patterns, Iterable):
        patterns = tuple(patterns)
        if patterns and all(isinstance(pattern, str) for pattern in patterns):
            return patterns
    raise TypeError(_checks.message(argument, "a glob, several globs, or a predicate on layers", layers))
