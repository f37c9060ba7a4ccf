"""The tables of a comparison, and the words of their cells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from keras_entropy.stats import Estimate, MeanDifference, wording
from keras_entropy.study.arm_groups import plural, text, written
from keras_entropy.study.document import DASH, Table

if TYPE_CHECKING:
    from keras_entropy.study.comparison import ArmResult, Comparison

__all__ = [
    "comparison_table",
    "effort_table",
    "interval",
    "p_value",
]


def comparison_table(study: Comparison) -> Table:
    """The arms against the baseline."""
    axes = axes_of(study)
    percent = wording.percent(study.confidence)
    head = [*axes, "arm", "n of runs", f"mean ({percent})", f"minus {study.baseline} ({percent})", "verdict", "p"]
    head += [*(["equivalent"] if study.margin is not None else []), "effect", "pairs", "tuned"]
    rows = []
    for row in study.rows:
        cells = [*_place(axes, row), f"{len(row.values)} of {row.runs}", interval(row.mean), interval(row.against)]
        cells += [_verdict(study, row), p_value(row.against)]
        if study.margin is not None:
            cells.append(DASH if row.equivalence is None else "shown" if row.equivalence.equivalent else "not shown")
        rows.append((*cells, _effect(row.against), _pairs(study, row), tuned(row)))
    better = "lower" if study.lower_is_better else "higher"
    notes = [
        f"{percent} t intervals. Differences are paired by seed, with p of paired t tests{_family(study)}; each "
        "interval of a difference is that of its comparison alone. Pairs: how many of the seeds have a value of both "
        f"arms; the others are left out. Effect: Hedges g of the differences. {DASH}: none."
    ]
    if study.margin is not None:
        alpha = round(1 - study.confidence, 12)
        notes.append(f"Equivalent: within {study.margin:g}, by two one-sided tests at {alpha:g} each, not adjusted.")
    if study.superseded:
        notes.append(f"{plural(study.superseded, 'run')} with values of an earlier choice left out.")
    notes += _notes(study)
    caption = f"{metric_name(study)} by arm ({better} is better)"
    return Table(caption, tuple(head), tuple(rows), (*_failed(study), *notes), len(axes) + 1)


def effort_table(study: Comparison) -> Table:
    """What the runs of each arm took."""
    axes = axes_of(study)
    head = [*axes, "arm", "finished of runs", "epochs", "stopped early", "reached by", "half by epoch"]
    head += ["wall time (s)", "CPU time (s)"]
    rows = []
    for row in study.rows:
        cells = [*_place(axes, row), f"{len(row.epochs)} of {row.runs}", interval(row.stopped)]
        cells += [str(row.stopped_early), reached(row), DASH if row.half_epoch is None else str(row.half_epoch)]
        cells += [_seconds(row.wall_seconds), _seconds(row.cpu_seconds)]
        rows.append(tuple(cells))
    notes = (
        f"Epochs: mean with {wording.percent(study.confidence)} t interval. Reached by: how many seeds had a "
        f"{study.metric} as good as the mean of {study.baseline} at the same point, at any epoch; half by epoch: when "
        "half of the seeds had. Times are means of the finished runs.",
    )
    return Table("Epochs and time by arm", tuple(head), tuple(rows), (*_failed(study), *notes), len(axes) + 1)


def axes_of(study: Comparison) -> list[str]:
    """The axes that the rows share."""
    return list(dict.fromkeys(axis for row in study.rows for axis in row.shared))


def metric_name(study: Comparison) -> str:
    """The metric and when it was taken."""
    return f"{study.metric} at {'the last epoch' if study.epoch == 'last' else 'the best epoch of each run'}"


def interval(estimate: Estimate | None) -> str:
    """A number with its interval."""
    if estimate is None:
        return DASH
    if math.isnan(estimate.low):
        return f"{estimate.estimate:.4g}"
    write = wording.decimals(estimate.estimate, estimate.low, estimate.high)
    return f"{write(estimate.estimate)} ({write(estimate.low)} to {write(estimate.high)})"


def p_value(result: MeanDifference | None) -> str:
    """P of a comparison, adjusted if it is one of a family."""
    if result is None:
        return DASH
    p = wording.p_value(result.deciding_p, result.alpha)
    return p.removeprefix("p ").removeprefix("= ") or DASH


def reached(row: ArmResult) -> str:
    """How many seeds reached the baseline."""
    if not row.reached:
        return DASH
    return f"{sum(epoch is not None for epoch in row.reached.values())} of {len(row.reached)}"


def tuned(row: ArmResult) -> str:
    """The chosen values."""
    return written(row.tuned) or DASH


def _place(axes: list[str], row: ArmResult) -> list[str]:
    return [*(text(row.shared[axis]) if axis in row.shared else DASH for axis in axes), row.label]


def _named(row: ArmResult) -> str:
    return f"{row.label}, {written(row.shared)}" if row.shared else row.label


def _effect(result: MeanDifference | None) -> str:
    return DASH if result is None or result.effect is None or math.isnan(result.effect) else f"{result.effect:.2f}"


def _verdict(study: Comparison, row: ArmResult) -> str:
    if row.arm == study.baseline:
        return "baseline"
    return DASH if row.against is None else row.against.verdict(lower_is_better=study.lower_is_better)


def _family(study: Comparison) -> str:
    adjusted = any(row.against is not None and row.against.adjustment for row in study.rows)
    return ", adjusted by Holm over all rivals at one grid point" if adjusted else ""


def _pairs(study: Comparison, row: ArmResult) -> str:
    return DASH if row.arm == study.baseline else f"{row.pairs} of {row.pairs + row.dropped}"


def _notes(study: Comparison) -> list[str]:
    """The notes of the rows, each once."""
    rows: dict[str, list[str]] = {}
    for row in study.rows:
        for note in row.notes:
            rows.setdefault(note, []).append(_named(row))
    shown = 3
    return [f"{'; '.join(names) if len(names) <= shown else f'{len(names)} rows'}: {n}." for n, names in rows.items()]


def _failed(study: Comparison) -> tuple[str, ...]:
    return (f"{study.caption}.",) if study.caption else ()


def _seconds(value: float) -> str:
    return DASH if math.isnan(value) else f"{value:.3g}" if value < 100 else f"{value:.0f}"
