"""Entropies of representations, against float64 eigenvalues of the covariance."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import BACKEND, EACH_MODE, compiled, value_and_gradient
from oracles import central_differences

from keras_entropy import functional

ops = keras.ops
SHAPES = [(40, 6), (6, 40), (8, 8), (2, 3), (30, 1)]
FEW = SHAPES[:3]  # each shape is compiled anew


def batch(*shape, seed=0):
    """Correlated vectors with a mean, and scales from 1 to 10."""
    random = np.random.default_rng(seed)
    return random.normal(size=shape) @ random.normal(size=(shape[-1], shape[-1])) + 3


def covariance(z):
    return np.atleast_2d(np.cov(np.asarray(z, np.float64), rowvar=False))


def entropy(z, epsilon=1e-2):
    variances = np.maximum(np.linalg.eigvalsh(covariance(z)), 0)
    return np.log(variances + epsilon).mean() / 2


def rate(z, epsilon):
    """Yu et al. (2020), per dimension."""
    z = np.asarray(z, np.float64)
    n, d = z.shape
    return np.linalg.slogdet(np.eye(d) + d / (n * epsilon) * z.T @ z)[1] / (2 * d)


def rank(z):
    """Roy and Vetterli (2007)."""
    z = np.asarray(z, np.float64)
    s = np.linalg.svd(z - z.mean(0), compute_uv=False)
    p = s / s.sum()
    p = p[p > 0]
    return np.exp(-(p * np.log(p)).sum())


FUNCTIONS = {
    "entropy": (lambda z: functional.gaussian_entropy(z, 1e-2), entropy),
    "rate": (lambda z: functional.coding_rate(z, 0.25), lambda z: rate(z, 0.25)),
    "rank": (functional.effective_rank, rank),
}
each_function = pytest.mark.parametrize("name", FUNCTIONS)


def host(x):
    return np.asarray(ops.convert_to_numpy(x))


@each_function
@pytest.mark.parametrize("shape", SHAPES)
def test_arrays_are_computed_in_float64_from_the_definition(name, shape):
    function, oracle = FUNCTIONS[name]
    value = function(batch(*shape))

    assert value.dtype == np.float64
    np.testing.assert_allclose(value, oracle(batch(*shape)), rtol=1e-9)
    np.testing.assert_allclose(function(batch(*shape).tolist()), value, rtol=1e-12)


@each_function
@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("shape", FEW)
def test_tensors_have_the_value_and_gradient_of_float64(name, mode, shape):
    function, oracle = FUNCTIONS[name]
    z = batch(*shape).astype("float32").astype("float64")

    value, gradient = value_and_gradient(function, z, mode)

    # Rounding changes variances, up to 1e3 here, beside a floor of 1e-2.
    np.testing.assert_allclose(value, oracle(z), rtol=1e-5, atol=2e-4)
    slopes = central_differences(oracle, z)
    np.testing.assert_allclose(gradient, slopes, rtol=2e-3, atol=2e-4 * max(1e-3, np.abs(slopes).max()))


@each_function
@pytest.mark.skipif(BACKEND != "tensorflow", reason="other backends compile for one size, or not at all")
@pytest.mark.parametrize("shape", [(40, 6), (6, 40)])
def test_a_step_that_does_not_know_the_size_of_the_batch(name, shape):
    import tensorflow as tf

    function, oracle = FUNCTIONS[name]
    step = tf.function(function, input_signature=[tf.TensorSpec((None, shape[1]), "float32")])

    np.testing.assert_allclose(step(batch(*shape).astype("float32")), oracle(batch(*shape)), rtol=1e-5, atol=2e-4)


class Measured(keras.layers.Layer):
    """Pass inputs on, and add a function of them to the loss."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def call(self, inputs):
        self.add_loss(self.function(inputs))
        return inputs


@each_function
def test_in_the_call_of_a_layer_it_is_computed_for_symbolic_and_for_real_batches(name):
    function, oracle = FUNCTIONS[name]
    z = batch(40, 6).astype("float32")

    model = keras.Sequential([keras.Input((6,)), Measured(function)])
    model.compile("sgd")

    for rows in (40, 7):
        np.testing.assert_allclose(
            model.evaluate(z[:rows], batch_size=rows, verbose=0), oracle(z[:rows]), rtol=1e-5, atol=2e-4
        )


@each_function
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_vectors_are_computed_in_float32(name, dtype):
    function, oracle = FUNCTIONS[name]
    z = ops.cast(batch(40, 6).astype("float32"), dtype)

    value = function(z)

    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(host(value), oracle(host(ops.cast(z, "float32"))), rtol=1e-5, atol=2e-4)


