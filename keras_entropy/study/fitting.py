"""A run whose steps are taken elsewhere: what Keras's `fit` does around them, and the steps as programs, on JAX."""

# ruff: noqa: NPY002 -- Keras shuffles with NumPy's global generator.

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterator
from typing import Any

import jax
import keras
import numpy as np

from keras_entropy import _keras
from keras_entropy.study import machine, single_run
from keras_entropy.study.programs import Program, equal
from keras_entropy.study.records import RunRecord
from keras_entropy.study.single_run import Job, Task

State = tuple[list[Any], ...]
"""Values of a model's trainable, non-trainable and optimizer variables, in this order."""

# What a model must have from Keras: other methods could do what a step does not show.
_METHODS = ("fit", "evaluate", "train_step", "test_step", "compute_metrics")


class NotStepwiseError(ValueError):
    """The steps of a run do not show all that `fit` would do."""


class Fitting:
    """One run: its model and data, its callbacks, its random numbers and its warnings.

    Args:
        job: the study's.
        task: which run.
        known: arrays of another run, which take the place of equal ones of this run, to be held once.

    Attributes:
        task: which run.
        data: the arrays of the "train" and the "test" samples, as Keras feeds them.
        batch_size: samples per step.
        programs: by "train" or "test" and the size of a batch, what a step does: of the values of the variables, the
            optimizer's only in training, those of the metrics, and the arrays of a batch; it returns logs and values.
        form: equal for two runs exactly if their programs are, but for numbers, and the number of their samples is.
        error: why the run cannot go on here, or nothing.

    Raises:
        NotStepwiseError: for a run that `fit` does not train by its steps alone.
    """

    def __init__(self, job: Job, task: Task, known: list[Any]) -> None:
        if job.callbacks is not None:
            raise NotStepwiseError("the study has callbacks of its own")
        self.task = task
        self.batch_size = job.batch_size
        self.error = ""
        self._caught: list[str] = []
        self._random: Any = np.random.get_state()
        self._watch = single_run.Watch(job)
        with self._alone():
            run = single_run.prepare(job, task)
            self._model = run.model
            self._initial_weights = single_run.fingerprint(run.model)
            _check(run.model)
            trees = {"train": _as_fed(run.x_train, run.y_train), "test": _as_fed(run.x_val, run.y_val)}
            self.data = {kind: _leaves(tree, known) for kind, tree in trees.items()}
            keras.utils.set_random_seed(task.seed)
            # As in `fit`, this takes a batch, and so random numbers, where the metrics are still to be built.
            _keras.build_for_fit(run.model, run.x_train, run.y_train, job.batch_size)
            self._orders = _keras.EpochIterator(np.arange(self.rows("train")), batch_size=job.batch_size, shuffle=True)
            self._callbacks = keras.callbacks.CallbackList(
                single_run.callbacks_of(job, task.seed, self._watch), model=run.model
            )
            self._callbacks.on_train_begin()
            run.model.stop_training = False
            self._metrics = list(run.model.get_metrics_result())
            self.programs = self._traced(trees)
        self.form = [self.rows("train"), self.rows("test"), {key: p.form for key, p in self.programs.items()}]

    def rows(self, kind: str) -> int:
        """The number of samples of the training or the test data."""
        return len(self.data[kind][0])

    @property
    def active(self) -> bool:
        """Whether the run goes on."""
        return not (self.error or self._model.stop_training)

    @property
    def state(self) -> State:
        """The values of the variables."""
        return tuple([variable.value for variable in group] for group in self._variables())

    def fresh_metrics(self) -> list[Any]:
        """The values of the metrics' variables before an epoch, on the host."""
        self._model.reset_metrics()
        return [np.array(variable.value) for variable in self._model.metrics_variables]

    def order(self) -> Any:
        """The order of the training samples in the next epoch."""
        with self._alone():
            batches = [keras.tree.flatten(batch) for _, _, batch in self._orders]
        return np.concatenate([rows for [rows] in batches]).astype("int32")

    def end_epoch(self, epoch: int, weights: State, logs: dict[str, Any], val_logs: dict[str, Any]) -> None:
        """Do what `fit` does after an epoch.

        Args:
            epoch: which, counted from 0.
            weights: the values of the trainable and the non-trainable variables.
            logs: of the last training step.
            val_logs: of the last test step.
        """
        try:
            with self._alone():
                self._assign(weights)
                names = self._metrics if set(self._metrics) == logs.keys() else list(logs)
                values: dict[str, Any] = {name: np.asarray(logs[name]) for name in names}
                values |= {f"val_{name}": float(val_logs[name]) for name in sorted(val_logs)}
                self._callbacks.on_epoch_end(epoch, values)
        except Exception as error:  # as of a monitor that is not there; the run is left to `single_run.train`
            self.error = single_run.describe(error)

    def end(self, state: State) -> None:
        """Do what `fit` does after the last epoch."""
        with self._alone():
            self._assign(state)
            self._model.optimizer.finalize_variable_values(self._model.trainable_weights)
            self._callbacks.on_train_end()
            self._final_weights = single_run.fingerprint(self._model)

    def record(self, **changes: Any) -> RunRecord:
        """The record of the run when it has ended."""
        return self.task.record(
            device=machine.device(),
            status=self._watch.status,
            reason=self._watch.reason,
            history=self._watch.history,
            stopped_early=self._watch.stopped_early,
            initial_weights=self._initial_weights,
            final_weights=self._final_weights,
            warnings=sorted(set(self._caught)),
            **changes,
        )

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """With this run's warnings and its state of NumPy's random numbers."""
        outside = np.random.get_state()
        np.random.set_state(self._random)
        try:
            with single_run.caught_warnings() as caught:
                yield
            self._caught += caught
            self._random = np.random.get_state()
        finally:
            np.random.set_state(outside)

    def _variables(self) -> tuple[list[Any], ...]:
        model = self._model
        return model.trainable_variables, model.non_trainable_variables, model.optimizer.variables

    def _assign(self, state: State) -> None:
        for group, values in zip(self._variables(), state, strict=False):  # weights come without the optimizer's
            for variable, value in zip(group, values, strict=True):
                variable.assign(value)

    def _traced(self, trees: dict[str, Any]) -> dict[tuple[str, int], Program]:
        """The training and the test step, for batches of each size that occurs."""
        trainable, other, optimizer = self.state
        metrics = self.fresh_metrics()
        steps: dict[str, tuple[Callable[..., Any], Any]] = {
            "train": (self._model.train_step, (trainable, other, optimizer, metrics)),
            "test": (self._model.test_step, (trainable, other, metrics)),
        }
        found = {}
        for kind, (step, state) in steps.items():
            rows = self.rows(kind)
            for size in {min(self.batch_size, rows - start) for start in range(0, rows, self.batch_size)}:
                found[kind, size] = Program(step, state, jax.tree.map(operator.itemgetter(slice(size)), trees[kind]))
        return found


