"""Putting regularizers on layers of a model that is already built, and taking them off again."""

from __future__ import annotations

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
        for weight, term in self._terms:
            for holder, name in _holders(weight):
                setattr(holder, name, _without(getattr(holder, name), term))
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
    kept by `clone_model` and by saving. The optimizer's state is kept. An entropy term gets each layer's own layout,
    strides, dilation and groups.

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
            regularizer does not fit, such as another number of filters than factors. Nothing is attached then.
        TypeError: if `regularizer` is no regularizer of kernels.

    Example:
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
    for weight, term in terms:
        # Keras reads the variable's regularizer in training, and the layer's when it clones or saves.
        for holder, name in _holders(weight):
            present = getattr(holder, name)
            setattr(holder, name, term if present is None else SumRegularizer([present, term]))
        if getattr(term, "every", 1) > 1:
            _steps.count_steps(weight.layer, weight.variable, term)
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


def _without(regularizer: Any, term: Any) -> Any:
    members = list(_keras.members(regularizer))
    index = next((i for i, member in enumerate(members) if member is term), None)
    if index is None:
        return regularizer
    del members[index]
    return None if not members else members[0] if len(members) == 1 else SumRegularizer(members)
