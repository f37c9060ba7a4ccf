"""The trials and baselines of a search, read from its tuner, and written as CSV."""

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
from keras_entropy.tuning.hyperparameters import digest, own, slot_of, without_term
from keras_entropy.tuning.search_result import BASELINE, TrialResult, table
from keras_entropy.tuning.tuner import EntropyTuner


class TrialReader:
    """Reads the results of trials from the records of their runs.

    Args:
        tuner: `EntropyTuner` that has searched.
        epochs: Integer. Epochs of a run, for trials that do not set their own.
    """

    def __init__(self, tuner: EntropyTuner, epochs: int) -> None:
        self._tuner, self._epochs = tuner, epochs

    def trials(self) -> tuple[TrialResult, ...]:
        """All trials, in their order."""
        found = [self._tuner.oracle.trials[name] for name in self._tuner.oracle.start_order]
        return tuple(
            self._result(trial.trial_id, *self._setting(trial), trial.status, trial.message or "") for trial in found
        )

    def baselines(self) -> tuple[TrialResult, ...]:
        """One result for each setting of the baseline that was trained."""
        settings: dict[str, tuple[dict[str, Any], int]] = {}
        for name in self._tuner.oracle.start_order:
            values, epochs = self._setting(self._tuner.oracle.trials[name])
            base = without_term(values)
            _, longest = settings.get(digest(base), (base, 0))
            settings[digest(base)] = base, max(epochs, longest)
        results = (self._result(BASELINE, base, epochs, "COMPLETED", "") for base, epochs in settings.values())
        return tuple(result for result in results if result.last)

    def _setting(self, trial: Any) -> tuple[dict[str, Any], int]:
        """The hyperparameters of a trial, and its number of epochs."""
        values = trial.hyperparameters.values
        return own(values), int(values.get("tuner/epochs", self._epochs))

    def _result(self, name: str, values: dict[str, Any], epochs: int, status: str, message: str) -> TrialResult:
        records = [self._tuner.records.get(slot_of(values, seed)) for seed in self._tuner.seeds]
        runs = [run for run in records if run is not None]
        last, best = (self._by_seed(runs, epoch, epochs) for epoch in ("last", "best"))
        scores = last if self._tuner.epoch == "last" else best
        return TrialResult(
            name=name,
            values=FrozenDict(values),
            status=status,
            message=message,
            epochs=epochs,
            last=last,
            best=best,
            seed_scores=scores,
            score=statistics.fmean(scores.values()) if status == "COMPLETED" and scores else math.nan,
        )

    def _by_seed(self, runs: list[RunRecord], epoch: str, epochs: int) -> FrozenDict[int, float]:
        objective = self._tuner.oracle.objective
        return FrozenDict(
            {run.seed: objective.get_value(scores.metrics(run, epoch, objective, epochs)) for run in runs}
        )


def write_csv(path: Path, results: Iterable[TrialResult], metric: str, seeds: Iterable[int]) -> None:
    """Write one row for each result."""
    head, rows = table(results, metric, seeds)
    _files.write_csv(path, [head, *rows])
