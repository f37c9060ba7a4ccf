"""Figures of a study, from its records and comparison. They are made without pyplot: no window, no global state."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import _optional, plots
from keras_entropy._checks import message, printable
from keras_entropy.stats import Estimate, wording
from keras_entropy.stats._samples import LARGEST
from keras_entropy.study import arm_groups
from keras_entropy.study.arm_groups import Group, Point, is_number, plural, written
from keras_entropy.study.comparison import ArmResult, Comparison
from keras_entropy.study.records import RunRecord
from keras_entropy.study.result_tables import metric_name, reached

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "COLOURS",
    "differences",
    "epochs_to_reach",
    "learning_curves",
    "means",
    "stopping_epochs",
]

# Okabe and Ito's colours, which people with any colour vision tell apart; yellow is too pale on white.
BLACK, GREY, BLUE, ORANGE = "#000000", "#666666", "#0072B2", "#D55E00"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES, MARKERS = ("-", "--", ":", "-."), "osD^vPX"
MOST_PANELS, MOST_CURVES, MOST_ROWS, MOST_BANDS = 12, 24, 80, 8


def numeric_axes(comparison: Comparison) -> list[str]:
    """The axes of the grid that have two numbers or more."""
    points = [{**row.shared, **row.own} for row in comparison.rows]
    values = {axis: [point[axis] for point in points if axis in point] for point in points for axis in point}
    return [axis for axis, found in values.items() if all(map(is_number, found)) and len(set(found)) > 1]


def means(comparison: Comparison, axis: str | None = None) -> Figure:
    """The mean of each arm with its t interval, against a numeric axis of the grid.

    There is a panel for each combination of the other axes that arms share, and a curve for each arm and value of its
    own axes. A baseline without the axis is a dashed line across.

    Args:
        comparison: of the study.
        axis: of the grid; None for a list of the means of all arms at all points.

    Raises:
        ValueError: for an axis that has not two numbers.
    """
    if axis is None:
        lines = [_Line(row, _ends(row.mean), text=f"n = {len(row.values)}") for row in comparison.rows]
        title = f"Mean by arm, with {wording.percent(comparison.confidence)} t intervals"
        return _list(comparison, lines, title, metric_name(comparison))
    if axis not in (known := numeric_axes(comparison)):
        expected = "an axis of the grid with two or more numbers" + (f": {', '.join(known)}" if known else "")
        raise ValueError(message("axis", expected, axis, "Or None for a list of all means."))
    panels: dict[str, tuple[Point, dict[str, list[ArmResult]]]] = {}
    for row in comparison.rows:
        point = {name: value for name, value in row.shared.items() if name != axis}
        own = {name: value for name, value in row.own.items() if name != axis}
        label = f"{row.arm} ({written(own)})" if own else row.arm
        if row.arm != comparison.baseline and axis not in {**row.shared, **row.own}:
            continue
        panels.setdefault(arm_groups.dumped(point), (point, {}))[1].setdefault(label, []).append(row)
    figure, axes, notes = _panels([point for point, _ in panels.values()], comparison)
    styles = _styles([label for _, curves in panels.values() for label in curves], comparison.baseline, notes)
    for panel, (_, curves) in zip(axes, panels.values(), strict=False):
        values = {{**row.shared, **row.own}.get(axis) for rows in curves.values() for row in rows}
        place = _ticks(panel, sorted(value for value in values if value is not None))
        shown = [label for label in curves if label in styles]
        for i, label in enumerate(shown):
            aside = (i - (len(shown) - 1) / 2) * min(0.012, 0.1 / len(shown))
            points = [({**row.shared, **row.own}.get(axis), row.mean) for row in curves[label] if row.mean]
            _curve(panel, [(None if x is None else place(x, aside), mean) for x, mean in points], styles[label])
        panel.set_xlabel(_short(axis), parse_math=False)
        panel.set_ylabel(_short(comparison.metric), parse_math=False)
    if any(axis not in {**row.shared, **row.own} for row in comparison.rows):
        notes.append(f"Dashed across: {_short(comparison.baseline)}, which has no {_short(axis)}")
    percent = wording.percent(comparison.confidence)
    _finish(figure, f"Mean {metric_name(comparison)}, with {percent} t intervals", styles, notes, comparison)
    return figure


def differences(comparison: Comparison) -> Figure:
    """The difference of each rival from the baseline, paired by seed, with its interval."""
    rows = []
    for row in comparison.rivals:
        verdict = "" if row.against is None else row.against.verdict(lower_is_better=comparison.lower_is_better)
        colour, filled = {"better": (BLUE, True), "worse": (ORANGE, True)}.get(verdict, (GREY, False))
        missing = "no comparison" if row.against is None else ""
        text = missing or (f"{verdict}, n = {row.pairs}" if colour != GREY else f"n = {row.pairs}")
        rows.append(_Line(row, _ends(row.against), text=text, colour=colour, filled=filled))
    better = "lower" if comparison.lower_is_better else "higher"
    adjusted = any(row.against is not None and row.against.adjustment for row in comparison.rivals)
    note = "Filled: a difference is shown" + (", p adjusted by Holm; intervals not adjusted" if adjusted else "")
    percent = wording.percent(comparison.confidence)
    title = f"Difference from {_short(comparison.baseline)}, paired by seed, {percent} t intervals"
    label = f"{metric_name(comparison)}, arm minus {_short(comparison.baseline)} ({better} is better)"
    return _list(comparison, rows, title, label, [note], zero=True)


def epochs_to_reach(comparison: Comparison) -> Figure:
    """For each seed, the first epoch with a metric as good as the mean of the baseline at that point."""
    rows = []
    for row in comparison.rows:
        dots = [float(epoch) for epoch in row.reached.values() if epoch is not None]
        half = None if row.half_epoch is None else (float(row.half_epoch),) * 3
        rows.append(_Line(row, half, dots=dots, text=reached(row)))
    title = f"Epochs to reach the mean {comparison.metric} of {_short(comparison.baseline)}"
    note = "Dots: seeds; squares: by then half of the seeds had reached it; at the right: how many did at all"
    return _list(comparison, rows, title, "epoch", [note])


def stopping_epochs(comparison: Comparison) -> Figure:
    """How many epochs each run took, and their mean with its t interval."""
    rows = [
        _Line(
            row, _ends(row.stopped), dots=[float(epoch) for epoch in row.epochs.values()],
            text=f"{row.stopped_early} of {len(row.epochs)} early",
        )
        for row in comparison.rows
    ]  # fmt: skip
    note = f"Dots: seeds; squares: means with {wording.percent(comparison.confidence)} t intervals"
    return _list(comparison, rows, "Epochs until the end of training", "epochs", [note])


def learning_curves(records: Sequence[RunRecord], comparison: Comparison) -> Figure:
    """The mean of the metric over the seeds, epoch by epoch, with its t interval.

    There is a panel for each grid point and a curve for each arm. Seeds that have stopped drop out: from the first of
    them on a curve is paler, and it ends where fewer than two are left.

    Args:
        records: of the runs.
        comparison: of them.
    """
    families = arm_groups.families(arm_groups.reported(records, comparison.metric), comparison.baseline)
    figure, axes, notes = _panels([point for point, _ in families], comparison)
    groups = [group for _, members in families for group in members]
    styles = _styles([group.label for group in groups], comparison.baseline, notes)
    everything: list[float] = []
    for panel, (_, members) in zip(axes, families, strict=False):
        shown = [group for group in members if group.label in styles]
        drawn: list[float] = []
        for group in shown:
            drawn += _learning(panel, group, comparison, styles[group.label], len(shown) <= MOST_BANDS)
        if drawn and (margin := 0.05 * (max(drawn) - min(drawn))) > 0:
            panel.set_ylim(min(drawn) - min(margin, abs(min(drawn)) / 2), max(drawn) + margin)
        everything += drawn
        panel.set_xlabel("epoch")
        panel.set_ylabel(_short(comparison.metric), parse_math=False)
        panel.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if everything and min(everything) > 0 and max(everything) > 5 * min(everything):
        for panel in axes:
            panel.set_yscale("log")
            _plain(panel.yaxis)
    if any(len({run.epochs for run in group.finished}) > 1 for group in groups):
        notes.append("Paler: some seeds have stopped; curves end where fewer than two are left")
    if max(len(members) for _, members in families) > MOST_BANDS:
        notes.append(f"Bands are left out where there are more than {MOST_BANDS} curves")
    band = f"{wording.percent(comparison.confidence)} t interval"
    _finish(figure, f"{comparison.metric} by epoch: mean over seeds, band: {band}", styles, notes, comparison)
    return figure


def _learning(panel: Any, group: Group, comparison: Comparison, style: _Style, band: bool) -> list[float]:
    """Draw one curve; returns its values, and the ends of its band while all seeds are there."""
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
        # The band of the last two or three seeds is so wide that nothing else would be seen.
        mean = np.concatenate([mean, (mean - reach)[full], (mean + reach)[full]])
    return [float(value) for value in mean]


def _curve(panel: Any, means: Sequence[tuple[float | None, Estimate]], style: _Style) -> None:
    """Draw the means of one arm; one without a place as a line across."""
    for x, mean in means:
        if x is None:
            panel.axhline(mean.estimate, color=style.colour, linestyle="--", linewidth=1)
    points = sorted((x, mean.estimate, mean.low, mean.high) for x, mean in means if x is not None)
    if not points:
        return
    x, middle, low, high = np.array(points).T
    look = {"color": style.colour, "linestyle": style.line, "marker": style.marker, "markersize": 5, "capsize": 3}
    panel.errorbar(x, middle, yerr=[middle - low, high - middle], **look)


def _ticks(panel: Any, values: Sequence[float]) -> Callable[[float, float], float]:
    """Ticks at the values of a grid, on a scale that keeps them apart; returns what moves a value a little aside."""
    if not values:
        return lambda value, _: value
    least, most = values[0], values[-1]
    log = least > 0 and most >= 8 * least
    if log:
        panel.set_xscale("log")
        _plain(panel.xaxis)
    if len(values) > 8:
        return lambda value, _: value
    panel.set_xticks(values, [f"{value:g}" for value in values])
    panel.minorticks_off()
    if log:
        return lambda value, aside: float(value * (most / least) ** aside)
    return lambda value, aside: value + aside * (most - least)


def _plain(axis: Any) -> None:
    """Write the ticks of a logarithmic axis as plain numbers."""
    ticker = _optional.require("matplotlib.ticker", extra="plot")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


@dataclasses.dataclass(frozen=True)
class _Style:
    colour: str
    line: Any
    marker: str


def _styles(labels: Sequence[str], baseline: str, notes: list[str]) -> dict[str, _Style]:
    """How to draw each curve, the baseline in black; adds to the notes how many are left out."""
    distinct = list(dict.fromkeys(labels))
    rivals = [label for label in distinct if label != baseline]
    styles = {baseline: _Style(BLACK, "-", "o")} if baseline in distinct else {}
    for i, label in enumerate(rivals[:MOST_CURVES]):
        line = LINES[i // len(COLOURS) % len(LINES)]
        styles[label] = _Style(COLOURS[i % len(COLOURS)], line, MARKERS[(i + 1) % len(MARKERS)])
    if len(rivals) > MOST_CURVES:
        notes.append(f"{plural(len(rivals) - MOST_CURVES, 'further curve')} not drawn")
    return styles


def _panels(points: Sequence[Point], comparison: Comparison) -> tuple[Figure, list[Any], list[str]]:
    """A figure with one panel for each point, at most `MOST_PANELS`, and what is left out."""
    shown = points[:MOST_PANELS]
    columns = min(3, len(shown)) if len(shown) != 4 else 2
    rows = -(-len(shown) // columns)
    figure = plots.new_figure(max(7.0, 4.2 * columns), 1.5 + 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel, point in zip(grid, shown, strict=False):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        panel.set_title(_short(written(point)), fontsize=10, parse_math=False)
    for panel in grid[len(shown) :]:
        panel.remove()
    left = len(points) - len(shown)
    return figure, grid[: len(shown)], [f"{plural(left, 'further grid point')} not drawn"] if left else []


def _finish(
    figure: Figure, title: str, styles: Mapping[str, _Style], notes: Sequence[str], comparison: Comparison
) -> None:
    """Title, legend and notes."""
    lines = _optional.require("matplotlib.lines", extra="plot")
    handles = [
        lines.Line2D([], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=4)
        for style in styles.values()
    ]
    width = max(map(len, map(_short, styles)), default=1)
    columns = max(1, min(len(styles), int(figure.get_figwidth() * 13 / (width + 7))))
    figure.set_figheight(figure.get_figheight() + 0.18 * (len(styles) // columns))
    legend = figure.legend(
        handles, [_short(label) for label in styles], loc="outside lower center", ncols=columns, fontsize=8,
        frameon=False, title=_said(figure, notes, comparison), title_fontsize=8,
    )  # fmt: skip
    for label in (legend.get_title(), *legend.get_texts()):
        label.set_parse_math(False)
    figure.suptitle(title, fontsize=11, parse_math=False)


def _said(figure: Figure, notes: Sequence[str], comparison: Comparison) -> str:
    """The notes, and which runs failed, in lines of the figure's width."""
    lines = [*notes, *([comparison.caption] if comparison.caption else [])]
    return textwrap.fill(" ".join(f"{line}." for line in lines), int(figure.get_figwidth() * 15))


