"""One run of a trial, a setting with a seed: trained from its start, or resumed after its last epoch."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import math
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner
from keras_tuner import errors

from keras_entropy import _checks, _files
from keras_entropy.callbacks import EntropyLogger
from keras_entropy.runs import machine, memory, shared_models, training
from keras_entropy.runs.identity import digest
from keras_entropy.runs.interrupt import InterruptWatch
from keras_entropy.runs.pool import unpacked
from keras_entropy.runs.records import RUNS, RunRecord
from keras_entropy.runs.seeds import seeded
from keras_entropy.runs.watch import Watch
from keras_entropy.tuning import _keras_tuner, hyperparameters
from keras_entropy.tuning.oracles import STATE
from keras_entropy.tuning.project_folder import CHECKPOINTS, WEIGHTS
from keras_entropy.tuning.tensorboard_log import ARM, HParamsLogger
from keras_entropy.tuning.trial_errors import fatal_errors

_MOST_BYTES, _HEAD_BYTES = 8, 8192
"""Bytes in a file of weights of each number, at most, and of the names of each variable."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What all runs of a search share. It is sent to the processes that train.

    Attributes:
        hypermodel: `EntropyHyperModel`.
        objective: Objective of the tuner.
        args: Positional arguments of the hypermodel's `fit`.
        fit: Mapping. Keyword arguments of the hypermodel's `fit`.
        arm: String. Name of what is searched, such as `"entropy"` or `"baseline"`.
        identity: String. Hash of the model, the data and all options of the search.
        folder: Path of the folder of the search, for checkpoints and weights.
        log_dir: Path of the event files, or None.
        settings: Mapping. The settings of Keras.
    """

    hypermodel: Any
    objective: Any
    args: tuple[Any, ...]
    fit: Mapping[str, Any]
    arm: str
    identity: str
    folder: Path
    log_dir: Path | None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=machine.keras_settings)

    def key(self, values: Mapping[str, Any], seed: int) -> str:
        """The key of a run: a hash of all that its results depend on."""
        return digest([self.identity, hyperparameters.own(values), seed])

    def checkpoint(self, key: str) -> Path:
        """Path of the checkpoint of a run that has not ended."""
        return self.folder / CHECKPOINTS / f"{key}.npz"

    def weights(self, key: str) -> Path:
        """Path of the trained weights of a run."""
        return self.folder / WEIGHTS / f"{key}.weights.h5"

    def load_weights(self, model: Any, run: RunRecord) -> None:
        """Load the trained weights of a run, with the state of its optimizer, into a model.

        Args:
            model: Built Keras model with the layers and the optimizer of the run.
            run: `RunRecord`.

        Raises:
            FileNotFoundError: If the run was trained on a machine without access to the folder.
            ValueError: If the file is damaged, or is not the one that the run has written.
        """
        path = self.weights(run.key)
        remedy = f"Delete the line of this run in {RUNS} and {STATE} beside it, and search again."
        if not run.final_weights:
            raise FileNotFoundError(
                f"There are no weights {_checks.printable(path)}: the run was trained on a machine without access to "
                "the folder."
            )
        if _files.digest(path) != run.final_weights:
            raise ValueError(
                f"{_checks.printable(path)} does not hold the weights of its run: it is damaged, was replaced, or is "
                "missing. Restore it "
                f"from a copy. To train the run again: {remedy}"
            )
        model.load_weights(path)

    def record(self, task: Task, **found: Any) -> RunRecord:
        """The record of a run."""
        return RunRecord(
            arm=self.arm,
            seed=task.seed,
            role="tune",
            tuned=task.values,
            versions=machine.versions(),
            key=self.key(task.values, task.seed),
            **found,
        )


@dataclasses.dataclass(frozen=True)
class Task:
    """One run of a search.

    Attributes:
        trial_id: String. The trial that asks for the run.
        space: `keras_tuner.HyperParameters` of the trial.
        values: Hyperparameters by name.
        seed: Integer. Seed of initial weights, data order and dropout.
        epochs: Integer. Number of epochs.
    """

    trial_id: str
    space: Any
    values: Mapping[str, Any]
    seed: int
    epochs: int


def execute(payload: bytes, task: Task) -> RunRecord:
    """Train a run in this process, for a search in another one."""
    with memory.set_aside():
        return train(unpacked(payload), task)


def train(job: Job, task: Task, observers: Iterable[Any] = ()) -> RunRecord:
    """Train a setting to its last epoch, and save its weights beside its record.

    Args:
        job: `Job`.
        task: `Task`.
        observers: Callbacks that only observe.

    Returns:
        The `RunRecord`. A folder that does not exist on this machine gets no files.
    """
    cpu = time.process_time()
    with InterruptWatch(), fatal_errors():
        found = _trained(job, task, observers)
    return job.record(task, device=machine.device(), cpu_seconds=time.process_time() - cpu, **found)


def _trained(job: Job, task: Task, observers: Iterable[Any]) -> dict[str, Any]:
    """The results of a run."""
    machine.clear_session(job.settings)
    memory.free()
    hp, hypermodel, values = task.space.copy(), job.hypermodel, task.values
    hp.values = dict(values)
    with seeded(task.seed):
        model = hypermodel.build(hp)
    memory.build_optimizer(model)
    folder = Path(f"trial_{task.trial_id}", f"seed_{task.seed}")
    arguments = {**job.fit, "epochs": task.epochs}
    own = _own_callbacks(arguments.pop("callbacks", None) or [], folder)
    watching = list(observers)
    plain, watch, here, key = is_plain(hypermodel), Watch(), job.folder.is_dir(), job.key(values, task.seed)
    if job.log_dir is not None and here:
        watching.append(HParamsLogger(job.log_dir / folder, {ARM: job.arm, **values}, f"{job.arm} {folder.parts[0]}"))
    known = {parameter.name for parameter in hp.space}
    with shared_models.training(model, own, alone=not plain) as model:
        results = training.fit(
            model,
            arguments,
            task.seed,
            watch,
            callbacks=own,
            observers=watching,
            checkpoint=job.checkpoint(key) if here else None,
            key=key,
            by=lambda model, **named: hypermodel.fit(hp, model, *job.args, **named),
            reorder=plain,
        )
        found = _results(job, watch, results, bool(model.stop_training))
        if here:
            variables = [*model.variables, *model.optimizer.variables]
            size = sum(math.prod(v.shape) * _MOST_BYTES + _HEAD_BYTES for v in variables)
            with _files.replacing(job.weights(key)) as temporary:
                _files.reserve(temporary, size)
                model.save_weights(temporary)
            found["final_weights"] = _files.digest(job.weights(key))
    declared = sorted({parameter.name for parameter in hp.space} - known)
    if declared:
        raise errors.FatalValueError(
            f"`fit` should not declare hyperparameters, as they would not be tuned. Received: {', '.join(declared)}. "
            "Declare them in `build`, and read them in `fit` with hp.get."
        )
    return found


def _results(job: Job, watch: Watch, results: Any, stopped: bool) -> dict[str, Any]:
    """The results of a training that has ended."""
    plain = is_plain(job.hypermodel)
    history = watch.history
    if not plain and not isinstance(results, keras.callbacks.History):
        history = _returned(results, job.objective)
    if not any(history.values()):
        raise errors.FatalRuntimeError("`fit` trained no epoch. Let it train at least one.")
    return {
        "status": "diverged" if watch.reason else "finished",
        "reason": watch.reason,
        "history": history,
        "stopped_early": stopped or not plain,  # a custom `fit` decides its own epochs
        "wall_seconds": watch.seconds,
    }


def _returned(results: Any, objective: Any) -> dict[str, list[float]]:
    """The metrics that a custom `fit` has returned, in place of a history.

    Raises:
        FatalValueError: For anything else than KerasTuner documents.
    """
    try:
        _keras_tuner.check_results(results, objective)
        found = {n: [float(value)] for n, value in _keras_tuner.metrics_of(results, objective).items()}
        objective.get_value({name: value for name, (value,) in found.items()})
    except (errors.FatalError, TypeError, ValueError, KeyError) as error:
        expected = f"a dict of metrics to numbers that contains {objective.name!r}, or a list of these"
        raise errors.FatalValueError(
            f"`fit` of the hypermodel should return the History of `model.fit`, a number, {expected}. Received: "
            f"{results!r} (of type {type(results).__name__})."
        ) from error
    return found


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
            callback.log_dir = os.path.join(callback.log_dir, folder)  # Keras's callback writes to a URL too
    return list(callbacks)
