"""Callbacks: `EntropyLogger` logs entropies and the loss without penalties, `FactorSchedule` changes factors."""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks, _files, _keras, _optional, profile
from keras_entropy.layers import DualDense, EntropyActivation
from keras_entropy.placement.resolution import Placement, check_selectable, select_weights
from keras_entropy.profile import MeasurableWeight, WeightEntropy
from keras_entropy.profile.activation_means import check_sample_fits, checked_sample, means_on_sample
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.sum import regularizers_of

_VISIBLE_CHANGE = 1e-3
"""Relative change of the task loss that a monitor of `val_loss` should see; near convergence an epoch makes one."""

_VISIBLE_PART = 0.1
"""Part of the penalty that the difference of `loss` and `task_loss` shows, whatever the penalty did in the epoch."""

OF_TERM = "term"
"""Measure of a log in which each layer has the quantity of its own term."""

PENALISED = ("loss", "val_loss")
"""Keys of the logs that contain the penalty."""


class EntropyLogger(keras.callbacks.Callback):
    """Log the entropy change of every layer, the entropy penalty and the loss without it, each epoch.

    At the end of each epoch the logger adds these entries to `logs`. History, CSVLogger, TensorBoard, EarlyStopping and
    all other callbacks see them, in any order of the callbacks:

    * `entropy/<layer path>`: entropy change of each measurable layer, in nats per filter, dimension or output;
    * `entropy/<layer path>/activation`, with a `sample`: mean log slope of the activation on the sample, in nats per
      unit; and `entropy/<layer path>/total`: the sum of this and the entry above (not for total correlation). With
      `measure="log_volume"` and a square kernel it is the entropy change of the layer with its activation;
    * `entropy/<layer path>/sigmoid`, with a `sample`: mean sigmoid entropy of a `DualDense`, in bits per unit, over the
      positions that its mask includes;
    * `entropy_penalty`: sum of the entropy penalties of all kernels at the end of the epoch. Penalties of activations,
      which depend on the data, are part of `loss` only;
    * `task_loss` and, where there is validation, `val_task_loss`: compiled loss without any penalty, averaged like
      Keras's `loss`.

    Keras's progress line shows `entropy`, the mean over the layers, in place of the entries of single layers: the
    logger hands a shorter copy of `logs` to `keras.callbacks.ProgbarLogger`.

    To stop, save or reduce the learning rate by the task alone, give Keras's callbacks
    `monitor="val_task_loss", mode="min"`. The logger does not change training: weights and history are bit-identical to
    those without it. When `fit` ends, also with an exception, the model is as it was before.

    Args:
        placement: Which layers to log, as in `resolve_placement`, except for `"empirical"`. Globs and predicates also
            reach the scales of normalisations. Defaults to None, all measurable layers.
        measure: String. What to log of all layers, with a term and without: `"log_volume"`: the log-volume of the whole
            kernel, in nats per dimension; `"corner"`: log|det| of the leading block of a matrix, in nats per dimension,
            and mean log|c11| of a convolution, in nats per filter; `"total_correlation"`: the total correlation of the
            outputs, in nats per output. `"term"` logs each layer in the quantity of its own entropy regularizer, and
            the others in `"corner"`: a layer is then logged otherwise once it has a term. Defaults to `"log_volume"`.
        log_dir: Path of a folder for TensorBoard event files: all scalars of `logs`, a histogram per layer of its
            filters or dimensions, and a box plot of all layers. TensorFlow is not needed. Histograms of
            `"log_volume"` and `"total_correlation"` take singular values. Defaults to None: no files.
        sample: Inputs of the model as for `model.predict`, some hundred rows, to measure activations on, in inference
            mode, at the end of each epoch. Activations of recurrent layers are not measured. Defaults to None.

    Attributes:
        layers_logged: Tuple of `WeightEntropy`, one per layer, of the last epoch. `penalised` is False for a frozen
            layer, which Keras does not penalise.

    Raises:
        ValueError, TypeError: If an argument is invalid. In `fit`: if the placement finds no layer, or the sample does
            not fit the model.
        ModuleNotFoundError: If `log_dir` is given and tensorboard or matplotlib is not installed.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import DenseEntropy, EntropyLogger
        >>> model = keras.Sequential([
        ...     keras.Input((4,)), keras.layers.Dense(3, kernel_regularizer=DenseEntropy(1e-3), name="code")])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((8, 4)), np.ones((8, 3)), verbose=0, callbacks=[EntropyLogger()])
        >>> sorted(history.history)
        ['entropy/code', 'entropy_penalty', 'loss', 'task_loss']
    """

    def __init__(
        self,
        placement: Placement = None,
        measure: str = "log_volume",
        log_dir: str | os.PathLike[str] | None = None,
        sample: Any = None,
    ) -> None:
        super().__init__()
        _checks.one_of("measure", measure, (*profile.MEASURES, OF_TERM))
        if log_dir is not None:
            _files.local(log_dir, "log_dir")
            _optional.require("tensorboard", extra="tensorboard")
            _optional.require("matplotlib", extra="plot")
        self.placement = check_selectable(placement)
        self.measure = measure
        self.log_dir = log_dir
        self.sample = checked_sample(sample)
        self.layers_logged: tuple[WeightEntropy, ...] = ()
        self._reset()

    def _reset(self) -> None:
        self._tracking: _keras.Change | None = None
        self._writer: Any = None
        self._fitting = False
        self._warned: set[str] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> EntropyLogger:
        """Make a new logger with the same arguments; KerasTuner copies callbacks for each trial."""
        return type(self)(self.placement, self.measure, self.log_dir, self.sample)

    def set_model(self, model: Any) -> None:
        """Prepare the model; Keras calls this before it compiles the training step."""
        super().set_model(model)
        self._finish()
        if _keras.keeps_task_loss(model):
            return
        tracking = _keras.track_task_loss(model, self)
        if isinstance(tracking, str):
            self._warn("task_loss", f"EntropyLogger cannot log task_loss: {tracking}.")
        else:
            self._tracking = tracking

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Move the logger to the first place in the list of callbacks, and warn of monitors of the penalty."""
        self._fitting = True
        callback_list = _keras.callback_list_of(self)
        if callback_list is not None:
            # Keras is iterating over the old list, which must not change.
            siblings = [c for c in callback_list.callbacks if c is not self]
            callback_list.callbacks = [self, *(self._with_short_line(callback) for callback in siblings)]
            if any(isinstance(r, EntropyRegularizer) for r in regularizers_of(self.model)):
                _warn_of_penalised_monitors(siblings)
        if self.model.built:  # what does not fit the model raises now
            self._weights()
            if self.sample is not None:
                check_sample_fits(self.model, self.sample)
        if self.log_dir is not None:
            from keras_entropy.events import EventWriter

            self._writer = EventWriter(self.log_dir)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure the layers and add the entries to `logs`."""
        logs = {} if logs is None else logs
        weights, measure = self._weights(), None if self.measure == OF_TERM else self.measure
        self.layers_logged = tuple(
            profile.measure_weight(weight, measure, values=self._writer is not None) for weight in weights
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
                    f"EntropyLogger cannot log task_loss: the train_step or compute_loss of {name} does not use the "
                    "compiled loss, or, on JAX, not Keras's own step. If its loss leaves out `self.losses`, entropy "
                    "terms have no effect.",
                )
            self._check_penalty(logs)
            self._check_spacing(logs["task_loss"], logs["entropy_penalty"])
        if self._writer is not None:
            self._write_events(epoch, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the model."""
        self._finish()

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the model after `evaluate(callbacks=[...])`."""
        if not self._fitting:
            self._finish()

    on_predict_end = on_test_end

    def _finish(self) -> None:
        if self._tracking is not None:
            self._tracking.release()
        if self._writer is not None:
            self._writer.close()
        self._reset()

    def _weights(self) -> list[MeasurableWeight]:
        try:
            return select_weights(self.model, self.placement)
        except ValueError as error:
            if not isinstance(self.placement, tuple) or len(self.placement) > 1:
                raise
            raise ValueError(f"{error} For a log folder give log_dir={self.placement[0]!r}.") from error

    def _activations(self, weights: list[MeasurableWeight]) -> dict[str, float]:
        """Mean log slopes of activations, their sums with the entropies of kernels, and sigmoid entropies."""
        # A recurrent cell has several activations, inside a loop that the backend may have compiled.
        layers = {
            weight.layer_path: weight.layer
            for weight in weights
            if hasattr(weight.layer, "activation") and not hasattr(weight.layer, "recurrent_kernel")
        }
        if self.placement is None:
            layers |= {path: layer for path, layer in profile.walk(self.model) if isinstance(layer, EntropyActivation)}
        means = means_on_sample(self.model, layers, self.sample)
        found = {f"entropy/{path}/{name}": mean for path, of in means.items() for name, mean in of.items()}
        for entropy in self.layers_logged:
            slope = means.get(entropy.path, {}).get("activation")
            if slope is not None and entropy.measure not in ("total_correlation", "TotalCorrelation"):
                found[f"entropy/{entropy.path}/total"] = entropy.mean + slope
        return found

    def _with_short_line(self, callback: Any) -> Any:
        return _ShortLine(callback, self) if isinstance(callback, keras.callbacks.ProgbarLogger) else callback

    def _check_penalty(self, logs: dict[str, Any]) -> None:
        """Warn of a loss that never contains the penalty, as that of a `compute_loss` without `self.losses`."""
        penalty, difference = logs["entropy_penalty"], logs.get("loss", math.nan) - logs["task_loss"]
        rounding = 1e-5 * abs(logs["task_loss"])
        acts_each_step = all(getattr(term, "every", 1) == 1 for term in regularizers_of(self.model))
        if acts_each_step and abs(difference) <= rounding < _VISIBLE_PART * abs(penalty):
            name = type(self.model).__name__
            self._warn(
                "penalty",
                f"The loss of {name} does not contain the entropy penalty, {penalty:.4g}, so the terms have no effect. "
                "Add `sum(self.losses)` in its compute_loss or train_step.",
            )

    def _check_spacing(self, task_loss: float, penalty: float) -> None:
        spacing = float(np.spacing(np.float32(abs(penalty))))
        if penalty and math.isfinite(spacing) and spacing > _VISIBLE_CHANGE * abs(task_loss):
            self._warn(
                "spacing",
                f"The entropy penalty is {penalty:.4g} and the task loss {task_loss:.4g}. Float32 numbers near the "
                f"penalty are {spacing:.1g} apart, so `loss` and `val_loss` do not show that the task loss improves. "
                'Monitor "val_task_loss" with mode="min", or lower the factor.',
            )

    def _warn(self, topic: str, words: str) -> None:
        """Warn once per topic and call of `fit`."""
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


class FactorSchedule(keras.callbacks.Callback):
    """Multiply the factors of all entropy regularizers of the model by `schedule(epoch)`, each epoch.

    It works on every backend, compiled or not, and does not retrace the training step. It multiplies the
    `decision_weight` of a `DualDense` too. The multiplier depends only on the epoch, so a run that `BackupAndRestore`
    restores continues with the right one. It is logged as `entropy_multiplier`, and is not part of saved models. When
    `fit` ends, the regularizers keep the last multiplier as `regularizer.multiplier`, like an optimizer keeps a
    scheduled learning rate.

    Args:
        schedule: Function that takes the epoch, counted from 0, and returns a float. 0 turns the terms off.

    Raises:
        TypeError: If `schedule` is not a function of one argument. In `fit`: if it does not return a number.
        ValueError: In `fit`: if `schedule` returns NaN or an infinity, the model has no entropy regularizer, or another
            `FactorSchedule` acts on one.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import DenseEntropy, FactorSchedule
        >>> warm_up = FactorSchedule(lambda epoch: min(1.0, (epoch + 1) / 4))
        >>> dense = keras.layers.Dense(3, kernel_regularizer=DenseEntropy(1e-3))
        >>> model = keras.Sequential([keras.Input((4,)), dense])
        >>> model.compile("sgd", "mse")
        >>> history = model.fit(np.ones((8, 4)), np.ones((8, 3)), epochs=2, verbose=0, callbacks=[warm_up])
        >>> history.history["entropy_multiplier"]
        [0.25, 0.5]
    """

    def __init__(self, schedule: Callable[[int], float]) -> None:
        super().__init__()
        if not callable(schedule):
            raise TypeError(_checks.message("schedule", "a function of the epoch", schedule))
        with contextlib.suppress(ValueError):  # Python does not know the arguments of some built-in functions
            _check_takes_epoch(inspect.signature(schedule), schedule)
        self.schedule = schedule
        self._change: _keras.Change | None = None
        self._value = 1.0
        self._states: list[_keras.StepState] = []
        self._shared: list[EntropyRegularizer] = []

    def __deepcopy__(self, memo: dict[int, Any]) -> FactorSchedule:
        """Make a new callback with the same schedule; KerasTuner copies callbacks for each trial."""
        return type(self)(self.schedule)

    def set_model(self, model: Any) -> None:
        """Prepare the model; Keras calls this before it compiles the training step."""
        super().set_model(model)
        _keras.release_stale(model)
        if self._change is not None:
            self._change.release()
        regularizers = [r for r in regularizers_of(model) if isinstance(r, EntropyRegularizer)]
        if not regularizers:
            dual = any(isinstance(layer, DualDense) for layer in _keras.layers_of(model))
            remedy = "Set a `decision_weight` of its DualDense" if dual else "Attach one with apply_entropy"
            raise ValueError(f"FactorSchedule found no entropy regularizer in the model. {remedy} first.")
        self._value = math.nan
        self._shared = regularizers if all(regularizer.is_shared for regularizer in regularizers) else []
        if self._shared:  # the compiled step reads their factors
            return
        if any(isinstance(regularizer.multiplier, keras.Variable) for regularizer in regularizers):
            raise ValueError("Two FactorSchedules act on the same regularizer. Combine them into one.")
        before = [float(regularizer.multiplier) for regularizer in regularizers]
        self._states = [_keras.StepState(value, "entropy_multiplier") for value in before]
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
        """Set the multiplier."""
        value = _checks.number(f"schedule({epoch})", self.schedule(epoch))
        for state in self._states:
            state.state.assign(value)
        for regularizer in self._shared:
            regularizer.set_strength(regularizer.factor, value)
        self._value = value

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the multiplier."""
        if logs is not None:
            logs["entropy_multiplier"] = self._value

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the model; the regularizers keep the last multiplier."""
        if self._change is not None:
            self._change.release()


def _check_takes_epoch(signature: inspect.Signature, schedule: Any) -> None:
    try:
        signature.bind(0)
    except TypeError as error:
        remedy = "Let it take the epoch, such as `lambda epoch: 0.9**epoch`."
        raise TypeError(_checks.message("schedule", "a function of the epoch alone", schedule, remedy)) from error


class _ShortLine:
    """Keras's progress line without the entries of single layers."""

    def __init__(self, callback: keras.callbacks.Callback, logger: EntropyLogger) -> None:
        self._callback, self._logger = callback, logger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        layers = [entropy.mean for entropy in self._logger.layers_logged]
        shown = {name: value for name, value in logs.items() if not name.startswith("entropy/")}
        self._callback.on_epoch_end(epoch, shown | ({"entropy": float(np.mean(layers))} if layers else {}))


def watches_penalty(callback: Any) -> bool:
    """Whether a callback of Keras stops, saves or reduces the learning rate by a loss with the penalty."""
    monitors = isinstance(callback, keras.callbacks.EarlyStopping | keras.callbacks.ReduceLROnPlateau) or (
        isinstance(callback, keras.callbacks.ModelCheckpoint) and callback.save_best_only
    )
    return monitors and callback.monitor in PENALISED


def _warn_of_penalised_monitors(callbacks: list[keras.callbacks.Callback]) -> None:
    for callback in callbacks:
        if watches_penalty(callback):
            name = type(callback).__name__
            warnings.warn(
                f'{name}(monitor="{callback.monitor}") monitors the task loss plus the penalty, so a change of the '
                f'penalty alone can trigger it. Use {name}(monitor="val_task_loss", mode="min").',
                _checks.EntropyWarning,
                stacklevel=2,
            )
