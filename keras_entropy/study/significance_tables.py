"""Tables of significance: signs for each two arms, and stars for arms that are better than the baseline.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks, figures 3 to 6 (signs) and
    table 1 (stars).
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Mapping

from keras_entropy._checks import flag, one_of
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.records import Epoch, RunRecord
from keras_entropy.stats import Estimate, MeanDifference, _samples, holm_adjusted, paired_t, welch_t
from keras_entropy.study import arm_groups, wording
from keras_entropy.study.arm_groups import Point
from keras_entropy.study.document import Table
from keras_entropy.study.estimates import mean_of, quiet
from keras_entropy.study.wording import DASH

STARS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))
"""Largest p-value of each number of stars."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PairwiseTable:
    """Each two arms against each other, at one grid point.

    Attributes:
        point: Mapping. The values on the axes that all arms have.
        names: Tuple of strings. The arms, with the values on their own axes.
        results: Mapping of two names to their `MeanDifference`; None with too few values.
        lower_is_better: Boolean. True for a loss.
        title: String. What is compared, and how.
        caption: String. How many runs did not finish; empty if all did.
    """

    point: Point
    names: tuple[str, ...]
    results: Mapping[tuple[str, str], MeanDifference | None]
    lower_is_better: bool
    title: str
    caption: str

    def __post_init__(self) -> None:
        for name in ("point", "results"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))

    def sign(self, row: str, column: str) -> str:
        """`"+"` if the arm of the row is shown to be better than that of the column, `"-"` if worse, else `""`."""
        result = self.results.get((row, column))
        if result is None:
            result = self.results.get((column, row))
            result = None if result is None else result.swapped()
        if result is None:
            return ""
        return {"better": "+", "worse": "-"}.get(result.conclusion(lower_is_better=self.lower_is_better), "")

    def table(self) -> Table:
        """The signs as a table."""
        rows = [(row, *(self.sign(row, column) for column in self.names)) for row in self.names]
        where = f" at {wording.point_text(self.point)}" if self.point else ""
        missing = sum(result is None for result in self.results.values())
        notes = ["+: the arm of the row is shown to be better than that of the column; -: worse."]
        if missing:
            notes.append(f"{missing} of {len(self.results)} tests could not be made: each arm needs two values.")
        failed = (f"{self.caption}.",) if self.caption else ()
        return Table(f"Each two arms{where}: {self.title}", ("", *self.names), tuple(rows), (*failed, *notes))

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return self.table().to_markdown()

    def __str__(self) -> str:
        """The table in plain text."""
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


