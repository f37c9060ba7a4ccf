"""A KerasTuner hypermodel that tunes an entropy term: which one, where, how strong."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import keras_tuner
from keras_tuner import errors

from keras_entropy import _checks
from keras_entropy._keras import fresh_names
from keras_entropy.callbacks import EntropyLogger
from keras_entropy.placement import apply_entropy, resolve_placement
from keras_entropy.placement.resolution import Placement
from keras_entropy.runs.identity import identity
from keras_entropy.tuning import objective_checks

PLACEMENT, FACTOR, REGULARIZER, SIGN = "entropy/placement", "entropy/factor", "entropy/regularizer", "entropy/sign"
OWN = "entropy/"
"""What the names of the hyperparameters of an entropy term start with."""

Factory = Callable[[float], Any]


class EntropyHyperModel(keras_tuner.HyperModel):
    """A model with an entropy term whose placement and factor are hyperparameters, for any tuner of KerasTuner.

    It adds `entropy/placement`, `entropy/factor` (drawn by logarithm), and where they are asked for
    `entropy/regularizer` and `entropy/sign` to the hyperparameters of the user's `build`, which stay tunable. No
    hyperparameter depends on another, since Bayesian optimisation repeats itself where some do. The model without term
    is no point of the search: run it beside it on the same seeds, as `EntropyTuner` and `search` do.

    With it a tuner refuses an objective and callbacks that watch the penalty (`"loss"`, `"val_loss"`), an error in
    `build` or `fit` ends the search instead of counting as a trial, and a trial whose objective is not finite has
    failed. `fit` logs `val_task_loss`, which is a good objective: `keras_tuner.Objective("val_task_loss", "min")`.

    Args:
        build: a function of `keras_tuner.HyperParameters`, one without arguments, or a `keras_tuner.HyperModel`; it
            gives a compiled and built model.
        regularizer: a function of a factor that returns a `keras.Regularizer`, such as the class `ConvCornerEntropy`;
            or several, as a list or as a dict of names.
        placements: rules as of `resolve_placement`; a dict gives names to rules that are no strings.
        factors: lowest and highest, between which factors are drawn by logarithm; or one, or three and more, which then
            are the only ones that are tried.
        negative: True to try each factor with both signs.
        per_layer: True for a factor for each layer, `entropy/factor/<layer path>`, of a single placement.

    Raises:
        TypeError: for arguments of another kind.
        ValueError: for no placements, for "none" among them, or for factors that are not positive.

    Examples:
        >>> import keras, keras_tuner
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.tuning import EntropyHyperModel
        >>> def build(hp):
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(1)])
        ...     model.compile(keras.optimizers.Adam(hp.Float("learning_rate", 1e-4, 1e-2, sampling="log")), "mse")
        ...     return model
        >>> hp = keras_tuner.HyperParameters()
        >>> model = EntropyHyperModel(build, DenseEntropy).build(hp)
        >>> sorted(hp.values)
        ['entropy/factor', 'entropy/placement', 'learning_rate']
    """

    def __init__(
        self,
        build: Any,
        regularizer: Factory | Sequence[Factory] | Mapping[str, Factory],
        placements: Sequence[str] | Mapping[str, Placement] = ("first", "all"),
        factors: Sequence[float] = (1e-4, 1e-1),
        *,
        negative: bool = False,
        per_layer: bool = False,
    ) -> None:
        super().__init__()
        if not isinstance(build, keras_tuner.HyperModel) and not callable(build):
            raise TypeError(_checks.message("build", "a function or a keras_tuner.HyperModel", build))
        self.base = build
        self.regularizers = _named_regularizers(regularizer)
        self.placements = _named_placements(placements)
        self.factors = _checked_factors(factors)
        self.negative, self.per_layer = _checks.flag("negative", negative), _checks.flag("per_layer", per_layer)
        if per_layer and len(self.placements) > 1:
            raise ValueError(
                f"`per_layer` takes one placement, since factors of layers that another one leaves out would be tuned "
                f"for nothing. Received: placements={list(self.placements)!r}. Give the one with most layers."
            )

    def build(self, hp: Any) -> Any:
        """The user's model with its term, compiled."""
        model = self.baseline(hp)
        placement = self.placements[hp.Choice(PLACEMENT, list(self.placements))]
        kind = self.regularizers[_choice(hp, REGULARIZER, list(self.regularizers))]
        if not self.per_layer:
            apply_entropy(model, placement, kind(self._factor(hp, FACTOR)))
            return model
        weights = resolve_placement(model, placement, regularizer=kind(1.0))
        for path in dict.fromkeys(weight.path for weight in weights):
            apply_entropy(model, path, kind(self._factor(hp, f"{FACTOR}/{path}")))
        return model

    def baseline(self, hp: Any) -> Any:
        """The user's model without the term, compiled."""
        with fresh_names():  # a layer is called the same in each trial
            if isinstance(self.base, keras_tuner.HyperModel):
                model = self.base.build(hp)
            else:
                model = self.base(hp) if takes_hyperparameters(self.base) else self.base()
        objective_checks.check_names(parameter.name for parameter in hp.space)
        if not isinstance(model, keras.Model) or not model.compiled:
            raise errors.FatalTypeError(
                _checks.message("build", "a function that returns a compiled keras.Model", model)
            )
        if not model.built:
            raise errors.FatalValueError(
                "The model of `build` is not built. Give its first layer an input shape: keras.Input."
            )
        return model

    def describe(self) -> dict[str, Any]:
        """What is tuned, as plain values: equal for equal hypermodels, also in another process."""
        base: Any = self.base
        if isinstance(base, keras_tuner.HyperModel):
            plain = {name: value for name, value in vars(base).items() if not callable(value)}  # not its own methods
            base = [type(base).__qualname__, type(base).build, type(base).fit, plain]
        names = ("regularizers", "placements", "factors", "negative", "per_layer")
        return {"build": identity(base), **{name: identity(getattr(self, name)) for name in names}}

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Train, after a look at what is watched; `EntropyLogger` is added where none is among the callbacks."""
        callbacks = list(kwargs.pop("callbacks", None) or [])
        objective_checks.check_callbacks(callbacks)
        objective = next((c.objective for c in callbacks if hasattr(c, "objective")), None)
        if objective is not None:
            objective_checks.check_objective(objective)
        if not any(isinstance(callback, EntropyLogger) for callback in callbacks):
            callbacks.append(EntropyLogger())
        with objective_checks.raised():
            if isinstance(self.base, keras_tuner.HyperModel):
                results = self.base.fit(hp, model, *args, callbacks=callbacks, **kwargs)
            else:
                results = super().fit(hp, model, *args, callbacks=callbacks, **kwargs)
            if objective is not None:
                objective_checks.check_finite(results, objective)
        return results

    def _factor(self, hp: Any, name: str) -> float:
        if len(self.factors) == 2:
            low, high = self.factors
            value = hp.Float(name, low, high, sampling="log")
        else:
            value = hp.Choice(name, list(self.factors), ordered=True)
        if self.negative:
            value *= hp.Choice(name.replace(FACTOR, SIGN, 1), [1, -1], ordered=True)
        return float(value)


def takes_hyperparameters(build: Callable[..., Any]) -> bool:
    """Whether a function has an argument that it needs, which then is that of the hyperparameters."""
    empty = inspect.Parameter.empty
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in inspect.signature(build).parameters.values() if p.default is empty and p.kind in positional]
    if len(needed) > 1:
        raise TypeError(
            f"`build` should take the hyperparameters alone, or nothing. Received: a function of "
            f"{', '.join(parameter.name for parameter in needed)}."
        )
    return bool(needed)


def _choice(hp: Any, name: str, options: list[str]) -> str:
    """One of the options, a hyperparameter only where there are several."""
    return str(hp.Choice(name, options)) if len(options) > 1 else options[0]


def _named_regularizers(given: Any) -> dict[str, Factory]:
    if isinstance(given, keras.Regularizer):
        raise TypeError(
            f"`regularizer` should make a term from a factor, which is tuned. Received: {given!r}, which has one. Give "
            f"its class, {type(given).__name__}, or a function of the factor."
        )
    if not isinstance(given, Mapping):
        several = [given] if callable(given) else list(given) if isinstance(given, Iterable) else []
        given = {getattr(kind, "__name__", type(kind).__name__): kind for kind in several}
        if len(given) < len(several):
            raise ValueError("Several of `regularizer` have the same name. Give them as a dict of names.")
    if not given or not all(callable(kind) for kind in given.values()):
        raise TypeError(_checks.message("regularizer", "a function of a factor, or several in a list or dict", given))
    return dict(given)


def _named_placements(given: Any) -> dict[str, Placement]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(_checks.message("placements", "a list of placements", given))
    named = dict(given) if isinstance(given, Mapping) else {rule: rule for rule in given if isinstance(rule, str)}
    if not isinstance(given, Mapping) and len(named) < len(list(given)):
        raise TypeError(_checks.message("placements", "different strings, or a dict of names to rules", given))
    if not named:
        raise ValueError(_checks.message("placements", "at least one placement", given))
    if any(rule == "none" for rule in named.values()):
        raise ValueError(
            "`placements` should not hold 'none': in a search the model without term would have few or many trials by "
            "chance. EntropyTuner and search run it beside the search, on the same seeds."
        )
    return named


def _checked_factors(given: Any) -> tuple[float, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(_checks.message("factors", "the lowest and the highest factor, or more values", given))
    values = tuple(float(_checks.number("factors", value)) for value in given)
    if not values or min(values) <= 0 or len(set(values)) < len(values):
        raise ValueError(
            _checks.message("factors", "two positive numbers, the lowest and the highest, or one or more values", given)
        )
    if len(values) == 2 and not values[0] < values[1] < math.inf:
        raise ValueError(_checks.message("factors", "the lowest factor before the highest", given))
    return values
