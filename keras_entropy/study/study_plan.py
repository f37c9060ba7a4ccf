"""The plan of a study, as `study.json` in its folder says: arms, axes, seeds and settings."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_entropy import _sealed
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.records import RunRecord, Seed
from keras_entropy.study.folder import DESCRIPTION, SCHEMA, results_of

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
    results = results_of(folder)
    description = results.description(DESCRIPTION, SCHEMA)
    try:
        return None if description is None else plan_of(description)
    except ValueError as error:
        raise results.damaged(DESCRIPTION, error) from error


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Settings:
    """The settings of a description that a plan shows."""

    seeds: tuple[Seed, ...] = ()
    tune_seeds: tuple[Seed, ...] = ()
    grid: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    tune: dict[str, tuple[Any, ...]] = dataclasses.field(default_factory=dict)
    baseline: str | None = None
    metric: str = "val_task_loss"
    lower_is_better: bool = True
    epochs: int | None = None
    batch_size: int | None = None
    monitor: str | None = None
    patience: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Arm:
    """The parts of an arm that a plan shows; an arm without its own axes has those of the study."""

    name: str
    grid: dict[str, tuple[Any, ...]] | None = None
    tune: dict[str, tuple[Any, ...]] | None = None


def plan_of(description: Mapping[str, Any]) -> StudyPlan:
    """The plan in a description, as `Study.describe` returns it.

    Raises:
        ValueError: If an entry has another type. The message is a clause.
    """
    names = {field.name for field in dataclasses.fields(_Settings)}
    shared = _sealed.converted({n: v for n, v in description.items() if n in names and v is not None}, _Settings)
    given = description.get("arms")
    if not isinstance(given, list) or not all(isinstance(arm, dict) for arm in given):
        raise ValueError("it lacks a list of arms")
    arms = []
    for arm in given:
        own = _sealed.converted({n: v for n, v in arm.items() if n in ("name", "grid", "tune")}, _Arm)
        settings = {name: _frozen(value) for name, value in arm.items() if name not in ("name", "grid", "tune")}
        axes = [
            FrozenDict(one if one is not None else all_)
            for one, all_ in ((own.grid, shared.grid), (own.tune, shared.tune))
        ]
        arms.append(PlannedArm(own.name, FrozenDict(settings), *axes))
    return StudyPlan(
        planned=True,
        arms=tuple(arms),
        baseline=shared.baseline or (arms[0].name if arms else None),
        metric=shared.metric,
        lower_is_better=shared.lower_is_better,
        seeds=shared.seeds,
        tune_seeds=shared.tune_seeds,
        tune=FrozenDict(shared.tune),
        epochs=shared.epochs,
        batch_size=shared.batch_size,
        monitor=shared.monitor,
        patience=shared.patience,
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


def _frozen(value: Any) -> Any:
    if isinstance(value, Mapping):
        return FrozenDict({name: _frozen(item) for name, item in value.items()})
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value
