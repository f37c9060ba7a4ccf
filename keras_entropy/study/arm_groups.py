"""The compared runs of a study, in groups: by grid point, arm and seed."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from keras_entropy._checks import one_of
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.records import Epoch, RunRecord, canonical
from keras_entropy.study.estimates import is_usable
from keras_entropy.study.metrics import direction
from keras_entropy.study.wording import is_number, point_text

Point = Mapping[str, Any]
FAILURES = ("diverged", "failed", "died")


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs of one arm at one grid point.

    Attributes:
        arm: String. Name of the arm.
        shared: Mapping. The grid point on the axes that the arms share.
        own: Mapping. The values on the other axes of the arm.
        records: Mapping of seeds to runs, in the order of the seeds.
        values: Mapping of seeds to the metric, of the finished runs that have a usable value.
    """

    arm: str
    shared: Point
    own: Point
    records: Mapping[int, RunRecord]
    values: Mapping[int, float]

    @property
    def label(self) -> str:
        """The arm with the values on its own axes."""
        return label(self.arm, self.own)

    @property
    def finished(self) -> list[RunRecord]:
        """The runs that finished."""
        return [record for record in self.records.values() if record.ok]


@dataclasses.dataclass(frozen=True)
class Family:
    """The groups at one grid point. The baseline comes first.

    Attributes:
        point: Mapping. The grid point on the axes that the arms share.
        groups: Tuple of `Group`.
    """

    point: Point
    groups: tuple[Group, ...]

    @property
    def records(self) -> list[RunRecord]:
        """The runs of all groups."""
        return [record for group in self.groups for record in group.records.values()]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Selection:
    """The runs that are compared, and how.

    Attributes:
        metric: String. The metric that is compared.
        epoch: String. `"last"` or `"best"`.
        lower_is_better: Boolean. True for a loss.
        baseline: String. Name of the baseline; empty to compare each two arms.
        families: Tuple of `Family`, in the order of the grid points.
        records: Tuple of the compared runs.
        tuning_runs: Integer. Number of tuning runs, which are not compared.
        superseded: Integer. Number of runs that are left out because their arm was tuned again.
    """

    metric: str
    epoch: Epoch
    lower_is_better: bool
    baseline: str
    families: tuple[Family, ...]
    records: tuple[RunRecord, ...]
    tuning_runs: int
    superseded: int


def select(
    records: Iterable[RunRecord],
    metric: str,
    baseline: str | None = None,
    *,
    epoch: Epoch = "last",
    lower_is_better: bool | None = None,
    pairwise: bool = False,
) -> Selection:
    """Select the runs that are compared, and group them.

    Args:
        records: The records of a study.
        metric: String. A name in the histories.
        baseline: String. Name of the baseline. Defaults to None: the first arm.
        epoch: String. `"last"`, or `"best"` for the best epoch of each run. Defaults to `"last"`.
        lower_is_better: Boolean. True for a loss; None to read it from the name of the metric. Defaults to None.
        pairwise: Boolean. True to compare each two arms, without a baseline. Defaults to False.

    Raises:
        ValueError: If there is no run to compare, or an argument names something that the runs do not have.
    """
    records = list(records)
    runs = latest(records, "report")
    _check_runs(records, runs, metric)
    arms = tuple(dict.fromkeys(record.arm for record in records if record.role == "report"))
    base = "" if pairwise else arms[0] if baseline is None else one_of("baseline", baseline, arms)
    one_of("epoch", epoch, ("last", "best"))
    lower_is_better = direction(metric, lower_is_better)

    def values(group: Mapping[int, RunRecord]) -> FrozenDict[int, float]:
        having = {seed: run for seed, run in group.items() if metric in run.history}
        found = {seed: run.value(metric, epoch, lower_is_better=lower_is_better) for seed, run in having.items()}
        return FrozenDict({seed: value for seed, value in found.items() if is_usable(value)})

    return Selection(
        metric=metric,
        epoch=epoch,
        lower_is_better=lower_is_better,
        baseline=base,
        families=_families(runs, base, values),
        records=tuple(runs),
        tuning_runs=len(latest(records, "tune")),
        superseded=len({record.slot for record in records if record.role == "report"}) - len(runs),
    )