@dataclasses.dataclass(frozen=True)
class _Line:
    """One line of a list of arms."""

    row: ArmResult
    ends: tuple[float, float, float] | None
    dots: Sequence[float] = ()
    text: str = ""
    colour: str = BLUE
    filled: bool = True


def _list(
    comparison: Comparison, lines: Sequence[_Line], title: str, label: str, notes: Sequence[str] = (),
    zero: bool = False,
) -> Figure:  # fmt: skip
    """A number with its interval for each arm, one below the other, under the grid point."""
    shown = lines[:MOST_ROWS]
    names: list[str] = []
    bold, places = [], []
    for i, line in enumerate(shown):
        if line.row.shared and (i == 0 or line.row.shared != shown[i - 1].row.shared):
            bold.append(len(names))
            names.append(written(line.row.shared))
        places.append(len(names))
        names.append(line.row.label)
    figure = plots.new_figure(8.0, 1.7 + 0.27 * max(len(names), 2))
    axes: Any = figure.subplots()
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.grid(axis="x", alpha=0.3)
    if zero:
        axes.axvline(0, color=BLACK, linewidth=1)
    for y, line in zip(places, shown, strict=True):
        axes.plot(line.dots, _stacked(line.dots, y), "o", color=GREY, alpha=0.6, markersize=4, markeredgewidth=0)
        if line.ends is not None:
            middle, low, high = line.ends
            axes.plot([low, high], [y, y], color=line.colour, linewidth=1.8)
            axes.plot(middle, y, "s", color=line.colour, markersize=5, markerfacecolor=None if line.filled else "white")
        axes.annotate(
            line.text, (1.01, y), xycoords=("axes fraction", "data"), va="center", fontsize=8, annotation_clip=False
        )
    axes.set_yticks(range(len(names)), [_short(name) for name in names], fontsize=8, parse_math=False)
    for i in bold:
        axes.get_yticklabels()[i].set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(names), 2) - 0.4, -0.6)
    axes.set_xlabel(label, parse_math=False)
    if label.startswith("epoch"):
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    dots = [dot for line in shown for dot in line.dots]
    if dots:  # the interval of two values may be a hundred times as long as their distance
        reach = max(max(dots) - min(dots), 1) / 2
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, min(dots) - reach), min(high, max(dots) + reach))
        ends = [end for line in shown if line.ends for end in line.ends]
        if ends and (min(ends) < axes.get_xlim()[0] or max(ends) > axes.get_xlim()[1]):
            notes = [*notes, "Some intervals go beyond the axis"]
    left = [f"{plural(len(lines) - len(shown), 'further row')} not drawn"] if len(lines) > len(shown) else []
    figure.suptitle(title, fontsize=11, parse_math=False)
    figure.supxlabel(_said(figure, [*notes, *left], comparison), fontsize=8, parse_math=False)
    return figure


def _stacked(dots: Sequence[float], y: float) -> list[float]:
    """Where dots are drawn, so that equal ones do not hide each other."""
    seen = Counter[float]()
    heights = []
    for dot in dots:
        k = seen[dot]
        heights.append(y + (-1) ** k * min((k + 1) // 2 * 0.14, 0.42))
        seen[dot] += 1
    return heights


def _ends(estimate: Estimate | None) -> tuple[float, float, float] | None:
    return None if estimate is None else (estimate.estimate, estimate.low, estimate.high)


def _short(label: str) -> str:
    """A label that a figure has room for."""
    label = printable(" ".join(label.split()))
    return label if len(label) <= 48 else label[:47] + "…"
