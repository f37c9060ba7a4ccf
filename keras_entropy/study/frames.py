"""The runs of a study as pandas data frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_entropy import _optional
from keras_entropy.runs.records import RunRecord
from keras_entropy.study import arm_groups

if TYPE_CHECKING:
    import pandas as pd

_PLACE = ("arm", "seed", "role", "status")


def runs_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """A data frame with one row per run: runs of both roles, finished or not."""
    pd = _optional.require("pandas", extra="study")
    rows = []
    for record in _runs(records):
        row = _place(record) | {"reason": record.reason, "epochs": record.epochs}
        row |= {"stopped_early": record.stopped_early}
        row |= {f"last.{name}": values[-1] for name, values in record.history.items() if values}
        for name in ("wall_seconds", "cpu_seconds", "device", "initial_weights", "final_weights"):
            row[name] = getattr(record, name)
        row["warnings"] = "; ".join(record.warnings)
        rows.append(row | {f"version.{name}": version for name, version in record.versions.items()})
    return pd.DataFrame(rows, columns=None if rows else [*_PLACE])


def curves_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """A data frame with one row per run and epoch: all values of the histories."""
    pd = _optional.require("pandas", extra="study")
    rows = []
    for record in _runs(records):
        for epoch in range(record.epochs):
            there = {name: values[epoch] for name, values in record.history.items() if epoch < len(values)}
            rows.append(_place(record) | {"epoch": epoch + 1} | there)
    return pd.DataFrame(rows, columns=None if rows else [*_PLACE, "epoch"])


def _runs(records: Sequence[RunRecord]) -> list[RunRecord]:
    return [*arm_groups.latest(records, "report"), *arm_groups.latest(records, "tune")]


def _place(record: RunRecord) -> dict[str, Any]:
    """Which run it is."""
    place: dict[str, Any] = {name: getattr(record, name) for name in _PLACE}
    place |= {f"point.{axis}": value for axis, value in record.point.items()}
    return place | {f"tuned.{axis}": value for axis, value in record.tuned.items()}
