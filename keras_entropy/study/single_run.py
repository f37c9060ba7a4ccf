"""One run of a study, from its seed to its record."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import keras

from keras_entropy import _backend, _files
from keras_entropy.callbacks import EntropyLogger
from keras_entropy.runs import machine, memory, shared_models, training
from keras_entropy.runs.execution import described
from keras_entropy.runs.identity import array_bytes, digest
from keras_entropy.runs.pool import JobError
from keras_entropy.runs.records import RunRecord, Slot, slot
from keras_entropy.runs.seeds import seeded
from keras_entropy.runs.watch import Watch
from keras_entropy.study import controls
from keras_entropy.study.arms import Arm
from keras_entropy.study.run_data import load


class NotLoggedError(JobError):
    """No run can be used, because the first one does not log the metric of the study or what stops it early."""


@dataclasses.dataclass(frozen=True)
class Job:
    """What all runs of a study share. It is sent to the processes that train."""

    build: Callable[..., Any]
    data: Any
    arms: Mapping[str, Arm]
    epochs: int
    batch_size: int
    metric: str
    monitor: str
    monitor_mode: str
    patience: int | None
    min_delta: float
    measure: str
    callbacks: Callable[[], list[Any]] | None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=machine.keras_settings)
    identity: str = ""
    """Hash of all of the above but `arms` and `metric`: equal for equal jobs, in any process."""
    checkpoints: Path | None = None
    """Folder of the checkpoints of runs that have not ended; None for no checkpoints."""

    def key(self, run: Task | RunRecord) -> str:
        """The key of a run: a hash of all that its results depend on."""
        own = [self.identity, self.arms[run.arm].describe(), run.seed, {**run.point, **run.tuned}]
        return digest(own)

    def checkpoint(self, run: Task | RunRecord) -> Path | None:
        """Path of the checkpoint of a run; None where the folder does not exist, as on another machine."""
        if self.checkpoints is None or not self.checkpoints.is_dir():
            return None
        return self.checkpoints / f"{self.key(run)}.npz"


@dataclasses.dataclass(frozen=True)
class Task:
    """One run of a study: its arm, seed and values."""

    arm: str
    seed: int
    role: Literal["tune", "report"]
    point: Mapping[str, Any]
    tuned: Mapping[str, Any]

    @property
    def slot(self) -> Slot:
        """What this run is for within its study."""
        return slot(self.arm, self.seed, self.role, self.point, self.tuned)

    @property
    def values(self) -> dict[str, Any]:
        """The values on all axes."""
        return {**self.point, **self.tuned}

    def record(self, **changes: Any) -> RunRecord:
        """The record of this run."""
        return RunRecord(
            arm=self.arm,
            seed=self.seed,
            role=self.role,
            point=self.point,
            tuned=self.tuned,
            versions=machine.versions(),
            **changes,
        )


@dataclasses.dataclass
class Prepared:
    """A model and its data, ready for `fit`."""

    model: Any
    x_train: Any
    y_train: Any
    x_val: Any
    y_val: Any


def train(job: Job, task: Task) -> RunRecord:
    """Train once. An exception goes into the record, unless the machine or the study is the cause, and not the run.

    The seed is set before the model is built, and again before `fit`: so an arm that draws further random numbers
    still has the data order and dropout masks of the other arms.
    """
    cpu = time.process_time()
    found = _trained(job, task)
    memory.free()  # a process trains many models
    return task.record(device=machine.device(), cpu_seconds=time.process_time() - cpu, **found)


def _trained(job: Job, task: Task) -> dict[str, Any]:
    """The results of a run, without references to the model."""
    watch = StudyWatch(job)
    found: dict[str, Any] = {"status": "finished"}
    with caught_warnings() as caught:
        try:
            run = prepare(job, task)
            found["initial_weights"] = fingerprint(run.model)
            found["final_weights"] = _fit(job, task, run, watch)
            if watch.reason:
                found |= {"status": "diverged", "reason": watch.reason}
            else:
                watch.check("metric", job.metric)  # now, because a callback may log it in the last epoch only
        except (_files.WriteError, NotLoggedError):
            raise
        except Exception as error:  # a failed run is a result, and the study continues
            found |= {"status": "failed", "reason": described(error), "traceback": traceback.format_exc()}
    found["stopped_early"] = found["status"] == "finished" and watch.epochs < job.epochs
    return found | {"history": watch.history, "wall_seconds": watch.seconds, "warnings": sorted(set(caught))}


def prepare(job: Job, task: Task) -> Prepared:
    """Build the model of a run, apply the changes of its arm, and load the data."""
    machine.clear_session(job.settings)
    with seeded(task.seed):
        arm = job.arms[task.arm]
        model = arm.build(job.build, task.values)
        x_train, y_train, x_val, y_val = load(job.data, task.seed)
        model = arm.change(model, task.values, task.seed)
    memory.build_optimizer(model)
    change = controls.transform(arm.inputs, x_train)
    return Prepared(model, change(x_train), y_train, change(x_val), y_val)


@contextlib.contextmanager
def caught_warnings() -> Iterator[list[str]]:
    """Collect the warnings of a run as texts; the list is complete when the block ends."""
    texts: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        warnings.simplefilter("ignore", DeprecationWarning)  # as Python does outside the main program
        yield texts
    texts += [f"{warning.category.__name__}: {warning.message}" for warning in caught]


def _callbacks(job: Job) -> list[Any]:
    """The callbacks of a run."""
    callbacks = [EntropyLogger(measure=job.measure), *(job.callbacks() if job.callbacks else [])]
    if job.patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                job.monitor, patience=job.patience, mode=job.monitor_mode, min_delta=job.min_delta
            )
        )
    return callbacks


def _fit(job: Job, task: Task, run: Prepared, watch: Watch) -> str:
    """Train; return the fingerprint of the final weights."""
    callbacks = _callbacks(job)
    arguments = {
        "x": run.x_train,
        "y": run.y_train,
        "validation_data": (run.x_val, run.y_val),
        "epochs": job.epochs,
        "batch_size": job.batch_size,
    }
    path = job.checkpoint(task)
    with shared_models.training(run.model, callbacks) as model:
        training.fit(model, arguments, task.seed, watch, callbacks=callbacks, checkpoint=path, key=job.key(task))
        return fingerprint(model)


class StudyWatch(Watch):
    """Records the history of a run of a study, and checks that it has what early stopping monitors.

    Args:
        job: `Job`.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the values of an epoch. Keras would only warn of a monitor that is not there, and never stop early."""
        super().on_epoch_end(epoch, logs)
        if self._job.patience is not None:
            self.check("monitor", self._job.monitor)

    def check(self, argument: str, name: str) -> None:
        """Check that an argument of the study is the name of a value that the run has logged.

        Raises:
            NotLoggedError: If it is not.
        """
        if name not in self.history:
            raise NotLoggedError(
                f"`{argument}` should be one of the logged values: {', '.join(self.history)}. Received: {name!r}. "
                "Compile the model with it, or choose another."
            )


def fingerprint(model: Any) -> str:
    """A hash of a model's weights; equal for bit-identical weights in the same order."""
    found = hashlib.sha256()
    for variable in model.weights:
        found.update(array_bytes(_backend.to_host(variable)))
    return found.hexdigest()[:16]
