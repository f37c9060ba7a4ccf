"""The metrics of a run of a search: at which epoch they count, and whether the run is long enough."""

from __future__ import annotations

import math
from typing import Any

from keras_entropy.runs.records import RunRecord


def covers(run: RunRecord, epochs: int) -> bool:
    """Whether a run is finished at this number of epochs."""
    return run.stopped_early or run.epochs >= epochs


def metrics(run: RunRecord, epoch: str, objective: Any, epochs: int) -> dict[str, float]:
    """All metrics of a run at its last epoch, or at the epoch with the best objective.

    Args:
        run: `RunRecord`.
        epoch: String. `"last"` or `"best"`.
        objective: `keras_tuner.Objective`, or KerasTuner's objective of several.
        epochs: Integer. Number of epochs that count; a longer trial of the same setting may have trained more.
    """
    found = min(run.epochs, epochs)
    by_epoch = [{n: v[e] for n, v in run.history.items() if e < len(v)} for e in range(found)]
    if epoch == "last":
        return by_epoch[-1]
    best = by_epoch[0]
    for values in by_epoch[1:]:
        new, old = objective.get_value(values), objective.get_value(best)
        if math.isnan(old) or objective.better_than(new, old):
            best = values
    return best
