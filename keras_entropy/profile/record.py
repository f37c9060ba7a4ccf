"""One weight of a profile."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from keras_entropy._frozen import FrozenDict
from keras_entropy.profile.units import Units

NOT_FINITE = "not finite: "
"""How the reason begins for which a weight with NaN or infinite values is skipped."""


@dataclasses.dataclass(frozen=True)
class ProfileRecord:
    """One weight of a profile.

    Attributes:
        path: String. Names of the layers from the model down to the weight's layer, joined by "/". If the layer has
            several weights, the name of the weight follows.
        kind: String. Class name of the layer.
        shape: Tuple of integers. Shape of the weight.
        mean: Float. Mean of `values`, in `unit`; None if the weight is skipped.
        values: Tuple of floats, one per filter, dimension or output. A weight of several pieces has those of the first
            piece, then those of the second, and so on.
        unit: String. `"nats per filter"`, `"nats per dimension"` or `"nats per output"`; None if the weight is skipped.
        pieces: Read-only mapping of floats by name: the means of the heads of an attention projection, or of the
            gates of a recurrent kernel. Empty for other weights.
        skipped: String. Why the weight is not measured; None if it is.
        layout: String. As in `LinearMap`; None if the weight is skipped.
        units: `Units`. Dead and duplicate outputs, and inputs that are not read; None if the weight is skipped, and for
            recurrent kernels.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    mean: float | None = None
    values: tuple[float, ...] = ()
    unit: str | None = None
    pieces: Mapping[str, float] = FrozenDict()
    skipped: str | None = None
    layout: str | None = None
    units: Units | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", FrozenDict(self.pieces))

    @property
    def not_finite(self) -> bool:
        """Boolean. Whether the weight is skipped because some of its values are NaN or infinite."""
        return self.skipped is not None and self.skipped.startswith(NOT_FINITE)

    @property
    def outliers(self) -> int:
        """Integer. How many values a box plot draws as outliers: more than 1.5 interquartile ranges off the box."""
        return count_outliers(self.values)


def count_outliers(values: Any) -> int:
    """Count the values that a box plot draws as outliers: more than 1.5 interquartile ranges off the box."""
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite):
        return 0
    low, high = np.percentile(finite, [25, 75])
    reach = 1.5 * (high - low)
    return int(((finite < low - reach) | (finite > high + reach)).sum())
