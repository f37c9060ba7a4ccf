"""Where in a model an entropy term goes, and putting it there, also in a model that is already built."""

from __future__ import annotations

import re
from typing import Any

from keras_entropy import _checks, _keras, _steps
from keras_entropy.profile import MeasurableWeight, Selection, measurable_weights, select
from keras_entropy.regularizers import ActivationEntropy, EntropyRegularizer


def resolve_placement(
    model: Any, placement: Selection, regularizer: EntropyRegularizer | None = None
) -> list[MeasurableWeight]:
    """The weights of a built model that a placement means.

    Args:
        model: a built Keras model.
        placement: `"none"`; `"first"`; `"first:k"`, the first k; `"all"`; or what the layers are called: a
            glob on layer paths, several of them, or a predicate on layers.
        regularizer: if given, only weights whose kernel it measures count.

    Returns:
        A list of `MeasurableWeight`, in the order of the model's layers.

    Raises:
        ValueError: for a model that is not built, or a placement that finds nothing to put a term on.
        TypeError: for a placement of another type.

    Example:
        >>> import keras
        >>> from keras_entropy import resolve_placement
        >>> model = keras.Sequential(
        ...     [keras.Input((8,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(2, name="b")])
        >>> [weight.path for weight in resolve_placement(model, "first")]
        ['a']
    """
    if not model.built:
        raise ValueError(
            "`model` should be built, so that its kernels exist. Received: a model that is not built. "
            "Give it an input shape (keras.Input) or call it once on data."
        )
    everything = measurable_weights(model)
    weights = [weight for weight in everything if regularizer is None or _measures(regularizer, weight)]
    if isinstance(placement, str) and (named := re.fullmatch(r"none|all|first(?::([0-9]+))?", placement)):
        if placement == "none":
            return []
        count = len(weights) if placement == "all" else int(named.group(1) or 1)
        chosen = weights[:count] if count <= len(weights) else []
    elif placement is None:
        raise TypeError(_checks.message("placement", "a name, globs or a predicate", placement))
    else:
        chosen = [weight for weight in select(everything, placement) if weight in weights]
    if not chosen:
        what = "" if regularizer is None else f" that {type(regularizer).__name__} measures"
        paths = ", ".join(weight.path for weight in weights) or "none"
        raise ValueError(f"`placement`={placement!r} finds no layer{what}. Such layers of the model: {paths}.")
    return chosen


def apply_entropy(model: Any, regularizer: EntropyRegularizer, placement: Selection = "first") -> list[str]:
    """Attach an entropy regularizer to layers of a built model, compiled and trained before or not.

    It acts from the next `fit` of `model` on, on every backend, and is kept by `clone_model` and by saving. The
    optimizer's state is kept. Give the model that is trained: a larger model around it that has been trained
    before must be compiled again. A term gets each layer's own layout, strides, dilation and groups.

    Args:
        model: a built Keras model.
        regularizer: an entropy regularizer; each layer gets a copy.
        placement: as in `resolve_placement`. Defaults to `"first"`.

    Returns:
        The paths of the weights that now have the term.

    Raises:
        ValueError: as `resolve_placement`; for a layer that has another regularizer, which would be lost, or
            another number of filters than factors. Nothing is attached then.
        TypeError: if `regularizer` is not an entropy regularizer.

    Example:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, apply_entropy
        >>> model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="code")])
        >>> apply_entropy(model, DenseEntropy(1e-3), "all")
        ['code']
    """
    if isinstance(regularizer, ActivationEntropy) or not isinstance(regularizer, EntropyRegularizer):
        raise TypeError(
            _checks.message("regularizer", "an entropy regularizer of kernels, of this package", regularizer)
        )
    weights = resolve_placement(model, placement, regularizer)
    for weight in weights:
        present = weight.variable.regularizer
        if present is not None and not isinstance(present, EntropyRegularizer):
            raise ValueError(
                f"Layer {weight.path!r} has the regularizer {type(present).__name__}, which would be lost. "
                "Set it to None first, or leave the layer out of `placement`."
            )
    copies = []
    for weight in weights:
        copies.append(_adapted(regularizer, weight))
        try:
            copies[-1].check_kernel(tuple(weight.variable.shape))
        except ValueError as error:
            raise ValueError(f"Layer {weight.path!r}: {error} Nothing was attached.") from error
    for weight, own in zip(weights, copies, strict=True):
        # Keras reads the variable's regularizer in training, and the layer's when it clones or saves.
        weight.variable.regularizer = own
        setattr(weight.layer, weight.regularizer_attribute, own)
        if own.every > 1:
            _steps.count_steps(weight.layer, weight.variable)
    _keras.rebuild_step_functions(model)
    return [weight.path for weight in weights]


def _measures(regularizer: EntropyRegularizer, weight: MeasurableWeight) -> bool:
    try:
        _adapted(regularizer, weight, factor=1.0).check_kernel(tuple(weight.variable.shape))
    except ValueError:
        return False
    return True


def _adapted(regularizer: EntropyRegularizer, weight: MeasurableWeight, **changes: Any) -> EntropyRegularizer:
    config = {**regularizer.get_config(), **changes}
    arguments = weight.layer_arguments
    config |= {name: arguments[name] for name in regularizer.layer_arguments if name in arguments}
    adapted: EntropyRegularizer = type(regularizer).from_config(config)
    return adapted
