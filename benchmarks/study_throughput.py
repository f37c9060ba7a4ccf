"""Runs per minute of a study: two processes against one, KerasTuner's executions per trial, and shared programs on JAX.

    KERAS_BACKEND=torch python benchmarks/study_throughput.py [--runs 16] [--epochs 20] [--repeats 3]

Every line is the same training: the autoencoder 64-60-64 on the digits, with the same number of epochs, another seed for
each run. All ways are taken in turn, each in a process of its own; printed are medians and quartiles over the repeats.
"Steady" counts from the end of the first run of each worker: without start-up, which a longer study pays once. A study
logs the entropy of each layer, KerasTuner does not. KerasTuner (pip install keras-tuner) has all cores for one run at a
time; the study gives each process one thread. The floor of two processes over one is 2.
"""

import argparse
import contextlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path


def build(hp=None):
    import keras

    from keras_entropy import models

    model = models.autoencoder((8, 8, 1), 60)
    model.compile(keras.optimizers.Adam(1e-3), "mse")
    return model


def data():
    from keras_entropy import datasets

    x, _, xv, _ = datasets.digits()
    return x, x, xv, xv


def study(runs, epochs, workers, replicas, ended):
    """Train by a study; the times at which runs end are read from its records as they grow."""
    from keras_entropy.study import Arm, Study

    with tempfile.TemporaryDirectory() as folder:
        records, finished = Path(folder) / "runs.jsonl", threading.Event()

        def watch():
            while not finished.wait(0.01):
                lines = records.read_bytes().count(b"\n") if records.exists() else 0
                ended.extend([time.perf_counter()] * (lines - len(ended)))

        thread = threading.Thread(target=watch)
        thread.start()
        made = Study(build, [Arm("none")], range(runs), data=data, output=folder, epochs=epochs)
        found = made.run(workers=workers, replicas=replicas, progress=False)
        time.sleep(0.05)
        finished.set()
        thread.join()
        assert all(record.ok for record in found)
        return statistics.median(record.cpu_seconds for record in found)


def tuner(runs, epochs, ended):
    """Train by KerasTuner: one trial of as many executions."""
    import keras
    import keras_tuner

    class Ended(keras.callbacks.Callback):
        def on_train_end(self, logs=None):
            ended.append(time.perf_counter())

    x, y, xv, yv = data()
    with tempfile.TemporaryDirectory() as folder:
        search = keras_tuner.RandomSearch(
            build, objective="val_loss", max_trials=1, executions_per_trial=runs, directory=folder
        )
        start = time.process_time()
        search.search(x, y, validation_data=(xv, yv), epochs=epochs, verbose=0, callbacks=[Ended()])
        return (time.process_time() - start) / runs


def child(way, runs, epochs):
    """Train in this process in one way, and print what it took."""
    start, ended = time.perf_counter(), []
    with contextlib.redirect_stdout(sys.stderr):
        workers, replicas = {"one": (1, 1), "two": (2, 1), "shared": (2, runs)}.get(way, (1, 1))
        cpu = tuner(runs, epochs, ended) if way == "tuner" else study(runs, epochs, workers, replicas, ended)
    first = workers - 1  # from when each worker has ended one
    steady = None if way == "shared" else 60 * (len(ended) - 1 - first) / (ended[-1] - ended[first])
    print(json.dumps({"whole": 60 * runs / (ended[-1] - start), "steady": steady, "cpu": cpu}))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--way", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.way:
        child(arguments.way, arguments.runs, arguments.epochs)
        return
    backend = os.environ.get("KERAS_BACKEND", "tensorflow")
    ways = {"one": "study, 1 process", "two": "study, 2 processes", "tuner": "KerasTuner, 2 cores"}
    ways |= {"shared": "study, 2 processes, shared programs"} if backend == "jax" else {}
    found = {way: [] for way in ways}
    for _ in range(arguments.repeats):
        for way in ways:
            command = [sys.executable, __file__, "--way", way, "--runs", str(arguments.runs)]
            command += ["--epochs", str(arguments.epochs)]
            printed = subprocess.run(command, check=True, capture_output=True, text=True, env=os.environ).stdout
            found[way].append(json.loads(printed.splitlines()[-1]))
    load = os.getloadavg()[0]
    print(f"{backend}: {arguments.runs} runs of {arguments.epochs} epochs; load average at the end {load:.1f}")
    print(f"{'':36}{'runs/min':>10} {'quartiles':>15}{'steady':>10} {'quartiles':>15}{'CPU s a run':>13}")
    for way, name in ways.items():
        cells = "".join(f"{middle(found[way], key):>10} {spread(found[way], key):>15}" for key in ("whole", "steady"))
        print(f"{name:36}{cells}{middle(found[way], 'cpu'):>13}")
    for over, under in (("two", "one"), ("two", "tuner"), *([("shared", "two")] if backend == "jax" else [])):
        ratios = {key: ratio(found, over, under, key) for key in ("whole", "steady")}
        print(f"{ways[over]} over {ways[under]}: {ratios['whole']} whole, {ratios['steady']} steady")


def values(rows, key):
    return sorted(row[key] for row in rows if row[key] is not None)


def middle(rows, key):
    return f"{statistics.median(values(rows, key)):.2f}" if values(rows, key) else "-"


def spread(rows, key):
    own = values(rows, key)
    if len(own) < 2:
        return "-"
    low, _, high = statistics.quantiles(own, method="inclusive")
    return f"{low:.2f}-{high:.2f}"


def ratio(found, over, under, key):
    pairs = [(a[key], b[key]) for a, b in zip(found[over], found[under], strict=True)]
    return f"{statistics.median(a / b for a, b in pairs):.2f}" if all(None not in pair for pair in pairs) else "-"


if __name__ == "__main__":
    main()
