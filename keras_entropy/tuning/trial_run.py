"""One run of a trial, a setting with a seed: trained from its start, or resumed after its last epoch."""

from __future__ import annotations

import copy
import inspect
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner
import numpy as np
from keras_tuner import errors

from keras_entropy.callbacks import PENALISED, EntropyLogger
from keras_entropy.runs import checkpoint, machine, memory
from keras_entropy.runs.data_order import Batches, EpochOrder
from keras_entropy.runs.interrupt import InterruptWatch
from keras_entropy.tuning import _keras_tuner, ledger
from keras_entropy.tuning.hypermodel import OWN, PLACEMENT
from keras_entropy.tuning.ledger import Ledger, Run
from keras_entropy.tuning.search_result import BASELINE
from keras_entropy.tuning.tensorboard_log import HParamsLogger
from keras_entropy.tuning.trial_errors import fatal_errors

WEIGHTS, CHECKPOINT = ".weights.h5", ".npz"
"""Suffixes of the files of a run."""


def train(
    tuner: Any, trial: Any, values: Mapping[str, Any], seed: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Run:
    """Train a setting to its last epoch, and save its weights beside its record.

    Args:
        tuner: `EntropyTuner`.
        trial: Trial of KerasTuner.
        values: Hyperparameters by name; for the baseline, without those of the entropy term.
        seed: Integer. Seed of initial weights, data order and dropout.
        args: Positional arguments of the hypermodel's `fit`.
        kwargs: Keyword arguments of the hypermodel's `fit`, with `epochs`.

    Returns:
        The `Run`.
    """
    with InterruptWatch() as interrupts:
        return _train(tuner, trial, values, seed, args, dict(kwargs), interrupts)


def _train(
    tuner: Any,
    trial: Any,
    values: Mapping[str, Any],
    seed: int,
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    interrupts: InterruptWatch,
) -> Run:
    settings = machine.keras_settings()
    keras.backend.clear_session(free_memory=False)  # memory.free() does
    machine.apply_settings(settings)  # clear_session resets the dtype policy
    memory.free()
    keras.utils.set_random_seed(seed)
    hp, hypermodel, runs = trial.hyperparameters.copy(), tuner.hypermodel, tuner.ledger
    hp.values = dict(values)
    with fatal_errors():
        model = hypermodel.build(hp) if PLACEMENT in values else hypermodel.baseline(hp)
    memory.build_optimizer(model)
    folder = log_folder(trial.trial_id, values, seed)
    own = _own_callbacks(kwargs.get("callbacks") or [], folder)
    kwargs, batches = _ordered(kwargs, seed) if is_plain(hypermodel) else (kwargs, None)
    path = runs.path(values, seed, CHECKPOINT) if batches is not None else None
    found = None if path is None else checkpoint.read(path, model, own)
    history, seconds = (found["history"], found["seconds"]) if found else ({}, 0.0)
    saver = checkpoint.Checkpoint(path, own, history, seconds)
    if found is not None:
        saver.restore(found)
        kwargs["initial_epoch"] = found["epochs"]
    watching = [_keras_tuner.trial_callback(tuner, trial), _Divergence(), saver, interrupts]
    if tuner.log_dir is not None:
        group = folder.parts[0]
        watching.append(HParamsLogger(Path(tuner.log_dir) / folder, {PLACEMENT: BASELINE, **values}, group))
    kwargs["callbacks"] = [EpochOrder(seed, batches), *own, *watching]
    kwargs.setdefault("verbose", 0)
    keras.utils.set_random_seed(seed)
    known = {parameter.name for parameter in hp.space}
    results = hypermodel.fit(hp, model, *args, **kwargs)  # trains no epoch if only the record was missing
    if not is_plain(hypermodel) and not isinstance(results, keras.callbacks.History):
        returned = _keras_tuner.metrics_of(results, tuner.oracle.objective)
        saver.history = {name: [float(value)] for name, value in returned.items()}
    declared = sorted({parameter.name for parameter in hp.space} - known)
    if declared:
        raise errors.FatalValueError(
            f"`fit` should not declare hyperparameters, as they would not be tuned. Received: {', '.join(declared)}. "
            "Declare them in `build`, and read them in `fit` with hp.get."
        )
    ended = bool(model.stop_training) or not is_plain(hypermodel)  # a custom `fit` decides its own epochs
    run = Run(dict(values), seed, saver.history, ended=ended, seconds=saver.seconds)
    if not run.epochs:
        raise errors.FatalRuntimeError("`fit` trained no epoch. Let it train at least one.")
    model.save_weights(runs.path(values, seed, WEIGHTS))
    return run


def delete_checkpoint(runs: Ledger, values: Mapping[str, Any], seed: int) -> None:
    """Delete the checkpoint of a finished run."""
    runs.path(values, seed, CHECKPOINT).unlink(missing_ok=True)


def without_term(values: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a setting without those of the entropy term."""
    return {name: value for name, value in values.items() if not name.startswith(OWN)}


def log_folder(trial_id: str, values: Mapping[str, Any], seed: int) -> Path:
    """Folder of the event files of a run, relative to the folder of all logs."""
    name = f"trial_{trial_id}" if PLACEMENT in values else f"{BASELINE}_{ledger.key_of(values)}"
    return Path(name, f"seed_{seed}")


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


class _Divergence(keras.callbacks.Callback):
    """Stops a run whose loss is not finite."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not all(math.isfinite((logs or {}).get(name, 0.0)) for name in PENALISED):
            assert self.model is not None
            self.model.stop_training = True


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
            callback.log_dir = str(Path(callback.log_dir) / folder)
    return list(callbacks)


def _ordered(kwargs: dict[str, Any], seed: int) -> tuple[dict[str, Any], Batches | None]:
    """Put arrays among the arguments of `fit` into batches whose order depends on the seed and the epoch alone.

    Returns:
        The new arguments and the batches; the old arguments and None for other data.
    """
    x, y, weight = (kwargs.get(name) for name in ("x", "y", "sample_weight"))
    parts = [part for part in (x, y, weight) if part is not None]
    if x is None or not all(map(_are_arrays, parts)):
        return kwargs, None
    x, y, weight = (None if part is None else keras.tree.map_structure(np.asarray, part) for part in (x, y, weight))
    parts = [part for part in (x, y, weight) if part is not None]
    if kwargs.get("steps_per_epoch") or kwargs.get("shuffle") == "batch":
        return kwargs, None
    taken = ("x", "y", "sample_weight", "shuffle", "batch_size", "validation_split")
    rest = {name: value for name, value in kwargs.items() if name not in taken}
    size = kwargs.get("batch_size") or 32
    split = kwargs.get("validation_split")
    if split and rest.get("validation_data") is None:  # the last samples, as in Keras
        count = math.floor(len(keras.tree.flatten(x)[0]) * (1 - split))
        held = tuple(keras.tree.map_structure(lambda array: array[count:], part) for part in parts)
        rest["validation_data"] = held
        x, y, weight = (
            None if part is None else keras.tree.map_structure(lambda array: array[:count], part)
            for part in (x, y, weight)
        )
    rest.setdefault("validation_batch_size", size)
    batches = Batches(x, y, size, seed, sample_weight=weight, shuffle=kwargs.get("shuffle", True))
    return {**rest, "x": batches, "shuffle": False}, batches


def _are_arrays(x: Any) -> bool:
    leaves = keras.tree.flatten(x)
    return bool(leaves) and all(_is_array(leaf) for leaf in leaves)


def _is_array(leaf: Any) -> bool:
    """Whether an object is an array, a tensor or a table of numbers in the memory of the host."""
    if not (hasattr(leaf, "__array__") and hasattr(leaf, "shape")) or getattr(leaf, "is_cuda", False):
        return False
    return np.asarray(leaf).dtype.kind in "biufc"
