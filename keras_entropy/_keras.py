"""The one file that touches private names of Keras: what a model, a layer or `fit` knows but does not export.

`tests/test_keras_names.py` lists each private name with its purpose and fails first when Keras moves one.

Some functions look at the Python frames that are running. Keras calls a regularizer with a variable alone, and a
callback with a model alone; which model, which step and which other callbacks are there, only the caller knows.
"""

from __future__ import annotations

import contextlib
import inspect
import random
import weakref
from collections.abc import Iterator
from types import FrameType
from typing import Any

import keras
import numpy as np
from keras import ops
from keras.src.applications import convnext
from keras.src.backend import get_keras_mask, get_stateless_scope, in_stateless_scope
from keras.src.backend.common import global_state
from keras.src.layers.rnn import conv_lstm
from keras.src.losses.loss import scale_loss_for_distribution, unscale_loss_for_distribution
from keras.src.models.functional import Functional
from keras.src.random import seed_generator

from keras_entropy import _backend

Layer = Any
Model = Any
LayerScale = convnext.LayerScale
ConvLSTMCell = conv_lstm.ConvLSTMCell
mask_of = get_keras_mask
scale_loss = scale_loss_for_distribution


# Layers


def sublayers(layer: Layer) -> list[Layer]:
    """Return the direct sublayers of a layer or model, in the order in which they were added."""
    return list(layer._layers)


def layers_of(layer: Layer) -> Iterator[Layer]:
    """Yield a layer or model and all layers in it, to any depth."""
    stack = [layer]
    while stack:
        layer = stack.pop()
        stack.extend(sublayers(layer))
        yield layer


