"""Losses of two views: `ViewEntropy`, and its controls VICReg and Barlow Twins."""

import keras
import numpy as np
import pytest
from keras.src.backend import set_keras_mask
from modes import EACH_MODE, value_and_gradient
from oracles import central_differences

from keras_entropy import FactorSchedule, RepresentationEntropy, ViewEntropy, functional
from keras_entropy.runs.identity import identity
from keras_entropy.study import BarlowTwins, VICReg

L = keras.layers
ops = keras.ops


def views(n=20, d=3, seed=0):
    random = np.random.default_rng(seed)
    z = random.normal(size=(n, 1, d)) * np.arange(1, d + 1)
    return (z + 0.3 * random.normal(size=(n, 2, d))).astype("float32")


def host(x):
    return np.asarray(ops.convert_to_numpy(x))


def view_entropy(z, factor=0.5, epsilon=1e-2):
    first, second = np.moveaxis(np.asarray(z, np.float64), 1, 0)
    entropies = sum(functional.gaussian_entropy(view, epsilon) for view in (first, second))
    return ((first - second) ** 2).mean() - factor * entropies


def vicreg(z, invariance=25.0, variance=25.0, covariance=1.0):
    """Bardes et al. (2022), eq. 1 to 6, loop by loop."""
    first, second = np.moveaxis(np.asarray(z, np.float64), 1, 0)
    total = invariance * np.mean((first - second) ** 2)
    for view in (first, second):
        n, d = view.shape
        c = sum(np.outer(row, row) for row in view - view.mean(0)) / (n - 1)
        total += variance * sum(max(0, 1 - np.sqrt(c[j, j] + 1e-4)) for j in range(d)) / d
        total += covariance * sum(c[i, j] ** 2 for i in range(d) for j in range(d) if i != j) / d
    return total


def barlow_twins(z, redundancy=5e-3):
    """Zbontar et al. (2021), eq. 1 and 2, of batch-normalised views as in their code."""
    first, second = ((v - v.mean(0)) / np.sqrt(v.var(0) + 1e-5) for v in np.moveaxis(np.asarray(z, np.float64), 1, 0))
    c = first.T @ second / len(first)
    return sum((1 - c[i, j]) ** 2 if i == j else redundancy * c[i, j] ** 2 for i, j in np.ndindex(c.shape))


CASES = {
    "view entropy": (ViewEntropy, view_entropy, {"factor": 0.7, "epsilon": 0.1}),
    "vicreg": (VICReg, vicreg, {"invariance": 2.0, "variance": 3, "covariance": 0.5}),
    "barlow twins": (BarlowTwins, barlow_twins, {"redundancy": 0.1}),
}
each_loss = pytest.mark.parametrize(("kind", "oracle", "own"), CASES.values(), ids=CASES)


@each_loss
@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("size", [0.3, 1])
def test_value_and_gradient_are_those_of_the_definition(kind, oracle, own, mode, size):
    z = (size * views()).astype("float64")

    for arguments in ({}, own):
        value, gradient = value_and_gradient(lambda z, a=arguments: kind(**a)(None, z), z, mode)
        np.testing.assert_allclose(value, oracle(z, **arguments), rtol=1e-5, atol=1e-5)
        slopes = central_differences(lambda z, a=arguments: oracle(z, **a), z)
        np.testing.assert_allclose(gradient, slopes, rtol=1e-3, atol=1e-4 * np.abs(slopes).max())


@each_loss
def test_more_dimensions_than_samples(kind, oracle, own):
    np.testing.assert_allclose(host(kind(**own)(None, views(5, 12))), oracle(views(5, 12), **own), rtol=1e-4)


@each_loss
def test_config_file_and_identity(kind, oracle, own, tmp_path):
    loss = kind(**own, name="mine")
    assert loss.get_config() == {"name": "mine", **own}
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (type(again), again.get_config()) == (kind, loss.get_config())
    assert identity(loss) == identity(again) != identity(kind(name="mine"))

    model = of_views(kind(**own))
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    x = views()[:, 0]
    np.testing.assert_allclose(loaded.evaluate(x, verbose=0), model.evaluate(x, verbose=0), rtol=1e-6)


def of_views(loss, d=3):
    encoder, samples = L.Dense(d), keras.Input((3,))
    model = keras.Model(samples, ops.stack([encoder(samples), encoder(L.GaussianNoise(0.3)(samples))], axis=1))
    model.compile(keras.optimizers.Adam(0.03), loss)
    return model


