"""`VarianceCovariance`: the terms of VICReg for a hidden layer, with the vectors of `RepresentationEntropy`."""

import keras
import numpy as np
import pytest
from modes import EACH_MODE, value_and_gradient
from oracles import central_differences

from keras_entropy.runs.identity import identity
from keras_entropy.study import VarianceCovariance

L = keras.layers
ops = keras.ops


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32") * np.linspace(
        0.3, 1.5, shape[-1], dtype="f"
    )


def host(x):
    return np.asarray(ops.convert_to_numpy(x))


def oracle(z, variance=2.0, covariance=0.5):
    """Bardes et al. (2022), eq. 1 to 4, loop by loop."""
    z = np.asarray(z, np.float64)
    n, d = z.shape
    c = sum(np.outer(row, row) for row in z - z.mean(0)) / (n - 1)
    hinge = sum(max(0, 1 - np.sqrt(c[j, j] + 1e-4)) for j in range(d)) / d
    return variance * hinge + covariance * sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d


def term_of(x, mask=None, **options):
    with keras.StatelessScope(collect_losses=True) as scope:
        VarianceCovariance(2.0, 0.5, **options)(x, mask=mask)
    return scope.losses[0]


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("shape", [(20, 3), (4, 7)])
def test_value_and_gradient_are_those_of_the_definition(shape, mode):
    x = inputs(*shape).astype("float64")

    value, gradient = value_and_gradient(term_of, x, mode)

    np.testing.assert_allclose(value, oracle(x), rtol=1e-5)
    slopes = central_differences(oracle, x)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-3, atol=1e-4 * np.abs(slopes).max())


def test_feature_maps_masks_and_channels_first():
    x = inputs(8, 4, 4, 3)
    pooled, first = x.mean(axis=(1, 2)), np.moveaxis(x, -1, 1)
    np.testing.assert_allclose(host(term_of(x)), oracle(pooled), rtol=1e-5)
    np.testing.assert_allclose(host(term_of(first, data_format="channels_first")), oracle(pooled), rtol=1e-5)
    np.testing.assert_allclose(host(term_of(x, pool=None)), oracle(x.reshape(-1, 3)), rtol=1e-5)

    rows = inputs(8, 3)
    counts = np.arange(8) % 3 > 0
    rows[~counts] = np.nan
    np.testing.assert_allclose(host(term_of(rows, ops.convert_to_tensor(counts))), oracle(rows[counts]), rtol=1e-5)


@pytest.mark.parametrize("mask", [None, np.zeros(1, bool)])
def test_a_batch_without_a_covariance_has_no_term(mask):
    def of_one(x):
        return term_of(x, None if mask is None else ops.convert_to_tensor(mask))

    value, gradient = value_and_gradient(of_one, inputs(1, 4))

    assert value == 0
    np.testing.assert_array_equal(gradient, 0)


def test_it_trains_saves_and_loads(tmp_path, seeded):
    """The task needs no dimension; with the term all have a deviation of at least 1 and no correlation."""
    x = inputs(64, 6)
    layer = VarianceCovariance(2.0, 1.0, name="mine")
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), layer, L.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")
    model.fit(np.tile(x, (100, 1)), np.zeros((6400, 1)), batch_size=64, shuffle=False, verbose=0)

    found = np.cov(host(model.layers[0](x)), rowvar=False)
    assert np.diag(found).min() > 0.95
    assert np.abs(found - np.diag(np.diag(found))).max() < 0.05
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    config = loaded.get_layer("mine").get_config()
    assert config == layer.get_config()
    own = {"variance": 2.0, "covariance": 1.0, "pool": "mean", "data_format": "channels_last"}
    assert own.items() <= config.items()
    assert identity(loaded.get_layer("mine")) == identity(layer)
    y = np.zeros((64, 1))
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), VarianceCovariance(1.0, 1.0), L.Dense(1, dtype="float32")])
    model.compile("sgd", "mse")

    assert np.isfinite(model.fit(inputs(9, 6), np.zeros((9, 1)), batch_size=4, verbose=0).history["loss"]).all()


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: VarianceCovariance(-1.0, 1.0), "`variance`.*at least 0"),
        (lambda: VarianceCovariance(1.0, np.nan), "`covariance`.*nan"),
        (lambda: VarianceCovariance(1.0, 1.0, pool="max"), "`pool`.*'mean'"),
        (lambda: VarianceCovariance(1.0, 1.0)(keras.Input((None,))), "VarianceCovariance should have a known size"),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
