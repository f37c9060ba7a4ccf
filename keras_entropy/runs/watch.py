"""What happens in a run: its history, and whether it diverges."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy.callbacks.monitors import PENALISED


class Watch(keras.callbacks.Callback):
    """Record the history of a run, also of one that fails later, and stop a run that diverges.

    Attributes:
        history: Dict of names to lists with one value per epoch, of earlier parts of the run too.
        reason: String. Why the run diverged; empty if it did not.
    """

    def __init__(self) -> None:
        super().__init__()
        self.history: dict[str, list[float]] = {}
        self.reason = ""
        self._earlier, self._start = 0.0, time.monotonic()

    @property
    def seconds(self) -> float:
        """Float. Wall time of the run, with its earlier parts."""
        return self._earlier + time.monotonic() - self._start

    @property
    def epochs(self) -> int:
        """Integer. Number of finished epochs."""
        return max((len(values) for values in self.history.values()), default=0)

    def resume(self, history: Mapping[str, list[float]], seconds: float) -> None:
        """Begin with what an earlier part of the run has recorded."""
        self.history = {name: list(values) for name, values in history.items()}
        self._earlier, self._start = seconds, time.monotonic()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the values of an epoch; metrics of several values, such as Keras's `F1Score()`, are left out."""
        values = {name: float(value) for name, value in (logs or {}).items() if np.ndim(value) == 0}
        for name, value in values.items():
            self.history.setdefault(name, []).append(value)
        bad = [name for name in PENALISED if not math.isfinite(values.get(name, 0.0))]
        if bad and self.model is not None:
            self.reason = f"{bad[0]} is {values[bad[0]]} in epoch {epoch + 1}"
            self.model.stop_training = True
