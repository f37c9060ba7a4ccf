"""Putting regularizers on layers of a model that is already built, and taking them off again."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import keras

from keras_entropy import _backend, _checks, _keras, _steps
from keras_entropy.placement.rules import Reference, Rule, adapted, resolve_placement
from keras_entropy.profile import MeasurableWeight
from keras_entropy.regularizers import ActivationEntropy, EntropyRegularizer, SumRegularizer


class Attachment:
    """The regularizers that one call of `apply_entropy` has put on a model.

    It is a collection of the paths of the weights: it has a length and can be iterated over.

    Attributes:
        layers: the paths of the weights, in the order of the model's layers.
    """

    def __init__(self, model: Any, terms: list[tuple[MeasurableWeight, Any]]) -> None:
        self.layers = tuple(dict.fromkeys(weight.path for weight, _ in terms))
        self._model = model
        self._terms = terms

    def remove(self) -> None:
        """Take the regularizers off, and leave those that were there before or came later. A second call does nothing.

        The model's losses and config then are what they were, and the optimizer's state is kept; the next `fit` traces
        its step anew. Weights are not touched.
        """
        if self._terms:
            _check_not_fitting(self._model)
        for weight, term in self._terms:
            for holder, name in _holders(weight):
                setattr(holder, name, _without(getattr(holder, name), term))
            for variable in _keras.own_variables(weight.layer):  # adapters made since took the layer's regularizer
                variable.regularizer = _without(variable.regularizer, term)
            _steps.stop_counting(weight.layer, weight.variable, term)
        if self._terms:
            _keras.rebuild_step_functions(self._model)
        self._terms = []

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        return f"<{len(self._terms)} regularizers on {', '.join(self.layers) or 'no layer'}>"


def apply_entropy(
    model: Any,
    rule: Rule,
    regularizer: Any = None,
    reference: Reference = None,
    *,
    top: int | None = None,
    threshold: float = 0.0,
) -> Attachment:
    """Put a regularizer on layers of a built model, compiled and trained before or not.

    It takes any `keras.Regularizer`: setting `layer.kernel_regularizer` of a layer that is built has no effect in
    Keras. It acts beside the regularizers that are there, from the next `fit` of `model` on, on every backend, and is
    kept by `clone_model` and by saving where the layer has a regularizer among its arguments, as those of Keras have.
    The optimizer's state is kept. An entropy term gets each layer's own layout, strides, dilation and groups; the
    members of a `SumRegularizer` are put on one by one, each where it can act.

    Give the model that is trained: a larger model around it that has been trained before must be compiled again.
    Attention layers keep one regularizer for all of their projections, so their kernels are left out: build them
    with `kernel_regularizer=`.

    Args:
        model: a built Keras model.
        rule: as in `resolve_placement`, or a dict of rules to regularizers: a factor for each group of layers. A layer
            that several rules mean gets several terms.
        regularizer: a `keras.Regularizer`, of this package (each layer gets a copy) or any other (all share it). Not
            beside a dict.
        reference: for the rule `"empirical"`, as in `resolve_placement`, like the next two.
        top: for `"empirical"`.
        threshold: for `"empirical"`.

    Returns:
        An `Attachment`: the paths of the weights, and `remove()`.

    Raises:
        ValueError: as `resolve_placement`; for frozen layers, which Keras does not penalise; for a layer that the
            regularizer does not fit, such as another number of filters than factors; while `fit` is running. Nothing
            is attached then.
        TypeError: if `regularizer` is no regularizer of kernels.

    Examples:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, apply_entropy
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="code")])
        >>> attached = apply_entropy(model, "all", DenseEntropy(1e-3))
        >>> attached.layers, len(model.losses)
        (('code',), 1)
        >>> attached.remove()
        >>> model.losses
        []
    """
    _check_not_fitting(model)
    terms: list[tuple[MeasurableWeight, Any]] = []
    for inner, term in _pairs(rule, regularizer):
        weights = resolve_placement(model, inner, reference, regularizer=term, top=top, threshold=threshold)
        terms += [(weight, _own(term, weight)) for weight in weights]
    frozen = [weight.path for weight, _ in terms if weight.frozen]
    if frozen:
        raise ValueError(
            f"Layers that are frozen take no term, since Keras leaves them out of the loss: {', '.join(frozen)}. Set "
            "`trainable` to True, or leave them out of `rule`. Nothing was attached."
        )
    planned: dict[tuple[int, str], tuple[Any, Any]] = {}  # nothing is attached before all is known to fit
    for weight, term in terms:
        # Keras reads the variable's regularizer in training, and the layer's when it clones or saves.
        for holder, name in _holders(weight):
            _, present = planned.get((id(holder), name), (holder, getattr(holder, name)))
            planned[id(holder), name] = holder, _with(present, term)
    for (_, name), (holder, combined) in planned.items():
        setattr(holder, name, combined)
    for weight, term in terms:
        if getattr(term, "every", 1) > 1:
            _steps.count_steps(weight.layer, weight.variable, term)
    _warn_of_layers_that_keep_none([weight for weight, _ in terms])
    if terms:
        _keras.rebuild_step_functions(model)
    return Attachment(model, terms)


def _pairs(rule: Any, regularizer: Any) -> list[tuple[Any, Any]]:
    if isinstance(rule, keras.Regularizer):
        raise TypeError(
            "`rule` should come before `regularizer`: apply_entropy(model, rule, regularizer). "
            f"Received: rule={rule!r}."
        )
    if isinstance(rule, Mapping) and regularizer is not None:
        raise TypeError(_checks.message("regularizer", "None where `rule` is a dict of rules to them", regularizer))
    pairs = list(rule.items()) if isinstance(rule, Mapping) else [(rule, regularizer)]
    pairs = [(inner, member) for inner, term in pairs for member in _keras.members(term) or [term]]
    for _, term in pairs:
        if isinstance(term, ActivationEntropy) or not isinstance(term, keras.Regularizer):
            raise TypeError(_checks.message("regularizer", "a keras.Regularizer of kernels", term))
    return pairs


def _own(term: Any, weight: MeasurableWeight) -> Any:
    """The regularizer of one weight, tried out."""
    try:
        if isinstance(term, EntropyRegularizer):
            term = adapted(term, weight)
            term.check_kernel(weight.shape)
        else:
            term(keras.ops.convert_to_tensor(_backend.to_host(weight.variable)))
    except Exception as error:  # whatever a regularizer of the user's own raises is about this layer
        raise ValueError(f"Layer {weight.path!r}: {error} Nothing was attached.") from error
    return term


def _holders(weight: MeasurableWeight) -> list[tuple[Any, str]]:
    """Where a weight's regularizer is kept: by the variable, and by a layer that has it among its arguments."""
    holders = [(weight.variable, "regularizer")]
    if hasattr(weight.layer, weight.regularizer_attribute):
        holders.append((weight.layer, weight.regularizer_attribute))
    return holders


