"""The plan of a study, as `study.json` in its folder says: arms, axes, seeds and settings."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.records import RunRecord
from keras_entropy.study.folder import DESCRIPTION, SCHEMA

Axes = Mapping[str, Sequence[Any]]
_NO_AXES: Axes = FrozenDict()


@dataclasses.dataclass(frozen=True)
class PlannedArm:
    """An arm of a plan.

    Attributes:
        name: String. Name of the arm.
        settings: Mapping. The other settings of the arm, by name, as plain values.
        grid: Mapping of all grid axes of the arm to their values; every combination is compared.
        tune: Mapping of all tuned axes of the arm to their values; one combination is chosen.
    """

    name: str
    settings: Mapping[str, Any] = FrozenDict()
    grid: Axes = _NO_AXES
    tune: Axes = _NO_AXES

    @property
    def points(self) -> int:
        """Number of grid points."""
        return math.prod(len(values) for values in self.grid.values())

    @property
    def tries(self) -> int:
        """Number of combinations that are tried at each grid point."""
        return math.prod(len(values) for values in self.tune.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """A study as it was planned. A field is empty or None if the folder does not say it.

    Attributes:
        planned: Boolean. False if there is no plan; the arms are then those of the records.
        arms: Tuple of `PlannedArm`, in their order.
        baseline: String. Name of the arm that the others are compared with.
        metric: String. The metric that is compared.
        lower_is_better: Boolean. True for a loss.
        seeds: Tuple of integers. Seeds of the compared runs.
        tune_seeds: Tuple of integers. Seeds of the tuning runs.
        epochs: Integer. Largest number of epochs of a run.
        batch_size: Integer. Batch size of training.
        monitor: String. The quantity that early stopping monitors; None without early stopping.
        patience: Integer. Patience of early stopping, in epochs.
        tune: Mapping of the axes that all arms tune to their values.
    """

    planned: bool
    arms: tuple[PlannedArm, ...]
    baseline: str | None
    metric: str
    lower_is_better: bool
    seeds: tuple[int, ...] = ()
    tune_seeds: tuple[int, ...] = ()
    epochs: int | None = None
    batch_size: int | None = None
    monitor: str | None = None
    patience: int | None = None
    tune: Axes = _NO_AXES

    def runs(self, arm: PlannedArm, role: str) -> int:
        """Number of planned runs of an arm in a role."""
        if role == "tune":
            return arm.points * arm.tries * len(self.tune_seeds) if arm.tries > 1 else 0
        return arm.points * len(self.seeds)

    def ordered(self, records: Iterable[RunRecord]) -> tuple[RunRecord, ...]:
        """Records in the order of the arms."""
        order = {arm.name: i for i, arm in enumerate(self.arms)}
        return tuple(sorted(records, key=lambda record: order.get(record.arm, len(order))))


def read_plan(folder: Path) -> StudyPlan | None:
    """Read the plan in a folder; None if the folder has none.

    Raises:
        ValueError: If the file is not the plan of a study.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        return None
    try:
        return plan_of(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(
            f"{path} does not describe a study: {type(error).__name__}: {error}. Restore the file from a copy, or name "
            "another folder."
        ) from error


def plan_of(description: Mapping[str, Any]) -> StudyPlan:
    """The plan in a description, as `Study.describe` returns it."""
    if description["schema"] != SCHEMA:
        raise ValueError(f"its schema is {description['schema']!r}, and this version reads {SCHEMA!r}")
    shared = {name: _axes(description.get(name)) for name in ("grid", "tune")}
    arms = []
    for arm in description["arms"]:
        settings = {name: _frozen(value) for name, value in arm.items() if name not in ("name", "grid", "tune")}
        axes = {name: _axes(arm[name]) if name in arm else shared[name] for name in shared}
        arms.append(PlannedArm(arm["name"], FrozenDict(settings), axes["grid"], axes["tune"]))
    return StudyPlan(
        planned=True,
        arms=tuple(arms),
        baseline=description.get("baseline") or (arms[0].name if arms else None),
        metric=description.get("metric", "val_task_loss"),
        lower_is_better=bool(description.get("lower_is_better", True)),
        seeds=tuple(description.get("seeds") or ()),
        tune_seeds=tuple(description.get("tune_seeds") or ()),
        tune=shared["tune"],
        **{name: description.get(name) for name in ("epochs", "batch_size", "monitor", "patience")},
    )


def plan_from_records(records: Iterable[RunRecord]) -> StudyPlan:
    """A stand-in for a missing plan: the arms of the records, and the first compared arm as the baseline."""
    records = list(records)
    return StudyPlan(
        planned=False,
        arms=tuple(PlannedArm(name) for name in dict.fromkeys(record.arm for record in records)),
        baseline=next((record.arm for record in records if record.role == "report"), None),
        metric="val_task_loss",
        lower_is_better=True,
    )


def _axes(given: Mapping[str, Iterable[Any]] | None) -> Axes:
    return FrozenDict({axis: tuple(values) for axis, values in (given or {}).items()})


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict({name: _frozen(item) for name, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
