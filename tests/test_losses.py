"""Losses of undecided outputs: Keras's reductions, weights and masks, and rows with and without labels."""

import keras
import numpy as np
import pytest
from keras.src.backend import set_keras_mask
from modes import BACKEND, EACH_MODE, MODES, value_and_gradient

from keras_entropy import SemiSupervisedCrossentropy, SigmoidEntropy, SoftmaxEntropy, functional

L = keras.layers
ops = keras.ops
ENTROPIES = {
    SigmoidEntropy: lambda z: functional.sigmoid_entropy(z).mean(-1),
    SoftmaxEntropy: functional.softmax_entropy,
}


def logits(*shape, seed=0):
    return 2 * np.random.default_rng(seed).normal(size=shape).astype("float32")


def masked(x, mask):
    x = ops.convert_to_tensor(x)
    set_keras_mask(x, ops.convert_to_tensor(mask))
    return x


def host(x):
    return np.asarray(ops.convert_to_numpy(x))


@pytest.mark.parametrize("kind", ENTROPIES)
def test_entropies_ignore_labels_and_reduce_weigh_and_mask_as_keras_does(kind):
    z, weight = logits(6, 4), np.arange(6) / 3
    rows = ENTROPIES[kind](z)

    for y in (None, np.zeros(6), np.full((6, 1), -1), "nothing"):
        np.testing.assert_allclose(host(kind()(y, z)), rows.mean(), rtol=1e-6)
    np.testing.assert_allclose(host(kind(reduction="sum")(None, z)), rows.sum(), rtol=1e-6)
    np.testing.assert_allclose(host(kind(reduction="none")(None, z)), rows, rtol=1e-6)
    np.testing.assert_allclose(host(kind()(None, z, weight)), (rows * weight).mean(), rtol=1e-6)
    mean = kind(reduction="mean_with_sample_weight")(None, z, weight)
    np.testing.assert_allclose(host(mean), (rows * weight).sum() / weight.sum(), rtol=1e-6)
    sequences = logits(2, 3, 4)
    mask = np.array([[True, True, False], [True, False, False]])
    expected = ENTROPIES[kind](sequences)[mask].mean()
    np.testing.assert_allclose(host(kind()(None, masked(sequences, mask))), expected, rtol=1e-6)


@pytest.mark.parametrize("kind", ENTROPIES)
def test_entropies_of_probabilities(kind):
    z = logits(6, 4)
    squash = ops.sigmoid if kind is SigmoidEntropy else ops.softmax

    p = ops.convert_to_tensor(host(squash(z)))  # a tensor without a past

    np.testing.assert_allclose(host(kind(from_logits=False)(None, p)), ENTROPIES[kind](z).mean(), rtol=1e-5)
    certain = kind(from_logits=False)(None, np.eye(4, dtype="float32"))
    np.testing.assert_allclose(host(certain), 0, atol=2e-6)  # float32 knows no number between 1 - 6e-8 and 1


@pytest.mark.parametrize("kind", ENTROPIES)
@pytest.mark.parametrize("labels", [False, True])
def test_compiled_it_minimises_the_functional(kind, labels, seeded):
    x = logits(32, 5)
    model = keras.Sequential([keras.Input((5,)), L.Dense(3)])
    model.compile(keras.optimizers.SGD(1.0), loss=kind())
    before = ENTROPIES[kind](model.predict(x, verbose=0)).mean()

    first = model.fit(x, *([np.zeros(32)] if labels else []), batch_size=32, epochs=20, verbose=0).history["loss"][0]

    np.testing.assert_allclose(first, before, rtol=1e-5)
    assert ENTROPIES[kind](model.predict(x, verbose=0)).mean() < 0.5 * before


def log_softmax(z):
    z = z - z.max(-1, keepdims=True)
    return z - np.log(np.exp(z).sum(-1, keepdims=True))


def semi_supervised(y, z, factor, weight=None, counted=None):
    """Mean over labelled rows plus the factor times the mean over the others, from the definition."""
    z = np.asarray(z, np.float64)
    weight = np.ones(y.shape) if weight is None else weight
    counted = np.ones(y.shape, bool) if counted is None else counted
    log_p = log_softmax(z)
    crossentropy = -np.take_along_axis(log_p, np.maximum(y, 0)[..., None], -1)[..., 0]
    entropy = -(np.exp(log_p) * log_p).sum(-1)
    total = 0.0
    for of_kind, values in (((y >= 0) & counted, crossentropy), ((y < 0) & counted, factor * entropy)):
        if of_kind.any():
            total += (values * weight)[of_kind].sum() / of_kind.sum()
    return total


