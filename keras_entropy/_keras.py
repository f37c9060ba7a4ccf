"""The one place that reaches for what Keras does not export."""

from __future__ import annotations

import contextlib
import functools
import inspect
import weakref
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

import keras
from keras import ops
from keras.src.applications import convnext
from keras.src.backend import get_keras_mask, get_stateless_scope, in_stateless_scope
from keras.src.backend.common import global_state
from keras.src.losses.loss import scale_loss_for_distribution, unscale_loss_for_distribution

Layer = Any
Model = Any
LayerScale = convnext.LayerScale
mask_of = get_keras_mask
scale_loss = scale_loss_for_distribution


def sublayers(layer: Layer) -> list[Layer]:
    """The direct sublayers of a layer or model, in the order in which they were added."""
    return list(layer._layers)


def layers_of(layer: Layer) -> Iterator[Layer]:
    """A layer or model and all layers in it, to any depth."""
    stack = [layer]
    while stack:
        layer = stack.pop()
        stack.extend(sublayers(layer))
        yield layer


@contextlib.contextmanager
def fresh_names() -> Iterator[None]:
    """Within the block automatic names of layers are counted from the start, whatever the process has built before."""
    counted = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", counted)


def own_variables(layer: Layer) -> list[Any]:
    """The weights that a layer holds itself, not through a sublayer."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def graph_of(layer: Any) -> Any:
    """The graph of a functional or built sequential model, with `inputs` and `outputs`; None for anything else."""
    if isinstance(layer, keras.Sequential):
        return layer._functional
    functional = isinstance(layer, keras.Model) and hasattr(layer, "_nodes") and hasattr(layer, "operations")
    return layer if functional else None


def nodes_of(graph: Any) -> list[Any]:
    """The calls that a graph consists of, those of the inputs first."""
    return [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]


def attention_projections(layer: Layer) -> Iterator[tuple[Layer, int]]:
    """The projections of an attention layer, and the axis of each kernel that counts the heads."""
    if isinstance(layer, keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention):
        for name, axis in (("query", 1), ("key", 1), ("value", 1), ("gate", 1), ("output", 0)):
            projection = getattr(layer, f"_{name}_dense", None)
            if projection is not None:
                yield projection, axis


def rebuild_step_functions(model: Model) -> None:
    """Make the next training and test step be traced anew. Not for use between `on_train_begin` and the end of fit."""
    model.train_function = None
    model.test_function = None


def callback_list_of(callback: keras.callbacks.Callback) -> keras.callbacks.CallbackList | None:
    """The `CallbackList` that is calling `callback` now. Keras tells a callback its model, not its siblings."""
    for frame in frames():
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and callback in caller.callbacks:
            return caller
    return None


def frames() -> Iterator[FrameType]:
    """The Python frames that are running now, innermost first."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def is_fitting(model: Model) -> bool:
    """Whether `fit` or `evaluate` of a model is running in this thread."""
    return any(f.f_code.co_name in ("fit", "evaluate") and f.f_locals.get("self") is model for f in frames())


def is_inside_fit(layer: Layer) -> bool:
    """Whether `fit` or `evaluate` of a model that holds a layer is running in this thread."""
    running = (f.f_locals.get("self") for f in frames() if f.f_code.co_name in ("fit", "evaluate"))
    return any(isinstance(model, keras.Model) and any(x is layer for x in layers_of(model)) for model in running)


def models_tracing(x: Any) -> Iterator[Model]:
    """The models that are being called now, if it is to trace a compiled step in which `x` is a tensor."""
    if keras.backend.backend() == "jax":
        import jax

        tracing = isinstance(x, jax.core.Tracer)
    elif keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tracing = not tf.executing_eagerly()
    else:
        tracing = False  # torch compiles anew by itself where an attribute has changed
    callers = (frame.f_locals.get("self") for frame in frames()) if tracing else ()
    return (caller for caller in callers if isinstance(caller, keras.Model))


class Change:
    """A change to a model that must not outlive the `fit` that made it.

    `fit` tells callbacks when it ends, but not when it ends by an exception. A change left over by such a fit
    is undone when the fit's callbacks are garbage; if a traceback still holds them, when the model is next
    trained or evaluated, before anything is compiled.

    Args:
        model: the model.
        callback: the callback that makes the change, called by Keras now.
        undo: function that takes the change back.
    """

    _MAKERS = ("make_train_function", "make_test_function")

    def __init__(self, model: Model, callback: keras.callbacks.Callback, undo: Callable[[], None]) -> None:
        release_stale(model)
        owner = callback_list_of(callback)
        self._model = model
        self._owner = None if owner is None else weakref.ref(owner)
        self._undo: Callable[[], None] | None = undo
        changes = model.__dict__.get("_keras_entropy_changes")
        if changes is None:
            changes = model.__dict__["_keras_entropy_changes"] = []  # past Keras's tracking of attributes
            for name in self._MAKERS:
                model.__dict__[name] = functools.partial(_make_function, weakref.ref(model), name)
        changes.append(self)
        if owner is not None:
            weakref.finalize(owner, self.release).atexit = False
        rebuild_step_functions(model)

    def release(self) -> None:
        """Undo the change, once."""
        if self._undo is None:
            return
        undo, self._undo = self._undo, None
        undo()
        changes = self._model.__dict__["_keras_entropy_changes"]
        changes.remove(self)
        if not changes:
            for name in ("_keras_entropy_changes", *self._MAKERS):
                del self._model.__dict__[name]
        rebuild_step_functions(self._model)

    @property
    def stale(self) -> bool:
        """Whether the fit that made the change is no longer running in this thread."""
        owner = None if self._owner is None else self._owner()
        return owner is None or not any(
            value is owner
            for frame in frames()
            for value in (frame.f_locals.get("callbacks"), frame.f_locals.get("self"))
        )


