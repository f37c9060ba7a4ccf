"""Where the filters of a convolution kernel are."""

from __future__ import annotations

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array

LAYOUTS = ("conv", "transpose", "depthwise")
"""(*spatial, c_in, c_out); (*spatial, c_out, c_in) of transposed convolutions; (*spatial, c_in, multiplier)."""


def check_layout(layout: object, groups: object) -> tuple[str, int]:
    """Check the arguments `layout` and `groups` of a regularizer; groups are those of layout "conv"."""
    name, number = _checks.one_of("layout", layout, LAYOUTS), _checks.positive_integer("groups", groups)
    if number > 1 and name != "conv":
        raise ValueError(_checks.message("groups", f"1 where layout={layout!r}", groups))
    return name, number


def as_conv(shape: tuple[int, ...], layout: str, groups: int) -> tuple[tuple[int, ...], int]:
    """The shape (*spatial, rows, columns) and the groups of the grouped convolution that a kernel is.

    A depthwise convolution has a group for each input channel. A transposed one stays as it is: the convolution
    whose transposed map it is.
    """
    if layout == "depthwise":
        return (*shape[:-2], 1, shape[-2] * shape[-1]), shape[-2]
    return shape, groups


def reshaped(kernel: Array, shape: tuple[int, ...]) -> Array:
    """The kernel in that shape."""
    return kernel if tuple(kernel.shape) == shape else _backend.namespace(kernel).reshape(kernel, shape)
