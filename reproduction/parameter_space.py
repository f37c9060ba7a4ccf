"""The figures and the table of "Entropy and generalization of a neural network's parameter space" (Zhang), measured.

    python -m reproduction.parameter_space figure3 [--sets 24] [--moves 1e8] [--output runs/landscape_paper]
    python -m reproduction.parameter_space figure2 [--sets 6] [--moves 2e8]
    KERAS_BACKEND=jax python -m reproduction.parameter_space table1 [--sets 6] [--moves 1e8]

figure3: entropy over the test accuracy of all parameters that have every training point right, mean over data sets, for
several depths and widths, and paired differences of the mean test accuracy. figure2: entropy over training loss and
test accuracy of 4 hidden layers of 8 units, with and without the term 1e-4 |c|^2, and the mean test accuracy of each
loss. table1: 100 networks trained by Adam on the whole training set at once, beside the mean test accuracy of all
parameters with the same training loss. Every walk is kept in the folder of the output; a second call goes on with them.
"""

import argparse
import itertools
import math
import time
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from scipy.special import logsumexp

from keras_entropy import datasets, plots, stats
from keras_entropy.landscape import DensityOfStates, density_of_states, network_problem

SHAPES = {"3 x 6": (3, 6), "4 x 6": (4, 6), "3 x 8": (3, 8)}
PAIRS = (("4 x 6", "3 x 6"), ("3 x 8", "3 x 6"))
STRENGTH = 1e-4
# Table I of the source: epochs -> mean training loss, test accuracy of trained networks, of all parameters.
PUBLISHED = {
    (3, 6): {2000: (0.152, 0.71, 0.83), 5000: (0.082, 0.74, 0.85)},
    (3, 8): {2000: (0.077, 0.73, 0.85), 5000: (0.016, 0.77, 0.87)},
    (4, 6): {2000: (0.103, 0.73, 0.84), 5000: (0.012, 0.75, 0.85)},
    (4, 8): {2000: (0.045, 0.74, 0.86), 5000: (0.006, 0.78, 0.87)},
}
NETWORKS = 100
_STEPS = 100
"""Of training in one compiled program."""


