"""Callbacks: `EntropyLogger` watches entropy and the loss without penalties, `FactorSchedule` steers factors."""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks, _keras, _optional, profile
from keras_entropy.layers import DualDense, EntropyActivation
from keras_entropy.profile import MeasurableWeight, Selection, WeightEntropy
from keras_entropy.profile.activation_means import infer_rows, means_on_sample
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.sum import regularizers_of

# A monitor of val_loss loses changes of the task loss below this fraction of it when float32 cannot hold them
# beside the penalty; near convergence an epoch changes the loss by about that much.
_VISIBLE_CHANGE = 1e-3


PENALISED = ("loss", "val_loss")
"""What Keras logs with the penalty in it."""


class EntropyLogger(keras.callbacks.Callback):
    """Log the entropy change of every layer, the entropy penalty and the loss without it, each epoch.

    At the end of each epoch it adds to `logs`, and so to History, CSVLogger, TensorBoard, EarlyStopping and
    every other callback, wherever it stands in the list:

    * `entropy/<layer path>`: nats per filter, dimension or output, for each measurable layer;
    * with a `sample`, `entropy/<layer path>/activation`: nats per unit that the activation adds, its mean log slope on
      the sample; and `entropy/<layer path>/total`, the sum of the two (not for total correlation). With
      `measure="log_volume"` and a square kernel that is the change of entropy of the layer with its activation;
      and of each `DualDense` `entropy/<layer path>/sigmoid`: the mean of its sigmoid entropy, in bits per unit, over
      the positions that a mask leaves;
    * `entropy_penalty`: the sum of the entropy penalties of kernels at the weights of the end of the epoch; terms of
      activations, which depend on the data, are in `loss` only;
    * `task_loss` and `val_task_loss`: the compiled loss without any penalty, averaged as Keras averages
      `loss`; `val_task_loss` is NaN in an epoch without validation.

    To stop, save or reduce the learning rate on the task alone, give Keras's callbacks
    `monitor="val_task_loss", mode="min"`. Training is not touched: weights and history are the same bits as
    without the logger, and the model is left as it was when `fit` ends, by an exception too.

    Args:
        layers: which layers: None for all that are measurable, a glob on layer paths, several globs, or a
            predicate on layers.
        measure: None: each layer in its own entropy regularizer's quantity, in `"corner"` where it has none;
            or for all `"corner"`: log|det| of the leading block of a Dense kernel per dimension, mean log|c11|
            of a convolution per filter; `"log_volume"`: the exact log-volume per dimension; `"total_correlation"`: the
            total correlation per output.
        log_dir: if given, TensorBoard event files are written there, without TensorFlow: all scalars of
            `logs`, a histogram per layer of its filters or dimensions, and a box plot of all layers.
            For the exact measures histograms take singular values, cheap up to a few thousand units.
        sample: inputs of the model to measure activations on, in inference mode, at the end of each epoch: arrays of a
            few hundred rows, as for `model.predict`. Those of recurrent layers are left out.

    Attributes:
        layers_logged: tuple of `WeightEntropy`, one per layer, of the last epoch; `penalised` is False for a
            frozen layer, which Keras leaves out of the loss.

    Raises:
        ValueError, TypeError: for an unknown measure; in `fit`, for a glob that matches no layer.
        ModuleNotFoundError: if `log_dir` is given and the extras `tensorboard` and `plot` are not installed.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import DenseEntropy, EntropyLogger
        >>> model = keras.Sequential([
        ...     keras.Input((4,)), keras.layers.Dense(3, kernel_regularizer=DenseEntropy(1e-3), name="code")])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0, callbacks=[EntropyLogger()])
        >>> sorted(history.history)
        ['entropy/code', 'entropy_penalty', 'loss', 'task_loss', 'val_task_loss']
    """

    def __init__(
        self,
        layers: Selection = None,
        measure: str | None = None,
        log_dir: str | os.PathLike[str] | None = None,
        sample: Any = None,
    ) -> None:
        super().__init__()
        if measure is not None:
            _checks.one_of("measure", measure, profile.MEASURES)
        if log_dir is not None:
            _optional.require("tensorboard", extra="tensorboard")
            _optional.require("matplotlib", extra="plot")
        self.layers = profile.check_selection(layers)
        self.measure = measure
        self.log_dir = log_dir
        self.sample = _checked_sample(sample)
        self.layers_logged: tuple[WeightEntropy, ...] = ()
        self._reset()

    def _reset(self) -> None:
        self._tracking: _keras.Change | None = None
        self._writer: Any = None
        self._fitting = False
        self._siblings: list[keras.callbacks.Callback] = []
        self._warned: set[str] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> EntropyLogger:
        """A fresh logger with the same arguments: KerasTuner copies callbacks for each trial."""
        return type(self)(self.layers, self.measure, self.log_dir, self.sample)

    def set_model(self, model: Any) -> None:
        """Called by Keras before the training step is compiled."""
        super().set_model(model)
        self._finish()
        tracking = _keras.track_task_loss(model, self)
        if isinstance(tracking, str):
            self._warn("task_loss", f"EntropyLogger cannot log task_loss: {tracking}.")
        else:
            self._tracking = tracking

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Go first among the callbacks, so that all see the entropies; warn of monitors of the penalty."""
        self._fitting = True
        callback_list = _keras.callback_list_of(self)
        if callback_list is not None:
            # Keras is iterating over the old list object: it must not change.
            self._siblings = [c for c in callback_list.callbacks if c is not self]
            callback_list.callbacks = [self, *map(_without_missing_validation, self._siblings)]
            if any(isinstance(r, EntropyRegularizer) for r in regularizers_of(self.model)):
                _warn_of_penalised_monitors(self._siblings)
        if self.sample is not None and self.model.built:
            infer_rows(self.model, self.sample)  # a sample that the model does not take fails now
        if self.log_dir is not None:
            from keras_entropy.events import EventWriter

            self._writer = EventWriter(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure, and add to `logs`."""
        logs = {} if logs is None else logs
        metrics = list(logs)
        weights = profile.select(profile.measurable_weights(self.model), self.layers)
        self.layers_logged = tuple(
            profile.measure_weight(weight, self.measure, values=self._writer is not None) for weight in weights
        )
        logs.update({f"entropy/{entropy.path}": entropy.mean for entropy in self.layers_logged})
        if self.sample is not None:
            logs.update(self._activations(weights))
        logs["entropy_penalty"] = profile.penalty(self.model)
        if "task_loss" in logs:
            if math.isnan(logs["task_loss"]) and math.isfinite(logs.get("loss", math.nan)):
                name = type(self.model).__name__
                self._warn(
                    "task_loss",
                    f"EntropyLogger cannot log task_loss: the train_step or compute_loss of {name} does not go through "
                    "the compiled loss, or not through Keras's own step on JAX.",
                )
            if "val_task_loss" not in logs:
                logs["val_task_loss"] = math.nan
                self._keep_validation_columns(metrics, logs)
            self._check_spacing(logs["task_loss"], logs["entropy_penalty"])
        if self._writer is not None:
            self._write_events(epoch, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the model as it was."""
        self._finish()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the model as it was after `evaluate(callbacks=[...])`."""
        if not self._fitting:
            self._finish()

    on_predict_end = on_test_end

    def _finish(self) -> None:
        if self._tracking is not None:
            self._tracking.release()
        if self._writer is not None:
            self._writer.close()
        self._reset()

    def _activations(self, weights: list[MeasurableWeight]) -> dict[str, float]:
        """What the activations add, the sums with what the kernels do, and the sigmoid entropies."""
        # A recurrent cell has several activations, inside of a loop that a backend may have compiled.
        layers = {
            weight.layer_path: weight.layer
            for weight in weights
            if hasattr(weight.layer, "activation") and not hasattr(weight.layer, "recurrent_kernel")
        }
        if self.layers is None:
            layers |= {path: layer for path, layer in profile.walk(self.model) if isinstance(layer, EntropyActivation)}
        means = means_on_sample(self.model, layers, self.sample)
        found = {f"entropy/{path}/{name}": mean for path, of in means.items() for name, mean in of.items()}
        for entropy in self.layers_logged:
            slope = means.get(entropy.path, {}).get("activation")
            if slope is not None and entropy.measure not in ("total_correlation", "TotalCorrelation"):
                found[f"entropy/{entropy.path}/total"] = entropy.mean + slope
        return found

    def _keep_validation_columns(self, metrics: list[str], logs: dict[str, Any]) -> None:
        """Let a CSVLogger that sees its first epoch, without validation, keep columns for the validation to come.

        It fixes its columns then, and takes a key that starts with "val_" as a sign that it has seen them all.
        """
        for callback in self._siblings:
            if isinstance(callback, keras.callbacks.CSVLogger) and callback.keys is None:
                callback.keys = sorted({*logs, *(f"val_{name}" for name in metrics)})

    def _check_spacing(self, task_loss: float, penalty: float) -> None:
        spacing = float(np.spacing(np.float32(abs(penalty))))
        if penalty and math.isfinite(spacing) and spacing > _VISIBLE_CHANGE * abs(task_loss):
            self._warn(
                "spacing",
                f"The entropy penalty is {penalty:.4g}, where neighbouring float32 numbers are {spacing:.1g} "
                f"apart; the task loss is {task_loss:.4g}. A monitor of `loss` or `val_loss` cannot see it "
                'improve. Monitor "val_task_loss" with mode="min" instead, or lower the factor.',
            )

    def _warn(self, topic: str, words: str) -> None:
        """Warn once per fit and topic."""
        if topic not in self._warned:
            self._warned.add(topic)
            warnings.warn(words, _checks.EntropyWarning, stacklevel=3)

    def _write_events(self, epoch: int, logs: dict[str, Any]) -> None:
        from keras_entropy import plots

        for name, value in logs.items():
            if np.ndim(value) == 0:
                self._writer.scalar(name, float(value), epoch)
        for entropy in self.layers_logged:
            self._writer.histogram(f"{entropy.unit} in/{entropy.path}", entropy.values, epoch)
        if self.layers_logged:
            self._writer.image("entropy by layer", plots.png(plots.entropy_boxes(self.layers_logged)), epoch)
        self._writer.flush()


def _checked_sample(sample: Any) -> Any:
    if sample is None:
        return None
    rows = [len(x) if len(getattr(x, "shape", ())) else 0 for x in keras.tree.flatten(sample)]
    if not rows or not all(rows) or len(set(rows)) > 1:
        expected = "arrays (n, ...), n > 0, as for `model.predict`, with the same n for all inputs"
        raise ValueError(_checks.message("sample", expected, keras.tree.map_structure(np.shape, sample)))
    return sample


class FactorSchedule(keras.callbacks.Callback):
    """Multiply the factors of all entropy regularizers of the model by `schedule(epoch)`, each epoch.

    Effective on every backend, compiled or not, without a new trace. What is saved during training holds no
    trace of it. The multiplier is a function of the epoch, so that a run restored by `BackupAndRestore` goes
    on with the right one. It is logged as `entropy_multiplier`, and like a scheduled learning rate it stays
    at its last value when `fit` ends (`regularizer.multiplier`, not part of its config).

    Args:
        schedule: takes the epoch, counted from 0, and returns a finite number. 0 switches the term off.

    Raises:
        TypeError: if `schedule` is not callable; in `fit`, if it returns no number.
        ValueError: in `fit`, if it returns NaN or an infinity, or the model has no entropy regularizer.

    Examples:
        >>> from keras_entropy import FactorSchedule
        >>> warm_up = FactorSchedule(lambda epoch: min(1.0, (epoch + 1) / 5))
    """

    def __init__(self, schedule: Callable[[int], float]) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(_checks.message("schedule", "a function of the epoch", schedule))
        self.schedule = schedule
        self._change: _keras.Change | None = None
        self._value = 1.0
        self._states: list[_keras.StepState] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> FactorSchedule:
        """A fresh callback with the same schedule: KerasTuner copies callbacks for each trial."""
        return type(self)(self.schedule)

    def set_model(self, model: Any) -> None:
        """Called by Keras before the training step is compiled."""
        super().set_model(model)
        _keras.release_stale(model)
        if self._change is not None:
            self._change.release()
        regularizers = [r for r in regularizers_of(model) if isinstance(r, EntropyRegularizer)]
        if not regularizers:
            dual = any(isinstance(layer, DualDense) for layer in _keras.layers_of(model))
            remedy = "Give its DualDense an `decision_weight` other than 0" if dual else "Attach one"
            raise ValueError(f"FactorSchedule found no entropy regularizer in the model. {remedy} first.")
        if any(isinstance(regularizer.multiplier, keras.Variable) for regularizer in regularizers):
            raise ValueError("Two FactorSchedules steer the same regularizer. Combine them into one schedule.")
        before = [float(regularizer.multiplier) for regularizer in regularizers]
        self._states = [_keras.StepState(value, "entropy_multiplier") for value in before]
        self._value = math.nan
        for regularizer, state in zip(regularizers, self._states, strict=True):
            state.attach(model)
            regularizer.multiplier = state.state
        states = self._states

        def undo() -> None:
            for regularizer, state, value in zip(regularizers, states, before, strict=True):
                state.detach(model)
                regularizer.multiplier = value if math.isnan(self._value) else self._value

        self._change = _keras.Change(model, self, undo)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the multiplier of this epoch."""
        value = _checks.number(f"schedule({epoch})", self.schedule(epoch))
        for state in self._states:
            state.state.assign(value)
        self._value = value

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the multiplier."""
        if logs is not None:
            logs["entropy_multiplier"] = self._value

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Leave the model as it was, with the last multiplier in the regularizers."""
        if self._change is not None:
            self._change.release()


class _SkipsMissingValidation:
    """A monitor of `val_task_loss` that does not see the NaN of an epoch without validation.

    Keras's monitors skip an epoch whose key is missing; a NaN they would take for their best value.
    """

    def __init__(self, callback: keras.callbacks.Callback) -> None:
        self._callback = callback

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        if "val_task_loss" not in logs or any(name.startswith("val_") and name != "val_task_loss" for name in logs):
            self._callback.on_epoch_end(epoch, logs)
            return
        missing = logs.pop("val_task_loss")
        self._callback.on_epoch_end(epoch, logs)
        logs["val_task_loss"] = missing


def _without_missing_validation(callback: Any) -> Any:
    monitors = getattr(callback, "monitor", None) == "val_task_loss"
    return _SkipsMissingValidation(callback) if monitors else callback


def watches_penalty(callback: Any) -> bool:
    """Whether a callback of Keras stops, slows or saves by a loss that holds the penalty."""
    monitors = isinstance(callback, keras.callbacks.EarlyStopping | keras.callbacks.ReduceLROnPlateau) or (
        isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_best_only
    )
    return monitors and callback.monitor in PENALISED


def _warn_of_penalised_monitors(callbacks: list[keras.callbacks.Callback]) -> None:
    for callback in callbacks:
        if watches_penalty(callback):
            name = type(callback).__name__
            warnings.warn(
                f'{name}(monitor="{callback.monitor}") watches the task loss plus the penalty: a change of the '
                f'penalty alone can stop, save or slow training. Use {name}(monitor="val_task_loss", mode="min").',
                _checks.EntropyWarning,
                stacklevel=2,
            )
