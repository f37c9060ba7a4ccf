"""The exact log-volume of convolutions against dense operators, and what it must satisfy."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import BACKEND, EACH_MODE, MODES, compiled, value_and_gradient
from oracles import central_differences, circular_operator, conv_log_volume, glorot, log_volume, log_volume_gradient

from keras_entropy import functional

SHAPES = [
    ((5, 1, 1), 8, {}),
    ((3, 2, 3), 7, {}),
    ((3, 3, 2, 2), 4, {}),
    ((3, 3, 3, 2), 4, {"dilation": 2}),
    ((3, 3, 2, 3), 4, {"strides": 2}),
    ((3, 3, 2, 3), 3, {"strides": 2, "dilation": 3}),
    ((1, 1, 3, 5), 4, {"strides": 2}),
    ((3, 3, 2, 4), 4, {"groups": 2}),
    ((2, 3, 1, 6), 3, {"groups": 3}),
    ((2, 2, 2, 1, 2), 3, {}),
    ((3, 6, 2), 3, {}),  # one real and one complex frequency, both tall
    ((5, 5, 1, 2), 3, {}),  # the grid is coarser than the kernel: the taps wrap around
]
shapes = pytest.mark.parametrize(("shape", "grid", "arguments"), SHAPES, ids=lambda x: str(x).replace(" ", ""))


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def singular_values(kernel, grid=8):
    """Of all transfer matrices of a stride-1 kernel, by NumPy's FFT."""
    axes = tuple(range(kernel.ndim - 2))
    return np.linalg.svd(np.fft.fftn(kernel, [grid] * len(axes), axes), compute_uv=False)


def gradient_by_svd(kernel, grid, epsilon):
    """Of the mean over frequencies of the log-volume, in float64."""
    axes = tuple(range(kernel.ndim - 2))
    u, s, vh = np.linalg.svd(np.fft.fftn(kernel, [grid] * len(axes), axes), full_matrices=False)
    inverse = np.conj((u * (s / (s**2 + epsilon**2))[..., None, :]) @ vh)
    back = np.fft.fftn(inverse, axes=axes).real / grid ** len(axes)
    return back[tuple(slice(0, n) for n in kernel.shape[:-2])]


@shapes
def test_host_equals_the_dense_operator(shape, grid, arguments):
    kernel = normal(shape)
    for epsilon in (1e-3, 0.5):
        expected = conv_log_volume(kernel, grid, epsilon, **arguments)
        assert functional.conv_log_volume(kernel, grid, epsilon, **arguments) == pytest.approx(expected, abs=1e-9)


@shapes
@pytest.mark.parametrize("mode", EACH_MODE)
def test_value_and_gradient_equal_the_dense_operator(shape, grid, arguments, mode):
    kernel = normal(shape).astype("float32")

    value, gradient = value_and_gradient(lambda x: functional.conv_log_volume(x, grid, 1e-3, **arguments), kernel, mode)

    np.testing.assert_allclose(value, conv_log_volume(kernel, grid, 1e-3, **arguments), atol=1e-4)
    expected = central_differences(lambda x: conv_log_volume(x, grid, 1e-3, **arguments), kernel)
    np.testing.assert_allclose(gradient, expected, atol=1e-3 * np.abs(expected).max())


@pytest.mark.parametrize("mode", [MODES[-1] if MODES[-1] != "xla" else "graph"])
@pytest.mark.parametrize(
    "shape", [(3, 3, 64, 64), (3, 3, 256, 128), pytest.param((3, 3, 256, 256), marks=pytest.mark.slow)]
)
def test_wide_kernels_agree_with_float64_in_total(shape, mode):
    # Of condition below 1e5: at an all but singular frequency, rounding of the float32 kernel decides the gradient.
    kernel = glorot(shape, seed=1).astype("float32")

    value, gradient = value_and_gradient(lambda x: functional.conv_log_volume(x, epsilon=1e-4), kernel, mode)

    s = singular_values(kernel.astype("float64"))
    expected = 0.5 * np.log(s**2 + 1e-8).sum(-1).mean()
    assert abs(value - expected) < 1e-3
    expected = gradient_by_svd(kernel.astype("float64"), 8, 1e-4)
    assert np.abs(gradient - expected).max() < 1e-3 * np.abs(expected).max()


@shapes
def test_the_spectrum_sums_to_the_volume(shape, grid, arguments):
    kernel = normal(shape)
    groups, rows, columns = functional.transfer_shape(shape, arguments.get("strides", 1), arguments.get("dilation", 1),
                                                      arguments.get("groups", 1))  # fmt: skip

    values = functional.conv_log_spectrum(kernel, grid, 1e-3, **arguments)

    assert values.shape == (groups * min(rows, columns),)
    np.testing.assert_allclose(values.sum(), functional.conv_log_volume(kernel, grid, 1e-3, **arguments), rtol=1e-9)
    tensor = keras.ops.convert_to_tensor(kernel.astype("float32"))
    found = keras.ops.convert_to_numpy(functional.conv_log_spectrum(tensor, grid, 1e-3, **arguments))
    np.testing.assert_allclose(found, values, atol=1e-4)


