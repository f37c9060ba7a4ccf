"""The one place that reaches for what Keras does not export."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import keras
from keras import ops

Layer = Any
Model = Any


def sublayers(layer: Layer) -> list[Layer]:
    """The direct sublayers of a layer or model, in the order in which they were added."""
    return list(layer._layers)


def own_variables(layer: Layer) -> list[Any]:
    """The weights that a layer holds itself, not through a sublayer."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def rebuild_step_functions(model: Model) -> None:
    """Make the next training and test step be traced anew. Not for use between `on_train_begin` and the end of fit."""
    model.train_function = None
    model.test_function = None


def callback_list_of(callback: keras.callbacks.Callback) -> keras.callbacks.CallbackList | None:
    """The `CallbackList` that is calling `callback` now. Keras tells a callback its model, not its siblings."""
    frame = inspect.currentframe()
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and callback in caller.callbacks:
            return caller
        frame = frame.f_back
    return None


def call_when_gone(owner: object | None, function: Callable[[], None]) -> None:
    """Call `function` when `owner` is garbage: how a callback learns that `fit` ended by an exception."""
    if owner is not None:
        weakref.finalize(owner, function).atexit = False


class _TaskLoss(keras.metrics.Mean):
    """A mean that is NaN, not 0, where nothing was counted."""

    def result(self) -> Any:
        return self.total / self.count


class TaskLossTracker:
    """While attached, `model` reports the compiled loss without penalties as a metric named `task_loss`.

    It listens at `CompileLoss.call`, which every backend calls once a step inside the compiled function, so
    outputs, loss weights, sample weights and reductions are Keras's own. Nothing that trains is touched.
    """

    NAME = "task_loss"

    def __init__(self, model: Model) -> None:
        self._model = model
        self._compile_loss: Any = None

    def attach(self) -> str | None:
        """Start reporting; or return the reason why it is not possible."""
        compile_loss = getattr(self._model, "_compile_loss", None)
        if compile_loss is None:
            return "the model is compiled without a loss"
        stale = vars(compile_loss).get("_keras_entropy_tracker")
        if stale is not None:
            stale.detach()
        metric = _TaskLoss(name=self.NAME)
        self._model._metrics.append(metric)
        if not any(m is metric for m in self._model.metrics):  # a subclass lists its metrics itself
            self._model._metrics.remove(metric)
            return f"{type(self._model).__name__}.metrics is overridden and leaves out metrics of callbacks"
        original = compile_loss.call

        def call(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
            value = original(y_true, y_pred, sample_weight)
            metric.update_state(value, sample_weight=ops.shape(keras.tree.flatten(y_pred)[0])[0])
            return value

        compile_loss.call = call
        compile_loss._keras_entropy_tracker = self
        self._compile_loss, self._metric = compile_loss, metric
        rebuild_step_functions(self._model)
        return None

    def detach(self) -> None:
        """Leave the model as it was."""
        if self._compile_loss is None:
            return
        del self._compile_loss.call, self._compile_loss._keras_entropy_tracker
        self._model._metrics[:] = [m for m in self._model._metrics if m is not self._metric]
        rebuild_step_functions(self._model)
        self._compile_loss = None


class StepState:
    """A number that compiled training steps read and that is not a weight.

    Keras maps the state of seed generators into every step on all backends and saves it nowhere; on JAX no
    other untracked variable can be read inside one.
    """

    def __init__(self, value: float, name: str) -> None:
        self.state = keras.Variable(value, trainable=False, dtype="float32", name=name)

    def attach(self, model: Model) -> None:
        """Let the steps of `model` see the state."""
        model._seed_generators.append(self)
        rebuild_step_functions(model)

    def detach(self, model: Model) -> float:
        """Leave the model as it was; return the present value."""
        model._seed_generators[:] = [generator for generator in model._seed_generators if generator is not self]
        rebuild_step_functions(model)
        return float(ops.convert_to_numpy(self.state))


def regularizers_of(model: Model) -> Iterator[Any]:
    """All regularizer objects of a model's layers and variables, each once, built or not."""
    seen: set[int] = set()
    stack = [model]
    while stack:
        layer = stack.pop()
        stack.extend(sublayers(layer))
        held = [*vars(layer).values(), *(getattr(v, "regularizer", None) for v in own_variables(layer))]
        for value in held:
            if isinstance(value, keras.Regularizer) and id(value) not in seen:
                seen.add(id(value))
                yield value
