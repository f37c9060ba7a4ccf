"""What differs between the host and the three backends: array namespaces and the log-volume of a matrix."""

from __future__ import annotations

import functools
import math
from typing import Any

import keras
import numpy as np
from keras import ops

Array = Any
"""A NumPy array, a tensor of the Keras backend or a `keras.Variable`."""


def is_host(x: Array) -> bool:
    """Whether `x` is computed with NumPy on the host; tensors and variables belong to the backend."""
    return isinstance(x, np.ndarray | np.generic | list | tuple | int | float)


def as_float(x: Array) -> Array:
    """Return `x` in the type that formulas are computed in.

    NumPy arrays become float64. Tensors keep float32 and float64; 16-bit types, which have no matrix
    factorisation on any backend, are cast to float32.
    """
    if is_host(x):
        return np.asarray(x, dtype=np.float64)
    if isinstance(x, keras.Variable):
        x = x.value
    if hasattr(x, "read_value"):  # a variable of TensorFlow is no tensor
        x = x.read_value()
    x = ops.convert_to_tensor(x)
    wide = keras.backend.standardize_dtype(x.dtype) in ("float32", "float64")
    return x if wide else ops.cast(x, "float32")


def namespace(x: Array) -> Any:
    """The module whose functions work on `x`: `numpy` or `keras.ops`."""
    return np if is_host(x) else ops


def stop_gradient(x: Array) -> Array:
    """`x`, treated as a constant by differentiation."""
    return x if is_host(x) else ops.stop_gradient(x)


def smallest_normal(x: Array) -> float:
    """The smallest normal number of the type of `x`."""
    return float(np.finfo(keras.backend.standardize_dtype(x.dtype)).tiny)


def at_least(x: Array, floor: float) -> Array:
    """Elementwise maximum of `x` and a number, in the type of `x`; NaN stays NaN."""
    if is_host(x):
        return np.maximum(x, floor)
    return ops.where(x < floor, ops.full_like(x, floor), x)  # Keras's maximum computes in float32 on torch


def softplus(x: Array) -> Array:
    """Elementwise log(1 + e^x)."""
    if is_host(x):
        with np.errstate(invalid="ignore"):  # NaN in, NaN out
            return np.logaddexp(0.0, x)
    return ops.softplus(x)


def host_value(variable: Array) -> np.ndarray[Any, Any] | None:
    """The present value of `variable` on the host, or None for a tracer or a symbolic tensor, which have none."""
    if is_host(variable):
        return np.asarray(variable)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.init_scope():  # a variable has a value also while a graph around it is being traced
            value = getattr(variable, "value", variable)
            return np.asarray(value) if isinstance(value, tf.Variable) or hasattr(value, "numpy") else None
    if keras.backend.backend() == "jax":
        import jax

        value = getattr(variable, "value", variable)
        return None if isinstance(value, jax.core.Tracer) else np.asarray(value)
    return np.asarray(ops.convert_to_numpy(variable))


def to_host(x: Array) -> np.ndarray[Any, Any]:
    """The value of a variable, tensor or array on the host in its own type, bfloat16 as float32.

    It is for reading only: it may share the memory of the variable.
    """
    if is_host(x):
        return np.asarray(x)
    x = x.value if isinstance(x, keras.Variable) else x
    if keras.backend.standardize_dtype(x.dtype) == "bfloat16":
        x = ops.cast(x, "float32")
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return np.asarray(tf.convert_to_tensor(x))  # keras.ops.convert_to_numpy copies
    return np.asarray(ops.convert_to_numpy(x))


