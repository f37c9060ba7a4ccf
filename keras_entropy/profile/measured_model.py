"""The weights of a model, or of a randomly initialised copy of it: their records, and the details of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from keras_entropy.profile.linear_map import HostArray
from keras_entropy.profile.measure import measure_weight
from keras_entropy.profile.not_finite import not_finite
from keras_entropy.profile.random_copy import random_values
from keras_entropy.profile.record import NOT_FINITE, ProfileRecord
from keras_entropy.profile.units import cosines, output_norms, unit_kernel, units_of
from keras_entropy.profile.weights import MeasurableWeight, SkippedWeight


@dataclasses.dataclass(frozen=True)
class WeightDetail:
    """What a page shows of one weight beside its record.

    Attributes:
        spectrum: Array. Logs of the singular values, largest first, in nats; of a convolution their means over the
            frequencies.
        norms: Array. Norm of the weights of each output; empty for recurrent kernels.
        outputs: Array of integers. The outputs whose cosines follow.
        cosines: Array (k, k). Cosines between the weights of these outputs; empty for scales and recurrent kernels.
    """

    spectrum: HostArray
    norms: HostArray
    outputs: HostArray
    cosines: HostArray


class MeasuredModel:
    """The weights of a model that a profile measures. It keeps the model alive.

    Args:
        weights: Sequence of `MeasurableWeight` and `SkippedWeight`.
        randomize: Integer. Seed of the randomly initialised copy; None for the model's own weights.
    """

    def __init__(self, weights: Sequence[MeasurableWeight | SkippedWeight], randomize: int | None = None) -> None:
        self._weights = {weight.path: (i, weight) for i, weight in enumerate(weights)}
        self._randomize = randomize
        self._sums: dict[str, float] = {}

    def random_copy(self, seed: int) -> MeasuredModel:
        """The same weights, drawn by their own initializers."""
        return MeasuredModel([weight for _, weight in self._weights.values()], seed)

    def records(self, measure: str, progress: bool = False) -> tuple[ProfileRecord, ...]:
        """Measure all weights."""
        weights = [*self._weights.values()]
        return tuple(self._record(i, weight, measure) for i, weight in (_tracked(weights) if progress else weights))

    def changed(self) -> list[str]:
        """Paths of the weights whose values are no longer those that `records` measured."""
        return [path for path, before in self._sums.items() if self._sum(path) != before]

    def detail(self, record: ProfileRecord, measure: str) -> WeightDetail | None:
        """The details of a weight that is measured; None for others."""
        if record.skipped is not None:
            return None
        index, weight = self._weights[record.path]
        assert isinstance(weight, MeasurableWeight)
        draw = self._draw(index, weight)
        values = record.values
        if measure != "log_volume":
            values = measure_weight(weight, "log_volume", values=True, draw=draw).values
        kernel = unit_kernel(weight, draw)
        none = np.zeros(0)
        shown = (none, none) if kernel is None or weight.layout == "scale" else cosines(kernel, MOST_COSINES)
        norms = none if kernel is None else output_norms(kernel)
        return WeightDetail(np.sort(values)[::-1], norms, *shown)

    def _record(self, index: int, weight: MeasurableWeight | SkippedWeight, measure: str) -> ProfileRecord:
        kind = type(weight.layer).__name__
        if isinstance(weight, SkippedWeight):
            bad = None if weight.variable is None or self._randomize is not None else not_finite([weight.variable])
            return ProfileRecord(weight.path, kind, weight.shape, skipped=bad or weight.reason)
        draw = self._draw(index, weight)
        if self._randomize is None:
            reason = None
            if not weight.finite:
                reason = not_finite(weight.pieces().values()) or not_finite(weight.variables)
            self._sums[weight.path] = self._sum(weight.path)
        else:
            reason = f"cannot be drawn: {kind} has no initializer with a seed for this weight" if draw is None else None
        if reason is not None:
            return ProfileRecord(weight.path, kind, weight.shape, skipped=reason)
        found = measure_weight(weight, measure, values=True, draw=draw)
        if np.isnan(found.values).any():
            reason = f"{NOT_FINITE}its value is NaN, for instance because a variance is negative"
            return ProfileRecord(weight.path, kind, weight.shape, skipped=reason)
        return ProfileRecord(
            weight.path, kind, found.shape, found.mean, found.values, found.unit, found.pieces,
            layout=weight.layout, units=units_of(weight, draw),
        )  # fmt: skip

    def _draw(self, index: int, weight: MeasurableWeight) -> Callable[[Any], HostArray] | None:
        return None if self._randomize is None else random_values(weight, self._randomize, index)

    def _sum(self, path: str) -> float:
        """A number that a step of training changes."""
        _, weight = self._weights[path]
        assert isinstance(weight, MeasurableWeight)
        with np.errstate(over="ignore", invalid="ignore"):
            total = sum(float(np.sum(piece)) for piece in weight.pieces().values())
        return total if np.isfinite(total) else 0.0


MOST_COSINES = 64
"""Outputs of a layer whose cosines a page shows."""


def _tracked(weights: list[Any]) -> Iterator[Any]:
    """Show a progress bar on standard error."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    yield from track(weights, "Measuring", console=console, transient=True, disable=not console.is_terminal)