CASES = {
    "both kinds": np.array([0, 3, -1, -1, 2, -1, -1]),
    "labelled only": np.array([0, 3, 1, 1, 2, 0, 0]),
    "unlabelled only": np.full(7, -1),
    "one of each": np.array([-1, 2]),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", ["int32", "int64", "float32", "int8"])
def test_rows_with_and_without_labels_have_their_own_means(name, dtype):
    y = CASES[name]
    z = logits(len(y), 4)
    loss = SemiSupervisedCrossentropy(0.7)
    expected = semi_supervised(y, z, 0.7)

    np.testing.assert_allclose(host(loss(y.astype(dtype), z)), expected, rtol=1e-5)
    np.testing.assert_allclose(host(loss(y[:, None].astype(dtype), z)), expected, rtol=1e-5)
    probabilities = np.exp(log_softmax(z))
    found = SemiSupervisedCrossentropy(0.7, from_logits=False)(y, probabilities)
    np.testing.assert_allclose(host(found), expected, rtol=1e-5)


def test_reductions_weights_and_masks_of_the_semi_supervised_loss():
    y, weight = CASES["both kinds"], np.arange(7) / 3
    z = logits(7, 4)

    def loss(reduction, *arguments):
        return host(SemiSupervisedCrossentropy(0.7, reduction=reduction)(y, z, *arguments))

    rows = np.array([semi_supervised(y[i : i + 1], z[i : i + 1], 0.7) for i in range(7)])
    np.testing.assert_allclose(loss("none"), rows, rtol=1e-5)
    np.testing.assert_allclose(loss(None, weight), rows * weight, rtol=1e-5)
    np.testing.assert_allclose(loss("sum", weight), (rows * weight).sum(), rtol=1e-5)
    np.testing.assert_allclose(loss("mean", weight), semi_supervised(y, z, 0.7, weight), rtol=1e-5)
    expected = sum((rows * weight)[kind].sum() / weight[kind].sum() for kind in (y < 0, y >= 0))
    np.testing.assert_allclose(loss("mean_with_sample_weight", weight[:, None]), expected, rtol=1e-5)

    y, z = np.array([[0, -1, 2], [-1, -1, 3]]), logits(2, 3, 4)
    mask = np.array([[True, True, False], [True, False, False]])
    found = SemiSupervisedCrossentropy(0.7)(y, masked(z, mask))
    np.testing.assert_allclose(host(found), semi_supervised(y, z, 0.7, counted=mask), rtol=1e-5)
    found = SemiSupervisedCrossentropy(0.7)(y, z, np.array([1.0, 3.0]))
    weights = np.array([[1.0], [3.0]]) * np.ones((2, 3))
    np.testing.assert_allclose(host(found), semi_supervised(y, z, 0.7, weights), rtol=1e-5)


NEITHER = np.array([0, -1, 2, -100, 7, -100])
"""Labels of rows 0 to 2; rows 3 to 5 are padding."""


@pytest.mark.parametrize("reduction", ["mean", "sum", "none", "mean_with_sample_weight"])
@pytest.mark.parametrize("how", ["mask", "weight", "both"])
def test_rows_that_do_not_count_may_hold_anything(how, reduction):
    """Labels that are no classes, outputs that are not finite: neither value nor gradient sees them."""
    z = logits(6, 4)
    z[3:] = [[np.nan] * 4, [np.inf, 0, 0, 0], [-np.inf] * 4]
    counts = np.array([True, True, True, False, False, False])
    loss = SemiSupervisedCrossentropy(0.7, reduction=reduction)
    weight = None if how == "mask" else np.where(counts, 2.0, 0.0) if how == "weight" else [2, 2, 2, np.nan, 5, np.inf]
    mask = None if how == "weight" else counts

    def value(x):
        if mask is not None:
            set_keras_mask(x, ops.convert_to_tensor(mask))
        return ops.sum(loss(NEITHER, x, weight))

    rows = None if weight is None else np.full(3, 2.0)
    expected = host(SemiSupervisedCrossentropy(0.7, reduction=reduction)(NEITHER[:3], z[:3], rows)).sum()
    for mode in MODES:
        found, gradient = value_and_gradient(value, z, mode)
        np.testing.assert_allclose(found, expected, rtol=1e-5)
        np.testing.assert_array_equal(gradient[3:], 0)
        assert np.isfinite(gradient).all()
        assert gradient[:3].any(axis=-1).all()


def test_rows_that_count_are_not_excused():
    z, weight = logits(6, 4), np.array([1.0, 1, 1, 0, 0, 1])
    with pytest.raises(ValueError, match=r"Received: -100\."):
        SemiSupervisedCrossentropy()(NEITHER, z, weight)
    with pytest.raises(ValueError, match=r"Received: -100, 7\."):
        SemiSupervisedCrossentropy(reduction="none").call(NEITHER, z)
    z[0, 0] = np.nan
    assert np.isnan(host(SemiSupervisedCrossentropy()(NEITHER[:3], z[:3])))
    weight[0] = np.nan
    assert np.isnan(host(SemiSupervisedCrossentropy()(NEITHER[:3], logits(3, 4), weight[:3])))


def test_a_certain_mistake_is_infinite_and_stays_apart_from_the_rows_without_labels():
    z = np.array([[0.0, -np.inf], [0.0, 0.0], [0.0, 0.0]], "float32")

    for reduction in ("mean", "sum", "mean_with_sample_weight"):
        assert host(SemiSupervisedCrossentropy(reduction=reduction)(np.array([1, 0, -1]), z)) == np.inf


@pytest.mark.parametrize("mode", EACH_MODE)
def test_a_batch_without_rows(mode):
    """0, as for a kind of which a batch has none; the entropies are what Keras makes of no rows."""
    empty, none = np.zeros((0, 3), "float32"), np.zeros(0, "int32")

    value, gradient = value_and_gradient(lambda z: SemiSupervisedCrossentropy()(none, z), empty, mode)

    assert (value, gradient.shape) == (0, (0, 3))
    for kind in ENTROPIES:
        value, gradient = value_and_gradient(lambda z, kind=kind: ops.sum(kind()(None, z)), empty, mode)
        assert (value, gradient.shape) == (0, (0, 3))


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no compiled mode here")
def test_unsigned_labels_are_refused_in_a_compiled_step():
    model = keras.Sequential([keras.Input((5,)), L.Dense(3)])
    model.compile("sgd", SemiSupervisedCrossentropy())

    with pytest.raises(TypeError, match=r"`y_true`.*signed dtype.*uint8.*astype\('int32'\)"):
        model.fit(logits(4, 5), np.array([0, 1, 255, 255], "uint8"), verbose=0)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="of TensorFlow")
