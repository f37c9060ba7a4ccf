"""Table I of Zhang (2021) measured again: trained networks beside all parameters with the same training loss.

A value agrees with the paper's if it lies within the 95 % prediction interval for two means over data sets: their
difference is at most t sqrt(1/n + 1/m) s, where s is the standard deviation of our n data sets, m = 6 is the number of
data sets of the paper, and t is the quantile of Student's distribution with n - 1 degrees of freedom.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy import special

from keras_entropy.landscape import DensityOfStates
from reproduction.adam_networks import Trained
from reproduction.paper_numbers import zhang

Array = np.ndarray[Any, Any]

HEAD = (
    "layers x units", "epochs", "training loss", "trained test accuracy", "test accuracy of all parameters", "gain",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Value:
    """A value of ours beside that of the paper.

    Attributes:
        values: Array. One value for each data set that has one.
        paper: Float. The value of the paper.
    """

    values: Array
    paper: float

    @property
    def mean(self) -> float:
        """Mean over data sets."""
        return float(self.values.mean()) if len(self.values) else math.nan

    @property
    def error(self) -> float:
        """Standard error over data sets."""
        return float(self.values.std(ddof=1) / math.sqrt(len(self.values))) if len(self.values) > 1 else math.nan

    @property
    def reach(self) -> float:
        """Half the width of the prediction interval; NaN for fewer than two data sets."""
        n = len(self.values)
        if n < 2:
            return math.nan
        t = float(special.stdtrit(n - 1, 0.975))
        return t * float(self.values.std(ddof=1)) * math.sqrt(1 / n + 1 / zhang("figure2")["data_sets"])

    @property
    def verdict(self) -> str:
        """Whether the value agrees with the paper or is higher or lower; "unknown" without a standard deviation."""
        if math.isnan(self.reach):
            return "unknown"
        apart = self.mean - self.paper
        return "agrees" if abs(apart) <= self.reach else "higher" if apart > 0 else "lower"

    def shown(self, digits: int) -> str:
        """Mean and standard error, the paper's value in brackets, and the verdict."""
        ours = f"{self.mean:.{digits}f}" if len(self.values) else "-"
        ours += f" +- {self.error:.{digits}f}" if len(self.values) > 1 else ""
        return f"{ours} [{self.paper:.{_decimals(self.paper, digits)}f}] {self.verdict}"


def _decimals(paper: float, digits: int) -> int:
    return digits if abs(round(paper, 2) - paper) > 1e-9 else 2


@dataclasses.dataclass(frozen=True)
class Row:
    """A row of the table.

    Attributes:
        layers: Integer. Hidden layers.
        units: Integer. Units of each.
        epochs: Integer. Epochs of training.
        loss: `Value`. Mean training loss of the trained networks.
        trained: `Value`. Their mean test accuracy.
        equilibrium: `Value`. Mean test accuracy of all parameters with the training loss of the paper.
        gain: `Value`. The latter minus the former, paired by data set.
        median: Float. Median training loss of all networks.
        outside: Float. Share of the trained parameters outside the box.
        own_loss: Float. Mean test accuracy of all parameters with the loss of each network that the walks reach.
        reached: Float. Share of these networks.
        unconverged: Integer. Number of walks that have not converged.
        walks: Integer. Number of walks that finished.
    """

    layers: int
    units: int
    epochs: int
    loss: Value
    trained: Value
    equilibrium: Value
    gain: Value
    median: float
    outside: float
    own_loss: float
    reached: float
    unconverged: int
    walks: int

    def cells(self) -> list[str]:
        """The cells below `HEAD`."""
        values = [self.loss.shown(3), self.trained.shown(3), self.equilibrium.shown(3), self.gain.shown(3)]
        return [f"{self.layers} x {self.units}", str(self.epochs), *values]

    def reasons(self) -> list[str]:
        """Sentences on what the verdicts depend on."""
        found = []
        if "agrees" not in (self.loss.verdict, self.trained.verdict):
            found.append("the paper does not say how it initializes its networks")
        if self.loss.verdict != "agrees":
            found.append(f"the losses of networks are uneven: half of ours are below {self.median:.3f}")
        if len(self.equilibrium.values) < self.walks:
            found.append(
                f"{self.walks - len(self.equilibrium.values)} of {self.walks} walks did not visit the paper's loss"
            )
        if self.unconverged:
            found.append(f"{self.unconverged} of {self.walks} walks have not converged")
        if self.equilibrium.verdict in ("higher", "lower"):
            found.append("the paper's schedule ends with an error of some tenths of a nat in each bin")
        found.append(f"{self.outside:.0%} of the trained parameters lie outside the box")
        if self.reached > 0:
            found.append(
                f"for the {self.reached:.0%} of our networks whose loss the walks reach, all parameters with the same "
                f"loss have {self.own_loss:.3f}"
            )
        return found


