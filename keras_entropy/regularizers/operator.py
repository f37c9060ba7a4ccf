"""The base class of the terms that measure the linear operator of a layer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from keras_entropy import _checks
from keras_entropy.regularizers import layouts
from keras_entropy.regularizers.base import EntropyRegularizer

Sizes = int | Sequence[int]


class OperatorRegularizer(EntropyRegularizer):
    """Base class of the terms that measure the linear operator of a layer: a matrix, or a whole convolution.

    Args:
        factor: Float. Strength of the term.
        epsilon: Float, at least 0. Noise floor. Defaults to 1e-4.
        reduction: String. `"mean"` or `"sum"`. Defaults to `"mean"`.
        grid: Integer. Frequencies per spatial dimension. Defaults to 8, or the next power of two above the kernel size.
        layout: String. `"conv"`, `"transpose"` or `"depthwise"`. Defaults to `"conv"`.
        strides: Integer, or one per spatial dimension. Defaults to 1.
        dilation: Integer, or one per spatial dimension. Defaults to 1.
        groups: Integer. Defaults to 1.
        every: Integer. As in `EntropyRegularizer`. Defaults to 1.
    """

    layer_arguments = ("layout", "strides", "dilation", "groups")

    def __init__(
        self,
        factor: float,
        epsilon: float = 1e-4,
        reduction: str = "mean",
        grid: int | None = None,
        layout: str = "conv",
        strides: Sizes = 1,
        dilation: Sizes = 1,
        groups: int = 1,
        every: int = 1,
    ) -> None:
        super().__init__(_checks.float32("factor", factor), epsilon, reduction, every)
        self.grid = None if grid is None else _checks.positive_integer("grid", grid)
        self.layout, self.groups = layouts.check_layout(layout, groups)
        self.strides = _plain_sizes("strides", strides)
        self.dilation = _plain_sizes("dilation", dilation)

    def check_kernel(self, shape: tuple[int, ...]) -> None:
        """Raise `ValueError` if the kernel has no spatial dimensions, or its filters cannot be split into groups."""
        name = type(self).__name__
        if not 3 <= len(shape) <= 5:
            raise ValueError(
                f"{name} measures kernels with one to three spatial dimensions, (*spatial, c_in, c_out). "
                f"Received: a kernel of shape {shape}. Use DenseEntropy or TotalCorrelation for matrices."
            )
        if shape[-1] % self.groups:
            raise ValueError(
                f"`groups` should divide the number of filters. Received: groups={self.groups} for a kernel "
                f"of shape {shape}, which has {shape[-1]} filters."
            )
        for argument in ("strides", "dilation"):
            value = getattr(self, argument)
            if isinstance(value, list) and len(value) != len(shape) - 2:
                expected = f"a number, or one for each of the {len(shape) - 2} spatial dimensions"
                raise ValueError(_checks.message(argument, expected, value))

    def operator_arguments(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], dict[str, Any]]:
        """The shape of the kernel as a grouped convolution, and the further arguments of `functional`."""
        shape, groups = layouts.as_conv(shape, self.layout, self.groups)
        return shape, {"grid": self.grid, "strides": self.strides, "dilation": self.dilation, "groups": groups}

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {
            **super().get_config(),
            "grid": self.grid,
            "layout": self.layout,
            "strides": self.strides,
            "dilation": self.dilation,
            "groups": self.groups,
        }


def _plain_sizes(argument: str, value: Any) -> int | list[int]:
    """Return `value` as a positive integer, or a list of them."""
    if isinstance(value, list | tuple):
        return [_checks.positive_integer(argument, size) for size in value]
    return _checks.positive_integer(argument, value)
