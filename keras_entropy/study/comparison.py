"""The arms of a study against their baseline: point by point of the grid, seed by seed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from keras_entropy import _optional
from keras_entropy._checks import one_of, positive
from keras_entropy.stats import Equivalence, Estimate, MeanDifference, _samples, holm_adjusted, paired_t, tost
from keras_entropy.study import arm_groups
from keras_entropy.study.arm_groups import Epoch, Group, Point, mean_of, plural, written
from keras_entropy.study.records import RunRecord, direction
from keras_entropy.study.result_tables import comparison_table, effort_table

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm at one grid point.

    Attributes:
        arm: name of the arm.
        shared: the grid point on the axes of the baseline.
        own: the values on the other axes of the arm.
        tuned: the chosen values.
        runs: how many runs there are.
        failures: how many of them did not finish, by status.
        values: the metric by seed, of the finished runs that have a finite one.
        mean: of them; None if there is none.
        against: the arm minus the baseline, by seed; None for the baseline, and where two pairs are missing.
        equivalence: with the baseline, if a margin was given.
        pairs: how many seeds have a value of both.
        dropped: how many seeds of either lack a value of one of the two.
        epochs: of each finished run.
        stopped: mean number of epochs.
        stopped_early: how many runs early stopping ended.
        reached: for each seed, the first epoch at which the metric was as good as the mean of the baseline here; None
            for a seed that never got there.
        wall_seconds: mean of the finished runs.
        cpu_seconds: mean of the finished runs.
        notes: why a number is missing.
    """

    arm: str
    shared: Point
    own: Point
    tuned: Point
    runs: int
    failures: dict[str, int]
    values: dict[int, float]
    mean: Estimate | None
    against: MeanDifference | None = None
    equivalence: Equivalence | None = None
    pairs: int = 0
    dropped: int = 0
    epochs: dict[int, int]
    stopped: Estimate | None
    stopped_early: int
    reached: dict[int, int | None]
    wall_seconds: float
    cpu_seconds: float
    notes: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The arm with the values on its own axes."""
        return f"{self.arm} ({written(self.own)})" if self.own else self.arm

    @property
    def half_epoch(self) -> int | None:
        """The epoch by which half of the seeds had reached the baseline; None if fewer ever did."""
        epochs = sorted(epoch for epoch in self.reached.values() if epoch is not None)
        half = math.ceil(len(self.reached) / 2)
        return epochs[half - 1] if 0 < half <= len(epochs) else None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All arms of a study against its baseline.

    Attributes:
        metric: that is compared.
        baseline: name of the arm that the others are compared with.
        epoch: `"last"`, or `"best"` for each run's own best epoch.
        lower_is_better: True for a loss.
        confidence: confidence of the intervals.
        margin: of equivalence.
        rows: one for each grid point and arm.
        failures: how many of all runs did not finish, by status.
        runs: how many runs there are.
        tuning_runs: how many runs besides served to choose values.
        superseded: how many runs are left out because their arm was tuned anew.
    """

    metric: str
    baseline: str
    epoch: Epoch
    lower_is_better: bool
    confidence: float
    margin: float | None
    rows: tuple[ArmResult, ...]
    failures: dict[str, int]
    runs: int
    tuning_runs: int
    superseded: int

    @property
    def rivals(self) -> tuple[ArmResult, ...]:
        """The rows that are compared with the baseline."""
        return tuple(row for row in self.rows if row.arm != self.baseline)

    @property
    def caption(self) -> str:
        """Which runs failed; empty if none did."""
        return arm_groups.counted(self.failures, self.runs)

    def to_frame(self) -> pd.DataFrame:
        """A pandas data frame, one row per grid point and arm."""
        pd = _optional.require("pandas", extra="study")
        return pd.DataFrame([_flat(self, row) for row in self.rows])

    def to_markdown(self) -> str:
        """The comparison, and what the runs took, as two tables."""
        return f"{comparison_table(self).to_markdown()}\n\n{effort_table(self).to_markdown()}\n"

    def sentences(self) -> list[str]:
        """What each comparison shows, in words; with a margin, also what the test of equivalence shows."""
        found = []
        for row in self.rivals:
            where = f"At {written(row.shared)}: " if row.shared else ""
            if row.against is None:
                found.append(f"{where}{row.label} is not compared with {self.baseline}: {'; '.join(row.notes)}")
                continue
            left_out = _left_out(row)
            said = row.against.sentence(row.label, self.baseline, lower_is_better=self.lower_is_better)
            found.append(where + said + left_out)
            if row.equivalence is not None:
                found.append(where + row.equivalence.sentence(row.label, self.baseline) + left_out)
        return found


