"""Compares the arms of a study with their baseline: paired by seed, at each point of the grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from keras_entropy._checks import positive
from keras_entropy.runs.records import Epoch, RunRecord
from keras_entropy.stats import MeanDifference, _samples, holm_adjusted, paired_t, tost
from keras_entropy.study import arm_groups
from keras_entropy.study.arm_groups import Family, Group, Selection
from keras_entropy.study.estimates import finite_mean, mean_of, quiet
from keras_entropy.study.results import ArmResult, Comparison
from keras_entropy.study.wording import plural


def compare(
    records: Iterable[RunRecord],
    metric: str = "val_task_loss",
    baseline: str | None = None,
    *,
    epoch: Epoch = "last",
    lower_is_better: bool | None = None,
    confidence: float = 0.95,
    margin: float | None = None,
) -> Comparison:
    """Compare each arm with the baseline, by the differences between runs with the same seed.

    At each point of the baseline's grid, the paired t tests of all other arms are one family, adjusted by Holm's
    method. An arm with further axes, such as its factor, has a row for each of their values. A test that could not be
    made counts in its family as a test with p = 1. Runs that did not finish are counted and left out, and so are seeds
    without a value of both arms. Numbers that need more values are None or NaN, with a note.

    Args:
        records: Iterable of `RunRecord`, such as the result of `Study.run`. Tuning runs are only counted.
        metric: String. A name in the histories. Defaults to `"val_task_loss"`.
        baseline: String. Name of the arm that the others are compared with. Defaults to None: the first arm.
        epoch: String. `"last"`, or `"best"` for the best epoch of each run. Defaults to `"last"`.
        lower_is_better: Boolean. True for a loss, False for an accuracy. Defaults to None: what the name of the metric
            says.
        confidence: Float. Confidence of the intervals; 1 - `confidence` is the error rate of the decisions. Defaults to
            0.95.
        margin: Float above 0. The largest difference that would not matter, chosen before the runs. If given,
            equivalence is tested too, each test at its own error rate. Defaults to None.

    Returns:
        `Comparison`.

    Raises:
        ValueError: If there is no run to compare, or the runs do not have the baseline or the metric.

    Examples:
        >>> from keras_entropy.study import RunRecord, compare
        >>> losses = {"none": [0.30, 0.32, 0.31], "decorrelated": [0.27, 0.30, 0.27]}
        >>> records = [
        ...     RunRecord(arm=arm, seed=seed, history={"val_task_loss": [loss]})
        ...     for arm, values in losses.items()
        ...     for seed, loss in enumerate(values)
        ... ]
        >>> print(*compare(records).sentences())
        decorrelated is better than none by 0.030 (95 % interval 0.005 to 0.055, paired t, n = 3 seeds, p = 0.035)
    """
    selection = arm_groups.select(records, metric, baseline, epoch=epoch, lower_is_better=lower_is_better)
    confidence = _samples.confidence(confidence)
    margin = None if margin is None else positive("margin", margin)
    return Comparison(
        metric=metric,
        baseline=selection.baseline,
        epoch=epoch,
        lower_is_better=selection.lower_is_better,
        confidence=confidence,
        margin=margin,
        rows=tuple(row for family in selection.families for row in _rows(selection, family, confidence, margin)),
        failures=arm_groups.failure_counts(selection.records),
        runs=len(selection.records),
        tuning_runs=selection.tuning_runs,
        superseded=selection.superseded,
    )


def _rows(selection: Selection, family: Family, confidence: float, margin: float | None) -> list[ArmResult]:
    """The rows at one grid point; their tests are one family."""
    base = next((group for group in family.groups if group.arm == selection.baseline), None)
    rivals = [] if base is None else [group for group in family.groups if group.arm != selection.baseline]
    tests = holm_adjusted([_test(group, base, confidence) for group in rivals])
    by_group = dict(zip(map(id, rivals), tests, strict=True))
    return [_row(selection, group, base, by_group.get(id(group)), confidence, margin) for group in family.groups]


def _row(
    selection: Selection,
    group: Group,
    base: Group | None,
    difference: MeanDifference | None,
    confidence: float,
    margin: float | None,
) -> ArmResult:
    finished = group.finished
    mean = mean_of(list(group.values.values()), confidence)
    notes = [] if mean is not None else ["no finished run has a value"]
    notes += [mean.note] if mean is not None and mean.note else []
    if len(group.values) < len(finished):
        lost = plural(len(finished) - len(group.values), "finished run")
        notes.append(f"{lost} without a finite {selection.metric} left out")
    pairs, dropped, equivalence = 0, 0, None
    if base is None:
        notes.insert(0, "the baseline has no run at this point")
    elif group.arm != base.arm:
        a, b = _pairs(group, base)
        pairs, dropped = len(a), len(base.records.keys() | group.records.keys()) - len(a)
        if difference is None:
            notes.insert(0, f"{plural(pairs, 'pair') if pairs else 'no pair'} of seeds, and a test needs two")
        elif difference.note:
            notes.append(difference.note)
        if difference is not None and margin is not None:
            with quiet():
                equivalence = tost(a, b, margin, round(1 - confidence, 12))
    return ArmResult(
        arm=group.arm,
        shared=group.shared,
        own=group.own,
        tuned=next(iter(group.records.values())).tuned,
        runs=len(group.records),
        failures=arm_groups.failure_counts(group.records.values()),
        values=group.values,
        mean=mean,
        difference=difference,
        equivalence=equivalence,
        pairs=pairs,
        dropped=dropped,
        epochs={run.seed: run.epochs for run in finished},
        mean_epochs=mean_of([float(run.epochs) for run in finished], confidence),
        stopped_early=sum(run.stopped_early for run in finished),
        reached=_reached(selection, group, base),
        wall_seconds=finite_mean([run.wall_seconds for run in finished]),
        cpu_seconds=finite_mean([run.cpu_seconds for run in finished]),
        notes=tuple(notes),
    )


def _pairs(group: Group, base: Group) -> tuple[list[float], list[float]]:
    """The values of both arms, of the seeds that have both."""
    seeds = sorted(group.values.keys() & base.values.keys())
    return [group.values[seed] for seed in seeds], [base.values[seed] for seed in seeds]


def _test(group: Group, base: Group | None, confidence: float) -> MeanDifference | None:
    if base is None:
        return None
    a, b = _pairs(group, base)
    if len(a) < 2:
        return None
    with quiet():
        return paired_t(a, b, confidence)


def _reached(selection: Selection, group: Group, base: Group | None) -> Mapping[int, int | None]:
    """For each seed, the first epoch at which its metric was as good as the mean of the baseline."""
    if base is None or not base.values:
        return {}
    reference = list(base.values.values())
    target = min(max(finite_mean(reference), min(reference)), max(reference))  # rounding may move the mean beyond
    return {
        run.seed: _first(run.history[selection.metric], target, selection.lower_is_better)
        for run in group.finished
        if run.seed in group.values
    }


def _first(values: Sequence[float], target: float, lower_is_better: bool) -> int | None:
    """The first epoch at which a metric is as good as the target; None if there is none."""
    there = (i for i, v in enumerate(values, start=1) if (v <= target if lower_is_better else v >= target))
    return next(there, None)
