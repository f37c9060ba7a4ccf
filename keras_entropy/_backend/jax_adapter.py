"""JAX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import keras
import numpy as np
from keras import ops

from keras_entropy._backend.adapter import Array, HostArray
from keras_entropy._backend.qr_framework import QRFramework


class JaxAdapter(QRFramework):
    """Adapter of JAX."""

    transforms_functions = True

    def host_value(self, x: Array) -> HostArray | None:
        """Return the current value of a variable or tensor; None for a tracer."""
        value = getattr(x, "value", x)
        return None if isinstance(value, jax.core.Tracer) else np.asarray(value)

    def for_each_matrix(self, function: Callable[..., Any], *matrices: Array) -> Any:
        """Apply a factorisation to matrices (..., d, m), on CPU one by one.

        jaxlib's LAPACK calls on CPU split a batch over the thread pool that they run in, and wait for it: several of
        them in one compiled step wait for each other for ever (seen with jaxlib 0.10.2 on two threads).
        """
        batch = matrices[0].shape[:-2]
        if not batch or jax.default_backend() != "cpu":
            return function(*matrices)
        flat = tuple(ops.reshape(m, (-1, *m.shape[-2:])) for m in matrices)
        results = ops.map(lambda single: function(*single), flat)
        return keras.tree.map_structure(lambda x: ops.reshape(x, (*batch, *x.shape[1:])), results)

    def gram(self, matrix: Array) -> Array:
        """With the highest precision: a GPU or TPU multiplies float32 in fewer bits by default."""
        return jax.numpy.matmul(matrix.T, matrix, precision="highest")

    def complex(self, real: Array, imaginary: Array) -> Array:
        """Complex matrices of their real and imaginary parts."""
        return jax.lax.complex(real, imaginary)

    def qr(self, matrix: Array) -> tuple[Array, Array]:
        """Reduced QR decomposition."""
        q, r = jax.numpy.linalg.qr(matrix)
        return q, r

    def solve_upper(self, matrix: Array, b: Array) -> Array:
        """Solve `matrix` x = b for upper triangular matrices."""
        return jax.scipy.linalg.solve_triangular(matrix, b)

    def cholesky_and_inverse(self, gram: Array) -> tuple[Array, Array]:
        """Cholesky factor and inverse; JAX gives NaN for a singular matrix."""
        factor = jax.numpy.linalg.cholesky(gram, symmetrize_input=False)
        return factor, jax.scipy.linalg.cho_solve((factor, True), jax.numpy.eye(gram.shape[-1], dtype=gram.dtype))

    def derivative(self, function: Callable[[Array], Array], x: Array) -> Array:
        """Derivative of an elementwise function, in forward mode."""
        return jax.jvp(function, (x,), (jax.numpy.ones_like(x),))[1]

    def with_gradient(self, value: Callable[[Array], Array], gradient: Callable[[Array], Array]) -> Any:
        """Give `value` the derivative `gradient`, unlike Keras's custom gradient also in forward mode."""
        function = jax.custom_jvp(value)

        @function.defjvp
        def jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
            y = function(*primals)
            change = gradient(*primals) * tangents[0]
            return y, change if y.ndim == change.ndim else change.sum(-1)

        return function

    def value_if(self, condition: Array, function: Callable[[Array], Array], x: Array) -> Array:
        """The scalar `function(x)` where a condition holds, else 0.

        Differentiated by itself, `cond` would pass on all intermediate results, as zeros where it was skipped.
        """
        zero = ops.zeros((), dtype=keras.backend.floatx())

        @jax.custom_vjp
        def value(condition: Array, x: Array) -> Array:
            return jax.lax.cond(condition, function, lambda _: zero, x)

        def forward(condition: Array, x: Array) -> Array:
            skipped = lambda x: (zero, jax.numpy.zeros_like(x))  # noqa: E731
            return jax.lax.cond(condition, jax.value_and_grad(function), skipped, x)

        value.defvjp(forward, lambda gradient, upstream: (None, upstream * gradient))
        return value(condition, x)

    def is_tracing(self, x: Array) -> bool:
        """Whether `x` is a tracer."""
        return isinstance(x, jax.core.Tracer)

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Compile a function with XLA."""
        return jax.jit(function)  # type: ignore[no-any-return]

    def accelerator(self) -> str:
        """Name of the first accelerator, or "" if there is none."""
        found = jax.devices()[0]
        return "" if found.platform == "cpu" else str(found.device_kind)
