"""A schedule of the factors of all entropy regularizers of a model."""

from __future__ import annotations

import contextlib
import copy
import inspect
import math
import warnings
from collections.abc import Callable
from typing import Any

import keras

from keras_entropy import _checks, _keras
from keras_entropy.callbacks.log_entries import LogEntries
from keras_entropy.layers import DualDense
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.sum import regularizers_of


class _Scheduled:
    """A regularizer whose multiplier is a state that compiled steps read."""

    def __init__(self, regularizer: EntropyRegularizer, model: Any) -> None:
        self.regularizer = regularizer
        self.value = float(keras.ops.convert_to_numpy(regularizer.multiplier))
        self._state = _keras.StepState(self.value, "entropy_multiplier", of_epoch=True)
        # Those that hold it: another model of theirs, such as the discriminator of a GAN, then reads the state too.
        self._layers = _holders(regularizer, model)
        for layer in self._layers:
            self._state.attach(layer)
        regularizer.multiplier = self._state.state

    @property
    def acts(self) -> bool:
        """Whether the regularizer reads this state, not that of another schedule."""
        return self.regularizer.multiplier is self._state.state

    def set(self, value: float) -> None:
        """Set the multiplier."""
        self._state.state.assign(value)
        self.value = value

    def release(self) -> None:
        """Take the state off the model; the regularizer keeps the value."""
        for layer in self._layers:
            self._state.detach(layer)
        if self.acts:
            self.regularizer.multiplier = self.value


def _holders(regularizer: EntropyRegularizer, model: Any) -> list[Any]:
    """Return the innermost layers that hold a regularizer."""
    found = {id(layer) for layer in _keras.layers_of(model) if any(r is regularizer for r in regularizers_of(layer))}
    layers = {id(layer): layer for layer in _keras.layers_of(model)}
    return [
        layer
        for key, layer in layers.items()
        if key in found and not any(id(inner) in found for inner in _keras.sublayers(layer))
    ]


class FactorSchedule(keras.callbacks.Callback):
    """Multiply the factors of all entropy regularizers of the model by `schedule(epoch)`, each epoch.

    It works on every backend, compiled or not, and does not retrace the training step. It multiplies the
    `decision_weight` of a `DualDense` and the factor of a `RepresentationEntropy` too, but no factor of a loss, such as
    `ViewEntropy`. The multiplier depends only on the epoch, so a run that `BackupAndRestore` restores continues with
    the right one. It is logged as `entropy_multiplier`, and is not part of saved models. When `fit` ends, the
    regularizers keep the last multiplier as `regularizer.multiplier`, like an optimizer keeps a scheduled learning
    rate.

    In a training loop of your own, call the hooks of the schedule from `on_train_begin` to `on_train_end`, or those of
    a `keras.callbacks.CallbackList` that has it. A loop on JAX that carries the variables of the model itself reads
    `model.non_trainable_variables` after `on_epoch_begin`. Models inside the model, such as the discriminator of a GAN,
    are trained with the multiplier too.

    Args:
        schedule: Function that takes the epoch, counted from 0, and returns a float. 0 turns the terms off; a
            number below 0 turns their direction around, with a warning.

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
        self._value = math.nan
        self._scheduled: list[_Scheduled] = []
        self._shared: list[EntropyRegularizer] = []
        self._models: list[Any] = []
        self._entries = LogEntries()

    def __deepcopy__(self, memo: dict[int, Any]) -> FactorSchedule:
        """Copy the callback without what a training left in it; KerasTuner copies callbacks for each trial."""
        memo |= {id(self.schedule): self.schedule, id(self.model): None}
        memo |= {id(left): [] for left in (self._scheduled, self._shared, self._models)}
        other = memo[id(self)] = copy.copy(self)
        other.__dict__.update(copy.deepcopy(self.__dict__, memo))
        return other

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Let the training step read the multiplier as a state."""
        self._release()  # what a training that ended by an exception has left
        regularizers = [r for r in regularizers_of(self.model) if isinstance(r, EntropyRegularizer)]
        if not regularizers:
            dual = any(isinstance(layer, DualDense) for layer in _keras.layers_of(self.model))
            remedy = "Set a `decision_weight` of its DualDense" if dual else "Attach one with apply_entropy"
            raise ValueError(f"FactorSchedule found no entropy regularizer in the model. {remedy} first.")
        self._shared = regularizers if all(regularizer.is_shared for regularizer in regularizers) else []
        if not self._shared:  # the compiled step reads their factors
            self._scheduled = [_Scheduled(regularizer, self.model) for regularizer in regularizers]
            self._models = [layer for layer in _keras.layers_of(self.model) if isinstance(layer, keras.Model)]
            self._rebuild()

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Set the multiplier."""
        if not self._scheduled and not self._shared:  # a loop without `on_train_begin`
            self.on_train_begin()
        if not all(scheduled.acts for scheduled in self._scheduled):
            self._release()
            raise ValueError("Two FactorSchedules act on the same regularizer. Combine them into one.")
        value = _checks.float32(f"schedule({epoch})", self.schedule(epoch))
        if value < 0 and not self._value < 0:
            warnings.warn(
                f"schedule({epoch}) of FactorSchedule is {value}: below 0, the terms act in the opposite direction and "
                "suppress the entropy that they rewarded. To turn them off, return max(0.0, ...).",
                _checks.EntropyWarning,
                stacklevel=2,
            )
        for scheduled in self._scheduled:
            scheduled.set(value)
        for regularizer in self._shared:
            regularizer.set_strength(regularizer.factor, value)
        self._value = value

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Log the multiplier."""
        if logs is not None and self._entries.add(logs, {"entropy_multiplier": self._value}):
            warnings.warn(
                "FactorSchedule does not log entropy_multiplier: the logs have an entry of that name. Rename the "
                "metric or output of the model.",
                _checks.EntropyWarning,
                stacklevel=2,
            )

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the model; the regularizers keep the last multiplier."""
        self._release()

    def _release(self) -> None:
        for scheduled in self._scheduled:
            scheduled.release()
        self._rebuild()
        self._scheduled, self._shared, self._models = [], [], []

    def _rebuild(self) -> None:
        for model in self._models:
            _keras.rebuild_step_functions(model)


def _check_takes_epoch(signature: inspect.Signature, schedule: Any) -> None:
    try:
        signature.bind(0)
    except TypeError as error:
        remedy = "Let it take the epoch, such as `lambda epoch: 0.9**epoch`."
        raise TypeError(_checks.message("schedule", "a function of the epoch alone", schedule, remedy)) from error