@each_function
@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 by default")
def test_float64_tensors_stay_float64(name):
    function, oracle = FUNCTIONS[name]
    z = ops.convert_to_tensor(batch(40, 6), dtype="float64")

    value = function(z)

    assert keras.backend.standardize_dtype(value.dtype) == "float64"
    np.testing.assert_allclose(host(value), oracle(batch(40, 6)), rtol=1e-9)


@each_function
@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_what_is_not_finite_gives_nan(name, mode, bad):
    z = batch(8, 4)
    z[2, 1] = bad

    with np.errstate(invalid="ignore"):
        assert np.isnan(FUNCTIONS[name][0](z))
        value, gradient = value_and_gradient(FUNCTIONS[name][0], z, mode)
    assert np.isnan(value)
    assert np.isnan(gradient).any()


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("shape", [(64, 16), (16, 64)])
@pytest.mark.parametrize("kind", ["collapsed", "one direction", "huge", "tiny", "wide spread"])
def test_degenerate_batches_are_finite_in_float32(kind, shape, mode):
    """A factorisation in float32 fails where the floor is below 1e-7 of the largest variance (measured)."""
    z = np.random.default_rng(0).normal(size=shape)
    z = {
        "collapsed": np.ones(shape),
        "one direction": z[:, :1] * np.linspace(1e3, 2e3, shape[1]),
        "huge": 1e12 * z,
        "tiny": 1e-15 * z,
        "wide spread": z * np.geomspace(1, 1e4, shape[1]),
    }[kind]
    run = compiled(functional.gaussian_entropy, mode)

    value, gradient = run(z)

    total = np.trace(covariance(z))
    floor = max(1e-2, 8 * np.finfo("float32").eps * total)
    # The unit of rounding of the trace is an eighth of the floor.
    np.testing.assert_allclose(value, entropy(z, floor), atol=0.07 if floor > 1e-2 else 1e-4)
    assert np.isfinite(gradient).all()
    if kind == "collapsed":
        np.testing.assert_allclose(gradient, 0, atol=1e-12)


def test_a_large_matrix_of_rank_1_is_factorised():
    z = np.random.default_rng(0).normal(size=(600, 1)) * np.linspace(1e3, 2e3, 256)

    value = functional.gaussian_entropy(ops.convert_to_tensor(z.astype("float32")))

    np.testing.assert_allclose(
        host(value), entropy(z, 8 * np.finfo("float32").eps * np.trace(covariance(z))), atol=0.07
    )


@settings(max_examples=20)
@given(seed=st.integers(0, 2**32 - 1), n=st.integers(2, 12), d=st.integers(1, 12), scale=st.floats(1e-2, 1e2))
def test_rotations_and_shifts_change_nothing_and_scales_add_a_constant(seed, n, d, scale):
    z = np.random.default_rng(seed).normal(size=(n, d))
    rotation = np.linalg.qr(np.random.default_rng(seed + 1).normal(size=(d, d)))[0]
    rotated = z @ rotation + 7

    for function in (functional.gaussian_entropy, functional.effective_rank):
        np.testing.assert_allclose(function(rotated), function(z), rtol=1e-7, atol=1e-7)
    np.testing.assert_allclose(functional.coding_rate(z @ rotation), functional.coding_rate(z), rtol=1e-7)
    np.testing.assert_allclose(
        functional.gaussian_entropy(scale * z, scale**2 * 1e-2), functional.gaussian_entropy(z) + np.log(scale),
        rtol=1e-7, atol=1e-7,
    )  # fmt: skip
    assert 1 - 1e-9 <= functional.effective_rank(z) <= min(d, n - 1) + 1e-9


def test_the_gradient_is_largest_at_a_deviation_of_the_root_of_the_floor():
    """And 0 where all vectors are equal: the term prevents a collapse, and does not undo it."""
    z = np.array([[-1.0], [1.0]]) / np.sqrt(2)  # a variance of 1
    sizes = np.geomspace(0.01, 1, 41)
    slopes = [value_and_gradient(functional.gaussian_entropy, size * z)[1][1, 0] for size in sizes]

    np.testing.assert_allclose(sizes[np.argmax(slopes)], 0.1)


@pytest.mark.parametrize(("n", "d", "printed"), [(128, 32, -0.071), (128, 64, -0.158), (128, 120, -0.42)])
def test_the_bias_without_a_floor(n, d, printed):
    random = np.random.default_rng(0)
    mixing = random.normal(size=(d, d))
    found = [functional.gaussian_entropy(random.normal(size=(n, d)) @ mixing, 0.0) for _ in range(30)]
    true = np.linalg.slogdet(mixing)[1] / d

    bias = functional.gaussian_entropy_bias(n, d)

    np.testing.assert_allclose(bias, printed, atol=0.005)
    assert abs(np.mean(found) - true - bias) < 4 * np.std(found, ddof=1) / np.sqrt(30)


