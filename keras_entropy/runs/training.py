"""The training of a run: one order of the data, one way to seed and one checkpoint per epoch, for all that trains."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras

from keras_entropy.callbacks import EntropyLogger
from keras_entropy.runs.checkpoint import Checkpoint
from keras_entropy.runs.data_order import EpochOrder, ordered
from keras_entropy.runs.epochs import EpochReport
from keras_entropy.runs.interrupt import InterruptWatch
from keras_entropy.runs.seeds import seeded
from keras_entropy.runs.watch import Watch


def fit(
    model: Any,
    arguments: Mapping[str, Any],
    seed: int,
    watch: Watch,
    *,
    callbacks: Iterable[Any] = (),
    observers: Iterable[Any] = (),
    checkpoint: Path | None = None,
    key: str = "",
    by: Callable[..., Any] | None = None,
    reorder: bool = True,
) -> Any:
    """Train a model; resume a training that was killed after its last finished epoch.

    The order of the data and all random numbers of an epoch depend on the seed and the epoch alone, so that a resumed
    run ends bit-identical to an uninterrupted one. That needs arrays: other data bring their own order, and a run that
    was killed starts again.

    Args:
        model: Compiled and built Keras model with the initial weights of the run.
        arguments: Mapping. Arguments of `keras.Model.fit` by name, with `x` and without `callbacks`.
        seed: Integer. Seed of the order of the data, of dropout and of all other random numbers.
        watch: `Watch` that records the history; it has what was recorded too if the training raises an error.
        callbacks: Callbacks that may change the training, whose state is part of the checkpoint. An `EntropyLogger` is
            added if there is none among them.
        observers: Callbacks that only observe.
        checkpoint: Path of the checkpoint. Defaults to None: no checkpoint.
        key: String. The key of the run; a checkpoint of another run is not read.
        by: Function that trains in place of `keras.Model.fit`: of the model and the arguments, with `callbacks`.
            Defaults to None.
        reorder: Boolean. False leaves the data as they are, for a `by` that needs them so. Defaults to True.

    Returns:
        What `keras.Model.fit` or `by` returns.
    """
    arguments, batches = ordered(dict(arguments), seed, model) if reorder else (dict(arguments), None)
    own = list(callbacks)
    if not any(isinstance(callback, EntropyLogger) for callback in own):
        own.insert(0, EntropyLogger())
    saver = Checkpoint(None if batches is None else checkpoint, key, own, watch)
    restored = saver.restored_epochs(model)
    if restored:
        arguments["initial_epoch"] = restored
    arguments.setdefault("verbose", 0)
    with seeded(seed), InterruptWatch() as interrupts, EpochReport() as report:
        every = [EpochOrder(seed, batches), *own, watch, *observers, saver, interrupts, report]
        return (by or keras.Model.fit)(model, **arguments, callbacks=every)


def checked_model(model: Any) -> Any:
    """Return what a build function of the user has returned, if it is a model that can be trained.

    Raises:
        TypeError: If it is no Keras model.
        ValueError: If it is not compiled, or has no input shape.
    """
    if not isinstance(model, keras.Model):
        raise TypeError(
            f"`build` should return a compiled keras.Model. Received: {type(model).__name__}. End it with `return "
            "model`."
        )
    if not model.compiled:
        raise ValueError("The model that `build` returns is not compiled. Call model.compile(...) in `build`.")
    if not model.built:
        raise ValueError("`build` returned a model without an input shape. Start the model with keras.Input.")
    return model


def refuse_model(build: Any) -> None:
    """Refuse a model where a function belongs that builds one.

    Raises:
        TypeError: If `build` is a model.
    """
    if isinstance(build, keras.Model):
        raise TypeError(
            "`build` should be a function that returns a compiled model. Received: a model. Build and compile it in a "
            "function: each run needs a new one."
        )