def compare(
    records: Sequence[RunRecord],
    metric: str = "val_task_loss",
    baseline: str | None = None,
    *,
    epoch: Epoch = "last",
    lower_is_better: bool | None = None,
    confidence: float = 0.95,
    margin: float | None = None,
) -> Comparison:
    """Compare each arm with the baseline by the differences between runs of one seed.

    At each point of the axes that the baseline has, the paired t tests of all rivals are one family, adjusted by Holm;
    a rival with further axes, such as its factor, has a row for each of their values. A test that could not be made
    counts in its family as one that showed nothing. Runs that did not finish are counted and left out; so are seeds
    that lack a value of either arm. Numbers that too few values give are None or NaN, with a note.

    Args:
        records: of the runs; those of role "tune" are counted only.
        metric: a name in the histories.
        baseline: the arm that the others are compared with, by default the first one met.
        epoch: compare the metric at the last epoch, or at each run's own best one.
        lower_is_better: True for a loss, False for an accuracy; None where the name of the metric says it.
        confidence: confidence of the intervals; 1 - `confidence` is the error rate of the decisions.
        margin: the largest difference that would not matter, chosen before the runs: tests equivalence as well, each
            test at its own error rate.

    Raises:
        ValueError: for an unknown baseline or metric, or no run to compare.

    Examples:
        >>> from keras_entropy.study.comparison import compare
        >>> from keras_entropy.study import RunRecord
        >>> losses = {"none": [0.30, 0.32, 0.31], "decorrelated": [0.27, 0.30, 0.27]}
        >>> records = [
        ...     RunRecord(arm=arm, seed=seed, history={"val_task_loss": [loss]})
        ...     for arm, values in losses.items()
        ...     for seed, loss in enumerate(values)
        ... ]
        >>> print(*compare(records).sentences())
        decorrelated is better than none by 0.030 (95 % interval 0.005 to 0.055, paired t, n = 3 seeds, p = 0.035)
    """
    runs = arm_groups.reported(records, metric)
    baseline = arm_groups.baseline_of(records, baseline)
    one_of("epoch", epoch, ("last", "best"))
    lower_is_better = direction(metric, lower_is_better)
    confidence = _samples.confidence(confidence)
    margin = None if margin is None else positive("margin", margin)
    comparison = Comparison(
        metric=metric,
        baseline=baseline,
        epoch=epoch,
        lower_is_better=lower_is_better,
        confidence=confidence,
        margin=margin,
        rows=(),
        failures=arm_groups.failures_of(runs),
        runs=len(runs),
        tuning_runs=len(arm_groups.latest(records, "tune")),
        superseded=arm_groups.superseded(records),
    )
    rows = [row for _, groups in arm_groups.families(runs, baseline) for row in _family(comparison, groups)]
    return dataclasses.replace(comparison, rows=tuple(rows))


def _family(study: Comparison, groups: Sequence[Group]) -> list[ArmResult]:
    base = next((group for group in groups if group.arm == study.baseline), None)
    reference = None if base is None else base.values(study.metric, study.epoch, study.lower_is_better)
    rows = [_row(study, group, reference) for group in groups]
    if base is None or reference is None:
        note = "the baseline has no run at this point"
        return [dataclasses.replace(row, notes=(note, *row.notes)) for row in rows]
    rivals = [row for row in rows if row.arm != study.baseline]
    family = holm_adjusted([_against(study, row, reference) for row in rivals])
    tested = {id(row): result for row, result in zip(rivals, family, strict=True)}
    return [
        _paired(study, row, reference, len(base.records.keys() | groups[i].records.keys()), tested[id(row)])
        if id(row) in tested
        else row
        for i, row in enumerate(rows)
    ]


def _row(study: Comparison, group: Group, reference: dict[int, float] | None) -> ArmResult:
    finished, values = group.finished, group.values(study.metric, study.epoch, study.lower_is_better)
    target = _target(list(reference.values())) if reference else math.nan
    epochs = {run.seed: run.epochs for run in finished}
    mean = mean_of(list(values.values()), study.confidence)
    notes = [] if mean is not None else ["no finished run has a value"]
    notes += [mean.note] if mean is not None and mean.note else []
    if len(values) < len(finished):
        lost = plural(len(finished) - len(values), "finished run")
        notes.append(f"{lost} without a finite {study.metric} left out")
    return ArmResult(
        arm=group.arm,
        shared=group.shared,
        own=group.own,
        tuned=next(iter(group.records.values())).tuned,
        runs=len(group.records),
        failures=group.failures,
        values=values,
        mean=mean,
        epochs=epochs,
        stopped=mean_of([float(n) for n in epochs.values()], study.confidence),
        stopped_early=sum(run.stopped_early for run in finished),
        reached={
            run.seed: _first(run.history[study.metric], target, study.lower_is_better)
            for run in finished
            if run.seed in values and not math.isnan(target)
        },
        wall_seconds=_mean([run.wall_seconds for run in finished]),
        cpu_seconds=_mean([run.cpu_seconds for run in finished]),
        notes=tuple(notes),
    )


