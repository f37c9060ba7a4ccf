"""Figures 2 and 3 and table I on the entropy of parameter space (Zhang, 2021), measured again.

    python -m reproduction.parameter_space figure3 [--sets 24] [--moves 1e8] [--output runs/parameter_space]
    python -m reproduction.parameter_space figure2 [--sets 6] [--moves 2e8]
    KERAS_BACKEND=jax python -m reproduction.parameter_space table1 [--sets 6] [--moves 1e8]

figure3: entropy over the test accuracy of all parameters that classify every training point correctly, averaged over
data sets, for several depths and widths, with paired differences of the mean test accuracy.
figure2: entropy over training loss and test accuracy of 4 hidden layers of 8 units, with and without the term
1e-4 |c|^2, and the mean test accuracy at each loss.
table1: 100 networks trained by Adam on the whole training set at once, beside the mean test accuracy of all parameters
with the same training loss, with a verdict for each number of the paper.
The folder of the output keeps a record of every walk; a second call with the same folder continues from them.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from keras_entropy import datasets, plots
from keras_entropy.landscape import DensitiesOfStates, DensityOfStates, densities_of_states, network_problem
from reproduction.paper_numbers import zhang

Array = np.ndarray[Any, Any]

SHAPES = {"3x6": (3, 6), "4x6": (4, 6), "3x8": (3, 8)}
PAIRS = (("3x6", "4x6"), ("3x6", "3x8"))
LOSSES = (0.5, 0.2, 0.1, 0.05, 0.03, 0.02)


def problems(shape: tuple[int, int], sets: int, **options: Any) -> list[Any]:
    """The problem of a network on each data set."""
    return [network_problem(*shape, datasets.spirals(seed), **options) for seed in range(sets)]


def figure3(folder: Path, sets: int, moves: float, workers: int | None) -> None:
    """Entropy over the test accuracy at a training accuracy of 100 %, for several networks."""
    found = densities_of_states(
        {name: problems(shape, sets) for name, shape in SHAPES.items()},
        ("train_accuracy", "test_accuracy"),
        moves,
        pairs=PAIRS,
        folder=folder / f"figure3-{moves:.0e}",
        workers=workers,
    )
    print(f"figure 3, {sets} data sets, {moves:.0e} moves each; networks: hidden layers x units\n{found}")
    drawn = Figure(figsize=(9.6, 4.2), layout="constrained")
    for panel, names in zip(drawn.subplots(1, 2), PAIRS, strict=True):
        for name in names:
            mean, error, count = (part[-1] for part in found.entropy(name))
            often = count > sets / 2
            x = first_walk(found, name).axes[1].centers[often]
            panel.errorbar(x, mean[often], error[often], fmt=".-", elinewidth=0.5, label=name)
        panel.set(xlabel="test accuracy", ylabel="entropy at a training accuracy of 100 %, nats")
        panel.legend(title="layers x units")
    (folder / "figure3.png").write_bytes(plots.png(drawn))


def figure2(folder: Path, sets: int, moves: float, workers: int | None) -> None:
    """Entropy over training loss and test accuracy, with and without the term."""
    strengths = {f"strength {strength:g}": strength for strength in (0.0, zhang("figure2")["strength"])}
    found = densities_of_states(
        {name: problems((4, 8), sets, strength=strength) for name, strength in strengths.items()},
        ("train_loss", "test_accuracy"),
        moves,
        target_loss=LOSSES[-1],
        folder=folder / f"figure2-{moves:.0e}",
        workers=workers,
    )
    print(f"figure 2, {sets} data sets, {moves:.0e} moves each\n{found}")
    drawn = Figure(figsize=(9.6, 7.6), layout="constrained")
    axes = drawn.subplots(2, 2)
    for panel, name in zip(axes[0], strengths, strict=True):
        _draw_map(drawn, panel, found, name)
        mean, error, _ = found.conditional_mean(name)
        x = first_walk(found, name).axes[0].centers
        axes[1, 0].errorbar(x, mean, error, fmt=".-", elinewidth=0.5, label=name)
        for loss in LOSSES:
            at = np.argmin(np.abs(x - loss))
            print(f"  {name}, loss {x[at]:.3f}: mean test accuracy {mean[at]:.3f} +- {error[at]:.3f}")
    axes[1, 0].set(xlabel="training loss, nats per point", ylabel="mean test accuracy", xlim=(0, 0.8))
    axes[1, 0].legend()
    _draw_difference(axes[1, 1], found)
    (folder / "figure2.png").write_bytes(plots.png(drawn))


def first_walk(found: DensitiesOfStates, name: str) -> DensityOfStates:
    """The first walk of a group that finished; all have the same bins."""
    return next(walk for walk in found.walks[name] if walk is not None)


def _draw_map(drawn: Figure, panel: Any, found: DensitiesOfStates, name: str) -> None:
    entropy, _, count = found.entropy(name)
    first, second = first_walk(found, name).axes
    shown = np.where(count > len(found.walks[name]) / 2, entropy, np.nan)
    mesh = panel.pcolormesh(first.edges, second.edges, shown.T)
    drawn.colorbar(mesh, ax=panel, label="entropy, nats")
    means = found.conditional_mean(name).mean
    panel.plot(first.centers, means, "o", color="magenta", markersize=3, label="mean test accuracy")
    panel.legend(loc="lower left")
    panel.set(xlabel="training loss, nats per point", ylabel="test accuracy", title=name, xlim=(0, 0.8))


def mean_accuracy(walk: DensityOfStates) -> Array:
    """The mean test accuracy at each training loss, of a walk along both."""
    whole = np.logaddexp.reduce(np.where(walk.visited, walk.entropy, -1e300), axis=1, keepdims=True)
    weights = np.where(walk.visited, np.exp(walk.entropy - whole), 0.0)
    return np.where(walk.visited.any(1), weights @ walk.axes[1].centers, np.nan)


def _draw_difference(panel: Any, found: DensitiesOfStates) -> None:
    """The difference that the term makes to the mean test accuracy, paired by data set."""
    pairs = [(one, other) for one, other in zip(*found.walks.values(), strict=True) if one and other]
    x = pairs[0][0].axes[0].centers
    apart = []
    for without, with_term in pairs:
        there = mean_accuracy(with_term)
        known = np.isfinite(there)
        apart.append(np.interp(x, with_term.axes[0].centers[known], there[known]) - mean_accuracy(without))
    difference = np.array(apart)
    error = difference.std(0, ddof=1) / math.sqrt(len(difference))
    panel.errorbar(x, difference.mean(0), error, fmt=".", elinewidth=0.5)
    panel.axhline(0.0, color="gray", linewidth=0.8)
    panel.set(xlabel="training loss, nats per point", ylabel="difference in mean test accuracy, paired", xlim=(0, 0.8))
    for loss in LOSSES:
        at = np.argmin(np.abs(x - loss))
        print(f"  difference at a loss of {x[at]:.3f}: {difference[:, at].mean():+.4f} +- {error[at]:.4f}")


def table1(folder: Path, sets: int, moves: float, workers: int | None) -> None:
    """Networks trained by Adam, beside all parameters of the same training loss."""
    from reproduction.adam_networks import trained
    from reproduction.zhang_table import Row, page, row_of

    found: list[Row] = []
    rows = sorted(zhang("table1")["rows"], key=lambda row: (row["layers"], row["units"], row["epochs"]))
    for shape, group in itertools.groupby(rows, key=lambda row: (row["layers"], row["units"])):
        printed = {row["epochs"]: row for row in group}
        name = f"{shape[0]}x{shape[1]}"
        walks = densities_of_states(
            {name: problems(shape, sets)},
            "train_loss",
            moves,
            target_loss=0.9 * min(row["loss"] for row in printed.values()),
            folder=folder / f"table1-{name}-{moves:.0e}",
            workers=workers,
        )
        networks = zhang("training")["networks"]
        begin = time.perf_counter()
        runs = [
            trained(shape, datasets.spirals(seed), seed, len(range(seed, networks, sets)), printed)
            for seed in range(sets)
        ]
        print(f"{walks}\n({time.perf_counter() - begin:.0f} s of training)", flush=True)
        found += [row_of(row, [run[epochs] for run in runs], walks.walks[name]) for epochs, row in printed.items()]
    text = page(found)
    (folder / "table1.md").write_text(f"{text}\n", encoding="utf-8")
    print(f"table I, {sets} data sets, {moves:.0e} moves each\n\n{text}")


PARTS: dict[str, tuple[Callable[[Path, int, float, int | None], None], int, float]] = {
    "figure2": (figure2, zhang("figure2")["data_sets"], 2e8),
    "figure3": (figure3, zhang("figure3")["data_sets"], 1e8),
    "table1": (table1, zhang("figure2")["data_sets"], 1e8),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure one figure or table."""
    parser = argparse.ArgumentParser(
        "python -m reproduction.parameter_space",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--sets", type=int, help="number of data sets; default: as in the paper")
    parser.add_argument("--moves", type=float, help="moves for each density of states")
    parser.add_argument("--workers", type=int, help="number of processes; default: one for each core")
    parser.add_argument("--output", type=Path, default=Path("runs/parameter_space"), help="folder of the results")
    given = parser.parse_args(arguments)
    if given.sets is not None and given.sets < 2:
        parser.error(f"--sets should be at least 2, to estimate the spread between data sets. Received: {given.sets}.")
    part, sets, moves = PARTS[given.part]
    given.output.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    part(given.output, given.sets or sets, given.moves or moves, given.workers)
    print(f"{time.perf_counter() - begin:.0f} s; written to {given.output}")


if __name__ == "__main__":
    main()
