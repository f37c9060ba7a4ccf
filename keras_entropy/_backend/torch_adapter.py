"""torch."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import torch
from keras import ops

from keras_entropy._backend.adapter import Array, HostArray
from keras_entropy._backend.qr_framework import QRFramework


class TorchAdapter(QRFramework):
    """Adapter of torch."""

    compiles_steps = False

    def host_value(self, x: Array) -> HostArray | None:
        """Return the current value of a variable or tensor; None for one that `torch.vmap` computes."""
        try:
            return self._as_numpy(x)
        except RuntimeError:  # torch has no public question for it
            return None

    def complex(self, real: Array, imaginary: Array) -> Array:
        """Complex matrices of their real and imaginary parts."""
        return torch.complex(real, imaginary)

    def qr(self, matrix: Array) -> tuple[Array, Array]:
        """Reduced QR decomposition."""
        q, r = torch.linalg.qr(matrix)
        return q, r

    def solve_upper(self, matrix: Array, b: Array) -> Array:
        """Solve `matrix` x = b for upper triangular matrices."""
        return torch.linalg.solve_triangular(matrix, b, upper=True)

    def cholesky_and_inverse(self, gram: Array) -> tuple[Array, Array]:
        """Cholesky factor and inverse; NaN where torch reports that there is no factorisation."""
        factor, info = torch.linalg.cholesky_ex(gram)
        if int(info):
            return factor, torch.full_like(gram, torch.nan)
        return factor, torch.cholesky_inverse(factor)

    def custom_gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Like `keras.ops.custom_gradient`, which on torch passes the arguments too, and the upstream by name."""

        def adapted(*arguments: Array) -> Any:
            value, pullback = function(*arguments)
            return value, lambda *_, upstream: pullback(upstream)

        return ops.custom_gradient(adapted)  # type: ignore[no-any-return]

    def derivative(self, function: Callable[[Array], Array], x: Array) -> Array:
        """Derivative of an elementwise function, by autograd of the sum of its values."""
        wanted = torch.is_grad_enabled() and x.requires_grad
        with torch.enable_grad():
            x = x if x.requires_grad else x.detach().requires_grad_()
            total = function(x).sum()
            if not total.requires_grad:  # a constant
                return torch.zeros_like(x)
            return torch.autograd.grad(total, x, create_graph=wanted)[0]

    def with_gradient(self, value: Callable[[Array], Array], gradient: Callable[[Array], Array]) -> Any:
        """Give `value` the derivative `gradient`."""

        @ops.custom_gradient
        def differentiable(x: Array) -> Any:
            y = value(x)

            def pullback(x: Array, upstream: Array) -> Array:  # `x` as the graph knows it, for higher derivatives
                return (upstream if y.ndim == x.ndim else upstream[..., None]) * gradient(x)

            return y, pullback

        return differentiable

    def is_tracing(self, x: Array) -> bool:
        """False: torch compiles a function again by itself where an attribute has changed."""
        return False

    def compiled(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Run a function without recording it for differentiation."""
        return torch.no_grad()(function)  # type: ignore[no-any-return]

    def map_rows(self, function: Callable[[Array], Any], rows: Array) -> Any:
        """By `torch.vmap`; row by row where it fails, as it does for convolutions with their channels last."""
        with warnings.catch_warnings():
            # It maps attention too, in a slow way of its own, and says so to the developers of torch.
            warnings.filterwarnings("ignore", "(?s).*There is a performance drop", UserWarning)
            try:
                return torch.vmap(function)(rows)
            except RuntimeError:
                return keras.tree.map_structure(lambda *parts: torch.stack(parts), *(function(row) for row in rows))

    def seed_shared_generator(self, seed: int) -> None:
        """Seed the generator from which dropout and Keras's shuffling draw."""
        torch.manual_seed(seed)

    def accelerator(self) -> str:
        """Name of the first GPU, or "" if there is none."""
        return torch.cuda.get_device_name(0) if torch.cuda.is_available() else ""
