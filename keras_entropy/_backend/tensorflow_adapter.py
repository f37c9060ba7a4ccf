"""TensorFlow."""

from __future__ import annotations

import contextlib
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from keras_entropy._backend.adapter import Array, HostArray
from keras_entropy._backend.framework import Framework

_MOST_BYTES = 2**30
"""Size of the arrays of a pipeline, which holds a copy of them."""


class TensorFlowAdapter(Framework):
    """Adapter of TensorFlow."""

    def as_float(self, x: Array) -> Array:
        """Read variables, which are no tensors; keep float32 and float64; cast 16-bit types to float32."""
        x = x.value if isinstance(x, keras.Variable) else x
        return super().as_float(x.read_value() if hasattr(x, "read_value") else x)

    def host_value(self, x: Array) -> HostArray | None:
        """Return the current value of a variable, also while a graph around it is being traced; None if symbolic."""
        with tf.init_scope():
            value = getattr(x, "value", x)
            # As a tensor: in the scope of a strategy NumPy cannot read a variable that has a copy on each device.
            return self._as_numpy(value) if isinstance(value, tf.Variable) or hasattr(value, "numpy") else None

    def _as_numpy(self, x: Array) -> HostArray:
        return np.asarray(tf.convert_to_tensor(x))  # `keras.ops.convert_to_numpy` copies

    def gram(self, matrix: Array) -> Array:
        """In float64: a GPU multiplies float32 in 10 bits (TF32) by default."""
        wide = tf.cast(matrix, tf.float64)
        return tf.cast(tf.linalg.matmul(wide, wide, transpose_a=True), matrix.dtype)

    def replicas(self) -> int:
        """Number of replicas in the scope of a `tf.distribute.Strategy`; 1 outside of `Strategy.run`."""
        context = tf.distribute.get_replica_context()
        return 1 if context is None else int(context.num_replicas_in_sync)

    def sum_over_replicas(self, x: Array) -> Array:
        """Sum over the replicas of a `tf.distribute.Strategy`."""
        if self.replicas() == 1:
            return x
        return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, x)

    def loss_of_replica(self, x: Array) -> Array:
        """Keep the value on the first replica, and the gradient on all.

        The replicas run as threads that wait for each other in a sum, and they share the list of losses of a layer:
        each finds there the losses of those before it too.
        """
        if self.replicas() == 1:
            return x
        first = tf.distribute.get_replica_context().replica_id_in_sync_group == 0
        return tf.where(first, x, x - tf.stop_gradient(x))

    def factorise(self, parts: Array, floor: Array) -> tuple[Array, Callable[[], Array]]:
        """By Cholesky of the Gram matrix in float64: TensorFlow's Householder QR is slow on CPU.

        float64 gives back the digits that squaring the condition number takes: the products of float32 numbers
        are exact in it. The floor never falls below the rounding of the Gram matrix, 4e-8 of the Frobenius
        norm, which keeps the factorisation from failing; float32 resolves no more of a singular value than that.
        """
        wide = tf.cast(parts, tf.float64)
        tall = wide[0] if wide.shape[0] == 1 else tf.complex(wide[0], wide[1])
        gram = tf.linalg.matmul(tall, tall, adjoint_a=True)
        diagonal = tf.math.real(tf.linalg.diag_part(gram))
        rounding = 8 * np.finfo(np.float64).eps * tf.reduce_sum(diagonal, axis=-1, keepdims=True)
        floor = tf.maximum(tf.square(tf.cast(floor[..., 0], tf.float64)), tf.maximum(rounding, 1e-290))
        factor = tf.linalg.cholesky(tf.linalg.set_diag(gram, tf.cast(diagonal + floor, gram.dtype)))
        value = tf.reduce_sum(tf.math.log(tf.math.real(tf.linalg.diag_part(factor))), axis=-1)

        def gradient() -> Array:
            solution = tf.linalg.adjoint(tf.linalg.cholesky_solve(factor, tf.linalg.adjoint(tall)))
            pieces = [solution] if wide.shape[0] == 1 else [tf.math.real(solution), tf.math.imag(solution)]
            return tf.cast(tf.stack(pieces), parts.dtype)

        return tf.cast(value, parts.dtype), gradient

    def derivative(self, function: Callable[[Array], Array], x: Array) -> Array:
        """Derivative of an elementwise function, by a tape."""
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)

    def with_gradient(self, value: Callable[[Array], Array], gradient: Callable[[Array], Array]) -> Any:
        """Give `value` the derivative `gradient`."""

        @ops.custom_gradient
        def differentiable(x: Array) -> Any:
            y = value(x)

            def pullback(upstream: Array) -> Array:
                return (upstream if len(y.shape) == len(x.shape) else upstream[..., None]) * gradient(x)

            return y, pullback

        return differentiable

    def is_tracing(self, x: Array) -> bool:
        """Whether a graph is being traced."""
        return not tf.executing_eagerly()

    def outside_of_graphs(self) -> contextlib.AbstractContextManager[Any]:
        """Leave the graph that is being traced."""
        return tf.init_scope()  # type: ignore[no-any-return]

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Make a graph of a function."""
        return tf.function(function)  # type: ignore[no-any-return]

    def batches(self, model: Any, arrays: Any, size: int) -> Any:
        """Return a `tf.data` pipeline without functions: `fit` starts it anew for each validation."""
        tensors = _on_host(model, arrays)
        return None if tensors is None else _as_it_is(tf.data.Dataset.from_tensor_slices(tensors).batch(size))

    def endless_batches(self, model: Any, arrays: Any, size: int) -> tuple[Any, Callable[[HostArray], object]] | None:
        """Return a `tf.data` pipeline without end: to start one takes as long as to read an epoch of small data."""
        tensors = _on_host(model, arrays)
        rows = len(keras.tree.flatten(arrays)[0])
        steps = math.ceil(rows / size)
        if tensors is None or steps % model.steps_per_execution or keras.config.max_steps_per_epoch():
            return None  # an epoch would not end where the batches repeat
        with tf.device("CPU:0"):
            order = tf.Variable(np.arange(rows))

        def batch(index: Array) -> Any:
            chosen = order[index * size : (index + 1) * size]
            return keras.tree.map_structure(lambda tensor: tf.gather(tensor, chosen), tensors)

        return _as_it_is(tf.data.Dataset.range(steps).repeat().map(batch)), order.assign

    def disable_pipeline_tuning(self) -> None:
        """Stop tuning input pipelines while they run. No result changes.

        Each epoch of `fit` starts and ends pipelines, and the end of one waits for the thread that tunes it: up to
        seconds, where there are as many processes as cores. Pipelines of arrays in memory have nothing to tune.
        """
        options = tf.data.experimental.AutotuneOptions
        usual = inspect.unwrap(options.__init__)

        @functools.wraps(usual)
        def untuned(self: Any) -> None:
            usual(self)
            self.enabled = False

        options.__init__ = untuned

    def accelerator(self) -> str:
        """Name of the first GPU, or "" if there is none."""
        found = tf.config.list_physical_devices("GPU")
        return str(tf.config.experimental.get_device_details(found[0]).get("device_name", "GPU")) if found else ""


def _on_host(model: Any, arrays: Any) -> Any:
    """Return arrays as tensors; None if they are large, or if a strategy reads batches ahead, across epochs."""
    size = sum(array.nbytes for array in keras.tree.flatten(arrays))
    if size > _MOST_BYTES or model.distribute_strategy.num_replicas_in_sync > 1:
        return None
    with tf.device("CPU:0"):
        return keras.tree.map_structure(tf.convert_to_tensor, arrays)


def _as_it_is(dataset: Any) -> Any:
    """Return a dataset that is neither tuned nor optimized, and reads no batch before it is asked for."""
    options = tf.data.Options()
    options.autotune.enabled = False
    options.experimental_optimization.apply_default_optimizations = False
    options.threading.private_threadpool_size = 1
    return dataset.with_options(options)