def latest(records: Iterable[RunRecord], role: str) -> list[RunRecord]:
    """The runs of a role: the last record of each.

    If an arm was tuned again and the choice changed, only the runs with the last choice count, even if they are fewer.
    """
    runs: dict[Any, RunRecord] = {}
    choices: dict[tuple[str, str], str] = {}
    for record in records:
        if record.role == role:
            runs[record.slot] = record
            choices[_place(record)] = canonical(record.tuned)
    if role == "tune":
        return list(runs.values())
    return [record for record in runs.values() if choices[_place(record)] == canonical(record.tuned)]


def failure_counts(records: Iterable[RunRecord]) -> FrozenDict[str, int]:
    """Number of runs that did not finish, by status."""
    counts = Counter[str](record.status for record in records)
    return FrozenDict({status: counts[status] for status in FAILURES if counts[status]})


def label(arm: str, own: Point) -> str:
    """An arm with the values on its own axes, such as "decorrelated (factor=0.01)"."""
    return f"{arm} ({point_text(own)})" if own else arm


def _check_runs(records: Sequence[RunRecord], runs: Sequence[RunRecord], metric: str) -> None:
    if not runs:
        received = f"{len(records)} runs that choose values" if records else "no runs"
        raise ValueError(
            f'`records` should contain runs of role "report". Received: {received}. Run more of the study: tuning runs '
            "are not compared."
        )
    names = dict.fromkeys(name for run in runs if run.ok for name in run.history)
    if names:  # without a finished run, no metric is known
        one_of("metric", metric, tuple(names))


def _families(
    runs: Sequence[RunRecord], baseline: str, values: Callable[[Mapping[int, RunRecord]], Mapping[int, float]]
) -> tuple[Family, ...]:
    """The groups by grid point. The axes of the grid are those of the baseline, or without one those of all arms."""
    axes = {arm: {axis for run in runs if run.arm == arm for axis in run.point} for arm in {run.arm for run in runs}}
    shared = axes.get(baseline, set()) if baseline else set.intersection(*axes.values())
    names = [baseline, *(run.arm for run in runs)] if baseline else [run.arm for run in runs]
    order = {arm: i for i, arm in enumerate(dict.fromkeys(names))}
    members: dict[tuple[str, str], dict[int, RunRecord]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        members.setdefault((run.arm, canonical(run.point)), {})[run.seed] = run
    groups = []
    for own in members.values():
        run = next(iter(own.values()))
        common, rest = (
            {axis: v for axis, v in run.point.items() if (axis in shared) is there} for there in (True, False)
        )
        groups.append(Group(run.arm, FrozenDict(common), FrozenDict(rest), FrozenDict(own), values(own)))
    rank = _ranks([run.point for run in runs])
    groups.sort(key=lambda group: (rank(group.shared), order[group.arm], rank(group.own)))
    points: dict[str, list[Group]] = {}
    for group in groups:
        points.setdefault(canonical(group.shared), []).append(group)
    return tuple(Family(found[0].shared, tuple(found)) for found in points.values())


def _place(record: RunRecord) -> tuple[str, str]:
    return record.arm, canonical(record.point)


def _ranks(points: Sequence[Point]) -> Callable[[Point], list[int]]:
    """A sort key for points: numbers by size, other values in the order in which they first occur."""
    order: dict[str, dict[str, int]] = {}
    for axis in dict.fromkeys(axis for point in points for axis in point):
        values = list({canonical(point[axis]): point[axis] for point in points if axis in point}.values())
        if all(is_number(value) for value in values):
            values.sort()
        order[axis] = {canonical(value): i for i, value in enumerate(values)}
    return lambda point: [order[axis][canonical(point[axis])] if axis in point else -1 for axis in order]
