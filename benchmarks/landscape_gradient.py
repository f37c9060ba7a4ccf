"""Hamiltonian Monte Carlo beside single-component moves, on the ball and on the loss axis of (3, 6).

    KERAS_BACKEND=jax python benchmarks/landscape_gradient.py [ball] [loss] [--stop 0.3 0.1] [--seconds 20] [...]

The walkers start in all bins, and the weights are frozen: the exact ones for the ball (20 dimensions, 44 bins of 1.5
nats), those of a run of 3e7 moves for the mean loss. Each way gets about the same processor time. The script prints
evaluations per second of processor time (a gradient, which comes with its value, counts as one); round trips between
the two ends, in all, per million evaluations and per second; and the mean squared distance of the walkers from their
start, in bins, per evaluation after 1,000 evaluations, and per second. The distance is known even if round trips are
few: the first trip of a walker takes long. For the ball it also prints the rms errors of both estimators, in nats: from
the proposals of single-component moves, and from the visits of all moves. The ways: single-component moves with Numba,
which evaluates what a move changes only; single-component moves on JAX; and trajectories on JAX, as half and as nine
tenths of the moves. Use one thread for stable results
(XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", OMP_NUM_THREADS=1).
"""

import argparse
import time

import numpy as np

from keras_entropy import datasets
from keras_entropy.landscape import (
    ball_problem,
    density_of_states,
    estimators,
    exact,
    network_problem,
    samplers,
    splitting,
)
from keras_entropy.landscape.axis import Axis, bins_of

WAYS = {
    "one component, Numba": ("numba", None),
    "one component, JAX": ("jax", None),
    "1/2 Langevin": ("jax", samplers.HMC(0.5, 1)),
    "1/2 of 3 steps": ("jax", samplers.HMC(0.5, 3)),
    "9/10 of 3 steps": ("jax", samplers.HMC(0.9, 3)),
    "9/10 of 10 steps": ("jax", samplers.HMC(0.9, 10)),
    "9/10 of 30 steps": ("jax", samplers.HMC(0.9, 30)),
}
LAG = 1000


def cost(hmc):
    """Mean evaluations of a move."""
    return 1.0 if hmc is None else 1 + hmc.fraction * hmc.num_leapfrog_steps


class Walk:
    """Walkers of one way, which start from the same points as those of the others."""

    def __init__(self, sampler, window, parameters):
        count = len(parameters)
        self.sampler, self.window = sampler, window
        self.walkers = samplers.init_at(parameters.copy(), samplers.random_states(1, count))
        self.info = self.fresh()

    def fresh(self):
        """Counters at 0."""
        return samplers.WalkerInfo.zeros(len(self.walkers.bins), self.window, 0, (3, 0))

    def __call__(self, moves):
        """Move, and return the seconds of processor time."""
        self.info, begin = self.fresh(), time.process_time()
        self.sampler.step(self.walkers, self.window, moves, self.info)
        return time.process_time() - begin


def compare(title, problem, name, bins, entropy, parameters, seconds, truth=None):
    print(f"{title}, {len(parameters)} walkers, {bins.count} bins")
    header = "Meval/s | trips (per Meval,   per s) | bins^2/eval, 1e3/s |"
    print(f"  {'':22} | {header}{'' if truth is None else ' rms of proposals, visits'}")
    ends = int(np.argmax(entropy)), 0
    for way, (sampler, hmc) in WAYS.items():
        window = samplers.Window(bins, entropy, octaves=2, ends=ends, hmc=hmc)
        walk = Walk(samplers.select_sampler(problem, (name,), sampler), window, parameters)
        walk(0)  # places the walkers, and compiles
        begin, lag = walk.walkers.bins.copy(), round(LAG / cost(hmc))
        rate = lag / max(walk(lag), 1e-3)
        spread = np.mean((walk.walkers.bins - begin) ** 2) / LAG
        walk.walkers.trips[:] = 0
        moves = max(1, int(rate * seconds))
        spent = walk(moves)
        evaluations = moves * cost(hmc) * len(parameters) / 1e6
        trips = int(walk.walkers.trips[:, 1].sum())
        errors = "" if truth is None else " {:.3f}, {:.3f}".format(*rms(walk.info, bins, entropy, truth))
        print(
            f"  {way:22} | {evaluations / spent:7.2f} | {trips:6} ({trips / evaluations:6.2f}, {trips / spent:7.2f}) | "
            f"{spread:11.3f}, {1e3 * spread * evaluations / spent:5.0f} |{errors}",
            flush=True,
        )


def rms(info, bins, entropy, truth):
    visits = info.histogram.sum(0)
    by_visits = estimators.from_histogram(entropy, visits)
    near = bins.neighbours((3, 0))
    by_proposals = estimators.from_proposals(info.proposals.sum(0), visits, near, by_visits)
    return [float(np.sqrt(np.mean((found - truth) ** 2))) for found in (by_proposals, by_visits)]


def ball(arguments):
    problem, edges = ball_problem(20), exact.ball_edges(20)
    entropy = exact.ball_entropy(20, edges)
    bins = bins_of([Axis("energy", edges)])
    found = splitting.split(samplers.select_sampler(problem, ("energy",), "numba"), bins.axes, 400, 2000, 0)
    parameters = found.select(arguments.walkers, np.random.default_rng(0))
    compare("ball in 20 dimensions", problem, "energy", bins, entropy, parameters, arguments.seconds, truth=entropy)


def loss(arguments):
    problem = network_problem(3, 6, datasets.spirals(seed=0))
    sampler = samplers.select_sampler(problem, ("train_loss",), "numba")
    for stop in arguments.stop:
        found = density_of_states(problem, "train_loss", 3e7, target_loss=stop)
        bins = bins_of(found.axes)
        split = splitting.split(sampler, bins.axes, 400, 2000, 0)
        window = samplers.Window(bins, found.entropy, octaves=2)
        walk = Walk(sampler, window, split.select(arguments.walkers, np.random.default_rng(0)))
        walk(50_000)  # the copies that splitting made separate
        title = f"mean loss of (3, 6) down to {stop:g} ({found.entropy[0]:.0f} nats)"
        parameters = walk.walkers.parameters
        compare(title, problem, "train_loss", bins, found.entropy, parameters, arguments.seconds)


PARTS = {"ball": ball, "loss": loss}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--stop", type=float, nargs="+", default=[0.3, 0.1])
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--walkers", type=int, default=256)
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        PARTS[name](arguments)


if __name__ == "__main__":
    main()