def test_a_loop_of_ones_own_on_tensorflow_is_converted_without_a_warning(caplog):
    import tensorflow as tf

    loss, y, z = SemiSupervisedCrossentropy(), np.array([0, -1]), logits(2, 3)

    with caplog.at_level("WARNING"):
        value = tf.function(lambda y, z: loss(y, z, tf.ones(2)))(tf.constant(y), tf.constant(z))

    np.testing.assert_allclose(value, loss(y, z), rtol=1e-6)
    assert "AutoGraph" not in caplog.text


def test_fit_without_labels_is_explained():
    model = keras.Sequential([keras.Input((5,)), L.Dense(3)])
    model.compile("sgd", SemiSupervisedCrossentropy())

    with pytest.raises(ValueError, match=r"should hold labels.*y_true=None.*SoftmaxEntropy"):
        model.fit(logits(4, 5), verbose=0)


def test_it_trains_with_and_without_labels_in_a_batch():
    x, y = logits(24, 5), np.array([0, 1, -1, -1] * 6)
    y[8:16], y[16:] = -1, 1  # batches of both kinds, and of each alone
    model = keras.Sequential([keras.Input((5,)), L.Dense(2)])
    model.compile(keras.optimizers.SGD(0.1), SemiSupervisedCrossentropy(0.5))
    z = model.predict(x, verbose=0)
    batches = [semi_supervised(y[i : i + 8], z[i : i + 8], 0.5) for i in range(0, 24, 8)]

    np.testing.assert_allclose(model.evaluate(x, y, batch_size=8, verbose=0), np.mean(batches), rtol=1e-5)
    history = model.fit(x, y, batch_size=8, epochs=5, shuffle=False, verbose=0).history["loss"]

    assert history[-1] < history[0]
    assert all(np.isfinite(w).all() for w in model.get_weights())


def test_impossible_classes_do_not_spoil_the_gradient():
    """A logit of -inf is a class that the user has ruled out."""
    x, y = np.ones((4, 3), "float32"), np.array([0, 1, -1, -1])
    model = keras.Sequential([keras.Input((3,)), L.Dense(3, bias_initializer=lambda *a, **k: [0.0, 0.0, -np.inf])])
    model.compile("sgd", SemiSupervisedCrossentropy(0.5))

    loss = model.fit(x, y, epochs=2, verbose=0).history["loss"]

    assert np.isfinite(loss).all()
    assert np.isfinite(model.get_weights()[0]).all()


