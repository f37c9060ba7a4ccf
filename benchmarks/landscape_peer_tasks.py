"""The problems of `landscape_peers.py`: their energies for all samplers, levels, and exact or long-run values."""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import numpy as np

from keras_entropy import datasets
from keras_entropy.landscape import (
    Observable,
    Problem,
    ball_problem,
    density_of_states,
    discrete_problem,
    exact,
    network_problem,
)

LONG_RUNS, LONG_MOVES, FIRST_LONG_SEED = 4, 1e8, 1000


@dataclasses.dataclass(frozen=True, eq=False)
class Task:
    """A problem that every sampler can run.

    Attributes:
        name: String.
        problem: Problem of `density_of_states`.
        observable: String. Name of the energy in the problem.
        edges: Array of increasing edges of bins.
        levels: Array of energies. Errors are those of the log of the share of the box below them; empty for all bins.
        truth: Array of log shares.
        energy: Function of an array library and parameters (B, d) that returns energies (B,).
        work: Float. Multiplications of a move of `density_of_states` in units of those of the whole energy.
    """

    name: str
    problem: Problem
    observable: str
    edges: Any
    levels: Any
    truth: Any
    energy: Callable[..., Any]
    work: float


def ising_counts(side=4):
    """Return the energies of a torus of side x side spins and the log of the share of states that have each."""
    states = ((np.arange(2 ** (side * side))[:, None] >> np.arange(side * side)) & 1) * 2 - 1
    energies, counts = np.unique(_ising_energy(side, states.T)["energy"], return_counts=True)
    return energies, np.log(counts / len(states))


def _ising_energy(side, parameters):
    spins = np.asarray(parameters).reshape(side, side, -1)
    return {"energy": -(spins * np.roll(spins, 1, 0) + spins * np.roll(spins, 1, 1)).sum((0, 1)).astype(float)}


def ising(_folder):
    energies, truth = ising_counts()
    edges = np.concatenate([energies[:1] - 2, (energies[1:] + energies[:-1]) / 2, energies[-1:] + 2])
    energy = functools.partial(_ising_energy, 4)
    problem = discrete_problem(energy, 16, (-1, 1), {"energy": Observable()})
    return Task("ising", problem, "energy", edges, np.array([]), truth, lambda _xp, rows: energy(rows.T)["energy"], 1.0)


def ball(dimension, _folder):
    edges = exact.ball_edges(dimension, bins=16)
    levels = edges[[1, 4, 8, 12]]
    truth = np.array([exact.ball_log_probability(dimension, level) for level in levels])
    name, problem = f"ball{dimension}", ball_problem(dimension)
    return Task(name, problem, "energy", edges, levels, truth, lambda _xp, rows: (rows**2).sum(1), 1 / dimension)


def network_loss(sizes, x, y, xp, rows):
    """Return the mean cross-entropy (B,) of networks with parameters (B, d), in NumPy or jax.numpy."""
    values, begin = x[None], 0
    for layer, (inputs, outputs) in enumerate(itertools.pairwise(sizes)):
        kernel = rows[:, begin : begin + inputs * outputs].reshape(-1, inputs, outputs)
        bias = rows[:, begin + inputs * outputs : begin + (inputs + 1) * outputs]
        values = values @ kernel + bias[:, None]
        if layer < len(sizes) - 2:
            values = xp.maximum(values, 0.0)
        begin += (inputs + 1) * outputs
    top = values.max(2)
    losses = top + xp.log(xp.exp(values - top[:, :, None]).sum(2)) - values[:, np.arange(len(y)), y]
    return losses.mean(1)


def work_of_a_move(sizes):
    """Return the multiplications of a move of one parameter, in units of those of the whole network, on average.

    A move changes one unit of a layer, which changes the next layer by one term, and all layers beyond.
    """
    pairs = list(itertools.pairwise(sizes))
    costs, weights = [], []
    for layer, (inputs, outputs) in enumerate(pairs):
        following = pairs[layer + 1][1] if layer + 1 < len(pairs) else 0
        costs.append(1 + following + sum(a * b for a, b in pairs[layer + 2 :]))
        weights.append((inputs + 1) * outputs)
    return float(np.average(costs, weights=weights) / sum(a * b for a, b in pairs))


def loss(folder):
    data = datasets.spirals(seed=0)
    sizes, problem = (2, 6, 6, 6, 2), network_problem(3, 6, data)
    path = folder / "long_runs.npz"
    if not path.exists():
        _long_runs(problem, path)
    stored = np.load(path)
    edges, shares = stored["edges"], stored["shares"]
    chosen = np.searchsorted(edges, (0.5, 0.55, 0.6, 0.65))
    spread = shares[:, chosen - 1].std(0, ddof=1)
    print(f"loss: long runs give {shares[:, chosen - 1].mean(0).round(3)}, standard deviation {spread.round(3)}")
    x_train, y_train, *_ = data
    energy = functools.partial(network_loss, sizes, x_train, y_train)
    truth = shares[:, chosen - 1].mean(0)
    return Task("loss", problem, "train_loss", edges, edges[chosen], truth, energy, work_of_a_move(sizes))


def _long_runs(problem, path):
    """Find edges of bins, put 0.5, 0.55, 0.6 and 0.65 among them, and store the log shares below them of long runs."""
    seeds = range(FIRST_LONG_SEED, FIRST_LONG_SEED + LONG_RUNS)
    edges = density_of_states(problem, "train_loss", 3e6, seeds[0], target_loss=0.5).axes[0].edges
    wanted = np.array([0.5, 0.55, 0.6, 0.65])
    far = np.abs(edges[:, None] - wanted).min(1) > 0.004
    far[[0, -1]] = True
    edges = np.unique(np.concatenate([edges[far], wanted]))
    shares = []
    for seed in seeds:
        found = density_of_states(problem, "train_loss", LONG_MOVES, seed, edges={"train_loss": edges})
        print("long run:", found.status, flush=True)
        shares.append(np.logaddexp.accumulate(found.entropy))
    np.savez(path, edges=edges, shares=shares)


TASKS = {
    "ising": ising,
    "ball10": functools.partial(ball, 10),
    "ball20": functools.partial(ball, 20),
    "loss": loss,
}
