"""`RepresentationEntropy`: its forms, pools and running average. The battery of layers is in `test_layers`."""

import keras
import numpy as np
import pytest
from modes import BACKEND, EACH_MODE, value_and_gradient

from keras_entropy import RepresentationEntropy, functional

L = keras.layers
ops = keras.ops


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32") * np.arange(1, shape[-1] + 1, dtype="f")


def host(x):
    return np.asarray(ops.convert_to_numpy(x))


def term(layer, x, **arguments):
    layer(x, **arguments)
    return host(layer.losses[0])


def bounded(covariance, epsilon=1e-2):
    variances = np.linalg.eigvalsh(covariance)
    return (variances - np.log(variances + epsilon)).mean() / 2


def covariance(x):
    return np.cov(x.astype("float64"), rowvar=False)


def normed(x):
    return x / np.linalg.norm(x, axis=-1, keepdims=True)


FORMS = {
    "gaussian": lambda x: bounded(covariance(x)),
    "entropy": lambda x: -functional.gaussian_entropy(x),
    "coding_rate": lambda x: -functional.coding_rate(normed(x)),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("shape", [(32, 4), (4, 32)])
def test_each_form_is_the_functional(form, shape):
    x = inputs(*shape) / 8  # a variance in all below 1e4 epsilon: the floor is epsilon in float32 too

    np.testing.assert_allclose(term(RepresentationEntropy(2.0, form), x), 2 * FORMS[form](x), rtol=1e-4)


def gradient_of(layer, x, mode="eager", **arguments):
    layer.build(x.shape)

    def value(x):
        with keras.StatelessScope(collect_losses=True) as scope:
            layer(x, **arguments)
        return scope.losses[0]

    return value_and_gradient(value, x, mode)


def test_the_bounded_form_is_least_for_uncorrelated_dimensions_with_variance_one():
    """The variance is 1 - epsilon; white vectors of that size have no gradient, larger ones are made smaller."""
    x = inputs(32, 4)
    whitening = np.linalg.inv(np.linalg.cholesky(covariance(x))).T
    white = (x - x.mean(0)) @ whitening * np.sqrt(0.99)

    for size, sign in ((0.5, -1), (1, 0), (2, 1)):
        value, gradient = gradient_of(RepresentationEntropy(1.0), (size * white).astype("float32"))
        slope = (gradient * white).sum()
        assert abs(slope) < 1e-4 if sign == 0 else np.sign(slope) == sign
    assert value > bounded(covariance(white)) == pytest.approx(0.99 / 2)


def test_a_positive_factor_keeps_dimensions_alive_in_training(seeded):
    """The task needs none of them; with the term all have a variance near 1."""
    x = inputs(64, 6)
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), RepresentationEntropy(1.0), L.Dense(1)])
    model.compile(keras.optimizers.Adam(0.05), "mse")

    model.fit(np.tile(x, (150, 1)), np.zeros((9600, 1)), batch_size=64, shuffle=False, verbose=0)

    hidden = host(model.layers[0](x))
    np.testing.assert_allclose(covariance(hidden), np.eye(4), atol=0.15)


@pytest.mark.parametrize("shape", [(8, 5, 3), (8, 4, 4, 3)])
def test_feature_maps_are_averaged_or_taken_position_by_position(shape):
    x = inputs(*shape)

    pooled = x.mean(axis=tuple(range(1, len(shape) - 1)))
    np.testing.assert_allclose(term(RepresentationEntropy(1.0), x), bounded(covariance(pooled)), rtol=1e-4)
    rows = x.reshape(-1, shape[-1])
    np.testing.assert_allclose(term(RepresentationEntropy(1.0, pool=None), x), bounded(covariance(rows)), rtol=1e-4)


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("shape", [(8, 5, 3), (8, 4, 4, 3)])
def test_channels_first(shape, mode):
    """The same term and gradient as with the channels last; vectors have no channels to move."""
    x = inputs(*shape)
    first = np.moveaxis(x, -1, 1)
    for pool in ("mean", None):
        value, gradient = gradient_of(RepresentationEntropy(1.0, pool=pool, data_format="channels_last"), x, mode)
        layer = RepresentationEntropy(1.0, pool=pool, momentum=0.5, data_format="channels_first")
        found, slopes = gradient_of(layer, first, mode)
        np.testing.assert_allclose(found, value, rtol=1e-5)
        np.testing.assert_allclose(np.moveaxis(slopes, 1, -1), gradient, rtol=1e-4, atol=1e-6)
        assert layer.covariance.shape == (3, 3)
    vectors = RepresentationEntropy(1.0, data_format="channels_first")
    np.testing.assert_allclose(term(vectors, x.reshape(-1, 3)), bounded(covariance(x.reshape(-1, 3))), rtol=1e-4)


