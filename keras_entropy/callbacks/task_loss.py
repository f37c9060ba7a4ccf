"""The mean of the compiled loss without penalties over the training samples of an epoch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from keras_entropy import _keras

Sums = tuple[float, float]
"""Sum of the losses of samples, and number of samples."""


class TaskLossReader:
    """Reads the metric of the task loss for one callback.

    Keras resets all metrics at the beginning of an epoch and of `evaluate`, and in `train_on_batch`. Between two resets
    the metric has the losses of training or of validation: the optimizer counts steps in training alone.

    Args:
        model: The model.
        metric: Its metric, `_keras.task_loss(model)`.
    """

    def __init__(self, model: Any, metric: _keras.TaskLoss) -> None:
        self.metric = metric
        self._model = model
        self._seen: Sums = (0.0, 0.0)
        metric.readers.add(self)
        self.begin_epoch()

    def begin_epoch(self) -> None:
        """Leave out what the metric has counted so far."""
        self._trained: Sums = (0.0, 0.0)
        self._other: Sums = (0.0, 0.0)
        self._steps, self._moved = self._count_steps(), False
        self.leave_out()

    def leave_out(self) -> None:
        """Leave out what the metric has counted since it was read, such as the losses of an own `evaluate`."""
        self._seen = self._sums() or self._seen

    def before_reset(self) -> None:
        """Count what the metric has; called before it is reset."""
        self._read()
        self._seen = (0.0, 0.0)

    def training_mean(self) -> float:
        """Return the mean over the training samples since `begin_epoch`; NaN if there are none."""
        self._read()
        return _mean(self._trained if self._moved else self._other)

    def current_mean(self) -> float:
        """Return the mean over all samples since the last reset."""
        return _mean(self._sums() or (0.0, 0.0))

    def close(self) -> None:
        """Remove the metric from the model, unless it is read by others."""
        self.metric.readers.discard(self)
        self.metric.in_results = False
        if not self.metric.kept and not self.metric.readers:
            _keras.remove_task_loss(self._model)

    def _read(self) -> None:
        sums, steps = self._sums(), self._count_steps()
        if sums is None:
            return
        new = (sums[0] - self._seen[0], sums[1] - self._seen[1])
        if steps != self._steps:
            self._moved, self._trained = True, (self._trained[0] + new[0], self._trained[1] + new[1])
        else:
            self._other = (self._other[0] + new[0], self._other[1] + new[1])
        self._seen, self._steps = sums, steps

    def _sums(self) -> Sums | None:
        """None on JAX while a step has the variables."""
        total, count = _keras.number_of(self.metric.total), _keras.number_of(self.metric.count)
        return None if total is None or count is None else (total, count)

    def _count_steps(self) -> list[float | None]:
        """Steps of the optimizer and of one in it; none for a model that trains with optimizers of its own."""
        variables = getattr(getattr(self._model, "optimizer", None), "variables", ())
        return [_keras.number_of(variable) for variable in variables if variable.name == "iteration"]


def _mean(sums: Sums) -> float:
    return float(np.float32(sums[0]) / np.float32(sums[1])) if sums[1] else math.nan
