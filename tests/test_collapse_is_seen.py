"""A representation that collapses in training is seen in the log of `EntropyLogger`."""

import keras
import numpy as np
import pytest

from keras_entropy import EntropyLogger, ViewEntropy

L = keras.layers
NAMES = ("code/entropy", "code/effective_rank", "hidden/dead")
FLOOR = np.log(1e-2) / 2  # the entropy of vectors that are all equal


def trained(factor, shared, last, steps=60):
    """The log of a network on two views that share some of three dimensions, before training and after it."""
    first, second = np.random.default_rng(0).normal(size=(2, 64, 3)).astype("float32")
    second[:, :shared] = first[:, :shared]
    hidden = L.Dense(8, "relu", name="hidden")
    encoder = keras.Sequential([hidden, L.Dense(4, name="wide"), last], name="encoder")
    views = [keras.Input((3,)), keras.Input((3,))]
    model = keras.Model(views, keras.ops.stack([encoder(view) for view in views], axis=1))
    draw = np.random.default_rng(1).normal  # the same weights on each backend
    for layer in encoder.layers[:2]:
        kernel, bias = layer.get_weights()
        layer.set_weights([draw(size=kernel.shape) / np.sqrt(len(kernel)), bias])
    kernel, bias = hidden.get_weights()
    kernel[:, :2], bias[:2] = 0, -1  # two units that no input activates
    hidden.set_weights([kernel, bias])
    model.compile(keras.optimizers.Adam(0.1), ViewEntropy(factor))
    logger, before = EntropyLogger(sample=[first, second], representations=["encoder/*"]), {}
    logger.set_model(model)
    logger.on_epoch_end(0, before)

    many = [np.tile(view, (steps, 1)) for view in (first, second)]
    after = model.fit(many, batch_size=64, shuffle=False, verbose=0, callbacks=[logger]).history
    return [
        {name: float(np.squeeze(log[f"representation/encoder/{name}"])) for name in NAMES} for log in (before, after)
    ]


def test_a_collapse_to_a_point_is_an_entropy_at_the_floor():
    """The views agree if all vectors are equal. The effective rank need not see it: it has no scale."""
    before, after = trained(0.0, 0, L.Activation("linear", name="code"))

    assert before["code/entropy"] > FLOOR + 0.8
    assert after["code/entropy"] == pytest.approx(FLOOR, abs=0.02)
    assert before["hidden/dead"] == 2 / 8 <= after["hidden/dead"]


def test_a_collapse_to_a_line_is_an_effective_rank_near_one():
    """With a normalisation each dimension keeps its variance, and all become copies of one; not with entropies."""
    before, after = trained(0.0, 1, L.BatchNormalization(scale=False, momentum=0.5, name="code"))
    assert before["code/effective_rank"] > 3
    assert after["code/effective_rank"] < 1.5  # what is left are functions of the dimension that the views share
    assert after["code/entropy"] < 0.6 * FLOOR

    _, kept = trained(0.5, 1, L.BatchNormalization(scale=False, momentum=0.5, name="code"), steps=100)
    assert kept["code/effective_rank"] > 3.7
    assert kept["code/entropy"] > -0.1
    assert kept["hidden/dead"] >= 2 / 8
