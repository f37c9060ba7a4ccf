"""`density_of_states` beside nested sampling by dynesty, on the ball and on the loss axis of (3, 6).

    python benchmarks/landscape_nested.py [ball] [loss] [--stop 0.5] [--live 250] [--slices 119] [--seed 0]

The script prints the log of the fraction of the box below some energies or losses, in nats: exact where it is known, by
`density_of_states`, by its splitting alone, and by the prior volumes of dynesty (random slices from live points,
without bounds), each with its standard error. That of nested sampling is sqrt(-ln X / live) (Skilling, 2006), and holds
if new points are independent of the live ones: compare several seeds. Then it prints processor seconds and evaluations.
A move of `density_of_states` changes one parameter and evaluates what that changes; dynesty evaluates the whole energy,
here with NumPy for one point at a time, as a user would.
"""

import argparse
import time

import dynesty
import numpy as np

from keras_entropy import datasets
from keras_entropy.landscape import ball_problem, density_of_states, exact, network_problem


def nested(problem, name, stop, live, slices, seed):
    """Return decreasing values of an observable, log fractions of the box below them, and the number of evaluations."""

    def log_likelihood(parameters):
        return -float(problem.energy(parameters[:, None])[name][0])

    def box(unit):
        return (2 * unit - 1) * problem.half_width

    sampler = dynesty.NestedSampler(
        log_likelihood, box, problem.dimension, live, bound="none", sample="rslice", slices=slices,
        rstate=np.random.default_rng(seed),
    )  # fmt: skip
    sampler.run_nested(logl_max=-stop, dlogz=1e-12, add_live=False, print_progress=False)
    return -sampler.results.logl, sampler.results.logvol, int(sampler.results.ncall.sum())


def compare(title, problem, name, found, seconds, arguments, slices, truth=None):
    axis = found.axes[0]
    begin = time.process_time()
    values, log_volume, evaluations = nested(problem, name, axis.edges[1], arguments.live, slices, arguments.seed)
    nested_seconds = time.process_time() - begin
    share = np.logaddexp.accumulate(found.entropy)
    split = np.logaddexp.accumulate(found.splitting_entropy)
    print(f"{title}: ln(share of the box below)")
    print(f"  {name:>10} | {'exact' if truth else '':>7} | {'ours':>17} | {'splitting':>9} | dynesty")
    for k in np.unique(np.linspace(0, len(share) - 2, 8).astype(int)):
        edge = axis.edges[k + 1]
        known = f"{truth(edge):.2f}" if truth else ""
        volume = np.interp(-edge, -values, log_volume)
        error = np.sqrt(-volume / arguments.live)
        ours = f"{share[k]:8.2f} +- {found.standard_error[k]:.3f}"
        print(f"  {edge:10.4g} | {known:>7} | {ours:>17} | {split[k]:9.2f} | {volume:.2f} +- {error:.2f}")
    print(f"  ours: {found.moves:.1e} moves of production, {seconds:.1f} s, {found.round_trips} round trips")
    print(f"  dynesty: {evaluations:.1e} evaluations, {nested_seconds:.1f} s, {arguments.live} live points")


def ball(arguments):
    problem, edges = ball_problem(10), exact.ball_edges(10, bins=16)
    begin = time.process_time()
    found = density_of_states(problem, "energy", 1e7, arguments.seed, edges={"energy": edges})
    seconds = time.process_time() - begin
    title = "ball in 10 dimensions"
    compare(title, problem, "energy", found, seconds, arguments, 5, lambda edge: exact.ball_log_probability(10, edge))


def loss(arguments):
    problem = network_problem(3, 6, datasets.spirals(seed=0))
    begin = time.process_time()
    found = density_of_states(problem, "train_loss", 3e7, arguments.seed, target_loss=arguments.stop)
    seconds = time.process_time() - begin
    title = f"mean loss of (3, 6) down to {arguments.stop}"
    compare(title, problem, "train_loss", found, seconds, arguments, arguments.slices)


PARTS = {"ball": ball, "loss": loss}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", choices=[*PARTS, []], default=[])
    parser.add_argument("--stop", type=float, default=0.5)
    parser.add_argument("--live", type=int, default=250)
    parser.add_argument("--slices", type=int, default=119)
    parser.add_argument("--seed", type=int, default=0, help="of both")
    arguments = parser.parse_args()
    for name in arguments.parts or PARTS:
        PARTS[name](arguments)


if __name__ == "__main__":
    main()
