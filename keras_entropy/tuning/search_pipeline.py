"""A search for the best entropy term and the best baseline, and their comparison on held-out seeds."""

from __future__ import annotations

import contextlib
import copy
import dataclasses
import functools
import math
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import keras_tuner

from keras_entropy import _checks, _files, _optional, _sealed
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.identity import digest
from keras_entropy.runs.pool import ProcessPool, shares
from keras_entropy.runs.progress import Progress
from keras_entropy.study import Arm, Study, StudyResult, compare
from keras_entropy.study.controls import transform, with_raw_inputs
from keras_entropy.study.run_data import load
from keras_entropy.tuning import output_folder, range_notes, search_arguments, tensorboard_log
from keras_entropy.tuning.conclusion import Duel, luck
from keras_entropy.tuning.contenders import INPUTS, ORTHOGONALITY, Contender, checked_controls, contenders
from keras_entropy.tuning.hypermodel import EntropyHyperModel
from keras_entropy.tuning.search_figure import write_figure
from keras_entropy.tuning.search_result import BASELINE, SCHEMA, TERM, ContenderResult, SearchResult, best_of, completed
from keras_entropy.tuning.search_sentence import sentences
from keras_entropy.tuning.trial_table import trials_of, write_csv
from keras_entropy.tuning.tuner import EntropyTuner


@dataclasses.dataclass(frozen=True)
class _Builder:
    """The build function of the comparison: builds the model of an arm.

    Args:
        hypermodels: Dict of `EntropyHyperModel`s by the name of the arm.
        values: Dict of hyperparameters by the name of the arm.
    """

    hypermodels: dict[str, EntropyHyperModel]
    values: dict[str, dict[str, Any]]

    def __call__(self, setting: str) -> Any:
        hp = keras_tuner.HyperParameters()
        hp.values = dict(self.values[setting])
        return self.hypermodels[setting].build(hp)


