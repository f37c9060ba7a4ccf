"""Several runs of one arm with one compiled program, on JAX.

Every run is built and traced by itself. Runs whose steps are the same program with different numbers in it, such as
factors, train with that one program, which takes the numbers as arguments. An accelerator takes a step of all of them
at once; a processor, where that is slower, goes through the runs one by one. All other runs are trained alone.
"""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from keras_entropy.runs import memory
from keras_entropy.study import single_run
from keras_entropy.study.fitting import Fitting, NotStepwiseError, State
from keras_entropy.study.programs import Common
from keras_entropy.study.records import Key, RunRecord
from keras_entropy.study.single_run import Job, Task


def grouped(tasks: Sequence[Task], size: int) -> list[list[Task]]:
    """Batches of tasks that may have one program: of an arm and of equal values, but for factors and other fractions.

    Args:
        tasks: in any order; that of the batches follows it.
        size: of the largest batch; the batches of a group are of about equal size.
    """
    places = {task.key: place for place, task in enumerate(tasks)}
    groups: dict[str, list[Task]] = {}
    for task in tasks:
        alike = {n: "number" if n == "factor" or isinstance(v, float) else v for n, v in task.values.items()}
        groups.setdefault(json.dumps([task.arm, task.role, alike], sort_keys=True), []).append(task)
    batches = []
    for group in groups.values():
        count = -(-len(group) // size)
        batches += [group[len(group) * i // count : len(group) * (i + 1) // count] for i in range(count)]
    return sorted(batches, key=lambda batch: places[batch[0].key])


def train_together(job: Job, batch: Sequence[Task]) -> list[RunRecord]:
    """Train the runs of a batch, with one program where they have one.

    A run for which that cannot be done is trained alone, and the warnings in its record say why.
    """
    ended, reasons = _together(job, batch)
    memory.free()
    for task in batch:
        if task.key in reasons:
            record = single_run.train(job, task)
            warning = f"EntropyWarning: trained alone, not with other runs: {reasons[task.key]}"
            ended[task.key] = dataclasses.replace(record, warnings=[*record.warnings, warning])
    return [ended[task.key] for task in batch]


def _together(job: Job, batch: Sequence[Task]) -> tuple[dict[Key, RunRecord], dict[Key, str]]:
    """The records of the runs that could be trained together, and why the others could not.

    Whatever fails here is a reason only: trained alone, a run that is at fault fails again, into its record.
    """
    wall, cpu = time.perf_counter(), time.process_time()
    reasons: dict[Key, str] = {}
    parts: list[list[Fitting]] = []
    known: list[Any] = []
    for task in batch:
        try:
            run = Fitting(job, task, known)
            part = next((part for part in parts if part[0].form == run.form), None)
        except Exception as error:
            reasons[task.key] = _reason(error)
            continue
        known = known or [array for arrays in run.data.values() for array in arrays]
        parts.append([run]) if part is None else part.append(run)
    ended: list[tuple[Fitting, int]] = []
    for part in parts:
        if len(part) == 1:
            reasons[part[0].task.key] = "no other run of its batch has the same steps"
            continue
        try:
            _train(part, job.epochs)
        except Exception as error:
            reasons |= {run.task.key: _reason(error) for run in part}
            continue
        reasons |= {run.task.key: run.error for run in part if run.error}
        ended += [(run, len(part)) for run in part if not run.error]
    share = max(len(ended), 1)
    wall, cpu = (time.perf_counter() - wall) / share, (time.process_time() - cpu) / share
    return {run.task.key: run.record(wall_seconds=wall, cpu_seconds=cpu, replicas=n) for run, n in ended}, reasons


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, NotStepwiseError) else single_run.describe(error)


def _at_once() -> bool:
    """Whether a step of all runs at once is faster than one after the other."""
    return bool(jax.default_backend() != "cpu")


def _train(runs: Sequence[Fitting], epochs: int) -> None:
    """Train runs of one form to their ends."""
    common = {key: Common([run.programs[key] for run in runs]) for key in runs[0].programs}
    numbers = [{key: steps.numbers[i] for key, steps in common.items()} for i in range(len(runs))]
    placed: dict[int, Any] = {}

    def place(array: Any) -> Any:
        """An array on the device, where each is held once."""
        if id(array) not in placed:
            placed[id(array)] = jax.device_put(array)
        return placed[id(array)]

    if not _at_once():
        compiled = {key: _compiled(steps) for key, steps in common.items()}
        for run, own in zip(runs, numbers, strict=True):
            data = {kind: [place(array) for array in arrays] for kind, arrays in run.data.items()}
            _Lane([run], compiled, own, data).train(epochs)
        return
    axes, data = {}, {}
    for kind in runs[0].data:
        columns = list(zip(*(run.data[kind] for run in runs), strict=True))
        axes[kind] = [None if all(array is column[0] for array in column) else 0 for column in columns]
        shared = zip(columns, axes[kind], strict=True)
        data[kind] = [place(column[0]) if axis is None else jax.device_put(np.stack(column)) for column, axis in shared]
    compiled = {
        (kind, size): _compiled(steps, (0, 0, axes[kind], 0 if kind == "train" else None))
        for (kind, size), steps in common.items()
    }
    _Lane(runs, compiled, _stacked(numbers), data).train(epochs)


def _compiled(steps: Common, axes: tuple[Any, ...] | None = None) -> Callable[..., Any]:
    """A step on the rows of data that it is given, of one run or of several, whose values lie along `axes`."""

    def step(state: Any, numbers: list[Any], data: list[Any], rows: Any) -> Any:
        batch = [jax.numpy.take(array, rows, axis=0, mode="clip") for array in data]
        return steps(numbers, jax.tree.leaves((state, batch)))

    compiled: Callable[..., Any] = jax.jit(step if axes is None else jax.vmap(step, in_axes=axes), donate_argnums=0)
    return compiled


class _Lane:
    """Runs that take each step at the same time; or a single one.

    Args:
        runs: of one form.
        steps: by "train" or "test" and the size of the batch.
        numbers: of each step, for all runs.
        data: on the device, for all runs.
    """

    def __init__(self, runs: Sequence[Fitting], steps: dict[Any, Any], numbers: dict[Any, Any], data: Any) -> None:
        self._runs = runs
        self._steps = steps
        self._numbers = numbers
        self._data = data
        self._size = runs[0].batch_size
        self._validated = np.arange(runs[0].rows("test"), dtype="int32")
        self._state: State = _stacked([run.state for run in runs])
        self._metrics = _stacked([run.fresh_metrics() for run in runs])

    def train(self, epochs: int) -> None:
        """Train until all runs have stopped. What has stopped is trained on, where that costs nothing, and not read."""
        going = list(range(len(self._runs)))
        for epoch in range(epochs):
            found = self._epoch()
            found = found if len(self._runs) == 1 else jax.tree.map(np.array, found)  # copies: the state is donated
            for i in going:
                self._runs[i].end_epoch(epoch, *self._own(found, i))
            ended = [i for i in going if epoch + 1 == epochs or not self._runs[i].active]
            for i in ended:
                if not self._runs[i].error:
                    self._runs[i].end(self._own(self._state, i))
            going = [i for i in going if i not in ended]
            if not going:
                return

    def _epoch(self) -> tuple[State, Any, Any]:
        """Train and validate; return the weights and the logs of both."""
        *values, metrics = *self._state, self._metrics
        orders = _stacked([run.order() for run in self._runs])
        logs, (trainable, other, optimizer, _) = self._pass("train", (*values, metrics), orders)
        val_logs, (trainable, other, _) = self._pass("test", (trainable, other, metrics), self._validated)
        self._state = trainable, other, optimizer
        return (trainable, other), logs, val_logs

    def _pass(self, kind: str, state: Any, rows: Any) -> Any:
        logs = None
        for start in range(0, rows.shape[-1], self._size):
            batch = rows[..., start : start + self._size]
            key = kind, batch.shape[-1]
            logs, state = self._steps[key](state, self._numbers[key], self._data[kind], batch)
        return logs, state

    def _own(self, values: Any, i: int) -> Any:
        """The part of one run."""
        return values if len(self._runs) == 1 else jax.tree.map(lambda value: value[i], values)


def _stacked(trees: Sequence[Any]) -> Any:
    """Arrays stacked along a new first axis; of a single tree its own."""
    return trees[0] if len(trees) == 1 else jax.tree.map(lambda *values: np.stack(values), *trees)
