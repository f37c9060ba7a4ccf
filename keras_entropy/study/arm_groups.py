"""The runs of a study by arm and grid point, as all displays need them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import math
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal

from keras_entropy._checks import EntropyWarning, message, one_of
from keras_entropy.stats import Estimate, t_interval
from keras_entropy.stats._samples import LARGEST
from keras_entropy.study.records import RunRecord

Epoch = Literal["last", "best"]
Point = dict[str, Any]
FAILURES = ("diverged", "failed", "died")


@dataclasses.dataclass(frozen=True)
class Group:
    """The runs of one arm at one grid point, one for each seed.

    Attributes:
        arm: name of the arm.
        shared: the grid point on the axes that the arms have in common.
        own: the values on the other axes of the arm.
        records: the runs, by seed.
    """

    arm: str
    shared: Point
    own: Point
    records: dict[int, RunRecord]

    @property
    def point(self) -> Point:
        """The values on all axes."""
        return {**self.shared, **self.own}

    @property
    def label(self) -> str:
        """The arm with the values on its own axes."""
        return f"{self.arm} ({written(self.own)})" if self.own else self.arm

    @property
    def finished(self) -> list[RunRecord]:
        """The runs that came to their end."""
        return [record for record in self.records.values() if record.ok]

    @property
    def failures(self) -> dict[str, int]:
        """How many runs did not, by status."""
        return failures_of(self.records.values())

    def values(self, metric: str, epoch: Epoch, lower_is_better: bool) -> dict[int, float]:
        """The metric by seed, of the finished runs that have a finite one."""
        runs = {seed: run for seed, run in self.records.items() if metric in run.history}
        found = {seed: run.value(metric, epoch, lower_is_better=lower_is_better) for seed, run in runs.items()}
        return {seed: value for seed, value in found.items() if usable(value)}


def latest(records: Iterable[RunRecord], role: str) -> list[RunRecord]:
    """The runs of a role: the last record of each, and where an arm was tuned anew those with its last choice.

    Runs with an earlier choice do not mix with those of the last one, even where those are fewer.
    """
    runs: dict[Any, RunRecord] = {}
    choices: dict[tuple[str, str], str] = {}
    for record in records:
        if record.role == role:
            runs[record.key] = record
            choices[_place(record)] = dumped(record.tuned)
    if role == "tune":
        return list(runs.values())
    return [record for record in runs.values() if choices[_place(record)] == dumped(record.tuned)]


def superseded(records: Iterable[RunRecord]) -> int:
    """How many runs `latest` leaves out because their arm was tuned anew."""
    records = [record for record in records if record.role == "report"]
    return len({record.key for record in records}) - len(latest(records, "report"))


def _place(record: RunRecord) -> tuple[str, str]:
    return record.arm, dumped(record.point)


def reported(records: Iterable[RunRecord], metric: str) -> list[RunRecord]:
    """The runs that are compared.

    Raises:
        ValueError: if there is none, or none of those that finished has the metric.
    """
    records = list(records)
    runs = latest(records, "report")
    if not runs:
        expected = 'runs of role "report", which are those that are compared'
        received = f"{len(records)} records, none of them of that role"
        raise ValueError(message("records", expected, received, "Let the study go on until it has some."))
    names = dict.fromkeys(name for run in runs if run.ok for name in run.history)
    if names:  # where no run finished, there need be no metric
        one_of("metric", metric, tuple(names))
    return runs


def baseline_of(records: Iterable[RunRecord], baseline: str | None) -> str:
    """The name of the baseline, by default the first arm that is compared."""
    arms = tuple(dict.fromkeys(record.arm for record in records if record.role == "report"))
    return arms[0] if baseline is None else one_of("baseline", baseline, arms)


def families(runs: Sequence[RunRecord], baseline: str | None = None) -> list[tuple[Point, list[Group]]]:
    """The groups at each grid point, in the order of its values; a baseline stands first.

    A grid point is one on the axes of the baseline, or without a baseline on those that all arms have.
    """
    axes = [{axis for run in runs if run.arm == arm for axis in run.point} for arm in {run.arm for run in runs}]
    shared = set.intersection(*axes) if axes else set()
    if baseline is not None:
        shared = {axis for run in runs if run.arm == baseline for axis in run.point}
    arms = {arm: i for i, arm in enumerate(dict.fromkeys([*([baseline] if baseline else []), *(r.arm for r in runs)]))}
    groups: dict[tuple[str, str], Group] = {}
    for run in runs:
        common = {axis: value for axis, value in run.point.items() if axis in shared}
        own = {axis: value for axis, value in run.point.items() if axis not in shared}
        group = groups.setdefault((run.arm, dumped(run.point)), Group(run.arm, common, own, {}))
        group.records[run.seed] = run
    rank = _ranks([group.point for group in groups.values()])
    ordered = sorted(groups.values(), key=lambda g: (rank(g.shared), arms[g.arm], rank(g.own)))
    points: dict[str, tuple[Point, list[Group]]] = {}
    for group in ordered:
        by_seed = dict(sorted(group.records.items()))
        points.setdefault(dumped(group.shared), (group.shared, []))[1].append(
            dataclasses.replace(group, records=by_seed)
        )
    return list(points.values())


def _ranks(points: Sequence[Point]) -> Any:
    """A sort key of points: numbers by size, other values as they came."""
    order: dict[str, dict[str, int]] = {}
    for axis in dict.fromkeys(axis for point in points for axis in point):
        values = list({dumped(point[axis]): point[axis] for point in points if axis in point}.values())
        if all(is_number(value) for value in values):
            values.sort()
        order[axis] = {dumped(value): i for i, value in enumerate(values)}
    return lambda point: [order[axis][dumped(point[axis])] if axis in point else -1 for axis in order]


def usable(value: float) -> bool:
    """Whether the statistics take a value."""
    return abs(value) <= LARGEST  # NaN is not


def mean_of(values: Sequence[float], confidence: float) -> Estimate | None:
    """The mean with its t interval; None of no value, without interval of one."""
    if not values:
        return None
    if len(values) == 1:
        note = "one value has no interval"
        return Estimate(
            method="t", n=1, estimate=values[0], low=math.nan, high=math.nan, p=None, confidence=confidence, note=note
        )
    with quiet():
        return t_interval(values, confidence)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without the warnings that values do not vary: the record says it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EntropyWarning)
        yield


def failures_of(records: Iterable[RunRecord]) -> dict[str, int]:
    """How many runs did not finish, by status."""
    counts = Counter[str](record.status for record in records)
    return {status: counts[status] for status in FAILURES if counts[status]}


def unfinished(failures: Mapping[str, int], runs: int) -> str:
    """In words, how many of the runs did not finish; empty if all did."""
    parts = ", ".join(f"{n} {status}" for status, n in failures.items())
    return f"{sum(failures.values())} of {plural(runs, 'run')} did not finish ({parts})" if failures else ""


def counted(failures: Mapping[str, int], runs: int) -> str:
    """As `unfinished`, of runs that the statistics leave out."""
    are = "is" if sum(failures.values()) == 1 else "are"
    return f"{unfinished(failures, runs)} and {are} left out" if failures else ""


def plural(n: int, noun: str) -> str:
    """The number with its noun."""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def written(point: Mapping[str, Any]) -> str:
    """A point in words."""
    return ", ".join(f"{axis}={text(value)}" for axis, value in point.items())


def text(value: Any) -> str:
    """A value of an axis, in words."""
    if isinstance(value, float):
        return f"{value:.12g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def is_number(value: Any) -> bool:
    """Whether a value of an axis has a size."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def dumped(value: Any) -> str:
    """What two equal values have in common."""
    return json.dumps(value, sort_keys=True)
