"""The trials of a search, read from its tuner, and written as CSV."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from keras_entropy import _files
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.records import RunRecord
from keras_entropy.tuning import scores
from keras_entropy.tuning.hyperparameters import own, slot_of
from keras_entropy.tuning.search_result import TrialResult, table
from keras_entropy.tuning.tuner import EntropyTuner


def trials_of(tuner: EntropyTuner, epochs: int) -> tuple[TrialResult, ...]:
    """All trials of a tuner that has searched, in their order.

    Args:
        tuner: `EntropyTuner`.
        epochs: Integer. Epochs of a run, for trials that do not set their own.
    """
    found = [tuner.oracle.trials[name] for name in tuner.oracle.start_order]
    return tuple(
        _result(tuner, trial, int(trial.hyperparameters.values.get("tuner/epochs", epochs))) for trial in found
    )


def _result(tuner: EntropyTuner, trial: Any, epochs: int) -> TrialResult:
    values = own(trial.hyperparameters.values)
    records = [tuner.records.get(slot_of(tuner.arm, values, seed)) for seed in tuner.seeds]
    runs = [run for run in records if run is not None]
    last, best = (_by_seed(tuner, runs, epoch, epochs) for epoch in ("last", "best"))
    chosen = last if tuner.epoch == "last" else best
    ok = trial.status == "COMPLETED"
    return TrialResult(
        contender=tuner.arm,
        name=trial.trial_id,
        values=FrozenDict(values),
        status=trial.status,
        message=trial.message or "",
        epochs=epochs,
        last=last,
        best=best,
        seed_scores=chosen,
        score=statistics.fmean(chosen.values()) if ok and chosen else math.nan,
        metrics=FrozenDict(_means([scores.metrics(run, tuner.epoch, tuner.oracle.objective, epochs) for run in runs])),
    )


def _by_seed(tuner: EntropyTuner, runs: list[RunRecord], epoch: str, epochs: int) -> FrozenDict[int, float]:
    objective = tuner.oracle.objective
    return FrozenDict({run.seed: objective.get_value(scores.metrics(run, epoch, objective, epochs)) for run in runs})


def _means(rows: list[dict[str, float]]) -> dict[str, float]:
    """The mean of each metric that all runs have."""
    names = [name for name in (rows[0] if rows else ()) if all(name in row for row in rows)]
    return {name: statistics.fmean(row[name] for row in rows) for name in names}


def write_csv(path: Path, results: Iterable[TrialResult], metric: str, seeds: Iterable[int]) -> None:
    """Write one row for each result."""
    head, rows = table(results, metric, seeds)
    _files.write_csv(path, [head, *rows])
