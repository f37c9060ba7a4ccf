"""Where in a model an entropy term goes."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping
from typing import Any

import keras

from keras_entropy import _checks
from keras_entropy.layers import DualDense
from keras_entropy.placement.graph import feeding
from keras_entropy.profile import (
    Comparison,
    EntropyProfile,
    MeasurableWeight,
    Selection,
    check_built,
    entropy_profile,
    measurable_weights,
    select,
)
from keras_entropy.regularizers import EntropyRegularizer

Rule = Selection | Mapping[Any, Any]
Reference = EntropyProfile | Comparison | None

_MERGES = {"pre_skip": "Add", "pre_concat": "Concatenate"}
_NAMED = re.compile(r"(none|all|first|empirical|pre_skip|pre_concat)(?::([0-9]+))?")
_COUNTED = ("first", "empirical")


def resolve_placement(
    model: Any,
    rule: Rule,
    reference: Reference = None,
    *,
    regularizer: Any = None,
    top: int | None = None,
    threshold: float = 0.0,
) -> list[MeasurableWeight]:
    """The weights of a built model that a placement means.

    Args:
        model: a built Keras model.
        rule: one of

            * `"none"`, `"all"`, `"first"`, `"first:k"`: none, all, the first one or k kernels, in the order of layers;
            * `"pre_skip"`: the kernels whose output reaches an `Add` (the layer, or the sum of two tensors) without
              another kernel between, and `"pre_concat"`, the same for `Concatenate`. Normalisations, activations and
              pooling in between are looked through. It takes a functional or sequential model;
            * `"empirical"`: the kernels that keep entropy in a trained network [A, fig. 7]: those whose mean in
              `reference` exceeds that of the random twin by at least `threshold`; of these the `top` with the largest
              difference, the earlier one where two are equal. `"empirical:k"` is `top=k`;
            * a glob on layer paths, such as `"encoder/*"`, or, where no path matches, on names of layers at any depth;
              several of them; a predicate on layers; or a dict of rules to regularizers: all that its rules mean.
        reference: for `"empirical"`: a profile of a trained network of the same architecture, which is compared with
            the random twin of `model` (seed 0); or a `Comparison` made by yourself. Weights are matched by order if
            kinds and shapes are the same one after the other, since automatic names count on; else by path.
        regularizer: if given, only weights that it can act on count. An entropy term acts on no `DualDense`: its map is
            w + G, and a regularizer sees one of the two.
        top: for `"empirical"`: how many at most. Defaults to None: all.
        threshold: for `"empirical"`: nats, in the unit of the reference. Defaults to 0.

    Returns:
        A list of `MeasurableWeight`, in the order of the model's layers.

    Raises:
        ValueError: for a model that is not built, a rule that finds nothing (it lists what there is), a reference that
            is missing or of another architecture.
        TypeError: for a rule of another type.

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
    if isinstance(rule, Mapping):
        resolve = functools.partial(resolve_placement, model, reference=reference, top=top, threshold=threshold)
        chosen = {w.path for inner, term in rule.items() for w in resolve(inner, regularizer=term)}
        return [weight for weight in everything if weight.path in chosen]
    weights = [weight for weight in everything if takes(weight, regularizer)]
    name, count = _named(rule)
    meant = everything
    if name == "none":
        return []
    if name == "empirical":
        return _empirical(model, weights, reference, top if count is None else count, threshold)
    if name in ("first", "all"):
        count = len(weights) if name == "all" else 1 if count is None else count
        if count > len(weights) > 0:
            raise ValueError(f"`rule`={rule!r} asks for {count} of {len(weights)} layers: {_listed(weights)}.")
        found = weights[:count]
    elif rule is None:
        raise TypeError(_checks.message("rule", "a name, globs, a predicate or a dict", rule))
    else:
        meant = feeding(model, _MERGES[name]) if name in _MERGES else select(everything, rule, "rule")
        paths = {weight.path for weight in meant}
        found = [weight for weight in weights if weight.path in paths]
    if not found:
        what = "" if regularizer is None else f" that {type(regularizer).__name__} can act on"
        raise ValueError(
            f"`rule`={rule!r} finds no layer{what}. Such layers of the model: {_listed(weights)}.{_why_not_dual(meant)}"
        )
    return found