def search(
    hypermodel: EntropyHyperModel,
    data: Any,
    *,
    objective: str | keras_tuner.Objective = "val_task_loss",
    lower_is_better: bool | None = None,
    controls: Iterable[str] = (ORTHOGONALITY,),
    tune_baseline: bool = True,
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
    output: str | os.PathLike[str] = "search_results",
    overwrite: bool = False,
    progress: bool = True,
    **oracle_options: Any,
) -> SearchResult:
    """Search for the best entropy term and the best baseline, and compare them on held-out seeds.

    The baseline is the same model without an entropy term. The model with a term, the baseline and each control have a
    search of their own, with as many trials, the same seeds, epochs and tuner. If `build` declares no hyperparameters,
    each of them tunes a multiplier of the learning rate and an L2 on the kernels that the term can act on; the term and
    its controls tune placement and factor too. Their best settings are then trained on `holdout_seeds` and compared
    seed by seed, with `keras_entropy.study`. Better is a term whose difference shows there, after Holm's adjustment for
    all rivals, and which the luck of the search does not explain (see `SearchResult.duels`). If the process is killed,
    call `search` again with the same arguments: it resumes.

    The output folder contains `trials.csv` (one row for each trial, with all logged metrics), `search.png` (a panel for
    each contender), `result.json`, `best_model.keras`, `search/` (KerasTuner's files and the runs of each contender),
    `comparison/` (the records of the study) and `logs/` (event files for TensorBoard and its HParams page).

    Args:
        hypermodel: `EntropyHyperModel` to tune.
        data: Tuple (x_train, y_train, x_val, y_val), or a function that returns it.
        objective: String or `keras_tuner.Objective`. A metric, or a loss without the penalty. Defaults to
            `"val_task_loss"`.
        lower_is_better: Boolean. Direction of the objective. Defaults to None: the name, or the `Objective`, tells.
        controls: Names of simpler changes that the term should beat too: `"soft orthogonality"`, `"L2"`, `"orthogonal
            initialisation"`, `"centred inputs"`, `"standardised inputs"`. Defaults to soft orthogonality.
        tune_baseline: Boolean. Whether all contenders tune learning rate and L2 if `build` declares no hyperparameters;
            without it the baseline is not tuned, and the conclusion says so. Defaults to True.
        tuner: String. `"random"`, `"grid"`, `"bayesian"` or `"hyperband"`. The luck of the search can be told for
            random search only. Defaults to `"random"`.
        max_trials: Integer. Maximum number of trials of each contender; Hyperband sets its own number. Defaults to 12.
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
        output: Path of the output folder. Defaults to `"search_results"`, which no command uses.
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
        ...     controls=(), output=tempfile.mkdtemp() + "/search", progress=False)
        >>> [contender.name for contender in result.contenders], result.difference.n
        (['entropy', 'baseline'], 2)
    """
    for module in ("loky", "matplotlib", "tensorboard"):
        _optional.require(module, extra="search")
    metric, lower = search_arguments.checked_objective(objective, lower_is_better)
    seed = _checks.seed("seed", seed)
    searched, holdout = search_arguments.checked_seeds(seeds, holdout_seeds, seed)
    workers = _checks.positive_integer("workers", workers)
    batch_size = _checks.positive_integer("batch_size", batch_size)
    if "max_epochs" in oracle_options:
        raise TypeError("`search` takes `epochs` in place of KerasTuner's `max_epochs`.")
    callbacks = search_arguments.checked_callbacks(callbacks)
    controls, tune_baseline = checked_controls(controls), _checks.flag("tune_baseline", tune_baseline)
    folder = _files.local(output, "output")
    output_folder.check(folder, holdout, _checks.flag("overwrite", overwrite))
    search_arguments.check_fit(hypermodel)
    tuner_options = {
        "objective": keras_tuner.Objective(metric, "min" if lower else "max"),
        "tuner": tuner,
        "max_trials": _checks.positive_integer("max_trials", max_trials),
        "max_epochs": _checks.positive_integer("epochs", epochs),
        "seeds": searched,
        "seed": seed,
        "epoch": epoch,
        "directory": str(folder / output_folder.PROJECTS),
        **oracle_options,
    }
    _check_tuner({"hypermodel": hypermodel, **tuner_options})
    rivals = contenders(hypermodel, controls, tune_baseline)
    fit_options = {"epochs": epochs, "batch_size": batch_size, "callbacks": callbacks, "verbose": 0}
    x_train, y_train, x_val, y_val = load(data, seed)
    with output_folder.results_of(folder).locked():
        if overwrite:
            output_folder.clear(folder)
        tuners = {rival.name: _tuner_of(rival, folder, tuner_options) for rival in rivals}
        with _trainers(tuners, workers, executor, folder, progress) as train:
            for rival in rivals:
                change = transform(rival.inputs, x_train)
                given = {"x": change(x_train), "y": y_train, "validation_data": (change(x_val), y_val)}
                train(tuners[rival.name], {**given, **fit_options})
        found = {rival.name: _searched(tuners[rival.name], lower, epochs) for rival in rivals}
        everything = [trial for one in found.values() for trial in one.trials]
        write_csv(folder / output_folder.TABLE, everything, metric, searched)
        logged = [{tensorboard_log.ARM: trial.contender, **trial.values} for trial in everything]
        tensorboard_log.write_experiment(folder / output_folder.LOGS, logged, [metric])
        study = _compared(rivals, found, folder, holdout, data, fit_options, metric, lower, executor, progress)
        result = _result(found, tuners, study, holdout, lower, folder)
        _sealed.write(folder / output_folder.RESULT, SCHEMA, result.to_dict())
        write_figure(result, folder / output_folder.FIGURE)
        _save_best(result, INPUTS.get(result.winner), x_train, folder / output_folder.MODEL)
    return result


def _tuner_of(rival: Contender, folder: Path, options: Mapping[str, Any]) -> EntropyTuner:
    slug = output_folder.slug(rival.name)
    logs = str(folder / output_folder.LOGS / slug)
    return EntropyTuner(hypermodel=rival.hypermodel, arm=rival.name, project_name=slug, log_dir=logs, **options)


def _check_tuner(options: Mapping[str, Any]) -> None:
    """Raise the errors of a tuner with these options, without a look at its folder.

    Raises:
        TypeError, ValueError: For an invalid option.
        FatalError: For a hypermodel that does not build a model.
    """
    with _files.temporary_folder() as empty:
        EntropyTuner(**{**options, "directory": empty})


@contextlib.contextmanager
def _trainers(
    tuners: Mapping[str, EntropyTuner], workers: int, executor: Executor | None, folder: Path, progress: bool
) -> Iterator[Any]:
    """A function that runs all trials of a tuner: in this process, in processes of this machine, or on an executor."""
    alone = executor is None and (workers == 1 or all(tuner.complete for tuner in tuners.values()))
    with Progress(tuners, progress, noun="trial") as display, contextlib.ExitStack() as stack:
        left, ended = {}, []
        for name, tuner in tuners.items():
            tuner.progress = display
            before = [tuner.oracle.trials[trial].status == "COMPLETED" for trial in tuner.oracle.end_order]
            ended += [(name, ok) for ok in before]
            left[name] = max(0, (tuner.oracle.expected_trials or 0) - len(before))
        display.begin("Searching", left, ended)
        used = executor
        if executor is None and not alone:
            log = folder / output_folder.LOG
            used = stack.enter_context(ProcessPool(workers, tries=3, log=log, shares=shares(workers)))

        def train(tuner: EntropyTuner, fit: dict[str, Any]) -> None:
            if used is None:
                tuner.search(**fit)
            else:
                tuner.search_on(used, workers, **fit)

        yield train


