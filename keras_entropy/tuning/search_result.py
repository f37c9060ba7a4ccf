"""The result of a search: all trials of all contenders, the best settings, and their comparison on held-out seeds."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_entropy import _checks, _optional, _table
from keras_entropy._frozen import FrozenDict
from keras_entropy.stats import MeanDifference
from keras_entropy.study.wording import plural
from keras_entropy.tuning.conclusion import Duel

if TYPE_CHECKING:
    import pandas as pd

    from keras_entropy.study import StudyResult

_MOST_TRIALS = 10  # in a printed table
SCHEMA = "keras-entropy/search-result/3"
BASELINE, TERM = "baseline", "entropy"
"""Names of the contenders without an entropy term, and with one."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrialResult:
    """One setting of the hyperparameters, with the metric of each seed.

    Attributes:
        contender: String. Name of the contender.
        name: String. KerasTuner's number of the trial.
        values: Hyperparameters by name.
        status: String. KerasTuner's status, such as `"COMPLETED"` or `"FAILED"`.
        message: String. Why the trial failed; empty if it did not.
        epochs: Integer. Largest number of epochs of a run.
        last: Metric at the last epoch, by seed.
        best: Metric at the best epoch, by seed.
        seed_scores: `last` or `best`, whichever the search optimises.
        score: Float. Mean of `seed_scores`; NaN for a failed trial.
        metrics: Means over the seeds of all logged metrics, by name, at the epoch that counts.
    """

    contender: str
    name: str
    values: FrozenDict[str, Any]
    status: str
    message: str
    epochs: int
    last: FrozenDict[int, float]
    best: FrozenDict[int, float]
    seed_scores: FrozenDict[int, float]
    score: float
    metrics: FrozenDict[str, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ContenderResult:
    """What the search and the held-out seeds found for one contender.

    Attributes:
        name: String. `"entropy"`, `"baseline"`, or the name of a control.
        trials: Tuple of `TrialResult`, in the order of the trials.
        best: `TrialResult`. The best completed trial.
        tuned: Tuple of strings. Names of the hyperparameters that were tuned.
        holdout: Metric of the best setting by held-out seed, of the runs that finished.
        notes: Tuple of strings. Hyperparameters of the best setting that lie at an end of their range, and kinds and
            placements that were never tried.
        runs: Integer. Number of runs of the trials.
        epochs: Integer. Number of epochs of all these runs.
        seconds: Float. Processor time of all these runs, in seconds.
    """

    name: str
    trials: tuple[TrialResult, ...]
    best: TrialResult
    tuned: tuple[str, ...]
    holdout: FrozenDict[int, float]
    notes: tuple[str, ...]
    runs: int
    epochs: int
    seconds: float

    @property
    def values(self) -> FrozenDict[str, Any]:
        """Hyperparameters of the best setting, by name."""
        return self.best.values

    @property
    def score(self) -> float:
        """Mean metric of the best setting on the seeds of the search. It is too good, as it is the best of many."""
        return self.best.score

    @property
    def holdout_mean(self) -> float:
        """Mean metric of the best setting on the held-out seeds; NaN if no run finished."""
        return math.fsum(self.holdout.values()) / len(self.holdout) if self.holdout else math.nan

    @property
    def completed(self) -> tuple[TrialResult, ...]:
        """The trials that did not fail."""
        return completed(self.trials)

    def budget(self) -> dict[str, Any]:
        """What the search of this contender spent."""
        return {
            "trials": len(self.trials),
            "failed_trials": len(self.trials) - len(self.completed),
            "runs": self.runs,
            "epochs": self.epochs,
            "cpu_seconds": self.seconds,
            "tuned": list(self.tuned),
        }


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The model with a term, the baseline and the controls, each at its best setting of as many trials.

    `print(result)` shows the conclusion and the ten best trials; a notebook shows the same as a table.

    Attributes:
        sentences: Tuple of strings. The conclusion in words.
        metric: String. Name of the metric that the search optimises.
        lower_is_better: Boolean. Direction of the metric.
        contenders: Tuple of `ContenderResult`: the term, the baseline, then the controls.
        duels: Tuple of `Duel`: the term against the baseline and against each control.
        seeds: Tuple of integers. Seeds of each trial.
        holdout_seeds: Tuple of integers. Seeds of the comparison.
        output: String. Folder with all files.
        study: `keras_entropy.study.StudyResult`. The runs on the held-out seeds.
        tuners: Mapping of names of contenders to their `EntropyTuner`.
    """

    sentences: tuple[str, ...]
    metric: str
    lower_is_better: bool
    contenders: tuple[ContenderResult, ...]
    duels: tuple[Duel, ...]
    seeds: tuple[int, ...]
    holdout_seeds: tuple[int, ...]
    output: str
    study: StudyResult = dataclasses.field(repr=False, compare=False)
    tuners: Mapping[str, Any] = dataclasses.field(repr=False, compare=False)

    def __getitem__(self, name: str) -> ContenderResult:
        """The result of a contender.

        Raises:
            ValueError: If there is no contender of this name.
        """
        found = {contender.name: contender for contender in self.contenders}
        return found[_checks.one_of("name", name, tuple(found))]

    @property
    def conclusion(self) -> str:
        """`"better"`, `"worse"` or `"no difference shown"`: the term, said beside the baseline."""
        return self.duels[0].conclusion

    @property
    def difference(self) -> MeanDifference | None:
        """The term minus the baseline on the held-out seeds; None with fewer than two pairs."""
        return self.duels[0].difference

    @property
    def baseline(self) -> ContenderResult:
        """`ContenderResult` of the baseline."""
        return self[BASELINE]

    @property
    def values(self) -> FrozenDict[str, Any]:
        """Hyperparameters of the best setting with a term."""
        return self[TERM].values

    @property
    def trials(self) -> tuple[TrialResult, ...]:
        """The trials of all contenders."""
        return tuple(trial for contender in self.contenders for trial in contender.trials)

    @property
    def winner(self) -> str:
        """Name of the contender with the best mean on the held-out seeds, among those that finished on all of them."""
        sign = 1 if self.lower_is_better else -1
        most = max(len(c.holdout) for c in self.contenders)
        means = {c.name: sign * c.holdout_mean for c in self.contenders if len(c.holdout) == most}
        finite = {name: mean for name, mean in means.items() if math.isfinite(mean)}
        return min(finite, key=finite.__getitem__) if finite else TERM

    def best_hyperparameters(self, name: str | None = None) -> Any:
        """The best setting of a contender, as `keras_tuner.HyperParameters` for `hypermodel.build`.

        Args:
            name: String. Name of the contender. Defaults to None: the winner.
        """
        found = self[name or self.winner]
        return self.tuners[found.name].oracle.trials[found.best.name].hyperparameters.copy()

    def build(self, name: str | None = None) -> Any:
        """A new model of the best setting of a contender, compiled and ready to `fit`.

        The contenders "centred inputs" and "standardised inputs" need their inputs transformed.

        Args:
            name: String. Name of the contender. Defaults to None: the winner.
        """
        found = self[name or self.winner]
        return self.tuners[found.name].hypermodel.build(self.best_hyperparameters(found.name))

    def best_model(self, name: str | None = None) -> Any:
        """The model of the best setting of a contender with the weights that its best seed trained in the search.

        The one of the winner is in `best_model.keras` too. The contenders "centred inputs" and "standardised inputs"
        need their inputs transformed here; the model in the file transforms them itself.

        Args:
            name: String. Name of the contender. Defaults to None: the winner.

        Raises:
            FileNotFoundError: If it was trained on a machine that does not see the folder of the search.
        """
        found = self[name or self.winner]
        scores = found.best.seed_scores
        seed = (min if self.lower_is_better else max)(scores, key=scores.__getitem__)
        tuner = self.tuners[found.name]
        return tuner.load_model(tuner.oracle.trials[found.best.name], seed)

    def report(self) -> Path:
        """Write the report of the runs on the held-out seeds; return its folder."""
        return self.study.report(
            Path(self.output) / "report",
            metric=self.metric,
            baseline=BASELINE,
            epoch=self.tuners[TERM].epoch,
            lower_is_better=self.lower_is_better,
        )

    def to_frame(self) -> pd.DataFrame:
        """All trials as a pandas data frame: one row each, the columns of `trials.csv`, best row first.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        pandas = _optional.require("pandas", extra="search")
        head, rows = table(self._ranked(), self.metric, self.seeds)
        return pandas.DataFrame(rows, columns=head)

    def to_dict(self) -> dict[str, Any]:
        """The result as dicts, lists, strings, numbers and None, as `json.dumps` writes them, without the trials."""
        controls = [c for c in self.contenders if c.name not in (TERM, BASELINE)]
        return {
            "sentences": list(self.sentences),
            "conclusion": self.conclusion,
            "metric": self.metric,
            "lower_is_better": self.lower_is_better,
            "winner": self.winner,
            "values": dict(self.values),
            "baseline_values": dict(self.baseline.values),
            "control_values": {c.name: dict(c.values) for c in controls},
            "scores": {c.name: c.score for c in self.contenders},
            "holdout_means": {c.name: c.holdout_mean for c in self.contenders},
            "differences": {
                duel.rival: {
                    **({} if duel.difference is None else dataclasses.asdict(duel.difference)),
                    "luck": duel.luck,
                    "conclusion": duel.conclusion,
                }
                for duel in self.duels
            },
            "budgets": {c.name: c.budget() for c in self.contenders},
            "seeds": list(self.seeds),
            "holdout_seeds": list(self.holdout_seeds),
        }

    def __repr__(self) -> str:
        names = ", ".join(_checks.printable(contender.name) for contender in self.contenders)
        return f"<{type(self).__name__} of {len(self.trials)} trials: {names}>"

    def __str__(self) -> str:
        """The conclusion, and a table of the best trials."""
        head, rows = self._cells()
        return "\n".join([*self.sentences, "", _table.to_text(head, rows, numbers=head[3:]), *self._not_shown()])

    def _repr_html_(self) -> str:
        """The same for a notebook."""
        head, rows = self._cells()
        compared = 1 + len(self.duels)  # the metric, and a sentence for each duel
        notes = [*self.sentences[compared:], *self._not_shown()]
        return _table.to_html(" ".join(self.sentences[:compared]), head, rows, numbers=head[3:], notes=notes)

    def _not_shown(self) -> list[str]:
        """Where the trials are that the table leaves out; nothing if it has all."""
        number = len(self.trials) - _MOST_TRIALS
        return [f"{plural(number, 'more trial')} in trials.csv, and in to_frame()."] if number > 0 else []

    def _ranked(self) -> list[TrialResult]:
        """All trials, best first, failed trials last."""
        sign = 1 if self.lower_is_better else -1

        def rank(trial: TrialResult) -> tuple[bool, float]:
            return not math.isfinite(trial.score), sign * trial.score

        return sorted(self.trials, key=rank)

    def _cells(self) -> tuple[list[str], list[list[str]]]:
        """The table of the best trials without single seeds, other metrics and messages."""
        head, rows = table(self._ranked()[:_MOST_TRIALS], self.metric, (), others=False)
        return [name.removeprefix("entropy/") for name in head[:-1]], [
            [_cell(value) for value in row[:-1]] for row in rows
        ]


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.5g}"
    return "" if value is None else _checks.printable(value)