def test_stride_two_equals_the_dense_operator_that_keras_applies():
    """Circular padding by hand, then Keras's own convolution, on every unit image."""
    kernel, n = normal((3, 3, 2, 3)).astype("float32"), 4
    images = np.eye(4 * n * n * 2).reshape(-1, 2 * n, 2 * n, 2).astype("float32")
    padded = np.pad(images, [(0, 0), (0, 2), (0, 2), (0, 0)], mode="wrap")
    outputs = keras.ops.convert_to_numpy(keras.ops.conv(padded, kernel, strides=2))[:, :n, :n]
    operator = outputs.reshape(len(images), -1).astype("float64")

    s = np.linalg.svd(operator, compute_uv=False)

    expected = np.log(s).sum() / n**2
    np.testing.assert_allclose(functional.conv_log_volume(kernel, grid=n, strides=2), expected, atol=1e-5)


def test_a_transposed_convolution_has_the_volume_of_the_convolution_it_transposes():
    kernel, n = normal((3, 3, 2, 3)).astype("float32"), 4  # Conv2DTranspose from 3 channels to 2
    images = np.eye(n * n * 3).reshape(-1, n, n, 3).astype("float32")
    outputs = keras.ops.convert_to_numpy(keras.ops.conv_transpose(images, kernel, strides=2))
    wrapped = np.zeros((len(images), 2 * n, 2 * n, 2))
    for row, column in np.ndindex(outputs.shape[1:3]):
        wrapped[:, row % (2 * n), column % (2 * n)] += outputs[:, row, column]
    s = np.linalg.svd(wrapped.reshape(len(images), -1), compute_uv=False)

    found = functional.conv_log_volume(kernel, grid=n, strides=2)

    np.testing.assert_allclose(found, np.log(s).sum() / n**2, atol=1e-5)


def test_the_default_grid_is_finer_than_the_kernel_and_does_not_repeat_frequencies():
    for shape, arguments, grid in [
        ((3, 3, 1, 1), {}, 8),
        ((8, 1, 1), {}, 16),
        ((11, 11, 1, 1), {}, 16),
        ((3, 3, 1, 1), {"dilation": 2}, 16),
        ((7, 7, 1, 1), {"strides": 2}, 8),
    ]:
        kernel = normal(shape)
        assert functional.conv_log_volume(kernel, **arguments) == functional.conv_log_volume(kernel, grid, **arguments)


def test_dilation_leaves_the_limit_of_a_large_grid_as_it_is():
    kernel = normal((3, 3, 2, 2))
    plain = functional.conv_log_volume(kernel, grid=31)

    for dilation in (2, 3, (1, 4)):
        np.testing.assert_allclose(functional.conv_log_volume(kernel, grid=31, dilation=dilation), plain)
    np.testing.assert_allclose(functional.conv_log_volume(kernel, dilation=2), functional.conv_log_volume(kernel))


def test_pointwise_kernels_are_dense_kernels():
    kernel = normal((1, 1, 5, 3))

    np.testing.assert_allclose(functional.conv_log_volume(kernel), functional.dense_log_volume(kernel[0, 0]))


kernels_of_one_channel = st.integers(0, 2**32 - 1).map(lambda seed: normal((3, 3, 1, 1), seed))
square_kernels = st.tuples(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 2)).map(
    lambda t: normal((*[3] * t[2], t[1], t[1]), t[0])
)
few = settings(max_examples=25)


@few
@given(kernels_of_one_channel)
def test_each_of_the_four_corners_bounds_one_channel_from_below(kernel):
    volume = functional.conv_log_volume(kernel, grid=128)

    # A statement about the limit: the quadrature is off by up to 1e-3 where the kernel is nearly singular.
    for corner in kernel[[0, 0, 2, 2], [0, 2, 0, 2], 0, 0]:
        assert volume > np.log(abs(corner)) - 5e-3


@few
@given(square_kernels)
def test_the_corner_matrix_bounds_equal_channels_from_below(kernel):
    bound = functional.corner_log_volume(kernel)

    assert functional.conv_log_volume(kernel, grid=128 if kernel.ndim == 4 else 4096) > bound - 2e-2


@few
@given(square_kernels, st.integers(3, 5))
def test_it_is_the_log_determinant_of_the_circulant(kernel, grid):
    rank = kernel.ndim - 2
    _, expected = np.linalg.slogdet(circular_operator(kernel, grid))

    np.testing.assert_allclose(functional.conv_log_volume(kernel, grid), expected / grid**rank, atol=1e-8)


