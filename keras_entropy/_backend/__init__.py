"""What differs between array libraries, behind one interface: one adapter each for NumPy, JAX, TensorFlow and torch.

The functions here look at an array and call the adapter it belongs to. `framework()` is the adapter of the Keras
backend, for everything else. No other file of the package asks which backend it runs on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy import _optional
from keras_entropy._backend.adapter import Adapter, Array, HostArray
from keras_entropy._backend.framework import Framework, smallest_normal
from keras_entropy._backend.numpy_adapter import NumpyAdapter

__all__ = [
    "Array",
    "Framework",
    "as_float",
    "at_least",
    "derivative",
    "framework",
    "host_value",
    "is_host",
    "log_volume",
    "namespace",
    "singular_values",
    "smallest_normal",
    "softplus",
    "stop_gradient",
    "to_host",
    "with_gradient",
]

_NUMPY = NumpyAdapter()


@functools.cache
def framework() -> Framework:
    """Return the adapter of the Keras backend.

    Raises:
        ValueError: For a backend without an adapter.
    """
    name = keras.backend.backend()
    if name == "tensorflow":
        from keras_entropy._backend.tensorflow_adapter import TensorFlowAdapter

        return TensorFlowAdapter()
    if name == "jax":
        from keras_entropy._backend.jax_adapter import JaxAdapter

        return JaxAdapter()
    if name == "torch":
        from keras_entropy._backend.torch_adapter import TorchAdapter

        return TorchAdapter()
    raise _optional.unsupported_backend(name)


def is_host(x: Array) -> bool:
    """Whether `x` is computed with NumPy on the host; tensors and variables belong to the backend."""
    return isinstance(x, np.ndarray | np.generic | list | tuple | int | float)


def _adapter_of(x: Array) -> Adapter:
    return _NUMPY if is_host(x) else framework()


def namespace(x: Array) -> Any:
    """Return the module whose functions work on `x`: `numpy` or `keras.ops`."""
    return _adapter_of(x).xp


def as_float(x: Array) -> Array:
    """Convert `x` to the dtype that formulas are computed in.

    NumPy arrays become float64. Tensors keep float32 and float64; 16-bit types, which have no matrix
    factorisation on any backend, are cast to float32.
    """
    return _adapter_of(x).as_float(x)


def stop_gradient(x: Array) -> Array:
    """Return `x` as a constant for differentiation."""
    return _adapter_of(x).stop_gradient(x)


def at_least(x: Array, floor: float) -> Array:
    """Elementwise maximum of `x` and a number, in the dtype of `x`. NaN stays NaN."""
    return _adapter_of(x).at_least(x, floor)


def softplus(x: Array) -> Array:
    """Elementwise log(1 + e^x)."""
    return _adapter_of(x).softplus(x)


def host_value(x: Array) -> HostArray | None:
    """Return the current value of `x` as a NumPy array, or None for a tracer or a symbolic tensor."""
    return _adapter_of(x).host_value(x)


def to_host(x: Array) -> HostArray:
    """Return the value of a variable, tensor or array as a NumPy array in its own dtype, bfloat16 as float32.

    The result is for reading only: it may share the memory of the variable.
    """
    return _adapter_of(x).to_host(x)


def log_volume(matrix: Array, epsilon: float, imaginary: Array | None = None) -> Array:
    """Sum of log sqrt(s^2 + epsilon^2) over the singular values s of matrices.

    This is half the log-determinant of W^H W + epsilon^2 I for the orientation W of `matrix` that has no more columns
    than rows. Its gradient is W (W^H W + epsilon^2 I)^-1.

    Args:
        matrix: (..., d, m), the real part.
        epsilon: Float >= 0. Noise floor, in units of the matrix.
        imaginary: (..., d, m), the imaginary part of a complex matrix. The two parts stay apart outside the
            factorisation, since the backends disagree on what the gradient of a complex number is. Defaults to None.

    Returns:
        (...): nats. NaN if `matrix` has a NaN or an infinity.
    """
    return _adapter_of(matrix).log_volume(matrix, epsilon, imaginary)


def singular_values(matrix: Array, imaginary: Array | None = None) -> Array:
    """Singular values of matrices, largest first.

    Args:
        matrix: (..., d, m), the real part.
        imaginary: (..., d, m), the imaginary part of a complex matrix. Defaults to None.

    Returns:
        (..., min(d, m)), in units of the matrix; all NaN for a matrix with a NaN or an infinity.
    """
    return _adapter_of(matrix).singular_values(matrix, imaginary)


def derivative(function: Callable[[Array], Array], x: Array) -> Array:
    """Derivative of an elementwise function at a tensor of the backend, itself differentiable."""
    return framework().derivative(function, x)


def with_gradient(value: Callable[[Array], Array], gradient: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Give a function of one tensor of the backend a derivative of its own, also of higher order.

    Args:
        value: Returns a tensor of the shape of its argument, or of that shape without the last axis.
        gradient: Returns, for each element of the argument, the derivative of its own value, or of the value of its
            row.
    """
    return framework().with_gradient(value, gradient)  # type: ignore[no-any-return]