@pytest.mark.parametrize("epsilon", [0.0, 0.1, 10.0])
def test_the_first_order_correction_takes_most_of_the_bias(epsilon):
    n, d = 200, 20
    random = np.random.default_rng(0)
    scales = np.geomspace(0.1, 3, d)
    draws = [random.normal(size=(n, d)) * scales for _ in range(50)]
    true = np.log(scales**2 + epsilon).mean() / 2
    error = {
        bias: np.mean([functional.gaussian_entropy(z, epsilon, bias) for z in draws]) - true
        for bias in functional.representation.BIASES
    }

    noise = np.std([functional.gaussian_entropy(z, epsilon) for z in draws], ddof=1) / np.sqrt(50)
    assert error["none"] < -3 * noise or epsilon == 10
    assert abs(error["first_order"]) < 3 * noise + 0.1 * abs(error["none"])


@pytest.mark.parametrize("mode", EACH_MODE)
def test_the_correction_of_tensors(mode):
    z = batch(40, 6)

    def corrected(z):
        return functional.gaussian_entropy(z, 1.0, "first_order")

    value, gradient = value_and_gradient(corrected, z, mode)

    kept = np.linalg.eigvalsh(covariance(z))
    kept = kept / (kept + 1)
    np.testing.assert_allclose(value, entropy(z, 1.0) + (kept.sum() ** 2 + (kept**2).sum()) / (4 * 39 * 6), rtol=1e-5)
    np.testing.assert_allclose(gradient, central_differences(corrected, z), rtol=2e-3, atol=1e-6)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="other backends compile for one size, or not at all")
def test_a_correction_that_does_not_exist_is_nan_where_the_size_is_unknown():
    import tensorflow as tf

    step = tf.function(
        lambda z: functional.gaussian_entropy(z, 1e-2, "first_order"),
        input_signature=[tf.TensorSpec((None, 6), "float32")],
    )

    assert np.isnan(step(batch(6, 6).astype("float32")))
    assert np.isfinite(step(batch(7, 6).astype("float32")))


def test_without_a_floor_a_rank_limited_batch_is_minus_infinity_on_the_host():
    assert functional.is_rank_limited(6, 40)
    assert functional.gaussian_entropy(batch(6, 40), 0.0) == -np.inf


@pytest.mark.parametrize("shape", [(5, 3), (3, 5)])
def test_equal_vectors_have_rank_0(shape):
    value, gradient = value_and_gradient(functional.effective_rank, np.ones(shape))

    assert value == functional.effective_rank(np.ones(shape)) == 0
    assert np.isfinite(gradient).all()


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: functional.gaussian_entropy(np.ones(3)), ValueError, r"`z`.*\(n, d\).*shape \(3,\)"),
        (lambda: functional.effective_rank(keras.Input((3,))), TypeError, "`z`.*symbolic.*layer RepresentationEntropy"),
        (lambda: functional.effective_rank(np.ones((2, 3, 4))), ValueError, r"`z`.*shape \(2, 3, 4\)"),
        (lambda: functional.coding_rate(np.ones((0, 4))), ValueError, r"`z`.*shape \(0, 4\)"),
        (lambda: functional.gaussian_entropy(np.ones((1, 4))), ValueError, "`z`.*two vectors.*single vector"),
        (lambda: functional.effective_rank(np.ones((1, 4))), ValueError, "`z`.*two vectors"),
        (lambda: functional.gaussian_entropy(np.ones((3, 4)), -1), ValueError, "`epsilon`.*at least 0"),
        (lambda: functional.coding_rate(np.ones((3, 4)), 0), ValueError, "`epsilon`.*above 0"),
        (lambda: functional.gaussian_entropy(np.ones((3, 4)), "1"), TypeError, "`epsilon`"),
        (lambda: functional.gaussian_entropy(np.ones((9, 4)), bias="all"), ValueError, "'none', 'first_order'"),
        (
            lambda: functional.gaussian_entropy(np.ones((4, 4)), bias="first_order"),
            ValueError,
            "`bias`.*4 vectors of 4 dimensions.*rank-limited.*at least 5",
        ),
        (lambda: functional.gaussian_entropy_bias(4, 4), ValueError, "`d`.*below n=4.*rank-limited"),
        (lambda: functional.gaussian_entropy_bias(4.0, 2), TypeError, "`n`.*positive integer"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
