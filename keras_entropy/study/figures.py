"""Figures of a study, from its comparison and records. They do not use pyplot: no window, no global state."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy._checks import message
from keras_entropy.runs.records import RunRecord, canonical
from keras_entropy.stats import Estimate
from keras_entropy.stats._samples import LARGEST
from keras_entropy.study import arm_groups
from keras_entropy.study.arm_groups import Family, Group, Point
from keras_entropy.study.figure_layout import (
    BLACK,
    BLUE,
    COLOURS,
    GREY,
    MOST_BANDS,
    ORANGE,
    Line,
    Style,
    finish,
    list_figure,
    new_panels,
    plain_numbers,
    set_ticks,
    short,
    styles_of,
)
from keras_entropy.study.results import ArmResult, Comparison
from keras_entropy.study.wording import is_number, percent, plural

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "BLACK",
    "BLUE",
    "COLOURS",
    "ORANGE",
    "differences",
    "epochs_to_reach",
    "learning_curves",
    "means",
    "stopping_epochs",
]


def says_something(name: str, records: Sequence[RunRecord], comparison: Comparison) -> bool:
    """Whether a figure shows more than one value: more than one dot, or curves that differ.

    Args:
        name: String. `"differences"`, `"curves"`, `"reach"`, `"stopping"`, or the means otherwise.
        records: Sequence of `RunRecord`.
        comparison: `Comparison` of these records.
    """
    if name == "differences":
        found = [row.difference for row in comparison.rivals if row.difference]
        return any(difference.estimate != 0 or difference.low < difference.high for difference in found)
    if name == "curves":
        return any(_curves_differ(family, comparison.metric) for family in _families(records, comparison))
    if name == "reach":
        return len({epoch for row in comparison.rows for epoch in row.reached.values()}) > 1
    if name == "stopping":
        return len({epochs for row in comparison.rows for epochs in row.epochs.values()}) > 1
    means = [row.mean.estimate for row in comparison.rows if row.mean]
    return len(means) > 1 and len({value for row in comparison.rows for value in row.values.values()}) > 1


def _families(records: Sequence[RunRecord], comparison: Comparison) -> Sequence[Family]:
    return arm_groups.select(
        records, comparison.metric, comparison.baseline, epoch=comparison.epoch,
        lower_is_better=comparison.lower_is_better,
    ).families  # fmt: skip


def _curves_differ(family: Family, metric: str) -> bool:
    """Whether runs of a grid point have several epochs, and arms, if there are several, other values."""
    curves = [[run.history.get(metric, []) for run in group.finished] for group in family.groups]
    curves = [curve for curve in curves if any(curve)]
    long = any(len(values) > 1 for curve in curves for values in curve)
    return long and (len(curves) == 1 or any(curve != curves[0] for curve in curves))


def numeric_axes(comparison: Comparison) -> list[str]:
    """The axes of the grid that have at least two numbers."""
    points = [row.point for row in comparison.rows]
    values = {axis: [point[axis] for point in points if axis in point] for point in points for axis in point}
    return [axis for axis, found in values.items() if all(map(is_number, found)) and len(set(found)) > 1]


def means(comparison: Comparison, axis: str | None = None) -> Figure:
    """The mean of each arm with its t interval, against a numeric axis of the grid.

    Each combination of the other shared axes has a panel, and each arm and value of its own axes has a curve. A
    baseline without the axis is a dashed horizontal line.

    Args:
        comparison: `Comparison`.
        axis: String. An axis of the grid. Defaults to None: a list of the means of all arms at all points.

    Returns:
        A matplotlib figure.

    Raises:
        ValueError: If the axis does not have at least two numbers.
    """
    if axis is None:
        lines = [Line(row, _ends(row.mean), text=f"n = {len(row.values)}") for row in comparison.rows]
        title = f"Mean by arm, with {percent(comparison.confidence)} t intervals"
        return list_figure(comparison, lines, title, comparison.metric_text)
    if axis not in (known := numeric_axes(comparison)):
        expected = "an axis of the grid with two or more numbers" + (f": {', '.join(known)}" if known else "")
        raise ValueError(message("axis", expected, axis, "Or None for a list of all means."))
    panels: dict[str, tuple[Point, dict[str, list[ArmResult]]]] = {}
    for row in comparison.rows:
        point = {name: value for name, value in row.shared.items() if name != axis}
        own = {name: value for name, value in row.own.items() if name != axis}
        if row.arm != comparison.baseline and axis not in row.point:
            continue
        curves = panels.setdefault(canonical(point), (point, {}))[1]
        curves.setdefault(arm_groups.label(row.arm, own), []).append(row)
    figure, axes, notes = new_panels([point for point, _ in panels.values()], comparison)
    styles = styles_of([name for _, curves in panels.values() for name in curves], comparison.baseline, notes)
    for panel, (_, curves) in zip(axes, panels.values(), strict=False):
        values = {row.point.get(axis) for rows in curves.values() for row in rows}
        place = set_ticks(panel, sorted(value for value in values if value is not None))
        shown = [name for name in curves if name in styles]
        for i, name in enumerate(shown):
            aside = (i - (len(shown) - 1) / 2) * min(0.012, 0.1 / len(shown))
            points = [(row.point.get(axis), row.mean) for row in curves[name] if row.mean]
            _curve(panel, [(None if x is None else place(x, aside), mean) for x, mean in points], styles[name])
        panel.set_xlabel(short(axis), parse_math=False)
        panel.set_ylabel(short(comparison.metric), parse_math=False)
    if any(axis not in row.point for row in comparison.rows):
        notes.append(f"Dashed line: {short(comparison.baseline)}, which has no axis {short(axis)}")
    title = f"Mean {comparison.metric_text}, with {percent(comparison.confidence)} t intervals"
    finish(figure, title, styles, notes, comparison)
    return figure


def differences(comparison: Comparison) -> Figure:
    """The difference of each rival from the baseline, paired by seed, with its interval."""
    rows = []
    for row in comparison.rivals:
        conclusion = comparison.conclusion(row)
        colour, filled = {"better": (BLUE, True), "worse": (ORANGE, True)}.get(conclusion, (GREY, False))
        missing = "no comparison" if row.difference is None else ""
        text = missing or (f"{conclusion}, n = {row.pairs}" if colour != GREY else f"n = {row.pairs}")
        rows.append(Line(row, _ends(row.difference), text=text, colour=colour, filled=filled))
    better = "lower" if comparison.lower_is_better else "higher"
    note = "Filled: a difference is shown"
    note += ", p adjusted by Holm; intervals not adjusted" if comparison.adjusted else ""
    base, confidence = short(comparison.baseline), percent(comparison.confidence)
    title = f"Difference from {base}, paired by seed, {confidence} t intervals"
    axis = f"{comparison.metric_text}, arm minus {base} ({better} is better)"
    return list_figure(comparison, rows, title, axis, [note], zero=True)


def epochs_to_reach(comparison: Comparison) -> Figure:
    """The first epoch of each seed with a metric as good as the mean of the baseline at that point."""
    rows = []
    for row in comparison.rows:
        dots = [float(epoch) for epoch in row.reached.values() if epoch is not None]
        half = None if row.half_epoch is None else (float(row.half_epoch),) * 3
        rows.append(Line(row, half, dots=dots, text=row.reached_text))
    title = f"Epochs to reach the mean {comparison.metric} of {short(comparison.baseline)}"
    note = "Dots: seeds; squares: the epoch by which half of the seeds had; at the right: number of seeds that ever did"
    return list_figure(comparison, rows, title, "epoch", [note])


def stopping_epochs(comparison: Comparison) -> Figure:
    """The number of epochs of each run, and their mean with its t interval."""
    rows = [
        Line(
            row, _ends(row.mean_epochs), dots=[float(epoch) for epoch in row.epochs.values()],
            text=f"{row.stopped_early} of {len(row.epochs)} early",
        )
        for row in comparison.rows
    ]  # fmt: skip
    note = f"Dots: seeds; squares: means with {percent(comparison.confidence)} t intervals"
    return list_figure(comparison, rows, "Epochs until the end of training", "epochs", [note])


def learning_curves(records: Sequence[RunRecord], comparison: Comparison) -> Figure:
    """The mean of the metric over the seeds, epoch by epoch, with its t interval.

    Each grid point has a panel, and each arm has a curve. Seeds that have stopped are left out: once the first one has
    stopped, the curve is paler, and it ends when fewer than two are left.

    Args:
        records: Sequence of `RunRecord`.
        comparison: `Comparison` of these records.

    Returns:
        A matplotlib figure.
    """
    every = _families(records, comparison)
    families = [family for family in every if _curves_differ(family, comparison.metric)] or every
    figure, axes, notes = new_panels([family.point for family in families], comparison)
    if len(families) < len(every):
        notes.append(f"{plural(len(every) - len(families), 'grid point')} with equal curves not drawn")
    groups = [group for family in families for group in family.groups]
    styles = styles_of([group.label for group in groups], comparison.baseline, notes)
    everything: list[float] = []
    for panel, family in zip(axes, families, strict=False):
        shown = [group for group in family.groups if group.label in styles]
        drawn: list[float] = []
        for group in shown:
            drawn += _learning(panel, group, comparison, styles[group.label], len(shown) <= MOST_BANDS)
        if drawn and (margin := 0.05 * (max(drawn) - min(drawn))) > 0:
            panel.set_ylim(min(drawn) - min(margin, abs(min(drawn)) / 2), max(drawn) + margin)
        everything += drawn
        panel.set_xlabel("epoch")
        panel.set_ylabel(short(comparison.metric), parse_math=False)
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if everything and min(everything) > 0 and max(everything) > 5 * min(everything):
        for panel in axes:
            panel.set_yscale("log")
            plain_numbers(panel.yaxis)
    if any(len({run.epochs for run in group.finished}) > 1 for group in groups):
        notes.append("Paler: some seeds have stopped; curves end when fewer than two are left")
    if max(len(family.groups) for family in families) > MOST_BANDS:
        notes.append(f"No bands in panels with more than {MOST_BANDS} curves")
    band = f"{percent(comparison.confidence)} t interval"
    finish(figure, f"{comparison.metric} by epoch: mean over seeds, band: {band}", styles, notes, comparison)
    return figure


def _learning(panel: Any, group: Group, comparison: Comparison, style: Style, band: bool) -> list[float]:
    """Draw one curve; return its values, and the ends of its band while no seed has stopped."""
    from scipy import special

    runs = [run.history.get(comparison.metric, []) for run in group.finished]
    runs = [run for run in runs if run]
    if not runs:
        return []
    table = np.full((len(runs), max(map(len, runs))), np.nan)
    for i, run in enumerate(runs):
        table[i, : len(run)] = run
    table[~(np.abs(table) <= LARGEST)] = np.nan
    n = (~np.isnan(table)).sum(axis=0)
    there = np.flatnonzero(n >= min(2, len(runs)))
    if not len(there):
        return []
    table, n, epochs = table[:, there], n[there], there + 1
    mean = np.nanmean(table, axis=0)
    full = epochs <= min(map(len, runs))
    panel.plot(epochs, mean, linestyle=style.line, color=style.colour, alpha=0.4)
    mark = {"marker": style.marker, "markevery": max(1, int(full.sum()) // 6), "markersize": 4}
    panel.plot(epochs[full], mean[full], linestyle=style.line, color=style.colour, **mark)
    if band and len(runs) > 1:
        deviation = np.sqrt(np.nansum((table - mean) ** 2, axis=0) / (n - 1))
        reach = special.stdtrit(n - 1, (1 + comparison.confidence) / 2) * deviation / np.sqrt(n)
        panel.fill_between(epochs, mean - reach, mean + reach, color=style.colour, alpha=0.15, linewidth=0)
        # The axis ignores the band of the last two or three seeds, which may be very wide.
        mean = np.concatenate([mean, (mean - reach)[full], (mean + reach)[full]])
    return [float(value) for value in mean]


def _curve(panel: Any, means: Sequence[tuple[float | None, Estimate]], style: Style) -> None:
    """Draw the means of one arm; a mean without a position is a horizontal line."""
    for x, mean in means:
        if x is None:
            panel.axhline(mean.estimate, color=style.colour, linestyle="--", linewidth=1)
    points = sorted((x, mean.estimate, mean.low, mean.high) for x, mean in means if x is not None)
    if not points:
        return
    x, middle, low, high = np.array(points).T
    look = {"color": style.colour, "linestyle": style.line, "marker": style.marker, "markersize": 5, "capsize": 3}
    panel.errorbar(x, middle, yerr=[middle - low, high - middle], **look)


def _ends(estimate: Estimate | None) -> tuple[float, float, float] | None:
    return None if estimate is None else (estimate.estimate, estimate.low, estimate.high)