def own_variables(layer: Layer) -> list[Any]:
    """Return the weights that a layer holds itself, not through a sublayer."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]


def stored_weight(layer: Layer, name: str) -> Any:
    """Return the attribute `name` of a layer; the variable, where the attribute shows it with its low-rank adapters."""
    private = getattr(layer, f"_{name}", None)
    return private if isinstance(private, keras.Variable) else getattr(layer, name)


def low_rank_adapters(layer: Layer, name: str) -> tuple[Any, ...]:
    """Return the two low-rank adapters of a weight of a layer; none if it has none."""
    enabled = getattr(layer, "lora_enabled", False) and hasattr(layer, f"lora_{name}_a")
    return (getattr(layer, f"lora_{name}_a"), getattr(layer, f"lora_{name}_b")) if enabled else ()


def attention_projections(layer: Layer) -> Iterator[tuple[Layer, int]]:
    """Yield the projections of an attention layer, each with the axis of its kernel that counts the heads."""
    if isinstance(layer, keras.layers.MultiHeadAttention | keras.layers.GroupQueryAttention):
        for name, axis in (("query", 1), ("key", 1), ("value", 1), ("gate", 1), ("output", 0)):
            projection = getattr(layer, f"_{name}_dense", None)
            if projection is not None:
                yield projection, axis


def logits_before(y_pred: Any) -> Any:
    """Return the logits of which a sigmoid or softmax of Keras made `y_pred`; None if unknown, as always on JAX."""
    return getattr(y_pred, "_keras_logits", None)


@contextlib.contextmanager
def fresh_names() -> Iterator[None]:
    """Count the automatic names of layers from the start in this context, whatever the process has built before."""
    counted = global_state.get_global_attribute("object_name_uids")
    global_state.set_global_attribute("object_name_uids", None)
    try:
        yield
    finally:
        global_state.set_global_attribute("object_name_uids", counted)


@contextlib.contextmanager
def default_seeds_from(seed: int) -> Iterator[None]:
    """Draw the seeds of layers without a seed as after `random.seed(seed)`, whatever other threads draw."""
    before = seed_generator.python_random
    seed_generator.python_random = random.Random(seed)
    try:
        yield
    finally:
        seed_generator.python_random = before


# Graphs of models


def graph_of(layer: Layer) -> Any:
    """Return the graph of a functional or built sequential model, with `inputs` and `outputs`; None for others."""
    if isinstance(layer, keras.Sequential):
        return layer._functional
    return layer if isinstance(layer, Functional) else None


def is_plain(model: Model) -> bool:
    """Whether a model is sequential or functional and no subclass, so that it does what its layers show."""
    return type(model) in (keras.Sequential, keras.Model, Functional)


def nodes_of(graph: Any) -> list[Any]:
    """Return the calls that a graph consists of, those of the inputs first."""
    return [node for depth in sorted(graph._nodes_by_depth, reverse=True) for node in graph._nodes_by_depth[depth]]


def origin_of(tensor: Any) -> tuple[Any, int]:
    """Return the call that computes a symbolic tensor, and the position of the tensor among its outputs."""
    operation, node_index, tensor_index = tensor._keras_history
    return operation._inbound_nodes[node_index], tensor_index


def call_count(layer: Layer) -> int:
    """Return how often a layer is called in functional models."""
    return len(layer._inbound_nodes)


# Calls that are running


def _frames() -> Iterator[FrameType]:
    """Yield the Python frames that are running, innermost first."""
    frame = inspect.currentframe()
    while frame is not None:
        yield frame
        frame = frame.f_back


def callback_list_of(callback: keras.callbacks.Callback) -> keras.callbacks.CallbackList | None:
    """Return the `CallbackList` that is calling `callback`, with its siblings."""
    for frame in _frames():
        caller = frame.f_locals.get("self")
        if isinstance(caller, keras.callbacks.CallbackList) and callback in caller.callbacks:
            return caller
    return None


def is_fitting(model: Model) -> bool:
    """Whether `fit` or `evaluate` of a model is running in this thread."""
    return any(f.f_code.co_name in ("fit", "evaluate") and f.f_locals.get("self") is model for f in _frames())


def is_inside_fit(layer: Layer) -> bool:
    """Whether `fit` or `evaluate` of a model that holds a layer is running in this thread."""
    running = (f.f_locals.get("self") for f in _frames() if f.f_code.co_name in ("fit", "evaluate"))
    return any(isinstance(model, keras.Model) and any(x is layer for x in layers_of(model)) for model in running)


def is_in_train_step() -> bool:
    """Whether the `train_step` of a model is running or being traced, not its `test_step`."""
    names = (frame.f_code.co_name for frame in _frames())
    return next((name for name in names if name in ("train_step", "test_step")), None) == "train_step"


def models_tracing(x: Any) -> Iterator[Model]:
    """Yield the models that are being called, if that traces a compiled step in which `x` is a tensor."""
    if _backend.framework().is_tracing(x):
        callers = (frame.f_locals.get("self") for frame in _frames())
        yield from (caller for caller in callers if isinstance(caller, keras.Model))


def regularized(value: Any) -> tuple[Layer, Any] | None:
    """Return the model that is collecting its regularization losses, and the variable whose value is `value`.

    Keras gives a regularizer the variable, or in a step on JAX its value, and has no public way to ask for more.
    """
    for frame in _frames():
        if frame.f_code.co_name == "_get_regularization_losses" and frame.f_locals.get("v") is value:
            return frame.f_locals["self"], frame.f_locals["variable"]
    return None


def regularized_outputs(value: Any) -> Layer | None:
    """Return the layer that is calling its `activity_regularizer` on its outputs `value`, as only its frame tells."""
    for frame in _frames():
        if frame.f_code.co_name == "__call__" and frame.f_locals.get("output") is value:
            layer = frame.f_locals.get("self")
            if isinstance(layer, keras.Layer):
                return layer
    return None


def owner_of(variable: Any, model: Layer) -> Layer | None:
    """Return the layer of a model that holds a variable itself."""
    for layer in layers_of(model):
        if any(own is variable for own in own_variables(layer)):
            return layer
    return None


def ids_of_variables(value: Any) -> Iterator[int]:
    """Yield the ids of the variables that have the tensor `value` in the stateless scope that is open, if one is."""
    scope = get_stateless_scope() if in_stateless_scope() else None
    mapping = {} if scope is None else scope.state_mapping
    return (key for key, mapped in mapping.items() if mapped is value)


def variable_creation() -> contextlib.AbstractContextManager[Any]:
    """Create variables that outlive the step that is being traced.

    In a stateless scope Keras creates them later by itself.
    """
    return contextlib.nullcontext() if in_stateless_scope() else _backend.framework().outside_of_graphs()


# Losses and states of a step


def rebuild_step_functions(model: Model) -> None:
    """Trace the next training and test step anew, also while `fit` is running."""
    if model.train_function is not None:
        model.train_function = None
        model.make_train_function()
    if model.test_function is not None:
        model.test_function = None
        model.make_test_function()


class TaskLoss(keras.metrics.Mean):
    """The compiled loss without penalties, as a metric that the steps of a model update and its results leave out.

    So `evaluate`, `train_on_batch` and the logs of `fit` are those of the model without it.

    Attributes:
        readers: `WeakSet` of the objects that read it. Their method `before_reset` is called before each reset.
        kept: Boolean. Whether the metric stays when no object reads it.
        in_results: Boolean. Whether the results of the model contain it.
    """

    def __init__(self, model: Model) -> None:
        super().__init__(name="task_loss")
        self.readers: weakref.WeakSet[Any] = weakref.WeakSet()
        self.kept = False
        self.in_results = False
        self._model = weakref.ref(model)

    def update_state(self, *args: Any, **kwargs: Any) -> None:
        """Do nothing: a custom training step may call this on every metric of the model."""

    def record(self, value: Any, samples: Any) -> None:
        """Count the mean loss of a batch."""
        if self._has_value():
            super().update_state(value, sample_weight=samples)

    def result(self) -> Any:
        """Return the mean, or an empty dict, which adds nothing to the results of a model."""
        if not self.in_results:
            return {}
        model: Model = self._model()
        results = [(metric.name, metric.result()) for metric in model.metrics if metric is not self]
        taken = any("task_loss" in (result if isinstance(result, dict) else (name,)) for name, result in results)
        return {} if taken else {"task_loss": self.total / self.count}

    def reset_state(self) -> None:
        """Tell the readers, and reset the metric."""
        if not in_stateless_scope():
            for reader in list(self.readers):
                reader.before_reset()
        super().reset_state()

    def _has_value(self) -> bool:
        """False on JAX inside a training step that does not map the variables of the metrics."""
        scope = get_stateless_scope() if in_stateless_scope() else None
        mapped = scope is not None and scope.get_current_value(self.total) is not None
        return mapped or self.total._value is not None


class _TaskCall:
    """Stands in for `CompileLoss.call`, and gives what it returns to a metric."""

    def __init__(self, compile_loss: Any, metric: TaskLoss) -> None:
        self._call, self._metric = compile_loss.call, metric

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        value = self._call(y_true, y_pred, sample_weight)
        if value is not None:  # as for a model whose outputs all have the loss None
            self._metric.record(unscale_loss_for_distribution(value), _batch_size(y_true, y_pred))
        return value


def _batch_size(y_true: Any, y_pred: Any) -> Any:
    """Return the size of a batch: labels have one row per sample; outputs may be scalars, or have more rows."""
    found = (x for x in keras.tree.flatten((y_true, y_pred)) if len(getattr(x, "shape", ())))
    first = next(found, None)
    return 1 if first is None else ops.shape(first)[0]


def task_loss(model: Model) -> TaskLoss | str:
    """Return the metric of the compiled loss without penalties, which is added to the model if it has none.

    It listens at `CompileLoss.call`, which every backend calls once a step inside the compiled function, so that
    outputs, loss weights, sample weights and reductions are Keras's own. Nothing that trains is touched.

    Returns:
        The metric, or the reason why it is not possible.
    """
    compile_loss = getattr(model, "_compile_loss", None)
    if compile_loss is None:
        return "the model is compiled without a loss"
    metric = next((m for m in model._metrics if isinstance(m, TaskLoss)), None)
    if metric is None:
        metric = TaskLoss(model)
        model._metrics.append(metric)
    if not any(m is metric for m in model.metrics):
        remove_task_loss(model)
        return f"{type(model).__name__}.metrics is overridden and leaves out metrics of callbacks"
    if not isinstance(vars(compile_loss).get("call"), _TaskCall):
        compile_loss.call = _TaskCall(compile_loss, metric)
        rebuild_step_functions(model)
    return metric


def remove_task_loss(model: Model) -> None:
    """Leave the model as it was before `task_loss`."""
    compile_loss = getattr(model, "_compile_loss", None)
    if compile_loss is not None and isinstance(compile_loss.call, _TaskCall):
        del compile_loss.call
    model._metrics[:] = [metric for metric in model._metrics if not isinstance(metric, TaskLoss)]
    rebuild_step_functions(model)


def number_of(variable: Any) -> float | None:
    """Return the value of a scalar variable; None on JAX while a step has it, or inside a step that is traced."""
    value = None if variable._value is None else _backend.host_value(variable)
    return None if value is None else float(value)


class StepState:
    """A number or an array that compiled training steps read and write, and that is not a weight.

    Keras maps the state of seed generators into every step on all backends, and saves it nowhere. On JAX no other
    untracked variable can be read inside a step.

    Args:
        value: Float or array. The first value.
        name: String. Name of the variable.
        of_epoch: Boolean. True for a state that is set in each epoch, so that no checkpoint needs it. Defaults to
            False.
    """

    def __init__(self, value: Any, name: str, *, of_epoch: bool = False) -> None:
        self.of_epoch = of_epoch
        self.initial = np.asarray(value, "float32")
        self.state = keras.Variable(
            # A function, since a number cannot be given to a variable that is made while Keras tries a model out.
            lambda shape, dtype: ops.convert_to_tensor(self.initial, dtype=dtype),
            shape=self.initial.shape,
            trainable=False,
            dtype="float32",
            name=name,
            aggregation="only_first_replica",
        )

    def attach(self, layer: Layer) -> None:
        """Let the steps of a model or layer see the state."""
        layer._seed_generators.append(self)

    def detach(self, layer: Layer) -> None:
        """Leave the model or layer as it was."""
        layer._seed_generators[:] = [generator for generator in layer._seed_generators if generator is not self]


def step_states(model: Model) -> Iterator[StepState]:
    """Yield the states that the steps of a model see."""
    for layer in layers_of(model):
        yield from (generator for generator in layer._seed_generators if isinstance(generator, StepState))
