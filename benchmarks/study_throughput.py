"""Training runs per minute: one pinned process, two of them, and KerasTuner.

    python benchmarks/study_throughput.py [--runs 12] [--repeats 5] [--epochs 20,60] [--quick]

All train the same autoencoder 64-60-64 with an entropy term on the digits, without early stopping. KerasTuner trains
the runs as the `executions_per_trial` of one trial, in a process without a limit on its threads. On Linux, the
benchmark uses two cores. A `Study` also measures the entropy of each layer and logs the loss without penalty in every
epoch; KerasTuner saves the best weights. Each repeat runs all variants, so that a slow moment of a shared machine
affects all of them; ratios are computed within a repeat. Three rates are printed, as medians and quartiles over
repeats:

    all        from the call to its return, including the start of the processes
    started    from the moment at which the first model is built
    warm       without the first run of each process, which imports and compiles

and the processor time of a run. More processes do not reduce it: two processes can at most double the rate.
Backend: KERAS_BACKEND.
"""

import argparse
import functools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import keras

from keras_entropy import DenseEntropy, apply_entropy, datasets, models
from keras_entropy.study import Arm, Study, environment

RATES = ("all", "started", "warm")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=12, help="of each process pool and of KerasTuner")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--epochs", default="20,60", help="of a run, one or more lengths")
    parser.add_argument("--quick", action="store_true", help="6 short runs, twice")
    parser.add_argument("--tuner", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.tuner:
        runs, epochs, folder = arguments.tuner
        search(int(runs), int(epochs), folder)
        return
    if arguments.quick:
        arguments.runs, arguments.repeats, arguments.epochs = 6, 2, "10"
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])
    for epochs in map(int, arguments.epochs.split(",")):
        compare(ways(arguments.runs), epochs, arguments.repeats)


def ways(runs):
    """Each a function of epochs and of a folder for its files."""
    return {
        "1 process": functools.partial(study, runs, 1),
        "2 processes": functools.partial(study, runs, 2),
        "KerasTuner": functools.partial(tuner, runs),
    }


def compare(found, epochs, repeats):
    """Print the rates of all ways, and their ratios."""
    load = f"load of the machine {os.getloadavg()[0]:.1f}"
    results = {name: [] for name in found}
    for _ in range(repeats):
        for name, way in found.items():
            with tempfile.TemporaryDirectory() as folder:
                results[name].append(way(epochs, Path(folder)))
    load += f" before, {os.getloadavg()[0]:.1f} after, {os.cpu_count()} cores"
    print(f"\n{keras.backend.backend()}, runs of {epochs} epochs, {repeats} repeats; {load}")
    print(f"{'runs per minute':28}" + "".join(f"{rate:>22}" for rate in RATES) + f"{'start':>9}{'CPU per run':>13}")
    for name, rows in results.items():
        rates = "".join(f"{spread([row.get(rate) for row in rows], 1):>22}" for rate in RATES)
        start, cpu = (statistics.median(row[key] for row in rows) for key in ("start", "cpu"))
        print(f"{name:28}{rates}{start:7.1f} s{cpu:11.2f} s")
    one, two, other = found
    print("ratio")
    for way, rival in [(two, one), (two, other)]:
        pairs = list(zip(results[way], results[rival], strict=True))
        cells = [[a[rate] / b[rate] if rate in a and rate in b else None for a, b in pairs] for rate in RATES]
        print(f"{f'{way} / {rival}':28}" + "".join(f"{spread(cell, 2):>22}" for cell in cells))
    cpu = statistics.median(row["cpu"] for row in results[two])
    print(f"At most: 2 times the runs of one process; {120 / cpu:.1f} a minute, at {cpu:.2f} s of processor time each.")


def spread(values, digits):
    """Median and quartiles."""
    if None in values:
        return "-"
    low, middle, high = statistics.quantiles(values, method="inclusive") if len(values) > 1 else values * 3
    return f"{middle:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"


def study(runs, workers, epochs, folder):
    """A study in pinned processes."""
    x_train, _, x_val, _ = datasets.digits()
    noted = folder / "built"

    def noting_build():
        note(noted)
        return build()

    options = {"data": (x_train, x_train, x_val, x_val), "epochs": epochs, "output": folder / "study"}
    one = Study(noting_build, [Arm("entropy")], range(runs), **options)
    begin = time.time()
    result = one.run(workers=workers, progress=False)
    end = time.time()
    for record in result.records:
        assert record.ok, record.traceback or record.reason
    cpu = sum(record.cpu_seconds for record in result.records) / runs
    return rates(noted, begin, end, runs, cpu, workers)


def tuner(runs, epochs, folder):
    """KerasTuner, one run after the other, with the threads that the backend takes by itself."""
    free = {name: value for name, value in os.environ.items() if name not in environment()}
    free |= {"KERAS_BACKEND": keras.backend.backend(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    begin = time.time()
    command = [sys.executable, __file__, "--tuner", str(runs), str(epochs), str(folder)]
    done = subprocess.run(command, env=free, capture_output=True, text=True, check=False)
    end = time.time()
    if done.returncode:
        raise RuntimeError(done.stderr)
    return rates(folder / "built", begin, end, runs, json.loads((folder / "cpu").read_text()) / runs, 1)


def search(runs, epochs, folder):
    """In the process of KerasTuner: one trial of many executions."""
    import keras_tuner

    x_train, _, x_val, _ = datasets.digits()

    def noting_build(values):
        note(Path(folder, "built"))
        return build()

    options = {"max_trials": 1, "executions_per_trial": runs, "directory": folder}
    search = keras_tuner.RandomSearch(noting_build, "val_loss", **options)
    begin = time.process_time()
    data = {"validation_data": (x_val, x_val)}
    search.search(x_train, x_train, epochs=epochs, batch_size=32, verbose=0, **data)
    Path(folder, "cpu").write_text(json.dumps(time.process_time() - begin))


def build():
    model = models.autoencoder((8, 8, 1), width=60)
    model.compile("adam", "mse")
    apply_entropy(model, "first", DenseEntropy(1e-3))
    return model


def note(path):
    """Add the time to a file that several processes write to."""
    with path.open("a") as file:
        file.write(f"{time.time()!r}\n")


def rates(noted, begin, end, runs, cpu, processes):
    """Runs per minute, by the moments at which models were built: where one is built, another run has ended."""
    built = sorted(map(float, noted.read_text().split()))[-runs:]  # KerasTuner builds one more, to see what it tunes
    found = {"all": 60 * runs / (end - begin), "started": 60 * runs / (end - built[0])}
    if processes and runs > 2 * processes:  # each has ended its first run when it begins its second one
        found["warm"] = 60 * (runs - 2 * processes) / (built[-1] - built[2 * processes - 1])
    return found | {"start": built[0] - begin, "cpu": cpu}


if __name__ == "__main__":
    main()
