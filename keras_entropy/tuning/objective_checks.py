"""Checks that a search optimises a finite metric without the entropy penalty."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras_tuner
from keras_tuner import errors

from keras_entropy import _checks
from keras_entropy.callbacks.monitors import PENALISED, watches_penalty
from keras_entropy.study.metrics import direction
from keras_entropy.tuning import _keras_tuner


def as_objective(given: Any) -> Any:
    """Make a `keras_tuner.Objective` of the name of a metric; return an objective unchanged.

    KerasTuner knows the direction of fewer metrics.

    Raises:
        TypeError: For anything else.
        ValueError: For a name that does not tell the direction.
    """
    if isinstance(given, str):
        return keras_tuner.Objective(given, "min" if direction(given, None, "objective") else "max")
    if not isinstance(given, keras_tuner.Objective):
        raise TypeError(_checks.message("objective", "the name of a metric or one keras_tuner.Objective", given))
    return given


def check_objective(objective: Any) -> None:
    """Check that an objective does not contain the penalty.

    Args:
        objective: `keras_tuner.Objective`, or KerasTuner's objective of several.

    Raises:
        FatalValueError: If it does. KerasTuner ends the search.
    """
    names = {part.name for part in getattr(objective, "objectives", [objective])}
    for name in sorted(names & set(PENALISED)):
        raise errors.FatalValueError(
            f"`objective` should not contain the entropy penalty, which would decide the order of the trials. "
            f'Received: {name!r}. Use keras_tuner.Objective("val_task_loss", "min"), the loss without any penalty, or '
            "a metric."
        )


def check_callbacks(callbacks: Iterable[Any]) -> None:
    """Check that no callback monitors a loss with the penalty.

    Raises:
        FatalValueError: If one does. KerasTuner ends the search.
    """
    for callback in callbacks:
        if watches_penalty(callback):
            raise errors.FatalValueError(
                f"{type(callback).__name__}(monitor={callback.monitor!r}) monitors the loss with the entropy penalty. "
                'Monitor "val_task_loss" with mode "min", which is the loss without any penalty, or a metric.'
            )


def check_finite(results: Any, objective: Any) -> None:
    """Check that the objective in the results of `fit` is finite.

    Raises:
        FailedTrialError: If it is NaN or infinite. KerasTuner fails the trial and continues the search.
    """
    _keras_tuner.check_results(results, objective)
    value = objective.get_value(_keras_tuner.metrics_of(results, objective))
    if not math.isfinite(value):
        raise errors.FailedTrialError(f"{objective.name} is {value}.")