def log_volume(matrix: Array, epsilon: float, imaginary: Array | None = None) -> Array:
    """Sum of log sqrt(s^2 + epsilon^2) over the singular values s of `matrix` (..., d, m).

    This is half the log-determinant of W^H W + epsilon^2 I for the orientation W of `matrix` that has no
    more columns than rows, found from a triangular factor R of [W; epsilon I] as sum log|diag R|. The
    gradient is W (R^H R)^-1. A NaN or an infinity anywhere in `matrix` gives NaN. The matrix is complex where
    `imaginary`, its imaginary part, is given; the two parts stay apart outside the factorisation, since the
    backends do not agree on what the gradient of a complex number is.
    """
    if is_host(matrix):
        return _host_log_volume(_host_complex(matrix, imaginary), epsilon)
    parts = ops.stack([matrix] if imaginary is None else [matrix, imaginary])
    finite, poison = _finite(parts)
    poison = ops.sum(poison, axis=0)
    parts = finite if parts.shape[-2] >= parts.shape[-1] else ops.swapaxes(finite, -1, -2)
    # Scaling by the largest element keeps the squares of 1e20 and of 1e-20 inside float32.
    tiny = smallest_normal(parts)
    scale = ops.max(ops.abs(ops.stop_gradient(parts)), axis=(0, -2, -1))[..., None, None]
    scale = at_least(scale, max(epsilon, tiny))
    floor = at_least(epsilon / scale, tiny**0.4) if epsilon else ops.zeros_like(scale)
    if parts.shape[-1] == 1:
        factorise = _column_log_volume
    else:
        factorise = _gram_log_volume if keras.backend.backend() == "tensorflow" else _qr_log_volume
    scaled, floor, batch = parts / scale, ops.stop_gradient(floor), parts.shape[1:-2]
    if math.prod(batch) == 1:  # one matrix factorises faster than a batch of one
        scaled = ops.reshape(scaled, (parts.shape[0], *parts.shape[-2:]))
        volume = ops.reshape(factorise(scaled, ops.reshape(floor, (1, 1))), batch)
    else:
        volume = factorise(scaled, floor)
    # A product, not a sum: so a NaN reaches the gradients of the other weights too.
    return volume * (1 + poison) + parts.shape[-1] * ops.log(scale[..., 0, 0])


def singular_values(matrix: Array, imaginary: Array | None = None) -> Array:
    """Singular values of `matrix` (..., d, m), largest first; all NaN where an element is NaN or infinite."""
    if is_host(matrix):
        safe, poison = _finite(_host_complex(matrix, imaginary))
        return _host_singular_values(safe) + poison[..., None]
    if imaginary is not None:  # the real matrix of the same map has each singular value twice
        upper = ops.concatenate([matrix, -imaginary], axis=-1)
        matrix = ops.concatenate([upper, ops.concatenate([imaginary, matrix], axis=-1)], axis=-2)
    safe, poison = _finite(matrix)
    values = _each(lambda x: ops.svd(x, compute_uv=False), safe) + poison[..., None]
    return values if imaginary is None else values[..., ::2]