def test_the_data_format_is_that_of_keras_and_stays_in_a_saved_layer():
    keras.config.set_image_data_format("channels_first")
    try:
        layer = RepresentationEntropy(1.0)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert layer.get_config()["data_format"] == "channels_first"
    assert RepresentationEntropy.from_config(layer.get_config()).data_format == "channels_first"
    assert RepresentationEntropy(1.0).data_format == "channels_last"


def test_masks_of_positions_with_channels_first():
    x, mask = inputs(6, 3, 2), np.arange(18).reshape(6, 3) % 5 > 1
    first = RepresentationEntropy(1.0, data_format="channels_first")
    value = term(first, np.moveaxis(x, -1, 1), mask=ops.convert_to_tensor(mask))
    last = term(RepresentationEntropy(1.0), x, mask=ops.convert_to_tensor(mask))

    np.testing.assert_allclose(value, last, rtol=1e-5)


@pytest.mark.parametrize("form", FORMS)
def test_positions_that_are_masked_and_samples_without_positions_do_not_count(form):
    x = inputs(6, 3, 2)
    mask = np.array([[1, 1, 0], [1, 0, 0], [0, 0, 0], [1, 1, 1], [0, 1, 1], [0, 0, 1]], bool)
    x[~mask] = np.nan

    means = np.stack([row[kept].mean(0) for row, kept in zip(x, mask, strict=True) if kept.any()])
    for pool, rows in (("mean", means), (None, x[mask])):
        layer = RepresentationEntropy(1.0, form, pool=pool)
        np.testing.assert_allclose(term(layer, x, mask=ops.convert_to_tensor(mask)), FORMS[form](rows), rtol=1e-4)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", EACH_MODE)
def test_a_batch_of_one_has_no_term(form, mode):
    for momentum in (None, 0.5):
        layer = RepresentationEntropy(1.0, form, momentum=momentum)
        value, gradient = gradient_of(layer, inputs(1, 4), mode, training=True)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", EACH_MODE)
def test_masks_without_a_position_have_no_term(form, mode):
    none = ops.zeros((4, 3), "bool")
    for pool in ("mean", None):
        layer = RepresentationEntropy(1.0, form, pool=pool, momentum=0.5)
        value, gradient = gradient_of(layer, inputs(4, 3, 2), mode, mask=none, training=True)
        assert value == 0
        np.testing.assert_array_equal(gradient, 0)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("mode", EACH_MODE)
def test_what_is_not_finite_gives_nan(form, mode):
    x = inputs(8, 4)
    x[2, 1] = np.nan
    for momentum in (None, 0.5):
        value, _ = gradient_of(RepresentationEntropy(1.0, form, momentum=momentum), x, mode, training=True)
        assert np.isnan(value)


@pytest.mark.parametrize("form", FORMS)
def test_an_epoch_whose_last_batch_has_one_sample(form):
    layers = [L.Dense(4), RepresentationEntropy(0.1, form), RepresentationEntropy(0.1, form, momentum=0.9)]
    model = keras.Sequential([keras.Input((6,)), *layers, L.Dense(1)])
    model.compile("sgd", "mse")

    history = model.fit(inputs(9, 6), np.zeros((9, 1)), batch_size=4, epochs=2, verbose=0).history

    assert np.isfinite(history["loss"]).all()
    assert all(np.isfinite(weight).all() for weight in model.get_weights())