def completed(trials: Iterable[TrialResult]) -> tuple[TrialResult, ...]:
    """The trials that did not fail."""
    return tuple(trial for trial in trials if trial.status == "COMPLETED")


def best_of(trials: Iterable[TrialResult], lower_is_better: bool) -> TrialResult | None:
    """The trial with the best finite score; None if there is none."""
    finite = [trial for trial in trials if math.isfinite(trial.score)]
    return (min if lower_is_better else max)(finite, key=lambda trial: trial.score, default=None)


def table(
    results: Iterable[TrialResult], metric: str, seeds: Iterable[int], *, others: bool = True
) -> tuple[list[str], list[list[Any]]]:
    """The columns and the rows of `trials.csv`: one row for each result; None for a missing value.

    Args:
        results: The trials.
        metric: String. The metric that the search optimises.
        seeds: Seeds whose values have columns.
        others: Boolean. Whether the other metrics have columns. Defaults to True.
    """
    results = list(results)
    names = sorted({name for one in results for name in one.values})
    columns = [(seed, epoch) for seed in seeds for epoch in ("last", "best")]
    more = sorted({name for one in results for name in one.metrics} - {metric}) if others else []
    head = ["contender", "trial", "status", *names, "epochs", metric]
    head += [*(f"{metric}/seed_{s}/{epoch}" for s, epoch in columns), *more, "message"]
    rows = []
    for one in results:
        row = [one.contender, one.name, one.status, *(one.values.get(name) for name in names), one.epochs, one.score]
        row += [getattr(one, epoch).get(seed) for seed, epoch in columns]
        row += [one.metrics.get(name) for name in more]
        rows.append([*row, " ".join(one.message.split())])
    return head, rows