@dataclasses.dataclass(frozen=True)
class _Searched:
    """What the search of a contender has found."""

    trials: tuple[Any, ...]
    best: Any


def _searched(tuner: EntropyTuner, lower: bool, epochs: int) -> _Searched:
    trials = trials_of(tuner, epochs)
    best = best_of(completed(trials), lower)
    assert best is not None  # the tuner has raised an error if all trials failed
    return _Searched(trials, best)


def _compared(
    rivals: Sequence[Contender],
    found: Mapping[str, _Searched],
    folder: Path,
    holdout: tuple[int, ...],
    data: Any,
    fit: Mapping[str, Any],
    metric: str,
    lower: bool,
    executor: Executor | None,
    progress: bool,
) -> StudyResult:
    """Train the best setting of each contender on the held-out seeds."""
    values = {name: dict(one.best.values) for name, one in found.items()}
    callbacks = fit["callbacks"]
    study = Study(
        _Builder({rival.name: rival.hypermodel for rival in rivals}, values),
        [Arm(rival.name, "none", inputs=rival.inputs, setting=rival.name) for rival in rivals],
        holdout,
        data=data,
        # More trials may find another best setting, whose comparison has a folder of its own.
        output=folder / output_folder.COMPARISON / digest(values)[:16],
        epochs=fit["epochs"],
        batch_size=fit["batch_size"],
        metric=metric,
        lower_is_better=lower,
        callbacks=functools.partial(copy.deepcopy, callbacks) if callbacks else None,
    )
    return study.run(executor=executor, progress=progress)


def _result(
    found: Mapping[str, _Searched],
    tuners: Mapping[str, EntropyTuner],
    study: StudyResult,
    holdout: tuple[int, ...],
    lower: bool,
    folder: Path,
) -> SearchResult:
    tuner = tuners[TERM]
    metric = tuner.oracle.objective.name
    comparison = compare(study, metric, TERM, epoch=tuner.epoch, lower_is_better=lower)
    rows = {row.arm: row for row in comparison.rows}
    results = tuple(_contender(tuners[name], one, rows[name].values) for name, one in found.items())
    scores = {result.name: [trial.score for trial in result.completed] for result in results}
    duels = []
    for rival in results[1:]:
        difference = rows[rival.name].difference  # the rival minus the term
        difference = None if difference is None else difference.swapped()
        pair = [scores[TERM], scores[rival.name]]
        if difference is not None and (difference.estimate > 0) == lower:
            pair.reverse()
        chance = luck(*pair, lower_is_better=lower)
        random = tuner.tuner == "random"
        duels.append(Duel(rival=rival.name, difference=difference, luck=chance, random=random, lower_is_better=lower))
    return SearchResult(
        sentences=sentences(metric, lower, results, duels, tuner),
        metric=metric,
        lower_is_better=lower,
        contenders=results,
        duels=tuple(duels),
        seeds=tuner.seeds,
        holdout_seeds=holdout,
        output=str(folder),
        study=study,
        tuners=FrozenDict(tuners),
    )


def _contender(tuner: EntropyTuner, found: _Searched, holdout: Mapping[int, float]) -> ContenderResult:
    runs = tuner.records.all()
    space = [parameter for parameter in tuner.oracle.hyperparameters.space if not parameter.name.startswith("tuner/")]
    notes = range_notes.at_the_end(found.best.values, space)
    if tuner.arm != BASELINE:
        notes += range_notes.never_tried(tuner.hypermodel, found.trials)
    return ContenderResult(
        name=tuner.arm,
        trials=found.trials,
        best=found.best,
        tuned=tuple(parameter.name for parameter in space),
        holdout=FrozenDict(holdout),
        notes=tuple(notes),
        runs=len(runs),
        epochs=sum(run.epochs for run in runs),
        seconds=math.fsum(run.cpu_seconds for run in runs),
    )


def _save_best(result: SearchResult, inputs: str | None, x_train: Any, path: Path) -> None:
    """Save the trained model of the winner, where this machine has its weights and Keras can save it whole.

    If the winner has transformed inputs, the saved model transforms them itself.
    """
    try:
        model = result.best_model()
        if inputs is not None:
            model = with_raw_inputs(model, inputs, x_train)
        with _files.replacing(path) as temporary:
            model.save(temporary)
    except Exception as error:  # saving runs the user's code
        path.unlink(missing_ok=True)
        warnings.warn(
            f"{path} was not written: {type(error).__name__}: {_checks.printable(str(error))} `SearchResult.build()` "
            "builds the model.",
            _checks.EntropyWarning,
            stacklevel=3,
        )
