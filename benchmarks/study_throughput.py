"""Runs per minute of processor time, in a study, a search and KerasTuner; and the memory of a process that trains.

    python benchmarks/study_throughput.py [--seeds 10] [--trials 12] [--epochs 10]
    python benchmarks/study_throughput.py --memory [--runs 200]

All train the same CNN [16, 16] on the digits, on one thread:

    study        the baseline and an entropy term on the first layer, 10 seeds each
    search       12 settings of the factor of this term, each on 2 seeds
    KerasTuner   the same search as a `RandomSearch` with `executions_per_trial=2`

Each runs in a process of its own, and its processor time counts from the start of the process to its end: with imports
and compilation, and with the processes that it starts. A busy machine changes processor time less than wall time.

With --memory, one process trains many runs of a small model, and its resident memory after some of them is printed (on
Linux). Set the backend with KERAS_BACKEND.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

import keras

from keras_entropy import ConvEntropy, apply_entropy, datasets, models
from keras_entropy.study import Arm, Study, environment


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10, help="of each of the two arms of the study")
    parser.add_argument("--trials", type=int, default=12, help="of the search and of KerasTuner")
    parser.add_argument("--epochs", type=int, default=10, help="of a run")
    parser.add_argument("--memory", action="store_true")
    parser.add_argument("--runs", type=int, default=200, help="of --memory")
    parser.add_argument("--way", choices=WAYS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        with tempfile.TemporaryDirectory() as folder:
            WAYS[arguments.way](arguments, folder)
    elif arguments.memory:
        memory(arguments.runs)
    else:
        print(f"{keras.backend.backend()}, {arguments.epochs} epochs, load of the machine {os.getloadavg()[0]:.1f}")
        print(f"{'':12}{'runs':>6}{'processor time':>18}{'a run':>10}{'runs a minute':>16}", flush=True)
        for way in WAYS:
            runs = 2 * (arguments.seeds if way == "study" else arguments.trials)
            seconds = processor_seconds(way)
            rate = 60 * runs / seconds
            print(f"{way:12}{runs:6}{seconds:16.1f} s{seconds / runs:8.2f} s{rate:16.1f}", flush=True)


def processor_seconds(way):
    """Processor time of a process that trains in this way, and of its children."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, __file__, *sys.argv[1:], "--way", way]
    subprocess.run(command, env=os.environ | environment(), stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def build():
    model = models.cnn((8, 8, 1), classes=10, filters=[16, 16])
    model.compile("adam", "sparse_categorical_crossentropy")
    return model


def study(arguments, folder):
    arms = [Arm("baseline"), Arm("entropy", "first", ConvEntropy(1e-3))]
    options = {"data": tuple(datasets.digits()), "epochs": arguments.epochs, "output": Path(folder, "study")}
    found = Study(build, arms, range(arguments.seeds), **options)
    for record in found.run(workers=1, progress=False).records:
        assert record.ok, record.traceback or record.reason


def search(arguments, folder):
    from keras_entropy.tuning import EntropyHyperModel, EntropyTuner

    hypermodel = EntropyHyperModel(build, ConvEntropy, placements=["first"])
    options = {"max_trials": arguments.trials, "seeds": (0, 1), "baseline": False, "directory": folder}
    train(EntropyTuner(hypermodel, "val_task_loss", **options), arguments.epochs)


def tuner(arguments, folder):
    import keras_tuner

    def build_with_term(hp):
        model = build()
        factor = hp.Float("factor", 1e-4, 1e-1, sampling="log")
        apply_entropy(model, "first", ConvEntropy(factor))
        return model

    options = {"max_trials": arguments.trials, "executions_per_trial": 2, "directory": folder}
    train(keras_tuner.RandomSearch(build_with_term, "val_loss", **options), arguments.epochs)


def train(tuner, epochs):
    x, y, x_val, y_val = datasets.digits()
    tuner.search(x, y, validation_data=(x_val, y_val), epochs=epochs, batch_size=32, verbose=0)


WAYS = {"study": study, "search": search, "KerasTuner": tuner}


def memory(runs):
    """Print the resident memory of a process of a study after each fifth of its runs."""
    x, y, x_val, y_val = datasets.digits()
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    with tempfile.TemporaryDirectory() as folder:
        noted = Path(folder, "memory")

        def build_and_note():
            pages = Path("/proc/self/statm").read_text().split()[1]
            with noted.open("a", encoding="utf-8") as file:
                file.write(f"{int(pages) * page:.0f}\n")
            model = models.cnn((8, 8, 1), classes=10, filters=[4])
            model.compile("adam", "sparse_categorical_crossentropy")
            return model

        arms = [Arm("baseline"), Arm("entropy", "first", ConvEntropy(1e-3))]
        data = (x[:128], y[:128], x_val[:64], y_val[:64])
        options = {"data": data, "epochs": 2, "output": Path(folder, "study")}
        Study(build_and_note, arms, range(runs // 2 + 1), **options).run(workers=1, progress=False)
        found = noted.read_text().split()
    print(f"{keras.backend.backend()}: resident memory of the process that trains, in MB")
    for run in sorted({runs // 10, runs // 2, runs}):
        print(f"after {run:4} runs {found[run]:>6}")


if __name__ == "__main__":
    main()
