"""The whole state of a training run between two epochs, so that it can go on to the same end."""

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
from keras_entropy.study.single_run import build_optimizer

SCHEMA = "keras-entropy/snapshot/1"
_STATELESS = (EntropyLogger, FactorSchedule, keras.callbacks.LearningRateScheduler, keras.callbacks.TerminateOnNaN)


class Snapshot(keras.callbacks.Callback):
    """Keeps the history, and after each epoch writes all that the run needs to go on; it stands last in the list.

    That are the variables of the model and of its optimizer, the states of random generators among them, and the
    counters of the user's callbacks, such as the patience of EarlyStopping. Where a callback holds something else than
    numbers, arrays and text, nothing is written, and an interrupted run starts anew.

    Args:
        path: of the snapshot; None for none.
        callbacks: of the user.
        history: of the epochs before, by name.
        seconds: that they took.
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
        """Of the run, its earlier parts with it."""
        return self._before + time.monotonic() - self._start

    def restore(self, found: dict[str, Any]) -> None:
        """Go on from what `read` has found, when `fit` begins."""
        self._restored = found

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """After the other callbacks have set themselves back."""
        if self._restored is None:
            return
        assert self.model is not None
        for variable, value in zip(_variables(self.model), self._restored["variables"], strict=True):
            variable.assign(value)
        for callback, state in zip(self._callbacks, self._restored["callbacks"], strict=True):
            vars(callback).update(state)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write."""
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
    """What a snapshot holds, if it fits the model and the callbacks; None if there is none, or, with a warning, if not.

    Args:
        path: of the snapshot.
        model: built as that of the run was.
        callbacks: of the user.
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
            raise ValueError("it is of another model, or other callbacks")
        found["history"] = {name: [float(v) for v in values] for name, values in found["history"].items()}
    except Exception as error:  # np.load and zipfile raise what they like on a damaged file
        warnings.warn(
            f"{path} cannot be gone on from ({error}): the run is trained from its start.",
            _checks.EntropyWarning,
            stacklevel=2,
        )
        return None
    return found


def _variables(model: Any) -> list[Any]:
    """All that training changes, in an order that equal models have in common."""
    build_optimizer(model)
    _ = model.losses  # counters of steps are made when losses are first asked for
    return [*model.variables, *model.optimizer.variables]


def _state(callback: Any) -> dict[str, Any] | None:
    """The attributes of a callback that `fit` may change, or None if some are no plain data."""
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
    """A value as JSON, with its arrays appended to a list."""
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