def takes(weight: MeasurableWeight, regularizer: Any) -> bool:
    """Whether a regularizer can act on a weight; with None: whether the weight is a kernel, not a scale."""
    if weight.layout == "scale":
        return False
    if regularizer is None:
        return True
    entropy = isinstance(regularizer, EntropyRegularizer)
    tensor = entropy and weight.layout == "dense" and len(weight.shape) != 2  # of an EinsumDense, not a convolution
    partial = entropy and (_is_blockwise(weight) or weight.linear_map.others)  # others: of a DualDense, G
    if weight.variable is None or weight.in_attention or tensor or partial:
        return False
    if not entropy:
        return True
    try:
        adapted(regularizer, weight, factor=1.0).check_kernel(weight.shape)
    except ValueError:
        return False
    return True


def _why_not_dual(weights: list[MeasurableWeight]) -> str:
    """What to do about layers of two weight sets among those that a rule means and a regularizer does not take."""
    dual = [weight for weight in weights if isinstance(weight.layer, DualDense)]
    if not dual:
        return ""
    return (
        f" DualDense is left out on purpose ({_listed(dual)}): its map is w + G, and an entropy term on a kernel would "
        "measure one of the two. For a term on one set give the layer kernel_regularizer= or dual_regularizer=."
    )


def _is_blockwise(weight: MeasurableWeight) -> bool:
    """Whether a matrix is one of several blocks, which an entropy term would take for one matrix."""
    return isinstance(weight.layer, keras.layers.EinsumDense) and len(weight.pieces()) > 1


def adapted(regularizer: EntropyRegularizer, weight: MeasurableWeight, **changes: Any) -> EntropyRegularizer:
    """A copy of a regularizer for a weight, with the layout, strides, dilation and groups of its layer."""
    config = {**regularizer.get_config(), **changes}
    arguments = weight.layer_arguments
    config |= {name: arguments[name] for name in regularizer.layer_arguments if name in arguments}
    copy: EntropyRegularizer = type(regularizer).from_config(config)
    return copy


def _named(rule: Any) -> tuple[str, int | None]:
    """The name of a rule and its count; ("", None) for a rule without a name."""
    match = _NAMED.fullmatch(rule) if isinstance(rule, str) else None
    if match is None or (match.group(2) is not None and match.group(1) not in _COUNTED):
        return "", None
    count = None if match.group(2) is None else int(match.group(2))
    if count == 0:
        raise ValueError(_checks.message("rule", f"{match.group(1)!r} with a count of at least 1", rule))
    return match.group(1), count


def _empirical(
    model: keras.Model, weights: list[MeasurableWeight], reference: Reference, top: int | None, threshold: float
) -> list[MeasurableWeight]:
    threshold = _checks.number("threshold", threshold)
    top = len(weights) if top is None else _checks.positive_integer("top", top)
    kept = _kept(model, reference)
    ranked = sorted((w for w in weights if kept.get(w.path, -math.inf) >= threshold), key=lambda w: -kept[w.path])
    if not ranked:
        known = sorted(((kept[w.path], w.path) for w in weights if w.path in kept), reverse=True)
        listed = ", ".join(f"{path} {value:+.3f}" for value, path in known) or "none"
        raise ValueError(
            f"`rule`='empirical' finds no layer that exceeds its random twin by {threshold} nats. Differences of the "
            f"layers: {listed}."
        )
    chosen = {weight.path for weight in ranked[:top]}
    return [weight for weight in weights if weight.path in chosen]


def _kept(model: keras.Model, reference: Reference) -> dict[str, float]:
    """By path, how much more entropy each weight keeps in the reference than in its random twin, in nats."""
    if isinstance(reference, EntropyProfile):
        twin = entropy_profile(model, reference.measure, randomize=0)
        reference = _renamed(reference, twin).compare(twin)
    elif not isinstance(reference, Comparison):
        raise TypeError(
            _checks.message(
                "reference",
                "an EntropyProfile of a trained network of this architecture, for the rule 'empirical'",
                reference,
                "Make one with entropy_profile(trained_model).",
            )
        )
    return {d.path: d.difference for d in reference.differences if not math.isnan(d.difference)}


def _renamed(reference: EntropyProfile, twin: EntropyProfile) -> EntropyProfile:
    """The reference with the twin's paths, if it has the same kinds and shapes."""
    shapes = [[(record.kind, record.shape) for record in profile.records] for profile in (reference, twin)]
    if shapes[0] != shapes[1]:
        return reference
    records = zip(reference.records, twin.records, strict=True)
    renamed = tuple(dataclasses.replace(record, path=other.path) for record, other in records)
    return dataclasses.replace(reference, records=renamed)


def _listed(weights: list[MeasurableWeight]) -> str:
    return ", ".join(weight.path for weight in weights) or "none"
