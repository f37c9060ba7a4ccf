"""Build functions and data for studies, which processes that train can import; and a study folder without training."""

import os
import signal

import keras
import numpy as np

from keras_entropy import _sealed
from keras_entropy.runs.records import RUNS, RunRecords
from keras_entropy.study import RunRecord
from keras_entropy.study.folder import DESCRIPTION, SCHEMA


def build(width=4, learning_rate=1e-2, dropout=None, optimizer="adam", eager=False):
    """A small autoencoder; eager, where a test does not depend on the compiled step, which takes longer than it."""
    model = keras.Sequential(
        [
            keras.Input((6,)),
            keras.layers.Dense(width, activation="tanh", name="encoder"),
            *([keras.layers.Dropout(dropout)] if dropout is not None else []),
            keras.layers.Dense(6, name="decoder"),
        ]
    )
    optimizers = {"adam": keras.optimizers.Adam, "sgd": keras.optimizers.SGD}
    model.compile(optimizers[optimizer](learning_rate), "mse", metrics=["mae"], run_eagerly=eager)
    return model


def data():
    x = np.random.default_rng(0).normal(1.0, 1.0, (60, 6)).astype("float32")
    x[:, 3:] = x[:, :3]
    return x[:40], x[:40], x[40:], x[40:]


def data_of_seed(seed):
    x = np.random.default_rng(seed).normal(size=(30, 6)).astype("float32")
    return x[:20], x[:20], x[20:], x[20:]


def build_or_fail(fails="", **arguments):
    if fails == "raise":
        raise ValueError("no such <width>\nat all")
    if fails == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return build(**arguments)


class Redrawn:
    """Inputs as they are, after random numbers of all kinds have been drawn."""

    def __call__(self, x_train):
        import random

        random.random()
        np.random.random(3)  # noqa: NPY002 - the generator that Keras shuffles with
        keras.random.normal((2,))
        return lambda x: x


def write_study(folder, arms=("none", "tc"), widths=(4, 8), seeds=4, keep=lambda record: True, **changes):
    """A study's folder with its plan, and the runs of it that are kept."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(0)
    grid = {"width": list(widths)} if widths else {}
    plan = {
        "arms": [
            {
                "name": name, "placement": "first", "regularizer": f"R{i}" if i else None, "gradient": True,
                "grid": grid, "tune": {"rate": [0.1, 0.2, 0.3] if i else [0.1, 0.2]},
            }
            for i, name in enumerate(arms)
        ],
        "baseline": arms[0], "metric": "val_task_loss", "lower_is_better": True, "grid": grid,
        "tune": {"rate": [0.1, 0.2]}, "seeds": list(range(seeds)), "tune_seeds": [100], "epochs": 9, "batch_size": 32,
        "monitor": "val_task_loss", "patience": 3,
    }  # fmt: skip
    _sealed.write(folder / DESCRIPTION, SCHEMA, plan | changes)
    records = []
    for i, arm in enumerate(plan["arms"]):
        for width in widths or (None,):
            point = {"width": width} if width else {}
            for rate in arm["tune"]["rate"]:
                history = {"val_task_loss": [rate]}
                records.append(
                    RunRecord(
                        arm=arm["name"], seed=100, role="tune", point=point, tuned={"rate": rate}, history=history
                    )
                )
            for seed in range(seeds):
                n = 6 + (seed + i) % 4
                values = 1 / np.arange(1, n + 1) + 0.1 * seed - 0.2 * i + 0.01 * generator.standard_normal(n) + 0.5
                history = {"loss": values.tolist(), "val_task_loss": values.tolist()}
                tuned = {"rate": 0.2}
                records.append(
                    RunRecord(
                        arm=arm["name"], seed=seed, point=point, tuned=tuned, history=history, stopped_early=n < 9,
                        wall_seconds=2.0, cpu_seconds=3.0, device="cpu", versions={"keras": "3.12"},
                    )
                )  # fmt: skip
    records = [record for record in records if keep(record)]
    if records:
        RunRecords(folder / RUNS).add(*records)
    return folder
