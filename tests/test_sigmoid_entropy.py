"""The sigmoid-entropy functional and the entropy of a softmax, against 50 digits."""

import math

import keras
import mpmath
import numpy as np
import pytest
from modes import BACKEND, EACH_MODE, value_and_gradient

from keras_entropy import functional

mpmath.mp.dps = 50
# From 0 to 80 in both directions, dense where the terms of the formulas change places.
POSITIVE = np.concatenate([[80.0], np.geomspace(1e-30, 1e-3, 28), np.geomspace(1e-3, 80, 150), np.linspace(0, 4, 41)])
POINTS = np.unique(np.concatenate([-POSITIVE, POSITIVE])).astype(np.float32)
ROWS = np.array(
    [
        [0, 0, 0, 0],
        [1e-6, 0, -1e-6, 2e-6],
        [1, 2, 3, 4],
        [5, 5, 5, -5],
        [80, 0, 0, 0],
        [-60, 20, -61, -59],
        [1e4, 1e4, 1e4 - 3, -1e4],
        [3, -np.inf, 2.5, -np.inf],
    ],
    np.float32,
)
SUM = keras.ops.sum


def sigmoid_oracle(z):
    """(softplus(z) - z D) / ln 2 and -z D (1 - D) / ln 2."""
    z = mpmath.mpf(float(z))
    d = 1 / (1 + mpmath.exp(-z))
    return (mpmath.log(1 + mpmath.exp(z)) - z * d) / mpmath.log(2), -z * d * (1 - d) / mpmath.log(2)


def softmax_oracle(row, base=2):
    """-sum p log p, and -p (log p + H)."""
    weights = [mpmath.exp(mpmath.mpf(float(z))) for z in row]
    p = [w / mpmath.fsum(weights) for w in weights]
    logs = [mpmath.log(q) / mpmath.log(base) if q else mpmath.mpf(0) for q in p]
    entropy = -mpmath.fsum(q * log for q, log in zip(p, logs, strict=True))
    return entropy, [-q * (log + entropy) for q, log in zip(p, logs, strict=True)]


def relative_error(found, exact):
    """The largest; 0 where 0 is exact and found."""
    pairs = zip(np.asarray(found, np.float64).ravel(), exact, strict=True)
    return max(float(abs(mpmath.mpf(float(f)) - e) / abs(e)) if e else abs(float(f)) for f, e in pairs)


def values_and_slopes(function, x, mode, dtype="float32"):
    """Of a function of each element or row. The derivative of sum(w f(x)) in w is f(x), compiled like the other."""

    def converted(z):
        return keras.ops.cast(z, dtype)

    ones = np.ones(x.shape if function is functional.sigmoid_entropy else x.shape[:-1], np.float32)
    values = value_and_gradient(lambda w: SUM(w * function(converted(x))), ones, mode)[1]
    return values, value_and_gradient(lambda z: SUM(function(converted(z))), x, mode)[1]


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize(("dtype", "resolution"), [("float32", 1e-6), ("bfloat16", 2.0**-8)])
def test_sigmoid_entropy_and_its_gradient_agree_with_50_digits(mode, dtype, resolution):
    """To 1e-6 for |z| up to 80; a 16-bit logit is computed in float32, and only its gradient rounded to its type."""
    points = keras.ops.convert_to_numpy(keras.ops.cast(keras.ops.cast(POINTS, dtype), "float32"))
    exact = [sigmoid_oracle(z) for z in points]

    values, slopes = values_and_slopes(functional.sigmoid_entropy, points, mode, dtype)

    assert relative_error(values, [value for value, _ in exact]) <= 1e-6
    assert relative_error(slopes, [slope for _, slope in exact]) <= resolution


@pytest.mark.once
def test_numpy_arrays_are_computed_in_float64():
    exact = [sigmoid_oracle(z) for z in POINTS]

    assert relative_error(functional.sigmoid_entropy(POINTS), [value for value, _ in exact]) <= 1e-15
    assert functional.sigmoid_entropy([0, 1]).dtype == np.float64
    for base in (2, math.e, 10.0):
        expected = [softmax_oracle(row, base)[0] for row in ROWS]
        assert relative_error(functional.softmax_entropy(ROWS, base), expected) <= 1e-14


@pytest.mark.parametrize("mode", EACH_MODE)
def test_softmax_entropy_and_its_gradient_agree_with_50_digits(mode):
    """Values to 1e-6; gradients to 1e-6 of the largest of their row, since the shares of classes can cancel."""
    values, slopes = values_and_slopes(functional.softmax_entropy, ROWS, mode)

    for row, value, slope in zip(ROWS, values, slopes, strict=True):
        expected, gradient = softmax_oracle(row)
        gradient = np.array(gradient, np.float64)
        assert relative_error(value, [expected]) <= 1e-6
        np.testing.assert_allclose(slope, gradient, rtol=0, atol=1e-6 * np.abs(gradient).max())


@pytest.mark.parametrize("mode", EACH_MODE)
def test_the_softmax_of_two_classes_is_a_sigmoid(mode):
    pairs = np.stack([POINTS, np.zeros_like(POINTS)], axis=-1)

    values, slopes = values_and_slopes(functional.softmax_entropy, pairs, mode)

    exact = [sigmoid_oracle(z) for z in POINTS]
    assert relative_error(values, [value for value, _ in exact]) <= 1e-6
    assert relative_error(slopes[:, 0], [slope for _, slope in exact]) <= 1e-6
    assert relative_error(slopes[:, 1], [-slope for _, slope in exact]) <= 1e-6