def _pairs(row: ArmResult, reference: dict[int, float]) -> tuple[list[float], list[float]]:
    seeds = sorted(row.values.keys() & reference.keys())
    return [row.values[seed] for seed in seeds], [reference[seed] for seed in seeds]


def _against(study: Comparison, row: ArmResult, reference: dict[int, float]) -> MeanDifference | None:
    a, b = _pairs(row, reference)
    if len(a) < 2:
        return None
    with arm_groups.quiet():
        return paired_t(a, b, study.confidence)


def _paired(
    study: Comparison, row: ArmResult, reference: dict[int, float], seeds: int, against: MeanDifference | None
) -> ArmResult:
    a, b = _pairs(row, reference)
    notes, equivalence = list(row.notes), None
    if against is None:
        notes.insert(0, f"{plural(len(a), 'pair') if a else 'no pair'} of seeds, and a test needs two")
    elif against.note:
        notes.append(against.note)
    if against is not None and study.margin is not None:
        with arm_groups.quiet():
            equivalence = tost(a, b, study.margin, round(1 - study.confidence, 12))
    return dataclasses.replace(
        row, against=against, equivalence=equivalence, pairs=len(a), dropped=seeds - len(a), notes=tuple(notes)
    )


def _first(values: Sequence[float], target: float, lower_is_better: bool) -> int | None:
    """The first epoch at which a metric is as good as the target."""
    there = (i for i, v in enumerate(values, start=1) if (v <= target if lower_is_better else v >= target))
    return next(there, None)


def _target(values: Sequence[float]) -> float:
    """The mean, which rounding does not put beyond the values."""
    return min(max(_mean(values), min(values)), max(values))


def _mean(values: Sequence[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else math.nan


def _left_out(row: ArmResult) -> str:
    if not row.dropped:
        return ""
    lack = "lacks" if row.dropped == 1 else "lack"
    seeds = plural(row.pairs + row.dropped, "seed")
    are = "is" if row.dropped == 1 else "are"
    return f"; {row.dropped} of {seeds} {lack} a value of one of the two and {are} left out"


def _flat(study: Comparison, row: ArmResult) -> dict[str, Any]:
    """A row of the data frame."""
    nan = math.nan
    against, equivalence = row.against, row.equivalence
    flat: dict[str, Any] = {f"point.{axis}": value for axis, value in {**row.shared, **row.own}.items()}
    flat |= {"arm": row.arm, "tuned": written(row.tuned), "runs": row.runs}
    flat |= {"finished": len(row.epochs), **{status: row.failures.get(status, 0) for status in arm_groups.FAILURES}}
    for name, estimate in (("mean", row.mean), ("difference", against)):
        ends = (nan, nan, nan) if estimate is None else (estimate.estimate, estimate.low, estimate.high)
        flat |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        if name == "mean":
            flat["n"] = len(row.values)
    flat |= {"pairs": row.pairs, "dropped": row.dropped}
    flat |= {"p": against.p if against else nan, "p_adjusted": nan, "adjustment": "", "effect": nan, "verdict": ""}
    if against is not None:
        flat["p_adjusted"] = against.p if against.p_adjusted is None else against.p_adjusted
        flat |= {"adjustment": against.adjustment, "effect": against.effect}
        flat["verdict"] = against.verdict(lower_is_better=study.lower_is_better)
    if study.margin is not None:
        flat |= {"equivalence_p": equivalence.p if equivalence else nan}
        flat |= {"equivalent": equivalence is not None and equivalence.equivalent}
    flat |= {"epochs": row.stopped.estimate if row.stopped else nan, "stopped_early": row.stopped_early}
    flat |= {"reached": sum(epoch is not None for epoch in row.reached.values()), "reached_of": len(row.reached)}
    flat |= {"half_reached_at": nan if row.half_epoch is None else row.half_epoch}
    flat |= {"wall_seconds": row.wall_seconds, "cpu_seconds": row.cpu_seconds}
    return flat | {"notes": "; ".join(row.notes)}