def release_stale(model: Model) -> None:
    """Undo what fits that ended by an exception left on a model."""
    for change in list(model.__dict__.get("_keras_entropy_changes", ())):
        if change.stale:
            change.release()


def _make_function(model: weakref.ref[Model], name: str, *args: Any, **kwargs: Any) -> Any:
    """Stands before `Model.make_train_function` and `make_test_function` while a model is changed."""
    release_stale(model())
    return getattr(type(model()), name)(model(), *args, **kwargs)


class _TaskLoss(keras.metrics.Mean):
    """A mean that only `record` feeds, and that is NaN, not 0, where nothing was recorded."""

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: a training step of the user's own may call it on every metric of the model."""

    def record(self, value: Any, samples: Any) -> None:
        """Count the mean loss of a batch."""
        if self._has_value():
            super().update_state(value, sample_weight=samples)

    def result(self) -> Any:
        return self.total / self.count

    def _has_value(self) -> bool:
        """False on JAX inside a training step that does not map the metrics' variables."""
        scope = get_stateless_scope() if in_stateless_scope() else None
        mapped = scope is not None and scope.get_current_value(self.total) is not None
        return mapped or self.total._value is not None


def track_task_loss(model: Model, callback: keras.callbacks.Callback) -> Change | str:
    """Let `model` report the compiled loss without penalties as a metric named `task_loss`.

    It listens at `CompileLoss.call`, which every backend calls once a step inside the compiled function, so
    outputs, loss weights, sample weights and reductions are Keras's own. Nothing that trains is touched.

    Returns:
        The change, to be released; or the reason why it is not possible.
    """
    release_stale(model)
    compile_loss = getattr(model, "_compile_loss", None)
    if compile_loss is None:
        return "the model is compiled without a loss"
    if "call" in vars(compile_loss):
        return "another EntropyLogger of this fit does"
    user_metrics = getattr(model._compile_metrics, "_user_metrics", None)
    if any(getattr(metric, "name", metric) == "task_loss" for metric in keras.tree.flatten(user_metrics)):
        return "the model has a metric of that name"
    metric = _TaskLoss(name="task_loss")
    model._metrics.append(metric)
    if not any(m is metric for m in model.metrics):
        model._metrics.remove(metric)
        return f"{type(model).__name__}.metrics is overridden and leaves out metrics of callbacks"
    original = compile_loss.call

    def call(y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        value = original(y_true, y_pred, sample_weight)
        samples = ops.shape(keras.tree.flatten(y_pred)[0])[0]
        metric.record(unscale_loss_for_distribution(value), samples)
        return value

    compile_loss.call = call

    def undo() -> None:
        del compile_loss.call
        model._metrics[:] = [m for m in model._metrics if m is not metric]

    return Change(model, callback, undo)


class StepState:
    """A number that compiled training steps read and that is not a weight.

    Keras maps the state of seed generators into every step on all backends and saves it nowhere; on JAX no
    other untracked variable can be read inside one.
    """

    def __init__(self, value: float, name: str) -> None:
        self.state = keras.Variable(
            # A function, since a number cannot be given to a variable that is made while Keras tries a model out.
            lambda shape, dtype: ops.full(shape, value, dtype=dtype),
            shape=(),
            trainable=False,
            dtype="float32",
            name=name,
            aggregation="only_first_replica",
        )

    def attach(self, model: Model) -> None:
        """Let the steps of a model or layer see the state."""
        model._seed_generators.append(self)

    def detach(self, model: Model) -> None:
        """Leave the model as it was."""
        model._seed_generators[:] = [generator for generator in model._seed_generators if generator is not self]


def infer(model: Model, x: Any) -> Any:
    """The outputs of a model in inference mode, computed eagerly."""
    return model(x, training=False) if model._call_has_training_arg else model(x)


@functools.cache
def activity_losses_are_divided() -> bool:
    """Whether this version of Keras divides what an activity regularizer returns by the size of the batch."""
    layer = keras.layers.Identity(activity_regularizer=lambda x: ops.cast(1.0, x.dtype), name="probe", dtype="float32")
    layer(ops.ones((2, 1)))
    return float(ops.convert_to_numpy(layer.losses[0])) != 1.0


def members(regularizer: Any) -> tuple[Any, ...]:
    """The regularizers that a regularizer is the sum of; itself, if it is no sum; none for None."""
    if regularizer is None:
        return ()
    return tuple(getattr(regularizer, "_keras_entropy_members", (regularizer,)))


def regularizers_of(model: Model) -> Iterator[Any]:
    """All regularizer objects of a model's layers and variables, each once, built or not."""
    seen: set[int] = set()
    for layer in layers_of(model):
        held = [*vars(layer).values(), *(getattr(v, "regularizer", None) for v in own_variables(layer))]
        for member in (member for value in held for member in members(value)):
            if isinstance(member, keras.Regularizer) and id(member) not in seen:
                seen.add(id(member))
                yield member
