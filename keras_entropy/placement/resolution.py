"""Which weights of a model a placement names.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import re
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import keras

from keras_entropy import _backend, _checks
from keras_entropy.layers import DualDense
from keras_entropy.placement.graph import feeding
from keras_entropy.profile import (
    EntropyProfile,
    MeasurableWeight,
    ProfileComparison,
    Selection,
    SkippedWeight,
    check_built,
    check_selection,
    entropy_profile,
    measurable_weights,
    select,
)
from keras_entropy.profile.selection import of_path
from keras_entropy.profile.weights import quantised_weights
from keras_entropy.regularizers import EntropyRegularizer

Placement = Selection | Mapping[Any, Any]
"""A name such as `"first"`, a glob, several globs, a predicate on layers, or a dict of these to regularizers."""

Reference = EntropyProfile | ProfileComparison | None

_MERGES = {"pre_skip": "Add", "pre_concat": "Concatenate"}
_NAMED = re.compile(r"(none|all|first|empirical|pre_skip|pre_concat)(?::([0-9]+))?")
_COUNTED = ("first", "empirical")


def resolve_placement(
    model: Any,
    placement: Placement,
    reference: Reference = None,
    *,
    regularizer: Any = None,
    top: int | None = None,
    threshold: float = 0.0,
) -> list[MeasurableWeight]:
    """Find the weights of a built model that a placement names.

    Args:
        model: A built Keras model.
        placement: One of

            * `"none"`, `"all"`, `"first"`, `"first:k"`: no kernel, all kernels, the first one, or the first k, in the
              order of the layers;
            * `"pre_skip"`: the kernels whose output reaches an `Add` (the layer, or the sum of two tensors) without
              passing another kernel. `"pre_concat"`: the same for `Concatenate`. Normalisations, activations and
              pooling on the way have no kernel. The model must be functional or sequential;
            * `"empirical"`: the kernels that keep entropy in a trained network (Meni et al., 2023, fig. 7): those whose
              mean in `reference` exceeds the mean in a randomly initialised copy by at least `threshold`. `top` keeps
              those with the largest difference, the earlier one if two are equal. `"empirical:k"` sets `top=k`;
            * the path of a layer, which wins over all other readings, or a glob on paths, such as `"encoder/*"`; if no
              path matches, it is tried on the names of layers at any depth;
            * several globs, or a predicate on layers;
            * a dict of placements to regularizers: all weights that its placements name.
        reference: For `"empirical"`: an `EntropyProfile` of a trained network of the same architecture, which is
            compared with a randomly initialised copy of `model` (seed 0), or a `ProfileComparison`. If kinds and shapes
            of the weights agree one after the other, weights are matched by their order, because Keras numbers
            automatic names; otherwise by path. Defaults to None.
        regularizer: If given, the placement chooses among the kernels that it can act on: `"first"` is the first of
            them, and `"all"` are all of them. `DenseEntropy` acts on matrices, `ConvEntropy` and `ConvCornerEntropy` on
            convolutions, any other `keras.Regularizer` on all kernels except those in attention layers. An entropy
            regularizer does not act on `DualDense`, whose map is w + G: it would see one of the two. Defaults to None.
        top: For `"empirical"`: Integer. Maximal number of kernels. Defaults to None, no limit.
        threshold: For `"empirical"`: Float. Smallest difference, in the unit of the reference. Defaults to 0.

    Returns:
        A list of `MeasurableWeight`, in the order of the model's layers.

    Raises:
        ValueError: If the model is not built, if the placement finds nothing (the message lists the model's kernels),
            or if the reference has another architecture.
        TypeError: If `placement` or `reference` has another type.

    Examples:
        >>> import keras
        >>> from keras_entropy import resolve_placement
        >>> x = keras.Input((8,))
        >>> h = keras.layers.Dense(8, activation="relu", name="inner")(x)
        >>> y = keras.layers.Dense(2, name="head")(keras.layers.Add()([x, h]))
        >>> [weight.path for weight in resolve_placement(keras.Model(x, y), "pre_skip")]
        ['inner']
    """
    check_built(model)
    everything = measurable_weights(model)
    if isinstance(placement, Mapping):
        resolve = functools.partial(resolve_placement, model, reference=reference, top=top, threshold=threshold)
        chosen = {w.path for inner, term in placement.items() for w in resolve(inner, regularizer=term)}
        return [weight for weight in everything if weight.path in chosen]
    weights = [weight for weight in everything if takes(weight, regularizer)]
    name, count = _named_in(everything, placement)
    if name == "none":
        return []
    if name == "empirical":
        return _empirical(model, weights, reference, top if count is None else count, threshold)
    quantised = quantised_weights(model) if _acts_on_matrices(regularizer) else []
    candidates: list[MeasurableWeight | SkippedWeight] = [*everything, *quantised]
    if name in ("first", "all"):
        count = len(weights) if name == "all" else 1 if count is None else count
        if count > len(weights) > 0:
            raise ValueError(
                f"`placement` {placement!r} asks for {count} kernels. Available: {len(weights)}: {_listed(weights)}."
            )
        found = weights[:count]
    elif placement is None:
        raise TypeError(_checks.message("placement", "a name, a glob, several globs, a predicate or a dict", placement))
    else:
        merge = _MERGES.get(name)
        candidates = (
            select(candidates, placement, "placement") if merge is None else [*feeding(model, merge), *quantised]
        )
        paths = {weight.path for weight in candidates}
        found = [weight for weight in weights if weight.path in paths]
    left_out = [weight for weight in candidates if isinstance(weight, SkippedWeight)]
    if not found:
        what = "" if regularizer is None else f" that {type(regularizer).__name__} can act on"
        available = f"Available: {_listed(weights)}."
        if everything and not weights:
            available = f"It can act on none of the kernels of the model: {_listed(everything)}."
        raise ValueError(
            f"`placement` {placement!r} finds no kernel{what}. {available}"
            f"{_remedy_for_dual(candidates)}{_remedy_for_quantised(left_out)}"
        )
    if left_out and regularizer is not None:
        warnings.warn(
            f"`placement` {placement!r} leaves layers out.{_remedy_for_quantised(left_out)}",
            _checks.EntropyWarning,
            stacklevel=3,
        )
    return found


def select_weights(model: Any, placement: Placement) -> list[MeasurableWeight]:
    """Find the weights to log: as `resolve_placement`, but globs and predicates reach scales of normalisations too.

    Args:
        model: A built Keras model.
        placement: As in `resolve_placement`, except for `"empirical"`; or None for all measurable weights.

    Returns:
        A list of `MeasurableWeight`, in the order of the model's layers.
    """
    weights = measurable_weights(model)
    if isinstance(placement, Mapping) or _named_in(weights, placement)[0]:
        return resolve_placement(model, placement)
    return select(weights, placement, "placement")


def check_selectable(placement: Any) -> Placement:
    """Return a placement for `select_weights` with its globs as a tuple; raise an error if it is not one."""
    parts = list(placement) if isinstance(placement, Mapping) else [placement]
    if any(_named(part)[0] == "empirical" for part in parts):
        raise ValueError(
            _checks.message(
                "placement",
                "a placement without a reference",
                placement,
                "Give the paths that resolve_placement(model, 'empirical', reference) finds.",
            )
        )
    is_selection = not (isinstance(placement, Mapping) or _named(placement)[0])
    checked: Placement = check_selection(placement, "placement") if is_selection else placement
    return checked


def takes(weight: MeasurableWeight, regularizer: Any) -> bool:
    """Whether a regularizer can act on a weight; with None: whether the weight is a kernel, not a scale."""
    if weight.layout == "scale":
        return False
    if regularizer is None:
        return True
    entropy = isinstance(regularizer, EntropyRegularizer)
    partial = entropy and weight.linear_map.others  # of a DualDense, G
    if weight.variable is None or weight.in_attention or partial:
        return False
    if not entropy:
        return True
    try:
        term = adapt_to_layer(regularizer, weight, factor=1.0)
        for kernel in weight.kernels(_backend.to_host(weight.variable)):
            term.check_kernel(kernel.shape)
    except ValueError:
        return False
    return True


def _acts_on_matrices(regularizer: Any) -> bool:
    """Whether a regularizer acts on matrices, which the kernels of all layers that Keras quantises are."""
    if isinstance(regularizer, EntropyRegularizer):
        try:
            regularizer.check_kernel((2, 2))
        except ValueError:
            return False
    return True


def _remedy_for_quantised(weights: Iterable[SkippedWeight]) -> str:
    """What to do about the quantised layers among weights that a regularizer does not act on."""
    names = _checks.printable(", ".join(f"{weight.path} ({weight.layer.quantization_mode})" for weight in weights))
    return (
        f" Training does not change quantised layers: {names}. Regularize and train before quantising." if names else ""
    )


def _remedy_for_dual(weights: Iterable[MeasurableWeight | SkippedWeight]) -> str:
    """What to do about the `DualDense` layers among weights that a regularizer does not act on."""
    found = (weight for weight in weights if isinstance(weight, MeasurableWeight))
    dual = [weight for weight in found if isinstance(weight.layer, DualDense)]
    if not dual:
        return ""
    return (
        f" An entropy regularizer does not act on DualDense ({_listed(dual)}): its map is w + G, and the regularizer "
        "would measure one of the two. To regularize one set, give the layer kernel_regularizer= or dual_regularizer=."
    )


def adapt_to_layer(regularizer: EntropyRegularizer, weight: MeasurableWeight, **changes: Any) -> EntropyRegularizer:
    """Copy a regularizer for a weight, with the layout, strides, dilation and groups of its layer."""
    config = {**regularizer.get_config(), **changes}
    arguments = weight.layer_arguments
    config |= {name: arguments[name] for name in regularizer.layer_arguments if name in arguments}
    copy: EntropyRegularizer = type(regularizer).from_config(config)
    return copy


def _named(placement: Any) -> tuple[str, int | None]:
    """The name of a placement and its count; ("", None) for a glob or a predicate."""
    match = _NAMED.fullmatch(placement) if isinstance(placement, str) else None
    if match is None or (match.group(2) is not None and match.group(1) not in _COUNTED):
        return "", None
    count = None if match.group(2) is None else int(match.group(2))
    if count == 0:
        raise ValueError(_checks.message("placement", f"{match.group(1)!r} with a count of at least 1", placement))
    return match.group(1), count


def _named_in(weights: list[MeasurableWeight], placement: Any) -> tuple[str, int | None]:
    """As `_named`, but a name that is the path of a layer stands for the layer."""
    found = _named(placement)
    if not found[0] or not of_path(weights, placement):
        return found
    warnings.warn(
        f"`placement` {placement!r} is the path of a layer of the model, and stands for this layer. To use the "
        f"placement {placement!r}, rename the layer; '*' stands for all kernels.",
        _checks.EntropyWarning,
        stacklevel=3,
    )
    return "", None


def _empirical(
    model: keras.Model, weights: list[MeasurableWeight], reference: Reference, top: int | None, threshold: float
) -> list[MeasurableWeight]:
    threshold = _checks.number("threshold", threshold)
    top = len(weights) if top is None else _checks.positive_integer("top", top)
    excess = _excess(model, reference)
    ranked = sorted((w for w in weights if excess.get(w.path, -math.inf) >= threshold), key=lambda w: -excess[w.path])
    if not ranked:
        known = sorted(((excess[w.path], w.path) for w in weights if w.path in excess), reverse=True)
        listed = ", ".join(f"{path} {value:+.3f}" for value, path in known) or "none"
        raise ValueError(
            f"`placement` 'empirical' finds no kernel whose mean exceeds that of a randomly initialised copy by "
            f"{threshold} nats. Differences: {listed}. Lower `threshold`, or name the layers."
        )
    chosen = {weight.path for weight in ranked[:top]}
    return [weight for weight in weights if weight.path in chosen]


def _excess(model: keras.Model, reference: Reference) -> dict[str, float]:
    """By path: mean in the reference minus mean in a randomly initialised copy, in nats."""
    if isinstance(reference, EntropyProfile):
        random_copy = entropy_profile(model, reference.measure, randomize=0)
        reference = _with_paths_of(random_copy, reference).compare(random_copy)
    elif not isinstance(reference, ProfileComparison):
        raise TypeError(
            _checks.message(
                "reference",
                "an EntropyProfile of a trained network of this architecture, for the placement 'empirical'",
                reference,
                "Make one with entropy_profile(trained_model).",
            )
        )
    return {d.path: d.difference for d in reference.differences if not math.isnan(d.difference)}


def _with_paths_of(other: EntropyProfile, profile: EntropyProfile) -> EntropyProfile:
    """The profile with the paths of the other one, if both list the same kinds and shapes."""
    own = profile.records
    while len(own) > len(other.records) and own[-1].not_finite:  # a bias, which a random copy does not list
        own = own[:-1]
    kinds, other_kinds = ([(record.kind, record.shape) for record in records] for records in (own, other.records))
    if kinds != other_kinds:
        return profile
    records = zip(own, other.records, strict=True)
    return dataclasses.replace(
        profile, records=tuple(dataclasses.replace(record, path=named.path) for record, named in records)
    )


def _listed(weights: list[MeasurableWeight]) -> str:
    return _checks.printable(", ".join(weight.path for weight in weights)) or "none"
