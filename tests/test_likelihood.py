"""The Gaussian likelihood of residuals against SciPy in float64."""

import keras
import numpy as np
import pytest
from modes import EACH_MODE, value_and_gradient
from scipy.stats import multivariate_normal

from keras_entropy import DenseEntropy, functional

likelihood = functional.gaussian_negative_log_likelihood
RESIDUALS = np.random.default_rng(0).normal(size=(6, 4))
WHITENING = np.random.default_rng(1).normal(size=(4, 4)) + 2 * np.eye(4)


def expected(residuals, whitening):
    return -multivariate_normal(np.zeros(4), np.linalg.inv(whitening.T @ whitening)).logpdf(residuals)


def test_numpy_arrays_are_computed_in_float64():
    value = likelihood(RESIDUALS.astype("float32"), WHITENING)

    assert value.dtype == "float64"
    np.testing.assert_allclose(value, expected(RESIDUALS.astype("float32"), WHITENING), rtol=1e-12)


def test_any_square_root_of_the_precision_gives_the_same():
    """W and QW for a rotation Q, the inverse Cholesky factor of the covariance among them."""
    factor = np.linalg.cholesky(np.linalg.inv(WHITENING.T @ WHITENING))

    np.testing.assert_allclose(likelihood(RESIDUALS, np.linalg.inv(factor)), likelihood(RESIDUALS, WHITENING))


@pytest.mark.parametrize("mode", EACH_MODE)
def test_value_and_gradient_of_the_whitening(mode):
    value, gradient = value_and_gradient(
        lambda w: keras.ops.mean(likelihood(RESIDUALS.astype("float32"), w)), WHITENING, mode
    )

    np.testing.assert_allclose(value, expected(RESIDUALS, WHITENING).mean(), rtol=1e-5)
    formula = WHITENING @ RESIDUALS.T @ RESIDUALS / 6 - np.linalg.inv(WHITENING).T
    np.testing.assert_allclose(gradient, formula, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("mode", EACH_MODE)
def test_value_and_gradient_of_the_residuals(mode):
    value, gradient = value_and_gradient(lambda r: keras.ops.sum(likelihood(r, WHITENING)), RESIDUALS, mode)

    np.testing.assert_allclose(value, expected(RESIDUALS, WHITENING).sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, RESIDUALS @ WHITENING.T @ WHITENING, rtol=1e-4)


def test_further_axes_and_16_bits():
    residuals = keras.ops.cast(np.ones((2, 3, 4)), "float16")

    value = likelihood(residuals, WHITENING)

    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    np.testing.assert_allclose(
        keras.ops.convert_to_numpy(value), np.full((2, 3), expected(np.ones(4), WHITENING)), 1e-5
    )


def test_nan_stays_in_its_row():
    residuals = RESIDUALS.copy()
    residuals[2, 1] = np.nan

    np.testing.assert_array_equal(np.isnan(likelihood(residuals, WHITENING)), np.arange(6) == 2)


def test_a_singular_whitening_has_no_density():
    with np.errstate(divide="ignore"):
        assert np.isposinf(likelihood(RESIDUALS, np.zeros((4, 4)))).all()


def test_the_log_volume_term_is_the_normaliser():
    """A Dense layer on the residuals with `DenseEntropy(reduction="sum")` has this loss but for the constant."""
    term = float(DenseEntropy(1.0, reduction="sum", epsilon=0.0)(keras.ops.convert_to_tensor(WHITENING.T, "float32")))
    squares = 0.5 * np.square(RESIDUALS @ WHITENING.T).sum(axis=1)

    np.testing.assert_allclose(squares + term + 2 * np.log(2 * np.pi), likelihood(RESIDUALS, WHITENING), rtol=1e-5)


@pytest.mark.parametrize(
    ("residuals", "whitening", "message"),
    [
        (np.ones((2, 3)), np.ones((3, 2)), r"`whitening` should be a square matrix"),
        (np.ones((2, 3)), np.ones((2, 2)), r"`residuals` should be an array \(..., 2\).*has the shape \(2, 2\)"),
        (1.0, np.ones((2, 2)), "`residuals` should be an array"),
    ],
)
def test_shapes_that_do_not_fit(residuals, whitening, message):
    with pytest.raises(ValueError, match=message):
        likelihood(residuals, whitening)
