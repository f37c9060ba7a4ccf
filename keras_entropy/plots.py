"""Figures of entropies, drawn with matplotlib but without pyplot: they open no window and have no global state.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import _files, _optional

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def format_of(path: str | os.PathLike[str]) -> str:
    """Return the format of a figure's file.

    Args:
        path: Path of the file.

    Returns:
        String. The suffix of `path` without the dot, in lower case; `"png"` if it has none.

    Raises:
        ValueError: If matplotlib does not write files with that suffix.
        ModuleNotFoundError: If the extra `plot` is not installed.

    Examples:
        >>> from keras_entropy import plots
        >>> plots.format_of("profile.SVG")
        'svg'
    """
    backends = _optional.require("matplotlib.backend_bases", extra="plot")
    suffix = Path(path).suffix.removeprefix(".").lower() or "png"
    known = sorted(backends.FigureCanvasBase.filetypes)
    if suffix not in known:
        raise ValueError(f"The name of a figure should end in one of {', '.join(known)}. Received: {os.fspath(path)}.")
    return suffix


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure to a file, atomically.

    Args:
        figure: Matplotlib figure.
        path: Path of the file. `format_of` gives its format.

    Raises:
        ValueError: If matplotlib does not write files with that suffix.
    """
    suffix = format_of(path)
    with _files.replacing(path) as temporary:
        figure.savefig(temporary, dpi=100, format=suffix)


def entropy_boxes(layers: Sequence[Any], title: str = "Entropy change by layer") -> Figure:
    """Draw a box plot of the entropy change of each layer (Meni et al., 2023, fig. 1).

    A box reaches from the first to the third quartile of the values per filter or dimension. A closed dot marks the
    mean, open dots mark outliers, which lie more than 1.5 times the interquartile range beyond the box. Values that
    are not finite are counted in the label of the layer instead.

    Args:
        layers: Sequence of records with `path`, `unit` and `values`, such as `profile.WeightEntropy`.
        title: String. Title of the figure. Defaults to `"Entropy change by layer"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ModuleNotFoundError: If the extra `plot` is not installed.

    Examples:
        >>> import keras
        >>> from keras_entropy import entropy_profile, plots
        >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3), keras.layers.Dense(2)])
        >>> figure = plots.entropy_boxes(entropy_profile(model).measured)
        >>> len(figure.axes[0].get_xticks())
        2
    """
    return entropy_panels([(title, layers)])


def entropy_panels(panels: Sequence[tuple[str, Sequence[Any]]]) -> Figure:
    """Draw several box plots, as `entropy_boxes` does, one above the other (Meni et al., 2023, figs. 8 and 9).

    Args:
        panels: Sequence of pairs: the title of a panel, and its records. Records with the same path have the same
            column in all panels.

    Returns:
        A `matplotlib.figure.Figure`, wide enough for the names of all layers.

    Raises:
        ModuleNotFoundError: If the extra `plot` is not installed.
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
"""The largest number of layers with wide columns."""


def entropy_history(history: Mapping[str, Sequence[float]], unit: str = "nats per filter or dimension") -> Figure:
    """Draw the entropy change of each layer over the epochs.

    Args:
        history: Mapping of names to values by epoch, such as Keras's `History.history`. Names that start with
            `"entropy/"` are drawn.
        unit: String. Label of the vertical axis. Defaults to `"nats per filter or dimension"`.

    Returns:
        A `matplotlib.figure.Figure`.

    Raises:
        ModuleNotFoundError: If the extra `plot` is not installed.

    Examples:
        >>> from keras_entropy import plots
        >>> figure = plots.entropy_history({"entropy/dense": [-1.2, -0.9], "loss": [0.7, 0.5]})
        >>> len(figure.axes[0].lines)
        1
    """
    figure, axes = blank(7.0, 4.5)
    layers = {n.removeprefix("entropy/"): values for n, values in history.items() if n.startswith("entropy/")}
    for name, values in layers.items():
        axes.plot(range(1, len(values) + 1), values, marker="o", markersize=3, label=name)
    axes.set_xlabel("epoch")
    axes.set_ylabel(unit, parse_math=False)
    axes.set_title("Entropy change by layer and epoch")
    axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
    if 0 < len(axes.lines) <= 20:  # more names would cover the figure
        legend(axes, axes.lines, [*layers], fontsize=8)
    return figure


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file, at 100 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=100)
    return buffer.getvalue()


def new_figure(width: float, height: float) -> Figure:
    """Return a figure without axes; width and height in inches."""
    figure: Figure = _optional.require("matplotlib.figure", extra="plot").Figure(
        figsize=(width, height), layout="constrained"
    )
    return figure


def blank(width: float, height: float) -> tuple[Figure, Any]:
    """Return a figure, with width and height in inches, and its empty axes."""
    figure = new_figure(width, height)
    axes = figure.subplots()
    _style(axes)
    return figure, axes


def blank_row(width: float, height: float, count: int) -> tuple[Figure, list[Any]]:
    """Return a figure, with width and height in inches, and a row of empty axes with a common vertical axis."""
    figure = new_figure(width, height)
    panels = list(figure.subplots(1, count, sharey=True, squeeze=False)[0])
    for axes in panels:
        _style(axes)
    return figure, panels


def legend(owner: Any, handles: Sequence[Any], names: Sequence[str], **options: Any) -> Any:
    """Add a legend to a figure or to axes that shows names as they are, also those with "$" or a leading "_"."""
    found = owner.legend(handles, [name.replace("_", "-") for name in names], **options)  # of the same width
    for text, name in zip(found.get_texts(), names, strict=True):
        text.set_text(name)
    for text in (found.get_title(), *found.get_texts()):
        text.set_parse_math(False)
    return found


def logarithmic(axis: Any) -> None:
    """Give an axis of a plot a logarithmic scale with few labels."""
    ticker = _optional.require("matplotlib.ticker", extra="plot")
    axis.axes.set(**{f"{axis.axis_name}scale": "log"})
    axis.set_minor_formatter(ticker.NullFormatter())


def _style(axes: Any) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