def derivative(function: Any, x: Array) -> Array:
    """The derivative of an elementwise function of a tensor, itself differentiable; backend only."""
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            y = function(x)
        return tape.gradient(y, x, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    if keras.backend.backend() == "jax":
        import jax

        return jax.jvp(function, (x,), (jax.numpy.ones_like(x),))[1]
    import torch

    wanted = torch.is_grad_enabled() and x.requires_grad
    with torch.enable_grad():
        x = x if x.requires_grad else x.detach().requires_grad_()
        total = function(x).sum()
        if not total.requires_grad:  # a constant
            return torch.zeros_like(x)
        return torch.autograd.grad(total, x, create_graph=wanted)[0]


def with_gradient(value: Any, gradient: Any) -> Any:
    """The function `value` of one tensor, with `gradient` as its derivative on every backend, also of higher order.

    Args:
        value: gives a tensor of the shape of its argument, or one without its last axis.
        gradient: gives for each element of the argument the derivative of its own value, or of the value of its row.
    """
    if keras.backend.backend() == "jax":
        import jax

        function = jax.custom_jvp(value)  # unlike Keras's custom gradient also in forward mode

        @function.defjvp
        def jvp(primals: tuple[Array], tangents: tuple[Array]) -> tuple[Array, Array]:
            y = function(*primals)
            change = gradient(*primals) * tangents[0]
            return y, change if y.ndim == change.ndim else change.sum(-1)

        return function

    @ops.custom_gradient
    def differentiable(x: Array) -> Any:
        y = value(x)

        def grad(*args: Array, upstream: Array | None = None) -> Array:
            # TensorFlow passes it by position, torch by name, after the argument as its graph knows it.
            (at,) = (x,) if upstream is None else args
            upstream = args[0] if upstream is None else upstream
            return (upstream if len(y.shape) == len(x.shape) else upstream[..., None]) * gradient(at)

        return y, grad

    return differentiable


def _finite(matrix: Array) -> tuple[Array, Array]:
    """`matrix` with 0 for what is not finite, and for each matrix 0, or NaN if there was such an element."""
    xp = namespace(matrix)
    finite = xp.isfinite(matrix)
    if xp is np and finite.all():  # without a copy of a large matrix
        return matrix, np.zeros(matrix.shape[:-2])
    safe = xp.where(finite, matrix, xp.zeros_like(matrix))
    poison = xp.where(xp.all(finite, axis=(-2, -1)), 0.0, np.nan)
    return safe, poison if is_host(poison) else ops.cast(poison, matrix.dtype)


def _host_complex(real: Array, imaginary: Array | None) -> Array:
    if imaginary is None:
        return real
    joined = np.empty(real.shape, np.complex128)
    joined.real, joined.imag = real, imaginary  # the product with 1j would warn of infinities
    return joined


def _host_log_volume(matrix: np.ndarray[Any, Any], epsilon: float) -> np.ndarray[Any, Any]:
    if epsilon == 0 and matrix.shape[-2] == matrix.shape[-1]:
        safe, poison = _finite(matrix)
        return np.asarray(np.linalg.slogdet(safe)[1] + poison)
    tall = matrix if matrix.shape[-2] >= matrix.shape[-1] else np.swapaxes(matrix, -1, -2)
    columns = tall.shape[-1]
    floor = np.broadcast_to(epsilon * np.eye(columns), (*tall.shape[:-2], columns, columns))
    factor = np.linalg.qr(np.concatenate([tall, floor], axis=-2), mode="r")
    with np.errstate(divide="ignore"):  # log 0 = -inf is the value of a singular matrix without a floor
        return np.asarray(np.log(np.abs(np.diagonal(factor, axis1=-2, axis2=-1))).sum(-1))


_GRAM = 256
"""Columns from which singular values on the host are found from the Gram matrix, in a quarter of the time."""


def _host_singular_values(matrix: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    if min(matrix.shape[-2:]) < _GRAM:
        return np.linalg.svd(matrix, compute_uv=False)
    tall = matrix if matrix.shape[-2] >= matrix.shape[-1] else np.swapaxes(matrix, -1, -2)
    squares = np.linalg.eigvalsh(np.swapaxes(tall.conj(), -1, -2) @ tall)[..., ::-1]
    # Rounding of the Gram matrix then changes no logarithm by more than 1e-7, and their mean by far less.
    exact = squares[..., -1] > 1e-8 * squares[..., 0]
    values = np.sqrt(np.maximum(squares, 0))
    values[~exact] = np.linalg.svd(tall[~exact], compute_uv=False)
    return values


def _differentiable(value_and_pullback: Any) -> Any:
    """Make `parts, floor -> (value, () -> gradient in parts)` a function with that gradient on every backend."""

    # The floor is an argument, not a variable of an outer function: JAX looks back at it when it differentiates
    # a branch of `cond`, after that function's trace has ended.
    @ops.custom_gradient
    def volume(parts: Array, floor: Array) -> Any:
        value, pullback = value_and_pullback(parts, floor)

        def grad(*args: Array, upstream: Array | None = None) -> tuple[Array, Array]:
            if upstream is None:  # JAX and TensorFlow pass it by position, torch by name
                (upstream,) = args
            return upstream[..., None, None] * pullback(), ops.zeros_like(floor)

        return value, grad

    return volume


def _each(function: Any, *matrices: Array) -> Any:
    """A function of matrices (..., d, m), for a factorisation; it is given one of each, or all at once.

    jaxlib's LAPACK calls on CPU split a batch over the thread pool that they run in, and wait for it: several of
    them in one compiled step wait for each other for ever (seen with jaxlib 0.10.2 on two threads).
    """
    batch = matrices[0].shape[:-2]
    if keras.backend.backend() != "jax" or not batch or not _jax_on_cpu():
        return function(*matrices)
    results = ops.map(lambda single: function(*single), tuple(ops.reshape(m, (-1, *m.shape[-2:])) for m in matrices))
    return keras.tree.map_structure(lambda x: ops.reshape(x, (*batch, *x.shape[1:])), results)


def _jax_on_cpu() -> bool:
    import jax

    return bool(jax.default_backend() == "cpu")


@_differentiable
def _qr_log_volume(parts: Array, floor: Array) -> Any:
    """By Householder QR in the precision of `parts`; the gradient W (R^H R)^-1 is Q R^-H, from Q's upper part.

    A tall matrix whose Gram matrix is well conditioned, as that of most Dense kernels, takes a third of the time by
    Cholesky, at no loss.
    """
    rows, columns = parts.shape[-2:]
    if len(parts) > 1 or len(parts.shape) > 3 or rows < 2 * columns:
        return _householder(parts, floor)
    # Operators, since functions of `keras.ops` compute float64 in float32 on torch.
    gram = ops.transpose(parts[0]) @ parts[0] + floor * floor * ops.eye(columns, dtype=parts.dtype)
    half, inverse = _cholesky_and_inverse(gram)
    # An upper bound of the condition number; NaN where there is no factorisation.
    condition = ops.sqrt(ops.sum(ops.square(gram)) * ops.sum(ops.square(inverse)))

    def fast() -> Any:
        return ops.sum(ops.log(ops.diagonal(half))), (parts[0] @ inverse)[None]

    def safe() -> Any:
        value, pullback = _householder(parts, floor)
        return value, pullback()

    value, gradient = ops.cond(condition < _WELL_CONDITIONED, fast, safe)
    return value, lambda: gradient


_WELL_CONDITIONED = 3e3  # of a Gram matrix in float32: rounding then changes the gradient by less than 1e-3


def _cholesky_and_inverse(gram: Array) -> tuple[Array, Array]:
    """The Cholesky factor and the inverse of a Gram matrix; NaN, not an error, where it is singular to rounding."""
    if keras.backend.backend() == "torch":
        import torch

        factor, info = torch.linalg.cholesky_ex(gram)
        if int(info):
            return factor, torch.full_like(gram, torch.nan)
        return factor, torch.cholesky_inverse(factor)
    import jax

    factor = jax.numpy.linalg.cholesky(gram, symmetrize_input=False)
    return factor, jax.scipy.linalg.cho_solve((factor, True), jax.numpy.eye(gram.shape[-1], dtype=gram.dtype))


def _householder(parts: Array, floor: Array) -> Any:
    # Not by `keras.ops`, which knows no complex numbers of double precision on torch.
    if keras.backend.backend() == "torch":
        import torch
        from torch import complex as joined
        from torch.linalg import qr

        solve: Any = functools.partial(torch.linalg.solve_triangular, upper=True)
        eye = torch.eye(parts.shape[-1], dtype=parts.dtype, device=parts.device)
        concatenate, stack = torch.cat, torch.stack
    else:
        import jax
        from jax.lax import complex as joined
        from jax.numpy.linalg import qr

        solve = jax.scipy.linalg.solve_triangular
        eye = jax.numpy.eye(parts.shape[-1], dtype=parts.dtype)
        concatenate, stack = jax.numpy.concatenate, jax.numpy.stack

    rows = parts.shape[-2]
    below = floor * eye + 0 * parts[0][..., :1, :]  # for each of a batch
    halves = [concatenate([part, below if i == 0 else 0 * below], -2) for i, part in enumerate(parts)]
    q, r = _each(qr, halves[0] if len(halves) == 1 else joined(*halves))

    def pullback() -> Array:
        gradient = _each(solve, r, q[..., :rows, :].mT.conj()).mT.conj()
        return stack([gradient] if len(halves) == 1 else [gradient.real, gradient.imag])

    return ops.sum(ops.log(ops.abs(ops.diagonal(r, axis1=-2, axis2=-1))), axis=-1), pullback


@_differentiable
def _gram_log_volume(parts: Array, floor: Array) -> Any:
    """By Cholesky of the Gram matrix in float64, on TensorFlow, whose Householder QR is slow on CPU.

    float64 gives back the digits that squaring the condition number takes: the products of float32 numbers
    are exact in it. The floor never falls below the rounding of the Gram matrix, 4e-8 of the Frobenius
    norm, which keeps the factorisation from failing; float32 resolves no more of a singular value than that.
    """
    import tensorflow as tf

    wide = tf.cast(parts, tf.float64)
    tall = wide[0] if wide.shape[0] == 1 else tf.complex(wide[0], wide[1])
    gram = tf.linalg.matmul(tall, tall, adjoint_a=True)
    diagonal = tf.math.real(tf.linalg.diag_part(gram))
    rounding = 8 * np.finfo(np.float64).eps * tf.reduce_sum(diagonal, axis=-1, keepdims=True)
    floor = tf.maximum(tf.square(tf.cast(floor[..., 0], tf.float64)), tf.maximum(rounding, 1e-290))
    factor = tf.linalg.cholesky(tf.linalg.set_diag(gram, tf.cast(diagonal + floor, gram.dtype)))
    value = tf.reduce_sum(tf.math.log(tf.math.real(tf.linalg.diag_part(factor))), axis=-1)

    def pullback() -> Array:
        gradient = tf.linalg.adjoint(tf.linalg.cholesky_solve(factor, tf.linalg.adjoint(tall)))
        pieces = [gradient] if wide.shape[0] == 1 else [tf.math.real(gradient), tf.math.imag(gradient)]
        return tf.cast(tf.stack(pieces), parts.dtype)

    return tf.cast(value, parts.dtype), pullback


def _column_log_volume(parts: Array, floor: Array) -> Array:
    """Of one column: half the log of its squared norm, without a factorisation."""
    squares = ops.sum(ops.square(parts), axis=(0, -2, -1))
    return 0.5 * ops.log(squares + ops.square(floor[..., 0, 0]))
