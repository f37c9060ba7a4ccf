"""Runs that are trained together on JAX are those that are trained alone."""

import dataclasses
import functools
from collections.abc import Callable

import keras
import numpy as np
import pytest

from keras_entropy import DenseEntropy, TotalCorrelation, models
from keras_entropy.study import Arm, Study, single_run
from keras_entropy.study.single_run import Task

pytestmark = pytest.mark.skipif(keras.backend.backend() != "jax", reason="replicas are trained on JAX only")

if keras.backend.backend() == "jax":
    from keras_entropy.study import replicas


@pytest.fixture(params=["one by one", "at once"])
def at_once(request, monkeypatch):
    """As on a processor, and as on an accelerator."""
    monkeypatch.setattr(replicas, "_at_once", lambda: request.param == "at once")
    return request.param == "at once"


def autoencoder(learning_rate=1e-2, momentum=None):
    model = models.autoencoder((6,), width=4)
    sgd = momentum is not None
    model.compile(keras.optimizers.SGD(learning_rate, momentum) if sgd else keras.optimizers.Adam(learning_rate), "mse")
    return model


def points():
    return points_of_seed(0)


def points_of_seed(seed):
    x = np.random.default_rng(seed).normal(size=(60, 6)) + 1  # float64, which Keras feeds as float32
    return x[:42], x[:42], x[42:], x[42:]  # with batches of 16, each last one is smaller


