"""The log-volume by Householder QR, or by Cholesky where that loses nothing: for JAX and torch."""

from __future__ import annotations

import abc
from collections.abc import Callable

from keras import ops

from keras_entropy._backend.adapter import Array
from keras_entropy._backend.framework import Framework

_WELL_CONDITIONED = 3e3  # of a Gram matrix in float32: rounding then changes the gradient by less than 1e-3

Factorised = tuple[Array, Callable[[], Array]]


class QRFramework(Framework):
    """Adapter of a framework whose QR decomposition is fast.

    Its methods use the framework's own functions and operators: `keras.ops` on torch computes some functions of
    float64 in float32, and knows no complex numbers of double precision.
    """

    @abc.abstractmethod
    def complex(self, real: Array, imaginary: Array) -> Array:
        """Complex matrices of their real and imaginary parts."""

    @abc.abstractmethod
    def qr(self, matrix: Array) -> tuple[Array, Array]:
        """Reduced QR decomposition."""

    @abc.abstractmethod
    def solve_upper(self, matrix: Array, b: Array) -> Array:
        """Solve `matrix` x = b for upper triangular matrices."""

    @abc.abstractmethod
    def cholesky_and_inverse(self, gram: Array) -> tuple[Array, Array]:
        """Cholesky factor and inverse of one Gram matrix; NaN, not an error, where it is singular to rounding."""

    def factorise(self, parts: Array, floor: Array) -> Factorised:
        """By Householder QR in the precision of `parts`.

        A tall matrix whose Gram matrix is well conditioned, as that of most Dense kernels, takes a third of the time
        by Cholesky, at no loss.
        """
        rows, columns = parts.shape[-2:]
        if len(parts) > 1 or len(parts.shape) > 3 or rows < 2 * columns:
            return self._householder(parts, floor)
        gram = ops.transpose(parts[0]) @ parts[0] + floor * floor * ops.eye(columns, dtype=parts.dtype)
        half, inverse = self.cholesky_and_inverse(gram)
        # An upper bound of the condition number; NaN where there is no factorisation.
        condition = ops.sqrt(ops.sum(ops.square(gram)) * ops.sum(ops.square(inverse)))

        def fast() -> tuple[Array, Array]:
            return ops.sum(ops.log(ops.diagonal(half))), (parts[0] @ inverse)[None]

        def safe() -> tuple[Array, Array]:
            value, gradient = self._householder(parts, floor)
            return value, gradient()

        value, gradient = ops.cond(condition < _WELL_CONDITIONED, fast, safe)
        return value, lambda: gradient

    def _householder(self, parts: Array, floor: Array) -> Factorised:
        """From R of [W; floor I] as sum log|diag R|; the gradient W (R^H R)^-1 is Q R^-H, from the upper part of Q."""
        rows, columns = parts.shape[-2:]
        # The product with 0 repeats the floor for each matrix of a batch.
        below = floor * ops.eye(columns, dtype=parts.dtype) + 0 * parts[0][..., :1, :]
        halves = [ops.concatenate([part, below if i == 0 else 0 * below], -2) for i, part in enumerate(parts)]
        q, r = self.for_each_matrix(self.qr, halves[0] if len(halves) == 1 else self.complex(*halves))

        def gradient() -> Array:
            adjoint = self.for_each_matrix(self.solve_upper, r, q[..., :rows, :].mT.conj()).mT.conj()
            return ops.stack([adjoint] if len(halves) == 1 else [adjoint.real, adjoint.imag])

        return ops.sum(ops.log(ops.abs(ops.diagonal(r, axis1=-2, axis2=-1))), axis=-1), gradient
