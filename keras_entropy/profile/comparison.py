"""Two profiles side by side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import _optional

if TYPE_CHECKING:
    import pandas as pd

    from keras_entropy.profile.profile import EntropyProfile, ProfileRecord


@dataclasses.dataclass(frozen=True)
class Difference:
    """One weight in two profiles.

    Attributes:
        path: of the weight.
        kind: class name of the layer.
        mean: in the first profile, in nats as `unit` says.
        other: in the second.
        difference: `mean - other`: above 0 where the first keeps more entropy.
        outliers: how many values of the first lie outside of the fences of its box, 1.5 times the interquartile range
            beyond the quartiles.
        other_outliers: of the second.
        unit: of all four.
    """

    path: str
    kind: str
    mean: float
    other: float
    difference: float
    outliers: int
    other_outliers: int
    unit: str


@dataclasses.dataclass(frozen=True)
class Comparison:
    """What differs between two profiles.

    Attributes:
        title: which profiles.
        differences: one `Difference` for each weight that both have measured, in the order of the first.
        skipped: the path of each other weight of either profile, with the reason.
    """

    title: str
    differences: tuple[Difference, ...]
    skipped: tuple[tuple[str, str], ...]

    def to_frame(self) -> pd.DataFrame:
        """A pandas data frame, one row per weight."""
        return frame_of(Difference, self.differences)

    def __str__(self) -> str:
        """The comparison as a table."""
        head = ("weight", "mean", "other", "difference", "outliers", "of other", "unit")
        rows = [
            (d.path, f"{d.mean:.3f}", f"{d.other:.3f}", f"{d.difference:+.3f}", d.outliers, d.other_outliers, d.unit)
            for d in self.differences
        ]
        widths = [max(len(str(row[i])) for row in (head, *rows)) for i in range(len(head))]
        lines = ("  ".join(str(c).ljust(w) for c, w in zip(row, widths, strict=True)) for row in (head, *rows))
        return "\n".join(line.rstrip() for line in (self.title, *lines, *(f"{p}: {r}" for p, r in self.skipped)))


def frame_of(kind: type[Any], records: Sequence[Any]) -> pd.DataFrame:
    """A pandas data frame of the fields of records of a dataclass, one row each."""
    pd = _optional.require("pandas", extra="study")
    names = [field.name for field in dataclasses.fields(kind)]
    return pd.DataFrame([[getattr(record, name) for name in names] for record in records], columns=names)


def compare(first: EntropyProfile, second: EntropyProfile) -> Comparison:
    """The comparison of two profiles of one measure; see `EntropyProfile.compare`."""
    others = {record.path: record for record in second.records}
    differences: list[Difference] = []
    skipped: list[tuple[str, str]] = []
    for record in first.records:
        other = others.pop(record.path, None)
        reason = record.skipped or _mismatch(record, other)
        if other is not None and reason is None:
            differences.append(_difference(record, other))
        else:
            skipped.append((record.path, str(reason)))
    skipped += [(path, "only in the second profile") for path in others]
    if not differences:
        raise ValueError(
            f"The profiles should be of one architecture. Received: {first.title} and {second.title}, which have no "
            "measured weight in common."
        )
    return Comparison(f"{first.title}; other: {second.title}", tuple(differences), tuple(skipped))


def outliers(values: Any) -> int:
    """How many values a box plot draws as outliers: 1.5 times the interquartile range beyond the quartiles."""
    finite = np.asarray(values)[np.isfinite(values)]
    if not len(finite):
        return 0
    low, high = np.percentile(finite, [25, 75])
    reach = 1.5 * (high - low)
    return int(((finite < low - reach) | (finite > high + reach)).sum())


def _mismatch(record: ProfileRecord, other: ProfileRecord | None) -> str | None:
    if other is None:
        return "only in the first profile"
    if other.skipped is not None:
        return f"in the second profile {other.skipped}"
    if record.shape != other.shape:
        return f"of shape {record.shape} in the first profile, {other.shape} in the second"
    return None


def _difference(record: ProfileRecord, other: ProfileRecord) -> Difference:
    mean, other_mean = (math.nan if r.mean is None else r.mean for r in (record, other))
    return Difference(
        path=record.path,
        kind=record.kind,
        mean=mean,
        other=other_mean,
        difference=mean - other_mean,  # of two minus infinities: NaN
        outliers=outliers(record.values),
        other_outliers=outliers(other.values),
        unit=record.unit or "",
    )
