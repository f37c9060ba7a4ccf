"""A KerasTuner tuner with fixed seeds, and searches that resume after a kill."""

from __future__ import annotations

import contextlib
import difflib
import inspect
import math
import os
import statistics
import sys
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

from keras_tuner import errors

from keras_entropy import _checks, _files
from keras_entropy.runs import memory, shared_models
from keras_entropy.runs.identity import digest
from keras_entropy.runs.progress import Progress
from keras_entropy.runs.records import RUNS, RunRecord, RunRecords
from keras_entropy.tuning import _keras_tuner, hyperparameters, objective_checks, project_folder, scores, trial_run
from keras_entropy.tuning.hypermodel import EntropyHyperModel
from keras_entropy.tuning.oracles import ORACLES, STATE
from keras_entropy.tuning.search_result import TERM
from keras_entropy.tuning.team import Team
from keras_entropy.tuning.trial_errors import fatal_errors


class EntropyTuner(_keras_tuner.TunerBase):
    """A KerasTuner tuner with fixed seeds, and searches that resume after a kill.

    * **Seeds.** Each trial is trained once for each of `seeds`, the same seeds in all trials. Equal seeds give equal
      initial weights, dropout masks and, for arrays, order of the data. The metrics of each seed are recorded, at the
      last and at the best epoch.
    * **Resuming.** If the process is killed, the same program resumes the search and chooses the same hyperparameters
      as an uninterrupted search. A finished seed is read from its record. An unfinished seed resumes after its last
      epoch if the data are arrays, and restarts otherwise.
    * **Failures.** A trial whose objective is not finite fails, and the search continues, unless
      `max_consecutive_failed_trials` is reached. Other errors end it. If all
      trials failed, `get_best_hyperparameters` raises an error.

    Search as with KerasTuner's tuners: `tuner.search(x, y, validation_data=(x_val, y_val), epochs=20)`.

    Args:
        hypermodel: `EntropyHyperModel`.
        objective: String or `keras_tuner.Objective`. Name of a metric, or an objective for a metric whose name does not
            tell its direction. Defaults to `"val_task_loss"`.
        tuner: String. `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`. Defaults to `"random"`.
        max_trials: Integer. Maximum number of trials; Hyperband sets its own number. Defaults to 12.
        seeds: List of integers. Seeds of the runs of each trial. Defaults to `(0, 1, 2)`.
        seed: Integer. Seed of the drawn hyperparameters. Defaults to 0.
        epoch: String. The score of a trial is the mean over the seeds of the objective at the `"last"` or at the
            `"best"` epoch. The best epoch is chosen on the validation data, so its score is too good. Defaults to
            `"last"`.
        arm: String. What is searched, as records and logs name it. Defaults to `"entropy"`.
        directory: Path of the folder of projects. Defaults to `"runs"`.
        project_name: String. Name of the folder of this search. Defaults to `"search"`.
        max_epochs: Integer. Epochs of Hyperband's longest trials. Defaults to 27.
        log_dir: Path of a folder for TensorBoard, or None: the curves of each run and the HParams page, written without
            TensorFlow. Callbacks with a `log_dir` write to one subfolder for each run. Defaults to None.
        overwrite: Boolean. Whether to delete an earlier search in the folder. Defaults to False.
        **oracle_options: Further options of KerasTuner's oracle, such as `num_initial_points` and
            `max_consecutive_failed_trials`, which is infinity by default.

    Raises:
        TypeError: For an argument of the wrong type.
        ValueError: For an argument with a bad value, and for a folder that contains a different search.
        FileExistsError: For a folder with other files.
        BlockingIOError: While another process searches in the folder.

    Examples:
        >>> import tempfile, keras, numpy as np
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.tuning import EntropyHyperModel, EntropyTuner
        >>> def build():
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(4)])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> hypermodel = EntropyHyperModel(build, DenseEntropy)
        >>> tuner = EntropyTuner(hypermodel, max_trials=2, seeds=[0, 1], directory=tempfile.mkdtemp())
        >>> x = np.random.default_rng(0).normal(size=(32, 4))
        >>> tuner.search(x, x, validation_data=(x, x), epochs=2, verbose=0)
        >>> sorted(tuner.get_best_hyperparameters()[0].values)
        ['entropy/factor', 'entropy/placement']
    """

    def __init__(
        self,
        hypermodel: EntropyHyperModel,
        objective: Any = "val_task_loss",
        *,
        tuner: str = "random",
        max_trials: int = 12,
        seeds: Iterable[int] = (0, 1, 2),
        seed: int = 0,
        epoch: str = "last",
        arm: str = TERM,
        directory: Any = "runs",
        project_name: str = "search",
        max_epochs: int = 27,
        log_dir: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        **oracle_options: Any,
    ) -> None:
        if not isinstance(hypermodel, EntropyHyperModel):
            raise TypeError(_checks.message("hypermodel", "an EntropyHyperModel", hypermodel))
        kind = ORACLES[_checks.one_of("tuner", tuner, tuple(ORACLES))]
        self.seeds = tuple(_checks.seeds("seeds", seeds))
        if not self.seeds:
            raise ValueError(_checks.message("seeds", "at least one seed", seeds))
        seed = _checks.seed("seed", seed)
        overwrite = _checks.flag("overwrite", overwrite)
        self.epoch: Any = _checks.one_of("epoch", epoch, ("last", "best"))
        self.tuner = tuner
        self.arm, self.log_dir = arm, log_dir
        objective = objective_checks.as_objective(objective)
        objective_checks.check_objective(objective)
        _check_options(oracle_options, kind, tuner)
        limit = {"max_epochs": max_epochs} if tuner == "hyperband" else {"max_trials": max_trials}
        oracle = kind(objective=objective, seed=seed, **limit, **oracle_options)
        if "max_retries_per_trial" in oracle_options:
            raise ValueError("`max_retries_per_trial` should be left out: a trial with the same seeds fails again.")
        self._folder = _files.local(directory, "directory") / project_name
        if log_dir is not None:
            _files.local(log_dir, "log_dir")
        settings = {"arm": arm, "tuner": tuner, "seed": seed, "seeds": self.seeds, "epoch": epoch, **oracle_options}
        if tuner == "hyperband":
            settings |= limit
        self._described = project_folder.description(settings, hypermodel, objective)
        for name in ("KERASTUNER_TUNER_ID", "KERASTUNER_ORACLE_IP"):
            if name in os.environ:
                raise ValueError(
                    "EntropyTuner should search from one process, which hands runs to others. Received: the variable "
                    f"{name} of KerasTuner's chief and workers. Unset it and use `search(workers=)` or "
                    "`search(executor=)`; a tuner of KerasTuner with EntropyHyperModel may keep it."
                )
        results = project_folder.results_of(self._folder)
        results.check()
        if overwrite:
            results.clear()
        project_folder.check_same(self._folder, self._described)
        super().__init__(oracle, hypermodel, directory=str(directory), project_name=project_name)
        self.records = RunRecords(self._folder / RUNS)
        """`RunRecords` of all runs of the search."""
        self._identity = ""
        self._team: Team | None = None
        self.progress = Progress([], show=False)
        """`Progress` that shows the ended trials."""

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Search, or resume the search in the folder.

        Args:
            *args: Positional arguments of `fit`.
            **kwargs: Keyword arguments of `fit`, such as `validation_data`, `epochs` and `callbacks`.

        Raises:
            FatalError: For an error in a trial, and for a callback that monitors the penalty.
            RuntimeError: If all trials failed. The message contains the reason of the first.
            ValueError: For a folder with a different search, or a search of different data.
        """
        args, kwargs = self._checked_fit(args, kwargs)
        with memory.set_aside(), self._opened(args, kwargs):
            super().search(*args, **kwargs)

    def search_on(self, executor: Executor, count: int, **kwargs: Any) -> None:
        """Search with several trials at once, whose runs are trained by an executor; or resume such a search.

        The oracle and the records stay in this process. Processes that have no access to the folder of the search train
        too; they write no checkpoints, weights and event files.

        Args:
            executor: A `concurrent.futures.Executor` of processes.
            count: Integer. Number of trials at once.
            **kwargs: Arguments of `fit` by name, as for `search`.

        Raises:
            FatalError, RuntimeError, ValueError: As `search`.
        """
        _, kwargs = self._checked_fit((), kwargs)
        with memory.set_aside(), self._opened((), kwargs):
            self.oracle.verbose = kwargs.get("verbose", 1)
            self._team = Team(self, executor, kwargs)
            try:
                self._team.work(count)
            finally:
                self._team = None

    def _checked_fit(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Check the arguments of `fit`, and name them all if `keras.Model.fit` takes them."""
        objective_checks.check_callbacks(kwargs.get("callbacks") or [])
        if trial_run.is_plain(self.hypermodel):
            args, kwargs = (), trial_run.bound(args, kwargs)
            trial_run.check_data(kwargs, self.oracle.objective.name)
        return args, kwargs

    @contextlib.contextmanager
    def _opened(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Iterator[None]:
        with project_folder.results_of(self._folder).locked():
            described = {**self._described, **project_folder.description_of_fit(args, kwargs)}
            project_folder.check_same(self._folder, described, write=True)
            self._identity = digest(described)
            job = self.job(args, kwargs)
            self.records = RunRecords(self._folder / RUNS, lambda run: job.key(run.tuned, run.seed))
            self.reload()  # another process may have searched since
            self.oracle.restore_copies()
            self._check_records()
            try:
                yield
            finally:
                shared_models.clear()  # the user's process goes on
        self._check_completed()

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Train a setting for each seed; return the mean metrics."""
        values = hyperparameters.own(trial.hyperparameters.values)
        kwargs["epochs"] = epochs = int(trial.hyperparameters.values.get("tuner/epochs", kwargs.get("epochs", 1)))
        objective = self.oracle.objective
        # A longer trial of the same setting may have trained more epochs; a custom `fit` decides its own epochs.
        counted = epochs if trial_run.is_plain(self.hypermodel) else sys.maxsize
        runs = []
        for seed in self.seeds:
            run = self._run(trial, values, seed, args, kwargs)
            value = self._value(run, counted)
            if not math.isfinite(value):
                trial.message = f"Seed {seed}: {run.reason or f'{objective.name} is {value}'}."
                return self._metrics([run], counted)
            runs.append(run)
        return self._metrics(runs, counted)

    @property
    def complete(self) -> bool:
        """Whether all trials have ended."""
        limit = self.oracle.max_trials
        return limit is not None and not self.oracle.ongoing_trials and len(self.oracle.end_order) >= limit

    def load_model(self, trial: Any, seed: int | None = None) -> Any:
        """Load the trained model of a trial, after its last epoch.

        Args:
            trial: KerasTuner's trial.
            seed: Integer. The seed of the run. Defaults to None: the first one.

        Raises:
            FileNotFoundError: If the run was trained on a machine that does not see the folder of the search.
        """
        model = self.hypermodel.build(trial.hyperparameters)
        memory.build_optimizer(model)  # so that its state is loaded too
        seed = self.seeds[0] if seed is None else seed
        run, job = self.records[hyperparameters.slot_of(self.arm, trial.hyperparameters.values, seed)], self.job((), {})
        job.load_weights(model, run)
        return model

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """Hyperparameters of the best completed trials, best first.

        Raises:
            RuntimeError: If all trials failed.
        """
        self._check_completed()
        return list(super().get_best_hyperparameters(num_trials))

    def save(self) -> None:
        """Save the oracle. The tuner has no state of its own."""
        self.oracle.save()

    def reload(self) -> None:
        """Read the state of the oracle, if there is one."""
        if (self._folder / STATE).exists():
            self.oracle.reload()

    def on_trial_end(self, trial: Any) -> None:
        """Report the trial to the oracle, which saves it."""
        self.oracle.end_trial(trial)
        ended, best = self.oracle.trials[trial.trial_id], self.oracle.get_best_trials(1)
        note = f"best {self.oracle.objective.name} {best[0].score:.5g}" if best else ""
        self.progress.ended(self.arm, ended.status == "COMPLETED", f"trial {trial.trial_id}", note)

    def space_populated(self) -> None:
        """Read the state of the oracle when KerasTuner has filled its space."""
        self.reload()

    def _check_records(self) -> None:
        """Raise `ValueError` if a trial that has ended has lost a run: its score would not be known."""
        for trial in self.oracle.trials.values():
            for seed in self.seeds if trial.status == "COMPLETED" else ():
                if self.records.get(hyperparameters.slot_of(self.arm, trial.hyperparameters.values, seed)) is None:
                    state = _checks.printable(self._folder / STATE)
                    raise ValueError(
                        f"{_checks.printable(self._folder / RUNS)} should have the run of trial {trial.trial_id}, seed "
                        f"{seed}, which has ended according to {STATE}. Restore the file from a copy; or delete "
                        f"{state} and search again: the runs that the file has are not trained again."
                    )

    def _check_completed(self) -> None:
        trials = list(self.oracle.trials.values())
        if trials and all(trial.status == "FAILED" for trial in trials):
            reasons = (trial.message for trial in trials if trial.message)
            reason = _checks.printable(next(reasons, "unknown").strip().splitlines()[-1]).removesuffix(".")
            raise RuntimeError(
                f"All {len(trials)} trials failed, so there is no best trial. Reason of the first: {reason}. To see "
                "more, build a model with the values of one trial and train it with `fit`."
            )

    def _run(self, trial: Any, values: dict[str, Any], seed: int, args: Any, kwargs: Any) -> RunRecord:
        """Read or train a run."""
        epochs = kwargs["epochs"]
        slot = hyperparameters.slot_of(self.arm, values, seed)
        done = self.records.get(slot)
        if done is not None and scores.covers(done, epochs):
            return done
        task = trial_run.Task(trial.trial_id, trial.hyperparameters, values, seed, epochs)
        job = self.job(args, kwargs)
        if self._team is not None:
            done = self._team.train(task)
        else:
            done = trial_run.train(job, task, [_keras_tuner.trial_callback(self, trial)])
        with fatal_errors():
            self.records.add(done)
        if done.stopped_early or "tuner/epochs" not in trial.hyperparameters.values:
            job.checkpoint(done.key).unlink(missing_ok=True)
        return done

    def job(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> trial_run.Job:
        """What the runs of this search share."""
        logs = None if self.log_dir is None else Path(self.log_dir).absolute()
        folder = self._folder.absolute()
        objective = self.oracle.objective
        return trial_run.Job(self.hypermodel, objective, args, kwargs, self.arm, self._identity, folder, logs)

    def _value(self, run: RunRecord, epochs: int) -> float:
        """The objective of a run; NaN for a run that diverged.

        Raises:
            FatalValueError: If the run has no such metric; then no run has.
        """
        objective = self.oracle.objective
        if not run.ok:
            return math.nan
        try:
            return float(objective.get_value(scores.metrics(run, self.epoch, objective, epochs)))
        except KeyError as error:
            raise errors.FatalValueError(
                f"`objective` should be one of the metrics that training logs: {', '.join(run.history)}. Received: "
                f"{objective.name!r}. Compile the model with this metric, or give `validation_data`."
            ) from error

    def _metrics(self, runs: list[RunRecord], epochs: int) -> dict[str, float]:
        """Means of all metrics over the seeds, and the objective of each seed."""
        objective = self.oracle.objective
        rows = [scores.metrics(run, self.epoch, objective, epochs) for run in runs]
        found = {name: statistics.fmean(row[name] for row in rows) for name in rows[0] if all(name in r for r in rows)}
        found[objective.name] = statistics.fmean(self._value(run, epochs) for run in runs)
        for run in runs:
            for epoch in ("last", "best"):
                value = objective.get_value(scores.metrics(run, epoch, objective, epochs))
                found[f"{objective.name}/seed_{run.seed}/{epoch}"] = value
        return found


_COMPILED = ", as it trains the model that `build` returns: compile it with this {} there."
_NOT_TAKEN = {
    "executions_per_trial": ", but `seeds`: one run for each seed.",
    "optimizer": _COMPILED.format("optimizer"),
    "loss": _COMPILED.format("loss"),
    "metrics": _COMPILED.format("list of metrics"),
    "max_model_size": ": raise keras_tuner.errors.FailedTrialError in `build` for a model that is too large.",
    "distribution_strategy": ": build and compile the model in `strategy.scope()` in `build`.",
    "tuner_id": ", as it searches from one process: leave it out. `arm` names the search in records and logs.",
    "logger": ", which KerasTuner ignores too: leave it out. `log_dir` writes logs for TensorBoard.",
}
"""Arguments of KerasTuner's tuners that this one does not take, and what to do."""


def _check_options(options: Iterable[str], oracle: type, tuner: str) -> None:
    """Check that an oracle has these options. An argument of KerasTuner's tuners has its own remedy.

    Raises:
        TypeError: If it has not.
    """
    known = {name for kind in oracle.__mro__[:-1] for name in inspect.signature(kind).parameters}
    for name in sorted(set(options) & set(_NOT_TAKEN)):
        raise TypeError(f"`EntropyTuner` takes no `{name}`{_NOT_TAKEN[name]}")
    for name in sorted(set(options) - known):
        close = difflib.get_close_matches(
            name, [*known, "max_trials", "epochs", "seeds", "holdout_seeds"], n=1, cutoff=0.5
        )
        remedy = f"Did you mean `{close[0]}`?" if close else "Leave it out."
        raise TypeError(f"`{name}` is an argument neither of the search nor of KerasTuner's {tuner} oracle. {remedy}")