def _check(model: Any) -> None:
    """Raise for a model that Keras does not train like others."""
    own = [name for name in _METHODS if getattr(type(model), name) is not getattr(keras.Model, name)]
    if own:
        raise NotStepwiseError(f"{type(model).__name__} has {', '.join(own)} of its own")
    if model.run_eagerly or not model.jit_compile:
        raise NotStepwiseError("the model has run_eagerly=True or jit_compile=False")
    if keras.distribution.distribution() is not None:
        raise NotStepwiseError("Keras distributes the model over devices")
    if keras.config.max_epochs() or keras.config.max_steps_per_epoch():
        raise NotStepwiseError("Keras is set to limit the epochs or the steps of all training")


def _as_fed(x: Any, y: Any) -> Any:
    """Inputs and targets, whole, in the types in which Keras feeds them."""
    found = _keras.arrays_as_fed(x, y)
    if found is not None and all(isinstance(array, np.ndarray) for array in jax.tree.leaves(found)):
        return found
    raise NotStepwiseError(f"the data are not arrays, but {type(x).__name__} and {type(y).__name__}")


def _leaves(tree: Any, known: list[Any]) -> list[Any]:
    """The arrays of a tree, with an equal one among `known` in the place of each that has one."""
    return [next((one for one in known if equal(one, array)), array) for array in jax.tree.leaves(tree)]
