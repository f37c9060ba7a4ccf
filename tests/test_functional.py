import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import BACKEND, EACH_MODE, compiled, value_and_gradient
from oracles import conv_operator, glorot, leading, log_volume, log_volume_gradient, with_condition

from keras_entropy import functional

EPSILON = 1e-4

KERNELS = {
    "glorot 60x60": glorot((60, 60)),
    "glorot 784x180": glorot((784, 180)),
    "glorot 180x784": glorot((180, 784)),
    "condition 1e2, 260x260": with_condition(260, 260, 1e2),
    "condition 1e4, 60x60": with_condition(60, 60, 1e4),
    "condition 1e4, 260x100": with_condition(260, 100, 1e4),
    "condition 1e4, 100x260": with_condition(100, 260, 1e4),
    "one element": np.array([[-0.3]]),
    "one column": glorot((7, 1)),
}


def agrees(function, kernel, mode, expected, expected_gradient, dimensions):
    """<= 1e-5 per dimension in the value and <= 1e-3 relative in the gradient; float32 has about 1e-7."""
    value, gradient = value_and_gradient(function, kernel, mode)

    assert abs(value - expected) <= 1e-5 * dimensions
    assert np.abs(gradient - expected_gradient).max() <= 1e-3 * np.abs(expected_gradient).max()


def log_volume_agrees(kernel, mode):
    kernel = kernel.astype("float32")
    agrees(
        lambda x: functional.dense_log_volume(x, epsilon=EPSILON),
        kernel,
        mode,
        log_volume(kernel, EPSILON),
        log_volume_gradient(kernel, EPSILON),
        min(kernel.shape),
    )


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("name", KERNELS)
def test_dense_log_volume_agrees_with_float64(name, mode):
    log_volume_agrees(KERNELS[name], mode)


@pytest.mark.slow
@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("condition", [None, 1e4])
def test_dense_log_volume_agrees_with_float64_at_1024(condition, mode):
    log_volume_agrees(glorot((1024, 1024)) if condition is None else with_condition(1024, 1024, condition), mode)


@pytest.mark.parametrize("mode", EACH_MODE)
def test_leading_block_is_the_square_part(mode):
    kernel = glorot((50, 20)).astype("float32")
    expected = np.zeros((50, 20))
    expected[:20] = log_volume_gradient(leading(kernel), EPSILON)
    agrees(
        lambda x: functional.dense_log_volume(x, "leading", EPSILON),
        kernel,
        mode,
        log_volume(leading(kernel), EPSILON),
        expected,
        20,
    )


@pytest.mark.parametrize("mode", EACH_MODE)
def test_log_abs_det_of_a_batch(mode):
    matrices = np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype("float32")
    expected = np.linalg.slogdet(matrices.astype("float64"))[1]

    value, gradient = value_and_gradient(lambda x: keras.ops.sum(functional.log_abs_det(x)), matrices, mode)

    assert functional.log_abs_det(matrices).shape == (2, 3)
    np.testing.assert_allclose(value, expected.sum(), atol=1e-4)
    np.testing.assert_allclose(gradient, np.linalg.inv(matrices).swapaxes(-1, -2), atol=1e-3)


DEGENERATE = {
    "zero": np.zeros((6, 6)),
    "zero row": np.diag([1.0, 2, 3, 0, 4, 5]),
    "duplicate columns": np.repeat(np.random.default_rng(0).normal(size=(6, 3)), 2, axis=1),
    "rank 1": np.outer(np.arange(1.0, 7), np.arange(2.0, 8)),
    "rank 1, 300x200": np.outer(np.linspace(-1, 1, 300), np.linspace(1, 2, 200)),
    "duplicate columns, 200x200": np.repeat(np.random.default_rng(1).normal(size=(200, 100)), 2, axis=1),
    "all 1e20": np.full((6, 6), 1e20),
    "all 1e-20": np.full((6, 6), 1e-20),
    "1e20 beside 0": np.diag([1e20, 0, 1, 1e-20, 1e20, 1]),
    "normal, times 1e20": 1e20 * np.random.default_rng(2).normal(size=(40, 20)),
}


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("name", DEGENERATE)
def test_singular_and_extreme_kernels_stay_finite_with_a_bounded_gradient(name, mode):
    kernel = DEGENERATE[name].astype("float32")

    value, gradient = value_and_gradient(lambda x: functional.dense_log_volume(x, epsilon=EPSILON), kernel, mode)

    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    # 1 / (2 epsilon) in exact arithmetic; float32 rounds the singular values of the kernel.
    assert np.linalg.norm(gradient.astype("float64"), 2) <= 1.001 / (2 * EPSILON)


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("name", ["zero", "zero row", "all 1e-20", "rank 1"])
def test_singular_values_below_the_floor_count_as_the_floor(name, mode):
    kernel = DEGENERATE[name].astype("float32")

    value, _ = value_and_gradient(lambda x: functional.dense_log_volume(x, epsilon=EPSILON), kernel, mode)

    # Of a singular value that is 0 in exact arithmetic float32 leaves up to 1e-7 of the norm, here up to 1e-5.
    np.testing.assert_allclose(value, log_volume(kernel, EPSILON), atol=0.02)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("mode", EACH_MODE)
