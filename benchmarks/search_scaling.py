"""Speed of a search in two worker processes against one, and memory that finished trials leave behind.

    python benchmarks/search_scaling.py [--max-trials 12] [--epochs 20] [--repeats 3]
    python benchmarks/search_scaling.py --memory [--max-trials 30]

There are two kinds of trials. "spin" computes a fixed number of matrix products on one thread; it shows the cost of
handing runs over and of starting processes. "train" fits a small autoencoder with an entropy term on the digits.
Each kind is searched by one worker on one core, by one worker with two threads on two cores, and by two workers with
one thread each on two cores, in turn within each repeat. The ratios of wall times are taken within a repeat: of the
whole call, and after the first trial of each process.
The upper limit on this machine is printed beside them: how much more two busy loops do than one at that time.

With --memory, one process searches, and the resident memory after each trial is printed. Set the backend with
KERAS_BACKEND.
"""

import argparse
import multiprocessing
import os
import statistics
import tempfile
import time
from pathlib import Path

import keras
import keras_tuner
import numpy as np

from keras_entropy import DenseEntropy, datasets, models
from keras_entropy.runs.pool import ProcessPool, shares
from keras_entropy.tuning import EntropyHyperModel, EntropyTuner

WAYS = {"1 worker, 1 core": (1, 1), "1 worker, 2 cores": (1, 2), "2 workers, 2 cores": (2, 2)}


class Spin(keras_tuner.HyperModel):
    """A model whose training is a fixed amount of arithmetic."""

    def build(self, hp):
        """Build a model that is not trained."""
        return build()

    def fit(self, hp, model, *args, callbacks, epochs, **kwargs):
        """Compute matrix products; the score is the factor."""
        matrix = np.random.default_rng(0).normal(size=(256, 256))
        for _ in range(epochs * 40):
            matrix = np.tanh(matrix @ matrix)
        return {"val_task_loss": float(hp.get("entropy/factor") if "entropy/factor" in hp.values else 0.0)}


def build():
    model = models.autoencoder((8, 8, 1), width=60)
    model.compile("adam", "mse")
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--max-trials", type=int)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--memory", action="store_true")
    arguments = parser.parse_args()
    x, _, held, _ = datasets.digits()
    fit = {"x": x, "y": x, "validation_data": (held, held), "epochs": arguments.epochs, "verbose": 0}
    if arguments.memory:
        memory(arguments.max_trials or 30, fit)
        return
    for name, base in {"spin": Spin(), "train": build}.items():
        scaling(name, EntropyHyperModel(base, DenseEntropy), arguments.max_trials or 12, arguments.repeats, fit)


def scaling(name, hypermodel, trials, repeats, fit):
    """Print the wall times of each way to search and their ratios."""
    found = {way: [] for way in WAYS}
    loops = []
    for _ in range(repeats):
        loops.append(busy_loops())
        for way, (count, cores) in WAYS.items():
            found[way].append(wall(hypermodel, trials, fit, count, cores))
    print(f"\n{keras.backend.backend()}, {name}, {trials} trials of 2 seeds, {repeats} repeats, seconds (median):")
    for way, rows in found.items():
        whole, begun = (statistics.median(column) for column in zip(*rows, strict=True))
        print(f"  {way:20} {whole:7.1f} whole {begun:7.1f} without the first trials")
    for rival in list(WAYS)[:2]:
        pairs = zip(found[rival], found["2 workers, 2 cores"], strict=True)
        ratios = [[a / b for a, b in zip(one, two, strict=True)] for one, two in pairs]
        whole, begun = (" ".join(f"{value:.2f}" for value in sorted(column)) for column in zip(*ratios, strict=True))
        print(f"  2 workers are faster than {rival} by: {whole} whole; {begun} without the first trials")
    print(f"  two busy loops do {statistics.median(loops):.2f} times the work of one")


def wall(hypermodel, trials, fit, count, cores):
    """Seconds of a whole search, and of as many trials at the pace after the first trial of each process."""
    available = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, available[:cores])
    ended = []
    try:
        with tempfile.TemporaryDirectory() as directory:
            arguments = {"hypermodel": hypermodel, "max_trials": trials, "seeds": [0, 1], "directory": directory}
            tuner = EntropyTuner(**arguments)
            tuner.progress.ended = lambda *_: ended.append(time.monotonic())
            begin = time.monotonic()
            with ProcessPool(count, shares=shares(count)) as pool:
                tuner.search_on(pool, count, **fit)
            states = [trial.status for trial in tuner.oracle.trials.values()]
            assert states == ["COMPLETED"] * trials, states
    finally:
        os.sched_setaffinity(0, available)
    return ended[-1] - begin, (ended[-1] - ended[count - 1]) * trials / (trials - count)


def busy_loops():
    """Ratio of the work of two processes to that of one."""
    context = multiprocessing.get_context("fork")
    begin = time.monotonic()
    spin()
    one = time.monotonic() - begin
    both = [context.Process(target=spin) for _ in range(2)]
    begin = time.monotonic()
    for process in both:
        process.start()
    for process in both:
        process.join()
    return 2 * one / (time.monotonic() - begin)


def spin():
    """About two seconds of work on one core."""
    total = 0
    for number in range(30_000_000):
        total += number
    return total


def memory(trials, fit):
    """Print the resident memory of the process after each trial."""
    sizes = []
    with tempfile.TemporaryDirectory() as directory:
        hypermodel = EntropyHyperModel(build, DenseEntropy)
        tuner = EntropyTuner(hypermodel, max_trials=trials, seeds=[0], directory=directory, baseline=False)
        tuner.trial_ended = lambda: sizes.append(resident())
        tuner.search(**{**fit, "epochs": 2})
    print(f"{keras.backend.backend()}, MB after each of {trials} trials: {' '.join(f'{size:.0f}' for size in sizes)}")
    middle = trials // 3
    print(f"growth: {(sizes[-1] - sizes[middle]) / (trials - 1 - middle):.2f} MB a trial after trial {middle + 1}")


def resident():
    """Resident memory in MB."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024


if __name__ == "__main__":
    main()
