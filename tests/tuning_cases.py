"""Models and tuners for searches, importable by the processes that are killed."""

import json
import time

import keras
import numpy as np

from keras_entropy import DenseEntropy, TotalCorrelation
from keras_entropy.tuning import EntropyHyperModel, EntropyTuner, trial_run
from keras_entropy.tuning.ledger import Run

TUNERS = ("random", "grid", "bayesian", "hyperband")


def build(hp):
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(4, activation="tanh", name="encoder"),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(6, name="decoder"),
        ]
    )
    rate = hp.Float("learning_rate", 1e-3, 1e-1, sampling="log")
    model.compile(keras.optimizers.Adam(rate), "mse", metrics=["mae"])
    return model


def plain():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(6, name="b")])
    model.compile("adam", "mse", metrics=["mae"])
    return model


def arrays():
    x = np.random.default_rng(0).normal(1.0, 1.0, (60, 6)).astype("float32")
    return {"x": x[:40], "y": x[:40], "validation_data": (x[40:], x[40:])}


def hypermodel(function=plain, **options):
    return EntropyHyperModel(function, options.pop("regularizer", DenseEntropy), **options)


def several(**options):
    return EntropyHyperModel(build, [DenseEntropy, TotalCorrelation], negative=True, **options)


def values_of(tuner):
    """The settings in the order of the trials."""
    return [tuner.oracle.trials[name].hyperparameters.values for name in tuner.oracle.start_order]


def tuner_options(kind, folder, trials):
    """Of a search whose trials take milliseconds, for each kind of tuner."""
    factors = [1e-3, 3e-3, 1e-2, 3e-2, 1e-1]
    return {
        "hypermodel": hypermodel(placements=["first", "all", "b"], factors=factors if kind == "grid" else (1e-4, 1e-1)),
        "tuner": kind,
        "max_trials": trials,
        "max_epochs": 9,
        "seeds": [0, 1],
        "seed": 3,
        "directory": folder,
        **({"num_initial_points": 3} if kind == "bayesian" else {}),
    }


def train_nothing(log):
    """Replace training by numbers that depend on the setting alone, and note each one in a file."""

    def train(tuner, trial, values, seed, args, kwargs):
        with open(log, "a") as file:
            file.write(json.dumps([sorted(values.items()), seed]) + "\n")
        time.sleep(0.002)
        factor = values.get("entropy/factor", 0.0)
        score = abs(np.log10(factor + 1e-9) + 2) + 0.1 * len(values.get("entropy/placement", "")) + 0.01 * seed
        history = {"val_task_loss": [float(score) / (epoch + 1) for epoch in range(kwargs["epochs"])]}
        return Run(dict(values), seed, history)

    trial_run.train = train


def search_nothing(kind, folder, trials=12):
    """A whole search without training; returns its tuner."""
    train_nothing(f"{folder}.log")
    tuner = EntropyTuner(**tuner_options(kind, folder, trials))
    tuner.search(**arrays(), epochs=2, verbose=0)
    return tuner
