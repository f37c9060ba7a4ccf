"""A search from its first trial to its verdict on seeds that it has not seen."""

from __future__ import annotations

import copy
import dataclasses
import functools
import math
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from keras_entropy import _checks, _files
from keras_entropy.stats import Comparison
from keras_entropy.study import Arm, Study, compare
from keras_entropy.study.description import load as read_study
from keras_entropy.study.folder import DESCRIPTION
from keras_entropy.study.records import direction
from keras_entropy.study.single_run import load
from keras_entropy.tuning import ledger, tensorboard_log, trial_run, trial_table
from keras_entropy.tuning.hypermodel import PLACEMENT, REGULARIZER, EntropyHyperModel
from keras_entropy.tuning.progress import SearchProgress
from keras_entropy.tuning.trial_run import NONE
from keras_entropy.tuning.tuner import EntropyTuner

SCHEMA = "keras-entropy/verdict/1"
TERM = "entropy"
_UNSEEN = 1000
"""Seeds of the comparison count from here on."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Verdict:
    """Whether the best setting of a search is better than the model without term, on seeds that the search never saw.

    Attributes:
        sentence: the verdict in words.
        metric: that was searched for.
        lower_is_better: its direction.
        values: the best setting of the search.
        baseline_values: the best one of the model without term.
        score: mean of the best setting over the seeds of the search; chosen as the best of many, it flatters.
        baseline_score: mean of the model without term over the seeds of the search.
        mean: of the best setting over the new seeds; NaN if no run finished.
        baseline_mean: of the model without term over them.
        difference: the two by pairs of seeds: estimate, interval, p, n; None with less than two pairs.
        seeds: of the comparison.
        search_seeds: of the search.
        trials: how many were completed.
        failed_trials: how many were not.
        output: the folder of all files.
    """

    sentence: str
    metric: str
    lower_is_better: bool
    values: dict[str, Any]
    baseline_values: dict[str, Any]
    score: float
    baseline_score: float
    mean: float
    baseline_mean: float
    difference: Comparison | None
    seeds: tuple[int, ...]
    search_seeds: tuple[int, ...]
    trials: int
    failed_trials: int
    output: str

    def __str__(self) -> str:
        """The sentence."""
        return self.sentence


class _Settings:
    """A build function of a study, whose argument is the name of a setting."""

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
    trials: int = 12,
    epochs: int = 10,
    batch_size: int = 32,
    seeds: int | Iterable[int] = 2,
    report_seeds: int | Iterable[int] = 5,
    seed: int = 0,
    epoch: str = "last",
    workers: int = 1,
    callbacks: Sequence[Any] = (),
    output: str | os.PathLike[str] = "runs/search",
    overwrite: bool = False,
    progress: bool = True,
    **oracle_options: Any,
) -> Verdict:
    """Search for the best entropy term, then find out on new seeds whether it is better than none.

    The best setting of the search and the model without term, at its own best hyperparameters, are trained anew on
    `report_seeds` and compared by pairs, with `keras_entropy.study`. Killed at any moment and called again with the
    same arguments, it goes on.

    The folder gets `trials.csv` (a row for each trial, with the metric of each seed), `search.png` (metric against
    factor), `verdict.json`, `search/` (KerasTuner's files and the runs), `comparison/` (the records of the study) and
    `logs/` for TensorBoard, whose HParams page shows the trials.

    Args:
        hypermodel: what is tuned.
        data: (x_train, y_train, x_val, y_val), or a function that returns them.
        objective: a loss without penalty or a metric, by name or as a `keras_tuner.Objective`.
        lower_is_better: its direction; None where its name, or the `Objective`, says it.
        tuner: "random", "grid", "bayesian" or "hyperband".
        trials: how many, at most.
        epochs: of a run; of Hyperband's longest trials.
        batch_size: samples per step.
        seeds: of each trial, a number of them or a list.
        report_seeds: of the comparison, likewise; from 1000 on, where a number is given.
        seed: of the values that are drawn, and the first of the seeds.
        epoch: "last" or "best", whose values are a trial's score.
        workers: processes that search, each with its share of the cores or a GPU of its own.
        callbacks: of Keras, copied for each run of the search and of the comparison.
        output: the folder.
        overwrite: True to delete the search that is in the folder.
        progress: False for no display.
        **oracle_options: further ones of KerasTuner's oracle.

    Returns:
        The verdict.

    Raises:
        TypeError, ValueError: for arguments of another kind, or the folder of another search.
        FileExistsError: for a folder that holds something else.
        RuntimeError: where all trials failed, or one raised.

    Examples:
        >>> import tempfile, keras, numpy as np
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.tuning import EntropyHyperModel, search
        >>> def build():
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(4)])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(32, 4))
        >>> verdict = search(
        ...     EntropyHyperModel(build, DenseEntropy), (x, x, x, x), trials=2, epochs=1, report_seeds=2,
        ...     output=tempfile.mkdtemp() + "/search", progress=False)
        >>> verdict.difference.n
        2
    """
    if isinstance(objective, keras_tuner.Objective):
        lower_is_better = objective.direction == "min" if lower_is_better is None else lower_is_better
        objective = objective.name
    lower = direction(objective, lower_is_better)
    seed = _checks.seed("seed", seed)
    searched = _numbered("seeds", seeds, seed)
    unseen = _numbered("report_seeds", report_seeds, seed + _UNSEEN)
    both = sorted(set(searched) & set(unseen))
    if both:
        raise ValueError(
            f"`seeds` and `report_seeds` should have no seed in common: the setting that won on a seed looks better on "
            f"it than it is. Received in both: {', '.join(map(str, both))}."
        )
    if len(unseen) < 2:
        raise ValueError(_checks.message("report_seeds", "at least two seeds", report_seeds))
    workers = _checks.positive_integer("workers", workers)
    batch_size = _checks.positive_integer("batch_size", batch_size)
    for name, here in (("max_trials", "trials"), ("max_epochs", "epochs")):
        if name in oracle_options:
            raise TypeError(f"`{name}` of KerasTuner is `{here}` here.")
    callbacks = _callbacks(callbacks)
    folder = Path(output)
    _check_folder(folder, unseen, _checks.flag("overwrite", overwrite))
    if isinstance(hypermodel, EntropyHyperModel) and not trial_run.is_plain(hypermodel):
        raise ValueError(
            "`hypermodel` has a `fit` of its own, and the comparison on new seeds trains with Keras's. Search with "
            "EntropyTuner, or change the model's train_step in `build`."
        )
    arguments = {
        "hypermodel": hypermodel,
        "objective": keras_tuner.Objective(objective, "min" if lower else "max"),
        "tuner": tuner,
        "max_trials": _checks.positive_integer("trials", trials),
        "max_epochs": _checks.positive_integer("epochs", epochs),
        "seeds": searched,
        "seed": seed,
        "epoch": epoch,
        "directory": str(folder),
        "project_name": trial_table.PROJECT,
        "log_dir": str(folder / trial_table.LOGS),
        **oracle_options,
    }
    x_train, y_train, x_val, y_val = load(data, seed)
    fit = {
        "x": x_train,
        "y": y_train,
        "validation_data": (x_val, y_val),
        "epochs": epochs,
        "batch_size": batch_size,
        "callbacks": callbacks,
        "verbose": 0,
    }
    if overwrite:
        trial_table.clear(folder)
    found = EntropyTuner(**arguments, overwrite=overwrite)
    with SearchProgress(found, progress) as shown:
        if workers > 1 and not found.complete:
            from keras_entropy.tuning import workers as processes

            processes.run(arguments, fit, workers, shown.update)
            found = EntropyTuner(**arguments)
        else:
            found.trial_ended = shown.update
            found.search(**fit)
    table = trial_table.Trials(found, fit["epochs"])
    table.write_csv(folder / "trials.csv")
    values = table.best.values
    baseline_values = table.baseline_values
    winner = ledger.key_of({NONE: baseline_values, TERM: values})  # more trials may have another one
    tensorboard_log.write_experiment(folder / trial_table.LOGS, [trial.values for trial in table.trials], [objective])
    study = Study(
        _Settings(hypermodel, {NONE: baseline_values, TERM: values}),
        [Arm(NONE, "none", setting=NONE), Arm(TERM, "none", setting=TERM)],
        unseen,
        data=data,
        output=folder / trial_table.COMPARISON / winner,
        epochs=epochs,
        batch_size=batch_size,
        metric=objective,
        lower_is_better=lower,
        callbacks=functools.partial(copy.deepcopy, callbacks) if callbacks else None,
    )
    records = study.run(progress=progress)
    kinds = list(hypermodel.regularizers)
    verdict = _verdict(table, kinds, compare(records, objective, NONE, lower_is_better=lower), unseen, folder)
    _files.write_json(folder / "verdict.json", _files.strict(dataclasses.asdict(verdict) | {"schema": SCHEMA}))
    trial_table.write_figure(table, verdict, folder / "search.png")
    return verdict


def _verdict(
    table: trial_table.Trials, kinds: list[str], comparison: Any, unseen: tuple[int, ...], folder: Path
) -> Verdict:
    rows = {row.arm: row for row in comparison.rows}
    mean, base = (math.nan if rows[arm].mean is None else rows[arm].mean.estimate for arm in (TERM, NONE))
    settings = len({ledger.key_of(trial.values) for trial in table.completed})  # Hyperband goes on with some
    said = " ".join(f"{sentence}." for sentence in comparison.sentences())
    better = "lower" if comparison.lower_is_better else "higher"
    only = {REGULARIZER: kinds[0]} if len(kinds) == 1 else {}
    none = f", at its own best {_in_words(table.baseline_values)}" if table.baseline_values else ""
    return Verdict(
        sentence=f"{comparison.metric} ({better} is better) on seeds that the search has not seen: {said} The best "
        f"of {settings} settings was {_in_words(only | table.best.values)}; on the seeds of the "
        f"search its mean was {table.best.score:.5g}, that of none {table.baseline_score:.5g}{none}.",
        metric=comparison.metric,
        lower_is_better=comparison.lower_is_better,
        values=table.best.values,
        baseline_values=table.baseline_values,
        score=table.best.score,
        baseline_score=table.baseline_score,
        mean=mean,
        baseline_mean=base,
        difference=rows[TERM].against,
        seeds=unseen,
        search_seeds=table.seeds,
        trials=len(table.completed),
        failed_trials=len(table.trials) - len(table.completed),
        output=str(folder),
    )


def _in_words(values: dict[str, Any]) -> str:
    return ", ".join(f"{name.removeprefix('entropy/')} {trial_table.text(value)}" for name, value in values.items())


def _callbacks(given: Any) -> list[Any]:
    callbacks = [None] if isinstance(given, keras.callbacks.Callback) else given
    callbacks = list(callbacks) if isinstance(callbacks, Iterable) else [None]
    if not all(isinstance(callback, keras.callbacks.Callback) for callback in callbacks):
        raise TypeError(_checks.message("callbacks", "a list of keras.callbacks.Callback", given))
    return callbacks


def _check_folder(folder: Path, unseen: tuple[int, ...], overwrite: bool) -> None:
    """Refuse before anything is trained what the study of a comparison would refuse at the end: to lose seeds."""
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Name a folder.")
    foreign = trial_table.foreign(folder)
    if foreign:
        raise FileExistsError(
            f"{folder} holds {', '.join(foreign)}, which no search has written, and a search would write. Name another "
            "folder."
        )
    if overwrite:
        return
    for path in sorted((folder / trial_table.COMPARISON).glob(f"*/{DESCRIPTION}")):
        compared = read_study(path.parent)[0].seeds
        if not set(compared) <= set(unseen):
            raise ValueError(
                f"{folder} holds a comparison on the seeds {', '.join(map(str, compared))}, to which seeds can only be "
                f"added. Received: `report_seeds` {', '.join(map(str, unseen))}. Give at least the former, or name "
                "another folder."
            )


def _numbered(argument: str, seeds: int | Iterable[int], first: int) -> tuple[int, ...]:
    if isinstance(seeds, int) and not isinstance(seeds, bool):
        return tuple(range(first, first + _checks.positive_integer(argument, seeds)))
    found = tuple(_checks.seeds(argument, seeds))
    if not found:
        raise ValueError(_checks.message(argument, "at least one seed", seeds))
    return found
