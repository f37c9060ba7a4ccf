"""Checkpoints of a training run: a resumed run ends bit-identical to an uninterrupted one."""

from __future__ import annotations

import dataclasses
import errno
import json
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any

import keras
import msgspec
import numpy as np

from keras_entropy import _backend, _checks, _files, _keras, _sealed
from keras_entropy.callbacks import EntropyLogger, FactorSchedule
from keras_entropy.runs import memory
from keras_entropy.runs.watch import Watch

SCHEMA = "keras-entropy/checkpoint/3"
_STATELESS = (EntropyLogger, FactorSchedule, keras.callbacks.LearningRateScheduler, keras.callbacks.TerminateOnNaN)


@dataclasses.dataclass
class _Saved:
    """What a checkpoint says."""

    key: str
    epochs: Annotated[int, msgspec.Meta(ge=1)]
    history: dict[str, list[float]]
    seconds: Annotated[float, msgspec.Meta(ge=0)]
    callbacks: list[dict[str, Any]]
    variables: list[Any]


class Checkpoint(keras.callbacks.Callback):
    """Write a checkpoint after each epoch. Must come after the other callbacks.

    A checkpoint contains the variables of the model and of its optimizer, with the states of random generators; the
    attributes of the run's callbacks, such as the patience counter of EarlyStopping; the history; and the key of the
    run. If a callback has an attribute other than numbers, arrays and text, no checkpoint is written, and an
    interrupted run restarts.

    Args:
        path: Path of the checkpoint; None writes none.
        key: String. The key of the run. A checkpoint with another key is not read.
        callbacks: The callbacks of the run whose state counts.
        watch: `Watch` of the run.
    """

    def __init__(self, path: Path | None, key: str, callbacks: Iterable[Any], watch: Watch) -> None:
        super().__init__()
        self._callbacks = [callback for callback in callbacks if type(callback) not in _STATELESS]
        kept = all(_state(callback) is not None for callback in self._callbacks)
        self._path = path if kept else None
        self._key, self._watch = key, watch
        self._restored: _Saved | None = None

    def restored_epochs(self, model: Any) -> int:
        """Read the checkpoint, if there is one; return the number of its epochs. `fit` then begins with its state."""
        if self._path is None or not self._path.exists():
            return 0
        try:
            self._restored = self._read(self._path, model)
        except Exception as error:  # np.load and zipfile raise many kinds of errors for a corrupted file
            warnings.warn(
                f"Cannot resume from {self._path}: {_checks.in_a_line(error)}. Restarting this run.",
                _checks.EntropyWarning,
                stacklevel=3,
            )
            return 0
        self._watch.resume(self._restored.history, self._restored.seconds)
        return self._restored.epochs

    def restore(self, model: Any) -> int:
        """Set a model to the state of the checkpoint, if there is one; return the number of its epochs."""
        epochs = self.restored_epochs(model)
        self._set_variables(model)
        return epochs

    def _set_variables(self, model: Any) -> None:
        if self._restored is not None:
            for variable, value in zip(_variables(model), self._restored.variables, strict=True):
                variable.assign(value)

    def _read(self, path: Path, model: Any) -> _Saved:
        with np.load(path, allow_pickle=False) as file:
            text: dict[str, Any] = json.loads(str(file["text"]))
            arrays = [file[f"arr_{i}"] for i in range(len(file.files) - 1)]
        if text.pop("schema") != SCHEMA:
            raise ValueError(f"this version reads the schema {SCHEMA!r}")
        _ = model.losses  # the first access creates the step counters of regularizers
        count = len(_variables(model))
        found = _sealed.converted({**text, "variables": arrays[:count]}, _Saved)
        if found.key != self._key:
            raise ValueError("it is from another run")
        if max(map(len, found.history.values()), default=0) != found.epochs:
            raise ValueError("its history has another number of epochs")
        found.callbacks = [_decoded(state, arrays) for state in found.callbacks]
        shapes = [(tuple(variable.shape), _backend.to_host(variable).dtype) for variable in _variables(model)]
        fits = [(array.shape, array.dtype) for array in found.variables] == shapes
        if not fits or len(found.callbacks) != len(self._callbacks):
            raise ValueError("it is from another model or other callbacks")
        for callback, state in zip(self._callbacks, found.callbacks, strict=True):
            if any(callable(getattr(callback, name, None)) for name in state):
                raise ValueError("it replaces a function of a callback")
        return found

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Make the folder; restore variables and callbacks, after the callbacks have reset themselves."""
        if self._path is not None:
            with _files.writing(self._path):
                self._path.parent.mkdir(exist_ok=True)
        if self._restored is None:
            return
        self._set_variables(self.model)
        for callback, state in zip(self._callbacks, self._restored.callbacks, strict=True):
            vars(callback).update(state)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the checkpoint."""
        if self._path is None or self.model.stop_training:
            return
        arrays: list[Any] = [_backend.to_host(variable) for variable in _variables(self.model)]
        kept = [_state(callback) for callback in self._callbacks]
        if None in kept:  # an attribute became something else while training
            self._path.unlink(missing_ok=True)
            return
        states = [_encoded(state, arrays) for state in kept]
        text = json.dumps(
            {
                "schema": SCHEMA,
                "key": self._key,
                "epochs": epoch + 1,
                "history": self._watch.history,
                "seconds": self._watch.seconds,
                "callbacks": states,
            }
        )
        if not self._path.parent.is_dir():  # `replacing` would make it again, without the rest of the work
            raise _files.cannot_write(self._path, errno.ENOENT)
        with _files.replacing(self._path) as temporary:
            np.savez(temporary, *arrays, text=np.array(text))


def _variables(model: Any) -> list[Any]:
    """All variables that training changes, in the same order for equal models, once training or `_read` began."""
    memory.build_optimizer(model)
    left_out = {id(state.state) for state in _keras.step_states(model) if state.of_epoch}
    return [*(v for v in model.variables if id(v) not in left_out), *model.optimizer.variables]


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
