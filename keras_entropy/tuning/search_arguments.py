"""The arguments of `search`: checked before anything is trained."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import keras_tuner

from keras_entropy import _checks
from keras_entropy.study.metrics import direction
from keras_entropy.tuning import trial_run
from keras_entropy.tuning.hypermodel import EntropyHyperModel

_FIRST_HOLDOUT_SEED = 1000


def checked_objective(objective: Any, lower_is_better: bool | None) -> tuple[str, bool]:
    """Name of the metric, and whether lower values are better."""
    if isinstance(objective, keras_tuner.Objective):
        lower_is_better = objective.direction == "min" if lower_is_better is None else lower_is_better
        objective = objective.name
    return objective, direction(objective, lower_is_better)


def checked_seeds(
    seeds: int | Iterable[int], holdout_seeds: int | Iterable[int], seed: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Seeds of the search and of the comparison."""
    searched = _numbered("seeds", seeds, seed)
    holdout = _numbered("holdout_seeds", holdout_seeds, seed + _FIRST_HOLDOUT_SEED)
    both = sorted(set(searched) & set(holdout))
    if both:
        raise ValueError(
            f"`seeds` and `holdout_seeds` should have no seed in common. Received in both: "
            f"{', '.join(map(str, both))}. The best setting looks too good on the seeds that chose it: give other "
            "`holdout_seeds`."
        )
    if len(holdout) < 2:
        raise ValueError(_checks.message("holdout_seeds", "at least two seeds", holdout_seeds))
    return searched, holdout


def _numbered(argument: str, seeds: int | Iterable[int], first: int) -> tuple[int, ...]:
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        return tuple(range(first, first + _checks.positive_integer(argument, seeds)))
    found = tuple(_checks.seeds(argument, seeds))
    if not found:
        raise ValueError(_checks.message(argument, "at least one seed", seeds))
    return found


def checked_callbacks(given: Any) -> list[Any]:
    """A list of Keras callbacks.

    Raises:
        TypeError: For anything else.
    """
    callbacks = list(given) if isinstance(given, Iterable) else [None]
    if not all(isinstance(callback, keras.callbacks.Callback) for callback in callbacks):
        raise TypeError(_checks.message("callbacks", "a list of keras.callbacks.Callback", given))
    return callbacks


def check_fit(hypermodel: Any) -> None:
    """Refuse a hypermodel with a `fit` of its own.

    Raises:
        ValueError: If it has one.
    """
    if isinstance(hypermodel, EntropyHyperModel) and not trial_run.is_plain(hypermodel):
        raise ValueError(
            "`hypermodel` has its own `fit`, which the comparison on held-out seeds cannot use: it trains with "
            "`keras.Model.fit`. Use EntropyTuner without the comparison, or override `train_step` of the model."
        )
