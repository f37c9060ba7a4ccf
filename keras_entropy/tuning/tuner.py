"""A KerasTuner tuner that keeps every seed, survives a kill, and runs the model without term beside the others."""

from __future__ import annotations

import math
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import keras_tuner
from filelock import FileLock, Timeout
from keras_tuner import errors
from keras_tuner.src.distribute import utils as distribution

from keras_entropy import _checks
from keras_entropy.runs import memory
from keras_entropy.study.folder import held
from keras_entropy.study.records import direction
from keras_entropy.study.single_run import build_optimizer
from keras_entropy.tuning import chief, ledger, objective_checks, project_folder, trial_run
from keras_entropy.tuning.hypermodel import EntropyHyperModel
from keras_entropy.tuning.ledger import Ledger, Run
from keras_entropy.tuning.oracles import ORACLES, STATE
from keras_entropy.tuning.search_result import BASELINE
from keras_entropy.tuning.workers import GIVEN_UP

_PAUSE = 0.05


class EntropyTuner(keras_tuner.Tuner):
    """Searches with KerasTuner's oracles, and adds what its tuners lack.

    * Every trial is trained once for each of `seeds`, the same in all trials: equal seeds give equal initial weights,
      dropout masks and, for arrays, order of the data. Each seed's metrics, at the last and at the best epoch, are
      kept.
    * The model without the term is trained beside the trials, on the same seeds, for each setting of the user's own
      hyperparameters.
    * It survives kill -9: the same program, started again, goes on with the search as if it had not been killed. A
      finished seed is read from its record, an unfinished one goes on after its last epoch, where the data are arrays,
      else from its start.
    * Trials with values that are not finite fail, and the search goes on; errors end it. With all trials failed there
      is no best one: `get_best_hyperparameters` raises.

    Use `search` as of KerasTuner's tuners: `tuner.search(x, y, validation_data=(x_val, y_val), epochs=20)`.

    Args:
        hypermodel: an `EntropyHyperModel`.
        objective: a metric's name, or a `keras_tuner.Objective` for one whose direction its name does not say.
        tuner: "random", "grid", "bayesian" or "hyperband".
        max_trials: how many, at most; Hyperband has its own number.
        seeds: of the runs of a trial.
        seed: of the values that are drawn.
        epoch: "last" or "best": whose values are averaged over the seeds to a trial's score. The best is chosen by
            looking at validation, once more for each run, and so looks better than it is.
        baseline: False to leave the model without term out.
        directory: of projects.
        project_name: of this search; its folder in `directory`.
        max_epochs: of Hyperband, whose trials have up to so many.
        log_dir: folder for TensorBoard: the curves of each run in one of its own, and the HParams page, without
            TensorFlow. Callbacks that have a `log_dir` write to such folders too.
        overwrite: True to delete the search that is in the folder.
        **oracle_options: further ones of KerasTuner's oracle, such as `num_initial_points`.

    Raises:
        TypeError, ValueError: for arguments of another kind.
        FileExistsError: for a folder that holds another search, or something else.
        BlockingIOError: where another process searches in the folder.

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
        baseline: bool = True,
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
        if "executions_per_trial" in oracle_options:
            raise TypeError("`executions_per_trial` of KerasTuner is `seeds` here: one run for each of them.")
        self.seeds = tuple(_checks.seeds("seeds", seeds))
        if not self.seeds:
            raise ValueError(_checks.message("seeds", "at least one seed", seeds))
        seed = _checks.seed("seed", seed)
        overwrite = _checks.flag("overwrite", overwrite)
        self.epoch = _checks.one_of("epoch", epoch, ("last", "best"))
        self.baseline, self.log_dir = baseline, log_dir
        objective = _objective(objective)
        objective_checks.check_objective(objective)
        limit = {"max_epochs": max_epochs} if tuner == "hyperband" else {"max_trials": max_trials}
        oracle = kind(objective=objective, seed=seed, **limit, **oracle_options)
        if "max_retries_per_trial" in oracle_options:
            raise ValueError("`max_retries_per_trial` has no use: with the same seeds a trial fails again.")
        self._folder = Path(directory) / project_name
        settings = {"tuner": tuner, "seed": seed, "seeds": self.seeds, "epoch": epoch, **oracle_options}
        if tuner == "hyperband":
            settings |= limit
        self._described = project_folder.description(settings, hypermodel, objective)
        if not self._is_worker():
            project_folder.check_folder(self._folder, overwrite=overwrite)
            project_folder.check_same(self._folder, self._described)
        super().__init__(oracle, hypermodel, directory=str(directory), project_name=project_name)
        self.ledger = Ledger(self._folder / ledger.FOLDER)
        self.trial_ended: Callable[[], None] = lambda: None
        """Called when a trial has ended."""

    def search(self, *args: Any, **kwargs: Any) -> None:
        """Search, or go on with the search that is in the folder.

        Args:
            *args: of `fit`.
            **kwargs: of `fit`, such as `validation_data`, `epochs` and `callbacks`.

        Raises:
            FatalError: for an error in a trial, or an objective or a callback that watches the penalty.
            RuntimeError: where every trial has failed; the message has the first one's reason.
            ValueError: for the folder of another search, or data other than those of the search that is there.
        """
        objective_checks.check_callbacks(kwargs.get("callbacks") or [])
        if trial_run.is_plain(self.hypermodel):
            args, kwargs = (), trial_run.bound(args, kwargs)
            trial_run.check_data(kwargs, self.oracle.objective.name)
        with memory.set_aside():
            self._search(args, kwargs)

    def _search(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if self._is_worker():
            with objective_checks.chief_is_there():
                super().search(*args, **kwargs)
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        with held(self._folder):
            described = {**self._described, **project_folder.description_of_fit(args, kwargs)}
            project_folder.check_same(self._folder, described, write=True)
            self.reload()  # another process may have searched since
            self.oracle.mend_copies()
            if distribution.is_chief_oracle():
                self.oracle.verbose = kwargs.get("verbose", "auto")
                self.save()
                chief.serve(self.oracle)
            else:
                super().search(*args, **kwargs)
        self._check_completed()

    def run_trial(self, trial: Any, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Train a setting, and beside it that without term, for each seed."""
        values = ledger.own(trial.hyperparameters.values)
        kwargs["epochs"] = epochs = int(trial.hyperparameters.values.get("tuner/epochs", kwargs.get("epochs", 1)))
        objective = self.oracle.objective
        given_up = Path(self.get_trial_dir(trial.trial_id)) / GIVEN_UP
        if given_up.exists():
            raise errors.FailedTrialError(given_up.read_text(encoding="utf-8").strip())
        # Epochs beyond those of this trial may come from a longer one; a `fit` of one's own trains as many as it likes.
        counted = epochs if trial_run.is_plain(self.hypermodel) else sys.maxsize
        runs = []
        for seed in self.seeds:
            run = self._run(trial, values, seed, args, kwargs)
            value = self._value(run, counted)
            if not math.isfinite(value):
                trial.message = f"{objective.name} is {value} on seed {seed}."
                return self._metrics([run], [], counted)
            runs.append(run)
        baseline = trial_run.without_term(values)
        # What another process trains at this moment is waited for last.
        seeds = self.seeds if self.baseline else ()
        found = {seed: self._run(trial, baseline, seed, args, kwargs, wait=False) for seed in seeds}
        bases = [run or self._run(trial, baseline, seed, args, kwargs) for seed, run in found.items()]
        return self._metrics(runs, bases, counted)

    @property
    def complete(self) -> bool:
        """Whether all trials that were asked for have ended."""
        limit = self.oracle.max_trials
        return limit is not None and not self.oracle.ongoing_trials and len(self.oracle.end_order) >= limit

    def load_model(self, trial: Any) -> Any:
        """The compiled model of a trial, trained: that of the first seed, after its last epoch."""
        model = self.hypermodel.build(trial.hyperparameters)
        build_optimizer(model)  # its state is in the file too
        model.load_weights(self.ledger.path(trial.hyperparameters.values, self.seeds[0], trial_run.WEIGHTS))
        return model

    def get_best_hyperparameters(self, num_trials: int = 1) -> list[Any]:
        """As KerasTuner's, of completed trials only.

        Raises:
            RuntimeError: where no trial was completed.
        """
        self._check_completed()
        return list(super().get_best_hyperparameters(num_trials))

    def pre_create_trial(self) -> None:
        """Before each request for a trial, which KerasTuner repeats without a pause while others run."""
        if self._is_worker():
            time.sleep(_PAUSE)

    def save(self) -> None:
        """Save the oracle; a tuner has no state of its own."""
        if not self._is_worker():
            self.oracle.save()

    def reload(self) -> None:
        """Read the oracle's state, if there is one."""
        if not self._is_worker() and (self._folder / STATE).exists():
            self.oracle.keeps_ongoing = distribution.is_chief_oracle()
            self.oracle.reload()

    def on_trial_end(self, trial: Any) -> None:
        """Report to the oracle, which saves."""
        self.oracle.end_trial(trial)
        self.trial_ended()

    def _run_and_update_trial(self, trial: Any, *args: Any, **kwargs: Any) -> None:
        with objective_checks.chief_is_there():  # KerasTuner would fail the trial
            super()._run_and_update_trial(trial, *args, **kwargs)

    def _populate_initial_space(self) -> None:
        super()._populate_initial_space()
        self.reload()

    def _check_completed(self) -> None:
        trials = self.oracle.get_best_trials(1) if self._is_worker() else list(self.oracle.trials.values())
        if trials and all(trial.status == "FAILED" for trial in trials):
            reasons = (trial.message for trial in trials if trial.message)
            raise RuntimeError(
                f"All {len(trials)} trials have failed: there is no best one. The first: "
                f"{next(reasons, 'see the logs of the workers').strip().splitlines()[-1]}"
            )

    def _run(self, trial: Any, values: dict[str, Any], seed: int, args: Any, kwargs: Any, *, wait: bool = True) -> Any:
        """One run, read or trained; None for one that another process trains, unless that is waited for."""
        epochs = kwargs["epochs"]
        with objective_checks.raised():
            done = self.ledger.read(values, seed)
            if done is not None and done.covers(epochs):
                return done
            path = self.ledger.path(values, seed, ".lock")
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with FileLock(path, timeout=-1 if wait else 0):
                    done = self.ledger.read(values, seed)
                    if done is None or not done.covers(epochs):
                        done = trial_run.train(self, trial, values, seed, args, kwargs)
                        self.ledger.write(done)
                        if done.ended or "tuner/epochs" not in trial.hyperparameters.values:
                            trial_run.forget_snapshot(self.ledger, values, seed)
            except Timeout:
                return None
        return done

    def _value(self, run: Run, epochs: int) -> float:
        """The objective of a run.

        Raises:
            FatalValueError: where the run has no such metric, as then no other one has it.
        """
        objective = self.oracle.objective
        try:
            return float(objective.get_value(run.metrics(self.epoch, objective, epochs)))
        except KeyError as error:
            raise errors.FatalValueError(
                f"`objective` should be one of the metrics that training logs: {', '.join(run.history)}. Received: "
                f"{objective.name!r}. Compile the model with it, or give `validation_data`."
            ) from error

    def _metrics(self, runs: list[Run], bases: list[Run], epochs: int) -> dict[str, float]:
        """The means over the seeds, and what each seed has of the objective."""
        objective = self.oracle.objective
        rows = [run.metrics(self.epoch, objective, epochs) for run in runs]
        found = {name: statistics.fmean(row[name] for row in rows) for name in rows[0] if all(name in r for r in rows)}
        found[objective.name] = statistics.fmean(objective.get_value(row) for row in rows)
        for run in runs:
            for epoch in ("last", "best"):
                value = objective.get_value(run.metrics(epoch, objective, epochs))
                found[f"{objective.name}/seed_{run.seed}/{epoch}"] = value
        if bases:
            values = [objective.get_value(base.metrics(self.epoch, objective, epochs)) for base in bases]
            found[f"{objective.name}/{BASELINE}"] = statistics.fmean(values)
        return found


def _objective(given: Any) -> Any:
    """An objective, with the direction of losses and accuracies that KerasTuner does not know."""
    if isinstance(given, str):
        return keras_tuner.Objective(given, "min" if direction(given, None, "objective") else "max")
    if not isinstance(given, keras_tuner.Objective):
        raise TypeError(_checks.message("objective", "the name of a metric or one keras_tuner.Objective", given))
    return given
