"""What a search did not look at: ranges whose end it reached, and kinds and placements that no trial had."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from keras_entropy.tuning.hypermodel import PLACEMENT, REGULARIZER, EntropyHyperModel
from keras_entropy.tuning.search_result import TrialResult, completed

_NEAR = 0.05
"""Part of a range that counts as its end."""


def at_the_end(values: Mapping[str, Any], space: Iterable[Any]) -> list[str]:
    """The hyperparameters of a setting that lie at an end of their range, in words.

    Args:
        values: Hyperparameters by name.
        space: The search space: KerasTuner's hyperparameters.
    """
    found = []
    for parameter in space:
        value = values.get(parameter.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        ends = _ends(parameter, value)
        if ends is not None:
            low, high = ends
            name = parameter.name.removeprefix("entropy/").replace("_", " ")
            found.append(f"{name} {value:.3g} is near the end of its range, {low:.3g} to {high:.3g}")
    return found


def never_tried(hypermodel: EntropyHyperModel, trials: Iterable[TrialResult]) -> list[str]:
    """The kinds and placements of a search space that no trial had, or only failed ones, in words."""
    trials, found = list(trials), []
    for name, options in ((REGULARIZER, hypermodel.regularizers), (PLACEMENT, hypermodel.placements)):
        tried, finished = (
            {trial.values.get(name, next(iter(options))) for trial in some} for some in (trials, completed(trials))
        )
        word = name.removeprefix("entropy/")
        missing = [str(option) for option in options if option not in tried]
        if missing:
            found.append(f"the {word} {', '.join(missing)} was never tried")
        failed = [str(option) for option in options if option in tried - finished]
        if failed:
            found.append(f"all trials with the {word} {', '.join(failed)} failed")
    return found


def _ends(parameter: Any, value: float) -> tuple[float, float] | None:
    """Lowest and highest value of a numeric hyperparameter, if a value lies at one of them; else None.

    A choice that is 0 switches something off: no smaller value is meant.
    """
    low, high = getattr(parameter, "min_value", None), getattr(parameter, "max_value", None)
    if isinstance(low, int | float) and isinstance(high, int | float) and low < high:
        logarithmic = parameter.sampling in ("log", "reverse_log")
        start, at, stop = (math.log(v) if logarithmic else v for v in (low, value, high))
        part = (at - start) / (stop - start)
        return None if _NEAR <= part <= 1 - _NEAR else (low, high)
    numbers = [v for v in getattr(parameter, "values", ()) if isinstance(v, int | float) and not isinstance(v, bool)]
    if not getattr(parameter, "ordered", False) or len(numbers) < 3:
        return None
    smallest, largest = min(numbers), max(numbers)
    return (smallest, largest) if value == largest or (value == smallest and value) else None