def test_a_weight_that_is_not_finite_gives_nan(mode, bad):
    kernel = glorot((5, 4))
    kernel[2, 1] = bad

    value, gradient = value_and_gradient(lambda x: functional.dense_log_volume(x, epsilon=EPSILON), kernel, mode)

    assert np.isnan(value)
    assert np.isnan(gradient).any()
    assert np.isnan(functional.dense_log_volume(kernel, epsilon=EPSILON))
    assert np.isnan(functional.log_abs_det(kernel[:4]))
    assert np.isnan(functional.dense_log_spectrum(kernel)).all()


def test_numpy_arrays_are_computed_in_float64_on_the_host():
    kernel = glorot((50, 20))

    value = functional.dense_log_volume(kernel, epsilon=1e-9)

    assert isinstance(value, np.ndarray)
    np.testing.assert_allclose(value, log_volume(kernel, 1e-9), rtol=1e-12)
    np.testing.assert_allclose(functional.dense_log_spectrum(kernel).sum(), log_volume(kernel), rtol=1e-12)
    np.testing.assert_allclose(functional.log_abs_det(kernel[:20]), np.linalg.slogdet(kernel[:20])[1], rtol=1e-12)


def test_a_singular_matrix_without_a_floor_is_minus_infinity_on_the_host():
    assert functional.log_abs_det(np.diag([1.0, 0.0])) == -np.inf
    assert functional.dense_log_volume(np.array([[1.0, 0.0], [0.0, 0.0], [1.0, 0.0]])) == -np.inf
    assert functional.corner_log_magnitude(np.zeros((1, 1, 1, 1)))[0, 0] == -np.inf


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_kernels_are_computed_in_float32(dtype):
    kernel = keras.ops.cast(glorot((20, 10)), dtype)

    value = functional.dense_log_volume(kernel, epsilon=EPSILON)

    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    exact = keras.ops.convert_to_numpy(keras.ops.cast(kernel, "float32"))
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value), log_volume(exact, EPSILON), atol=1e-4)


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless it is switched on for the whole process")
def test_float64_kernels_stay_float64():
    kernel = glorot((20, 10))

    value = functional.dense_log_volume(keras.ops.convert_to_tensor(kernel, "float64"), epsilon=EPSILON)

    assert keras.backend.standardize_dtype(value.dtype) == "float64"
    np.testing.assert_allclose(keras.ops.convert_to_numpy(value), log_volume(kernel, EPSILON), rtol=1e-12)


