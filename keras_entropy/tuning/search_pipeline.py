"""A search for the best entropy term, and its comparison with the baseline on held-out seeds."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from keras_entropy import _checks, _files, _optional
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.pool import ProcessPool, shares
from keras_entropy.runs.progress import Progress
from keras_entropy.study import Arm, Comparison, Study, compare
from keras_entropy.study.metrics import direction
from keras_entropy.study.single_run import load
from keras_entropy.tuning import hyperparameters, output_folder, tensorboard_log, trial_run
from keras_entropy.tuning.hypermodel import PLACEMENT, REGULARIZER, EntropyHyperModel
from keras_entropy.tuning.search_figure import write_figure
from keras_entropy.tuning.search_result import BASELINE, TERM, SearchResult, TrialResult, best_of, completed
from keras_entropy.tuning.trial_table import TrialReader, write_csv
from keras_entropy.tuning.tuner import EntropyTuner

_FIRST_HOLDOUT_SEED = 1000


class _Builder:
    """The build function of the comparison: builds the model of an arm.

    Args:
        hypermodel: `EntropyHyperModel`.
        values: Dict of hyperparameters for each arm.
    """

    def __init__(self, hypermodel: EntropyHyperModel, values: dict[str, dict[str, Any]]) -> None:
        self.hypermodel, self.values = hypermodel, values

    def __call__(self, setting: str) -> Any:
        hp = keras_tuner.HyperParameters()
        hp.values = dict(self.values[setting])
        return self.hypermodel.build(hp) if PLACEMENT in hp.values else self.hypermodel.baseline(hp)


def search(
    hypermodel: EntropyHyperModel,
    data: Any,
    *,
    objective: str | keras_tuner.Objective = "val_task_loss",
    lower_is_better: bool | None = None,
    tuner: str = "random",
    max_trials: int = 12,
    epochs: int = 10,
    batch_size: int = 32,
    seeds: int | Iterable[int] = 2,
    holdout_seeds: int | Iterable[int] = 5,
    seed: int = 0,
    epoch: str = "last",
    workers: int = 1,
    executor: Executor | None = None,
    callbacks: Sequence[Any] = (),
    output: str | os.PathLike[str] = "runs/search",
    overwrite: bool = False,
    progress: bool = True,
    **oracle_options: Any,
) -> SearchResult:
    """Search for the best entropy term, then compare it with the baseline on held-out seeds.

    The baseline is the same model without an entropy term. It is trained beside the trials on the same seeds, once for
    each setting of the model's own hyperparameters. After the search, the best setting and the best baseline are
    trained again on `holdout_seeds` and compared seed by seed, with `keras_entropy.study`. If the process is killed,
    call `search` again with the same arguments: it resumes.

    The output folder contains `trials.csv` (one row for each trial, with the metric of each seed), `search.png` (metric
    against factor), `result.json`, `search/` (KerasTuner's files and the runs), `comparison/` (the records of the
    study) and `logs/` (event files for TensorBoard and its HParams page).

    Args:
        hypermodel: `EntropyHyperModel` to tune.
        data: Tuple (x_train, y_train, x_val, y_val), or a function that returns it.
        objective: String or `keras_tuner.Objective`. A metric, or a loss without the penalty. Defaults to
            `"val_task_loss"`.
        lower_is_better: Boolean. Direction of the objective. Defaults to None: the name, or the `Objective`, tells.
        tuner: String. `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`. Defaults to `"random"`.
        max_trials: Integer. Maximum number of trials; Hyperband sets its own number. Defaults to 12.
        epochs: Integer. Epochs of each run; for Hyperband, of its longest trials. Defaults to 10.
        batch_size: Integer. Samples per step. Defaults to 32.
        seeds: Integer or list of integers. Number of seeds of each trial, counted from `seed`, or the seeds. Defaults
            to 2.
        holdout_seeds: Integer or list of integers. Number of seeds of the comparison, counted from `seed` + 1000, or
            the seeds. At least two, none of them among `seeds`. Defaults to 5.
        seed: Integer. Seed of the tuner, and the first of `seeds`. Defaults to 0.
        epoch: String. `"last"` scores a run at its last epoch, `"best"` at its best epoch. Defaults to `"last"`.
        workers: Integer. Number of trials at once, each in a process with its share of the cores or its own GPU.
            Defaults to 1: one trial after the other, in this process.
        executor: A `concurrent.futures.Executor` of processes that train in place of those, such as Dask's
            `Client.get_executor()`, for `workers` trials at once. Its machines need no access to the output folder;
            without it they write no checkpoints, weights and logs. Defaults to None.
        callbacks: List of Keras callbacks. Each run of the search and of the comparison gets its own copy. Defaults to
            none.
        output: Path of the output folder. Defaults to `"runs/search"`.
        overwrite: Boolean. Whether to delete an earlier search in the folder. Defaults to False.
        progress: Boolean. Whether to show the progress on a terminal. Defaults to True.
        **oracle_options: Further options of KerasTuner's oracle, such as `num_initial_points`.

    Returns:
        A `SearchResult`.

    Raises:
        TypeError: For an argument of the wrong type.
        ValueError: For an argument with a bad value, and for a folder that contains a different search.
        FileExistsError: For a folder with other files of the same names.
        BlockingIOError: While another process searches in the folder.
        ModuleNotFoundError: If a package of the extra `search` is not installed.
        RuntimeError: If all trials failed, or if the model or its training raised an error.

    Examples:
        >>> import tempfile, keras, numpy as np
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.tuning import EntropyHyperModel, search
        >>> def build():
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(4)])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(32, 4))
        >>> result = search(
        ...     EntropyHyperModel(build, DenseEntropy), (x, x, x, x), max_trials=2, epochs=1, holdout_seeds=2,
        ...     output=tempfile.mkdtemp() + "/search", progress=False)
        >>> result.difference.n
        2
    """
    for module in ("loky", "matplotlib", "tensorboard"):
        _optional.require(module, extra="search")
    metric, lower = _checked_objective(objective, lower_is_better)
    seed = _checks.seed("seed", seed)
    searched, holdout = _checked_seeds(seeds, holdout_seeds, seed)
    workers = _checks.positive_integer("workers", workers)
    batch_size = _checks.positive_integer("batch_size", batch_size)
    if "max_epochs" in oracle_options:
        raise TypeError("`search` takes `epochs` in place of KerasTuner's `max_epochs`.")
    callbacks = _checked_callbacks(callbacks)
    folder = Path(output)
    output_folder.check(folder, holdout, _checks.flag("overwrite", overwrite))
    _check_fit(hypermodel)
    tuner_options = {
        "hypermodel": hypermodel,
        "objective": keras_tuner.Objective(metric, "min" if lower else "max"),
        "tuner": tuner,
        "max_trials": _checks.positive_integer("max_trials", max_trials),
        "max_epochs": _checks.positive_integer("epochs", epochs),
        "seeds": searched,
        "seed": seed,
        "epoch": epoch,
        "directory": str(folder),
        "project_name": output_folder.PROJECT,
        "log_dir": str(folder / output_folder.LOGS),
        **oracle_options,
    }
    fit_options = {**_fit_data(data, seed), "epochs": epochs, "batch_size": batch_size, "callbacks": callbacks}
    if overwrite:
        _check_tuner(tuner_options)
    with output_folder.results_of(folder).locked():
        if overwrite:
            output_folder.clear(folder)
        searcher = EntropyTuner(**tuner_options)
        _run_trials(searcher, {**fit_options, "verbose": 0}, workers, executor, folder, progress)
        reader = TrialReader(searcher, epochs)
        found = _Trials(metric, lower, searched, reader.trials(), reader.baselines())
        write_csv(folder / output_folder.TABLE, (*found.trials, *found.baselines), metric, searched)
        values = [trial.values for trial in found.trials]
        tensorboard_log.write_experiment(folder / output_folder.LOGS, values, [metric])
        study = Study(
            _Builder(hypermodel, found.arms),
            [Arm(name, "none", setting=name) for name in found.arms],
            holdout,
            data=data,
            # More trials may find another best setting, whose comparison has a folder of its own.
            output=folder / output_folder.COMPARISON / hyperparameters.digest(found.arms)[:16],
            epochs=epochs,
            batch_size=batch_size,
            metric=metric,
            lower_is_better=lower,
            callbacks=functools.partial(copy.deepcopy, callbacks) if callbacks else None,
        )
        comparison = compare(study.run(executor=executor, progress=progress), metric, BASELINE, lower_is_better=lower)
        result = _result(found, list(hypermodel.regularizers), comparison, holdout, folder)
        _files.write_json(folder / output_folder.RESULT, _files.strict(result.to_dict()))
        write_figure(result, folder / output_folder.FIGURE)
    return result


@dataclasses.dataclass(frozen=True)
class _Trials:
    """What the trials have found."""

    metric: str
    lower_is_better: bool
    seeds: tuple[int, ...]
    trials: tuple[TrialResult, ...]
    baselines: tuple[TrialResult, ...]

    @property
    def best(self) -> TrialResult:
        """The best trial; the tuner has raised an error if all failed."""
        best = best_of(completed(self.trials), self.lower_is_better)
        assert best is not None
        return best

    @property
    def best_baseline(self) -> TrialResult | None:
        """The best baseline; None if none was trained or none is finite."""
        return best_of(self.baselines, self.lower_is_better)

    @property
    def arms(self) -> dict[str, dict[str, Any]]:
        """Hyperparameters of the baseline and of the best setting."""
        base = self.best_baseline
        baseline = hyperparameters.without_term(self.best.values) if base is None else dict(base.values)
        return {BASELINE: baseline, TERM: dict(self.best.values)}


def _check_tuner(options: Mapping[str, Any]) -> None:
    """Raise the errors of a tuner with these options, without a look at its folder.

    Raises:
        TypeError, ValueError: For an invalid option.
        FatalError: For a hypermodel that does not build a model.
    """
    with tempfile.TemporaryDirectory() as empty:
        EntropyTuner(**{**options, "directory": empty})


def _run_trials(
    tuner: EntropyTuner, fit: dict[str, Any], workers: int, executor: Executor | None, folder: Path, progress: bool
) -> None:
    """Run all trials, in this process, in processes of this machine, or on an executor."""
    with Progress(["trials"], progress, noun="trial") as display:
        tuner.progress = display
        total, ended = tuner.oracle.expected_trials, list(tuner.oracle.end_order)
        before = [("trials", tuner.oracle.trials[name].status == "COMPLETED") for name in ended]
        display.begin("Searching", {"trials": max(0, (total or 0) - len(ended))}, before)
        if executor is not None:
            tuner.search_on(executor, workers, **fit)
        elif workers == 1 or tuner.complete:
            tuner.search(**fit)
        else:
            log = folder / output_folder.LOG
            with ProcessPool(workers, tries=3, log=log, shares=shares(workers)) as pool:
                tuner.search_on(pool, workers, **fit)


def _result(
    found: _Trials, regularizers: list[str], comparison: Comparison, holdout: tuple[int, ...], folder: Path
) -> SearchResult:
    rows = {row.arm: row for row in comparison.rows}
    mean, base_mean = (math.nan if row.mean is None else row.mean.estimate for row in (rows[TERM], rows[BASELINE]))
    base = found.best_baseline
    return SearchResult(
        sentence=_sentence(found, regularizers, comparison),
        metric=found.metric,
        lower_is_better=found.lower_is_better,
        values=found.best.values,
        baseline_values=FrozenDict(found.arms[BASELINE]),
        score=found.best.score,
        baseline_score=math.nan if base is None else base.score,
        holdout_mean=mean,
        baseline_holdout_mean=base_mean,
        difference=rows[TERM].difference,
        seeds=found.seeds,
        holdout_seeds=holdout,
        trials=found.trials,
        baselines=found.baselines,
        output=str(folder),
    )


def _sentence(found: _Trials, regularizers: list[str], comparison: Comparison) -> str:
    """The conclusion in words."""
    better = "lower" if found.lower_is_better else "higher"
    compared = " ".join(f"{sentence}." for sentence in comparison.sentences())
    different = len(
        {hyperparameters.digest(trial.values) for trial in completed(found.trials)}
    )  # Hyperband repeats some
    only = {REGULARIZER: regularizers[0]} if len(regularizers) == 1 else {}
    best, base, values = found.best, found.best_baseline, found.arms[BASELINE]
    at = f" at its best {_in_words(values)}" if values else ""
    score = math.nan if base is None else base.score
    return (
        f"{found.metric} ({better} is better) on held-out seeds: {compared} The best of {different} settings was "
        f"{_in_words({**only, **best.values})}. On the seeds of the search, its mean was {best.score:.5g}; the mean of "
        f"the baseline{at} was {score:.5g}."
    )


def _in_words(values: Mapping[str, Any]) -> str:
    def text(value: Any) -> str:
        return f"{value:.3g}" if isinstance(value, float) else str(value)

    return ", ".join(f"{name.removeprefix('entropy/')} {text(value)}" for name, value in values.items())


def _fit_data(data: Any, seed: int) -> dict[str, Any]:
    x_train, y_train, x_val, y_val = load(data, seed)
    return {"x": x_train, "y": y_train, "validation_data": (x_val, y_val)}


def _checked_objective(objective: Any, lower_is_better: bool | None) -> tuple[str, bool]:
    """Name of the metric, and whether lower values are better."""
    if isinstance(objective, keras_tuner.Objective):
        lower_is_better = objective.direction == "min" if lower_is_better is None else lower_is_better
        objective = objective.name
    return objective, direction(objective, lower_is_better)


def _checked_seeds(
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


def _checked_callbacks(given: Any) -> list[Any]:
    callbacks = list(given) if isinstance(given, Iterable) else [None]
    if not all(isinstance(callback, keras.callbacks.Callback) for callback in callbacks):
        raise TypeError(_checks.message("callbacks", "a list of keras.callbacks.Callback", given))
    return callbacks


def _check_fit(hypermodel: Any) -> None:
    if isinstance(hypermodel, EntropyHyperModel) and not trial_run.is_plain(hypermodel):
        raise ValueError(
            "`hypermodel` has its own `fit`, which the comparison on held-out seeds cannot use: it trains with "
            "`keras.Model.fit`. Use EntropyTuner without the comparison, or override `train_step` of the model."
        )
