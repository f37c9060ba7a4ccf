"""A callback that logs entropies and the loss without penalties."""

from __future__ import annotations

import copy
import math
import os
import warnings
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks, _files, _keras, _optional, profile
from keras_entropy.callbacks.log_entries import LogEntries
from keras_entropy.callbacks.monitors import warn_of_penalised_monitors
from keras_entropy.callbacks.task_loss import TaskLossReader
from keras_entropy.layers import EntropyActivation
from keras_entropy.placement.resolution import Placement, check_selectable, select_weights
from keras_entropy.profile import MeasurableWeight, Selection, WeightEntropy
from keras_entropy.profile.activation_means import ActivationMeans
from keras_entropy.profile.representations import (
    Representation,
    Representations,
    check_representations,
    layers_with_representations,
)
from keras_entropy.profile.sample import SamplePass, check_sample_fits, checked_sample
from keras_entropy.profile.weights import layers_with_idle_terms
from keras_entropy.regularizers import EntropyRegularizer
from keras_entropy.regularizers.sum import regularizers_of

_VISIBLE_CHANGE = 1e-3
"""Relative change of the task loss that a monitor of `val_loss` should see; near convergence an epoch makes one."""

_VISIBLE_PART = 0.1
"""Part of the penalty that the difference of `loss` and `task_loss` shows, whatever the penalty did in the epoch."""

