"""Curves by latent width (Meni et al., 2023, figures 3 to 6): a colour for each lambda, a line style for each arm."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from keras_entropy.study import ArmResult, Comparison
from keras_entropy.study.figures import COLOURS

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LINES = (("-", "o"), ("-", "s"), (":", "^"), ("--", "D"), ("-.", "v"))


def by_width(panels: Mapping[str, Comparison], title: str, label: str, *, axis: str, own: str) -> Figure:
    """Mean and t interval of each arm against an axis of the grid, in one panel for each comparison.

    Args:
        panels: Comparisons by the title of their panel.
        title: Title of the figure.
        label: Label of the vertical axis, which all panels share.
        axis: Name of the horizontal axis, such as "width".
        own: Name of the arms' axis whose values have the colours.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5.2 * len(panels), 5.2), layout="constrained")
    row: Sequence[Any] = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    rows = [row for comparison in panels.values() for row in comparison.rows]
    arms = list(dict.fromkeys(row.arm for row in rows))
    values = sorted({row.own[own] for row in rows if own in row.own})
    places = sorted({row.shared[axis] for row in rows})
    curves: dict[str, Any] = {}
    for panel, (name, comparison) in zip(row, panels.items(), strict=True):
        panel.set_title(name, fontsize=10)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", alpha=0.3)
        shown: dict[str, list[ArmResult]] = {}
        for one in comparison.rows:
            shown.setdefault(one.label, []).append(one)
        for i, (curve, members) in enumerate(shown.items()):
            aside = (
                (i - (len(shown) - 1) / 2) * 0.016 * (places[-1] - places[0])
            )  # so that equal curves are both visible
            first = members[0]
            colour = COLOURS[values.index(first.own[own]) % len(COLOURS)] if own in first.own else "black"
            line, marker = LINES[arms.index(first.arm) % len(LINES)]
            curves[curve] = _curve(panel, members, axis, aside, colour, line, marker)
        panel.set_xticks(places, [f"{place:g}" for place in places])
        panel.set_xlabel(f"latent {axis}")
    row[0].set_ylabel(label)
    row[0].set_ylim(bottom=0)
    figure.suptitle(title, fontsize=11)
    figure.legend(
        list(curves.values()), list(curves), loc="outside lower center", ncols=min(4, len(curves)), fontsize=8,
        frameon=False,
    )  # fmt: skip
    return figure


def _curve(
    panel: Any, rows: Sequence[ArmResult], axis: str, aside: float, colour: str, line: str, marker: str
) -> Any:  # the handle for the legend
    points = [(row.shared[axis] + aside, row.mean) for row in rows if row.mean is not None]
    middle = [mean.estimate for _, mean in points]
    reach = [[mean.estimate - mean.low for _, mean in points], [mean.high - mean.estimate for _, mean in points]]
    return panel.errorbar(
        [place for place, _ in points], middle, yerr=reach, color=colour, linestyle=line, marker=marker, markersize=5,
        markerfacecolor="none" if line == ":" else colour, capsize=3, linewidth=1.6,
    )  # fmt: skip
