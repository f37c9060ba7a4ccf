"""The figure of a search: the metric against the factor, with a panel for each contender."""

from __future__ import annotations

import statistics
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_entropy import _files, plots
from keras_entropy.tuning.hypermodel import FACTOR, PLACEMENT, REGULARIZER, SIGN
from keras_entropy.tuning.search_result import BASELINE, ContenderResult, SearchResult, TrialResult, completed
from keras_entropy.tuning.search_sentence import capital

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PANEL, _HEIGHT = 3.2, 4.4
"""Width of a panel and height of the figure, in inches."""
_LETTERS_PER_INCH = 15
_DECADES = 10
"""The vertical axis is logarithmic if the metric varies by more than this factor."""


def figure(result: SearchResult) -> Figure:
    """Draw a panel for each contender: a bar for each trial, at its mean, and a dot for each seed.

    The panels of the term and of its controls have the factor below, that of the baseline its first numeric
    hyperparameter, or the number of the trial. In all panels a band shows the best baseline from its lowest to its
    highest seed.
    """
    count = len(result.contenders)
    drawn, panels = plots.blank_row(_PANEL * count, _HEIGHT, count)
    band = list(result.baseline.best.seed_scores.values())
    for axes, contender in zip(panels, result.contenders, strict=True):
        best = axes.axhspan(min(band), max(band), color="0.5", alpha=0.2)
        axes.axhline(result.baseline.score, color="0.4", linewidth=1)
        drawn_trials = _draw(axes, contender)
        axes.set_title(contender.name, fontsize=9, parse_math=False)
        named = {f"best {BASELINE}": best, **drawn_trials}
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.18)}
        plots.legend(axes, [*named.values()], [*named], fontsize=7, frameon=False, **place)
    scores = [value for trial in completed(result.trials) for value in trial.seed_scores.values()]
    if min(scores) > 0 and max(scores) > _DECADES * min(scores):
        plots.logarithmic(panels[0].yaxis)
    better = "lower" if result.lower_is_better else "higher"
    panels[0].set_ylabel(f"{result.metric} on the seeds of the search", parse_math=False)
    drawn.suptitle(f"{result.metric}: {better} is better", fontsize=10, parse_math=False)
    verdict = ". ".join(capital(duel.sentence("entropy", duel.rival)) for duel in result.duels)
    width = int(_PANEL * count * _LETTERS_PER_INCH)
    drawn.supxlabel("\n".join(textwrap.wrap(verdict + ".", width)), fontsize=8, parse_math=False)
    return drawn


def write_figure(result: SearchResult, path: Path) -> None:
    """Write the figure as a PNG file."""
    with _files.replacing(path) as temporary:
        temporary.write_bytes(plots.png(figure(result)))


def _draw(axes: Any, contender: ContenderResult) -> dict[str, Any]:
    """Draw the trials of a contender; return what is drawn for each kind of trial by its name in the legend."""
    trials = contender.completed
    name, xs, logarithmic = _across(contender, trials)
    found = {}
    for number, label in enumerate(dict.fromkeys(map(_label, trials))):
        own = [(x, trial) for x, trial in zip(xs, trials, strict=True) if _label(trial) == label]
        colour = f"C{number}"
        (bars,) = axes.plot([x for x, _ in own], [trial.score for _, trial in own], "_", color=colour)
        found[label or "trials"] = bars
        for x, trial in own:
            values = list(trial.seed_scores.values())
            axes.plot([x] * len(values), values, ".", color=colour, alpha=0.6)
    if logarithmic:
        plots.logarithmic(axes.xaxis)
    axes.set_xlabel(name, fontsize=8, parse_math=False)
    return found


def _across(contender: ContenderResult, trials: Sequence[TrialResult]) -> tuple[str, list[float], bool]:
    """What the trials are drawn against: its name, the values, and whether they are drawn by their logarithms."""
    factors = [name for name in contender.values if name.startswith(FACTOR)]
    if factors:
        means = [statistics.geometric_mean(trial.values[name] for name in factors) for trial in trials]
        return "factor" if len(factors) == 1 else "geometric mean of the factors of all layers", means, True
    numeric = [n for n, v in contender.values.items() if isinstance(v, float) and v > 0]
    for name in numeric:
        values = [float(trial.values[name]) for trial in trials]
        if min(values) > 0:
            return name.replace("_", " "), values, max(values) > 10 * min(values)
    return "trial", [float(number) for number in range(len(trials))], False


def _label(trial: TrialResult) -> str:
    """The regularizer, where there are several, the placement, and the signs of the factors, where they vary."""
    names = [str(trial.values[name]) for name in (REGULARIZER, PLACEMENT) if name in trial.values]
    signs = ["+" if trial.values[name] > 0 else "-" for name in sorted(trial.values) if name.startswith(SIGN)]
    return " ".join([*names, f"({''.join(signs)})"] if signs else names)