def row_of(paper: Mapping[str, Any], runs: Sequence[Trained], walks: Sequence[DensityOfStates | None]) -> Row:
    """A row, from trained networks and a walk on each data set.

    Args:
        paper: Mapping. The row of the paper.
        runs: Networks trained on each data set.
        walks: Walk along the training loss on each data set; None for one that did not finish.
    """
    curves = [None if walk is None else curve(walk) for walk in walks]
    curves = [None if found is None or not len(found[0]) else found for found in curves]
    at_paper = np.array([math.nan if c is None else np.interp(paper["loss"], *c, left=math.nan) for c in curves])
    accuracies = np.array([run.accuracy.mean() for run in runs])
    own = np.concatenate(
        [
            np.full(len(run.loss), math.nan) if c is None else np.interp(run.loss, *c, left=math.nan)
            for run, c in zip(runs, curves, strict=True)
        ]
    )
    there, known = np.isfinite(own), np.isfinite(at_paper)
    finished = [walk for walk in walks if walk is not None]
    return Row(
        layers=paper["layers"],
        units=paper["units"],
        epochs=paper["epochs"],
        loss=Value(np.array([run.loss.mean() for run in runs]), paper["loss"]),
        trained=Value(accuracies, paper["trained_accuracy"]),
        equilibrium=Value(at_paper[known], paper["equilibrium_accuracy"]),
        gain=Value((at_paper - accuracies)[known], paper["equilibrium_accuracy"] - paper["trained_accuracy"]),
        median=float(np.median(np.concatenate([run.loss for run in runs]))),
        outside=float(np.concatenate([run.outside for run in runs]).mean()),
        own_loss=float(own[there].mean()) if there.any() else math.nan,
        reached=float(there.mean()),
        unconverged=sum(not walk.converged for walk in finished),
        walks=len(finished),
    )


def curve(walk: DensityOfStates) -> tuple[Array, Array]:
    """Training losses, from low to high, and the mean test accuracy of all parameters that have them."""
    mean = walk.conditional_mean("test_accuracy").mean
    seen = np.isfinite(mean)
    return walk.axes[0].centers[seen], mean[seen]


def page(rows: Sequence[Row]) -> str:
    """The table and its reasons in Markdown."""
    lines = [f"| {' | '.join(HEAD)} |", f"|{'---|' * len(HEAD)}"]
    lines += [f"| {' | '.join(row.cells())} |" for row in rows]
    lines += ["", "Mean +- standard error over data sets [paper] verdict. The gain is paired by data set.", ""]
    lines += [f"* {row.layers} x {row.units}, {row.epochs} epochs: {'; '.join(row.reasons())}." for row in rows]
    reaches = [row.equilibrium.reach for row in rows if not math.isnan(row.equilibrium.reach)]
    if reaches:
        lines.append(
            f"* A test accuracy of all parameters agrees with the paper's if they differ by at most {min(reaches):.3f} "
            f"to {max(reaches):.3f}: so much do means over data sets differ."
        )
    return "\n".join(lines)
