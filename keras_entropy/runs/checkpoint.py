"""Checkpoints of a training run: a resumed run ends bit-identical to an uninterrupted one."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks, _files
from keras_entropy.callbacks import EntropyLogger, FactorSchedule
from keras_entropy.runs import memory

SCHEMA = "keras-entropy/checkpoint/1"
_STATELESS = (EntropyLogger, FactorSchedule, keras.callbacks.LearningRateScheduler, keras.callbacks.TerminateOnNaN)


class Checkpoint(keras.callbacks.Callback):
    """Record the history, and write a checkpoint after each epoch. Must be the last callback.

    A checkpoint contains the variables of the model and of its optimizer, with the states of random generators, and the
    attributes of the user's callbacks, such as the patience counter of EarlyStopping. If a callback has an attribute
    other than numbers, arrays and text, no checkpoint is written, and an interrupted run restarts.

    Args:
        path: Path of the checkpoint; None writes none.
        callbacks: List of the user's callbacks.
        history: Values of earlier epochs by metric.
        seconds: Float. Wall time of earlier epochs.
    """

    def __init__(
        self, path: Path | None, callbacks: Iterable[Any], history: dict[str, list[float]], seconds: float
    ) -> None:
        super().__init__()
        self._callbacks = [callback for callback in callbacks if not isinstance(callback, _STATELESS)]
        kept = all(_state(callback) is not None for callback in self._callbacks)
        self._path = path if kept else None
        self.history = {name: list(values) for name, values in history.items()}
        self._before, self._start = seconds, time.monotonic()
        self._restored: dict[str, Any] | None = None

    @property
    def seconds(self) -> float:
        """Wall time of the run, with its earlier parts."""
        return self._before + time.monotonic() - self._start

    def restore(self, found: dict[str, Any]) -> None:
        """Resume from what `read` returned, when `fit` begins."""
        self._restored = found

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Restore variables and callbacks, after the callbacks have reset themselves."""
        if self._restored is None:
            return
        assert self.model is not None
        for variable, value in zip(_variables(self.model), self._restored["variables"], strict=True):
            variable.assign(value)
        for callback, state in zip(self._callbacks, self._restored["callbacks"], strict=True):
            vars(callback).update(state)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Record the metrics and write the checkpoint."""
        for name, value in (logs or {}).items():
            self.history.setdefault(name, []).append(float(value))
        if self._path is None or self.model.stop_training:
            return
        arrays: list[Any] = [_backend.to_host(variable) for variable in _variables(self.model)]
        count = len(arrays)
        states = [_encoded(_state(callback), arrays) for callback in self._callbacks]
        text = json.dumps(
            {
                "schema": SCHEMA,
                "epochs": epoch + 1,
                "history": self.history,
                "seconds": self.seconds,
                "variables": count,
                "callbacks": states,
            }
        )
        with _files.replacing(self._path) as temporary:
            np.savez(temporary, *arrays, text=np.array(text))


def read(path: Path, model: Any, callbacks: Iterable[Any]) -> dict[str, Any] | None:
    """Read a checkpoint.

    Args:
        path: Path of the checkpoint.
        model: Compiled model of the run.
        callbacks: List of the user's callbacks.

    Returns:
        The checkpoint; None if there is none, or, with a warning, if it is corrupted or from another model.
    """
    if not path.exists():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            found: dict[str, Any] = json.loads(str(file["text"]))
            arrays = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
        shapes = [tuple(variable.shape) for variable in _variables(model)]
        found["variables"] = arrays[: found["variables"]]
        found["callbacks"] = [_decoded(state, arrays) for state in found["callbacks"]]
        kept = [callback for callback in callbacks if not isinstance(callback, _STATELESS)]
        fits = [array.shape for array in found["variables"]] == shapes and len(kept) == len(found["callbacks"])
        if found["schema"] != SCHEMA or not fits:
            raise ValueError("it is from another model or other callbacks")
        found["history"] = {name: [float(v) for v in values] for name, values in found["history"].items()}
    except Exception as error:  # np.load and zipfile raise many kinds of errors for a corrupted file
        warnings.warn(
            f"Cannot resume from {path}: {error}. Restarting this run.",
            _checks.EntropyWarning,
            stacklevel=2,
        )
        return None
    return found


def _variables(model: Any) -> list[Any]:
    """All variables that training changes, in the same order for equal models."""
    memory.build_optimizer(model)
    _ = model.losses  # the first access creates the step counters of regularizers
    return [*model.variables, *model.optimizer.variables]


def _state(callback: Any) -> dict[str, Any] | None:
    """The attributes of a callback that `fit` may change; None if some are not plain data."""
    found = {}
    for name, value in vars(callback).items():
        if name in ("_model", "params") or callable(value):
            continue
        if not _is_plain(value):
            return None
        found[name] = value
    return found


def _is_plain(value: Any) -> bool:
    if value is None or isinstance(value, bool | int | float | str | np.ndarray | np.generic):
        return True
    if isinstance(value, dict):
        return all(isinstance(name, str) and _is_plain(item) for name, item in value.items())
    return isinstance(value, list | tuple) and all(map(_is_plain, value))


def _encoded(value: Any, arrays: list[Any]) -> Any:
    """Encode a value as JSON; append its arrays to a list."""
    if isinstance(value, np.ndarray | np.generic):
        arrays.append(np.asarray(value))
        return {"__array__": len(arrays) - 1}
    if isinstance(value, dict):
        return {name: _encoded(item, arrays) for name, item in value.items()}
    if isinstance(value, tuple):
        return {"__tuple__": [_encoded(item, arrays) for item in value]}
    return [_encoded(item, arrays) for item in value] if isinstance(value, list) else value


def _decoded(value: Any, arrays: list[Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"__array__"}:
            array = arrays[value["__array__"]]
            return array if array.ndim else array[()]
        if value.keys() == {"__tuple__"}:
            return tuple(_decoded(item, arrays) for item in value["__tuple__"])
        return {name: _decoded(item, arrays) for name, item in value.items()}
    return [_decoded(item, arrays) for item in value] if isinstance(value, list) else value