@pytest.mark.parametrize("mode", EACH_MODE)
def test_far_and_bad_logits(mode):
    """0 from where floats end, at infinity too; NaN in, NaN out."""
    far = np.array([-np.inf, -1e30, -200, 200, 3e38, np.inf], np.float32)
    values, slopes = values_and_slopes(functional.sigmoid_entropy, far, mode)
    np.testing.assert_array_equal(values, 0)
    np.testing.assert_array_equal(slopes, 0)
    np.testing.assert_array_equal(functional.sigmoid_entropy(np.array([-np.inf, np.inf])), 0)

    values, slopes = values_and_slopes(functional.sigmoid_entropy, np.array([np.nan, 0.0], np.float32), mode)
    np.testing.assert_array_equal(np.isnan([values, slopes]), [[True, False], [True, False]])

    rows = np.array([[np.nan, 0, 1], [-np.inf, -np.inf, -np.inf], [np.inf, 0, 0], [3e38, 0, -3e38]], np.float32)
    values, slopes = values_and_slopes(functional.softmax_entropy, rows, mode)
    np.testing.assert_array_equal(np.isnan(values), [True, True, True, False])
    assert (values[3], *slopes[3]) == (0, 0, 0, 0)
    np.testing.assert_array_equal(np.isnan(functional.softmax_entropy(rows)), [True, True, True, False])


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_the_gradient_can_be_differentiated_again(name, mode):
    """Some optimisers and penalties of gradients need it; against differences of the first in float64."""
    z = np.array([0.0, -2.5, 0.3, 1.7], np.float32)
    weights = np.array([1.0, -2.0, 0.5, 3.0])
    function = getattr(functional, f"{name}_entropy")

    def slopes(x):
        d = 1 / (1 + np.exp(-x))
        p = np.exp(x) / np.exp(x).sum()
        surprise = np.log(p) - (p * np.log(p)).sum()
        return (-x * d * (1 - d) if name == "sigmoid" else -p * surprise) / np.log(2)

    step = 1e-6
    expected = [weights @ (slopes(z + step * e) - slopes(z - step * e)) / (2 * step) for e in np.eye(4)]

    def weighted(x):
        return SUM(first_derivative(function, x) * keras.ops.convert_to_tensor(weights, "float32"))

    found = value_and_gradient(weighted, z, mode)[1]

    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


def first_derivative(function, x):
    if BACKEND == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(x)
            total = SUM(function(x))
        return tape.gradient(total, x)
    if BACKEND == "jax":
        import jax

        return jax.grad(lambda z: SUM(function(z)))(x)
    import torch

    return torch.autograd.grad(SUM(function(x)), x, create_graph=True)[0]


@pytest.mark.skipif(BACKEND != "jax", reason="of JAX")
def test_forward_derivatives_and_batches_of_jax():
    import jax

    z = np.linspace(-3, 3, 8, dtype=np.float32).reshape(2, 4)
    for function in (functional.sigmoid_entropy, functional.softmax_entropy):
        reverse = jax.jacrev(function)(z)
        np.testing.assert_allclose(jax.jacfwd(function)(z), reverse, atol=1e-6)
        np.testing.assert_allclose(jax.vmap(function)(z), function(jax.numpy.asarray(z)), rtol=1e-6)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless it is switched on for the whole process")
def test_float64_stays_float64():
    z = keras.ops.convert_to_tensor(POINTS, "float64")

    values = functional.sigmoid_entropy(z)

    assert keras.backend.standardize_dtype(values.dtype) == "float64"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(values), functional.sigmoid_entropy(POINTS), rtol=1e-14)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
def test_variables_are_computed_like_tensors(name):
    function, z = getattr(functional, f"{name}_entropy"), np.array([[0.3, -1.0, 2.0]], np.float32)
    variables = [keras.Variable(z)]
    if BACKEND == "tensorflow":
        import tensorflow as tf

        variables.append(tf.Variable(z))

    for variable in variables:
        np.testing.assert_allclose(keras.ops.convert_to_numpy(function(variable)), function(z), rtol=1e-6)


@pytest.mark.parametrize("name", ["sigmoid", "softmax"])
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3)])
def test_no_rows(name, shape):
    function = getattr(functional, f"{name}_entropy")
    for empty in (np.zeros(shape), keras.ops.zeros(shape)):
        assert tuple(function(empty).shape) == (shape if name == "sigmoid" else shape[:-1])


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_logits_are_computed_in_float32(dtype):
    z = keras.ops.cast(np.array([[0.1, 10.0]]), dtype)

    for function in (functional.sigmoid_entropy, functional.softmax_entropy):
        assert keras.backend.standardize_dtype(function(z).dtype) == "float32"


@pytest.mark.once
@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: functional.softmax_entropy(1.0), ValueError, r"\(\.\.\., classes\).*logits=array\(1"),
        (lambda: functional.softmax_entropy(np.ones((2, 0))), ValueError, "at least one class"),
        (lambda: functional.softmax_entropy([1.0], 1), ValueError, "`base`.*above 1.*base=1"),
        (lambda: functional.softmax_entropy([1.0], np.nan), ValueError, "`base`"),
        (lambda: functional.softmax_entropy([1.0], "e"), TypeError, "`base`.*'e'"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()
