"""Figures 2 and 3 and table I on the entropy of parameter space (Zhang, 2021), measured again.

    python -m reproduction.parameter_space figure3 [--sets 24] [--moves 1e8] [--output runs/parameter_space]
    python -m reproduction.parameter_space figure2 [--sets 6] [--moves 2e8]
    KERAS_BACKEND=jax python -m reproduction.parameter_space table1 [--sets 6] [--moves 1e8]

figure3: entropy over the test accuracy of all parameters that classify every training point correctly, averaged over
data sets, for several depths and widths, with paired differences of the mean test accuracy.
figure2: entropy over training loss and test accuracy of 4 hidden layers of 8 units, with and without the term
1e-4 |c|^2, and the mean test accuracy at each loss.
table1: 100 networks trained by Adam on the whole training set at once, beside the mean test accuracy of all parameters
with the same training loss.
The folder of the output keeps every density of states; a second call with the same folder continues from them.
"""

from __future__ import annotations

import argparse
import itertools
import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logsumexp

from keras_entropy import datasets, plots, stats
from keras_entropy.landscape import DensityOfStates, density_of_states, network_problem
from reproduction.paper_numbers import zhang

Array = np.ndarray[Any, Any]
Trained = dict[int, tuple[Array, Array, Array]]
"""By number of epochs: loss, test accuracy, and share of parameters outside the box, of each network."""

SHAPES = {"3 x 6": (3, 6), "4 x 6": (4, 6), "3 x 8": (3, 8)}
PAIRS = (("4 x 6", "3 x 6"), ("3 x 8", "3 x 6"))
PANELS = (("3 x 6", "4 x 6"), ("3 x 6", "3 x 8"))
STEPS = 100
"""Training steps in one compiled program."""


