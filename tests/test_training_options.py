"""Terms and callbacks under the options of optimizers and of `compile`: as a plain function of the kernel trains."""

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import (
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyLogger,
    FactorSchedule,
    SumRegularizer,
    TotalCorrelation,
)

pytestmark = pytest.mark.slow  # each option compiles two training steps with all kinds of terms

L = keras.layers
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(48, 8, 2)).astype("float32")
Y = GENERATOR.normal(size=(48, 3)).astype("float32")


def loss_scale():
    return keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.05), initial_scale=1024.0)


OPTIONS = {
    "gradient accumulation": (lambda: keras.optimizers.SGD(0.05, gradient_accumulation_steps=2), {}),
    "loss scale": (loss_scale, {}),
    "moving average": (lambda: keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5), {}),
    "moving average in training": (
        lambda: keras.optimizers.SGD(0.05, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=3),
        {},
    ),
    "steps per execution": (lambda: keras.optimizers.SGD(0.05), {"steps_per_execution": 2}),
    "automatic loss scale": (lambda: keras.optimizers.SGD(0.05), {"auto_scale_loss": True}),
}
LAYERS = {
    "corner": (lambda term: L.Conv1D(3, 2, kernel_regularizer=term), lambda factor: ConvCornerEntropy(factor, 1e-2)),
    "conv": (
        lambda term: L.Conv1D(4, 3, kernel_regularizer=term),
        lambda factor: ConvEntropy(factor, grid=4, epsilon=1e-2),
    ),
    "dense": (lambda term: L.Dense(5, kernel_regularizer=term), lambda factor: DenseEntropy(factor, epsilon=1e-2)),
    "sum": (
        lambda term: L.Dense(4, kernel_regularizer=term),
        lambda factor: SumRegularizer([DenseEntropy(factor, epsilon=1e-2)]),
    ),
    "correlation": (
        lambda term: L.Dense(3, kernel_regularizer=term),
        lambda factor: TotalCorrelation(factor, epsilon=1e-2),
    ),
}
"""A layer for each kind of regularizer, from its term, and the term from its factor."""


def plain(make):
    """The term with the factor 1/2 as a function of the kernel, without the machinery of a regularizer."""
    term = make(0.5)
    term = term.regularizers[0] if isinstance(term, SumRegularizer) else term
    return lambda w: term.penalty(keras.ops.convert_to_tensor(w))


def trained(option, term, *callbacks):
    optimizer, arguments = OPTIONS[option]
    keras.utils.set_random_seed(0)
    layers = [layer(term(make)) for layer, make in LAYERS.values()]
    model = keras.Sequential([keras.Input((8, 2)), *layers[:2], L.Flatten(), *layers[2:]])
    model.compile(optimizer(), "mse", metrics=["mse"], **arguments)
    fit = {"batch_size": 8, "epochs": 2, "verbose": 0, "shuffle": False, "validation_data": (X[:16], Y[:16])}
    history = model.fit(X, Y, callbacks=list(callbacks), **fit).history
    return [keras.ops.convert_to_numpy(w) for w in model.weights], history


@pytest.mark.parametrize("option", OPTIONS)
def test_terms_train_as_plain_functions(option):
    if BACKEND == "torch" and "execution" in option:
        pytest.skip("Keras refuses steps_per_execution on torch")

    expected, history = trained(option, plain)
    weights, logged = trained(option, lambda make: make(1.0), FactorSchedule(lambda epoch: 0.5), EntropyLogger())

    for found, wanted in zip(weights, expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-5)
    for key in history:
        np.testing.assert_allclose(logged[key], history[key], rtol=1e-4, atol=1e-5, err_msg=key)
    for prefix in ("", "val_"):
        np.testing.assert_allclose(logged[f"{prefix}task_loss"], logged[f"{prefix}mse"], rtol=1e-5)