def test_the_running_average():
    """Of the covariances of batches in training, without a bias at the start; in inference the batch alone."""
    layer, batches = RepresentationEntropy(1.0, momentum=0.75), [inputs(16, 4, seed=seed) for seed in range(3)]
    weights = np.array([0.75**2, 0.75, 1]) * 0.25

    for n in (1, 2, 3):
        found = term(layer, batches[n - 1], training=True)
        own = weights[3 - n :]
        mean = sum(w * covariance(x) for w, x in zip(own, batches[:n], strict=True)) / own.sum()
        np.testing.assert_allclose(found, bounded(mean), rtol=1e-4)
    before = layer.get_weights()
    np.testing.assert_allclose(term(layer, batches[0]), bounded(covariance(batches[0])), rtol=1e-4)
    bad = np.where(np.arange(4) == 2, np.nan, batches[0])
    assert np.isnan(term(layer, bad, training=True))
    term(layer, batches[0][:1], training=True)
    for now, then in zip(layer.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_the_gradient_of_the_running_average_is_not_shrunk():
    """In the first step it is the gradient without an average, whatever the momentum."""
    x = inputs(16, 4)
    _, plain = gradient_of(RepresentationEntropy(1.0), x, training=True)

    for momentum in (0.0, 0.9, 0.999):
        _, gradient = gradient_of(RepresentationEntropy(1.0, momentum=momentum), x, training=True)
        np.testing.assert_allclose(gradient, plain, rtol=2e-3, atol=1e-6)


def test_the_running_average_lowers_the_bias_of_small_batches():
    random, layer = np.random.default_rng(0), RepresentationEntropy(-1.0, "entropy", momentum=0.9)
    batches = random.normal(size=(60, 32, 64)).astype("float32")

    values = [term(layer, x, training=True) for x in batches]

    true = np.log(1.01) / 2
    assert np.mean([functional.gaussian_entropy(x) for x in batches]) < true - 1.0
    assert abs(np.mean(values[30:]) - true) < 0.15


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_it_trains_saves_and_loads_with_its_average(policy, tmp_path, seeded):
    keras.config.set_dtype_policy(policy)
    x = inputs(32, 6)
    layer = RepresentationEntropy(0.1, "entropy", 0.1, None, 0.9, name="mine")
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), layer, L.Dense(1, dtype="float32")])
    model.compile("sgd", "mse")

    history = model.fit(x, np.zeros((32, 1)), batch_size=12, epochs=2, verbose=0).history["loss"]  # a batch of 8 too

    assert np.isfinite(history).all()
    assert {w.dtype.name if hasattr(w.dtype, "name") else w.dtype for w in layer.weights} == {"float32"}
    assert not layer.trainable_weights
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    assert loaded.get_layer("mine").get_config() == layer.get_config()
    for a, b in zip(loaded.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    own = {"factor": 0.1, "form": "entropy", "epsilon": 0.1, "pool": None, "momentum": 0.9}
    assert own.items() <= layer.get_config().items()


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no compiled mode here")
def test_the_average_in_a_step_that_xla_compiles(seeded):
    x = inputs(32, 6)
    model = keras.Sequential([keras.Input((6,)), L.Dense(4), RepresentationEntropy(0.1, momentum=0.5), L.Dense(1)])
    model.compile("sgd", "mse", jit_compile=True)

    assert np.isfinite(model.fit(x, np.zeros((32, 1)), batch_size=16, verbose=0).history["loss"]).all()
    np.testing.assert_allclose(model.layers[1].get_weights()[1], 0.25)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: RepresentationEntropy(1.0, "log"), ValueError, "`form`.*'gaussian', 'entropy', 'coding_rate'"),
        (lambda: RepresentationEntropy(1.0, epsilon=0), ValueError, "`epsilon`.*above 0"),
        (lambda: RepresentationEntropy(1.0, pool="max"), ValueError, "`pool`.*'mean'"),
        (lambda: RepresentationEntropy(1.0, data_format="first"), ValueError, "`data_format`.*'channels_first'"),
        (
            lambda: RepresentationEntropy(1.0, data_format="channels_first")(keras.Input((None, 4))),
            ValueError,
            r"axis 1.*known size.*\(None, None, 4\)",
        ),
        (lambda: RepresentationEntropy(1.0, momentum=1), ValueError, "`momentum`.*below 1"),
        (lambda: RepresentationEntropy(1.0, momentum=-0.1), ValueError, "`momentum`.*at least 0"),
        (lambda: RepresentationEntropy(1.0)(np.ones(4, "float32")), ValueError, "min_ndim=2"),
        (lambda: RepresentationEntropy(1.0)(keras.Input((None,))), ValueError, r"known size.*\(None, None\).*Input"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
