"""What the adapters of JAX, TensorFlow and torch share: the formulas that `keras.ops` computes on all three."""

from __future__ import annotations

import abc
import contextlib
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_entropy._backend.adapter import Adapter, Array, HostArray


class Framework(Adapter):
    """Adapter of a Keras backend.

    Attributes:
        transforms_functions: True if functions can be turned into compiled programs and these be transformed (scanned,
            vectorized), as the JAX sampler of `landscape` needs.
        compiles_steps: True if `fit` compiles its steps by default.
    """

    xp = ops
    transforms_functions = False
    compiles_steps = True

    def __init__(self) -> None:
        self._factorised_volume = self.custom_gradient(self._value_and_pullback)

    # Arrays

    def as_float(self, x: Array) -> Array:
        """Keep float32 and float64; cast 16-bit types, which have no matrix factorisation, to float32."""
        x = ops.convert_to_tensor(x.value if isinstance(x, keras.Variable) else x)
        wide = keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")
        return x if wide else ops.cast(x, "float32")

    def stop_gradient(self, x: Array) -> Array:
        """Return `x` as a constant for differentiation."""
        return ops.stop_gradient(x)

    def at_least(self, x: Array, floor: float) -> Array:
        """Elementwise maximum. `keras.ops.maximum` computes in float32 on torch."""
        return ops.where(x < floor, ops.full_like(x, floor), x)

    def softplus(self, x: Array) -> Array:
        """Elementwise log(1 + e^x)."""
        return ops.softplus(x)

    def to_host(self, x: Array) -> HostArray:
        """Return `x` as a NumPy array that may share its memory."""
        x = x.value if isinstance(x, keras.Variable) else x
        if keras.backend.standardize_dtype(x.dtype) == "bfloat16":
            x = ops.cast(x, "float32")
        return self._as_numpy(x)

    def _as_numpy(self, x: Array) -> HostArray:
        return np.asarray(ops.convert_to_numpy(x))

    def log_volume(self, matrix: Array, epsilon: float, imaginary: Array | None) -> Array:
        """By a factorisation of the matrices, scaled so that their squares neither overflow nor underflow."""
        parts = ops.stack([matrix] if imaginary is None else [matrix, imaginary])
        finite, poison = self._finite(parts)
        poison = ops.sum(poison, axis=0)
        parts = finite if parts.shape[-2] >= parts.shape[-1] else ops.swapaxes(finite, -1, -2)
        # Scaling by the largest element keeps the squares of 1e20 and of 1e-20 inside float32.
        tiny = smallest_normal(parts)
        scale = ops.max(ops.abs(ops.stop_gradient(parts)), axis=(0, -2, -1))[..., None, None]
        scale = self.at_least(scale, max(epsilon, tiny))
        floor = self.at_least(epsilon / scale, tiny**0.4) if epsilon else ops.zeros_like(scale)
        volume_of = _column_log_volume if parts.shape[-1] == 1 else self._factorised_volume
        scaled, floor, batch = parts / scale, ops.stop_gradient(floor), parts.shape[1:-2]
        if math.prod(batch) == 1:  # one matrix factorises faster than a batch of one
            scaled = ops.reshape(scaled, (parts.shape[0], *parts.shape[-2:]))
            volume = ops.reshape(volume_of(scaled, ops.reshape(floor, (1, 1))), batch)
        else:
            volume = volume_of(scaled, floor)
        # A product, not a sum: so a NaN reaches the gradients of the other weights too.
        return volume * (1 + poison) + parts.shape[-1] * ops.log(scale[..., 0, 0])

    def gram(self, matrix: Array) -> Array:
        """The product W^T W of a real matrix, in all digits of its dtype: a Cholesky factorisation needs them."""
        return ops.transpose(matrix) @ matrix  # `keras.ops.matmul` on torch computes float64 in float32

    def singular_values(self, matrix: Array, imaginary: Array | None) -> Array:
        """By SVD."""
        if imaginary is not None:  # the real matrix of the same map has each singular value twice
            upper = ops.concatenate([matrix, -imaginary], axis=-1)
            matrix = ops.concatenate([upper, ops.concatenate([imaginary, matrix], axis=-1)], axis=-2)
        safe, poison = self._finite(matrix)
        values = self.for_each_matrix(lambda x: ops.svd(x, compute_uv=False), safe) + poison[..., None]
        return values if imaginary is None else values[..., ::2]

    def for_each_matrix(self, function: Callable[..., Any], *matrices: Array) -> Any:
        """Apply a factorisation to matrices (..., d, m)."""
        return function(*matrices)

    def _finite(self, matrix: Array) -> tuple[Array, Array]:
        """`matrix` with 0 for each element that is not finite; per matrix NaN if it had such an element, else 0."""
        finite = ops.isfinite(matrix)
        safe = ops.where(finite, matrix, ops.zeros_like(matrix))
        poison = ops.where(ops.all(finite, axis=(-2, -1)), 0.0, np.nan)
        return safe, ops.cast(poison, matrix.dtype)

    @abc.abstractmethod
    def factorise(self, parts: Array, floor: Array) -> tuple[Array, Callable[[], Array]]:
        """Log-volume of matrices with no more columns than rows, and a function that computes its gradient.

        The log-volume is half the log-determinant of W^H W + floor^2 I, its gradient W (W^H W + floor^2 I)^-1.

        Args:
            parts: (1, ..., d, m) the real parts of W, or (2, ..., d, m) the real and the imaginary parts.
            floor: (..., 1, 1), the noise floor.

        Returns:
            Values (...), and a function that returns the gradient, in the shape of `parts`.
        """

    # The floor is an argument, not a variable of an outer function: JAX looks back at it when it differentiates
    # a branch of `cond`, after that function's trace has ended.
    def _value_and_pullback(self, parts: Array, floor: Array) -> tuple[Array, Callable[[Array], tuple[Array, Array]]]:
        value, gradient = self.factorise(parts, floor)
        return value, lambda upstream: (upstream[..., None, None] * gradient(), ops.zeros_like(floor))

    # Differentiation

    def custom_gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Like `keras.ops.custom_gradient`, with one signature on every backend.

        Args:
            function: Takes tensors; returns its value and a function from the gradient of the value to the gradients
                of the arguments.
        """
        return ops.custom_gradient(function)  # type: ignore[no-any-return]

    @abc.abstractmethod
    def derivative(self, function: Callable[[Array], Array], x: Array) -> Array:
        """Derivative of an elementwise function, itself differentiable."""

    @abc.abstractmethod
    def with_gradient(self, value: Callable[[Array], Array], gradient: Callable[[Array], Array]) -> Any:
        """Give the function `value` of one tensor the derivative `gradient`."""

    def value_if(self, condition: Array, function: Callable[[Array], Array], x: Array) -> Array:
        """The scalar `function(x)` where a condition holds, else 0 without evaluating `function` or its gradient.

        Args:
            condition: Boolean scalar tensor.
            function: Returns a scalar of type floatx.
            x: Tensor.
        """
        zero = ops.zeros((), dtype=keras.backend.floatx())
        return ops.cond(condition, lambda: function(x), lambda: zero)

    # Replicas

    def replicas(self) -> int:
        """Number of replicas of the model that run this step, each on its part of the batch."""
        return 1

    def sum_over_replicas(self, x: Array) -> Array:
        """Sum of a tensor over the replicas of the model, with the gradient of the sum."""
        return x

    def loss_of_replica(self, x: Array) -> Array:
        """Turn a term of the global batch, which every replica computes, into what a layer on a replica adds."""
        return x

    # Compilation

    @abc.abstractmethod
    def is_tracing(self, x: Array) -> bool:
        """Whether `x` is a tensor of a function that is being traced, to be called again without Python code."""

    def outside_of_graphs(self) -> contextlib.AbstractContextManager[Any]:
        """Make variables created in this context outlive the function that is being traced."""
        return contextlib.nullcontext()

    @abc.abstractmethod
    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function of tensors that needs no gradient, if the framework has a compiler."""

    def map_rows(self, function: Callable[[Array], Any], rows: Array) -> Any:
        """Apply a function to each row of an array, to all rows together, and stack what it returns."""
        return ops.vectorized_map(function, rows)

    # Process

    def seed_shared_generator(self, seed: int) -> None:
        """Seed the generator that random layers share, where they share one instead of each having its own state."""

    def batches(self, model: Any, arrays: Any, size: int) -> Any:
        """Return a source of batches that `fit` of a model reads faster than arrays; None if there is none.

        Args:
            model: The model.
            arrays: Structure of arrays with as many rows.
            size: Integer. Rows per batch.
        """
        return None

    def endless_batches(self, model: Any, arrays: Any, size: int) -> tuple[Any, Callable[[HostArray], object]] | None:
        """Return a source that repeats the batches without end, and a function that sets the order of the rows.

        Args:
            model: The model.
            arrays: Structure of arrays with as many rows.
            size: Integer. Rows per batch.

        Returns:
            The source and the function, to be called before each epoch; None if `fit` reads a `PyDataset` as fast.
        """
        return None

    def disable_pipeline_tuning(self) -> None:
        """Stop the framework from tuning its input pipelines in this process."""

    @abc.abstractmethod
    def accelerator(self) -> str:
        """Name of the first accelerator, or "" if there is none."""


def smallest_normal(x: Array) -> float:
    """Smallest positive normal number of the dtype of `x`."""
    return float(np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny)


def _column_log_volume(parts: Array, floor: Array) -> Array:
    """Log-volume of one column: half the log of its squared norm, without a factorisation."""
    squares = ops.sum(ops.square(parts), axis=(0, -2, -1))
    return 0.5 * ops.log(squares + ops.square(floor[..., 0, 0]))