def measured(path: Path, problem: Any, axes: Any, moves: float, **options: Any) -> DensityOfStates:
    """The density of states of a problem, read from a file if it was measured before."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = density_of_states(problem, axes, moves, checkpoint=path.with_suffix(".state"), **options)
        found.save(path)
        path.with_suffix(".state").unlink()
    return DensityOfStates.load(path)


def figure3(folder: Path, sets: int, moves: float) -> None:
    """Entropy over the test accuracy at a training accuracy of 100 %, for several networks."""
    entropies: dict[str, list[Array]] = {name: [] for name in SHAPES}
    accuracies, volumes = ({name: np.zeros(sets) for name in SHAPES} for _ in range(2))
    unconverged = 0
    for seed, (name, shape) in itertools.product(range(sets), SHAPES.items()):
        problem = network_problem(*shape, datasets.spirals(seed=seed))
        path = folder / f"figure3-{name.replace(' ', '')}-{seed}-{moves:.0e}.json"
        found = measured(path, problem, ("train_accuracy", "test_accuracy"), moves, seed=seed)
        row = found.entropy[-1]
        entropies[name].append(row)
        volumes[name][seed] = logsumexp(row)
        accuracies[name][seed] = np.exp(row - volumes[name][seed]) @ found.axes[1].centers
        unconverged += not found.converged
    print(f"figure 3, {sets} data sets, {moves:.0e} moves each; {_unconverged(unconverged, sets * len(SHAPES))}")
    for name in SHAPES:
        entropy, accuracy = _mean(volumes[name], 2), _mean(accuracies[name], 4)
        print(f"  {name:7s} entropy at 100 % {entropy} nats, mean test accuracy {accuracy}")
    for name, other in PAIRS:
        a = stats.paired_t(accuracies[name], accuracies[other])
        s = stats.paired_t(volumes[name], volumes[other])
        error = np.std(accuracies[name] - accuracies[other], ddof=1) / math.sqrt(sets)
        print(
            f"  {name} minus {other}: test accuracy {a.estimate:+.4f} +- {error:.4f} (95 % {a.low:+.4f} to "
            f"{a.high:+.4f}), entropy {s.estimate:+.2f} ({s.low:+.2f} to {s.high:+.2f}) nats"
        )
    _draw_figure3(entropies, folder / "figure3.png")


def _draw_figure3(entropies: Mapping[str, Sequence[Array]], path: Path) -> None:
    drawn = Figure(figsize=(9.6, 4.2), layout="constrained")
    x = np.arange(41) / 40
    for panel, names in zip(drawn.subplots(1, 2), PANELS, strict=True):
        for name in names:
            rows = np.stack(entropies[name])
            often = np.isfinite(rows).mean(0) > 0.5
            middle = np.array([np.mean(column[np.isfinite(column)]) for column in rows.T[often]])
            panel.plot(x[often], middle, ".-", label=name)
        panel.set_xlabel("test accuracy")
        panel.set_ylabel("entropy at a training accuracy of 100 %, nats")
        panel.legend(title="layers x units")
    path.write_bytes(plots.png(drawn))


def figure2(folder: Path, sets: int, moves: float, lowest: float = 0.02) -> None:
    """Entropy over training loss and test accuracy, with and without the term."""
    means: dict[float, tuple[Array, Array]] = {}
    drawn = Figure(figsize=(9.6, 7.6), layout="constrained")
    axes = drawn.subplots(2, 2)
    for panel, strength in zip(axes.flat, (0.0, zhang("figure2")["strength"]), strict=False):
        maps, curves, unconverged = [], [], 0
        edges = None
        for seed in range(sets):
            problem = network_problem(4, 8, datasets.spirals(seed=seed), strength=strength)
            path = folder / f"figure2-{strength:g}-{seed}-{moves:.0e}.json"
            options = {"seed": seed, "target_loss": lowest, "edges": None if edges is None else {"train_loss": edges}}
            found = measured(path, problem, ("train_loss", "test_accuracy"), moves, **options)
            edges = found.axes[0].edges
            maps.append(found.entropy)
            whole = logsumexp(found.entropy, axis=1)
            curves.append(np.exp(found.entropy - whole[:, None]) @ found.axes[1].centers)
            unconverged += not found.converged
        means[strength] = found.axes[0].centers, np.array(curves)
        _draw_map(drawn, panel, found, maps, means[strength], strength)
        print(
            f"figure 2, strength {strength:g}: {sets} data sets, {moves:.0e} moves; {_unconverged(unconverged, sets)}"
        )
    for strength, (x, curves_of) in means.items():
        axes[1, 0].plot(x, curves_of.mean(0), ".-", label=f"strength {strength:g}")
        for loss in (0.5, 0.2, 0.1, 0.05, lowest):
            at = np.argmin(np.abs(x - loss))
            print(f"  strength {strength:g}, loss {x[at]:.3f}: mean test accuracy {_mean(curves_of[:, at], 3)}")
    axes[1, 0].set(xlabel="training loss", ylabel="mean test accuracy", xlim=(0, 0.8))
    axes[1, 0].legend()
    _draw_difference(axes[1, 1], means)
    (folder / "figure2.png").write_bytes(plots.png(drawn))


def _draw_map(
    drawn: Figure, panel: Any, found: DensityOfStates, maps: Any, mean: tuple[Array, Array], strength: float
) -> None:
    seen = np.isfinite(maps)
    shown = np.where(seen, maps, 0.0).sum(0) / np.where(seen.mean(0) > 0.5, seen.sum(0), np.nan)
    mesh = panel.pcolormesh(found.axes[0].edges, found.axes[1].edges, shown.T)
    drawn.colorbar(mesh, ax=panel, label="entropy, nats")
    panel.plot(mean[0], mean[1].mean(0), "o", color="magenta", markersize=3)
    panel.set(xlabel="training loss", ylabel="test accuracy", title=f"strength {strength:g}", xlim=(0, 0.8))


def _draw_difference(panel: Any, means: Mapping[float, tuple[Array, Array]]) -> None:
    """The difference that the term makes to the mean test accuracy, paired by data set."""
    (x, without), (other, with_term) = means.values()
    apart = np.array([np.interp(x, other, curve) for curve in with_term]) - without
    error = apart.std(0, ddof=1) / math.sqrt(len(apart))
    panel.errorbar(x, apart.mean(0), error, fmt=".", elinewidth=0.5)
    panel.axhline(0.0, color="gray", linewidth=0.8)
    panel.set(xlabel="training loss", ylabel="difference made by the term, paired", xlim=(0, 0.8))
    for loss in (0.2, 0.1, 0.05, 0.03):
        at = np.argmin(np.abs(x - loss))
        print(f"  difference at a loss of {x[at]:.3f}: {apart[:, at].mean():+.4f} +- {error[at]:.4f}")


def table1(folder: Path, sets: int, moves: float) -> None:
    """Networks trained by Adam, beside all parameters of the same training loss."""
    print(
        "layers x units  epochs | trained: loss, test accuracy, share outside of the box | all parameters of that loss"
    )
    rows = sorted(zhang("table1")["rows"], key=lambda row: (row["layers"], row["units"], row["epochs"]))
    for shape, group in itertools.groupby(rows, key=lambda row: (row["layers"], row["units"])):
        printed = {row["epochs"]: row for row in group}
        networks = zhang("training")["networks"]
        begin = time.perf_counter()
        runs = [
            trained(shape, datasets.spirals(seed=seed), seed, len(range(seed, networks, sets)), printed)
            for seed in range(sets)
        ]
        seconds = time.perf_counter() - begin
        lowest = 0.9 * min(row["loss"] for row in printed.values())
        curves = [equilibrium(folder, shape, seed, moves, lowest) for seed in range(sets)]
        for epochs, row in printed.items():
            print(
                f"{shape[0]} x {shape[1]}  {epochs:5d} | {_row(row, [run[epochs] for run in runs], curves)}", flush=True
            )
        print(f"  ({seconds:.0f} s of training)", flush=True)


def _row(paper: Mapping[str, Any], runs: Sequence[tuple[Array, ...]], curves: Sequence[tuple[Array, Array]]) -> str:
    """A row of table I: the trained networks, and all parameters of the same loss."""
    losses, right, outside = (np.concatenate(part) for part in zip(*runs, strict=True))
    at = np.concatenate([np.interp(run[0], *curve, left=np.nan) for run, curve in zip(runs, curves, strict=True)])
    there = np.isfinite(at)
    reached = f"{at[there].mean():.3f} ({there.mean():.0%} of the networks)" if there.any() else "-"
    at_paper = np.array([np.interp(paper["loss"], *curve) for curve in curves])
    return (
        f"{losses.mean():.3f} (median {np.median(losses):.3f}; paper {paper['loss']:.3f}), {_mean(right, 3)} (paper "
        f"{paper['trained_accuracy']:.2f}), {outside.mean():.0%} | {reached}; at the paper's loss {_mean(at_paper, 3)} "
        f"(paper {paper['equilibrium_accuracy']:.2f})"
    )


def equilibrium(folder: Path, shape: tuple[int, int], seed: int, moves: float, lowest: float) -> tuple[Array, Array]:
    """Training losses, from low to high, and the mean test accuracy of all parameters that have them."""
    problem = network_problem(*shape, datasets.spirals(seed=seed))
    path = folder / f"table1-{shape[0]}x{shape[1]}-{seed}-{moves:.0e}.json"
    found = measured(path, problem, "train_loss", moves, seed=seed, target_loss=lowest)
    mean = found.conditional_mean("test_accuracy")[0]
    seen = np.isfinite(mean)
    return found.axes[0].centers[seen], mean[seen]


def trained(shape: tuple[int, int], data: Any, seed: int, networks: int, epochs: Iterable[int]) -> Trained:
    """Networks trained by Adam on the whole training set, after several numbers of epochs."""
    import jax
    import keras

    keras.utils.set_random_seed(1000 + seed)
    depth, width = shape
    model = keras.Sequential(
        [keras.Input((2,)), *(keras.layers.Dense(width, "relu") for _ in range(depth)), keras.layers.Dense(2)]
    )
    optimizer = keras.optimizers.Adam(zhang("training")["learning_rate"])
    optimizer.build(model.trainable_variables)
    x, y, x_test, y_test = (np.asarray(part) for part in (data.x_train, data.y_train, data.x_test, data.y_test))

    def loss(weights: Any) -> Any:
        logits, _ = model.stateless_call(weights, [], x)
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))

    def step(state: Any, _: Any) -> Any:
        weights, slots = state
        weights, slots = optimizer.stateless_apply(slots, jax.grad(loss)(weights), weights)
        return (weights, slots), None

    @jax.jit
    @jax.vmap
    def train(weights: Any, slots: Any) -> Any:
        return jax.lax.scan(step, (weights, slots), length=STEPS)[0]

    starts = [keras.models.clone_model(model).get_weights() for _ in range(networks)]
    weights = [np.stack(parts) for parts in zip(*starts, strict=True)]
    slots = [np.stack([np.array(variable.value)] * networks) for variable in optimizer.variables]
    found, half_width, wanted = {}, 2 / math.sqrt(width), set(epochs)
    for done in range(STEPS, max(wanted) + 1, STEPS):
        weights, slots = train(weights, slots)
        if done in wanted:
            logits = jax.vmap(lambda w: model.stateless_call(w, [], x_test)[0])(weights)
            right = (np.array(logits).argmax(2) == y_test).mean(1)
            flat = np.concatenate([np.array(part).reshape(networks, -1) for part in weights], 1)
            found[done] = np.array(jax.vmap(loss)(weights)), right, (np.abs(flat) > half_width).mean(1)
    return found


def _mean(values: Array, digits: int) -> str:
    """Mean and standard error."""
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.{digits}f} +- {error:.{digits}f}"


def _unconverged(count: int, of: int) -> str:
    return f"{count} of {of} not converged"


PARTS: dict[str, tuple[Callable[..., None], int, float]] = {
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
    parser.add_argument("--output", type=Path, default=Path("runs/parameter_space"), help="folder of the results")
    given = parser.parse_args(arguments)
    if given.sets is not None and given.sets < 2:
        parser.error(f"--sets should be at least 2, to estimate the spread between data sets. Received: {given.sets}.")
    part, sets, moves = PARTS[given.part]
    given.output.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    part(given.output, given.sets or sets, given.moves or moves)
    print(f"{time.perf_counter() - begin:.0f} s; written to {given.output}")


if __name__ == "__main__":
    main()
