"""Run by `test_two_devices.py` in a process of its own: a model trains on one device, and as well on two."""

import sys
import warnings

if sys.argv[1] == "MirroredStrategy":
    import tensorflow as tf

    half = tf.config.LogicalDeviceConfiguration()
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], [half, half])

import keras
import numpy as np

from keras_entropy import (
    ConvCornerEntropy,
    DenseEntropy,
    EntropyActivation,
    EntropyLogger,
    EntropyWarning,
    FactorSchedule,
)

L = keras.layers
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(16, 4, 2)).astype("float32")
Y = GENERATOR.normal(size=(16, 4)).astype("float32")


def trained(is_placed=lambda kernel: True):
    """The weights and the history of a model with terms, whose kernels have been placed as they should."""
    keras.utils.set_random_seed(0)
    layers = [
        L.Conv1D(4, 2, name="conv", kernel_regularizer=ConvCornerEntropy(1.0, 1e-2, every=2)),
        L.Flatten(),
        EntropyActivation("tanh", 0.1, name="slope"),
        L.Dense(4, name="dense", kernel_regularizer=DenseEntropy(1.0, epsilon=1e-2)),
    ]
    model = keras.Sequential([keras.Input((4, 2)), *layers])
    assert all(is_placed(layer.kernel.value) for layer in (layers[0], layers[-1]))
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), "mse", metrics=["mae"])
    callbacks = [FactorSchedule(lambda epoch: 0.5 + epoch), EntropyLogger()]
    fit = {"batch_size": 8, "epochs": 2, "verbose": 0, "shuffle": False, "validation_data": (X[:8], Y[:8])}
    history = model.fit(X, Y, callbacks=callbacks, **fit).history
    return model.get_weights(), history


def scopes():
    """Each way to train on two devices: its scope, and whether a kernel has been placed on both."""
    if sys.argv[1] == "MirroredStrategy":
        strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
        yield strategy.scope(), lambda kernel: len(kernel.values) == 2
        return
    devices = keras.distribution.list_devices()
    parallel = keras.distribution.DataParallel(devices=devices)
    yield parallel.scope(), lambda kernel: len(kernel.sharding.device_set) == 2
    layouts = keras.distribution.LayoutMap(keras.distribution.DeviceMesh((1, 2), ("batch", "model"), devices))
    layouts[".*conv/kernel"] = (None, None, "model")
    layouts[".*dense/kernel"] = ("model", None)
    parallel = keras.distribution.ModelParallel(layout_map=layouts, batch_dim_name="batch")
    yield parallel.scope(), lambda kernel: not kernel.sharding.is_fully_replicated


def main():
    warnings.simplefilter("error", EntropyWarning)
    weights, history = trained()
    assert {"task_loss", "val_task_loss", "entropy/conv", "entropy_penalty", "entropy_multiplier"} <= set(history)
    for scope, is_placed in scopes():
        with scope:
            found, logged = trained(is_placed)
        for one, two in zip(weights, found, strict=True):
            np.testing.assert_allclose(two, one, rtol=1e-5, atol=1e-6)
        assert list(logged) == list(history)
        for name in history:
            np.testing.assert_allclose(logged[name], history[name], rtol=1e-5, atol=1e-6, err_msg=name)
        print("equal on one and on two devices")


if __name__ == "__main__":
    main()
