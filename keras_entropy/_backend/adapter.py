"""The interface that each adapter implements: what the formulas need of an array library."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

Array = Any
"""A NumPy array, a tensor of the Keras backend or a `keras.Variable`."""

HostArray = np.ndarray[Any, Any]
"""A NumPy array."""


class Adapter(abc.ABC):
    """The operations on arrays that NumPy and the Keras backends do differently.

    Attributes:
        xp: Module with all other array functions: `numpy` or `keras.ops`.
    """

    xp: Any

    @abc.abstractmethod
    def as_float(self, x: Array) -> Array:
        """Convert `x` to the dtype that formulas are computed in."""

    @abc.abstractmethod
    def stop_gradient(self, x: Array) -> Array:
        """Return `x` as a constant for differentiation."""

    @abc.abstractmethod
    def at_least(self, x: Array, floor: float) -> Array:
        """Elementwise maximum of `x` and a number, in the dtype of `x`. NaN stays NaN."""

    @abc.abstractmethod
    def softplus(self, x: Array) -> Array:
        """Elementwise log(1 + e^x)."""

    @abc.abstractmethod
    def host_value(self, x: Array) -> HostArray | None:
        """Return the current value of `x` as a NumPy array, or None for a tracer or a symbolic tensor."""

    @abc.abstractmethod
    def to_host(self, x: Array) -> HostArray:
        """Return `x` as a read-only NumPy array in its own dtype, bfloat16 as float32."""

    @abc.abstractmethod
    def log_volume(self, matrix: Array, epsilon: float, imaginary: Array | None) -> Array:
        """Sum of log sqrt(s^2 + epsilon^2) over the singular values s of matrices (..., d, m)."""

    @abc.abstractmethod
    def singular_values(self, matrix: Array, imaginary: Array | None) -> Array:
        """Singular values of matrices (..., d, m), largest first."""