def walk(path, problem, axes, moves, **options):
    """A walk, read where it was made before."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        found = density_of_states(problem, axes, moves, checkpoint=path.with_suffix(".state"), **options)
        found.save(path)
        path.with_suffix(".state").unlink()
    return DensityOfStates.load(path)


def figure3(folder, sets, moves):
    """Entropy over the test accuracy where every training point is right, for several networks."""
    entropies = {name: [] for name in SHAPES}
    accuracies, volumes = ({name: np.zeros(sets) for name in SHAPES} for _ in range(2))
    doubtful = 0
    for seed, (name, shape) in itertools.product(range(sets), SHAPES.items()):
        problem = network_problem(*shape, datasets.spirals(seed=seed))
        path = folder / f"figure3-{name.replace(' ', '')}-{seed}-{moves:.0e}.json"
        found = walk(path, problem, ("train_accuracy", "test_accuracy"), moves, seed=seed)
        row = found.entropy[-1]
        entropies[name].append(row)
        volumes[name][seed] = logsumexp(row)
        accuracies[name][seed] = np.exp(row - volumes[name][seed]) @ found.axes[1].centers
        doubtful += not found.converged
    print(f"figure 3, {sets} data sets, {moves:.0e} moves each; {doubtful} of {sets * len(SHAPES)} walks not converged")
    for name in SHAPES:
        said = f"S(all right) {_mean(volumes[name], 2)} nats, mean test accuracy {_mean(accuracies[name], 4)}"
        print(f"  {name:7s} {said}")
    for name, other in PAIRS:
        a = stats.paired_t(accuracies[name], accuracies[other])
        s = stats.paired_t(volumes[name], volumes[other])
        error = np.std(accuracies[name] - accuracies[other], ddof=1) / math.sqrt(sets)
        print(
            f"  {name} minus {other}: test accuracy {a.estimate:+.4f} +- {error:.4f} (95 % {a.low:+.4f} to "
            f"{a.high:+.4f}), entropy {s.estimate:+.2f} ({s.low:+.2f} to {s.high:+.2f}) nats"
        )
    drawn = Figure(figsize=(9.6, 4.2), layout="constrained")
    axes = drawn.subplots(1, 2)
    x = np.arange(41) / 40
    for panel, names in zip(axes, (("3 x 6", "4 x 6"), ("3 x 6", "3 x 8")), strict=True):
        for name in names:
            rows = np.stack(entropies[name])
            often = np.isfinite(rows).mean(0) > 0.5
            middle = np.array([np.mean(column[np.isfinite(column)]) for column in rows.T[often]])
            panel.plot(x[often], middle, ".-", label=name)
        panel.set_xlabel("test accuracy")
        panel.set_ylabel("entropy at a training accuracy of 100 %, nats")
        panel.legend(title="layers x units")
    (folder / "figure3.png").write_bytes(plots.png(drawn))


def figure2(folder, sets, moves, target_loss=0.02):
    """Entropy over training loss and test accuracy, with and without the term."""
    means = {}
    drawn = Figure(figsize=(9.6, 7.6), layout="constrained")
    axes = drawn.subplots(2, 2)
    for panel, strength in zip(axes.flat, (0.0, STRENGTH), strict=False):
        maps, curves, doubtful, edges = [], [], 0, None
        for seed in range(sets):
            problem = network_problem(4, 8, datasets.spirals(seed=seed), strength=strength)
            path = folder / f"figure2-{strength:g}-{seed}-{moves:.0e}.json"
            bins = None if edges is None else {"train_loss": edges}
            found = walk(
                path, problem, ("train_loss", "test_accuracy"), moves, seed=seed, target_loss=target_loss, edges=bins
            )
            edges = found.axes[0].edges
            maps.append(found.entropy)
            whole = logsumexp(found.entropy, axis=1)
            curves.append(np.exp(found.entropy - whole[:, None]) @ found.axes[1].centers)
            doubtful += not found.converged
        seen = np.isfinite(maps)
        shown = np.where(seen, maps, 0.0).sum(0) / np.where(seen.mean(0) > 0.5, seen.sum(0), np.nan)
        means[strength] = found.axes[0].centers, np.array(curves)
        mesh = panel.pcolormesh(found.axes[0].edges, found.axes[1].edges, shown.T)
        drawn.colorbar(mesh, ax=panel, label="entropy, nats")
        panel.plot(means[strength][0], means[strength][1].mean(0), "o", color="magenta", markersize=3)
        panel.set(xlabel="training loss", ylabel="test accuracy", title=f"strength {strength:g}", xlim=(0, 0.8))
        print(f"figure 2, strength {strength:g}: {sets} data sets, {moves:.0e} moves; {doubtful} walks not converged")
    for strength, (x, curves) in means.items():
        axes[1, 0].plot(x, curves.mean(0), ".-", label=f"strength {strength:g}")
        for loss in (0.5, 0.2, 0.1, 0.05, target_loss):
            at = np.argmin(np.abs(x - loss))
            print(f"  strength {strength:g}, loss {x[at]:.3f}: mean test accuracy {_mean(curves[:, at], 3)}")
    axes[1, 0].set(xlabel="training loss", ylabel="mean test accuracy", xlim=(0, 0.8))
    axes[1, 0].legend()
    (x, without), (other, with_term) = means.values()
    apart = np.array([np.interp(x, other, curve) for curve in with_term]) - without
    error = apart.std(0, ddof=1) / math.sqrt(sets)
    axes[1, 1].errorbar(x, apart.mean(0), error, fmt=".", elinewidth=0.5)
    axes[1, 1].axhline(0.0, color="gray", linewidth=0.8)
    axes[1, 1].set(xlabel="training loss", ylabel="difference made by the term, by pairs", xlim=(0, 0.8))
    for loss in (0.2, 0.1, 0.05, 0.03):
        at = np.argmin(np.abs(x - loss))
        print(f"  difference at a loss of {x[at]:.3f}: {apart[:, at].mean():+.4f} +- {error[at]:.4f}")
    (folder / "figure2.png").write_bytes(plots.png(drawn))


def table1(folder, sets, moves):
    """Networks trained by Adam beside all parameters of the same training loss."""
    print(
        "layers x units  epochs | trained: loss, test accuracy, share outside of the box | all parameters of that loss"
    )
    for shape, rows in PUBLISHED.items():
        sums = {epochs: [] for epochs in rows}
        begin = time.perf_counter()
        for seed in range(sets):
            data = datasets.spirals(seed=seed)
            for epochs, found in trained(shape, data, seed, len(range(seed, NETWORKS, sets)), rows).items():
                sums[epochs].append(found)
        seconds = time.perf_counter() - begin
        stop = 0.9 * min(published[0] for published in rows.values())
        curves = [equilibrium(folder, shape, seed, moves, stop) for seed in range(sets)]
        for epochs, published in rows.items():
            losses, right, outside = (np.concatenate(part) for part in zip(*sums[epochs], strict=True))
            at = []
            for part, curve in zip(sums[epochs], curves, strict=True):
                at += [np.interp(loss, *curve, left=np.nan) for loss in part[0]]
            there = np.isfinite(at)
            reached = f"{np.mean(np.array(at)[there]):.3f} ({there.mean():.0%} of the networks)" if there.any() else "-"
            at_paper = [np.interp(published[0], *curve) for curve in curves]
            print(
                f"{shape[0]} x {shape[1]}  {epochs:5d} | {losses.mean():.3f} (median {np.median(losses):.3f}; paper "
                f"{published[0]:.3f}), {_mean(right, 3)} (paper {published[1]:.2f}), {outside.mean():.0%} | {reached}; "
                f"at the paper's loss {_mean(at_paper, 3)} (paper {published[2]:.2f})",
                flush=True,
            )
        print(f"  ({seconds:.0f} s of training)", flush=True)


def equilibrium(folder, shape, seed, moves, stop):
    """Losses and the mean test accuracy of all parameters that have them, from low to high."""
    problem = network_problem(*shape, datasets.spirals(seed=seed))
    path = folder / f"table1-{shape[0]}x{shape[1]}-{seed}-{moves:.0e}.json"
    found = walk(path, problem, "train_loss", moves, seed=seed, target_loss=stop)
    mean = found.conditional_mean("test_accuracy")[0]
    seen = np.isfinite(mean)
    return found.axes[0].centers[seen], mean[seen]


def trained(shape, data, seed, networks, epochs):
    """Loss, test accuracy and share of parameters outside of the box, of each network, after so many epochs each."""
    import jax
    import keras

    keras.utils.set_random_seed(1000 + seed)
    depth, width = shape
    model = keras.Sequential(
        [keras.Input((2,)), *(keras.layers.Dense(width, "relu") for _ in range(depth)), keras.layers.Dense(2)]
    )
    optimizer = keras.optimizers.Adam(1e-3)
    optimizer.build(model.trainable_variables)
    x, y, x_test, y_test = (np.asarray(part) for part in (data.x_train, data.y_train, data.x_test, data.y_test))

    def loss(weights):
        logits, _ = model.stateless_call(weights, [], x)
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))

    def step(state, _):
        weights, slots = state
        weights, slots = optimizer.stateless_apply(slots, jax.grad(loss)(weights), weights)
        return (weights, slots), None

    @jax.jit
    @jax.vmap
    def train(weights, slots):
        return jax.lax.scan(step, (weights, slots), length=_STEPS)[0]

    starts = [keras.models.clone_model(model).get_weights() for _ in range(networks)]
    weights = [np.stack(parts) for parts in zip(*starts, strict=True)]
    slots = [np.stack([np.array(variable.value)] * networks) for variable in optimizer.variables]
    found, half_width = {}, 2 / math.sqrt(width)
    for done in range(_STEPS, max(epochs) + 1, _STEPS):
        weights, slots = train(weights, slots)
        if done in epochs:
            logits = jax.vmap(lambda w: model.stateless_call(w, [], x_test)[0])(weights)
            right = (np.array(logits).argmax(2) == y_test).mean(1)
            flat = np.concatenate([np.array(part).reshape(networks, -1) for part in weights], 1)
            found[done] = np.array(jax.vmap(loss)(weights)), right, (np.abs(flat) > half_width).mean(1)
    return found


def _mean(values, digits):
    error = np.std(values, ddof=1) / math.sqrt(len(values)) if len(values) > 1 else math.nan
    return f"{np.mean(values):.{digits}f} +- {error:.{digits}f}"


PARTS = {"figure2": (figure2, 6, 2e8), "figure3": (figure3, 24, 1e8), "table1": (table1, 6, 1e8)}


def main():
    """Run one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--sets", type=int)
    parser.add_argument("--moves", type=float)
    parser.add_argument("--output", type=Path, default=Path("runs/landscape_paper"))
    arguments = parser.parse_args()
    part, sets, moves = PARTS[arguments.part]
    arguments.output.mkdir(parents=True, exist_ok=True)
    begin = time.perf_counter()
    part(arguments.output, arguments.sets or sets, arguments.moves or moves)
    print(f"{time.perf_counter() - begin:.0f} s; the figure is in {arguments.output}")


if __name__ == "__main__":
    main()
