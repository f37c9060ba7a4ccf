"""Regularizers on layers of a model that is already built."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import keras

from keras_entropy import _backend, _checks, _keras
from keras_entropy.placement.resolution import Placement, Reference, adapt_to_layer, resolve_placement, takes
from keras_entropy.placement.unsaved import unsaved_terms
from keras_entropy.profile import MeasurableWeight, check_built
from keras_entropy.regularizers import ActivationEntropy, EntropyRegularizer, SumRegularizer, step_counter
from keras_entropy.regularizers.sum import members

_NAMED = 10
"""Layers that a warning names, of a model that may have hundreds."""


class Attachment:
    """The regularizers that one call of `apply_entropy` put on a model.

    It is a collection of the paths of the weights: it has a length and can be iterated over.

    Examples:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, apply_entropy
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="code")])
        >>> attached = apply_entropy(model, "all", DenseEntropy(1e-3))
        >>> list(attached), "code" in attached
        (['code'], True)
        >>> attached
        <Attachment of 1 regularizer: code>
    """

    def __init__(self, model: Any, terms: Sequence[tuple[MeasurableWeight, Any]]) -> None:
        self._layers = tuple(dict.fromkeys(weight.path for weight, _ in terms))
        self._model = model
        self._terms = tuple(terms)

    @property
    def layers(self) -> tuple[str, ...]:
        """Tuple of strings. Paths of the weights, in the order of the model's layers."""
        return self._layers

    def remove(self) -> None:
        """Take these regularizers off; a second call does nothing.

        Regularizers that the layers had before, or got later, stay. Losses and config of the model become what they
        were without these regularizers. Weights and the optimizer's state are kept. The next `fit` traces its step
        anew.

        Raises:
            ValueError: If called while `fit` is running.
        """
        if self._terms:
            _check_not_fitting(self._model)
        for weight, term in self._terms:
            for holder, name in _holders(weight):
                setattr(holder, name, _without(getattr(holder, name), term))
            for variable in _keras.own_variables(weight.layer):  # adapters made since took the layer's regularizer
                variable.regularizer = _without(variable.regularizer, term)
            step_counter.stop_counting(weight.layer, weight.trained_variables[0], term)
        if self._terms:
            _keras.rebuild_step_functions(self._model)
        self._terms = ()

    def __iter__(self) -> Iterator[str]:
        return iter(self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __repr__(self) -> str:
        count = len(self._terms)
        return f"<Attachment of {count} regularizer{'' if count == 1 else 's'}: {', '.join(self.layers) or 'no layer'}>"


def apply_entropy(
    model: Any,
    placement: Placement,
    regularizer: Any = None,
    reference: Reference = None,
    *,
    top: int | None = None,
    threshold: float = 0.0,
    replace: bool = False,
) -> Attachment:
    """Put a regularizer on layers of a built model, whether or not it was compiled and trained before.

    In Keras, setting `layer.kernel_regularizer` of a built layer has no effect. This function makes any
    `keras.Regularizer` act from the next `fit` of `model` on, on every backend, beside the regularizers that the layer
    has. The optimizer's state is kept. Each layer gets a copy of an entropy regularizer with the layer's own layout,
    strides, dilation and groups. The members of a `SumRegularizer` are put on one by one, each where it can act.

    Saving and `clone_model` keep the regularizer if the config of the model contains it, as the configs of Keras's own
    layers and models do. A class of your own that makes its layers itself may drop it, with an `EntropyWarning`: attach
    it again after loading. (No warning if a class has no config at all: Keras then refuses to save the model.)

    A placement chooses among the kernels that the regularizer can act on: `"first"` with a `DenseEntropy` is the first
    Dense kernel, also behind convolutions. `Attachment.layers` lists the chosen ones.

    Give the model that you train. If a larger model contains it and was trained before, compile the larger model again.
    Attention layers have one regularizer for all of their projections, so their kernels are left out: build them
    with `kernel_regularizer=`.

    Args:
        model: A built Keras model.
        placement: Where the regularizer goes, as in `resolve_placement`; or a dict of placements to regularizers, for
            instance to give groups of layers different factors. A layer that several of them name gets several
            regularizers.
        regularizer: A `keras.Regularizer`. One of this package is copied for each layer, any other is shared by all.
            Must be None if `placement` is a dict. Defaults to None.
        reference: For the placement `"empirical"`: as in `resolve_placement`.
        top: For `"empirical"`: as in `resolve_placement`.
        threshold: For `"empirical"`: as in `resolve_placement`.
        replace: Boolean. Whether regularizers of the same class that the chosen kernels have are taken off, as a
            notebook cell needs that runs again. Without it, an equal one is added to the first, with a warning.
            Defaults to False.

    Returns:
        An `Attachment`, which lists the paths of the weights and can `remove()` the regularizers.

    Raises:
        ValueError: As `resolve_placement`; if `placement` is an empty dict; if a layer is frozen, because Keras does
            not penalise it; if the regularizer raises an error for a chosen kernel, for instance because it has
            another number of factors than the layer has filters; or if `fit` is running. Nothing is attached then.
        TypeError: If `model` is not a `keras.Model`, or `regularizer` not a regularizer of kernels.

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
    _check_model(model)
    _check_not_fitting(model)
    pairs: list[tuple[MeasurableWeight, Any]] = []
    for inner, term in _pairs(placement, regularizer):
        weights = resolve_placement(model, inner, reference, regularizer=term, top=top, threshold=threshold)
        pairs += [(weight, term) for weight in weights]
    old: list[tuple[MeasurableWeight, Any]] = []
    if _checks.flag("replace", replace):
        kinds = [(weight, {type(member) for member in _members(term)}) for weight, term in pairs]
        old = [(w, m) for w, of in kinds for m in w.terms if type(m) in of]
    attached = attach_to_weights(model, pairs, in_place_of=old)
    _warn_of_unsaved_terms(model, [weight for weight, _ in pairs])
    return attached


def attach_for_a_run(model: Any, placement: Placement, regularizer: Any = None) -> Attachment:
    """Attach as `apply_entropy`, for a study or a search: without the warning that saving drops the term."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Saving and clone_model will drop", _checks.EntropyWarning)
        return apply_entropy(model, placement, regularizer)