@pytest.mark.parametrize("kind", [*ENTROPIES, SemiSupervisedCrossentropy])
def test_config_and_saving(kind, tmp_path):
    own = {"unlabelled_weight": 0.25} if kind is SemiSupervisedCrossentropy else {}
    loss = kind(from_logits=False, reduction="sum", name="mine", **own)
    assert loss.get_config() == {"name": "mine", "reduction": "sum", "from_logits": False, **own}
    again = keras.losses.deserialize(keras.losses.serialize(loss))
    assert (type(again), again.get_config()) == (kind, loss.get_config())

    model = keras.Sequential([keras.Input((5,)), L.Dense(3, "softmax")])
    model.compile("sgd", kind(from_logits=False, **own))
    x, y = logits(8, 5), np.array([0, -1] * 4)
    model.save(tmp_path / "m.keras")
    loaded = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(loaded.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    keras.config.set_dtype_policy(policy)
    x, y = logits(8, 5), np.array([0, -1] * 4)
    for kind in (*ENTROPIES, SemiSupervisedCrossentropy):
        model = keras.Sequential([keras.Input((5,)), L.Dense(3)])
        model.compile("sgd", kind())

        assert np.isfinite(model.fit(x, y, epochs=2, verbose=0).history["loss"]).all()


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no compiled mode here")
def test_wrong_labels_in_a_compiled_step_give_nan():
    model = keras.Sequential([keras.Input((5,)), L.Dense(3)])
    model.compile("sgd", SemiSupervisedCrossentropy())

    for bad in (3, -2, 0.5):
        assert np.isnan(model.evaluate(logits(4, 5), np.array([0, 1, -1, bad]), verbose=0))


def semi(y, z, **arguments):
    return SemiSupervisedCrossentropy(**arguments)(np.array(y), np.asarray(z))


def weighted(weight):
    return SemiSupervisedCrossentropy()(np.array([0, -1]), Z, weight)


Z = logits(2, 3)


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: semi([0, 3], Z), ValueError, "`y_true`.*0 to 2.*-1.*Received: 3"),
        (lambda: semi([0, -2], Z), ValueError, "Received: -2"),
        (lambda: semi([0, 0.5], Z), ValueError, "Received: 0.5"),
        (lambda: semi([0, np.nan], Z), ValueError, "Received: nan"),
        (lambda: semi([0, 1, 2], Z), ValueError, r"shapes \(3,\) and \(2, 3\)"),
        (lambda: semi(np.eye(3)[:2], Z), ValueError, r"shapes \(2, 3\) and \(2, 3\).*not one-hot"),
        (lambda: semi(0, Z[0]), ValueError, r"\(batch, \.\.\., classes\)"),
        (lambda: semi([0, 1], np.ones((2, 3), int)), TypeError, "floating-point.*int"),
        (lambda: semi([0, 1], Z, unlabelled_weight=np.nan), ValueError, "`unlabelled_weight`.*nan"),
        (lambda: semi([0, 1], Z, unlabelled_weight="large"), TypeError, "`unlabelled_weight`"),
        (lambda: semi([0, 1], Z, reduction="max"), ValueError, "reduction"),
        (lambda: SigmoidEntropy()(None, np.ones((2, 3), int)), TypeError, "floating-point.*int"),
        (lambda: SoftmaxEntropy()(None, ops.convert_to_tensor(1.0)), ValueError, "a scalar"),
        (lambda: semi([0, 0], Z[:, :1]), ValueError, r"at least two classes.*\(2, 1\).*two outputs.*SigmoidEntropy"),
        (lambda: SoftmaxEntropy()(None, Z[:, :1]), ValueError, r"at least two classes.*\(2, 1\)"),
        (lambda: semi(np.array([0, 255], "uint8"), Z), TypeError, "`y_true`.*signed dtype.*uint8.*int32"),
        (lambda: semi([True, False], Z), TypeError, "`y_true`.*signed dtype.*bool"),
        (lambda: weighted(np.ones(3)), ValueError, r"`sample_weight`.*shape \(2,\).*Received: shape \(3,\)"),
        (lambda: weighted(np.ones((2, 2))), ValueError, r"`sample_weight`.*Received: shape \(2, 2\)"),
        (lambda: SigmoidEntropy(from_logits="no"), TypeError, "`from_logits`"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.skipif(BACKEND == "jax", reason="JAX does not show where an array comes from")
@pytest.mark.parametrize("kind", [*ENTROPIES, SemiSupervisedCrossentropy])
def test_probabilities_in_place_of_logits_are_refused(kind):
    model = keras.Sequential([keras.Input((5,)), L.Dense(3, "sigmoid" if kind is SigmoidEntropy else "softmax")])
    model.compile("sgd", kind())

    with pytest.raises(ValueError, match=r"should be logits.*activation=None.*from_logits=False"):
        model.fit(logits(4, 5), np.zeros(4), verbose=0)
