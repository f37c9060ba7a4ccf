"""Axes of convolution kernels."""

from __future__ import annotations

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array

LAYOUTS = ("conv", "transpose", "depthwise")
"""Kernels (*spatial, c_in, c_out), (*spatial, c_out, c_in) and (*spatial, c_in, multiplier)."""


def check_layout(layout: object, groups: object) -> tuple[str, int]:
    """Return `layout` and `groups` of a regularizer if they are valid; only layout "conv" has groups."""
    name, number = _checks.one_of("layout", layout, LAYOUTS), _checks.positive_integer("groups", groups)
    if number > 1 and name != "conv":
        raise ValueError(_checks.message("groups", f"1 for layout={layout!r}", groups))
    return name, number


def as_conv(shape: tuple[int, ...], layout: str, groups: int) -> tuple[tuple[int, ...], int]:
    """Return the shape (*spatial, rows, columns) and the groups of a kernel as a grouped convolution.

    A depthwise convolution has one group per input channel. A transposed convolution is the transpose of the
    convolution with this kernel.
    """
    if layout == "depthwise":
        return (*shape[:-2], 1, shape[-2] * shape[-1]), shape[-2]
    return shape, groups


def reshaped(kernel: Array, shape: tuple[int, ...]) -> Array:
    """Reshape a kernel, if it has another shape."""
    return kernel if tuple(kernel.shape) == shape else _backend.namespace(kernel).reshape(kernel, shape)
