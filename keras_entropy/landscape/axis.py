"""Bins along one or two observables."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.problems.problem import Problem

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class Axis:
    """Bins of one observable. Values beyond its ends count to the bins at the ends, so that the whole space counts.

    Attributes:
        name: of the observable.
        edges: (n + 1,) rising.
        deep: "low" or "high": the end that few parameters reach.
    """

    name: str
    edges: Array
    deep: str = "low"

    def __post_init__(self) -> None:
        try:
            edges = np.asarray(self.edges, dtype=np.float64)
        except (TypeError, ValueError):
            edges = np.zeros(0)
        if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0) or not np.all(np.isfinite(edges)):
            raise ValueError(_checks.message("edges", "two or more rising finite numbers", self.edges))
        object.__setattr__(self, "edges", edges)

    @property
    def bins(self) -> int:
        """How many."""
        return len(self.edges) - 1

    @property
    def centers(self) -> Array:
        """(n,) middles of the bins."""
        middles: Array = (self.edges[1:] + self.edges[:-1]) / 2
        return middles

    def index(self, values: Array) -> Array:
        """Bins of values, clamped to the ends."""
        found: Array = np.searchsorted(self.edges[1:-1], values, side="right")
        return found


@dataclasses.dataclass(frozen=True)
class Bins:
    """The bins of all axes, flattened; those that are targets are numbered by `mapping`, the others are a wall.

    Attributes:
        axes: one or two.
        mapping: (n,) or (n0 * n1,) number of each target bin, -1 elsewhere.
    """

    axes: tuple[Axis, ...]
    mapping: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Bins of each axis."""
        return tuple(axis.bins for axis in self.axes)

    @property
    def count(self) -> int:
        """How many targets."""
        return int(self.mapping.max()) + 1

    @property
    def targets(self) -> Array:
        """Which bins are targets, in the shape of the axes."""
        return (self.mapping >= 0).reshape(self.shape)

    @functools.cached_property
    def cells(self) -> Array:
        """(n, 2) indices of each target bin along the axes, 0 along one that is not there."""
        chosen = np.flatnonzero(self.mapping >= 0)
        second = self.axes[1].bins if len(self.axes) > 1 else 1
        return np.stack([chosen // second, chosen % second], 1)

    def neighbours(self, bands: tuple[int, int]) -> Array:
        """(n, 2 * band + 1, 2 * band + 1) target bins at each distance from each one; -1 where there is none."""
        shape = self.axes[0].bins, self.axes[1].bins if len(self.axes) > 1 else 1
        padded = np.full([size + 2 * band for size, band in zip(shape, bands, strict=True)], -1)
        padded[bands[0] : bands[0] + shape[0], bands[1] : bands[1] + shape[1]] = self.mapping.reshape(shape)
        first, second = (np.arange(2 * band + 1) for band in bands)
        cells = self.cells
        found: Array = padded[cells[:, 0, None, None] + first[:, None], cells[:, 1, None, None] + second]
        return found

    def index(self, values: Sequence[Array]) -> Array:
        """Target bins of values of the axes' observables; -1 outside of them."""
        flat = np.zeros(np.shape(values[0]), dtype=np.int64)
        for axis, value in zip(self.axes, values, strict=True):
            flat = flat * axis.bins + axis.index(value)
        found: Array = self.mapping[flat]
        return found

    def spread(self, values: Array, fill: float) -> Array:
        """Values of the target bins in the shape of the axes, `fill` elsewhere."""
        whole = np.full(self.mapping.size, fill, dtype=np.result_type(values, type(fill)))
        whole[self.mapping >= 0] = values[self.mapping[self.mapping >= 0]]
        return whole.reshape(self.shape)


def bins_of(axes: Iterable[Axis], targets: Array | None = None) -> Bins:
    """Bins whose targets are all, or those of a mask in the shape of the axes."""
    axes = tuple(axes)
    size = int(np.prod([axis.bins for axis in axes]))
    chosen = np.ones(size, bool) if targets is None else np.asarray(targets, bool).ravel()
    mapping = np.where(chosen, np.cumsum(chosen) - 1, -1)
    return Bins(axes, mapping.astype(np.int64))


def axis_of(problem: Problem, name: str, edges: Mapping[str, Array]) -> Axis | None:
    """The axis of an observable; None where its edges are to be found by splitting.

    Raises:
        TypeError, ValueError: for an observable that the problem does not have, and for edges of another kind.
    """
    if not isinstance(edges, Mapping):
        raise TypeError(_checks.message("edges", "a dictionary of the edges of observables, by name", edges))
    for given in edges:
        _checks.one_of("edges", given, tuple(problem.observables))
    observable = problem.observables[_checks.one_of("axes", name, tuple(problem.observables))]
    if name in edges:
        return Axis(name, edges[name], observable.deep)
    if observable.levels is None:
        return None
    return Axis(name, (np.arange(observable.levels + 2) - 0.5) / observable.levels, observable.deep)
