"""Figures of the entropy of the bins."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import plots
from keras_entropy.landscape.axis import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

_LABEL = "entropy S = ln(V_bin / V_box), nats"


def entropy_curve(
    axis: Axis, entropy: Array, standard_error: Array, visited: Array, mean: tuple[str, Array] | None = None
) -> Figure:
    """Draw the entropy along one axis with error bars.

    Args:
        axis: The bins.
        entropy: Array (n,), nats.
        standard_error: Array (n,), nats.
        visited: Array (n,) of booleans. Bins that are drawn.
        mean: Name of an observable and its mean in each bin, drawn as dots. Defaults to None.
    """
    figure, axes = plots.blank(6.4, 4.2)
    axes.set_xlabel(axis.name.replace("_", " "), parse_math=False)
    axes.errorbar(axis.centers[visited], entropy[visited], standard_error[visited], fmt=".-", capsize=2)
    axes.set_ylabel(_LABEL)
    if mean is not None:
        name, values = mean
        right = axes.twinx()
        right.plot(axis.centers, values, "o", color="C1", markersize=3)
        right.set_ylabel(f"mean {name.replace('_', ' ')}, dots", color="C1", parse_math=False)
    return figure


def entropy_map(axes: tuple[Axis, ...], entropy: Array, visited: Array, *, with_mean: bool) -> Figure:
    """Draw the entropy over two axes as a map (Zhang, 2021, fig. 2).

    Args:
        axes: The bins of both axes.
        entropy: Array (n0, n1), nats.
        visited: Array (n0, n1) of booleans. Bins that are drawn.
        with_mean: Whether to draw the mean of the second observable in each bin of the first one as dots.
    """
    first, second = axes
    figure, panel = plots.blank(6.4, 4.2)
    panel.set_xlabel(first.name.replace("_", " "), parse_math=False)
    mesh = panel.pcolormesh(first.edges, second.edges, np.where(visited, entropy, np.nan).T, cmap="viridis")
    figure.colorbar(mesh, ax=panel, label=_LABEL)
    panel.set_ylabel(second.name.replace("_", " "), parse_math=False)
    if with_mean:
        weights = np.where(visited, np.exp(entropy - entropy.max(1, keepdims=True)), 0.0)
        panel.plot(first.centers, weights @ second.centers / weights.sum(1), "o", color="w", markersize=3)
    return figure


def distribution_curves(axes: tuple[Axis, ...], entropy: Array, visited: Array) -> Figure:
    """Draw how the second observable is distributed in the whole box, and in three bins of the first one.

    Args:
        axes: The bins of both axes.
        entropy: Array (n0, n1), nats.
        visited: Array (n0, n1) of booleans. Bins that count.
    """
    first, second = axes
    shares = np.where(visited, np.exp(entropy - entropy[visited].max()), 0.0)
    rows = np.flatnonzero(visited.any(1))
    deep = rows[-1] if first.deep == "high" else rows[0]
    likely = int(shares.sum(1).argmax())
    chosen = [row for row in np.linspace(likely, deep, 4).round().astype(int)[1:] if row in rows]
    drawn = [("all parameters", shares.sum(0))]
    name = first.name.replace("_", " ")
    drawn += [(f"{name} {first.centers[row]:.3g}", np.exp(entropy[row] - entropy[row].max())) for row in chosen]
    figure, panel = plots.blank(6.4, 4.2)
    for i, (label, values) in enumerate(drawn):
        percent = 100 * values / values.sum()
        panel.plot(second.centers, percent, ".-", color="gray" if i == 0 else f"C{i - 1}", label=label)
    panel.set_xlabel(second.name.replace("_", " "), parse_math=False)
    panel.set_ylabel("share of the parameters, % of each curve")
    panel.legend()
    return figure
