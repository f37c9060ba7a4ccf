"""`density_of_states` beside flatwalk, dynesty, UltraNest and BlackJAX's nested slice sampling, on the same problems.

    KERAS_BACKEND=jax python -m benchmarks.landscape_peers [ising] [ball10] [ball20] [loss] [--samplers ours dynesty]
        [--seeds 4] [--output FOLDER] [--seconds 600]

The peers: pip install flatwalk dynesty ultranest blackjax. The script names a missing one and goes on without it.

Each run is a line of runs.csv in the folder, and a run that is there is not repeated. The table has for each setting:
* error: root mean square over the seeds and levels, in nats. ising: of the entropies of the 15 energies of a 4 x 4
  torus, against the exact count. ball10, ball20: of the log of the share of a cube of 10 or 20 dimensions in which
  |x|^2 is below four values, against the exact value. loss: of the log of the share of the box in which the mean loss
  of a network of three layers of six units is below four values, against the mean of four long runs of
  `density_of_states`, so a bias that all of its runs share does not show there.
* stated: what the sampler says about that error; sqrt(-ln X / live points) for nested sampling (Skilling, 2006).
* evaluations: of the energy. For `density_of_states` and flatwalk: moves, in all phases. `density_of_states` evaluates
  what a move changes: by multiplications 1 / d of the energy on the balls, and 0.17 of it on the network.
* seconds: of the processor, without imports and compilation.
"""

import argparse
import csv
import functools
import itertools
import logging
import pathlib
import time
from collections import defaultdict

import numpy as np

from benchmarks.landscape_peer_samplers import PEERS, missing
from benchmarks.landscape_peer_tasks import TASKS

COLUMNS = ("problem", "sampler", "setting", "seed", "error", "stated", "evaluations", "seconds")

SETTINGS = {
    "ising": {"ours": (3e4, 1e5), "flatwalk": (3e4, 1e5)},
    "ball10": {
        "ours": (1e5, 1e6, 1e7), "flatwalk": (1e5, 5e5), "dynesty": (125, 500), "ultranest": (100, 400),
        "blackjax": (125, 500, 2000),
    },
    "ball20": {"ours": (1e5, 1e6, 1e7), "dynesty": (125, 500), "ultranest": (100, 400), "blackjax": (125, 500, 2000)},
    "loss": {
        "ours": (1e6, 1e7, 3e7), "flatwalk": (1e6, 3e6), "dynesty": (250, 500), "ultranest": (100, 400),
        "blackjax": (250, 500),
    },
}  # fmt: skip
"""Moves of `density_of_states` and flatwalk; live points of nested sampling."""


def rms(values):
    return float(np.sqrt(np.mean(np.square(values))))


def evaluations_to(target, evaluations, errors):
    """Return the evaluations to an error as text: between two budgets on logarithmic scales, else a bound."""
    order = np.argsort(evaluations)
    evaluations, errors = np.asarray(evaluations, float)[order], np.asarray(errors, float)[order]
    below = np.flatnonzero(errors <= target)
    if not len(below):
        return f"> {evaluations[-1]:.1e}"
    first = below[0]
    if first == 0:
        return f"< {evaluations[0]:.1e}"
    share = np.log(errors[first - 1] / target) / np.log(errors[first - 1] / errors[first])
    return f"{np.exp(np.log(evaluations[first - 1]) + share * np.log(evaluations[first] / evaluations[first - 1])):.1e}"


def summary(runs, target=0.2):
    """Return a table row for each problem, sampler and setting, with the evaluations to an error of `target` nats."""
    groups = defaultdict(list)
    for run in runs:
        groups[run["problem"], run["sampler"], float(run["setting"])].append(run)
    rows = []
    order = sorted(groups, key=lambda group: ([*TASKS].index(group[0]), [*PEERS].index(group[1]), group[2]))
    for problem, sampler, setting in order:
        found = groups[problem, sampler, setting]
        errors, stated, evaluations, seconds = (np.array([float(run[name]) for run in found]) for name in COLUMNS[4:])
        rows.append(
            [problem, sampler, setting, len(found), rms(errors), rms(stated), evaluations.mean(), seconds.mean()]
        )
    for row in rows:
        same = [other for other in rows if other[:2] == row[:2]]
        row.append(evaluations_to(target, [other[6] for other in same], [other[4] for other in same]))
        row.append(evaluations_to(target, [other[7] for other in same], [other[4] for other in same]))
    return rows


def print_table(runs):
    head = ["problem", "sampler", "moves or live points", "seeds", "error", "stated", "evaluations", "seconds"]
    head += ["evaluations to 0.2 nat", "seconds to 0.2 nat"]
    print("| " + " | ".join(head) + " |\n" + "|---" * len(head) + "|")
    for problem, sampler, setting, seeds, error, stated, evaluations, seconds, *needed in summary(runs):
        cells = [
            problem,
            sampler,
            f"{setting:g}",
            seeds,
            f"{error:.3f}",
            "" if np.isnan(stated) else f"{stated:.3f}",
            f"{evaluations:.1e}",
            f"{seconds:.2g}",
        ]
        print("| " + " | ".join(map(str, [*cells, *needed])) + " |")


def run_one(task, sampler, setting, seed):
    begin = time.process_time()
    log_shares, stated, evaluations, *seconds = PEERS[sampler](task, setting, seed)
    seconds = seconds or [time.process_time() - begin]
    error = rms(np.asarray(log_shares) - task.truth)
    return [
        task.name,
        sampler,
        f"{setting:g}",
        seed,
        f"{error:.5f}",
        f"{rms(stated):.5f}",
        evaluations,
        f"{seconds[0]:.3f}",
    ]


def read(path):
    if not path.exists():
        return []
    with path.open() as file:
        return list(csv.DictReader(file))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("problems", nargs="*", choices=[*TASKS, []], default=[])
    parser.add_argument("--samplers", nargs="+", choices=[*PEERS], default=[*PEERS])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=1e9, help="start no run after this processor time")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("landscape_peers"))
    arguments = parser.parse_args()
    logging.disable(logging.WARNING)
    arguments.output.mkdir(parents=True, exist_ok=True)
    path = arguments.output / "runs.csv"
    runs = read(path)
    done = {(run["problem"], run["sampler"], float(run["setting"]), int(run["seed"])) for run in runs}
    samplers = [name for name in arguments.samplers if not missing(name)]
    for problem in arguments.problems or TASKS:
        task = functools.cache(functools.partial(TASKS[problem], arguments.output))
        for seed, sampler in itertools.product(range(arguments.seeds), samplers):
            for setting in SETTINGS[problem].get(sampler, ()):
                if (problem, sampler, setting, seed) in done or time.process_time() > arguments.seconds:
                    continue
                row = run_one(task(), sampler, setting, seed)
                with path.open("a") as file:
                    if not file.tell():
                        csv.writer(file).writerow(COLUMNS)
                    csv.writer(file).writerow(row)
                print(*row, flush=True)
    print_table(read(path))


if __name__ == "__main__":
    main()
