"""Every term, layer and loss in `fit` under every dtype policy of Keras: the losses are those of float32, rounded."""

import functools

import keras
import numpy as np
import pytest
from modes import BACKEND, float64_enabled

from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    CorrelatedRegressor,
    DenseEntropy,
    DualDense,
    EntropyActivation,
    EntropyLogger,
    FactorSchedule,
    RepresentationEntropy,
    SemiSupervisedCrossentropy,
    SigmoidEntropy,
    SoftmaxEntropy,
    SumRegularizer,
    TotalCorrelation,
    ViewEntropy,
)
from keras_entropy.study import BarlowTwins, VICReg

pytestmark = [] if BACKEND == "torch" else [pytest.mark.slow]  # which compile forty steps

L = keras.layers
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(32, 8, 2)).astype("float32")
Y = GENERATOR.normal(size=(32, 3)).astype("float32")

# Relative spacing of the numbers that a policy computes with, times the number of roundings that add up.
TOLERANCES = {"mixed_float16": 1e-2, "float16": 1e-2, "mixed_bfloat16": 4e-2, "bfloat16": 4e-2, "float64": 1e-4}


def terms():
    """All terms and layers in one model."""
    both = SumRegularizer([DenseEntropy(0.1, 0.3), TotalCorrelation(0.1, epsilon=0.3), keras.regularizers.L2(0.01)])
    layers = [
        L.Conv1D(3, 2, kernel_regularizer=ConvEntropy(0.1, grid=4, epsilon=0.3, every=2)),
        L.Conv1D(3, 2, kernel_regularizer=ConvCornerEntropy(0.1, 0.3), activation="tanh"),
        L.Flatten(),
        L.Dense(6, kernel_regularizer=both, activity_regularizer=ActivationEntropy("tanh", 0.1, epsilon=0.1)),
        EntropyActivation("gelu", 0.1, epsilon=0.1),
        RepresentationEntropy(0.1, epsilon=0.1, momentum=0.5),
        DualDense(3, decision_weight=0.1),
    ]
    model = keras.Sequential([keras.Input((8, 2)), *layers])
    return model, "mse", Y, ["mse"]


def of_logits(loss, y):
    def make():
        return keras.Sequential([keras.Input((8, 2)), L.Flatten(), L.Dense(3)]), loss(), y, []

    return make


def of_views(loss):
    def make():
        x = keras.Input((8, 2))
        encoder = L.Dense(3)
        return keras.Model(x, keras.ops.stack([encoder(x[:, 0]), encoder(x[:, 1])], axis=1)), loss(), None, []

    return make


def regressor():
    network = keras.Sequential([keras.Input((8, 2)), L.Flatten(), L.Dense(3, kernel_regularizer=DenseEntropy(0.1))])
    return CorrelatedRegressor(network, 3, correlation_penalty=0.1), None, Y, []


LABELS = np.resize([0, 1, 2, -1], 32)
MODELS = {
    "terms and layers": terms,
    "sigmoid entropy": of_logits(SigmoidEntropy, np.zeros(32)),
    "softmax entropy": of_logits(SoftmaxEntropy, np.zeros(32)),
    "semi-supervised": of_logits(lambda: SemiSupervisedCrossentropy(unlabelled_weight=0.5), LABELS),
    "views": of_views(ViewEntropy),
    "VICReg": of_views(VICReg),
    "Barlow Twins": of_views(BarlowTwins),
    "regressor": regressor,
}
HAVE_TERMS = ("terms and layers", "regressor")


@functools.cache
def trained(name, policy):
    """The history of two epochs of two steps, from the same weights in every policy."""
    keras.config.set_dtype_policy("float32")
    keras.utils.set_random_seed(0)
    weights = MODELS[name]()[0].get_weights()
    keras.config.set_dtype_policy(policy)
    keras.utils.clear_session()  # the same names of layers
    with float64_enabled(policy == "float64"):
        model, loss, y, metrics = MODELS[name]()
        model.set_weights(weights)
        arguments = {} if loss is None else {"loss": loss}
        # A loss scale that leaves out no step.
        optimizer = keras.optimizers.SGD(1e-2)
        if policy == "mixed_float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer, initial_scale=64.0)
        jit = BACKEND == "jax"  # XLA on TensorFlow takes seconds
        model.compile(optimizer, metrics=metrics, jit_compile=jit, **arguments)
        schedule = FactorSchedule(lambda epoch: 1.0 - 0.5 * epoch)
        callbacks = [schedule, EntropyLogger()] if name in HAVE_TERMS else [EntropyLogger()]
        fit = {"batch_size": 16, "epochs": 2, "verbose": 0, "shuffle": False, "callbacks": callbacks}
        before = model.get_weights()
        history = (model.fit(X, y, **fit) if y is not None else model.fit(X, **fit)).history
        assert all((a != b).any() for a, b in zip(before, model.get_weights(), strict=True) if b.ndim > 1)
    return history


@pytest.mark.parametrize("policy", TOLERANCES)
@pytest.mark.parametrize("name", MODELS)
def test_the_losses_are_those_of_float32(name, policy):
    expected, history = trained(name, "float32"), trained(name, policy)

    assert list(history) == list(expected)
    tolerance = TOLERANCES[policy]
    for entry in expected:
        assert np.isfinite(history[entry]).all()
        np.testing.assert_allclose(history[entry], expected[entry], rtol=tolerance, atol=tolerance, err_msg=entry)
    if "mse" in expected:
        np.testing.assert_allclose(history["task_loss"], history["mse"], rtol=tolerance)
