"""What a study's folder says of it: the arms, axes and seeds that were planned."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_entropy.study.folder import DESCRIPTION, SCHEMA
from keras_entropy.study.records import RUNS, RunRecord, read_records


@dataclasses.dataclass(frozen=True)
class PlannedArm:
    """An arm as it was planned.

    Attributes:
        name: of the arm.
        about: what it does, by name.
        grid: all its axes, of whose combinations each is reported.
        tune: all its axes, of whose combinations one is chosen.
    """

    name: str
    about: dict[str, Any]
    grid: dict[str, list[Any]]
    tune: dict[str, list[Any]]

    @property
    def points(self) -> int:
        """How many points its grid has."""
        return math.prod(len(values) for values in self.grid.values())

    @property
    def tries(self) -> int:
        """How many combinations there are to choose from at each of them."""
        return math.prod(len(values) for values in self.tune.values())


@dataclasses.dataclass(frozen=True, kw_only=True)
class Description:
    """A study as it was planned; a field is empty or None where the folder does not say it.

    Attributes:
        planned: whether the folder says what was planned; otherwise the arms are those of the records.
        arms: in their order.
        baseline: name of the arm that the others are compared with.
        metric: that is compared.
        lower_is_better: True for a loss.
        seeds: of the runs that are compared.
        tune_seeds: of the runs that choose values.
        epochs: the most that a run takes.
        batch_size: of training.
        monitor: what early stopping watches; None without it.
        patience: of early stopping, in epochs.
        tune: the axes of which all arms choose.
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
    tune: dict[str, list[Any]] = dataclasses.field(default_factory=dict)

    def runs(self, arm: PlannedArm, role: str) -> int:
        """How many runs of an arm were planned."""
        if role == "tune":
            return arm.points * arm.tries * len(self.tune_seeds) if arm.tries > 1 else 0
        return arm.points * len(self.seeds)


def load(folder: Path) -> tuple[Description, list[RunRecord]]:
    """The plan and the runs of a study, in the order of its arms; a study that has just begun has no runs.

    Raises:
        FileNotFoundError: for a folder with neither.
        ValueError: for files that are not those of a study.
    """
    path = folder / DESCRIPTION
    if not path.exists():
        records = read_records(folder)
        names = dict.fromkeys(record.arm for record in records)
        arms = tuple(PlannedArm(name, {}, {}, {}) for name in names)
        first = next((record.arm for record in records if record.role == "report"), None)
        return Description(
            planned=False, arms=arms, baseline=first, metric="val_task_loss", lower_is_better=True
        ), records
    try:
        description = _parsed(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} does not describe a study: {type(error).__name__}: {error}.") from error
    records = read_records(folder) if (folder / RUNS).exists() else []
    order = {arm.name: i for i, arm in enumerate(description.arms)}
    return description, sorted(records, key=lambda record: order.get(record.arm, len(order)))


def _parsed(values: Mapping[str, Any]) -> Description:
    if values["schema"] != SCHEMA:
        raise ValueError(f"schema {values['schema']!r}; this version reads {SCHEMA!r}")
    shared = {name: _axes(values.get(name)) for name in ("grid", "tune")}
    arms = []
    for arm in values["arms"]:
        about = {name: value for name, value in arm.items() if name not in ("name", "grid", "tune")}
        axes = {name: _axes(arm.get(name, shared[name])) for name in shared}
        arms.append(PlannedArm(arm["name"], about, axes["grid"], axes["tune"]))
    return Description(
        planned=True,
        arms=tuple(arms),
        baseline=values.get("baseline") or (arms[0].name if arms else None),
        metric=values.get("metric", "val_task_loss"),
        lower_is_better=bool(values.get("lower_is_better", True)),
        seeds=tuple(values.get("seeds") or ()),
        tune_seeds=tuple(values.get("tune_seeds") or ()),
        tune=shared["tune"],
        **{name: values.get(name) for name in ("epochs", "batch_size", "monitor", "patience")},
    )


def _axes(given: Mapping[str, Sequence[Any]] | None) -> dict[str, list[Any]]:
    return {axis: list(values) for axis, values in (given or {}).items()}
