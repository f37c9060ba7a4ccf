"""Two profiles side by side."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from keras_entropy import _checks, _table
from keras_entropy.profile.findings import Finding
from keras_entropy.profile.record import ProfileRecord

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True)
class Difference:
    """One weight in two profiles.

    Attributes:
        path: String. Path of the weight.
        kind: String. Class name of the layer.
        mean: Float. Mean in the first profile, in `unit`.
        other: Float. Mean in the second profile.
        difference: Float. `mean - other`: positive if the weight keeps more entropy in the first profile. NaN if both
            are minus infinity.
        outliers: Integer. Values of the first profile that a box plot draws as outliers.
        other_outliers: Integer. The same for the second profile.
        unit: String. Unit of the means and of their difference, such as `"nats per dimension"`.
    """

    path: str
    kind: str
    mean: float
    other: float
    difference: float
    outliers: int
    other_outliers: int
    unit: str


_HEAD = ("weight", "mean", "other", "difference", "outliers", "other outliers", "unit")
_NUMBERS = _HEAD[1:6]


@dataclasses.dataclass(frozen=True, repr=False)
class ProfileComparison:
    """The differences between two profiles. It prints as a table, in a notebook too.

    Attributes:
        title: String. Titles of the two profiles.
        differences: Tuple of `Difference`, one per weight that both profiles measured, in the order of the first.
        skipped: Tuple of (path, reason) for each other weight.
        findings: Tuple of `Finding`: what stands out in the first profile; see `EntropyProfile.findings`.
        conclusion: Tuple of strings. The findings in words, and what was not found or not looked for.

    Examples:
        >>> import keras
        >>> from keras_entropy import entropy_profile
        >>> dense = keras.layers.Dense(4, kernel_initializer="identity", name="code")
        >>> model = keras.Sequential([keras.Input((4,)), dense], name="net")
        >>> profile = entropy_profile(model)
        >>> print(profile.compare(profile))
        net, measure log_volume; other: net, measure log_volume
        weight   mean  other  difference  outliers  other outliers  unit
        code    0.000  0.000      +0.000         0               0  nats per dimension
        Nothing stands out: no dead outputs, no unread inputs, no duplicate outputs.
        Not looked for: collapsed layers, layers far from random (no random copy); constant outputs (no sample).
    """

    title: str
    differences: tuple[Difference, ...]
    skipped: tuple[tuple[str, str], ...]
    findings: tuple[Finding, ...] = ()
    conclusion: tuple[str, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """Return a pandas data frame: one row per weight, one column per attribute of `Difference`.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        return _table.to_frame(Difference, self.differences)

    def __repr__(self) -> str:
        return f"<{type(self).__name__}: {_checks.printable(self.title)}, {len(self.differences)} weights>"

    def __str__(self) -> str:
        """A table of the differences, the reasons for the other weights, and what stands out."""
        notes = [_checks.printable(note) for note in self._notes()]
        table = _table.to_text(_HEAD, self._rows(), _NUMBERS)
        return "\n".join([_checks.printable(self.title), table, *notes])

    def _repr_html_(self) -> str:
        return _table.to_html(self.title, _HEAD, self._rows(), _NUMBERS, self._notes())

    def _rows(self) -> list[tuple[object, ...]]:
        return [
            (
                d.path,
                *map(_table.decimals, (d.mean, d.other)),
                _table.decimals(d.difference, sign="+"),
                d.outliers,
                d.other_outliers,
                d.unit,
            )
            for d in self.differences
        ]

    def _notes(self) -> list[str]:
        return [*(f"{path}: {reason}" for path, reason in self.skipped), *self.conclusion]


def compare_records(
    first: Sequence[ProfileRecord],
    second: Sequence[ProfileRecord],
    title: str,
    findings: tuple[Finding, ...] = (),
    conclusion: tuple[str, ...] = (),
) -> ProfileComparison:
    """Compare the records of two profiles of one measure; see `EntropyProfile.compare`.

    Raises:
        ValueError: If no weight is in both.
    """
    others = {record.path: record for record in second}
    shared = any(record.path in others and others[record.path].shape == record.shape for record in first)
    differences: list[Difference] = []
    skipped: list[tuple[str, str]] = []
    for record in first:
        other = others.pop(record.path, None)
        reason = record.skipped or _mismatch(record, other)
        if other is not None and reason is None:
            differences.append(_difference(record, other))
        else:
            skipped.append((record.path, str(reason)))
    skipped += [(path, "only in the second profile") for path in others]
    if not differences and not shared:
        raise ValueError(
            f"The profiles should be of one architecture. Received: {title}, which have no measured weight in common."
        )
    return ProfileComparison(title, tuple(differences), tuple(skipped), findings, conclusion)


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
        difference=mean - other_mean,
        outliers=record.outliers,
        other_outliers=other.outliers,
        unit=record.unit or "",
    )
