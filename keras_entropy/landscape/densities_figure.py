"""The figure of many walks: entropies and means of an observable, averaged over data sets."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import plots
from keras_entropy.landscape.first_axis import deep_bin, mean_along, region_of
from keras_entropy.landscape.result import DensityOfStates
from keras_entropy.landscape.set_averages import mean_over_sets

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]
Groups = Mapping[str, Sequence[DensityOfStates]]


def curves(groups: Groups, observable: str | None) -> Figure:
    """Draw a curve for each group: the mean over data sets, with its standard error as a band.

    Args:
        groups: Mapping from names of groups to walks that finished.
        observable: String, or None. Name of the observable of the right panel.
    """
    figure = plots.new_figure(9.6 if observable else 5.2, 4.2)
    panels = figure.subplots(1, 2 if observable else 1, squeeze=False)[0]
    lines = []
    for color, walks in enumerate(groups.values()):
        lines.append(_draw(panels[0], *_entropies(walks), color))
        if observable:
            means = np.array([mean_along(walk, observable) for walk in walks])
            _draw(panels[1], walks[0].axes[0].centers, means, color)
    first = next(iter(groups.values()))[0]
    left, right = (axis.name.replace("_", " ") for axis in (first.axes[-1], first.axes[0]))
    where = f" at {region_of(first)}" if len(first.axes) > 1 else ""
    panels[0].set_xlabel(left, parse_math=False)
    panels[0].set_ylabel(f"entropy S = ln(V / V_box){where}, nats", parse_math=False)
    if observable:
        panels[1].set_xlabel(right, parse_math=False)
        panels[1].set_ylabel(f"mean {observable.replace('_', ' ')}", parse_math=False)
    plots.legend(panels[0], lines, list(groups), fontsize="small", title=f"mean of {_sets(groups)}")
    return figure


def _entropies(walks: Sequence[DensityOfStates]) -> tuple[Array, Array]:
    """The values of the last axis, and the entropies (walks, bins) there: with two axes, in the deep region."""
    axis = walks[0].axes[-1]
    rows = [np.where(walk.visited, walk.entropy, np.nan) for walk in walks]
    if len(walks[0].axes) > 1:
        rows = [row[deep_bin(walk)] for walk, row in zip(walks, rows, strict=True)]
    return axis.centers, np.array(rows)


def _draw(panel: Any, x: Array, values: Array, color: int) -> Any:
    mean, error, count = mean_over_sets(values)
    often = count > len(values) / 2
    low, high = (np.where(np.isfinite(error), mean + sign * error, mean)[often] for sign in (-1, 1))
    panel.fill_between(x[often], low, high, color=f"C{color}", alpha=0.25, linewidth=0)
    [line] = panel.plot(x[often], mean[often], ".-", color=f"C{color}", markersize=4)
    return line


def _sets(groups: Groups) -> str:
    count = max(map(len, groups.values()))
    return f"{count} data sets" if count > 1 else "1 data set"