@each_loss
def test_it_trains_without_labels_and_does_not_collapse(kind, oracle, own, seeded):
    x = views(64)[:, 0] / np.arange(1, 4)
    model = of_views(kind(), 2)

    history = model.fit(np.tile(x, (30, 1)), batch_size=64, epochs=2, shuffle=False, verbose=0).history["loss"]

    assert history[1] < history[0]
    assert functional.effective_rank(host(model.predict(x, verbose=0))[:, 0]) > 1.9


@each_loss
def test_mixed_precision(kind, oracle, own):
    keras.config.set_dtype_policy("mixed_float16")
    model = of_views(kind())

    assert np.isfinite(model.fit(views()[:, 0], epochs=2, batch_size=8, verbose=0).history["loss"]).all()
    value = kind(**own)(None, ops.cast(views(), "bfloat16"))
    assert keras.backend.standardize_dtype(value.dtype) == "float32"


@each_loss
def test_a_batch_of_one_and_a_collapse_are_finite(kind, oracle, own):
    for z in (views(1), np.ones((8, 2, 3)), np.zeros((8, 2, 3))):
        value, gradient = value_and_gradient(lambda z: kind()(None, z), z)
        assert np.isfinite(value)
        assert np.isfinite(gradient).all()
    np.testing.assert_allclose(host(ViewEntropy()(None, views(1))), ((views(1)[:, 0] - views(1)[:, 1]) ** 2).mean())


@each_loss
def test_an_epoch_whose_last_batch_has_one_sample(kind, oracle, own):
    x = views(9)[:, 0]
    model = of_views(kind(**own))

    assert np.isfinite(model.fit(x, batch_size=4, epochs=2, verbose=0).history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


@each_loss
@pytest.mark.parametrize("mode", EACH_MODE)
def test_what_is_not_finite_gives_nan(kind, oracle, own, mode):
    z = views(8)
    z[2, 1, 1] = np.nan

    value, _ = value_and_gradient(lambda z: kind(**own)(None, z), z, mode)

    assert np.isnan(value)


def test_a_schedule_of_factors_acts_on_layers_and_not_on_the_loss():
    """The factor of the loss is a constant: half of the entropies of both views stay in the loss."""
    x = views(32)[:, 0]
    code = keras.Sequential([L.Dense(3), RepresentationEntropy(0.5)])
    inputs = keras.Input((3,))
    model = keras.Model(inputs, ops.stack([code(inputs), code(0.5 * inputs)], axis=1))
    model.compile(keras.optimizers.SGD(0.0), ViewEntropy())
    z = host(model(x))

    schedule = FactorSchedule(lambda epoch: float(epoch == 0))
    losses = model.fit(x, batch_size=32, epochs=2, verbose=0, callbacks=[schedule]).history["loss"]

    np.testing.assert_allclose(losses[1], view_entropy(z), rtol=1e-5)
    assert abs(losses[0] - losses[1]) > 0.1
    with pytest.raises(ValueError, match="FactorSchedule found no entropy regularizer"):
        of_views(ViewEntropy()).fit(x, verbose=0, callbacks=[FactorSchedule(lambda epoch: 1.0)])


@each_loss
@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ((np.ones((4, 3)),), ValueError, r"\(batch, 2, dim\).*shape \(4, 3\).*stack"),
        ((np.ones((4, 3, 2)),), ValueError, r"shape \(4, 3, 2\)"),
        ((np.ones((4, 2, 3), int),), TypeError, "floating-point.*int"),
        ((np.ones((4, 2, 3)), np.ones(4)), ValueError, "without weights.*`sample_weight`.*leave out"),
    ],
)
def test_bad_calls_are_named(kind, oracle, own, arguments, error, words):
    with pytest.raises(error, match=words):
        kind()(None, *arguments)


def test_a_mask_is_refused():
    z = ops.convert_to_tensor(views(4))
    set_keras_mask(z, ops.ones((4, 2), "bool"))

    with pytest.raises(ValueError, match="without weights and masks.*mask of `y_pred`"):
        ViewEntropy()(None, z)


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: ViewEntropy("large"), TypeError, "`factor`"),
        (lambda: ViewEntropy(epsilon=0), ValueError, "`epsilon`.*above 0"),
        (lambda: VICReg(variance=-1), ValueError, "`variance`.*at least 0"),
        (lambda: BarlowTwins(np.nan), ValueError, "`redundancy`.*nan"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
