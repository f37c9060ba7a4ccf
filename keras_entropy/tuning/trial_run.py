"""One run of a trial: a setting and a seed, trained from its start or from where a kill left it."""

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
from keras_tuner.src.engine import tuner_utils

from keras_entropy.callbacks import PENALISED, EntropyLogger
from keras_entropy.runs import memory
from keras_entropy.runs.data_order import Batches, EpochOrder
from keras_entropy.runs.interrupt import InterruptWatch
from keras_entropy.study import machine
from keras_entropy.study.single_run import build_optimizer
from keras_entropy.tuning import checkpoint, ledger, objective_checks
from keras_entropy.tuning.hypermodel import OWN, PLACEMENT
from keras_entropy.tuning.ledger import Ledger, Run
from keras_entropy.tuning.search_result import BASELINE
from keras_entropy.tuning.tensorboard_log import RunBoard

WEIGHTS, SNAPSHOT = ".weights.h5", ".npz"


def train(
    tuner: Any, trial: Any, values: Mapping[str, Any], seed: int, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Run:
    """Train a setting to `epochs`; its weights are beside its record then.

    Args:
        tuner: an `EntropyTuner`.
        trial: of KerasTuner.
        values: the setting; without those of the entropy term for the model without it.
        seed: of initial weights, data order and dropout.
        args: of the hypermodel's `fit`.
        kwargs: likewise.
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
    keras.backend.clear_session(free_memory=False)  # what follows frees it
    machine.apply_settings(settings)  # a cleared session has forgotten the dtype policy
    memory.free()
    keras.utils.set_random_seed(seed)
    hp, hypermodel, runs = trial.hyperparameters.copy(), tuner.hypermodel, tuner.ledger
    hp.values = dict(values)
    with objective_checks.raised():
        model = hypermodel.build(hp) if PLACEMENT in values else hypermodel.baseline(hp)
    build_optimizer(model)
    folder = log_folder(trial.trial_id, values, seed)
    own = _own_callbacks(kwargs.get("callbacks") or [], folder)
    kwargs, batches = _ordered(kwargs, seed) if is_plain(hypermodel) else (kwargs, None)
    path = runs.path(values, seed, SNAPSHOT) if batches is not None else None
    found = None if path is None else checkpoint.read(path, model, own)
    history, seconds = (found["history"], found["seconds"]) if found else ({}, 0.0)
    keeper = checkpoint.Snapshot(path, own, history, seconds)
    if found is not None:
        keeper.restore(found)
        kwargs["initial_epoch"] = found["epochs"]
    watching = [tuner_utils.TunerCallback(tuner, trial), _Divergence(), keeper, interrupts]
    if tuner.log_dir is not None:
        group = folder.parts[0]
        watching.append(RunBoard(Path(tuner.log_dir) / folder, {PLACEMENT: BASELINE, **values}, group))
    kwargs["callbacks"] = [EpochOrder(seed, batches), *own, *watching]
    kwargs.setdefault("verbose", 0)
    keras.utils.set_random_seed(seed)
    known = {parameter.name for parameter in hp.space}
    results = hypermodel.fit(hp, model, *args, **kwargs)  # of no epoch, where only the record was missing
    if not is_plain(hypermodel) and not isinstance(results, keras.callbacks.History):
        returned = tuner_utils.convert_to_metrics_dict(results, tuner.oracle.objective)
        keeper.history = {name: [float(value)] for name, value in returned.items()}
    declared = sorted({parameter.name for parameter in hp.space} - known)
    if declared:
        raise errors.FatalValueError(
            f"`fit` declares the hyperparameters {', '.join(declared)}, which would not be tuned. Declare them in "
            "`build`, and read them in `fit` with hp.get."
        )
    ended = bool(model.stop_training) or not is_plain(hypermodel)  # a `fit` of one's own trains as long as it likes
    run = Run(dict(values), seed, keeper.history, ended=ended, seconds=keeper.seconds)
    if not run.epochs:
        raise errors.FatalRuntimeError("`fit` ended without an epoch.")
    model.save_weights(runs.path(values, seed, WEIGHTS))
    return run


def forget_snapshot(runs: Ledger, values: Mapping[str, Any], seed: int) -> None:
    """Remove what an ended run would have gone on from."""
    runs.path(values, seed, SNAPSHOT).unlink(missing_ok=True)


def without_term(values: Mapping[str, Any]) -> dict[str, Any]:
    """A setting's own hyperparameters, those of the entropy term left out."""
    return {name: value for name, value in values.items() if not name.startswith(OWN)}


def log_folder(trial_id: str, values: Mapping[str, Any], seed: int) -> Path:
    """Where TensorBoard finds a run, below the folder of all logs."""
    name = f"trial_{trial_id}" if PLACEMENT in values else f"{BASELINE}_{ledger.key_of(values)}"
    return Path(name, f"seed_{seed}")


def is_plain(hypermodel: Any) -> bool:
    """Whether training is one `fit` of Keras, not one of the user's own."""
    base = hypermodel.base
    return not isinstance(base, keras_tuner.HyperModel) or type(base).fit is keras_tuner.HyperModel.fit


def bound(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """All arguments of Keras's `fit` by their names."""
    names = list(inspect.signature(keras.Model.fit).parameters)[1:]
    return {**dict(zip(names, args, strict=False)), **kwargs}


def check_data(kwargs: Mapping[str, Any], objective: str) -> None:
    """Refuse data that cannot be trained on more than once, or not be validated.

    Raises:
        FatalValueError: that ends a search.
    """
    if inspect.isgenerator(kwargs.get("x")):
        raise errors.FatalValueError(
            "`x` is a generator, which is empty after the first of many runs. Give arrays, a tf.data.Dataset, a "
            "DataLoader or a keras.utils.PyDataset."
        )
    if objective.startswith("val_") and kwargs.get("validation_data") is None and not kwargs.get("validation_split"):
        raise errors.FatalValueError(
            f"The objective {objective!r} needs `validation_data` or `validation_split`. Received: neither."
        )


class _Divergence(keras.callbacks.Callback):
    """Ends a run whose loss is not finite."""

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        if not all(math.isfinite((logs or {}).get(name, 0.0)) for name in PENALISED):
            assert self.model is not None
            self.model.stop_training = True


def _own_callbacks(given: list[Any], folder: Path) -> list[Any]:
    """The user's callbacks for one run, each that writes for TensorBoard with a folder of its own."""
    try:
        callbacks = copy.deepcopy(given)
    except Exception as error:  # whatever a callback raises that cannot be copied
        raise errors.FatalValueError(
            f"Callbacks are copied for each run, and this cannot be done: {type(error).__name__}: {error}"
        ) from error
    for callback in callbacks:
        if isinstance(callback, keras.callbacks.TensorBoard | EntropyLogger) and callback.log_dir is not None:
            callback.log_dir = str(Path(callback.log_dir) / folder)
    return list(callbacks)


def _ordered(kwargs: dict[str, Any], seed: int) -> tuple[dict[str, Any], Batches | None]:
    """The arguments of `fit` with arrays in batches whose order depends on seed and epoch alone, where they are."""
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
    if split and rest.get("validation_data") is None:  # the last ones, as in Keras
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
    """Whether something is a number of samples that lie in memory: an array, a tensor there, a table of numbers."""
    if not (hasattr(leaf, "__array__") and hasattr(leaf, "shape")) or getattr(leaf, "is_cuda", False):
        return False
    return np.asarray(leaf).dtype.kind in "biufc"
