"""Acting on every k-th training step, inside compiled steps, with nothing added to what a model saves."""

from __future__ import annotations

import contextlib
import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
from keras import ops
from keras.src.backend import get_stateless_scope, in_stateless_scope

from keras_entropy._checks import EntropyWarning
from keras_entropy._keras import StepState, frames, layers_of, own_variables

# By the ids of the variable and of the regularizer whose steps they count; the layer that owns the variable keeps them
# alive.
_COUNTERS: weakref.WeakValueDictionary[tuple[int, int], StepCounter] = weakref.WeakValueDictionary()


class StepCounter(StepState):
    """Counts the training steps of one regularizer of a variable, modulo the period that it asks for."""

    def __init__(self, variable: Any, regularizer: Any) -> None:
        super().__init__(0.0, "entropy_steps")
        self._counted = weakref.ref(variable), weakref.ref(regularizer)

    def counts(self, variable: Any, regularizer: Any) -> bool:
        """Whether it is the counter of these two."""
        return self._counted[0]() is variable and self._counted[1]() is regularizer


def on_every_kth_step(x: Any, every: int, penalty: Callable[[Any], Any], kernel: Any, regularizer: Any) -> Any:
    """`every` times the scalar `penalty(kernel)` on each `every`-th training step, 0 on the others, not evaluated.

    Args:
        x: what Keras gives to a regularizer: a variable or, in a step on JAX, its value.
        every: the period.
        penalty: gives a scalar of type floatx.
        kernel: the value of x as a tensor.
        regularizer: whose steps are counted.

    Returns:
        A scalar; `penalty(kernel)` itself outside training steps.
    """
    if every == 1:
        return penalty(kernel)
    counter = _counter_of(x, regularizer)  # outside of training steps too: Keras's trial call is where JAX can make one
    if not _in_train_step():
        return penalty(kernel)
    if counter is None:
        warnings.warn(
            f"`every`={every} has no effect: on JAX, Keras has to see the regularizer before the step is compiled. "
            "Attach it to a trained model with `apply_entropy`, or compile the model again; before a training loop of "
            "your own read `model.losses` once.",
            EntropyWarning,
            stacklevel=2,
        )
        return penalty(kernel)
    count = ops.add(counter.state, 0.0)  # a value now: TensorFlow reads a variable where it is used
    counter.state.assign(ops.mod(count + 1, every))
    return every * _value_if(ops.equal(count, 0), penalty, kernel)


def _value_if(due: Any, penalty: Callable[[Any], Any], kernel: Any) -> Any:
    zero = ops.zeros((), dtype=keras.backend.floatx())
    if keras.backend.backend() != "jax":
        return ops.cond(due, lambda: penalty(kernel), lambda: zero)
    import jax

    # Differentiated by itself, `cond` would pass on all intermediate results, as zeros where it was skipped.
    @jax.custom_vjp
    def value(due: Any, kernel: Any) -> Any:
        return jax.lax.cond(due, penalty, lambda _: zero, kernel)

    def forward(due: Any, kernel: Any) -> Any:
        skipped = lambda kernel: (zero, jax.numpy.zeros_like(kernel))  # noqa: E731
        return jax.lax.cond(due, jax.value_and_grad(penalty), skipped, kernel)

    value.defvjp(forward, lambda gradient, upstream: (None, upstream * gradient))
    return value(due, kernel)


def count_steps(layer: Any, variable: Any, regularizer: Any) -> StepCounter:
    """Count the training steps of a regularizer of a variable of a layer, starting at 0, unless they are counted."""
    counter = _COUNTERS.get((id(variable), id(regularizer)))
    if counter is None or not counter.counts(variable, regularizer):
        with _outside_of_graphs():
            counter = StepCounter(variable, regularizer)
        counter.attach(layer)
        _COUNTERS[id(variable), id(regularizer)] = counter
    return counter


def stop_counting(layer: Any, variable: Any, regularizer: Any) -> None:
    """Take the counter off that layer again, if there is one."""
    counter = _COUNTERS.pop((id(variable), id(regularizer)), None)
    if counter is not None:
        counter.detach(layer)


def _outside_of_graphs() -> Any:
    """On TensorFlow not inside the graph that is being traced; Keras's trial call makes its variables afterwards."""
    if keras.backend.backend() != "tensorflow" or in_stateless_scope():
        return contextlib.nullcontext()
    import tensorflow as tf

    return tf.init_scope()


def _counter_of(x: Any, regularizer: Any) -> StepCounter | None:
    if not isinstance(x, keras.Variable):
        scope = get_stateless_scope() if in_stateless_scope() else None
        mapping = {} if scope is None else scope.state_mapping
        found = (_COUNTERS.get((key, id(regularizer))) for key, value in mapping.items() if value is x)
        return next((counter for counter in found if counter is not None), None)
    counter = _COUNTERS.get((id(x), id(regularizer)))
    if counter is not None and counter.counts(x, regularizer):
        return counter
    layer = _owner_of(x)
    return None if layer is None else count_steps(layer, x, regularizer)


def _owner_of(variable: Any) -> Any:
    """The layer of the model that is collecting its losses now that holds a variable itself."""
    for frame in frames():
        if frame.f_code.co_name == "_get_regularization_losses":
            for layer in layers_of(frame.f_locals["self"]):
                if any(own is variable for own in own_variables(layer)):
                    return layer
    return None


def _in_train_step() -> bool:
    """Whether a model's `train_step` is running or being traced, not its `test_step`."""
    names = (frame.f_code.co_name for frame in frames())
    return next((name for name in names if name in ("train_step", "test_step")), None) == "train_step"
