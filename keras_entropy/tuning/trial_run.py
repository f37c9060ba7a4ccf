"""One run of a trial, a setting with a seed: trained from its start, or resumed after its last epoch."""

from __future__ import annotations

import copy
import dataclasses
import inspect
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner import errors

from keras_entropy.callbacks import EntropyLogger
from keras_entropy.runs import machine, memory, shared_models, training
from keras_entropy.runs.interrupt import InterruptWatch
from keras_entropy.runs.pool import unpacked
from keras_entropy.runs.seeds import seeded
from keras_entropy.runs.watch import Watch
from keras_entropy.tuning import _keras_tuner, ledger
from keras_entropy.tuning.hypermodel import OWN, PLACEMENT
from keras_entropy.tuning.ledger import Ledger, Run
from keras_entropy.tuning.search_result import BASELINE
from keras_entropy.tuning.tensorboard_log import HParamsLogger
from keras_entropy.tuning.trial_errors import fatal_errors

WEIGHTS, CHECKPOINT = ".weights.h5", ".npz"
"""Suffixes of the files of a run."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What all runs of a search share. It is sent to the processes that train.

    Attributes:
        hypermodel: `EntropyHyperModel`.
        objective: Objective of the tuner.
        args: Positional arguments of the hypermodel's `fit`.
        fit: Mapping. Keyword arguments of the hypermodel's `fit`.
        runs: `Ledger`. Where checkpoints and weights go.
        log_dir: Path of the event files, or None.
        settings: Mapping. The settings of Keras.
    """

    hypermodel: Any
    objective: Any
    args: tuple[Any, ...]
    fit: Mapping[str, Any]
    runs: Ledger
    log_dir: Path | None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=machine.keras_settings)


@dataclasses.dataclass(frozen=True)
class Task:
    """One run of a search.

    Attributes:
        trial_id: String. The trial that asks for the run.
        space: `keras_tuner.HyperParameters` of the trial.
        values: Hyperparameters by name; for the baseline, without those of the entropy term.
        seed: Integer. Seed of initial weights, data order and dropout.
        epochs: Integer. Number of epochs.
    """

    trial_id: str
    space: Any
    values: Mapping[str, Any]
    seed: int
    epochs: int


def execute(payload: bytes, task: Task) -> Run:
    """Train a run in this process, for a search in another one."""
    with memory.set_aside():
        return train(unpacked(payload), task)


def train(job: Job, task: Task, observers: Iterable[Any] = ()) -> Run:
    """Train a setting to its last epoch, and save its weights beside its record.

    Args:
        job: `Job`.
        task: `Task`.
        observers: Callbacks that only observe.

    Returns:
        The `Run`. A folder that does not exist on this machine gets no files.
    """
    with InterruptWatch(), fatal_errors():
        return _train(job, task, observers)


def _train(job: Job, task: Task, observers: Iterable[Any]) -> Run:
    machine.clear_session(job.settings)
    memory.free()
    hp, hypermodel, values = task.space.copy(), job.hypermodel, task.values
    hp.values = dict(values)
    with seeded(task.seed):
        model = hypermodel.build(hp) if PLACEMENT in values else hypermodel.baseline(hp)
    memory.build_optimizer(model)
    folder = log_folder(task.trial_id, values, task.seed)
    arguments = {**job.fit, "epochs": task.epochs}
    own = _own_callbacks(arguments.pop("callbacks", None) or [], folder)
    watching = list(observers)
    plain, watch, here = is_plain(hypermodel), Watch(), job.runs.folder.parent.is_dir()
    if job.log_dir is not None and here:
        watching.append(HParamsLogger(job.log_dir / folder, {PLACEMENT: BASELINE, **values}, folder.parts[0]))
    known = {parameter.name for parameter in hp.space}
    with shared_models.training(model, own, alone=not plain) as model:
        results = training.fit(
            model,
            arguments,
            task.seed,
            watch,
            callbacks=own,
            observers=watching,
            checkpoint=job.runs.path(values, task.seed, CHECKPOINT) if here else None,
            key=f"{ledger.key_of(values)}/{task.seed}",
            by=lambda model, **named: hypermodel.fit(hp, model, *job.args, **named),
            reorder=plain,
        )
        run = _run(job, task, watch, results, bool(model.stop_training))
        if here:
            job.runs.path(values, task.seed, WEIGHTS).parent.mkdir(parents=True, exist_ok=True)
            model.save_weights(job.runs.path(values, task.seed, WEIGHTS))
    declared = sorted({parameter.name for parameter in hp.space} - known)
    if declared:
        raise errors.FatalValueError(
            f"`fit` should not declare hyperparameters, as they would not be tuned. Received: {', '.join(declared)}. "
            "Declare them in `build`, and read them in `fit` with hp.get."
        )
    return run


