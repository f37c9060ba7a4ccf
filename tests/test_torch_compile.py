"""`jit_compile=True` on torch: terms and callbacks train as without it."""

import functools

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import ConvEntropy, DenseEntropy, EntropyLogger, FactorSchedule

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BACKEND != "torch", reason="torch.compile"),
    # Of torch, about the code of Keras and of the Python library.
    pytest.mark.filterwarnings("ignore:Dynamo:UserWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning:torch"),
    pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning"),
]

L = keras.layers
X = np.random.default_rng(0).normal(size=(8, 3, 4)).astype("float32")


def trained(compiled):
    keras.utils.set_random_seed(0)
    layers = [
        L.Conv1D(3, 2, name="conv", kernel_regularizer=ConvEntropy(1.0, grid=4, epsilon=1e-2)),
        L.LSTM(3, name="lstm", kernel_regularizer=DenseEntropy(1.0, epsilon=1e-2)),
        L.Dense(3, name="dense", kernel_regularizer=DenseEntropy(1.0, epsilon=1e-2, every=2)),
    ]
    model = keras.Sequential([keras.Input((3, 4)), *layers])
    model.compile(keras.optimizers.SGD(0.05), "mse", jit_compile=compiled)
    callbacks = [FactorSchedule(lambda epoch: 0.5 + epoch), EntropyLogger()]
    fit = {"batch_size": 2, "epochs": 2, "verbose": 0, "shuffle": False}
    return model, model.fit(X, X[:, 0, :3], callbacks=callbacks, **fit).history


def test_trains_as_without(monkeypatch):
    import torch

    # Dynamo, which decides what runs, without the C++ code of Inductor, which compiles for a minute.
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))
    torch._dynamo.reset()

    model, history = trained(compiled=True)
    expected, wanted = trained(compiled=False)

    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    for found, weight in zip(model.get_weights(), expected.get_weights(), strict=True):
        np.testing.assert_allclose(found, weight, rtol=1e-5, atol=1e-6)
    assert list(history) == list(wanted)
    for name in history:
        np.testing.assert_allclose(history[name], wanted[name], rtol=1e-5, atol=1e-6, err_msg=name)
