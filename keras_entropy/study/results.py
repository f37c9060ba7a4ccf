"""The comparison of a study's arms with their baseline: a result with its tables and sentences."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from keras_entropy import _checks, _optional
from keras_entropy._frozen import FrozenDict
from keras_entropy.runs.records import Epoch
from keras_entropy.stats import Equivalence, Estimate, MeanDifference
from keras_entropy.study import wording
from keras_entropy.study.arm_groups import FAILURES, Point, label
from keras_entropy.study.document import Table
from keras_entropy.study.wording import DASH, interval, plural, point_text

if TYPE_CHECKING:
    import pandas as pd

_MOST_NAMES = 3


@dataclasses.dataclass(frozen=True, kw_only=True)
class ArmResult:
    """One arm at one grid point.

    Attributes:
        arm: String. Name of the arm.
        shared: Mapping. The grid point on the axes of the baseline.
        own: Mapping. The values on the other axes of the arm.
        tuned: Mapping. The values that the tuning seeds chose.
        runs: Integer. Number of runs.
        failures: Mapping of statuses to the number of runs that did not finish.
        values: Mapping of seeds to the metric, of the finished runs that have a usable value.
        mean: `Estimate`. Mean of `values` with its t interval; None without values.
        difference: `MeanDifference`. The arm minus the baseline, paired by seed; None for the baseline, and with fewer
            than two pairs.
        equivalence: `Equivalence`. Test of equivalence with the baseline; None without a margin.
        pairs: Integer. Number of seeds with a value of both arms.
        dropped: Integer. Number of seeds that lack a value of one of the two arms.
        epochs: Mapping of seeds to the number of epochs of each finished run.
        mean_epochs: `Estimate`. Mean of `epochs`; None without a finished run.
        stopped_early: Integer. Number of runs that early stopping ended.
        reached: Mapping of seeds to the first epoch at which the metric was as good as the mean of the baseline at this
            grid point; None for a seed that never was.
        wall_seconds: Float. Mean wall time of the finished runs.
        cpu_seconds: Float. Mean processor time of the finished runs.
        notes: Tuple of strings. Why a number is missing.
    """

    arm: str
    shared: Point
    own: Point
    tuned: Point
    runs: int
    failures: Mapping[str, int]
    values: Mapping[int, float]
    mean: Estimate | None
    difference: MeanDifference | None = None
    equivalence: Equivalence | None = None
    pairs: int = 0
    dropped: int = 0
    epochs: Mapping[int, int]
    mean_epochs: Estimate | None
    stopped_early: int
    reached: Mapping[int, int | None]
    wall_seconds: float
    cpu_seconds: float
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("shared", "own", "tuned", "failures", "values", "epochs", "reached"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))

    @property
    def point(self) -> Point:
        """The values on all axes."""
        return FrozenDict({**self.shared, **self.own})

    @property
    def label(self) -> str:
        """The arm with the values on its own axes."""
        return label(self.arm, self.own)

    @property
    def half_epoch(self) -> int | None:
        """The epoch by which half of the seeds had reached the baseline; None if fewer ever did."""
        epochs = sorted(epoch for epoch in self.reached.values() if epoch is not None)
        half = math.ceil(len(self.reached) / 2)
        return epochs[half - 1] if 0 < half <= len(epochs) else None

    @property
    def reached_text(self) -> str:
        """How many seeds reached the baseline, such as "2 of 3"."""
        if not self.reached:
            return DASH
        return f"{sum(epoch is not None for epoch in self.reached.values())} of {len(self.reached)}"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All arms of a study, compared with the baseline.

    `print(comparison)` and a notebook show the tables.

    Attributes:
        metric: String. The metric that is compared.
        baseline: String. Name of the arm that the others are compared with.
        epoch: String. `"last"`, or `"best"` for the best epoch of each run.
        lower_is_better: Boolean. True for a loss.
        confidence: Float. Confidence of the intervals.
        margin: Float. Margin of equivalence; None without such tests.
        rows: Tuple of `ArmResult`, one for each grid point and arm; the baseline comes first at each point.
        failures: Mapping of statuses to the number of runs that did not finish.
        runs: Integer. Number of compared runs.
        tuning_runs: Integer. Number of runs that served to choose values.
        superseded: Integer. Number of runs that are left out because their arm was tuned again.
    """

    metric: str
    baseline: str
    epoch: Epoch
    lower_is_better: bool
    confidence: float
    margin: float | None
    rows: tuple[ArmResult, ...]
    failures: Mapping[str, int]
    runs: int
    tuning_runs: int
    superseded: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "failures", FrozenDict(self.failures))

    @property
    def rivals(self) -> tuple[ArmResult, ...]:
        """The rows that are compared with the baseline."""
        return tuple(row for row in self.rows if row.arm != self.baseline)

    @property
    def caption(self) -> str:
        """How many runs did not finish, in words; empty if all did."""
        return wording.left_out(self.failures, self.runs)

    @property
    def metric_text(self) -> str:
        """The metric and its epoch, in words."""
        return f"{self.metric} at {'the last epoch' if self.epoch == 'last' else 'the best epoch of each run'}"

    @property
    def axes(self) -> tuple[str, ...]:
        """The axes of the grid."""
        return tuple(dict.fromkeys(axis for row in self.rows for axis in row.shared))

    @property
    def adjusted(self) -> bool:
        """Whether p-values are adjusted by Holm's method."""
        return any(row.difference is not None and row.difference.adjustment for row in self.rows)

    def conclusion(self, row: ArmResult) -> str:
        """`"better"`, `"worse"` or `"no difference shown"`, said of a row; empty without a test."""
        return "" if row.difference is None else row.difference.conclusion(lower_is_better=self.lower_is_better)

    def sentences(self) -> tuple[str, ...]:
        """What each test shows, one sentence each; with a margin, also each test of equivalence."""
        found = []
        for row in self.rivals:
            where = f"At {point_text(row.shared)}: " if row.shared else ""
            if row.difference is None:
                found.append(f"{where}{row.label} is not compared with {self.baseline}: {'; '.join(row.notes)}")
                continue
            said = row.difference.sentence(row.label, self.baseline, lower_is_better=self.lower_is_better)
            found.append(where + said + _left_out(row))
            if row.equivalence is not None:
                found.append(where + row.equivalence.sentence(row.label, self.baseline) + _left_out(row))
        return tuple(found)

    def to_frame(self) -> pd.DataFrame:
        """A pandas data frame with one row per grid point and arm.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        pd = _optional.require("pandas", extra="study")
        return pd.DataFrame([_flat(self, row) for row in self.rows])

    def table(self) -> Table:
        """The arms against the baseline."""
        percent = wording.percent(self.confidence)
        head = [*self.axes, "arm", "n of runs", f"mean ({percent})", f"minus {self.baseline} ({percent})"]
        head += ["conclusion", "p", *(["equivalent"] if self.margin is not None else []), "effect", "pairs", "tuned"]
        rows = []
        for row in self.rows:
            cells = [*self._place(row), f"{len(row.values)} of {row.runs}", interval(row.mean)]
            conclusion = "baseline" if row.arm == self.baseline else self.conclusion(row) or DASH
            cells += [interval(row.difference), conclusion, wording.p_value(row.difference)]
            if self.margin is not None:
                shown = row.equivalence is not None and row.equivalence.equivalent
                cells.append(DASH if row.equivalence is None else "shown" if shown else "not shown")
            pairs = DASH if row.arm == self.baseline else f"{row.pairs} of {row.pairs + row.dropped}"
            rows.append((*cells, _effect(row.difference), pairs, point_text(row.tuned) or DASH))
        better = "lower" if self.lower_is_better else "higher"
        caption = f"{self.metric_text} by arm ({better} is better)"
        notes = (*self._failed_note(), *self._table_notes())
        return Table(caption, tuple(head), tuple(rows), notes, len(self.axes) + 1)

    def effort_table(self) -> Table:
        """Epochs and time of each arm."""
        head = [*self.axes, "arm", "finished of runs", "epochs", "stopped early", "reached by", "half by epoch"]
        head += ["wall time (s)", "CPU time (s)"]
        rows = []
        for row in self.rows:
            cells = [*self._place(row), f"{len(row.epochs)} of {row.runs}", interval(row.mean_epochs)]
            cells += [str(row.stopped_early), row.reached_text, DASH if row.half_epoch is None else str(row.half_epoch)]
            rows.append((*cells, wording.seconds(row.wall_seconds), wording.seconds(row.cpu_seconds)))
        note = (
            f"Epochs: mean with {wording.percent(self.confidence)} t interval. Reached by: number of seeds whose "
            f"{self.metric} was, at any epoch, as good as the mean of {self.baseline} at the same point; half by "
            "epoch: when half of the seeds had reached it. Times are means of the finished runs."
        )
        return Table(
            "Epochs and time by arm", tuple(head), tuple(rows), (*self._failed_note(), note), len(self.axes) + 1
        )

    def to_markdown(self) -> str:
        """Both tables in Markdown."""
        return f"{self.table().to_markdown()}\n\n{self.effort_table().to_markdown()}\n"

    def __repr__(self) -> str:
        arms = ", ".join(map(_checks.printable, dict.fromkeys(row.arm for row in self.rows)))
        return f"<{type(self).__name__} of {_checks.printable(self.metric)} by arm: {arms}>"

    def __str__(self) -> str:
        """Both tables in plain text."""
        return f"{self.table()}\n\n{self.effort_table()}"

    def _repr_html_(self) -> str:
        return self.table()._repr_html_() + self.effort_table()._repr_html_()

    def _place(self, row: ArmResult) -> list[str]:
        return [*(wording.value_text(row.shared[a]) if a in row.shared else DASH for a in self.axes), row.label]

    def _failed_note(self) -> tuple[str, ...]:
        return (f"{self.caption}.",) if self.caption else ()

    def _table_notes(self) -> list[str]:
        family = ", adjusted by Holm over all rivals at one grid point" if self.adjusted else ""
        notes = [
            f"{wording.percent(self.confidence)} t intervals. Differences are paired by seed, with p of paired t "
            f"tests{family}; the intervals of the differences are not adjusted. Pairs: number of seeds with a value of "
            f"both arms; the others are left out. Effect: Hedges g of the differences. {DASH}: none."
        ]
        if self.margin is not None:
            alpha = round(1 - self.confidence, 12)
            notes.append(f"Equivalent: within {self.margin:g}, by two one-sided tests at {alpha:g} each, not adjusted.")
        if self.superseded:
            notes.append(f"{plural(self.superseded, 'run')} with values of an earlier choice left out.")
        rows: dict[str, list[str]] = {}
        for row in self.rows:
            for note in row.notes:
                rows.setdefault(note, []).append(f"{row.label}, {point_text(row.shared)}" if row.shared else row.label)
        for note, names in rows.items():
            notes.append(f"{'; '.join(names) if len(names) <= _MOST_NAMES else f'{len(names)} rows'}: {note}.")
        return notes


def _effect(result: MeanDifference | None) -> str:
    return DASH if result is None or math.isnan(result.effect) else f"{result.effect:.2f}"


def _left_out(row: ArmResult) -> str:
    if not row.dropped:
        return ""
    lack, are = ("lacks", "is") if row.dropped == 1 else ("lack", "are")
    seeds = plural(row.pairs + row.dropped, "seed")
    return f"; {row.dropped} of {seeds} {lack} a value of one of the two and {are} left out"


def _flat(comparison: Comparison, row: ArmResult) -> dict[str, Any]:
    """A row of the data frame."""
    nan = math.nan
    difference, equivalence = row.difference, row.equivalence
    flat: dict[str, Any] = {f"point.{axis}": value for axis, value in row.point.items()}
    flat |= {"arm": row.arm, "tuned": point_text(row.tuned), "runs": row.runs}
    flat |= {"finished": len(row.epochs), **{status: row.failures.get(status, 0) for status in FAILURES}}
    for name, estimate in (("mean", row.mean), ("difference", difference)):
        ends = (nan, nan, nan) if estimate is None else (estimate.estimate, estimate.low, estimate.high)
        flat |= dict(zip((name, f"{name}_low", f"{name}_high"), ends, strict=True))
        if name == "mean":
            flat["n"] = len(row.values)
    flat |= {"pairs": row.pairs, "dropped": row.dropped}
    flat |= {"p": difference.p if difference else nan, "p_adjusted": difference.deciding_p if difference else nan}
    flat |= {
        "adjustment": difference.adjustment if difference else "",
        "effect": difference.effect if difference else nan,
    }
    flat["conclusion"] = comparison.conclusion(row)
    if comparison.margin is not None:
        flat |= {"equivalence_p": equivalence.p if equivalence else nan}
        flat |= {"equivalent": equivalence is not None and equivalence.equivalent}
    flat |= {"epochs": row.mean_epochs.estimate if row.mean_epochs else nan, "stopped_early": row.stopped_early}
    flat |= {"reached": sum(epoch is not None for epoch in row.reached.values()), "reached_of": len(row.reached)}
    flat |= {"half_reached_at": nan if row.half_epoch is None else row.half_epoch}
    flat |= {"wall_seconds": row.wall_seconds, "cpu_seconds": row.cpu_seconds}
    return flat | {"notes": "; ".join(row.notes)}
