"""What a search has found: its trials as a table and as a figure."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import shutil
import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_entropy import _files, plots
from keras_entropy.study import folder as study_folder
from keras_entropy.tuning import ledger
from keras_entropy.tuning.hypermodel import FACTOR, PLACEMENT, REGULARIZER
from keras_entropy.tuning.ledger import Run
from keras_entropy.tuning.search_folder import holds_search
from keras_entropy.tuning.trial_run import NONE, without_term

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from keras_entropy.tuning.search import Verdict
    from keras_entropy.tuning.tuner import EntropyTuner

PROJECT, COMPARISON, LOGS = "search", "comparison", "logs"
"""Folders of a search: KerasTuner's project, the study of the new seeds, and what TensorBoard shows."""

_FILES = ("trials.csv", "verdict.json", "search.png")


@dataclasses.dataclass(frozen=True)
class Trial:
    """One setting, with what its seeds gave.

    Attributes:
        name: KerasTuner's number of the trial, or "none" for the model without term.
        values: of the hyperparameters.
        status: as KerasTuner has it.
        message: why it failed.
        epochs: of its runs, at most.
        last: the objective at the last epoch, by seed.
        best: the objective at the best epoch, by seed.
        counted: that of these two which the search compares.
    """

    name: str
    values: dict[str, Any]
    status: str
    message: str
    epochs: int
    last: dict[int, float]
    best: dict[int, float]
    counted: dict[int, float]

    @property
    def score(self) -> float:
        """Mean of what counts over the seeds; NaN for a failed trial."""
        return statistics.fmean(self.counted.values()) if self.status == "COMPLETED" and self.counted else math.nan

    @property
    def setting(self) -> str:
        """Placement, and regularizer where there are several."""
        return " ".join(str(self.values[name]) for name in (REGULARIZER, PLACEMENT) if name in self.values) or NONE


class Trials:
    """All trials of a search, and the model without term beside them.

    Args:
        tuner: that has searched.
        epochs: of a run, where a trial does not say it.
    """

    def __init__(self, tuner: EntropyTuner, epochs: int) -> None:
        self.objective, self.seeds, self._epoch = tuner.oracle.objective, tuner.seeds, tuner.epoch
        self.trials: list[Trial] = []
        bases: dict[str, tuple[dict[str, Any], int]] = {}
        for name in tuner.oracle.start_order:
            trial = tuner.oracle.trials[name]
            values = trial.hyperparameters.values
            own, limit = ledger.own(values), int(values.get("tuner/epochs", epochs))
            self.trials.append(self._trial(tuner, name, own, limit, trial.status, trial.message or ""))
            base = without_term(own)
            _, longest = bases.get(ledger.key_of(base), (base, 0))
            bases[ledger.key_of(base)] = base, max(limit, longest)
        self.baselines = [self._trial(tuner, NONE, base, limit, "COMPLETED", "") for base, limit in bases.values()]
        self.baselines = [base for base in self.baselines if base.last]

    @property
    def completed(self) -> list[Trial]:
        """Those that did not fail."""
        return [trial for trial in self.trials if trial.status == "COMPLETED"]

    @property
    def best(self) -> Trial:
        """The one with the best score."""
        return self._best_of(self.completed)

    @property
    def baseline_values(self) -> dict[str, Any]:
        """The best setting of the model without term."""
        best = self.best_baseline
        return without_term(self.best.values) if best is None else best.values

    @property
    def baseline_score(self) -> float:
        """The best score of the model without term; NaN where none was trained."""
        best = self.best_baseline
        return math.nan if best is None else best.score

    @property
    def best_baseline(self) -> Trial | None:
        """The best setting of the model without term; None where none was trained."""
        finite = [base for base in self.baselines if math.isfinite(base.score)]
        return self._best_of(finite) if finite else None

    def write_csv(self, path: Path) -> None:
        """A row for each trial, and for each setting of the model without term."""
        rows = [*self.trials, *self.baselines]
        names = sorted({name for row in rows for name in row.values})
        metric = self.objective.name
        header = ["trial", "status", *names, "epochs", metric]
        header += [f"{metric}/seed_{seed}/{epoch}" for seed in self.seeds for epoch in ("last", "best")]
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow([*header, "message"])
        for row in rows:
            line = [row.name, row.status, *(row.values.get(name, "") for name in names), row.epochs, row.score]
            line += [column.get(seed, "") for seed in self.seeds for column in (row.last, row.best)]
            writer.writerow([*line, " ".join(row.message.split())])
        _files.write_text(path, text.getvalue())

    def _best_of(self, trials: list[Trial]) -> Trial:
        return min(trials, key=lambda trial: trial.score if self.objective.direction == "min" else -trial.score)

    def _trial(
        self, tuner: EntropyTuner, name: str, values: dict[str, Any], epochs: int, status: str, message: str
    ) -> Trial:
        runs = [run for seed in self.seeds if (run := tuner.ledger.read(values, seed)) is not None]
        last, best = (self._by_seed(runs, epoch, epochs) for epoch in ("last", "best"))
        return Trial(name, values, status, message, epochs, last, best, last if self._epoch == "last" else best)

    def _by_seed(self, runs: list[Run], epoch: str, epochs: int) -> dict[int, float]:
        return {run.seed: self.objective.get_value(run.metrics(epoch, self.objective, epochs)) for run in runs}


def foreign(folder: Path) -> list[str]:
    """The names of what a search would write to a folder that holds none."""
    if holds_search(folder / PROJECT):
        return []
    return [name for name in (*_FILES, COMPARISON, LOGS) if (folder / name).exists()]


def clear(folder: Path) -> None:
    """Remove what a search has left in its folder, but the project of its tuner, which removes that itself.

    Raises:
        BlockingIOError: where a process works on its comparison.
    """
    if not holds_search(folder / PROJECT):
        return
    for name in _FILES:
        (folder / name).unlink(missing_ok=True)
    for study in (folder / COMPARISON).glob("*"):
        study_folder.clear(study)
    if (folder / LOGS).is_dir():
        shutil.rmtree(folder / LOGS)


def figure(table: Trials, verdict: Verdict) -> Figure:
    """Metric against factor, one curve for each placement, a dot for each seed; the model without term as a band."""
    drawn, axes = plots.blank(6.4, 4.2)
    factors = [name for name in table.best.values if name.startswith(FACTOR)]
    for number, setting in enumerate(dict.fromkeys(trial.setting for trial in table.completed)):
        trials = [trial for trial in table.completed if trial.setting == setting]
        points = [(statistics.geometric_mean(trial.values[name] for name in factors), trial) for trial in trials]
        points.sort(key=lambda point: point[0])
        axes.plot([x for x, _ in points], [trial.score for _, trial in points], "_-", color=f"C{number}", label=setting)
        for x, trial in points:
            values = list(trial.counted.values())
            axes.plot([x] * len(values), values, ".", color=f"C{number}", alpha=0.6)
    base = table.best_baseline
    if base is not None:
        values = list(base.counted.values())
        axes.axhspan(min(values), max(values), color="0.5", alpha=0.2, label="none, all seeds")
        axes.axhline(base.score, color="0.4", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("factor" if len(factors) == 1 else "geometric mean of the factors of all layers")
    axes.set_ylabel(f"{verdict.metric} on the seeds of the search")
    axes.legend(fontsize=8)
    return drawn


def write_figure(table: Trials, verdict: Verdict, path: Path) -> None:
    """As PNG."""
    with _files.replacing(path) as temporary:
        temporary.write_bytes(plots.png(figure(table, verdict)))


def text(value: Any) -> str:
    """A value of a hyperparameter, in words."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)
