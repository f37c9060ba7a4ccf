"""The figure of a search: metric against factor."""

from __future__ import annotations

import statistics
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_entropy import _files, plots
from keras_entropy.tuning.hypermodel import FACTOR, PLACEMENT, REGULARIZER, SIGN
from keras_entropy.tuning.search_result import BASELINE, SearchResult, TrialResult, best_of, completed

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def figure(result: SearchResult) -> Figure:
    """Draw the metric against the factor: a curve for each placement, regularizer and sign, a dot for each seed.

    The baseline is a line, with a band from its lowest to its highest seed.
    """
    drawn, axes = plots.blank(6.4, 4.2)
    trials = completed(result.trials)
    factors = [name for name in result.values if name.startswith(FACTOR)]
    for number, label in enumerate(dict.fromkeys(_label(trial) for trial in trials)):
        _draw_curve(axes, [trial for trial in trials if _label(trial) == label], factors, label, f"C{number}")
    base = best_of(result.baselines, result.lower_is_better)
    if base is not None:
        values = list(base.seed_scores.values())
        axes.axhspan(min(values), max(values), color="0.5", alpha=0.2, label=f"{BASELINE}, all seeds")
        axes.axhline(base.score, color="0.4", linewidth=1)
    axes.set_xscale("log")
    axes.set_xlabel("factor" if len(factors) == 1 else "geometric mean of the factors of all layers")
    axes.set_ylabel(f"{result.metric} on the seeds of the search")
    axes.legend(fontsize=8)
    return drawn


def write_figure(result: SearchResult, path: Path) -> None:
    """Write the figure as a PNG file."""
    with _files.replacing(path) as temporary:
        temporary.write_bytes(plots.png(figure(result)))


def _draw_curve(axes: Any, trials: list[TrialResult], factors: list[str], label: str, colour: str) -> None:
    points = [(statistics.geometric_mean(trial.values[name] for name in factors), trial) for trial in trials]
    points.sort(key=lambda point: point[0])
    axes.plot([x for x, _ in points], [trial.score for _, trial in points], "_-", color=colour, label=label)
    for x, trial in points:
        values = list(trial.seed_scores.values())
        axes.plot([x] * len(values), values, ".", color=colour, alpha=0.6)


def _label(trial: TrialResult) -> str:
    """The regularizer, where there are several, the placement, and the signs of the factors, where they vary."""
    names = [str(trial.values[name]) for name in (REGULARIZER, PLACEMENT) if name in trial.values]
    signs = ["+" if trial.values[name] > 0 else "-" for name in sorted(trial.values) if name.startswith(SIGN)]
    return " ".join([*names, f"({''.join(signs)})"] if signs else names)