def _with(present: Any, term: Any) -> Any:
    if present is None:
        return term
    combined = SumRegularizer([present, term])
    combined.before = present  # to be put back as it is when the term is removed
    return combined


def _without(regularizer: Any, term: Any) -> Any:
    rest = list(_keras.members(regularizer))
    index = next((i for i, member in enumerate(rest) if member is term), None)
    if index is None:
        return regularizer
    del rest[index]
    before = regularizer.before if isinstance(regularizer, SumRegularizer) else None
    while before is not None and any(member is term for member in _keras.members(before)):
        before = before.before if isinstance(before, SumRegularizer) else None
    members = _keras.members(before)
    if len(members) == len(rest) and all(a is b for a, b in zip(members, rest, strict=True)):
        return before
    without = SumRegularizer(rest)
    without.before = before
    return rest[0] if len(rest) == 1 and before is None else without


def _check_not_fitting(model: Any) -> None:
    if _keras.is_fitting(model):
        raise ValueError(
            "Regularizers are put on a model, and taken off, between two calls of `fit`, not by a callback while one "
            "is running: its step is compiled. To change a strength by epoch use FactorSchedule."
        )


def _warn_of_layers_that_keep_none(weights: list[MeasurableWeight]) -> None:
    forgetful = sorted({type(w.layer).__name__ for w in weights if not hasattr(w.layer, w.regularizer_attribute)})
    if forgetful:
        warnings.warn(
            f"The term acts on layers of class {', '.join(forgetful)}, but clone_model and saving will not keep it: "
            "they have no argument for a regularizer of this weight.",
            _checks.EntropyWarning,
            stacklevel=3,
        )
