"""The result of a search: all trials, the best setting, and its comparison with the baseline on held-out seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from keras_entropy import _optional, _table
from keras_entropy._frozen import FrozenDict
from keras_entropy.stats import MeanDifference

if TYPE_CHECKING:
    import pandas as pd

SCHEMA = "keras-entropy/search-result/1"
BASELINE, TERM = "baseline", "entropy"
"""Names of the arms: the model without an entropy term, and with one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One setting of the hyperparameters, with the metric of each seed.

    Attributes:
        name: String. KerasTuner's number of the trial, or `"baseline"`.
        values: Hyperparameters by name.
        status: String. KerasTuner's status, such as `"COMPLETED"` or `"FAILED"`.
        message: String. Why the trial failed; empty if it did not.
        epochs: Integer. Largest number of epochs of a run.
        last: Metric at the last epoch, by seed.
        best: Metric at the best epoch, by seed.
        seed_scores: `last` or `best`, whichever the search optimises.
        score: Float. Mean of `seed_scores`; NaN for a failed trial.
    """

    name: str
    values: FrozenDict[str, Any]
    status: str
    message: str
    epochs: int
    last: FrozenDict[int, float]
    best: FrozenDict[int, float]
    seed_scores: FrozenDict[int, float]
    score: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The best setting of a search, compared with the baseline on seeds that the search never used.

    The baseline is the same model without an entropy term, at its own best hyperparameters. `print(result)` shows the
    conclusion and the trials; a notebook shows the same as a table.

    Attributes:
        sentence: String. The conclusion in words.
        metric: String. Name of the metric that the search optimises.
        lower_is_better: Boolean. Direction of the metric.
        values: Hyperparameters of the best setting, by name.
        baseline_values: Hyperparameters of the best baseline, by name.
        score: Float. Mean metric of the best setting over `seeds`. It is too good, as it is the best of many.
        baseline_score: Float. Mean metric of the best baseline over `seeds`; NaN if no baseline was trained.
        holdout_mean: Float. Mean metric of the best setting over `holdout_seeds`; NaN if no run finished.
        baseline_holdout_mean: Float. Mean metric of the best baseline over `holdout_seeds`.
        difference: `keras_entropy.stats.MeanDifference` of the two, paired by seed; None with fewer than two pairs.
        seeds: Tuple of integers. Seeds of each trial.
        holdout_seeds: Tuple of integers. Seeds of the comparison.
        trials: Tuple of `TrialResult`, in the order of the trials.
        baselines: Tuple of `TrialResult`, one for each setting of the hyperparameters of the baseline.
        output: String. Folder with all files.
    """

    sentence: str
    metric: str
    lower_is_better: bool
    values: FrozenDict[str, Any]
    baseline_values: FrozenDict[str, Any]
    score: float
    baseline_score: float
    holdout_mean: float
    baseline_holdout_mean: float
    difference: MeanDifference | None
    seeds: tuple[int, ...]
    holdout_seeds: tuple[int, ...]
    trials: tuple[TrialResult, ...]
    baselines: tuple[TrialResult, ...]
    output: str

    @property
    def completed_trials(self) -> int:
        """Number of completed trials."""
        return len(completed(self.trials))

    @property
    def failed_trials(self) -> int:
        """Number of trials that failed."""
        return len(self.trials) - self.completed_trials

    def to_frame(self) -> pd.DataFrame:
        """All trials and baselines as a pandas data frame: one row each, the columns of `trials.csv`, best row first.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        pandas = _optional.require("pandas", extra="search")
        head, rows = table(self._ranked(), self.metric, self.seeds)
        return pandas.DataFrame(rows, columns=head)

    def to_dict(self) -> dict[str, Any]:
        """The result as dicts, lists, strings, numbers and None, as `json.dumps` writes them, without the trials."""
        names = [field.name for field in dataclasses.fields(self) if field.name not in ("trials", "baselines")]
        found = {name: _plain(getattr(self, name)) for name in names}
        found["difference"] = None if self.difference is None else dataclasses.asdict(self.difference)
        counts = {"completed_trials": self.completed_trials, "failed_trials": self.failed_trials}
        return {"schema": SCHEMA, **found, **counts}

    def __str__(self) -> str:
        """The conclusion, and a table of the trials."""
        head, rows = self._cells()
        return f"{self.sentence}\n\n{_table.to_text(head, rows, numbers=head[2:])}"

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        head, rows = self._cells()
        return _table.to_html(self.sentence, head, rows, numbers=head[2:])

    def _ranked(self) -> list[TrialResult]:
        """Trials and baselines, best first, failed trials last."""
        sign = 1 if self.lower_is_better else -1

        def rank(trial: TrialResult) -> tuple[bool, float]:
            return not math.isfinite(trial.score), sign * trial.score

        return sorted([*self.trials, *self.baselines], key=rank)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """The table of trials without the columns of single seeds."""
        head, rows = table(self._ranked(), self.metric, ())
        return [name.removeprefix("entropy/") for name in head[:-1]], [
            [_cell(value) for value in row[:-1]] for row in rows
        ]


def _plain(value: Any) -> Any:
    if isinstance(value, FrozenDict):
        return dict(value)
    return list(value) if isinstance(value, tuple) else value


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5g}"
    return "" if value is None else str(value)


def completed(trials: Iterable[TrialResult]) -> list[TrialResult]:
    """The trials that did not fail."""
    return [trial for trial in trials if trial.status == "COMPLETED"]


def best_of(trials: Iterable[TrialResult], lower_is_better: bool) -> TrialResult | None:
    """The trial with the best finite score; None if there is none."""
    finite = [trial for trial in trials if math.isfinite(trial.score)]
    return (min if lower_is_better else max)(finite, key=lambda trial: trial.score, default=None)


def table(results: Iterable[TrialResult], metric: str, seeds: Iterable[int]) -> tuple[list[str], list[list[Any]]]:
    """The columns and the rows of `trials.csv`: one row for each result; None for a missing value."""
    results = list(results)
    names = sorted({name for one in results for name in one.values})
    columns = [(seed, epoch) for seed in seeds for epoch in ("last", "best")]
    head = ["trial", "status", *names, "epochs", metric, *(f"{metric}/seed_{s}/{epoch}" for s, epoch in columns)]
    rows = []
    for one in results:
        row = [one.name, one.status, *(one.values.get(name) for name in names), one.epochs, one.score]
        row += [getattr(one, epoch).get(seed) for seed, epoch in columns]
        rows.append([*row, " ".join(one.message.split())])
    return [*head, "message"], rows