@dataclasses.dataclass(frozen=True, kw_only=True)
class StarredTable:
    """Means by grid point, with stars for arms that are better than the baseline.

    Attributes:
        metric: String. The metric that is compared.
        baseline: String. Name of the arm that the others are compared with.
        points: Tuple of mappings. The grid points.
        names: Tuple of strings. The other arms, with the values on their own axes.
        means: Tuple of mappings, one per point: the mean of each arm that has one.
        tests: Tuple of mappings, one per point: the one-sided test of each arm that has one.
        note: String. Which test it is.
        caption: String. How many runs did not finish; empty if all did.
    """

    metric: str
    baseline: str
    points: tuple[Point, ...]
    names: tuple[str, ...]
    means: tuple[Mapping[str, Estimate], ...]
    tests: tuple[Mapping[str, MeanDifference], ...]
    note: str
    caption: str

    def __post_init__(self) -> None:
        for name in ("points", "means", "tests"):
            object.__setattr__(self, name, tuple(FrozenDict(mapping) for mapping in getattr(self, name)))

    def stars(self, i: int, name: str) -> str:
        """The stars of an arm at point i: * for p at most 0.05, ** for 0.01, *** for 0.001."""
        test = self.tests[i].get(name)
        p = None if test is None else test.deciding_p
        return "" if p is None else next((stars for most, stars in STARS if p <= most), "")

    def table(self) -> Table:
        """The means and stars as a table."""
        axes = list(dict.fromkeys(axis for point in self.points for axis in point))
        rows = []
        for i, point in enumerate(self.points):
            place = [wording.value_text(point[axis]) if axis in point else DASH for axis in axes]
            means = (self.means[i].get(name) for name in (self.baseline, *self.names))
            cells = [DASH if mean is None else f"{mean.estimate:#.4g}" for mean in means]
            rows.append((*place, cells[0], *(c + self.stars(i, n) for c, n in zip(cells[1:], self.names, strict=True))))
        failed = (f"{self.caption}.",) if self.caption else ()
        caption = f"Mean {self.metric} by arm"
        return Table(caption, (*axes, self.baseline, *self.names), tuple(rows), (*failed, self.note), len(axes))

    def to_markdown(self) -> str:
        """The table in Markdown."""
        return self.table().to_markdown()

    def __str__(self) -> str:
        """The table in plain text."""
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def pairwise_table(
    records: Iterable[RunRecord],
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
        records: Iterable of `RunRecord`. Tuning runs and runs that did not finish are left out.
        metric: String. A name in the histories. Defaults to `"val_task_loss"`.
        alpha: Float. Error rate of the decisions: with `adjust`, of all pairs at one point together. Defaults to 0.01.
        paired: Boolean. True for paired t tests over the seeds that both arms have; False for Welch's t tests, which
            ignore the pairs. Defaults to True.
        adjust: `"holm"`, or None for p-values without an adjustment. Defaults to `"holm"`.
        epoch: String. `"last"`, or `"best"` for the best epoch of each run. Defaults to `"last"`.
        lower_is_better: Boolean. True for a loss, False for an accuracy. Defaults to None: what the name of the metric
            says.

    Returns:
        Tuple of `PairwiseTable`, one per grid point.

    Raises:
        ValueError: If there is no run to compare, or the runs do not have the metric.
    """
    selection = arm_groups.select(records, metric, epoch=epoch, lower_is_better=lower_is_better, pairwise=True)
    alpha, tests = _samples.alpha(alpha), _test_name(paired, adjust)
    title = f"{metric}, {tests} at {alpha:g}{', adjusted by Holm' if adjust else ', not adjusted'}"
    tables = []
    for family in selection.families:
        values = {group.label: group.values for group in family.groups}
        pairs = list(itertools.combinations(values, 2))
        results = tuple(_test(values[a], values[b], paired, 1 - alpha, "two-sided") for a, b in pairs)
        if adjust is not None:
            results = holm_adjusted(results)
        tables.append(
            PairwiseTable(
                point=family.point,
                names=tuple(values),
                results=dict(zip(pairs, results, strict=True)),
                lower_is_better=selection.lower_is_better,
                title=title,
                caption=_failed(family.records),
            )
        )
    return tuple(tables)


def starred_table(
    records: Iterable[RunRecord],
    metric: str = "val_task_loss",
    baseline: str | None = None,
    *,
    paired: bool = True,
    adjust: str | None = "holm",
    epoch: Epoch = "last",
    lower_is_better: bool | None = None,
) -> StarredTable:
    """Means of all arms by grid point, with stars where a one-sided test shows that an arm is better than the baseline.

    An arm that is worse gets no stars, however large the difference is; `compare` tests both directions.

    Args:
        records: Iterable of `RunRecord`. Tuning runs and runs that did not finish are left out.
        metric: String. A name in the histories. Defaults to `"val_task_loss"`.
        baseline: String. Name of the arm that the others are compared with. Defaults to None: the first arm.
        paired: Boolean. True for paired t tests over the seeds that both arms have; False for Welch's t tests, which
            ignore the pairs. Defaults to True.
        adjust: `"holm"` to adjust over the arms at one point, or None for p-values without an adjustment. Defaults to
            `"holm"`.
        epoch: String. `"last"`, or `"best"` for the best epoch of each run. Defaults to `"last"`.
        lower_is_better: Boolean. True for a loss, False for an accuracy. Defaults to None: what the name of the metric
            says.

    Returns:
        `StarredTable`.

    Raises:
        ValueError: If there is no run to compare, or the runs do not have the baseline or the metric.
    """
    selection = arm_groups.select(records, metric, baseline, epoch=epoch, lower_is_better=lower_is_better)
    baseline, lower_is_better = selection.baseline, selection.lower_is_better
    test_name, side = _test_name(paired, adjust), "less" if lower_is_better else "greater"
    names: dict[str, None] = {}
    means, tests = [], []
    for family in selection.families:
        values = {group.label: group.values for group in family.groups}
        rivals = [group.label for group in family.groups if group.arm != baseline]
        results = tuple(_test(values[name], values.get(baseline, {}), paired, 0.95, side) for name in rivals)
        if adjust is not None:
            results = holm_adjusted(results)
        names |= dict.fromkeys(rivals)
        found = {name: mean_of(list(sample.values())) for name, sample in values.items()}
        means.append({name: mean for name, mean in found.items() if mean is not None})
        tests.append({name: result for name, result in zip(rivals, results, strict=True) if result is not None})
    family_text = "adjusted by Holm over the arms at one point" if adjust else "not adjusted"
    note = (
        f"* p at most 0.05, ** 0.01, *** 0.001: one-sided {test_name} that the arm is better "
        f"({'lower' if lower_is_better else 'higher'}) than {baseline}, {family_text}."
    )
    return StarredTable(
        metric=metric,
        baseline=baseline,
        points=tuple(family.point for family in selection.families),
        names=tuple(names),
        means=tuple(means),
        tests=tuple(tests),
        note=note,
        caption=_failed(selection.records),
    )


def _test_name(paired: bool, adjust: str | None) -> str:
    if adjust is not None:
        one_of("adjust", adjust, ("holm",))
    return "paired t tests" if flag("paired", paired) else "Welch t tests"


def _test(
    a: Mapping[int, float], b: Mapping[int, float], paired: bool, confidence: float, side: str
) -> MeanDifference | None:
    both = sorted(a.keys() & b.keys())
    first, second = ([x[seed] for seed in both] for x in (a, b)) if paired else (list(a.values()), list(b.values()))
    if min(len(first), len(second)) < 2:
        return None
    test: Callable[..., MeanDifference] = paired_t if paired else welch_t
    with quiet():
        return test(first, second, confidence, alternative=side)


def _failed(records: Iterable[RunRecord]) -> str:
    records = list(records)
    return wording.left_out(arm_groups.failure_counts(records), len(records))
