"""Models, searches without training, and faults for the tests of searches; importable by processes that are killed."""

import contextlib
import functools
import hashlib
import json
import os
import signal
import threading
import time
from pathlib import Path

import keras
import numpy as np
import scipy.optimize

from keras_entropy import DenseEntropy, TotalCorrelation, _files
from keras_entropy.runs.pool import ProcessPool, shares
from keras_entropy.runs.records import RunRecord, RunRecords
from keras_entropy.study import read_records
from keras_entropy.tuning import EntropyHyperModel, EntropyTuner, trial_run
from keras_entropy.tuning.hypermodel import FACTOR, PLACEMENT

TUNERS = ("random", "grid", "bayesian", "hyperband")


def build(hp, eager=True):
    """Trained eagerly: compiling takes longer than these trainings."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, activation="tanh", name="encoder"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(6, name="decoder"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"], run_eagerly=eager)
    return model


def plain(eager=True):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(6, name="b")])
    model.compile("adam", "mse", metrics=["mae"], run_eagerly=eager)
    return model


def arrays():
    x = np.random.default_rng(0).normal(1.0, 1.0, (48, 6)).astype("float32")
    return {"x": x[:32], "y": x[:32], "validation_data": (x[32:], x[32:])}


def hypermodel(function=plain, **options):
    return EntropyHyperModel(function, options.pop("regularizer", DenseEntropy), **options)


def several(**options):
    return EntropyHyperModel(build, [DenseEntropy, TotalCorrelation], negative=True, **options)


def values_of(tuner):
    """The settings in the order of the trials."""
    return [tuner.oracle.trials[name].hyperparameters.values for name in tuner.oracle.start_order]


class SpaceOnly(EntropyHyperModel):
    """Has hyperparameters, and no model."""

    def build(self, hp):
        hp.Choice(PLACEMENT, list(self.placements))
        self._factor(hp, FACTOR)


def tuner_options(kind, folder, trials):
    """Of a search whose trials take milliseconds, for each kind of tuner."""
    factors = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    factors = factors if kind == "grid" else (1e-4, 1e-1)
    return {
        "hypermodel": SpaceOnly(plain, DenseEntropy, placements=["first", "all", "b"], factors=factors),
        "tuner": kind,
        "max_trials": trials,
        "max_epochs": 9,
        "seeds": [0, 1],
        "seed": 3,
        "directory": folder,
        **({"num_initial_points": 3} if kind == "bayesian" else {}),
    }


def train_nothing(log=None):
    """Return a training that gives numbers which depend on the setting alone, and notes each one in a file."""

    def train(job, task, observers=()):
        values, seed = task.values, task.seed
        if log is not None:
            with open(log, "a") as file:
                file.write(json.dumps([sorted(values.items()), seed]) + "\n")
            time.sleep(0.002)
        factor = values.get("entropy/factor", 0.0)
        score = abs(np.log10(abs(factor) + 1e-9) + 2) + 0.1 * len(values.get("entropy/placement", "")) + 0.01 * seed
        name = job.objective.name
        return job.record(task, history={name: [float(score) / (epoch + 1) for epoch in range(task.epochs)]})

    return train


def compare_nothing(study, *args, **options):
    """Records of a study without training, in place of `Study.run`."""
    return [
        RunRecord(arm=arm.name, seed=seed, history={study.metric: [0.1 * index + 0.01 * (seed % 7) ** (index + 1)]})
        for seed in study.seeds
        for index, arm in enumerate(study.arms)
    ]


def minimize_nothing(fun, x0, jac=None, **options):
    """Stays where it starts, in place of SciPy's `minimize`: Bayesian optimisation takes seconds a trial for it."""
    value = fun(x0)[0] if jac is True else fun(x0)
    return scipy.optimize.OptimizeResult(x=x0, fun=np.float64(np.squeeze(value)), status=0, success=True, nit=0)


def search_nothing(kind, folder, trials=12):
    """A whole search without training; returns its tuner."""
    trial_run.train = train_nothing(f"{folder}.log")
    scipy.optimize.minimize = minimize_nothing
    tuner = EntropyTuner(**tuner_options(kind, folder, trials))
    tuner.search(**arrays(), epochs=2, verbose=0)
    return tuner