def _run(job: Job, task: Task, watch: Watch, results: Any, stopped: bool) -> Run:
    """The record of a training that has ended."""
    plain = is_plain(job.hypermodel)
    history = watch.history
    if not plain and not isinstance(results, keras.callbacks.History):
        returned = _keras_tuner.metrics_of(results, job.objective)
        history = {name: [float(value)] for name, value in returned.items()}
    # A custom `fit` decides its own epochs.
    run = Run(dict(task.values), task.seed, history, ended=stopped or not plain, seconds=watch.seconds)
    if not run.epochs:
        raise errors.FatalRuntimeError("`fit` trained no epoch. Let it train at least one.")
    return run


def delete_checkpoint(runs: Ledger, values: Mapping[str, Any], seed: int) -> None:
    """Delete the checkpoint of a finished run."""
    runs.path(values, seed, CHECKPOINT).unlink(missing_ok=True)


def without_term(values: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a setting without those of the entropy term."""
    return {name: value for name, value in values.items() if not name.startswith(OWN)}


def log_folder(trial_id: str, values: Mapping[str, Any], seed: int) -> Path:
    """Folder of the event files of a run, relative to the folder of all logs."""
    name = f"trial_{trial_id}" if PLACEMENT in values else f"{BASELINE}_{ledger.key_of(values)}"
    return Path(name, f"seed_{seed}")


def is_plain(hypermodel: Any) -> bool:
    """Whether a hypermodel trains with `keras.Model.fit`, not with a custom `fit`."""
    base = hypermodel.base
    return not isinstance(base, keras_tuner.HyperModel) or type(base).fit is keras_tuner.HyperModel.fit


def bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Name the positional arguments of `keras.Model.fit`."""
    names = list(inspect.signature(keras.Model.fit).parameters)[1:]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def check_data(kwargs: Mapping[str, Any], objective: str) -> None:
    """Check that the data can be used by many runs, and that there are validation data if the objective needs them.

    Raises:
        FatalValueError: If not. KerasTuner ends the search.
    """
    if inspect.isgenerator(kwargs.get("x")):
        raise errors.FatalValueError(
            "`x` should not be a generator, which is empty after the first run. Give arrays, a tf.data.Dataset, a "
            "DataLoader or a keras.utils.PyDataset."
        )
    if objective.startswith("val_") and kwargs.get("validation_data") is None and not kwargs.get("validation_split"):
        raise errors.FatalValueError(
            f"The objective {objective!r} needs `validation_data` or `validation_split`. Received: neither."
        )


def _own_callbacks(given: list[Any], folder: Path) -> list[Any]:
    """Copy the user's callbacks for one run, and give those that write event files the folder of the run."""
    try:
        callbacks = copy.deepcopy(given)
    except Exception as error:  # a callback may raise anything
        raise errors.FatalValueError(
            f"`callbacks` should be copyable, as each run gets its own copy. copy.deepcopy raised "
            f"{type(error).__name__}: {error}"
        ) from error
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TensorBoard | EntropyLogger) and callback.log_dir is not None:
            callback.log_dir = str(Path(callback.log_dir) / folder)
    return list(callbacks)
