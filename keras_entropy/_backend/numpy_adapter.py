"""NumPy: formulas on the host, in float64 and without gradients."""

from __future__ import annotations

import numpy as np

from keras_entropy._backend.adapter import Adapter, Array, HostArray

_GRAM = 256
"""Number of columns from which singular values come from the Gram matrix, in a quarter of the time."""


class NumpyAdapter(Adapter):
    """Adapter of NumPy."""

    xp = np

    def as_float(self, x: Array) -> Array:
        """Convert `x` to float64."""
        return np.asarray(x, dtype=np.float64)

    def stop_gradient(self, x: Array) -> Array:
        """Return `x`."""
        return x

    def at_least(self, x: Array, floor: float) -> Array:
        """Elementwise maximum."""
        return np.maximum(x, floor)

    def softplus(self, x: Array) -> Array:
        """Elementwise log(1 + e^x)."""
        with np.errstate(invalid="ignore"):  # NaN in, NaN out
            return np.logaddexp(0.0, x)

    def host_value(self, x: Array) -> HostArray | None:
        """Return `x`."""
        return np.asarray(x)

    def to_host(self, x: Array) -> HostArray:
        """Return `x`."""
        return np.asarray(x)

    def log_volume(self, matrix: Array, epsilon: float, imaginary: Array | None) -> Array:
        """By LU decomposition for a square matrix without a noise floor, else by QR."""
        matrix = _complex(matrix, imaginary)
        if epsilon == 0 and matrix.shape[-2] == matrix.shape[-1]:
            safe, poison = _finite(matrix)
            return np.asarray(np.linalg.slogdet(safe)[1] + poison)
        tall = _tall(matrix)
        columns = tall.shape[-1]
        floor = np.broadcast_to(epsilon * np.eye(columns), (*tall.shape[:-2], columns, columns))
        factor = np.linalg.qr(np.concatenate([tall, floor], axis=-2), mode="r")
        with np.errstate(divide="ignore"):  # log 0 = -inf is the value of a singular matrix without a floor
            return np.asarray(np.log(np.abs(np.diagonal(factor, axis1=-2, axis2=-1))).sum(-1))

    def singular_values(self, matrix: Array, imaginary: Array | None) -> Array:
        """By SVD, or for large well-conditioned matrices from the eigenvalues of the Gram matrix."""
        safe, poison = _finite(_complex(matrix, imaginary))
        return _singular_values(safe) + poison[..., None]


def _complex(real: HostArray, imaginary: HostArray | None) -> HostArray:
    if imaginary is None:
        return real
    joined = np.empty(real.shape, np.complex128)
    joined.real, joined.imag = real, imaginary  # the product with 1j would warn of infinities
    return joined


def _tall(matrix: HostArray) -> HostArray:
    """`matrix`, transposed if it has more columns than rows."""
    return matrix if matrix.shape[-2] >= matrix.shape[-1] else np.swapaxes(matrix, -1, -2)


def _finite(matrix: HostArray) -> tuple[HostArray, HostArray]:
    """`matrix` with 0 for each element that is not finite; per matrix NaN if it had such an element, else 0."""
    finite = np.isfinite(matrix)
    if finite.all():  # without a copy of a large matrix
        return matrix, np.zeros(matrix.shape[:-2])
    safe = np.where(finite, matrix, np.zeros_like(matrix))
    return safe, np.where(finite.all(axis=(-2, -1)), 0.0, np.nan)


def _singular_values(matrix: HostArray) -> HostArray:
    if min(matrix.shape[-2:]) < _GRAM:
        return np.linalg.svd(matrix, compute_uv=False)
    tall = _tall(matrix)
    squares = np.linalg.eigvalsh(np.swapaxes(tall.conj(), -1, -2) @ tall)[..., ::-1]
    # Rounding of the Gram matrix then changes no logarithm by more than 1e-7, and their mean by far less.
    exact = squares[..., -1] > 1e-8 * squares[..., 0]
    values = np.sqrt(np.maximum(squares, 0))
    values[~exact] = np.linalg.svd(tall[~exact], compute_uv=False)
    return values
