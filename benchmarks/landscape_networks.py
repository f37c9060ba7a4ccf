"""The parameter space of two networks that people know: a small CNN on digits, a one-block transformer on brackets.

    KERAS_BACKEND=jax python benchmarks/landscape_networks.py [pilot] [walk] [train] [--networks cnn transformer]
        [--seeds 2] [--output runs/landscape_networks]

Each weight has the box of its layer, 2 / sqrt(fan_in). `pilot` prints the round trips of several fractions of moves
along the gradient, and of several numbers of leapfrog steps. `walk` estimates the entropy over the training loss with
seeds 0, 1, ..., and prints the status of each run. `train` trains 100 networks by SGD and 100 by Adam on the whole
training set (as Zhang, 2021), all in one compiled program, and notes each network at the step at which it first reaches
a training loss. Its test accuracy stands beside the mean test accuracy of all parameters of the box at the same loss.
Learning rates are chosen on other initial weights, by the accuracy on validation data at the lowest loss, which counts
as 0 for a network that does not reach it. A second call with the same folder continues. Without parts it makes all but
the pilot, and a figure. The processor times in docs/landscape_networks.md are those of one thread
(XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1").

The networks are small on purpose: a move evaluates the whole network at all training points. The convolution strides
instead of pooling, and the CNN has a single one: the gradient of a pooling layer, and a second convolution whose
kernels and inputs both differ from walker to walker, are 20 to 100 times slower on a CPU.
"""

import argparse
import dataclasses
import itertools
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np
from keras import layers
from matplotlib.figure import Figure

from keras_entropy import datasets, plots
from keras_entropy.landscape import DensityOfStates, density_of_states, fan_in_half_widths, keras_problem

STEPS, TUNED, TRAINED = 1500, 20, 100
"""Training steps, networks that choose a learning rate, and networks that are compared."""
RATES = {
    "SGD": (keras.optimizers.SGD, (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0)),
    "Adam": (keras.optimizers.Adam, (3e-5, 1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2)),
}
WAYS = ((0.0, 1), (0.2, 1), (0.5, 3))
"""Fractions and leapfrog steps that the pilot compares."""


def cnn():
    """An image of 8 x 8 pixels to 2 classes, 518 parameters."""
    return keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            layers.Conv2D(6, 3, strides=2, activation="relu"),
            layers.Flatten(),
            layers.Dense(8, activation="relu"),
            layers.Dense(2),
        ],
        name="cnn",
    )


def digits():
    """Threes and eights: 100 for training, 100 for validation, 157 for the test."""
    x_train, y_train, x_test, y_test = datasets.digits()
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    chosen = np.random.default_rng(0).permutation(np.flatnonzero((y == 3) | (y == 8)))
    return split(x[chosen], (y[chosen] == 8).astype("int32"), 100, 100)


def transformer(width=4):
    """A sequence of 8 tokens to 2 classes by one block of attention, 246 parameters."""
    tokens = keras.Input((8,), dtype="int32")
    x = layers.Embedding(16, width)(tokens)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(1, width)(x, x))
    x = layers.LayerNormalization()(x + layers.Dense(width)(layers.Dense(2 * width, activation="relu")(x)))
    return keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)), name="transformer")


def brackets():
    """Strings of 8 brackets: is one opened before each that closes?

    A token names a bracket and its place. 70 of all 256 strings are right; as many wrong ones are drawn. 64 strings are
    for training, 28 for validation, and 48 for the test.
    """
    opens = np.arange(256)[:, None] >> np.arange(8) & 1
    right = np.cumsum(2 * opens - 1, axis=1).min(axis=1) >= 0
    rng = np.random.default_rng(0)
    chosen = np.stack([rng.permutation(np.flatnonzero(right == label))[:70] for label in (False, True)], 1).ravel()
    return split((opens + 2 * np.arange(8))[chosen].astype("int32"), right[chosen].astype("int32"), 64, 28)


def split(x, y, train, validation):
    """Training, validation and test data."""
    ends = [0, train, train + validation, len(y)]
    return [(x[begin:end], y[begin:end]) for begin, end in itertools.pairwise(ends)]


@dataclasses.dataclass(frozen=True)
class Network:
    """A network, its data, how deep the walk goes, and the losses at which networks are compared."""

    make: Callable[[], keras.Model]
    data: Callable[[], Any]
    losses: tuple[float, ...]
    moves: float
    hmc: tuple[float, int]

    def problem(self):
        """Its weights, each in the box of its layer."""
        train, _, test = self.data()
        return keras_problem(self.make(), (*train, *test), "fan_in")


NETWORKS = {
    "cnn": Network(cnn, digits, (0.5, 0.3, 0.2, 0.1), 7e6, (0.2, 1)),
    "transformer": Network(transformer, brackets, (0.6, 0.5, 0.4, 0.35), 4e6, (0.0, 1)),
}


