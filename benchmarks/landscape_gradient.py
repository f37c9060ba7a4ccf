"""Moves along the gradient beside moves of one component, on the ball and on the loss axis of (3, 6).

    KERAS_BACKEND=jax python benchmarks/landscape_gradient.py [ball] [loss] [--stop 0.3 0.1] [--seconds 20] [...]

Walkers stand in all bins, and the weights are frozen: at the exact ones for the ball (20 dimensions, 44 bins of 1.5
nats), at those of a run of 3e7 moves for the mean loss. Each way gets about the same processor time. Printed are:
evaluations per second of processor time (a gradient, which comes with its value, counts as one); round trips between
the two ends, in all, per million evaluations and per second; and how far walkers are from where they stood, as the mean
squared distance in bins per evaluation after 1,000 evaluations of each, and per second, which is known where round
trips are few: their number lags behind, since the first one of a walker takes its time. For the ball also the rms
errors of both estimators, in nats: from proposals, which are counted of the moves of one component only, and from
visits. The ways: one component in machine code that evaluates what a move changes only; one component on JAX; and
trajectories on JAX, as half and as nine tenths of the moves. Stable results need one thread
(XLA_FLAGS="--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1", OMP_NUM_THREADS=1).
"""

import argparse
import time

import numpy as np

from keras_entropy import datasets
from keras_entropy.landscape import ball_problem, density_of_states, estimators, exact, network_problem, splitting
from keras_entropy.landscape.axis import Axis, bins_of
from keras_entropy.landscape.pipeline import route_of
from keras_entropy.landscape.samplers.sampler import Tally, Trajectories, Walkers, Window, seed_states

WAYS = {
    "one component, Numba": ("numba", None),
    "one component, JAX": ("jax", None),
    "1/2 Langevin": ("jax", Trajectories(0.5, 1)),
    "1/2 of 3 steps": ("jax", Trajectories(0.5, 3)),
    "9/10 of 3 steps": ("jax", Trajectories(0.9, 3)),
    "9/10 of 10 steps": ("jax", Trajectories(0.9, 10)),
    "9/10 of 30 steps": ("jax", Trajectories(0.9, 30)),
}
LAG = 1000


def cost(trajectories):
    """Evaluations of a move, on average."""
    return 1.0 if trajectories is None else 1 + trajectories.share * trajectories.leaps


class Walk:
    """Walkers that start from the same points, whichever way they go."""

    def __init__(self, route, window, parameters):
        count = len(parameters)
        self.route, self.window = route, window
        self.walkers = Walkers(
            parameters.copy(), seed_states(1, count), np.full(count, -1), np.zeros((count, 2), np.int64)
        )
        self.tally = self.fresh()

    def fresh(self):
        """A tally of nothing."""
        return Tally.empty(len(self.walkers.bins), self.window, 0, (3, 0))

    def __call__(self, moves):
        """Seconds of processor time."""
        self.tally, begin = self.fresh(), time.process_time()
        self.route.advance(self.walkers, self.window, moves, self.tally)
        return time.process_time() - begin


def compare(title, problem, name, bins, entropy, parameters, seconds, truth=None):
    print(f"{title}, {len(parameters)} walkers, {bins.count} bins")
    header = "Meval/s | trips (per Meval,   per s) | bins^2/eval, 1e3/s |"
    print(f"  {'':22} | {header}{'' if truth is None else ' rms of proposals, visits'}")
    ends = int(np.argmax(entropy)), 0
    for way, (route, trajectories) in WAYS.items():
        window = Window(bins, entropy, octaves=6, ends=ends, trajectories=trajectories)
        walk = Walk(route_of(problem, (name,), route), window, parameters)
        walk(0)  # places the walkers, and compiles
        begin, lag = walk.walkers.bins.copy(), round(LAG / cost(trajectories))
        rate = lag / max(walk(lag), 1e-3)
        spread = np.mean((walk.walkers.bins - begin) ** 2) / LAG
        walk.walkers.trips[:] = 0
        moves = max(1, int(rate * seconds))
        spent = walk(moves)
        evaluations = moves * cost(trajectories) * len(parameters) / 1e6
        trips = int(walk.walkers.trips[:, 1].sum())
        errors = "" if truth is None else " {:.3f}, {:.3f}".format(*rms(walk.tally, bins, entropy, truth))
        print(
            f"  {way:22} | {evaluations / spent:7.2f} | {trips:6} ({trips / evaluations:6.2f}, {trips / spent:7.2f}) | "
            f"{spread:11.3f}, {1e3 * spread * evaluations / spent:5.0f} |{errors}",
            flush=True,
        )


def rms(tally, bins, entropy, truth):
    visits = tally.histogram.sum(0)
    by_visits = estimators.from_histogram(entropy, visits)
    near = bins.neighbours((3, 0))
    by_proposals = estimators.from_proposals(tally.proposals.sum(0), visits, near, by_visits)
    return [float(np.sqrt(np.mean((found - truth) ** 2))) for found in (by_proposals, by_visits)]


def ball(arguments):
    problem, edges = ball_problem(20), exact.ball_edges(20)
    entropy = exact.ball_entropy(20, edges)
    bins = bins_of([Axis("energy", edges)])
    found = splitting.split(route_of(problem, ("energy",), "numba"), bins.axes, 400, 2000, 0)
    parameters = found.spread(arguments.walkers, np.random.default_rng(0))
    compare("ball in 20 dimensions", problem, "energy", bins, entropy, parameters, arguments.seconds, truth=entropy)


def loss(arguments):
    problem = network_problem(3, 6, datasets.spirals(seed=0))
    route = route_of(problem, ("train_loss",), "numba")
    for stop in arguments.stop:
        found = density_of_states(problem, "train_loss", 3e7, stop=stop)
        bins = bins_of(found.axes)
        split = splitting.split(route, bins.axes, 400, 2000, 0)
        window = Window(bins, found.entropy, octaves=6)
        walk = Walk(route, window, split.spread(arguments.walkers, np.random.default_rng(0)))
        walk(50_000)  # what splitting has multiplied goes apart
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