@pytest.mark.parametrize("mode", EACH_MODE)
def test_log_magnitude_and_its_gradient(mode):
    both = compiled(lambda x: keras.ops.sum(functional.log_magnitude(x, EPSILON)), mode)
    for x in [0.0, 1e-20, 1e-5, 0.3, -2.0, 1e20]:
        value, gradient = both([x])

        np.testing.assert_allclose(value, 0.5 * np.log(x**2 + EPSILON**2), rtol=1e-5)
        np.testing.assert_allclose(gradient, [x / (x**2 + EPSILON**2)], rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("mode", EACH_MODE)
def test_reciprocal_and_its_gradient(mode):
    both = compiled(lambda x: keras.ops.sum(functional.reciprocal(x, 1e-3)), mode)
    for log_magnitude in [-1e4, -100.0, -9.0, 0.0, 3.0, 1e4]:
        value, gradient = both([log_magnitude])

        with np.errstate(over="ignore"):
            magnitude = np.exp(log_magnitude)
        expected = 1 / (magnitude + 1e-3)
        np.testing.assert_allclose(value, expected, rtol=1e-5)
        slope = -magnitude * expected**2 if np.isfinite(magnitude) else 0.0
        np.testing.assert_allclose(gradient, [slope], rtol=1e-4, atol=1e-36)


def test_corner_of_one_two_and_three_dimensions():
    for shape in [(3, 2, 4), (3, 2, 2, 4), (3, 2, 5, 2, 4)]:
        kernel = glorot(shape)
        first = kernel.reshape(-1, 2, 4)[0]
        np.testing.assert_array_equal(functional.corner(kernel), first)
        np.testing.assert_allclose(functional.corner_log_magnitude(kernel), np.log(np.abs(first)))


def test_corner_log_volume_of_groups_adds_the_groups():
    kernel = glorot((3, 3, 4, 6))
    expected = log_volume(kernel[0, 0, :, :3]) + log_volume(kernel[0, 0, :, 3:])

    np.testing.assert_allclose(functional.corner_log_volume(kernel, groups=2), expected)


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), channels=st.integers(1, 3))
def test_corner_matrix_bounds_the_entropy_of_the_whole_convolution_from_below(seed, channels):
    """Per pixel, on a large circular image: the mean over frequencies of the log-volume of the transfer matrix."""
    kernel = np.random.default_rng(seed).normal(size=(3, 3, channels, channels))
    n = 64
    transfer = np.fft.fft2(kernel, (n, n), axes=(0, 1))
    exact = np.linalg.slogdet(transfer)[1].mean()

    # At n = 64 the mean over frequencies is up to about 1e-2 below its limit for kernels with zeros on the torus.
    assert functional.corner_log_volume(kernel) <= exact + 0.05


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6), scale=st.floats(1e-3, 1e3), k=st.integers(1, 6))
def test_scaling_products_and_rotations(seed, scale, k):
    generator = np.random.default_rng(seed)
    a, b = generator.normal(size=(2, k, k))
    rotation = np.linalg.qr(generator.normal(size=(k, k)))[0]
    volume = functional.dense_log_volume(a)

    np.testing.assert_allclose(functional.dense_log_volume(scale * a), volume + k * np.log(scale), atol=1e-9)
    np.testing.assert_allclose(functional.dense_log_volume(a @ b), volume + functional.dense_log_volume(b), atol=1e-7)
    np.testing.assert_allclose(functional.dense_log_volume(rotation @ a), volume, atol=1e-9)
    np.testing.assert_allclose(functional.dense_log_volume(rotation), 0, atol=1e-12)


def test_the_operator_helper_is_what_keras_computes():
    kernel = glorot((3, 2, 2, 3)).astype("float32")
    image = np.random.default_rng(0).normal(size=(1, 7, 6, 2)).astype("float32")
    operator, _ = conv_operator(kernel, (7, 6), strides=2)

    expected = keras.ops.convert_to_numpy(keras.ops.conv(image, kernel, strides=2))

    np.testing.assert_allclose(operator @ image.reshape(-1), expected.reshape(-1), atol=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: functional.log_abs_det(np.ones((2, 3))), r"\(\.\.\., n, n\).*\(2, 3\)"),
        (lambda: functional.dense_log_volume(np.ones(3)), r"\(\.\.\., d, m\).*\(3,\)"),
        (lambda: functional.dense_log_volume(np.ones((2, 2)), "middle"), "'full', 'leading'.*'middle'"),
        (lambda: functional.dense_log_volume(np.ones((2, 2)), epsilon=-1), "at least 0.*-1"),
        (lambda: functional.corner(np.ones((2, 2))), r"spatial.*\(2, 2\)"),
        (lambda: functional.corner_log_volume(np.ones((2, 2, 1, 3)), groups=2), "divisor of the 3 filters"),
        (lambda: functional.reciprocal(0.0, 0.0), "above 0"),
    ],
)
def test_bad_arguments_are_named(call, words):
    with pytest.raises(ValueError, match=words):
        call()