def attach_to_weights(
    model: Any,
    pairs: Iterable[tuple[MeasurableWeight, Any]],
    in_place_of: Sequence[tuple[MeasurableWeight, Any]] = (),
) -> Attachment:
    """Put regularizers on weights of a built model, as `apply_entropy` does, for models that nobody saves.

    It does not warn if saving will drop them.

    Args:
        model: A built Keras model.
        pairs: Iterable of weights from `resolve_placement` with a `keras.Regularizer` each. The members of a
            `SumRegularizer` are put on one by one, those that can act on the weight.
        in_place_of: Sequence of weights with a regularizer each that is taken off, once it is known that the others
            can be put on. Defaults to none.

    Returns:
        An `Attachment`.

    Raises:
        ValueError: As `apply_entropy`.
        TypeError: If a regularizer is not one of kernels.
    """
    _check_not_fitting(model)
    terms = [(weight, _own(member, weight)) for weight, term in pairs for member in _members_for(weight, term)]
    frozen = [weight.path for weight, _ in terms if weight.frozen]
    if frozen:
        raise ValueError(
            f"Keras does not penalise frozen layers. Frozen: {', '.join(frozen)}. Set `trainable=True`, or leave them "
            "out of `placement`. Nothing was attached."
        )
    Attachment(model, in_place_of).remove()
    _warn_of_equal_terms(terms)
    _attach(terms)
    if terms:
        _keras.rebuild_step_functions(model)
    return Attachment(model, terms)


def _attach(terms: list[tuple[MeasurableWeight, Any]]) -> None:
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
            step_counter.count_steps(weight.layer, weight.trained_variables[0], term)


def _check_model(model: Any) -> None:
    check_built(model)
    if not isinstance(model, keras.Model):
        remedy = "Give the model that has this layer, and the path of the layer as `placement`."
        raise TypeError(_checks.message("model", "a keras.Model", model, remedy))