@few
@given(square_kernels, st.floats(1e-3, 1e3))
def test_scaling_adds_the_log_per_dimension(kernel, scale):
    added = kernel.shape[-1] * np.log(scale)

    np.testing.assert_allclose(
        functional.conv_log_volume(-scale * kernel), functional.conv_log_volume(kernel) + added, atol=1e-8
    )


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 4))
def test_orthogonal_convolutions_change_no_entropy(seed, channels):
    """Products of 1 x 1 rotations and shifts of single channels are orthogonal convolutions (paraunitary)."""
    generator = np.random.default_rng(seed)
    kernel = np.zeros((3, 3, channels, channels))
    rotation = np.linalg.qr(generator.normal(size=(channels, channels)))[0]
    mixing = np.linalg.qr(generator.normal(size=(channels, channels)))[0]
    for channel in range(channels):
        shift = tuple(generator.integers(0, 3, 2))
        kernel[shift] += np.outer(rotation[:, channel], mixing[channel])

    np.testing.assert_allclose(functional.conv_log_volume(kernel), 0, atol=1e-12)


@few
@given(st.integers(0, 2**32 - 1), st.integers(1, 3))
def test_volumes_of_consecutive_square_layers_add_up(seed, channels):
    first, second = normal((3, channels, channels), seed), normal((2, channels, channels), seed + 1)
    product = np.zeros((4, channels, channels))
    for i, j in np.ndindex(3, 2):
        product[i + j] += first[i] @ second[j]
    total = functional.conv_log_volume(first, 16) + functional.conv_log_volume(second, 16)

    np.testing.assert_allclose(functional.conv_log_volume(product, 16), total, atol=1e-8)
    matrices = first[0], second[0]
    np.testing.assert_allclose(
        functional.dense_log_volume(matrices[0] @ matrices[1]),
        sum(map(functional.dense_log_volume, matrices)),
        atol=1e-8,
    )


@pytest.mark.parametrize("mode", EACH_MODE)
def test_degenerate_kernels_stay_finite_and_nan_is_not_masked(mode):
    function = compiled(lambda x: functional.conv_log_volume(x, epsilon=1e-3), mode)
    for name, kernel in {
        "zero": np.zeros((3, 3, 2, 2)),
        "one filter twice": np.repeat(normal((3, 3, 2, 1)), 2, axis=-1),
        "difference": np.array([1.0, -1.0]).reshape(2, 1, 1, 1) * np.eye(2),  # singular at frequency 0
        "1e20": np.full((3, 3, 2, 2), 1e20),
        "1e-20": np.full((3, 3, 2, 2), 1e-20),
    }.items():
        value, gradient = function(kernel)
        assert np.isfinite(value), name
        assert np.abs(gradient).max() <= 2.001 / (2 * 1e-3), name
    kernel = normal((3, 3, 2, 2))
    kernel[1, 1, 0, 0] = np.inf
    assert np.isnan(function(kernel)[0])
    assert np.isnan(functional.conv_log_volume(kernel))


@pytest.mark.skipif(BACKEND == "jax", reason="JAX has no float64 unless it is switched on for the whole process")
def test_float64_kernels_stay_float64():
    kernel = normal((3, 3, 4, 6))
    tensor = keras.ops.convert_to_tensor(kernel, "float64")
    for function in (functional.conv_log_volume, functional.total_correlation):
        value = function(tensor, epsilon=1e-3)

        assert keras.backend.standardize_dtype(value.dtype) == "float64"
        np.testing.assert_allclose(keras.ops.convert_to_numpy(value), function(kernel, epsilon=1e-3), rtol=1e-9)


def test_a_singular_kernel_without_a_floor_is_minus_infinity_on_the_host():
    assert functional.conv_log_volume(np.zeros((3, 3, 2, 2))) == -np.inf


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        ({"kernel": np.ones((3, 3))}, ValueError, r"`kernel`.*spatial.*\(3, 3\)"),
        ({"grid": 0}, ValueError, "`grid`.*positive integer"),
        ({"grid": 8.0}, TypeError, "`grid`"),
        ({"strides": 0}, ValueError, "`strides`"),
        ({"strides": (1, 2, 3)}, ValueError, "`strides`.*each of 2"),
        ({"dilation": 1.5}, TypeError, "`dilation`"),
        ({"groups": 3}, ValueError, "`groups`.*2 filters.*groups=3"),
        ({"epsilon": -1.0}, ValueError, "`epsilon`"),
    ],
)
@pytest.mark.parametrize("function", [functional.conv_log_volume, functional.conv_log_spectrum])
def test_bad_arguments_are_refused(function, arguments, error, words):
    with pytest.raises(error, match=words):
        function(**{"kernel": np.ones((3, 3, 2, 2)), **arguments})


@pytest.mark.slow
@pytest.mark.parametrize("mode", [MODES[-1] if MODES[-1] != "xla" else "graph"])
def test_dense_volume_of_the_largest_kernel_of_vgg_scaled_down(mode):
    """25088 x 4096 itself is measured by hand: docs/exact_entropy.md."""
    kernel = glorot((3136, 512)).astype("float32")

    value, gradient = value_and_gradient(lambda x: functional.dense_log_volume(x, epsilon=1e-4), kernel, mode)

    assert abs(value - log_volume(kernel, 1e-4)) < 1e-3
    expected = log_volume_gradient(kernel, 1e-4)
    assert np.abs(gradient - expected).max() < 1e-3 * np.abs(expected).max()
