"""Accuracy of `density_of_states` for a number of moves: every number on accuracy in docs/landscape.md.

    python benchmarks/landscape_accuracy.py [ball] [perceptron] [network] [loss] [time] [--seeds 10]

ball: |x|^2 in a cube of 10 and 20 dimensions, 44 bins of 1.5 nats, against the exact entropy: rms error over the bins,
and z, the rms of error / standard error. perceptron: chi^2 per bin over two accuracies, against the exact areas.
network: (3, 6) and (4, 8) along the training accuracy, against 1e8 uniform samples in bins with at least 2,000 of them,
and against the mean of eight longer runs. loss: (3, 6) down to a mean loss of 0.1, seeds against each other. time:
seconds to an rms error of 0.1 nat on the accuracy axis of (3, 6), without compilation, and the errors of the published
schedule with the same sampler, for as many moves and for more.
"""

import argparse
import itertools
import time
import warnings

import numpy as np

from keras_entropy import datasets
from keras_entropy.landscape import (
    ball_problem,
    density_of_states,
    exact,
    network_problem,
    perceptron_problem,
    samplers,
    zhang_schedule,
)

BUDGETS = (1e7, 1e8)


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def ball(seeds):
    for dimension in (10, 20):
        edges = exact.ball_edges(dimension)
        truth = exact.ball_entropy(dimension, edges)
        for moves in BUDGETS:
            errors, z, unvisited, begin = [], [], 0, time.perf_counter()
            for seed in range(seeds):
                found = density_of_states(ball_problem(dimension), "energy", moves, seed, edges={"energy": edges})
                errors.append(rms(found.entropy - truth))
                z.append((found.entropy - truth) / found.standard_error)
                unvisited += int((~found.visited).sum())
            seconds = (time.perf_counter() - begin) / seeds
            print(
                f"ball d={dimension}, {moves:.0e} moves, {seeds} seeds: rms {np.mean(errors):.3f}, worst "
                f"{max(errors):.3f} nat, z {rms(z):.2f}, {unvisited} bins unvisited, {seconds:.1f} s"
            )


def perceptron(seeds):
    rng = np.random.default_rng(3)
    train, test = ((rng.normal(size=(n, 2)) + 0.5, np.where(rng.random(n) < 0.8, 1, -1)) for n in (6, 5))
    truth, chi = exact.perceptron_entropy(train, test), []
    for seed in range(seeds):
        found = density_of_states(perceptron_problem(train, test), ["train_accuracy", "test_accuracy"], 1e7, seed)
        seen = np.isfinite(truth)
        chi.append(np.mean(((found.entropy[seen] - truth[seen]) / found.standard_error[seen]) ** 2))
    print(f"perceptron, 1e+07 moves, {seeds} seeds: chi^2 per bin {np.mean(chi):.2f}, worst {max(chi):.2f}")


def network(seeds):
    for shape in ((3, 6), (4, 8)):
        problem = network_problem(*shape, datasets.spirals(seed=0))
        counts = uniform(problem, 100_000_000)
        often = counts >= 2000
        truth = np.log(counts.clip(1) / counts.sum())
        long = [density_of_states(problem, "train_accuracy", 1e8, seed + 100) for seed in range(8)]
        mean = np.mean([found.entropy for found in long], axis=0)
        mean_error = np.std([found.entropy for found in long], axis=0, ddof=1) / np.sqrt(8)
        for moves in BUDGETS:
            runs = [density_of_states(problem, "train_accuracy", moves, seed) for seed in range(seeds)]
            against_uniform = [rms((found.entropy - truth)[often]) for found in runs]
            against_mean = [rms(found.entropy - mean) for found in runs]
            print(
                f"network {shape}, {moves:.0e} moves, {seeds} seeds: rms {np.mean(against_uniform):.3f} nat against "
                f"uniform samples in {often.sum()} bins, {np.mean(against_mean):.3f}, worst {max(against_mean):.3f} "
                f"over all 41 against eight longer runs (whose mean is known to {rms(mean_error):.3f})"
            )
        mirrored = rms(mean - mean[::-1])
        print(f"  S(k) - S(40 - k): rms {mirrored:.3f}; S(100 %) = {mean[-1]:.2f} +- {mean_error[-1]:.2f}")


def uniform(problem, count):
    """Count the uniform samples of each training accuracy."""
    from keras_entropy.landscape.axis import axis_of, bins_of

    sampler = samplers.select_sampler(problem, ("train_accuracy",), "numba")
    window = samplers.Window(bins_of([axis_of(problem, "train_accuracy", {})]), np.zeros(41))
    counts, block = np.zeros(41), 20_000
    for seed in range(count // block):
        walkers = samplers.init(problem, block, 10_000 + seed)
        sampler.step(walkers, window, 0, samplers.WalkerInfo.zeros(block, window))
        counts += np.bincount(walkers.bins, minlength=41)
    return counts


def loss(seeds):
    problem = network_problem(3, 6, datasets.spirals(seed=0))
    edges = density_of_states(problem, "train_loss", 1e8, 0, target_loss=0.1).axes[0].edges
    runs = [density_of_states(problem, "train_loss", 1e8, seed, edges={"train_loss": edges}) for seed in range(seeds)]
    entropy, stated = (np.array([getattr(run, name) for run in runs]) for name in ("entropy", "standard_error"))
    spread = rms(entropy.std(0, ddof=1))
    pairs = ", ".join(f"{rms(one - other):.2f}" for one, other in itertools.pairwise(entropy))
    trips = ", ".join(str(run.round_trips) for run in runs)
    print(
        f"loss axis of (3, 6) to a mean loss of 0.1, 1e+08 moves, {len(edges) - 1} bins, {seeds} seeds: standard "
        f"deviation {spread:.3f} nat rms, stated {rms(stated):.3f}; seeds differ from the next by {pairs}; deepest bin "
        f"{entropy[:, 0].mean():.2f} +- {entropy[:, 0].std(ddof=1):.2f}; round trips {trips}; "
        f"{np.mean([run.seconds for run in runs]):.0f} s"
    )


def time_to(seeds):
    problem = network_problem(3, 6, datasets.spirals(seed=0))
    truth = np.mean(
        [density_of_states(problem, "train_accuracy", 1e8, seed + 100).entropy for seed in range(4)], axis=0
    )
    for moves in (3e6, 5e6, 7e6, 1e7, 1.5e7, 2e7):
        errors, begin = [], time.perf_counter()
        for seed in range(seeds):
            errors.append(rms(density_of_states(problem, "train_accuracy", moves, seed).entropy - truth))
        seconds = (time.perf_counter() - begin) / seeds
        print(f"accuracy axis of (3, 6), {moves:.1e} moves: rms {np.mean(errors):.3f} nat in {seconds:.2f} s")
    warnings.simplefilter("ignore")  # that the schedule is wrong is what is shown
    for moves in (1e7, 1e8):
        found = [zhang_schedule(problem, "train_accuracy", moves, seed) for seed in range(3)]
        errors = ", ".join(f"{rms((run.entropy - truth)[run.visited]):.2f}" for run in found)
        unseen = ", ".join(str(int((~run.visited).sum())) for run in found)
        print(
            f"  published schedule, {moves:.0e} moves in 10,000 stages: rms {errors} nat over visited bins, "
            f"{unseen} bins not visited, {np.mean([run.seconds for run in found]):.1f} s"
        )


PARTS = {"ball": ball, "perceptron": perceptron, "network": network, "loss": loss, "time": time_to}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--seeds", type=int, default=10)
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        PARTS[name](arguments.seeds)


if __name__ == "__main__":
    main()
