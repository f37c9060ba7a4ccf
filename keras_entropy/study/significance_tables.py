"""Tables as in papers: signs for all pairs of arms, and stars for what is better than the baseline."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from keras_entropy._checks import flag, one_of
from keras_entropy.stats import Estimate, MeanDifference, _samples, holm_adjusted, paired_t, welch_t
from keras_entropy.study import arm_groups
from keras_entropy.study.arm_groups import Epoch, Group, Point, written
from keras_entropy.study.document import DASH, Table
from keras_entropy.study.records import RunRecord, direction

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairwiseTable:
    """All arms against each other at one grid point.

    Attributes:
        point: the values on the axes that all arms have.
        names: of the arms, with the values on their own axes.
        results: by two names, in their order; None where there are too few values.
        lower_is_better: True for a loss.
        title: what is compared, and how.
        caption: which runs failed; empty if none did.
    """

    point: Point
    names: tuple[str, ...]
    results: dict[tuple[str, str], MeanDifference | None]
    lower_is_better: bool
    title: str
    caption: str

    def sign(self, row: str, column: str) -> str:
        """`"+"` if the arm of the row is shown to be better than that of the column, `"-"` if worse, else `""`."""
        result = self.results.get((row, column))
        if result is None:
            result = self.results.get((column, row))
            result = None if result is None else result.swapped()
        if result is None:
            return ""
        return {"better": "+", "worse": "-"}.get(result.verdict(lower_is_better=self.lower_is_better), "")

    def table(self) -> Table:
        """The signs as a table."""
        rows = [(row, *(self.sign(row, column) for column in self.names)) for row in self.names]
        where = f" at {written(self.point)}" if self.point else ""
        missing = sum(result is None for result in self.results.values())
        notes = ["+: the arm of the row is shown to be better than that of the column; -: worse."]
        if missing:
            notes.append(
                f"{missing} of {len(self.results)} tests could not be made: two values of each arm are needed."
            )
        failed = (f"{self.caption}.",) if self.caption else ()
        return Table(f"Each two arms{where}: {self.title}", ("", *self.names), tuple(rows), (*failed, *notes))

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return self.table().to_markdown()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarredTable:
    """Means by grid point, with stars for arms that are better than the baseline.

    Attributes:
        metric: that is compared.
        baseline: name of the arm that the others are compared with.
        points: the grid points.
        names: of the rivals, with the values on their own axes.
        means: for each point, the mean of each arm that has one.
        tests: for each point, the one-tailed test of each rival that has one.
        note: which test.
        caption: which runs failed; empty if none did.
    """

    metric: str
    baseline: str
    points: tuple[Point, ...]
    names: tuple[str, ...]
    means: tuple[dict[str, Estimate], ...]
    tests: tuple[dict[str, MeanDifference], ...]
    note: str
    caption: str

    def stars(self, i: int, name: str) -> str:
        """The stars of a rival at point i: * for p at most 0.05, ** for 0.01, *** for 0.001."""
        test = self.tests[i].get(name)
        p = None if test is None else test.p if test.p_adjusted is None else test.p_adjusted
        return "" if p is None else next((stars for most, stars in STARS if p <= most), "")

    def table(self) -> Table:
        """The means and stars as a table."""
        axes = list(dict.fromkeys(axis for point in self.points for axis in point))
        rows = []
        for i, point in enumerate(self.points):
            place = [arm_groups.text(point[axis]) if axis in point else DASH for axis in axes]
            means = (self.means[i].get(name) for name in (self.baseline, *self.names))
            cells = [DASH if mean is None else f"{mean.estimate:#.4g}" for mean in means]
            rows.append((*place, cells[0], *(c + self.stars(i, n) for c, n in zip(cells[1:], self.names, strict=True))))
        failed = (f"{self.caption}.",) if self.caption else ()
        caption = f"Mean {self.metric} by arm"
        return Table(caption, (*axes, self.baseline, *self.names), tuple(rows), (*failed, self.note), len(axes))

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return self.table().to_markdown()


def pairwise_table(
    records: Sequence[RunRecord],
    metric: str = "val_task_loss",
    *,
    alpha: float = 0.01,
    paired: bool = True,
    adjust: str | None = "holm",
    epoch: Epoch = "last",
    lower_is_better: bool | None = None,
) -> tuple[PairwiseTable, ...]:
    """Test each two arms against each other, at each grid point that they have in common.

    Args:
        records: of the runs; those of role "tune" and those that did not finish are left out.
        metric: a name in the histories.
        alpha: error rate of the decisions: for all pairs at one point together if adjusted.
        paired: paired t tests over the seeds that both arms have; False for Welch's, which do not use the pairs.
        adjust: `"holm"`, or None for p-values that are each of its own.
        epoch: compare the metric at the last epoch, or at each run's own best one.
        lower_is_better: True for a loss, False for an accuracy; None where the name of the metric says it.

    Raises:
        ValueError: for an unknown metric, or no run to compare.
    """
    runs = arm_groups.reported(records, metric)
    lower_is_better = direction(metric, lower_is_better)
    alpha, one = _samples.alpha(alpha), _chosen(paired, adjust, epoch)
    title = f"{one} at {alpha:g}{', adjusted by Holm' if adjust else ', not adjusted'}"
    tables = []
    for point, groups in arm_groups.families(runs):
        values = {group.label: group.values(metric, epoch, lower_is_better) for group in groups}
        pairs = list(itertools.combinations(values, 2))
        results = tuple(_test(values[a], values[b], paired, 1 - alpha, "two-sided") for a, b in pairs)
        if adjust is not None:
            results = holm_adjusted(results)
        tables.append(
            PairwiseTable(
                point=point,
                names=tuple(values),
                results=dict(zip(pairs, results, strict=True)),
                lower_is_better=lower_is_better,
                title=f"{metric}, {title}",
                caption=_failed(groups),
            )
        )
    return tuple(tables)


def starred_table(
    records: Sequence[RunRecord],
    metric: str = "val_task_loss",
    baseline: str | None = None,
    *,
    paired: bool = True,
    adjust: str | None = "holm",
    epoch: Epoch = "last",
    lower_is_better: bool | None = None,
) -> StarredTable:
    """Means of all arms by grid point, with stars where a one-tailed test shows a rival better than the baseline.

    One tail means that an arm that is worse gets no star, whatever its difference; `compare` tests both directions.

    Args:
        records: of the runs; those of role "tune" and those that did not finish are left out.
        metric: a name in the histories.
        baseline: the arm that the others are compared with, by default the first one met.
        paired: paired t tests over the seeds that both arms have; False for Welch's, which do not use the pairs.
        adjust: `"holm"` over the rivals at one point, or None for p-values that are each of its own.
        epoch: compare the metric at the last epoch, or at each run's own best one.
        lower_is_better: True for a loss, False for an accuracy; None where the name of the metric says it.

    Raises:
        ValueError: for an unknown baseline or metric, or no run to compare.
    """
    runs = arm_groups.reported(records, metric)
    lower_is_better = direction(metric, lower_is_better)
    baseline, one = arm_groups.baseline_of(records, baseline), _chosen(paired, adjust, epoch)
    side = "less" if lower_is_better else "greater"
    names: dict[str, None] = {}
    points, means, tests = [], [], []
    for point, groups in arm_groups.families(runs, baseline):
        values = {group.label: group.values(metric, epoch, lower_is_better) for group in groups}
        rivals = [group.label for group in groups if group.arm != baseline]
        results = tuple(_test(values[name], values.get(baseline, {}), paired, 0.95, side) for name in rivals)
        if adjust is not None:
            results = holm_adjusted(results)
        names |= dict.fromkeys(rivals)
        points.append(point)
        found = {name: arm_groups.mean_of(list(sample.values()), 0.95) for name, sample in values.items()}
        means.append({name: mean for name, mean in found.items() if mean is not None})
        tests.append({name: result for name, result in zip(rivals, results, strict=True) if result is not None})
    family = "adjusted by Holm over the rivals at one point" if adjust else "not adjusted for their number"
    note = (
        f"* p at most 0.05, ** 0.01, *** 0.001: one-tailed {one} that the arm is better "
        f"({'lower' if lower_is_better else 'higher'}) than {baseline}, {family}."
    )
    return StarredTable(
        metric=metric,
        baseline=baseline,
        points=tuple(points),
        names=tuple(names),
        means=tuple(means),
        tests=tuple(tests),
        note=note,
        caption=arm_groups.counted(arm_groups.failures_of(runs), len(runs)),
    )


def _chosen(paired: bool, adjust: str | None, epoch: str) -> str:
    """The name of the tests, once the arguments are checked."""
    one_of("epoch", epoch, ("last", "best"))
    if adjust is not None:
        one_of("adjust", adjust, ("holm",))
    return "paired t tests" if flag("paired", paired) else "Welch t tests"


def _test(
    a: dict[int, float], b: dict[int, float], paired: bool, confidence: float, side: str
) -> MeanDifference | None:
    both = sorted(a.keys() & b.keys())
    first, second = ([x[seed] for seed in both] for x in (a, b)) if paired else (list(a.values()), list(b.values()))
    if min(len(first), len(second)) < 2:
        return None
    test: Callable[..., MeanDifference] = paired_t if paired else welch_t
    with arm_groups.quiet():
        return test(first, second, confidence, alternative=side)


def _failed(groups: Sequence[Group]) -> str:
    runs = [record for group in groups for record in group.records.values()]
    return arm_groups.counted(arm_groups.failures_of(runs), len(runs))
