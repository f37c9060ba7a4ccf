"""One run of a study, from its seed to its record."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import inspect
import math
import time
import traceback
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import keras

from keras_entropy import _backend, _checks
from keras_entropy.callbacks import EntropyLogger
from keras_entropy.runs import machine, memory
from keras_entropy.runs.data_order import EpochOrder
from keras_entropy.runs.identity import array_bytes
from keras_entropy.runs.interrupt import InterruptWatch
from keras_entropy.study import controls
from keras_entropy.study.arms import Arm
from keras_entropy.study.records import Key, RunRecord, key


@dataclasses.dataclass(frozen=True)
class Job:
    """What all runs of a study share. It is sent to the processes that train."""

    build: Callable[..., Any]
    data: Any
    arms: Mapping[str, Arm]
    epochs: int
    batch_size: int
    monitor: str
    monitor_mode: str
    patience: int | None
    min_delta: float
    measure: str | None
    callbacks: Callable[[], list[Any]] | None
    settings: Mapping[str, Any] = dataclasses.field(default_factory=machine.keras_settings)


@dataclasses.dataclass(frozen=True)
class Task:
    """One run of a study: its arm, seed and values."""

    arm: str
    seed: int
    role: Literal["tune", "report"]
    point: Mapping[str, Any]
    tuned: Mapping[str, Any]

    @property
    def key(self) -> Key:
        """The values that identify this run within its study."""
        return key(self.arm, self.seed, self.role, self.point, self.tuned)

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
    """Train once. Any exception goes into the record.

    The seed is set before the model is built, and again before `fit`: so an arm that draws further random numbers
    still has the data order and dropout masks of the other arms.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    found = _trained(job, task)
    memory.free()  # a process trains many models; the compiled steps of this one go with it
    return task.record(
        device=machine.device(),
        wall_seconds=time.perf_counter() - wall,
        cpu_seconds=time.process_time() - cpu,
        **found,
    )


def _trained(job: Job, task: Task) -> dict[str, Any]:
    """The results of a run, without references to the model."""
    watch = Watch(job)
    found: dict[str, Any] = {}
    with caught_warnings() as caught:
        try:
            run = prepare(job, task)
            found["initial_weights"] = fingerprint(run.model)
            _fit(job, task.seed, run, watch)
            found["final_weights"] = fingerprint(run.model)
        except Exception as error:  # a failed run is a result, and the study continues
            watch.status, watch.reason = "failed", describe(error)
            found["traceback"] = traceback.format_exc()
    found |= {"status": watch.status, "reason": watch.reason, "history": watch.history}
    return found | {"stopped_early": watch.stopped_early, "warnings": sorted(set(caught))}


def prepare(job: Job, task: Task) -> Prepared:
    """Build the model of a run, apply the changes of its arm, and load the data."""
    keras.backend.clear_session(free_memory=False)  # layer names are counted from the start
    machine.apply_settings(job.settings)  # clearing the session resets the dtype policy
    keras.utils.set_random_seed(task.seed)
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


def callbacks_of(job: Job, seed: int, watch: Watch) -> list[Any]:
    """The callbacks of a run."""
    own = job.callbacks() if job.callbacks else []
    callbacks = [EpochOrder(seed), EntropyLogger(measure=job.measure), watch, *own]
    if job.patience is not None:
        callbacks.append(
            keras.callbacks.EarlyStopping(
                job.monitor, patience=job.patience, mode=job.monitor_mode, min_delta=job.min_delta
            )
        )
    return callbacks


def _fit(job: Job, seed: int, run: Prepared, watch: Watch) -> None:
    callbacks = callbacks_of(job, seed, watch)
    keras.utils.set_random_seed(seed)
    with InterruptWatch() as interrupts:
        run.model.fit(
            run.x_train,
            run.y_train,
            validation_data=(run.x_val, run.y_val),
            epochs=job.epochs,
            batch_size=job.batch_size,
            callbacks=[*callbacks, interrupts],
            verbose=0,
        )


class Watch(keras.callbacks.Callback):
    """Records the history, also of a run that fails later, and stops a run that diverges.

    Args:
        job: `Job`.

    Attributes:
        history: Dict of names to the logged values by epoch.
        status: String. Status of the run, as in its record.
        reason: String. Why the run diverged.
    """

    def __init__(self, job: Job) -> None:
        super().__init__()
        self._job = job
        self.history: dict[str, list[float]] = {}
        self.status = "finished"
        self.reason = ""

    @property
    def stopped_early(self) -> bool:
        """Whether early stopping ended the run."""
        return self.status == "finished" and len(next(iter(self.history.values()), [])) < self._job.epochs

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Called by Keras."""
        values = {name: float(value) for name, value in (logs or {}).items()}
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        check_monitor(self._job, values)
        reason = divergence(values, epoch)
        if reason and self.model is not None:
            self.status, self.reason = "diverged", reason
            self.model.stop_training = True


def check_monitor(job: Job, values: Mapping[str, float]) -> None:
    """Raise an error if `monitor` is not in the logs: Keras would only warn, and never stop early."""
    if job.patience is not None and job.monitor not in values:
        raise KeyError(f"`monitor`={job.monitor!r} is not among the logs: {', '.join(values)}.")


def divergence(values: Mapping[str, float], epoch: int) -> str:
    """Why a run diverged in an epoch; empty if it did not."""
    bad = [name for name in ("loss", "val_loss") if not math.isfinite(values.get(name, 0.0))]
    return f"{bad[0]} is {values[bad[0]]} in epoch {epoch + 1}" if bad else ""


def load(data: Any, seed: int) -> tuple[Any, Any, Any, Any]:
    """The arrays of a study; a function of data is called, with the seed if it takes one."""
    if callable(data):
        data = data(seed=seed) if "seed" in inspect.signature(data).parameters else data()
    return check_data(data)


def check_data(data: Any) -> tuple[Any, Any, Any, Any]:
    """Return the four arrays of data, or raise an error."""
    if not isinstance(data, Iterable):
        raise TypeError(_checks.message("data", "(x_train, y_train, x_val, y_val) or a function", data))
    arrays = tuple(data)  # of a Dataset these are its arrays
    if len(arrays) != 4:
        raise ValueError(
            f"`data` should be (x_train, y_train, x_val, y_val), or a function that returns them. Received: "
            f"{len(arrays)} values."
        )
    for name, x, y in (("training", *arrays[:2]), ("validation", *arrays[2:])):
        sizes = {len(array) for part in (x, y) for array in keras.tree.flatten(part) if hasattr(array, "shape")}
        if x is None or len(sizes) > 1 or 0 in sizes or (sizes and y is None):  # a PyDataset brings its own targets
            raise ValueError(
                f"`data` should have as many {name} targets as inputs, and at least one. Received: arrays of "
                f"{', '.join(map(str, sorted(sizes))) or 'no'} samples."
            )
    return arrays


def fingerprint(model: Any) -> str:
    """A hash of a model's weights; equal for bit-identical weights in the same order."""
    digest = hashlib.sha256()
    for variable in model.weights:
        digest.update(array_bytes(_backend.to_host(variable)))
    return digest.hexdigest()[:16]


def describe(error: BaseException) -> str:
    """An exception in one line, with the file and line that raised it."""
    text = _checks.printable(" ".join(str(error).split())[:500])
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"
