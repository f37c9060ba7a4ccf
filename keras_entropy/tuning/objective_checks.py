"""What a search must not do: follow the penalty, take an error for a bad trial, or crown what is not finite."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable, Iterator
from typing import Any

from keras_tuner import errors
from keras_tuner.src.engine import tuner_utils

from keras_entropy import _optional
from keras_entropy.callbacks import PENALISED, watches_penalty

_OURS = re.compile("entropy/(placement|regularizer|(factor|sign)(/.*)?)$")
_REMEDY = 'Use "val_task_loss" with mode "min", which is the loss without any penalty, or a metric.'


class ChiefLostError(errors.FatalError):
    """The chief died while it was asked something: its worker ends, and its trial stays its own."""


def check_objective(objective: Any) -> None:
    """Refuse an objective that holds the penalty.

    Args:
        objective: a `keras_tuner.Objective`, or several.

    Raises:
        FatalValueError: that ends a search.
    """
    names = {part.name for part in getattr(objective, "objectives", [objective])}
    for name in sorted(names & set(PENALISED)):
        raise errors.FatalValueError(
            f"The objective {name!r} contains the entropy penalty: it would rank trials by their penalty. Use "
            'keras_tuner.Objective("val_task_loss", "min"), the loss without any penalty, or a metric.'
        )


def check_names(names: Iterable[str]) -> None:
    """Refuse the user's hyperparameters whose names would be taken for those of a term, or of KerasTuner.

    Raises:
        FatalValueError: that ends a search.
    """
    for name in names:
        if name.startswith("tuner/") or (name.startswith("entropy/") and not _OURS.match(name)):
            raise errors.FatalValueError(
                f"The hyperparameter {name!r} has a name that begins with {name.split('/')[0] + '/'!r}, as those of "
                "KerasTuner and of the entropy term do. Give it another one."
            )


def check_callbacks(callbacks: Iterable[Any]) -> None:
    """Refuse callbacks that watch the penalty.

    Raises:
        FatalValueError: that ends a search.
    """
    for callback in callbacks:
        if watches_penalty(callback):
            raise errors.FatalValueError(
                f"{type(callback).__name__}(monitor={callback.monitor!r}) watches the loss with the entropy penalty. "
                f"{_REMEDY}"
            )


def check_finite(results: Any, objective: Any) -> None:
    """Fail the trial whose objective is NaN or infinite.

    Raises:
        FailedTrialError: that fails a trial, and lets the search go on.
    """
    tuner_utils.validate_trial_results(results, objective, "fit")
    value = objective.get_value(tuner_utils.convert_to_metrics_dict(results, objective))
    if not math.isfinite(value):
        raise errors.FailedTrialError(f"{objective.name} is {value}.")


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Let an error end the search: it is a mistake of the program, and would hit every trial.

    Memory that runs out is none: a larger model than others fails, and the search goes on.
    """
    try:
        yield
    except (errors.FatalError, errors.FailedTrialError):
        raise
    except Exception as error:
        if out_of_memory(error):
            raise errors.FailedTrialError(f"out of memory: {error}") from error
        raise errors.FatalRuntimeError(f"{type(error).__name__} in a trial: {error}") from error


@contextlib.contextmanager
def chief_is_there() -> Iterator[None]:
    """Tell a request that the chief did not live to answer from an error of the trial, which would fail it.

    Raises:
        ChiefLostError: for a request whose connection broke. One that finds no chief waits for it.
    """
    grpc = _optional.require("grpc", extra="search")
    try:
        yield
    except grpc.RpcError as error:
        if error.code() is grpc.StatusCode.UNAVAILABLE:
            raise ChiefLostError(f"The chief of the search has died: {error.details()}") from error
        raise


def out_of_memory(error: Exception) -> bool:
    """Whether an error says that the machine or its accelerator has no memory left."""
    name, text = type(error).__name__, str(error)
    return (
        isinstance(error, MemoryError)
        or name in ("ResourceExhaustedError", "OutOfMemoryError")
        or ("RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower())
    )
