"""Hyperparameters of training, for a model whose builder has none: so that a baseline is tuned as its rivals are."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import keras
import keras_tuner

from keras_entropy._backend import Array
from keras_entropy.placement.attachment import attach_to_weights
from keras_entropy.placement.resolution import takes
from keras_entropy.profile import measurable_weights
from keras_entropy.tuning.hypermodel import built

RATE, L2, OPTIMIZER = "learning_rate_multiplier", "l2", "optimizer"

_RATES = (1 / 8, 8.0)
_L2 = (0.0, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2)


@dataclasses.dataclass(frozen=True)
class TunedBuild:
    """A build function with a multiplier of the learning rate, between 1/8 and 8, and an L2 as hyperparameters.

    Args:
        base: The build function or hypermodel.
        kinds: Regularizers that decide which kernels get the L2: those that one of them can act on.
        optimizers: Names of optimizers, for a build function of a name; the choice is a hyperparameter. Defaults to
            none.
    """

    base: Any
    kinds: Sequence[keras.Regularizer]
    optimizers: tuple[str, ...] = ()

    def __call__(self, hp: Any) -> Any:
        """Build the model."""
        if self.optimizers:
            model = self.base(optimizer=hp.Choice(OPTIMIZER, list(self.optimizers)))
        else:
            model = built(self.base, hp)
        multiply_learning_rate(model.optimizer, hp.Float(RATE, *_RATES, sampling="log"))
        strength = hp.Choice(L2, list(_L2), ordered=True)
        kernels = [weight for weight in measurable_weights(model) if any(takes(weight, kind) for kind in self.kinds)]
        if strength:
            trained = [weight for weight in kernels if not weight.frozen]
            attach_to_weights(model, [(weight, keras.regularizers.L2(strength)) for weight in trained])
        return model


def declares_hyperparameters(build: Any) -> bool:
    """Whether a build function or hypermodel has hyperparameters of its own."""
    hp = keras_tuner.HyperParameters()
    built(build, hp)
    return bool(hp.space)


def multiply_learning_rate(optimizer: Any, by: float) -> None:
    """Multiply the learning rate of an optimizer, or all rates of its schedule."""
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    rate = optimizer.get_config()["learning_rate"]
    if isinstance(rate, dict):
        optimizer.learning_rate = MultipliedSchedule(keras.optimizers.schedules.deserialize(rate), by)
    else:
        optimizer.learning_rate = float(rate) * by


@keras.saving.register_keras_serializable(package="keras_entropy")
class MultipliedSchedule(keras.optimizers.schedules.LearningRateSchedule):
    """A schedule of the learning rate times a number.

    Args:
        schedule: `keras.optimizers.schedules.LearningRateSchedule`.
        by: Float. The number.
    """

    def __init__(self, schedule: Any, by: float) -> None:
        self.schedule, self.by = schedule, by

    def __call__(self, step: Array) -> Array:
        """The learning rate at a step."""
        return self.schedule(step) * self.by

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {"schedule": keras.saving.serialize_keras_object(self.schedule), "by": self.by}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> MultipliedSchedule:
        """Make the schedule of a config."""
        return cls(keras.saving.deserialize_keras_object(config["schedule"]), config["by"])
