"""What a search compares: the model with a term, the baseline, and simpler changes, each with a search of its own."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable
from typing import Any

import keras

from keras_entropy import _checks
from keras_entropy.placement import resolve_placement
from keras_entropy.placement.attachment import attach_to_weights
from keras_entropy.study import SoftOrthogonality
from keras_entropy.tuning.hypermodel import FACTOR, PLACEMENT, BaselineHyperModel, EntropyHyperModel, built
from keras_entropy.tuning.own_space import TunedBuild, declares_hyperparameters
from keras_entropy.tuning.search_result import BASELINE, TERM

ORTHOGONALITY = "soft orthogonality"
CONTROLS = (ORTHOGONALITY, "L2", "orthogonal initialisation", "centred inputs", "standardised inputs")
INPUTS = {"centred inputs": "centred", "standardised inputs": "standardised"}
"""Controls that transform the inputs, and how."""


@dataclasses.dataclass(frozen=True)
class Contender:
    """What a search compares.

    Attributes:
        name: String. `"entropy"`, `"baseline"`, or the name of a control.
        hypermodel: `EntropyHyperModel`, with the hyperparameters of this contender.
        inputs: String. How its inputs are transformed: None, `"centred"` or `"standardised"`.
    """

    name: str
    hypermodel: EntropyHyperModel
    inputs: str | None = None


def contenders(hypermodel: EntropyHyperModel, controls: Iterable[str], tune_baseline: bool) -> tuple[Contender, ...]:
    """The contenders of a search: the term first, then the baseline, then the controls.

    Args:
        hypermodel: `EntropyHyperModel`.
        controls: Names among `CONTROLS`.
        tune_baseline: Boolean. Whether all contenders get hyperparameters of training if the model has none.
    """
    if tune_baseline and not declares_hyperparameters(hypermodel.base):
        kinds = tuple(kind(1.0) for kind in hypermodel.regularizers.values())
        hypermodel = hypermodel.with_base(TunedBuild(hypermodel.base, kinds))
    found = [Contender(TERM, hypermodel), Contender(BASELINE, _baseline(hypermodel.base, hypermodel))]
    return (*found, *(_control(name, hypermodel) for name in controls))


def checked_controls(controls: Any) -> tuple[str, ...]:
    """Names of different controls.

    Raises:
        TypeError, ValueError: For anything else.
    """
    if isinstance(controls, str) or not isinstance(controls, Iterable):
        raise TypeError(_checks.message("controls", "a list of names of controls", controls))
    names = tuple(_checks.one_of("controls", name, CONTROLS) for name in controls)
    if len(set(names)) < len(names):
        raise ValueError(_checks.message("controls", "different names", controls))
    return names


def _control(name: str, hypermodel: EntropyHyperModel) -> Contender:
    kinds = {ORTHOGONALITY: functools.partial(SoftOrthogonality, mode="columns"), "L2": keras.regularizers.L2}
    if name in kinds:
        return Contender(name, ControlHyperModel(hypermodel, name, kinds[name]))
    if name in INPUTS:
        return Contender(name, _baseline(hypermodel.base, hypermodel), INPUTS[name])
    kind = next(iter(hypermodel.regularizers.values()))(1.0)
    return Contender(name, _baseline(OrthogonalBuild(hypermodel.base, kind), hypermodel))


def _baseline(base: Any, like: EntropyHyperModel) -> BaselineHyperModel:
    return BaselineHyperModel(base, like.regularizers, like.placements, like.factors)


class ControlHyperModel(EntropyHyperModel):
    """The same model and search space with a simpler regularizer, on the kernels that the first term takes.

    Args:
        like: `EntropyHyperModel` of the term.
        name: String. Name of the regularizer.
        kind: Function of a factor that returns the regularizer.
    """

    def __init__(self, like: EntropyHyperModel, name: str, kind: Any) -> None:
        super().__init__(like.base, {name: kind}, like.placements, like.factors)
        self._kind, self._term = kind, next(iter(like.regularizers.values()))

    def build(self, hp: Any) -> Any:
        """Build the compiled model with its regularizer."""
        model = self.baseline(hp)
        placement = self.placements[hp.Choice(PLACEMENT, list(self.placements))]
        own = self._kind(self._factor(hp, FACTOR))
        weights = resolve_placement(model, placement, regularizer=self._term(1.0))
        attach_to_weights(model, [(weight, own) for weight in weights])
        return model


@dataclasses.dataclass(frozen=True)
class OrthogonalBuild:
    """A build function whose kernels begin orthogonal.

    Args:
        base: The build function or hypermodel.
        kind: Regularizer that decides which kernels begin so: those that it can act on.
    """

    base: Any
    kind: keras.Regularizer

    def __call__(self, hp: Any) -> Any:
        """Build the model."""
        model = built(self.base, hp)
        for weight in resolve_placement(model, "*", regularizer=self.kind):
            if weight.frozen:
                continue  # trained elsewhere
            draw = keras.initializers.Orthogonal()  # a new one for each kernel: its seed is that of the run
            weight.variable.assign(draw(weight.shape, dtype=weight.variable.dtype))
        return model
