"""A hypermodel for KerasTuner that tunes the regularizer, the placement and the factor of an entropy term."""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import keras_tuner
from keras_tuner import errors

from keras_entropy import _checks
from keras_entropy._keras import fresh_names
from keras_entropy.callbacks import EntropyLogger
from keras_entropy.placement import resolve_placement
from keras_entropy.placement.attachment import attach_for_a_run, attach_to_weights
from keras_entropy.placement.resolution import Placement
from keras_entropy.runs.identity import identity
from keras_entropy.runs.training import checked_model, refuse_model
from keras_entropy.tuning import objective_checks
from keras_entropy.tuning.trial_errors import fatal_errors

PLACEMENT, FACTOR, REGULARIZER, SIGN = "entropy/placement", "entropy/factor", "entropy/regularizer", "entropy/sign"
OWN = "entropy/"
"""Prefix of the hyperparameters of the entropy term."""

_NAMES = re.compile("entropy/(placement|regularizer|(factor|sign)(/.*)?)$")

Factory = Callable[[float], Any]


class EntropyHyperModel(keras_tuner.HyperModel):
    """A model with an entropy term whose placement and factor are hyperparameters, for any tuner of KerasTuner.

    It adds the hyperparameters `entropy/placement` and `entropy/factor`, and on request `entropy/regularizer` and
    `entropy/sign`, to those of your `build` function. No hyperparameter depends on another one: Bayesian optimisation
    repeats settings if one does. The baseline, the model without an entropy term, is not part of the search space:
    `search` tunes it with as many trials of its own.

    With this hypermodel, a tuner raises an error for an objective or a callback that monitors the penalty (`"loss"`,
    `"val_loss"`); an error in `build` or `fit` ends the search; and a trial whose objective is not finite fails. `fit`
    logs `val_task_loss`, a good objective: `keras_tuner.Objective("val_task_loss", "min")`.

    Args:
        build: Function that returns a compiled and built Keras model. It takes `keras_tuner.HyperParameters` or
            nothing. Or a `keras_tuner.HyperModel`.
        regularizer: Function of a factor that returns a `keras.Regularizer`, such as the class `ConvCornerEntropy`. A
            list or a dict of several makes the choice a hyperparameter.
        placements: List of placements, as in `resolve_placement`, or a dict of placements by name. Defaults to
            `("first", "all")`.
        factors: The lowest and the highest factor, between which factors are drawn log-uniformly; or one value, or
            three and more, of which one is chosen. Defaults to `(1e-4, 1e-1)`.
        negative: Boolean. Whether to try factors with both signs. Defaults to False.
        per_layer: Boolean. Whether each layer of a single placement has its own factor, `entropy/factor/<layer path>`.
            Defaults to False.

    Raises:
        TypeError: For an argument of the wrong type.
        ValueError: If there are no placements, if `"none"` is among them, or if a factor is not positive.

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
        refuse_model(build)
        self.base = build
        self.regularizers = _named_regularizers(regularizer)
        self.placements = _named_placements(placements)
        self.factors = _checked_factors(factors)
        self.negative, self.per_layer = _checks.flag("negative", negative), _checks.flag("per_layer", per_layer)
        if per_layer and len(self.placements) > 1:
            raise ValueError(
                f"`per_layer=True` takes one placement: other placements would leave some factors unused. Received: "
                f"placements={list(self.placements)!r}. Give the placement with most layers."
            )

    def build(self, hp: Any) -> Any:
        """Build the compiled model with its entropy term."""
        model = self.baseline(hp)
        placement = self.placements[hp.Choice(PLACEMENT, list(self.placements))]
        kind = self.regularizers[_choice(hp, REGULARIZER, list(self.regularizers))]
        if not self.per_layer:
            attach_for_a_run(model, placement, kind(self._factor(hp, FACTOR)))
            return model
        weights = resolve_placement(model, placement, regularizer=kind(1.0))
        paths = dict.fromkeys(weight.path for weight in weights)
        terms = {path: kind(self._factor(hp, f"{FACTOR}/{path}")) for path in paths}
        attach_to_weights(model, [(weight, terms[weight.path]) for weight in weights])
        return model

    def baseline(self, hp: Any) -> Any:
        """Build the compiled model without an entropy term."""
        with fresh_names():  # a layer has the same name in each trial
            model = built(self.base, hp)
        _check_names(parameter.name for parameter in hp.space)
        return model

    def with_base(self, base: Any) -> EntropyHyperModel:
        """The same search space for another `build`."""
        return type(self)(
            base,
            self.regularizers,
            self.placements,
            self.factors,
            negative=self.negative,
            per_layer=self.per_layer,
        )

    def describe(self) -> dict[str, Any]:
        """Describe the hypermodel by plain values, which are equal for equal hypermodels in any process."""
        base: Any = self.base
        if isinstance(base, keras_tuner.HyperModel):
            plain = {name: value for name, value in vars(base).items() if not callable(value)}  # without its methods
            base = [type(base).__qualname__, type(base).build, type(base).fit, plain]
        names = ("regularizers", "placements", "factors", "negative", "per_layer")
        return {"build": identity(base), **{name: identity(getattr(self, name)) for name in names}}

    def fit(self, hp: Any, model: Any, *args: Any, **kwargs: Any) -> Any:
        """Check objective and callbacks, add an `EntropyLogger` if the callbacks contain none, and train."""
        callbacks = list(kwargs.pop("callbacks", None) or [])
        objective_checks.check_callbacks(callbacks)
        objective = next((c.objective for c in callbacks if hasattr(c, "objective")), None)
        if objective is not None:
            objective_checks.check_objective(objective)
        if not any(isinstance(callback, EntropyLogger) for callback in callbacks):
            callbacks.append(EntropyLogger())
        with fatal_errors():
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


class BaselineHyperModel(EntropyHyperModel):
    """The same model without an entropy term."""

    def build(self, hp: Any) -> Any:
        """Build the compiled model."""
        return self.baseline(hp)


def built(build: Any, hp: Any) -> Any:
    """The compiled model of a build function or a hypermodel.

    Raises:
        FatalTypeError, FatalValueError: If it is no compiled and built model. KerasTuner ends the search.
    """
    if isinstance(build, keras_tuner.HyperModel):
        model = build.build(hp)
    else:
        model = build(hp) if takes_hyperparameters(build) else build()
    try:
        return checked_model(model)
    except TypeError as error:
        raise errors.FatalTypeError(str(error)) from error
    except ValueError as error:
        raise errors.FatalValueError(str(error)) from error


def _check_names(names: Iterable[str]) -> None:
    """Check that the hyperparameters of the model have no names of KerasTuner's or of the entropy term.

    Raises:
        FatalValueError: If one has. KerasTuner ends the search.
    """
    for name in names:
        if name.startswith("tuner/") or (name.startswith(OWN) and not _NAMES.match(name)):
            raise errors.FatalValueError(
                f"The hyperparameter {name!r} should not begin with {name.split('/')[0] + '/'!r}, which marks "
                "hyperparameters of KerasTuner or of the entropy term. Give it another name."
            )


def takes_hyperparameters(build: Callable[..., Any]) -> bool:
    """Whether a build function takes the hyperparameters.

    Raises:
        TypeError: If it has more than one required argument.
    """
    empty = inspect.Parameter.empty
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [p for p in inspect.signature(build).parameters.values() if p.default is empty and p.kind in positional]
    if len(needed) > 1:
        raise TypeError(
            f"`build` should take the hyperparameters alone, or nothing. Received: a function of "
            f"{', '.join(parameter.name for parameter in needed)}. Give the other arguments defaults."
        )
    return bool(needed)


def _choice(hp: Any, name: str, options: list[str]) -> str:
    """Choose an option; with a single one, add no hyperparameter."""
    return str(hp.Choice(name, options)) if len(options) > 1 else options[0]


def _named_regularizers(given: Any) -> dict[str, Factory]:
    several = isinstance(given, Sequence) and not isinstance(given, str)
    values = given.values() if isinstance(given, Mapping) else given if several else (given,)
    expected = "a function of a factor, or several in a list or dict"
    for value in values:
        if isinstance(value, str):
            remedy = "Give a class such as ConvCornerEntropy, without quotes."
            raise TypeError(_checks.message("regularizer", expected, given, remedy))
        if isinstance(value, keras.Regularizer):
            raise TypeError(
                f"`regularizer` should be a function of the factor, as the factor is tuned. Received: {value!r}. Give "
                f"its class, {type(value).__name__}, or a function of the factor."
            )
    named = given
    if not isinstance(given, Mapping):
        kinds = [given] if callable(given) else list(given) if isinstance(given, Iterable) else []
        names = [getattr(kind, "__name__", type(kind).__name__) for kind in kinds]
        named = dict(zip(names, kinds, strict=True))
        if len(named) < len(kinds):
            raise ValueError(
                f"`regularizer` should contain functions with different names. Received: {names}, where two have the "
                "same name. Give a dict of functions by name."
            )
    if not named or not all(callable(kind) for kind in named.values()):
        remedy = "Give a class such as ConvCornerEntropy, or a list of classes."
        raise TypeError(_checks.message("regularizer", expected, given, remedy))
    return dict(named)


def _named_placements(given: Any) -> dict[str, Placement]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise TypeError(_checks.message("placements", "a list of placements", given))
    named = dict(given) if isinstance(given, Mapping) else {name: name for name in given if isinstance(name, str)}
    if not isinstance(given, Mapping) and len(named) < len(list(given)):
        raise TypeError(_checks.message("placements", "different strings, or a dict of placements by name", given))
    if not named:
        raise ValueError(_checks.message("placements", "at least one placement", given))
    if any(placement == "none" for placement in named.values()):
        raise ValueError(
            f"`placements` should not contain 'none': the number of its trials would depend on chance. Received: "
            f"{list(named)!r}. Leave it out: `search` tunes the baseline with as many trials of its own."
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
