"""Layout of the figures of a study: panels with curves, and lists of arms."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_entropy import _optional, plots
from keras_entropy._checks import printable
from keras_entropy.study.arm_groups import Point
from keras_entropy.study.results import ArmResult, Comparison
from keras_entropy.study.wording import plural, point_text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# The colours of Okabe and Ito (2008), without yellow: people with any colour vision can tell them apart.
BLACK, GREY, BLUE, ORANGE = "#000000", "#666666", "#0072B2", "#D55E00"
COLOURS = (BLUE, ORANGE, "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
LINES, MARKERS = ("-", "--", ":", "-."), "osD^vPX"
MOST_PANELS, MOST_CURVES, MOST_ROWS, MOST_BANDS = 12, 24, 80, 8


def set_ticks(panel: Any, values: Sequence[float]) -> Callable[[float, float], float]:
    """Set ticks at the values of a grid, on a suitable scale; return a function that moves a value slightly aside."""
    if not values:
        return lambda value, _: value
    least, most = values[0], values[-1]
    log = least > 0 and most >= 8 * least
    if log:
        panel.set_xscale("log")
        plain_numbers(panel.xaxis)
    if len(values) > 8:
        return lambda value, _: value
    panel.set_xticks(values, [f"{value:g}" for value in values])
    panel.minorticks_off()
    if log:
        return lambda value, aside: float(value * (most / least) ** aside)
    return lambda value, aside: value + aside * (most - least)


def plain_numbers(axis: Any) -> None:
    """Write the ticks of a logarithmic axis as plain numbers."""
    ticker = _optional.require("matplotlib.ticker", extra="plot")
    axis.set_major_locator(ticker.LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_formatter(ticker.NullFormatter())


@dataclasses.dataclass(frozen=True)
class Style:
    """How a curve is drawn."""

    colour: str
    line: Any
    marker: str


def styles_of(labels: Sequence[str], baseline: str, notes: list[str]) -> dict[str, Style]:
    """The style of each curve, black for the baseline. Adds the number of omitted curves to the notes."""
    distinct = list(dict.fromkeys(labels))
    rivals = [label for label in distinct if label != baseline]
    styles = {baseline: Style(BLACK, "-", "o")} if baseline in distinct else {}
    for i, label in enumerate(rivals[:MOST_CURVES]):
        line = LINES[i // len(COLOURS) % len(LINES)]
        styles[label] = Style(COLOURS[i % len(COLOURS)], line, MARKERS[(i + 1) % len(MARKERS)])
    if len(rivals) > MOST_CURVES:
        notes.append(f"{plural(len(rivals) - MOST_CURVES, 'further curve')} not drawn")
    return styles


def new_panels(points: Sequence[Point], comparison: Comparison) -> tuple[Figure, list[Any], list[str]]:
    """A figure with one panel per point, at most `MOST_PANELS`; its panels; notes about omitted points."""
    shown = points[:MOST_PANELS]
    columns = min(3, len(shown)) if len(shown) != 4 else 2
    rows = -(-len(shown) // columns)
    figure = plots.new_figure(max(7.0, 4.2 * columns), 1.5 + 3.4 * rows)
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for panel, point in zip(grid, shown, strict=False):
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        panel.set_title(short(point_text(point)), fontsize=10, parse_math=False)
    for panel in grid[len(shown) :]:
        panel.remove()
    left = len(points) - len(shown)
    return figure, grid[: len(shown)], [f"{plural(left, 'further grid point')} not drawn"] if left else []


def finish(
    figure: Figure, title: str, styles: Mapping[str, Style], notes: Sequence[str], comparison: Comparison
) -> None:
    """Add title, legend and notes."""
    lines = _optional.require("matplotlib.lines", extra="plot")
    handles = [
        lines.Line2D([], [], color=style.colour, linestyle=style.line, marker=style.marker, markersize=4)
        for style in styles.values()
    ]
    width = max(map(len, map(short, styles)), default=1)
    columns = max(1, min(len(styles), int(figure.get_figwidth() * 13 / (width + 7))))
    figure.set_figheight(figure.get_figheight() + 0.18 * (len(styles) // columns))
    plots.legend(
        figure, handles, [short(label) for label in styles], loc="outside lower center", ncols=columns, fontsize=8,
        frameon=False, title=_caption(figure, notes, comparison), title_fontsize=8,
    )  # fmt: skip
    figure.suptitle(title, fontsize=11, parse_math=False)


def _caption(figure: Figure, notes: Sequence[str], comparison: Comparison) -> str:
    """The notes and the number of runs that did not finish, in lines of the figure's width."""
    lines = [*notes, *([comparison.caption] if comparison.caption else [])]
    return textwrap.fill(" ".join(f"{line}." for line in lines), int(figure.get_figwidth() * 15))


@dataclasses.dataclass(frozen=True)
class Line:
    """One line in a list of arms."""

    row: ArmResult
    ends: tuple[float, float, float] | None
    dots: Sequence[float] = ()
    text: str = ""
    colour: str = BLUE
    filled: bool = True


def list_figure(
    comparison: Comparison, lines: Sequence[Line], title: str, label: str, notes: Sequence[str] = (),
    zero: bool = False,
) -> Figure:  # fmt: skip
    """A list of arms, under their grid points, each with a number and its interval."""
    shown = lines[:MOST_ROWS]
    names: list[str] = []
    bold, places = [], []
    for i, line in enumerate(shown):
        if line.row.shared and (i == 0 or line.row.shared != shown[i - 1].row.shared):
            bold.append(len(names))
            names.append(point_text(line.row.shared))
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
    axes.set_yticks(range(len(names)), [short(name) for name in names], fontsize=8, parse_math=False)
    for i in bold:
        axes.get_yticklabels()[i].set_fontweight("bold")
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(max(len(names), 2) - 0.4, -0.6)
    axes.set_xlabel(label, parse_math=False)
    if label.startswith("epoch"):
        axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    dots = [dot for line in shown for dot in line.dots]
    if dots:  # an interval of two values may be a hundred times as long as their distance
        reach = max(max(dots) - min(dots), 1) / 2
        low, high = axes.get_xlim()
        axes.set_xlim(max(low, min(dots) - reach), min(high, max(dots) + reach))
        ends = [end for line in shown if line.ends for end in line.ends]
        if ends and (min(ends) < axes.get_xlim()[0] or max(ends) > axes.get_xlim()[1]):
            notes = [*notes, "Some intervals extend beyond the axis"]
    left = [f"{plural(len(lines) - len(shown), 'further row')} not drawn"] if len(lines) > len(shown) else []
    figure.suptitle(title, fontsize=11, parse_math=False)
    figure.supxlabel(_caption(figure, [*notes, *left], comparison), fontsize=8, parse_math=False)
    return figure


def _stacked(dots: Sequence[float], y: float) -> list[float]:
    """Heights of dots, such that equal values do not hide each other."""
    seen = Counter[float]()
    heights = []
    for dot in dots:
        k = seen[dot]
        heights.append(y + (-1) ** k * min((k + 1) // 2 * 0.14, 0.42))
        seen[dot] += 1
    return heights


def short(label: str) -> str:
    """A label, shortened to fit into a figure."""
    label = printable(" ".join(label.split()))
    return label if len(label) <= 48 else label[:47] + "…"