OF_TERM = "term"
"""Measure of a log in which each layer has the quantity of its own term."""


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
    * `representation/<layer path>/entropy`, with `representations`: entropy of the layer's outputs on the sample, in
      nats per dimension (`functional.gaussian_entropy`), log(0.01) / 2 = -2.303 if all are equal or very small;
      `representation/<layer path>/effective_rank`: the number of dimensions that they use, near 1 if they fall onto a
      line; `representation/<layer path>/dead`: the part of the dimensions that never changes;
    * `entropy_penalty`: sum of the entropy penalties of all kernels at the end of the epoch. Penalties of activations,
      which depend on the data, are part of `loss` only;
    * `task_loss` and, where there is validation, `val_task_loss`: compiled loss without any penalty, averaged like
      Keras's `loss`.

    Keras's progress line shows `entropy`, the mean over the layers, in place of the entries of single layers: the
    logger hands a shorter copy of `logs` to `keras.callbacks.ProgbarLogger`.

    To stop, save or reduce the learning rate by the task alone, give Keras's callbacks
    `monitor="val_task_loss", mode="min"`. The logger does not change training: weights, history and results of
    `evaluate` and `train_on_batch` are bit-identical to those without it. When `fit` ends, the model is as it was
    before. An entry whose name a metric or an output of the model has is left out, with a warning.

    In a training loop of your own, call the hooks of the logger from `on_train_begin` to `on_train_end`, or those of a
    `keras.callbacks.CallbackList` that has it. `task_loss` is then the mean over the training samples since
    `on_epoch_begin`. For `val_task_loss`, give `evaluate` the list, `callbacks=callback_list`.

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
        sample: Inputs of the model, some hundred rows, to measure activations on, in inference mode, at the end of each
            epoch: arrays, tables of pandas or sparse matrices of SciPy, as for `model.predict`. A model of a fixed
            batch size is called on whole batches alone. Activations of recurrent layers are not measured, nor, on JAX,
            layers inside what it compiles: `ops.scan`, `ops.cond`, `ops.vectorized_map`, `RematScope`. Defaults to
            None.
        representations: Layers whose outputs on the sample are measured: `"all"`, a name or a glob on layer paths such
            as `"encoder/*"`, several of them, or a predicate on layers; see `profile.select`. More rows than
            units are needed to see the entropy of all of them. On a small CNN with 1,797 training images, `"all"` on a
            sample of 500 rows added 2 % (torch) and 7 % (TensorFlow) to the processor time of an epoch; the activations
            of the sample, which are always measured, 17 and 37 %. Defaults to None.

    Attributes:
        layers_logged: Tuple of `WeightEntropy`, one per layer, of the last epoch. `penalised` is False for a frozen
            layer, which Keras does not penalise.
        representations_logged: Tuple of `Representation`, one per layer of `representations`, of the last epoch, with
            the numbers of vectors and dimensions.

    Raises:
        ValueError, TypeError: If an argument is invalid. In `fit`: if the placement finds no layer, or the sample does
            not fit the model.
        NotADirectoryError: If `log_dir` is a file.
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
        representations: Selection = None,
    ) -> None:
        super().__init__()
        _checks.one_of("measure", measure, (*profile.MEASURES, OF_TERM))
        if log_dir is not None:
            if _files.local(log_dir, "log_dir").is_file():
                raise NotADirectoryError(_checks.message("log_dir", "a folder", str(log_dir), "This is a file."))
            _optional.require("tensorboard", extra="tensorboard")
            _optional.require("matplotlib", extra="plot")
        self.placement = check_selectable(placement)
        self.measure = measure
        self.log_dir = log_dir
        self.sample = checked_sample(sample)
        self.representations = check_representations(representations, self.sample)
        self.layers_logged: tuple[WeightEntropy, ...] = ()
        self.representations_logged: tuple[Representation, ...] = ()
        self._task_loss: TaskLossReader | None = None
        self._validation: float | None = None
        self._writer: Any = None
        self._training = False
        self._entries = LogEntries()
        self._warned: set[str] = set()

    def __deepcopy__(self, memo: dict[int, Any]) -> EntropyLogger:
        """Copy the logger without what a training left in it; KerasTuner copies callbacks for each trial."""
        memo |= {id(shared): shared for shared in (self.sample, self.placement, self.representations)}
        memo |= {id(left): None for left in (self.model, self._task_loss, self._writer)}
        other = memo[id(self)] = copy.copy(self)
        other.__dict__.update(copy.deepcopy(self.__dict__, memo))
        other._finish()
        other.layers_logged, other.representations_logged, other._entries = (), (), LogEntries()
        return other

    def on_train_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Move the logger to the first place in the list of callbacks, and warn of monitors of the penalty."""
        self._finish()  # what a training that ended by an exception has left
        self._training = True
        self._find_task_loss()
        callback_list = _keras.callback_list_of(self)
        if callback_list is not None:
            # Keras is iterating over the old list, which must not change.
            siblings = [c for c in callback_list.callbacks if c is not self]
            callback_list.callbacks = [self, *(self._with_short_line(callback) for callback in siblings)]
            if any(isinstance(r, EntropyRegularizer) for r in regularizers_of(self.model)):
                warn_of_penalised_monitors(siblings)
        if self.model.built:  # what does not fit the model raises now
            self._warn_of_idle_terms()
            self._weights()
            if self.sample is not None:
                check_sample_fits(self.model, self.sample)
            if self.representations is not None:
                layers_with_representations(self.model, self.representations)
        if self.log_dir is not None:
            from keras_entropy.events import EventWriter

            self._writer = EventWriter(self.log_dir)

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Begin to average the task loss."""
        self._validation = None
        self._find_task_loss()  # the model may have been compiled again
        if self._task_loss is not None:
            self._task_loss.begin_epoch()

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Measure the layers and add the entries to `logs`."""
        logs = {} if logs is None else logs
        self._warn_of_idle_terms()
        weights, measure = self._weights(), None if self.measure == OF_TERM else self.measure
        self.layers_logged = tuple(
            profile.measure_weight(weight, measure, values=self._writer is not None) for weight in weights
        )
        entries = {f"entropy/{entropy.path}": entropy.mean for entropy in self.layers_logged}
        if self.sample is not None:
            entries |= self._entries_on_sample(weights)
        entries["entropy_penalty"] = profile.penalty(self.model)
        if self._task_loss is not None:
            entries["task_loss"] = self._task_loss.training_mean()
            self._check_task_loss(entries, logs.get("loss", math.nan))
            if self._validation is not None:
                entries["val_task_loss"] = self._validation
        taken = self._entries.add(logs, entries)
        if taken:
            self._warn(
                "taken",
                f"EntropyLogger does not log {', '.join(taken)}: the logs have entries of these names. Rename the "
                "metric or output of the model, or remove the other EntropyLogger.",
            )
        if self._writer is not None:
            self._write_events(epoch, logs)

    def on_train_end(self, logs: dict[str, Any] | None = None) -> None:
        """Restore the model."""
        self._finish()

    def on_test_begin(self, logs: dict[str, Any] | None = None) -> None:
        """Add the task loss to the results of `evaluate(callbacks=[...])` outside of training."""
        if not self._training:
            self._find_task_loss()
            if self._task_loss is not None:
                self._task_loss.metric.in_results = True

    def on_test_end(self, logs: dict[str, Any] | None = None) -> None:
        """Keep the task loss of the validation in training; restore the model outside of it."""
        if not self._training:
            self._finish()
        elif self._task_loss is not None:
            self._validation = self._task_loss.current_mean()
            self._task_loss.leave_out()

    def _find_task_loss(self) -> None:
        found = _keras.task_loss(self.model)
        if isinstance(found, str):
            self._warn("task_loss", f"EntropyLogger cannot log task_loss: {found}.")
        elif self._task_loss is None or self._task_loss.metric is not found:
            self._task_loss = TaskLossReader(self.model, found)

    def _finish(self) -> None:
        if self._task_loss is not None:
            self._task_loss.close()
        if self._writer is not None:
            self._writer.close()
        self._task_loss, self._writer, self._training = None, None, False
        self._warned.clear()

    def _weights(self) -> list[MeasurableWeight]:
        try:
            return select_weights(self.model, self.placement)
        except ValueError as error:
            if not isinstance(self.placement, tuple) or len(self.placement) > 1:
                raise
            raise ValueError(f"{error} For a log folder give log_dir={self.placement[0]!r}.") from error

    def _entries_on_sample(self, weights: list[MeasurableWeight]) -> dict[str, float]:
        """Measure activations and representations in one pass of the sample."""
        sample_pass, chosen = SamplePass(), self.representations
        activations = ActivationMeans(sample_pass, self._with_activation(weights))
        layers = {} if chosen is None else layers_with_representations(self.model, chosen)
        representations = Representations(sample_pass, layers)
        sample_pass.run(self.model, self.sample)
        self.representations_logged = representations.measured()
        entries = self._slopes(activations.means())
        for found in self.representations_logged:
            for name in ("entropy", "effective_rank", "dead"):
                entries[f"representation/{found.path}/{name}"] = getattr(found, name)
        return entries

    def _with_activation(self, weights: list[MeasurableWeight]) -> dict[str, Any]:
        # A recurrent cell has several activations, inside a loop that the backend may have compiled.
        layers = {
            weight.layer_path: weight.layer
            for weight in weights
            if hasattr(weight.layer, "activation") and not hasattr(weight.layer, "recurrent_kernel")
        }
        if self.placement is None:
            layers |= {path: layer for path, layer in profile.walk(self.model) if isinstance(layer, EntropyActivation)}
        return layers

    def _slopes(self, means: dict[str, dict[str, float]]) -> dict[str, float]:
        """Mean log slopes of activations, their sums with the entropies of kernels, and sigmoid entropies."""
        found = {f"entropy/{path}/{name}": mean for path, of in means.items() for name, mean in of.items()}
        for entropy in self.layers_logged:
            slope = means.get(entropy.path, {}).get("activation")
            if slope is not None and entropy.measure not in ("total_correlation", "TotalCorrelation"):
                found[f"entropy/{entropy.path}/total"] = entropy.mean + slope
        return found

    def _with_short_line(self, callback: Any) -> Any:
        return _ShortLine(callback, self) if isinstance(callback, keras.callbacks.ProgbarLogger) else callback

    def _check_task_loss(self, entries: dict[str, float], loss: float) -> None:
        task_loss, penalty, name = entries["task_loss"], entries["entropy_penalty"], type(self.model).__name__
        if math.isnan(task_loss) and math.isfinite(loss):
            self._warn(
                "task_loss",
                f"EntropyLogger cannot log task_loss: the train_step or compute_loss of {name} does not use the "
                "compiled loss, or, on JAX, not Keras's own step. If its loss leaves out `self.losses`, entropy "
                "terms have no effect.",
            )
        acts_each_step = all(getattr(term, "every", 1) == 1 for term in regularizers_of(self.model))
        if acts_each_step and abs(loss - task_loss) <= 1e-5 * abs(task_loss) < _VISIBLE_PART * abs(penalty):
            self._warn(
                "penalty",
                f"The loss of {name} does not contain the entropy penalty, {penalty:.4g}, so the terms have no effect. "
                "Add `sum(self.losses)` in its compute_loss or train_step.",
            )
        spacing = float(np.spacing(np.float32(abs(penalty))))
        if penalty and math.isfinite(spacing) and spacing > _VISIBLE_CHANGE * abs(task_loss):
            self._warn(
                "spacing",
                f"The entropy penalty is {penalty:.4g} and the task loss {task_loss:.4g}. Float32 numbers near the "
                f"penalty are {spacing:.1g} apart, so `loss` and `val_loss` do not show that the task loss improves. "
                'Monitor "val_task_loss" with mode="min", or lower the factor.',
            )

    def _warn_of_idle_terms(self) -> None:
        idle = layers_with_idle_terms(self.model)
        if idle:
            self._warn(
                "idle",
                f"The entropy regularizers of quantised layers have no effect: {_checks.printable(', '.join(idle))}. "
                "Train the model with them before it is quantised.",
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


class _ShortLine:
    """Keras's progress line without the entries of single layers."""

    def __init__(self, callback: keras.callbacks.Callback, logger: EntropyLogger) -> None:
        self._callback, self._logger = callback, logger

    def __getattr__(self, name: str) -> Any:
        return getattr(self._callback, name)

    def on_epoch_end(self, epoch: int, logs: dict[str, Any]) -> None:
        layers = [entropy.mean for entropy in self._logger.layers_logged]
        shown = {name: value for name, value in logs.items() if not name.startswith(("entropy/", "representation/"))}
        self._callback.on_epoch_end(epoch, shown | ({"entropy": float(np.mean(layers))} if layers else {}))
