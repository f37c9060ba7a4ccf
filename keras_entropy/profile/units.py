"""The units of a weight: outputs without weights, inputs that are not read, and outputs that repeat each other."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from keras_entropy.profile.keras_layers import einsum
from keras_entropy.profile.linear_map import HostArray, LinearMap
from keras_entropy.profile.weights import MeasurableWeight

DEAD = 1e-6
"""Norm of the weights of a dead unit, relative to the largest one of the layer: a sum of float32 numbers of which one
is a millionth of the others loses it in about ten roundings (6e-8 each)."""

PARALLEL = 0.999
"""Absolute cosine from which the weights of two outputs are parallel: each is the other one up to its size and 4.5 % of
its norm."""

BY_CHANCE = 0.01
"""Parallel pairs that random directions may give. With few inputs there are more: two random vectors of two numbers are
parallel with a probability of 3 %, so layers of few inputs and many outputs are not searched for duplicates."""

MOST_OUTPUTS = 8192
"""Number of outputs up to which duplicates are searched: all pairs are compared."""

_SKETCH = 64
"""Random directions on which long vectors are compared first. Squared distances between vectors keep their size up to
18 % (one standard deviation)."""

_CANDIDATE = 0.99
"""Absolute cosine of such sketches from which the vectors themselves are compared."""

_BLOCK = 2**20
"""How many numbers of a kernel are converted to float64 at a time: 8 MiB."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Units:
    """The inputs and outputs of a weight. Indices start at 0.

    Attributes:
        outputs: Integer. Number of outputs: units of a Dense layer, filters of a convolution, channels of a scale.
        inputs: Integer. Number of inputs: features or channels.
        dead: Tuple of integers. Outputs whose weights are all zero, or have less than `DEAD` of the largest norm of an
            output. Such an output is constant: its bias.
        unread: Tuple of integers. Inputs whose weights are all zero, in the same sense. Empty for a scale.
        duplicates: Tuple of tuples of integers. Each lists outputs of the same inputs whose weights are parallel to
            those of the first one: their cosine is above `PARALLEL` in absolute value.
        opposite: Integer. How many of these are parallel with the opposite sign, which a ReLU tells apart.
        groups: Integer. Number of groups of equal size; the outputs of a group read the inputs of that group only.
        searched: Boolean. Whether duplicates were looked for: not with so few inputs that random outputs would be
            parallel, and not among more than `MOST_OUTPUTS` outputs.
    """

    outputs: int
    inputs: int
    dead: tuple[int, ...] = ()
    unread: tuple[int, ...] = ()
    duplicates: tuple[tuple[int, ...], ...] = ()
    opposite: int = 0
    groups: int = 1
    searched: bool = True

    @property
    def repeated(self) -> int:
        """Integer. How many outputs repeat an earlier one."""
        return sum(len(group) - 1 for group in self.duplicates)

    def left(self, directions: int) -> int:
        """Return how many directions dead, unread and repeated units leave, at least.

        Args:
            directions: Integer. How many dimensions pass the weight if all units are alive and different: with strides
                there can be several for each input.
        """
        outputs, inputs = self.outputs // self.groups, self.inputs // self.groups
        repeated = [i for group in self.duplicates for i in group[1:]]
        gone = np.bincount(np.array([*self.dead, *repeated], dtype=int) // outputs, minlength=self.groups)
        unread = np.bincount(np.array(self.unread, dtype=int) // inputs, minlength=self.groups)
        whole = directions / self.groups
        of_outputs, of_inputs = max(1.0, whole / outputs), max(1.0, whole / inputs)
        least = np.minimum((outputs - gone) * of_outputs, (inputs - unread) * of_inputs)
        return round(float(np.minimum(least, whole).sum()))


def units_of(weight: MeasurableWeight, draw: Callable[[Any], HostArray] | None = None) -> Units | None:
    """Look at the units of a weight.

    Args:
        weight: A `MeasurableWeight` with finite values.
        draw: Function that returns a NumPy array for each variable, in place of its own value. Defaults to None.

    Returns:
        `Units`; None for recurrent kernels, whose units have a part in each gate.
    """
    kernel = unit_kernel(weight, draw)
    if kernel is None:
        return None
    groups, _, channels, outputs = kernel.shape
    outgoing, incoming = _norms(kernel)
    dead, unread = (np.flatnonzero(norms <= DEAD * norms.max()) for norms in (outgoing, incoming))
    alone = weight.layout == "scale" or isinstance(weight.layer, keras.layers.Embedding)
    searched = _searchable(kernel)
    duplicates, opposite = _duplicates(kernel, outgoing > DEAD * outgoing.max()) if searched else ((), 0)
    return Units(
        outputs=groups * outputs,
        inputs=groups * channels,
        dead=tuple(dead.tolist()),
        unread=() if alone else tuple(unread.tolist()),
        duplicates=duplicates,
        opposite=opposite,
        groups=groups,
        searched=searched,
    )


def unit_kernel(weight: MeasurableWeight, draw: Callable[[Any], HostArray] | None = None) -> HostArray | None:
    """Return a weight as an array (groups, positions, inputs, outputs) in its own dtype; None for recurrent kernels.

    The heads of an attention projection are joined. An input and an output of different groups have no weight.
    """
    if weight.in_attention:
        whole = einsum(weight.layer)["kernel"]
        assert isinstance(whole, LinearMap)
        weight = dataclasses.replace(weight, linear_map=whole)
    pieces = [*weight.pieces(draw).values()]
    first = pieces[0]
    if weight.layout == "scale":
        return first.reshape(-1, 1, 1, 1)
    if weight.layout == "dense":
        if len(pieces) > 1 and not isinstance(weight.layer, keras.layers.EinsumDense):
            return None
        return first[None, None] if len(pieces) == 1 else np.stack(pieces)[:, None]
    return None if len(pieces) > 1 else _of_convolution(first, weight.layout, weight.linear_map.groups)


def _of_convolution(kernel: HostArray, layout: str, groups: int) -> HostArray:
    positions = math.prod(kernel.shape[:-2])
    kernel = kernel.reshape(positions, *kernel.shape[-2:])
    if layout == "depthwise":  # each channel is a group
        return kernel[:, None].transpose(2, 0, 1, 3)
    if layout == "transpose":
        return kernel[None].swapaxes(2, 3)
    return kernel.reshape(*kernel.shape[:2], groups, -1).transpose(2, 0, 1, 3)


def output_norms(kernel: HostArray) -> HostArray:
    """The norm of the weights of each output of a `unit_kernel`."""
    return _norms(kernel)[0]


def cosines(kernel: HostArray, most: int) -> tuple[HostArray, HostArray]:
    """Cosines between the weights of outputs: the correlations of the outputs for white inputs, at one position.

    Args:
        kernel: A `unit_kernel`.
        most: Integer. If there are more outputs, so many of them are taken, evenly spaced.

    Returns:
        The indices of k outputs, and an array (k, k). It is 0 for outputs of different inputs, and for dead outputs.
    """
    outputs = kernel.shape[0] * kernel.shape[3]
    chosen = np.unique(np.linspace(0, outputs - 1, min(most, outputs)).round().astype(int))
    group, column = np.divmod(chosen, kernel.shape[3])
    vectors = _directions(
        np.stack([kernel[g, :, :, c].reshape(-1) for g, c in zip(group, column, strict=True)], axis=1)
    )
    return chosen, np.where(group[:, None] == group, vectors.T @ vectors, 0.0)


def _norms(kernel: HostArray) -> tuple[HostArray, HostArray]:
    """The norms of the weights of each output, and of each input."""
    groups, positions, channels, outputs = kernel.shape
    largest = _largest(kernel)
    rows = kernel.reshape(groups, positions * channels, outputs)
    of_outputs, of_rows = np.zeros((groups, outputs)), np.zeros(rows.shape[:2])
    step = max(1, _BLOCK // (groups * outputs))
    for i in range(0, rows.shape[1], step):
        squares = rows[:, i : i + step].astype(np.float64)
        squares /= largest
        squares *= squares
        of_outputs += squares.sum(axis=1)
        of_rows[:, i : i + step] = squares.sum(axis=2)
    of_inputs = of_rows.reshape(groups, positions, channels).sum(axis=1)
    return largest * np.sqrt(of_outputs).reshape(-1), largest * np.sqrt(of_inputs).reshape(-1)


def _searchable(kernel: HostArray) -> bool:
    groups, positions, channels, outputs = kernel.shape
    return bool(outputs <= MOST_OUTPUTS and groups * _parallel_by_chance(positions * channels, outputs) <= BY_CHANCE)


def _duplicates(kernel: HostArray, alive: HostArray) -> tuple[tuple[tuple[int, ...], ...], int]:
    groups, positions, channels, outputs = kernel.shape
    size = positions * channels
    found: list[tuple[int, ...]] = []
    opposite = 0
    for g in range(groups if outputs > 1 else 0):
        living = np.flatnonzero(alive[g * outputs : (g + 1) * outputs])
        for first, others, signs in _parallel(kernel[g].reshape(size, outputs), living):
            found.append(tuple(int(g * outputs + i) for i in (first, *others)))
            opposite += int((signs < 0).sum())
    return tuple(found), opposite


def _parallel_by_chance(size: int, outputs: int) -> float:
    """Expected number of parallel pairs among random directions."""
    from scipy.special import betainc

    pairs = outputs * (outputs - 1) / 2
    return float(pairs * betainc((size - 1) / 2, 0.5, 1 - PARALLEL**2)) if size > 1 else pairs


def _parallel(matrix: HostArray, columns: HostArray) -> list[tuple[int, HostArray, HostArray]]:
    """Lists of parallel columns: the first one, the others, and the signs of their cosines."""
    sketch = _directions(_sketch(matrix, columns))
    exact = len(matrix) <= _SKETCH
    free = np.ones(len(columns), dtype=bool)
    found = []
    step = max(1, _BLOCK // max(1, len(columns)))
    for start in range(0, len(columns), step):
        near = np.abs(sketch[:, start : start + step].T @ sketch) > (PARALLEL if exact else _CANDIDATE)
        for i in start + np.flatnonzero(near.sum(axis=1) > 1):
            others = np.flatnonzero(near[i - start] & free & (np.arange(len(columns)) > i))
            if not free[i] or not len(others):
                continue
            cosine = _directions(matrix[:, columns[[i, *others]]])
            cosine = cosine[:, 0] @ cosine[:, 1:]
            kept = np.abs(cosine) > PARALLEL
            if kept.any():
                free[others[kept]] = False
                found.append((int(columns[i]), columns[others[kept]], cosine[kept]))
    return found


def _sketch(matrix: HostArray, columns: HostArray) -> HostArray:
    """Project long columns on random directions, a block of rows at a time."""
    if len(matrix) <= _SKETCH:
        return matrix[:, columns].astype(np.float64)
    generator = np.random.default_rng(0)
    largest = _largest(matrix)
    sketch = np.zeros((_SKETCH, len(columns)))
    step = max(1, _BLOCK // max(1, len(columns)))
    for i in range(0, len(matrix), step):
        rows = matrix[i : i + step, columns].astype(np.float64) / largest
        sketch += generator.standard_normal((_SKETCH, len(rows))) @ rows
    return sketch


def _largest(values: HostArray) -> float:
    """The largest absolute value, without a copy of the array; 1 if all are zero."""
    return max(float(values.max()), -float(values.min())) or 1.0


def _directions(vectors: HostArray) -> HostArray:
    """Columns divided by their norms, in float64; zero columns stay zero."""
    vectors = vectors.astype(np.float64)
    vectors = vectors / (np.abs(vectors).max(axis=0) + (vectors == 0).all(axis=0))
    norms = np.sqrt((vectors**2).sum(axis=0))
    directions: HostArray = vectors / np.where(norms == 0, 1, norms)
    return directions