def pilot(name, folder, seeds):
    """Print the round trips of each way to move, over the same bins and for about the same time."""
    network, edges = NETWORKS[name], None
    for fraction, steps in WAYS:
        moves = 0.1 * network.moves / (1 + 4 * fraction * steps)  # a gradient costs about four energies
        options = {"edges": edges, "target_loss": network.losses[1], "split_moves": 100, "walkers": 32}
        begin = time.process_time()
        found = density_of_states(
            network.problem(), "train_loss", moves, hmc_fraction=fraction, num_leapfrog_steps=steps, **options
        )
        seconds, edges = time.process_time() - begin, {"train_loss": found.axes[0].edges}
        print(
            f"{name} fraction {fraction}, {steps} steps: {found.round_trips} round trips in {found.moves} moves of "
            f"production, {seconds:.0f} s of processor time with splitting and compilation",
            flush=True,
        )


def walks(name, folder, seeds):
    """The density of states of each seed, read from a file if there is one; all seeds have the same bins."""
    network, found = NETWORKS[name], []
    for seed in range(seeds):
        path = folder / f"{name}-{seed}.json"
        if not path.exists():
            edges = {"train_loss": found[0].axes[0].edges} if found else None
            fraction, steps = network.hmc
            begin = time.process_time()
            density_of_states(
                network.problem(),
                "train_loss",
                network.moves,
                seed,
                edges=edges,
                target_loss=network.losses[-1],
                walkers=32,
                hmc_fraction=fraction,
                num_leapfrog_steps=steps,
                checkpoint=path.with_suffix(".state"),
            ).save(path)
            path.with_suffix(".state").unlink()
            print(f"{name}, seed {seed}: {time.process_time() - begin:.0f} s of processor time", flush=True)
        found.append(DensityOfStates.load(path))
    return found


def walk(name, folder, seeds):
    """Print the walks, and how far their entropies are apart."""
    found = walks(name, folder, seeds)
    for seed, each in enumerate(found):
        print(f"{name}, seed {seed}, {each.seconds:.0f} s: {each}\n", flush=True)
    for other in found[1:]:
        difference = other.entropy - found[0].entropy
        error = np.hypot(other.standard_error, found[0].standard_error)
        rms, z = (math.sqrt(np.mean(part**2)) for part in (difference, difference / error))
        print(f"{name}: two seeds differ by {rms:.2f} nat rms, {z:.2f} standard errors", flush=True)


def train(name, folder, seeds):
    """Train networks, and print their accuracies beside those of all parameters."""
    runs = {optimizer: tuned(name, optimizer, folder) for optimizer in RATES}
    report(name, walks(name, folder, seeds), runs)
    return runs


def tuned(name, optimizer, folder):
    """Networks trained at the learning rate that other initial weights chose, read from a file if there is one."""
    path, rates = folder / f"{name}-{optimizer}.npz", RATES[optimizer][1]
    if not path.exists():
        begin, scores = time.process_time(), []
        for rate in rates:
            reached = trained(name, optimizer, rate, 1000, TUNED)
            scores.append(np.where(np.isfinite(reached["loss"][-1]), reached["validation"][-1], 0.0).mean())
        best = max(zip(np.round(scores, 6), rates, strict=True))[1]  # the larger rate of two that are as good
        np.savez(path, rate=best, scores=scores, **trained(name, optimizer, best, 0, TRAINED))
        print(f"{name}, {optimizer}: {time.process_time() - begin:.0f} s of processor time", flush=True)
    found = dict(np.load(path))
    scores = ", ".join(f"{rate:g}: {score:.3f}" for rate, score in zip(rates, found["scores"], strict=True))
    print(f"{name}, {optimizer}: validation accuracy by learning rate: {scores}", flush=True)
    return found


def trained(name, optimizer, rate, seed, count):
    """Arrays (losses, count) of networks at the step at which they first reach each loss."""
    network = NETWORKS[name]
    keras.utils.set_random_seed(seed)
    model = network.make()
    (x, y), *others = network.data()
    optimizer = RATES[optimizer][0](rate)
    optimizer.build(model.trainable_variables)
    frozen = [variable.value for variable in model.non_trainable_variables]
    levels = np.array(network.losses, "float32")

    def logits(weights, points):
        return model.stateless_call(weights, frozen, points, training=False)[0]

    def loss_of(weights):
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits(weights, x), from_logits=True))

    def step(state, _):
        weights, slots, losses, kept = state
        loss, gradient = jax.value_and_grad(loss_of)(weights)
        first = (loss <= levels) & (losses == np.inf)
        losses = jnp.where(first, loss, losses)
        kept = [jnp.where(first.reshape(-1, *[1] * w.ndim), w, k) for w, k in zip(weights, kept, strict=True)]
        weights, slots = optimizer.stateless_apply(slots, gradient, weights)
        return (weights, slots, losses, kept), None

    @jax.jit
    @jax.vmap
    def train_one(weights):
        slots = [variable.value for variable in optimizer.variables]
        kept = [jnp.stack([w] * len(levels)) for w in weights]
        begin = weights, slots, jnp.full(len(levels), np.inf), kept
        return jax.lax.scan(step, begin, length=STEPS)[0][2:]

    starts = [keras.models.clone_model(model).get_weights() for _ in range(count)]
    losses, kept = train_one([np.stack(parts) for parts in zip(*starts, strict=True)])
    flat = np.concatenate([np.array(part).reshape(count, len(levels), -1) for part in kept], 2)
    found = {"loss": np.array(losses).T, "inside": (np.abs(flat) <= fan_in_half_widths(model)).mean(2).T}
    for part, (points, labels) in zip(("validation", "test"), others, strict=True):
        outputs = np.array(jax.vmap(jax.vmap(lambda weights, points=points: logits(weights, points)))(kept))
        found[part] = (outputs.argmax(3) == labels).mean(2).T
    return found


