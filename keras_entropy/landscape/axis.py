"""Bins along one or two observables."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.problems.problem import Problem

Array = np.ndarray[Any, Any]

_BYTES_PER_BIN = 64
"""Memory of a walk for each bin, at least: its number, its weight and what is counted in it."""


@dataclasses.dataclass(frozen=True, eq=False)
class Axis:
    """The bins of one observable.

    Values beyond the first or the last edge count in the first or the last bin, so that the bins cover the whole box.

    Attributes:
        name: String. Name of the observable.
        edges: Array (n + 1,), float64, read-only. Increasing edges of n bins.
        deep: "low" or "high": the end of the axis that only a small part of the box reaches. Defaults to "low".

    Raises:
        ValueError: For edges that are not two or more increasing finite numbers, and for another `deep`.

    Examples:
        >>> from keras_entropy.landscape import Axis
        >>> Axis("train_loss", [0.1, 0.2, 0.4]).bins
        2
    """

    name: str
    edges: Array
    deep: str = "low"

    def __post_init__(self) -> None:
        _checks.one_of("deep", self.deep, ("high", "low"))
        try:
            edges = np.array(self.edges, dtype=np.float64)
        except (TypeError, ValueError):
            edges = np.zeros(0)
        if edges.ndim != 1 or len(edges) < 2 or not np.all(np.diff(edges) > 0) or not np.all(np.isfinite(edges)):
            raise ValueError(_checks.message("edges", "two or more increasing finite numbers", self.edges))
        edges.setflags(write=False)
        object.__setattr__(self, "edges", edges)

    @property
    def bins(self) -> int:
        """Number of bins."""
        return len(self.edges) - 1

    @property
    def centers(self) -> Array:
        """Centers of the bins, array (n,)."""
        middles: Array = (self.edges[1:] + self.edges[:-1]) / 2
        return middles

    def index(self, values: Array) -> Array:
        """Return the bins of values."""
        found: Array = np.searchsorted(self.edges[1:-1], values, side="right")
        return found


@dataclasses.dataclass(frozen=True)
class Bins:
    """The bins of all axes, flattened. Walkers stay in the target bins; the other bins are a wall.

    Attributes:
        axes: One or two `Axis` objects.
        mapping: Array (n,) or (n0 * n1,). Number of each target bin, -1 for the others.
    """

    axes: tuple[Axis, ...]
    mapping: Array

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of bins of each axis."""
        return tuple(axis.bins for axis in self.axes)

    @property
    def count(self) -> int:
        """Number of target bins."""
        return int(self.mapping.max()) + 1

    @property
    def targets(self) -> Array:
        """Which bins are targets, in the shape of the axes."""
        return (self.mapping >= 0).reshape(self.shape)

    @functools.cached_property
    def cells(self) -> Array:
        """Indices of each target bin along the axes, array (n, 2); 0 for an axis that does not exist."""
        chosen = np.flatnonzero(self.mapping >= 0)
        second = self.axes[1].bins if len(self.axes) > 1 else 1
        return np.stack([chosen // second, chosen % second], 1)

    def neighbours(self, bands: tuple[int, int]) -> Array:
        """Return the target bins near each target bin.

        Args:
            bands: Two integers. Largest distances along the axes.

        Returns:
            Array (n, 2 * band + 1, 2 * band + 1), the bin itself in the middle, -1 where there is no target bin.
        """
        shape = self.axes[0].bins, self.axes[1].bins if len(self.axes) > 1 else 1
        padded = np.full([size + 2 * band for size, band in zip(shape, bands, strict=True)], -1)
        padded[bands[0] : bands[0] + shape[0], bands[1] : bands[1] + shape[1]] = self.mapping.reshape(shape)
        first, second = (np.arange(2 * band + 1) for band in bands)
        cells = self.cells
        found: Array = padded[cells[:, 0, None, None] + first[:, None], cells[:, 1, None, None] + second]
        return found

    def index(self, values: Sequence[Array]) -> Array:
        """Return the target bins of values, one array for each axis; -1 outside of the target bins."""
        flat = np.zeros(np.shape(values[0]), dtype=np.int64)
        for axis, value in zip(self.axes, values, strict=True):
            flat = flat * axis.bins + axis.index(value)
        found: Array = self.mapping[flat]
        return found

    def spread(self, values: Array, fill: float) -> Array:
        """Return values of the target bins in the shape of the axes, with `fill` for the other bins."""
        whole = np.full(self.mapping.size, fill, dtype=np.result_type(values, type(fill)))
        whole[self.mapping >= 0] = values[self.mapping[self.mapping >= 0]]
        return whole.reshape(self.shape)


def bins_of(axes: Iterable[Axis], targets: Array | None = None) -> Bins:
    """Return the bins of axes; `targets` is a mask in the shape of the axes. Defaults to None: all bins are targets."""
    axes = tuple(axes)
    size = math.prod(axis.bins for axis in axes)
    _checks.fits_memory("edges", [axis.bins for axis in axes], _BYTES_PER_BIN * size)
    chosen = np.ones(size, bool) if targets is None else np.asarray(targets, bool).ravel()
    mapping = np.where(chosen, np.cumsum(chosen) - 1, -1)
    return Bins(axes, mapping.astype(np.int64))


def axis_names(problem: Any, axes: Any) -> tuple[str, ...]:
    """Return the names of one or two observables of a problem.

    Raises:
        TypeError, ValueError: For anything else.
    """
    if not isinstance(problem, Problem):
        raise TypeError(_checks.message("problem", "a Problem, such as network_problem(...)", problem))
    if not isinstance(axes, Iterable):
        raise TypeError(_checks.message("axes", "one or two names of observables", axes))
    names = (axes,) if isinstance(axes, str) else tuple(axes)
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise ValueError(_checks.message("axes", "one or two names of observables", axes))
    for name in names:
        _checks.one_of("axes", name, tuple(problem.observables))
    return names


def axis_of(problem: Problem, name: str, edges: Mapping[str, Array]) -> Axis | None:
    """Return the axis of an observable, or None if it has neither edges nor levels.

    Raises:
        TypeError, ValueError: For an observable that the problem does not have, and for invalid edges.
    """
    if not isinstance(edges, Mapping):
        raise TypeError(_checks.message("edges", "a dictionary from names of observables to edges", edges))
    for given in edges:
        _checks.one_of("edges", given, tuple(problem.observables))
    observable = problem.observables[_checks.one_of("axes", name, tuple(problem.observables))]
    if name in edges:
        return Axis(name, edges[name], observable.deep)
    if observable.levels is None:
        return None
    return Axis(name, (np.arange(observable.levels + 2) - 0.5) / observable.levels, observable.deep)