def _pairs(placement: Any, regularizer: Any) -> list[tuple[Any, Any]]:
    if isinstance(placement, keras.Regularizer):
        raise TypeError(
            "`placement` should come before `regularizer`: apply_entropy(model, placement, regularizer). "
            f"Received: placement={placement!r}."
        )
    if isinstance(placement, Mapping) and regularizer is not None:
        expected = "None, because `placement` is a dict of placements to regularizers"
        raise TypeError(_checks.message("regularizer", expected, regularizer))
    if isinstance(placement, Mapping) and not placement:
        remedy = "Name the layers, such as {'first': DenseEntropy(1e-3)}."
        raise ValueError(_checks.message("placement", "a dict with at least one placement", placement, remedy))
    pairs = list(placement.items()) if isinstance(placement, Mapping) else [(placement, regularizer)]
    return [(inner, member) for inner, term in pairs for member in _members(term)]


def _members(term: Any) -> list[Any]:
    """The regularizers of kernels of which a regularizer is the sum: itself, unless it is a `SumRegularizer`."""
    found = list(members(term)) or [term]
    for member in found:
        if isinstance(member, ActivationEntropy) or not isinstance(member, keras.Regularizer):
            raise TypeError(_checks.message("regularizer", "a keras.Regularizer of kernels", member))
    return found


def _members_for(weight: MeasurableWeight, term: Any) -> list[Any]:
    found = _members(term)
    return [member for member in found if takes(weight, member)] if len(found) > 1 else found


def _own(term: Any, weight: MeasurableWeight) -> Any:
    """The regularizer of one weight, after a trial call."""
    try:
        if isinstance(term, EntropyRegularizer):
            term = adapt_to_layer(term, weight)
            for kernel in weight.kernels(_backend.to_host(weight.variable)):
                term.check_kernel(kernel.shape)
        else:
            term(keras.ops.convert_to_tensor(_backend.to_host(weight.variable)))
    except Exception as error:  # a regularizer of the user may raise anything; it concerns this layer
        raise ValueError(f"Layer {weight.path!r}: {type(error).__name__}: {error} Nothing was attached.") from error
    return term


def _holders(weight: MeasurableWeight) -> list[tuple[Any, str]]:
    """What keeps a weight's regularizer: the variable, its adapters, and the layer if it has an argument for it."""
    holders = [(variable, "regularizer") for variable in (weight.variable, *weight.adapters)]
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
    rest = list(members(regularizer))
    index = next((i for i, member in enumerate(rest) if member is term), None)
    if index is None:
        return regularizer
    del rest[index]
    before = regularizer.before if isinstance(regularizer, SumRegularizer) else None
    while before is not None and any(member is term for member in members(before)):
        before = before.before if isinstance(before, SumRegularizer) else None
    below = members(before)
    if len(below) == len(rest) and all(a is b for a, b in zip(below, rest, strict=True)):
        return before
    without = SumRegularizer(rest)
    without.before = before
    return rest[0] if len(rest) == 1 and before is None else without


def _check_not_fitting(model: Any) -> None:
    if _keras.is_fitting(model):
        raise ValueError(
            "Regularizers should be attached and removed between two calls of `fit`. Received: a model that `fit` is "
            "training, whose step is compiled. To change a factor during training, use FactorSchedule."
        )


def _warn_of_equal_terms(terms: list[tuple[MeasurableWeight, Any]]) -> None:
    twice = [weight.path for weight, term in terms if any(_equal(m, term) for m in weight.terms)]
    if twice:
        warnings.warn(
            f"{', '.join(dict.fromkeys(twice))} had an equal regularizer already, and now has it twice. Use "
            "apply_entropy(..., replace=True) to replace it.",
            _checks.EntropyWarning,
            stacklevel=4,
        )


def _equal(one: Any, other: Any) -> bool:
    try:
        return type(one) is type(other) and bool(one.get_config() == other.get_config())
    except (NotImplementedError, ValueError):  # a regularizer without config; arrays in it
        return False


def _warn_of_unsaved_terms(model: Any, weights: list[MeasurableWeight]) -> None:
    lost = unsaved_terms(model, weights)
    if lost:
        others = f" and {len(lost) - _NAMED} others" if len(lost) > _NAMED else ""
        classes = ", ".join(dict.fromkeys(lost.values()))
        warnings.warn(
            f"Saving and clone_model will drop the regularizer of {', '.join([*lost][:_NAMED])}{others}: the config of "
            f"class {classes} does not contain it. Attach it again after loading. Or write the class so that it takes "
            "a regularizer as an argument, passes it to its layer, and returns that of the layer in get_config.",
            _checks.EntropyWarning,
            stacklevel=3,
        )