def report(name, found, runs):
    """Print the entropy and the accuracy of all parameters at each loss, and those of trained networks."""
    for i, loss in enumerate(NETWORKS[name].losses):
        row = [f"{name} | {loss:g}"]
        for each in found:
            entropy, error = (np.interp(loss, each.axes[0].edges[1:], part) for part in up_to(each))
            row.append(f"{entropy:.2f} +- {error:.2f} nats")
        row.append("all " + ", ".join(f"{at_the_loss(each, loss):.3f}" for each in found))
        for optimizer, run in runs.items():
            there = np.isfinite(run["loss"][i])
            text = f"{optimizer} ({run['rate']:g}) {there.sum()} of {len(there)}"
            if there.sum() > 1:
                losses, accuracies = run["loss"][i, there], run["test"][i, there]
                same = np.mean([at_the_loss(each, losses) for each in found])
                text += (
                    f": loss {losses.mean():.3f}, test {accuracies.mean():.3f} +- "
                    f"{accuracies.std(ddof=1) / math.sqrt(there.sum()):.3f} (all at the same losses {same:.3f}), in "
                    f"the box {run['inside'][i, there].mean():.0%}"
                )
            row.append(text)
        print(" | ".join(row), flush=True)


def up_to(found):
    """Entropy of all parameters with a loss up to the upper edge of each bin, and the standard error of the bin."""
    return np.logaddexp.accumulate(found.entropy), found.standard_error


def at_the_loss(found, losses):
    """Mean test accuracy of all parameters at losses; below the lowest loss of the walk, that of the deepest bin."""
    mean = found.conditional_mean("test_accuracy")[0]
    return np.interp(losses, found.conditional_mean("train_loss")[0], mean)


def draw(runs, folder, seeds):
    """Entropy and test accuracy over the training loss."""
    drawn = Figure(figsize=(9.6, 6.4), layout="constrained")
    panels = drawn.subplots(2, len(runs), squeeze=False, sharex="col")
    for (upper, lower), (name, trained_by) in zip(panels.T, runs.items(), strict=True):
        for seed, found in enumerate(walks(name, folder, seeds)):
            x, (mean, error, _) = found.conditional_mean("train_loss").mean, found.conditional_mean("test_accuracy")
            style = {"fmt": ".-", "elinewidth": 0.8, "label": f"seed {seed}"}
            upper.errorbar(found.axes[0].edges[1:], *up_to(found), **style)
            label = "all parameters of the box" if seed == 0 else None
            lower.errorbar(x, mean, error, fmt=".-", color="gray", elinewidth=0.8, label=label)
        for optimizer, run in trained_by.items():
            there = np.isfinite(run["loss"])
            x, y = (np.mean(run[key], axis=1, where=there) for key in ("loss", "test"))
            error = np.std(run["test"], axis=1, ddof=1, where=there) / np.sqrt(there.sum(axis=1))
            lower.errorbar(x, y, error, fmt="s", capsize=3, label=f"100 networks trained by {optimizer}")
        upper.set(title=name, ylabel="entropy of this loss or less, nats", xlim=(0, 0.8))
        lower.set(xlabel="training loss, nats per point", ylabel="mean test accuracy", ylim=(0.45, 1))
        upper.legend()
        lower.legend()
    (folder / "landscape_networks.png").write_bytes(plots.png(drawn))


PARTS = {"pilot": pilot, "walk": walk, "train": train}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--networks", nargs="+", choices=NETWORKS, default=list(NETWORKS))
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--output", type=Path, default=Path("runs/landscape_networks"))
    given = parser.parse_args()
    given.output.mkdir(parents=True, exist_ok=True)
    runs = {}
    for name in given.networks:
        for part in given.parts or ("walk", "train"):
            result = PARTS[part](name, given.output, given.seeds)
            if part == "train":
                runs[name] = result
    if runs:
        draw(runs, given.output, given.seeds)


if __name__ == "__main__":
    main()
