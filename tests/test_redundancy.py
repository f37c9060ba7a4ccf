"""What a unit adds to the log-volume of its layer."""

import keras
import numpy as np
import pytest

from keras_entropy import functional
from keras_entropy.profile.redundancy import redundant_units

L = keras.layers
EPSILON = 1e-3


def dense(kernel):
    model = keras.Sequential([keras.Input(kernel.shape[:1]), L.Dense(kernel.shape[1], use_bias=False, name="a")])
    model.layers[0].set_weights([kernel])
    return model


def kernel(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


@pytest.mark.parametrize("shape", [(7, 4), (5, 5), (3, 6)])
def test_a_unit_adds_what_the_volume_loses_without_it(shape):
    values = kernel(shape)
    found = redundant_units(dense(values), "a", EPSILON)

    left = list(range(shape[1]))

    def volume(units):
        missing = max(0, len(units) - shape[0])  # dimensions that only the noise has
        part = values[:, units].astype("float64")
        return float(functional.dense_log_volume(part, epsilon=EPSILON)) + missing * np.log(EPSILON) if units else 0.0

    for unit, added in zip(found.order, found.added, strict=True):
        losses = {i: volume(left) - volume([j for j in left if j != i]) for i in left}
        assert unit == min(losses, key=losses.get)
        assert added == pytest.approx(losses[unit], rel=1e-6)
        left.remove(unit)
    assert sum(found.added) == pytest.approx(volume(list(range(shape[1]))))


@pytest.mark.parametrize(("strides", "groups"), [(1, 1), (2, 1), (1, 2)])
def test_a_filter_adds_what_the_volume_loses_without_it(strides, groups):
    layer = L.Conv2D(4, 3, strides=strides, groups=groups, use_bias=False, name="a")
    model = keras.Sequential([keras.Input((8, 8, 4 * groups)), layer])
    values = kernel((3, 3, 4, 4))
    layer.set_weights([values])
    found = redundant_units(model, "a", EPSILON)

    def volume(filters):  # of filters of one group
        part = values[..., filters].astype("float64")
        return float(functional.conv_log_volume(part, strides=strides, epsilon=EPSILON))

    size = 4 // groups
    first, added = found.order[0], found.added[0]
    group = [i for i in range(4) if i // size == first // size]
    assert added == pytest.approx(volume(group) - volume([i for i in group if i != first]))
    whole = functional.conv_log_volume(values.astype("float64"), strides=strides, groups=groups, epsilon=EPSILON)
    assert sum(found.added) == pytest.approx(float(whole))


def test_of_two_equal_units_one_is_redundant():
    values = kernel((8, 5))
    values[:, 3] = values[:, 1]
    found = redundant_units(dense(values), "a")
    assert found.order[0] in (1, 3)
    assert found.added[0] == pytest.approx(np.log(1e-4 * np.sqrt(2)), abs=1e-3)
    assert min(found.added[1:]) > -2


def test_a_shifted_filter_is_redundant():
    values = kernel((3, 3, 4, 3))
    values[2, :, :, 2], values[0, :, :, 2] = values[1, :, :, 0], 0
    values[1, :, :, 2], values[2, :, :, 0] = values[0, :, :, 0], 0
    layer = L.Conv2D(3, 3, use_bias=False, name="a")
    model = keras.Sequential([keras.Input((8, 8, 4)), layer])
    layer.set_weights([values])
    found = redundant_units(model, "a")
    assert found.order[0] in (0, 2)
    assert found.added[0] < -8


@pytest.mark.parametrize("layer", ["b", "norm"])
def test_an_unknown_layer_and_a_scale_raise_an_error(layer):
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="a"), L.BatchNormalization(name="norm")])
    with pytest.raises(ValueError, match="layer"):
        redundant_units(model, layer)