class Slow(keras.callbacks.Callback):
    """So that a kill finds something to kill."""

    def on_epoch_end(self, epoch, logs=None):
        time.sleep(0.05)


def every_third(factor):
    return DenseEntropy(factor, every=3)


def search_compiled(kind, folder, trials):
    """A whole search with training as users have it: compiled, with dropout, and with callbacks that hold counters."""
    factors = [1e-3, 1e-2, 1e-1] if kind == "grid" else (1e-3, 1e-1)
    tuned = EntropyHyperModel(functools.partial(build, eager=False), every_third, factors=factors)
    options = {"num_initial_points": 3} if kind == "bayesian" else {}
    tuner = EntropyTuner(tuned, tuner=kind, max_trials=trials, seeds=[0], max_epochs=4, directory=folder, **options)
    stop = keras.callbacks.EarlyStopping("val_task_loss", mode="min", patience=2)
    tuner.search(**arrays(), epochs=4, verbose=0, callbacks=[stop, Slow()])


class Killed(BaseException):
    """In place of kill -9: no handler of errors stops it."""


class Faults:
    """Kills the process once at each state that a search writes to a file: before, in the middle, and after.

    Args:
        folder: of the search.
    """

    def __init__(self, folder):
        self.folder = Path(folder)
        self.met = set()
        self.replacing, self.add = _files.replacing, RunRecords.add

    def adding(self):
        """Return a function in place of `RunRecords.add`."""
        path = self.folder / "search" / "runs.jsonl"

        def add(records, run):
            content = repr((run.slot, run.epochs)).encode()
            self.kill("before", path, content)
            self.add(records, run)
            if self.is_new("middle", path, content):
                with path.open("rb+") as file:
                    file.truncate(path.stat().st_size - 30)
                raise Killed
            self.kill("after", path, content)

        return add

    @contextlib.contextmanager
    def __call__(self, path):
        """In place of `_files.replacing`."""
        path = Path(path)
        with self.replacing(path) as temporary:
            yield temporary
            content = temporary.read_bytes()
            self.kill("before", path, content)
            if self.is_new("middle", path, content):
                # A kill leaves the temporary file, half written; an error would remove it.
                temporary.with_name(f"{_files.PARTIAL}{len(self.met)}{path.suffix}").write_bytes(content[::2])
                raise Killed
        self.kill("after", path, content)

    def kill(self, moment, path, content):
        if self.is_new(moment, path, content):
            raise Killed

    def is_new(self, moment, path, content):
        before = len(self.met)
        self.met.add((moment, path.relative_to(self.folder), _state_of(path, content)))
        return len(self.met) > before


def _state_of(path, content):
    """What a file says, but for the times: a process that goes on writes the same state at another time."""
    if path.name == "oracle.json":
        state = json.loads(json.loads(content)["state"])
        del state["display"]
        content = json.dumps(state, sort_keys=True).encode()
    return hashlib.sha256(content).hexdigest()


def search_with_team(folder, trials, executor, kills_worker=False):
    """A search of two seeds: here, in `"processes"`, or on a cluster of Dask, one of whose workers is killed."""
    tuner = EntropyTuner(hypermodel(), max_trials=trials, seeds=[0, 1], directory=folder)
    fit = {**arrays(), "epochs": 2, "verbose": 0, "callbacks": [Slow()]}
    if executor is None:
        tuner.search(**fit)
    elif executor == "processes":
        with ProcessPool(2, tries=3, shares=shares(2)) as pool:
            tuner.search_on(pool, 2, **fit)
    else:
        import distributed

        with (
            distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
            distributed.Client(cluster) as client,
        ):
            workers = list(client.run(os.getpid).values())

            def kill():
                while len(read_if_any(folder)) < 2:
                    time.sleep(0.02)
                os.kill(workers[0], signal.SIGKILL)

            if kills_worker:
                threading.Thread(target=kill, daemon=True).start()
            tuner.search_on(client.get_executor(), 2, **fit)


def read_if_any(folder):
    """The records of a search that may not have begun."""
    path = Path(folder) / "search" / "runs.jsonl"
    return read_records(path) if path.exists() else []
