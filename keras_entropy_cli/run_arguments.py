"""The arguments of a training run, and the model and data that they name."""

from __future__ import annotations

import dataclasses
import inspect
import json
from pathlib import Path
from typing import Any

from keras_entropy import _checks
from keras_entropy.placement import apply_entropy
from keras_entropy.placement.resolution import takes
from keras_entropy.profile import measurable_weights
from keras_entropy.runs import machine, training
from keras_entropy.runs.identity import digest, identity
from keras_entropy.runs.seeds import seeded
from keras_entropy_cli import user_file
from keras_entropy_cli.options import MODELS
from keras_entropy_cli.presets import TERMS, Choice, NamedModel

_LEARNING_RATE = 1e-3


@dataclasses.dataclass(frozen=True)
class Arguments:
    """The arguments that determine a run: the same arguments give the same run on the same machine.

    Args:
        dataset: String. As for `Choice`.
        data_dir: String. As for `Choice`.
        model: String. As for `Choice`.
        placement: String. Where the term goes.
        regularizer: String. One of `TERMS`; None for the one that fits the model.
        factor: Float. Strength of the term.
        epochs: Integer. Number of epochs.
        batch_size: Integer. Samples in each training step.
        learning_rate: Float. Learning rate of Adam; None for 1e-3, or what a model of the user has.
        seed: Integer. Seed of the run.
    """

    dataset: str
    data_dir: str | None
    model: str
    placement: str
    regularizer: str | None
    factor: float
    epochs: int
    batch_size: int
    learning_rate: float | None
    seed: int

    def choice(self) -> Choice:
        """The model and the data. The code of the user is imported."""
        return Choice(self.model, self.dataset, self.data_dir)

    @property
    def key(self) -> str:
        """The key of the run; more epochs do not make it another run."""
        return json.dumps(dataclasses.asdict(dataclasses.replace(self, epochs=0)), sort_keys=True)


def build(arguments: Arguments, choice: Choice, arrays: Any) -> tuple[Any, str]:
    """Build the compiled model with its entropy term.

    Returns:
        The model, and the name of its term.

    Raises:
        TypeError: If the function of the user returns no compiled model.
        ValueError: If the arguments do not fit together.
    """
    own = choice.own_model
    machine.clear_session(machine.keras_settings())  # layers without a name get the same one in any process
    with seeded(arguments.seed):
        model = _named(arguments, choice.build(arrays)) if own is None else _own(arguments, own)
    name = arguments.regularizer or _fitting_term(model)
    kind = TERMS[_checks.one_of("regularizer", name, TERMS)]
    apply_entropy(model, arguments.placement, kind(arguments.factor))
    return model, name


def _named(arguments: Arguments, function: Any) -> Any:
    assert isinstance(function, NamedModel)
    return function(_LEARNING_RATE if arguments.learning_rate is None else arguments.learning_rate)


def _own(arguments: Arguments, function: Any) -> Any:
    if arguments.learning_rate is not None:
        raise ValueError(
            f"--learning-rate is for {', '.join(MODELS)}. Received: {arguments.learning_rate} with {arguments.model}, "
            "which sets its own. Leave it out."
        )
    required = [
        p.name
        for p in inspect.signature(function).parameters.values()
        if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if required:
        raise ValueError(
            f"--model should name a function without arguments. Received: {arguments.model}, which needs "
            f"{', '.join(required)}. Give its arguments default values."
        )
    with user_file.located_errors(arguments.model, "--model", Path()):
        model = function()
    return training.checked_model(model)


def _fitting_term(model: Any) -> str:
    corner = "ConvCornerEntropy"
    fits = any(takes(weight, TERMS[corner](1.0)) for weight in measurable_weights(model))
    return corner if fits else "DenseEntropy"


def code_identity(choice: Choice) -> str:
    """Hash of the functions of the user; empty where there are none."""
    functions = [choice.own_model, choice.own_data]
    return digest(identity(functions)) if any(functions) else ""
