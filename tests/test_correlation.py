"""Total correlation: against samples, against dense operators, and what leaves it unchanged."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from modes import EACH_MODE, MODES, compiled, value_and_gradient
from oracles import glorot, total_correlation

from keras_entropy import TotalCorrelation, functional

few = settings(max_examples=25)
seeds = st.integers(0, 2**32 - 1)
sizes = st.tuples(st.integers(1, 6), st.integers(1, 6))


def normal(shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape)


def of_gaussians(y):
    """Total correlation of Gaussian samples (n, m) from their covariance: sum of log deviations minus log-volume."""
    covariance = np.cov(y, rowvar=False)
    return 0.5 * (np.log(np.diag(covariance)).sum() - np.linalg.slogdet(covariance)[1])


def test_it_is_what_a_million_white_samples_have():
    kernel, n = normal((5, 4)), 1_000_000
    value = float(functional.total_correlation(kernel))

    estimates = [of_gaussians(normal((n // 10, 5), seed) @ kernel) for seed in range(10)]

    error = np.std(estimates, ddof=1) / np.sqrt(10)
    assert abs(np.mean(estimates) - value) < 4 * error
    assert error < 2e-3


def test_of_a_convolution_it_is_what_the_outputs_of_white_images_have():
    """On a torus of 4 x 4 pixels: 32 outputs, each pixel and filter one."""
    from oracles import circular_operator

    kernel = normal((2, 2, 3, 2), 1)
    operator = circular_operator(kernel, 4)
    estimates = [of_gaussians(normal((100_000, operator.shape[1]), seed) @ operator.T) for seed in range(4)]

    value = float(functional.total_correlation(kernel, grid=4))

    # The covariance of m outputs from n samples biases the estimate by m (m - 1) / (4 n).
    bias = 32 * 31 / 4 / 100_000
    np.testing.assert_allclose(np.mean(estimates) - bias, 16 * value, atol=4 * np.std(estimates) / 2 + 1e-3)


@few
@given(seeds, sizes)
def test_it_is_not_negative_and_does_not_see_scales_order_or_rotations_of_inputs(seed, size):
    generator = np.random.default_rng(seed)
    kernel = generator.normal(size=size)
    value = functional.total_correlation(kernel, epsilon=1e-3)
    rotation = np.linalg.qr(generator.normal(size=(size[0], size[0])))[0]

    assert value >= -1e-12
    for changed in (
        kernel * generator.uniform(1e-3, 1e3, size[1]) * generator.choice([-1, 1], size[1]),
        kernel[generator.permutation(size[0])],
        kernel[:, generator.permutation(size[1])],
        rotation @ kernel,
    ):
        np.testing.assert_allclose(functional.total_correlation(changed, epsilon=1e-3), value, atol=1e-9)


@few
@given(seeds, st.integers(1, 5), st.floats(0, 1))
def test_orthogonal_columns_have_none(seed, size, epsilon):
    generator = np.random.default_rng(seed)
    kernel = np.linalg.qr(generator.normal(size=(size + 1, size)))[0] * generator.uniform(0.1, 10, size)

    np.testing.assert_allclose(functional.total_correlation(kernel, epsilon=epsilon), 0, atol=1e-12)


@few
@given(seeds, st.sampled_from([{}, {"strides": 2}, {"dilation": 2, "grid": 16}, {"groups": 2}]))
def test_a_convolution_does_not_see_scales_of_filters_and_is_not_negative(seed, arguments):
    kernel = normal((3, 3, 2, 4), seed)
    scaled = kernel * np.random.default_rng(seed).uniform(1e-3, 1e3, 4)
    arguments = {"grid": 4, "epsilon": 1e-2, **arguments}

    value = functional.total_correlation(kernel, **arguments)

    assert value >= 0
    np.testing.assert_allclose(functional.total_correlation(scaled, **arguments), value, atol=1e-9)


def test_one_tap_orthogonal_filters_have_none_and_shifted_copies_do():
    kernel = np.zeros((3, 3, 2, 2))
    kernel[0, 1, 0, 0], kernel[2, 2, 1, 1] = 3.0, 0.1
    np.testing.assert_allclose(functional.total_correlation(kernel), 0, atol=1e-12)

    kernel[2, 2, 1, 1], kernel[2, 2, 0, 1] = 0.0, 0.1  # the same channel, shifted: the same numbers at other pixels
    assert functional.total_correlation(kernel) > 10


def test_with_more_outputs_than_inputs_it_is_a_constant_plus_how_far_the_frame_is_from_tight():
    angles = np.array([0, 2 * np.pi / 3, 4 * np.pi / 3])
    tight = np.stack([np.cos(angles), np.sin(angles)])  # s^2 = m / d = 1.5 twice
    value = functional.total_correlation(tight, epsilon=1e-3)

    np.testing.assert_allclose(value, np.log(1e3) - np.log(1.5), atol=1e-5)
    assert functional.total_correlation(tight) == np.inf
    for seed in range(5):
        assert functional.total_correlation(normal((2, 3), seed), epsilon=1e-3) > value


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("shape", [(6, 4), (3, 5), (3, 3, 2, 4)])
def test_the_gradient_does_not_push_the_norm_of_any_output(shape, mode):
    kernel = normal(shape).astype("float32")

    _, gradient = value_and_gradient(TotalCorrelation(1.0), kernel, mode)

    along = (gradient * kernel).reshape(-1, shape[-1]).sum(0)
    assert np.abs(along).max() < 1e-5 * np.abs(gradient).max()
    assert np.abs(gradient).max() > 1e-3


@pytest.mark.parametrize("shape", [(6, 4), (3, 3, 4, 4), (3, 4, 4)])
def test_descent_makes_outputs_independent_and_keeps_norms(shape):
    kernel = glorot(shape).astype("float32")
    regularizer = TotalCorrelation(1.0, reduction="sum")
    norms = np.sqrt((kernel**2).reshape(-1, shape[-1]).sum(0))
    first = regularizer.measure(kernel)
    step = compiled(regularizer, MODES[-1])
    for _ in range(500):
        _, gradient = step(kernel)
        kernel = kernel - 0.05 * norms.mean() ** 2 * gradient

    # Dense kernels become orthogonal; the way of a convolution to an orthogonal one has long flat stretches.
    assert regularizer.measure(kernel) < (1e-2 if len(shape) == 2 else 0.1 * first)
    # Each step is orthogonal to the filter, so norms grow by second-order terms only.
    np.testing.assert_allclose(np.sqrt((kernel**2).reshape(-1, shape[-1]).sum(0)), norms, rtol=0.1)


@pytest.mark.parametrize("mode", EACH_MODE)
def test_an_output_of_zeros_is_independent_of_the_others(mode):
    kernel = normal((4, 3))
    expected = functional.total_correlation(kernel[:, :2], epsilon=1e-3)
    kernel[:, 2] = 0

    value, gradient = value_and_gradient(lambda x: functional.total_correlation(x, epsilon=1e-3), kernel, mode)

    np.testing.assert_allclose(value, expected, atol=1e-5)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(functional.total_correlation(kernel, epsilon=1e-3), expected, atol=1e-10)


@pytest.mark.parametrize(
    ("shape", "arguments"),
    [((6, 4), {}), ((3, 5), {}), ((3, 3, 2, 4), {"strides": 2}), ((3, 3, 2, 4), {"groups": 2}), ((2, 2, 3, 2), {})],
)
def test_the_spectrum_sums_to_it(shape, arguments):
    kernel = normal(shape)

    values = functional.correlation_log_spectrum(kernel, epsilon=1e-3, **arguments)

    assert values.shape == (shape[-1],)
    np.testing.assert_allclose(values.sum(), functional.total_correlation(kernel, epsilon=1e-3, **arguments))
    if len(shape) == 2:
        np.testing.assert_allclose(values.sum(), total_correlation(kernel, 1e-3))


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match=r"spatial.*\(3,\)"):
        functional.total_correlation(np.ones(3))
    with pytest.raises(ValueError, match="`epsilon`"):
        functional.total_correlation(np.eye(2), epsilon=-1)
    with pytest.raises(ValueError, match="`groups`.*1 for a kernel without spatial"):
        TotalCorrelation(1.0, groups=2)(np.eye(2))
    with pytest.raises(ValueError, match="layout='depthwise'"):
        TotalCorrelation(1.0, layout="depthwise")(np.eye(2))
