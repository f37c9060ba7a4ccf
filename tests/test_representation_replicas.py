"""Entropies of the global batch: two replicas train as one device does."""

import subprocess
import sys

import pytest
from modes import BACKEND

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(BACKEND == "torch", reason="Keras distributes over devices on TensorFlow and JAX"),
]

DEVICES = {
    "tensorflow": """
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])  # the sums of a second one would have the same keys

def on_two(train):
    with strategy.scope():
        return train()
""",
    "jax": """
import keras

def on_two(train):
    devices = keras.distribution.list_devices()
    assert len(devices) == 2
    keras.distribution.set_distribution(keras.distribution.DataParallel(devices=devices))
    return train()
""",
}
BODY = """
import numpy as np
from keras_entropy import RepresentationEntropy, ViewEntropy
from keras_entropy.study import BarlowTwins, VarianceCovariance, VICReg

L = keras.layers
x = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")

def of_layers():
    layers = [RepresentationEntropy(1.0), RepresentationEntropy(0.5, "coding_rate")]
    layers += [RepresentationEntropy(1.0, momentum=0.9), VarianceCovariance(1.0, 0.5)]
    return keras.Sequential([keras.Input((6,)), L.Dense(4), *layers, L.Dense(1)]), "mse"

def of_views(loss):
    encoder, inputs = L.Dense(4), keras.Input((6,))
    return keras.Model(inputs, keras.ops.stack([encoder(inputs), encoder(0.9 * inputs + 0.1)], axis=1)), loss

def train(make):
    keras.utils.set_random_seed(0)
    model, loss = make()
    model.compile(keras.optimizers.SGD(0.1), loss, jit_compile=False)
    losses = model.fit(x, np.zeros((16, 1)), batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"]
    return losses, model.get_weights()

MAKERS = [of_layers, *(lambda kind=kind: of_views(kind()) for kind in (ViewEntropy, VICReg, BarlowTwins))]
alone = [train(make) for make in MAKERS]
for make, (losses, weights) in zip(MAKERS, alone, strict=True):
    found, of_two = on_two(lambda: train(make))
    np.testing.assert_allclose(found, losses, rtol=1e-4)
    for one, two in zip(weights, of_two, strict=True):
        np.testing.assert_allclose(two, one, rtol=1e-4, atol=1e-6)
print("the same")
"""


def test_two_replicas_train_as_one_device_does(child_environment):
    flags = {"XLA_FLAGS": "--xla_force_host_platform_device_count=2", "TF_CPP_MIN_LOG_LEVEL": "3"}

    done = subprocess.run(
        [sys.executable, "-c", DEVICES[BACKEND] + BODY],
        env={**child_environment, **flags},
        capture_output=True,
        text=True,
        timeout=400,
        check=False,
    )

    assert done.stdout.strip().endswith("the same"), done.stderr[-3000:]