def cnn(dropout=0.5, learning_rate=1e-2):
    model = keras.Sequential(
        [
            keras.Input((6, 6, 1)),
            keras.layers.Conv2D(4, 3, use_bias=False, name="conv"),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(dropout),
            keras.layers.Dense(3, activation="softmax", name="head"),
        ]
    )
    adam = keras.optimizers.Adam(learning_rate)
    model.compile(adam, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def images():
    random = np.random.default_rng(0)
    y = random.integers(0, 3, 48)
    x = (random.normal(size=(48, 6, 6, 1)) + y[:, None, None, None]).astype("float32")
    return x[:32], y[:32], x[32:], y[32:]


def job(build, arm, data, **settings):
    grid = {"factor": [1.0]} if arm.takes_factor else {}
    return Study(build, [arm], [0], **{"data": data, "grid": grid, "epochs": 3, "batch_size": 16, **settings})._job()


def tasks(arm, *values):
    """One run for each value, with a seed of its own."""
    return [Task(arm.name, seed, "report", value, {}) for seed, value in enumerate(values)]


def assert_same(found, expected, bits):
    assert [record.key for record in found] == [record.key for record in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.replicas, other.replicas) == (len(found), 1)
        same = dataclasses.replace(one, wall_seconds=other.wall_seconds, cpu_seconds=other.cpu_seconds, replicas=1)
        if not bits:
            assert list(one.history) == list(other.history)
            for name, values in other.history.items():
                np.testing.assert_allclose(one.history[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
            same = dataclasses.replace(same, history=other.history, final_weights=other.final_weights)
        assert repr(same) == repr(other)  # NaN is equal to NaN here


@dataclasses.dataclass(frozen=True)
class Case:
    build: Callable
    data: Callable
    arm: Arm
    values: list
    settings: dict = dataclasses.field(default_factory=dict)

    @property
    def job(self):
        return job(self.build, self.arm, self.data, **self.settings)


CASES = {
    "seeds, with data of their own": Case(autoencoder, points_of_seed, Arm("none"), [{}, {}]),
    "optimizers": Case(
        autoencoder,
        points,
        Arm("L2", "all", keras.regularizers.L2),
        [
            {"factor": 0.1, "learning_rate": 1e-2, "momentum": 0.9},
            {"factor": 0.01, "learning_rate": 1e-3, "momentum": 0.5},
        ],
    ),
    "factors": Case(autoencoder, points, Arm("volume", "first", DenseEntropy), [{"factor": 0.1}, {"factor": 0}]),
    "images": Case(
        cnn,
        images,
        Arm("correlation", "first", TotalCorrelation),
        [{"factor": 0.1, "dropout": 0.5}, {"factor": 1.0, "dropout": 0.25}],
    ),
    "every second step": Case(autoencoder, points, Arm("volume", "first", DenseEntropy(0.1, every=2)), [{}, {}]),
    "one stops early": Case(
        autoencoder,
        points,
        Arm("none", momentum=0.5),
        [{"learning_rate": 1e-2}, {"learning_rate": 1e-6}],
        {"patience": 1, "min_delta": 1e-4},
    ),
    "one diverges": Case(
        autoencoder, points, Arm("none", momentum=0.0), [{"learning_rate": 1e30}, {"learning_rate": 1e-2}]
    ),
}


@functools.cache
def alone(case):
    return [single_run.train(CASES[case].job, task) for task in tasks(CASES[case].arm, *CASES[case].values)]


@pytest.mark.parametrize("name", CASES)
def test_runs_are_those_trained_alone(name, at_once):
    case = CASES[name]
    found = replicas.train_together(case.job, tasks(case.arm, *case.values))
    assert found[0].final_weights != found[1].final_weights
    # In another order sums are rounded otherwise, and so are products with a number that is no constant.
    assert_same(found, alone(name), bits=not at_once and case.values[0] == case.values[1])


def test_the_cases_are_what_they_are_called():
    assert [record.stopped_early for record in alone("one stops early")] == [False, True]
    assert [record.status for record in alone("one diverges")] == ["diverged", "finished"]
    others = [record for name in CASES if name != "one diverges" for record in alone(name)]
    assert all(record.ok and not record.warnings for record in others)


class OwnStep(keras.Sequential):
    def train_step(self, *arguments):
        return super().train_step(*arguments)


class Loader(keras.utils.PyDataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        x = points()[0]
        return x, x


def own_step():
    model = OwnStep([keras.Input((6,)), keras.layers.Dense(6)])
    model.compile("adam", "mse")
    return model


def eager():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6)])
    model.compile("adam", "mse", run_eagerly=True)
    return model


def loader():
    return Loader(), None, *points()[2:]


def more_points(seed):
    return *points()[:2], *(x[seed:] for x in points()[2:])


def build_or_fail(rate):
    if rate == 0.5:
        raise ValueError("no such rate")
    return autoencoder()


@pytest.fixture
def trained_alone(monkeypatch):
    """The runs that are trained alone, which take no time here."""
    found = []

    def train(job, task):
        found.append(task)
        return task.record(warnings=["first"])

    monkeypatch.setattr(single_run, "train", train)
    return found


@pytest.mark.parametrize(
    ("build", "data", "values", "settings", "reason"),
    [
        (autoencoder, points, {}, {"callbacks": list}, "the study has callbacks of its own"),
        (own_step, points, {}, {}, "OwnStep has train_step of its own"),
        (eager, points, {}, {}, "the model has run_eagerly=True or jit_compile=False"),
        (autoencoder, loader, {}, {}, "the data are not arrays, but Loader and NoneType"),
        (autoencoder, more_points, {}, {}, "no other run of its batch has the same steps"),
        (cnn, images, {"dropout": [0.0, 0.5]}, {}, "no other run of its batch has the same steps"),
        (
            autoencoder,
            points,
            {},
            {"patience": 1, "monitor": "no_loss"},
            "KeyError: \"`monitor`='no_loss' is not among the logs",
        ),
    ],
)
def test_what_is_no_common_program_is_trained_alone(build, data, values, settings, reason, trained_alone):
    arm = Arm("none")
    batch = tasks(arm, *({name: v[i] for name, v in values.items()} for i in range(2)))
    found = replicas.train_together(job(build, arm, data, epochs=1, **settings), batch)
    assert trained_alone == batch
    for record in found:
        assert record.replicas == 1
        assert record.warnings[0] == "first"
        assert record.warnings[1].startswith(f"EntropyWarning: trained alone, not with other runs: {reason}")


def test_a_run_that_cannot_be_built_leaves_the_others_alone(at_once):
    arm = Arm("none")
    batch = tasks(arm, {"rate": 0.1}, {"rate": 0.5}, {"rate": 0.3})
    found = replicas.train_together(job(build_or_fail, arm, points, epochs=1), batch)
    assert [record.status for record in found] == ["finished", "failed", "finished"]
    assert [record.replicas for record in found] == [2, 1, 2]
    assert found[1].reason.startswith("ValueError: no such rate")
    assert found[1].traceback


def test_runs_of_two_programs_in_a_batch_are_trained_in_two_parts(trained_alone):
    arm = Arm("none")
    batch = tasks(arm, *({"dropout": dropout} for dropout in (0.0, 0.5, 0.0, 0.25)))
    found = replicas.train_together(job(cnn, arm, images, epochs=1), batch)
    assert [(record.seed, record.replicas) for record in found] == [(0, 2), (1, 2), (2, 2), (3, 2)]
    assert trained_alone == []


def test_random_numbers_of_the_caller_are_left_as_they_are():
    arm = Arm("none")
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    replicas.train_together(job(autoencoder, arm, points, callbacks=None, epochs=1), tasks(arm, {}, {}))
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_batches_hold_runs_that_may_be_one_program():
    arm, other = Arm("volume", regularizer=DenseEntropy), Arm("none")
    values = [{"factor": factor, "width": width} for width in (4, 8) for factor in (0, 0.1)]
    batch = [task for seed in range(3) for one in (arm, other) for task in of_seed(one, seed, values)]
    found = replicas.grouped(batch, 4)
    assert sorted(map(id, batch)) == sorted(id(task) for tasks in found for task in tasks)
    assert [len(tasks) for tasks in found] == [3] * 8
    for tasks in found:
        assert len({(task.arm, task.values["width"]) for task in tasks}) == 1
    assert [tasks[0].seed for tasks in found] == [0, 0, 0, 0, 1, 1, 1, 1]


def of_seed(arm, seed, values):
    return [Task(arm.name, seed, "report", {}, value) for value in values]
