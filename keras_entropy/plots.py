"""Figures from plain records. They are made without pyplot: no window, no global state."""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import _optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def format_of(path: str | os.PathLike[str]) -> str:
    """The format of a figure that is written to `path`, by its suffix; "png" without one.

    Raises:
        ValueError: for a suffix that matplotlib does not know.
    """
    backends = _optional.require("matplotlib.backend_bases", extra="plot")
    suffix = Path(path).suffix.removeprefix(".").lower() or "png"
    known = sorted(backends.FigureCanvasBase.filetypes)
    if suffix not in known:
        raise ValueError(f"A figure's file should end in one of {', '.join(known)}. Received: {os.fspath(path)}.")
    return suffix


def entropy_boxes(layers: Sequence[Any], title: str = "Entropy change by layer") -> Figure:
    """Box plot of the entropy change per filter or dimension, layer by layer [A, fig. 1].

    The box holds the quartiles, the closed dot is the mean, open dots are outliers beyond 1.5 times the
    interquartile range. Values that are not finite are left out of the box and counted in the label.

    Args:
        layers: records with `path`, `unit` and `values`, such as `profile.WeightEntropy`.
        title: of the figure.

    Returns:
        A matplotlib figure.
    """
    return entropy_panels([(title, layers)])


def entropy_panels(panels: Sequence[tuple[str, Sequence[Any]]]) -> Figure:
    """Box plots as `entropy_boxes`, one above the other, on the same axes [A, fig. 8, 9].

    Args:
        panels: the title and the records of each panel. A path stands in one column in all panels.

    Returns:
        A matplotlib figure, wide enough for the names of all layers.
    """
    paths = list(dict.fromkeys(layer.path for _, layers in panels for layer in layers))
    width = max(4.0, 1.2 + len(paths) * (0.6 if len(paths) <= _WIDE else 0.22))
    figure = new_figure(width, 4.5 * len(panels))
    rows = figure.subplots(len(panels), 1, sharex=True, sharey=True, squeeze=False)[:, 0]
    labels = dict.fromkeys(paths, "")
    for axes, (title, layers) in zip(rows, panels, strict=True):
        _style(axes)
        axes.set_title(title if layers else f"{title}: nothing measured", wrap=True, parse_math=False)
        axes.tick_params(labelbottom=axes is rows[-1])
        boxes = []
        for layer in layers:
            values = np.asarray(layer.values)
            finite = values[np.isfinite(values)]
            missing = len(values) - len(finite)
            if missing:
                labels[layer.path] += f" ({missing} not finite)"
            boxes.append(finite)
        if not boxes:
            continue
        axes.boxplot(
            boxes,
            positions=[paths.index(layer.path) + 1 for layer in layers],
            showmeans=True,
            meanprops={"marker": "o", "markerfacecolor": "black", "markeredgecolor": "black", "markersize": 4},
            flierprops={"marker": "o", "markerfacecolor": "none", "markersize": 4},
        )
        axes.set_ylabel(" or ".join(sorted({layer.unit for layer in layers})))
    turn = {"rotation": 45, "ha": "right"} if len(paths) <= _WIDE else {"rotation": 90}
    rows[-1].set_xlim(0.4, len(paths) + 0.6)
    names = [path + labels[path] for path in paths]
    rows[-1].set_xticks(range(1, len(paths) + 1), names, fontsize=8, parse_math=False, **turn)
    return figure


_WIDE = 25
"""Layers with which a figure has wide columns."""


def entropy_history(history: Mapping[str, Sequence[float]], unit: str = "nats per filter or dimension") -> Figure:
    """Entropy change of each layer over the epochs.

    Args:
        history: as Keras's `History.history`; the keys that start with "entropy/" are drawn.
        unit: label of the vertical axis.

    Returns:
        A matplotlib figure.
    """
    figure, axes = blank(7.0, 4.5)
    for name, values in history.items():
        if name.startswith("entropy/"):
            axes.plot(
                range(1, len(values) + 1),
                values,
                marker="o",
                markersize=3,
                label=name.removeprefix("entropy/"),
            )
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit)
    axes.set_title("Entropy change by layer and epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if 0 < len(axes.lines) <= 20:  # more names would cover the figure
        axes.legend(fontsize=8)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """An empty figure without axes; width and height in inches."""
    figure: Figure = _optional.require("matplotlib.figure", extra="plot").Figure(
        figsize=(width, height), layout="constrained"
    )
    return figure


def blank(width: float, height: float) -> tuple[Figure, Any]:
    """An empty figure of a size in inches, and its axes."""
    figure = new_figure(width, height)
    axes = figure.subplots()
    _style(axes)
    return figure, axes


def _style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
