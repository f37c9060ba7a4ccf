"""Acting on each k-th training step, inside compiled steps and with nothing added to what a model saves."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from keras_entropy import _backend, _keras
from keras_entropy._checks import EntropyWarning

# By the ids of the variable and of the regularizer whose steps they count. The layer that owns the variable keeps
# them alive.
_COUNTERS: weakref.WeakValueDictionary[tuple[int, int], StepCounter] = weakref.WeakValueDictionary()


class StepCounter(_keras.StepState):
    """Counter of the training steps of one regularizer of a variable, modulo the period that it asks for."""

    def __init__(self, variable: Any, regularizer: Any) -> None:
        super().__init__(0.0, "entropy_steps")
        self._counted = weakref.ref(variable), weakref.ref(regularizer)

    def counts(self, variable: Any, regularizer: Any) -> bool:
        """Whether this is the counter of these two objects."""
        return self._counted[0]() is variable and self._counted[1]() is regularizer


def on_every_kth_step(x: Any, every: int, penalty: Callable[[Any], Any], kernel: Any, regularizer: Any) -> Any:
    """Compute a penalty on each k-th training step, with k times the weight, and skip it on the other steps.

    Args:
        x: What Keras gives to a regularizer: a variable or, in a step on JAX, its value.
        every: Integer k, the period.
        penalty: Function of a kernel. Returns a scalar of type floatx.
        kernel: The value of `x` as a tensor.
        regularizer: The regularizer whose steps are counted.

    Returns:
        A scalar: `every * penalty(kernel)` or 0 in a training step, `penalty(kernel)` outside of training steps.
    """
    if every == 1:
        return penalty(kernel)
    counter = _counter_of(x, regularizer)  # outside of training steps too: Keras's trial call is where JAX can make one
    if not _keras.is_in_train_step():
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
    return every * _backend.framework().value_if(ops.equal(count, 0), penalty, kernel)


def count_steps(layer: Any, variable: Any, regularizer: Any) -> StepCounter:
    """Count the training steps of a regularizer of a variable of a layer, from 0 on, unless they are counted."""
    counter = _COUNTERS.get((id(variable), id(regularizer)))
    if counter is None or not counter.counts(variable, regularizer):
        with _keras.variable_creation():
            counter = StepCounter(variable, regularizer)
        counter.attach(layer)
        _COUNTERS[id(variable), id(regularizer)] = counter
    return counter


def stop_counting(layer: Any, variable: Any, regularizer: Any) -> None:
    """Take the counter off a layer again, if there is one."""
    counter = _COUNTERS.pop((id(variable), id(regularizer)), None)
    if counter is not None:
        counter.detach(layer)


def _counter_of(x: Any, regularizer: Any) -> StepCounter | None:
    if not isinstance(x, keras.Variable):
        found = (_COUNTERS.get((key, id(regularizer))) for key in _keras.ids_of_variables(x))
        return next((counter for counter in found if counter is not None), None)
    counter = _COUNTERS.get((id(x), id(regularizer)))
    if counter is not None and counter.counts(x, regularizer):
        return counter
    regularized = _keras.regularized(x)
    layer = None if regularized is None else _keras.owner_of(x, regularized[0])
    return None if layer is None else count_steps(layer, x, regularizer)
