"""The order of the data is the same in every form in which `fit` reads them."""

import keras
import numpy as np
import pytest

from keras_entropy import _backend
from keras_entropy.runs import training
from keras_entropy.runs.data_order import ordered
from keras_entropy.runs.watch import Watch
from keras_entropy.study import fingerprint

L = keras.layers
GENERATOR = np.random.default_rng(0)
ROWS = 43
X = GENERATOR.normal(size=(ROWS, 6)).astype("float32")
Y = GENERATOR.integers(0, 3, size=ROWS)
WEIGHT = GENERATOR.uniform(size=ROWS)


def one_input(**settings):
    model = keras.Sequential([keras.Input((6,)), L.Dense(5, activation="tanh"), L.Dropout(0.3), L.Dense(3)])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, weighted_metrics=["accuracy"], **settings)
    return model


def two_inputs():
    inputs = {"a": keras.Input((6,), name="a"), "b": keras.Input((2,), name="b")}
    hidden = L.Dense(5, activation="tanh")(L.Concatenate()([inputs["a"], inputs["b"]]))
    model = keras.Model(inputs, {"c": L.Dense(3, name="c")(hidden), "d": L.Dense(1, name="d")(hidden)})
    model.compile("adam", {"c": keras.losses.SparseCategoricalCrossentropy(from_logits=True), "d": "mse"})
    return model


def list_of_inputs():
    inputs = [keras.Input((6,)), keras.Input((2,))]
    model = keras.Model(inputs, L.Dense(1)(L.Concatenate()(inputs)))
    model.compile("sgd", "mse")
    return model


def penalty_alone():
    model = keras.Sequential([keras.Input((6,)), L.Dense(5, activity_regularizer="l2", kernel_regularizer="l2")])
    model.compile("sgd")  # without a loss
    return model


TWO = ({"a": X, "b": X[:, :2]}, {"c": Y, "d": X[:, :1]}, {"c": WEIGHT, "d": WEIGHT[::-1]})
CASES = {
    "arrays": (one_input, {"x": X, "y": Y, "validation_data": (X[:9], Y[:9])}),
    "batches of equal size": (one_input, {"x": X[:32], "y": Y[:32]}),
    "in order": (one_input, {"x": X, "y": Y, "shuffle": False}),
    "float64 and bytes": (one_input, {"x": X.astype("float64"), "y": Y.astype("uint8"), "validation_split": 0.3}),
    "weights": (one_input, {"x": X, "y": Y, "sample_weight": WEIGHT, "validation_data": (X, Y, WEIGHT)}),
    "validation in larger batches": (
        one_input,
        {"x": X, "y": Y, "validation_data": [X, Y], "validation_batch_size": 20},
    ),
    "steps of validation": (one_input, {"x": X, "y": Y, "validation_data": (X, Y), "validation_steps": 2}),
    "a class without a weight": (one_input, {"x": X, "y": Y, "class_weight": {0: 2.0, 1: 0.5}}),
    "two steps in one execution": (
        lambda: one_input(steps_per_execution=2),
        {"x": X, "y": Y, "validation_data": (X, Y)},
    ),
    "dicts": (two_inputs, {"x": TWO[0], "y": TWO[1], "sample_weight": TWO[2], "validation_data": TWO}),
    "lists": (list_of_inputs, {"x": [X, X[:, :2]], "y": X[:, :1], "validation_data": ([X, X[:, :2]], X[:, :1])}),
    "no targets": (penalty_alone, {"x": X}),
}


def trained(name, **changes):
    build, arguments = CASES[name]
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(3)
    model, watch = build(), Watch()
    training.fit(model, {**arguments, "epochs": 3, "batch_size": 8, **changes}, 1, watch)
    return repr(watch.history), fingerprint(model)


@pytest.mark.filterwarnings("ignore:EntropyLogger cannot log task_loss")
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="the other backends read one form")
@pytest.mark.parametrize("name", CASES)
def test_a_source_of_the_backend_gives_the_bits_of_the_batches(name, monkeypatch):
    found = trained(name)

    for form in ("batches", "endless_batches"):
        monkeypatch.setattr(type(_backend.framework()), form, lambda *_: None)

    assert found == trained(name)


def test_every_epoch_reads_each_row_once_in_an_order_of_its_own():
    rows = np.arange(ROWS)
    _, batches = ordered({"x": X, "y": rows, "batch_size": 8}, 5, one_input())
    seen = []
    for epoch in range(2):
        batches.begin(epoch)
        seen.append(np.concatenate([batches[i][1] for i in range(len(batches))]))

    assert all(sorted(order) == list(rows) for order in seen)
    assert list(seen[0]) != list(seen[1])
