"""Figures of densities of states."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np

from keras_entropy import _files, plots
from keras_entropy.landscape.result import DensityOfStates

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(found: DensityOfStates, mean: str | None = None) -> Figure:
    """Entropy by bin: a curve with its errors, or a map for two axes [B, fig. 2].

    Args:
        found: what is drawn.
        mean: observable whose mean in each bin is drawn as dots; for a map only where it is that of the second axis.
    """
    drawn, axes = plots.blank(6.4, 4.2)
    first = found.axes[0]
    axes.set_xlabel(first.name.replace("_", " "))
    if len(found.axes) == 1:
        seen = found.visited
        axes.errorbar(first.centers[seen], found.entropy[seen], found.standard_error[seen], fmt=".-", capsize=2)
        axes.set_ylabel("entropy S = ln(V / V of the box), nats")
        if mean is not None:
            right = axes.twinx()
            right.plot(first.centers, found.conditional_mean(mean)[0], "o", color="C1", markersize=3)
            right.set_ylabel(f"mean {mean.replace('_', ' ')}, dots", color="C1")
        return drawn
    second = found.axes[1]
    shown = np.where(found.visited, found.entropy, np.nan).T
    mesh = axes.pcolormesh(first.edges, second.edges, shown, cmap="viridis")
    drawn.colorbar(mesh, ax=axes, label="entropy S = ln(V / V of the box), nats")
    axes.set_ylabel(second.name.replace("_", " "))
    if mean == second.name:
        weights = np.where(found.visited, np.exp(found.entropy - found.entropy.max(1, keepdims=True)), 0.0)
        axes.plot(first.centers, weights @ second.centers / weights.sum(1), "o", color="w", markersize=3)
    return drawn


def write_figure(found: DensityOfStates, path: str | os.PathLike[str], mean: str | None = None) -> None:
    """As PNG."""
    with _files.replacing(path) as temporary:
        temporary.write_bytes(plots.png(figure(found, mean)))
