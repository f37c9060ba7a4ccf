"""The corner measure against the dense matrices of the convolutions it stands for."""

import keras
import numpy as np
import pytest
from oracles import conv_operator, glorot

from keras_entropy import functional


def log_det(matrix):
    return np.linalg.slogdet(matrix)[1]


def made_square(operator, corners):
    """The square map of [A, eq. 13 and 17]: the identity, its rows at the corners replaced by the convolution's."""
    square = np.eye(operator.shape[1])
    square[corners] = operator
    return square


def test_example_5_of_the_paper():
    image = np.array([[3, 4, 1, 2], [0, 0, 5, 6], [2, 1, 0, 3], [1, 4, 2, 5]], np.float32)
    kernel = np.array([[2, 1], [4, 3], [-2, 1]], np.float32)[..., None, None]
    operator, corners = conv_operator(kernel.astype("float64"), image.shape)

    feature_map = keras.ops.convert_to_numpy(keras.ops.conv(image[None, ..., None], kernel))[0, ..., 0]

    np.testing.assert_allclose(feature_map, [[7, 22, 45], [13, 3, 26]], atol=1e-5)
    np.testing.assert_allclose(operator @ image.ravel(), feature_map.ravel(), atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(made_square(operator, corners)), 64)
    np.testing.assert_allclose(6 * functional.corner_log_magnitude(kernel)[0, 0], np.log(64), rtol=1e-6)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize(("size", "image"), [((3, 3), (6, 5)), ((2, 4), (5, 7)), ((1, 1), (3, 3)), ((3,), (8,))])
def test_corollary_6_on_random_filters(size, image, seed):
    kernel = np.random.default_rng(seed).normal(size=(*size, 1, 1))
    operator, corners = conv_operator(kernel, image)
    outputs = np.prod([n - k + 1 for n, k in zip(image, size, strict=True)])

    expected = outputs * functional.corner_log_magnitude(kernel)[0, 0]

    np.testing.assert_allclose(log_det(made_square(operator, corners)), expected)
    # Its columns at the corner's positions alone are triangular with c11 on the diagonal.
    np.testing.assert_allclose(log_det(operator[:, corners]), expected)
    np.testing.assert_allclose(np.tril(operator[:, corners], -1), 0)


@pytest.mark.parametrize(("strides", "dilation"), [(1, 2), (2, 1), (3, 1), (1, 3)])
def test_strides_and_dilation_leave_the_corner_where_it_is(strides, dilation):
    kernel = np.random.default_rng(0).normal(size=(3, 2, 1, 1))
    operator, corners = conv_operator(kernel, (9, 8), strides, dilation)

    expected = len(corners) * functional.corner_log_magnitude(kernel)[0, 0]

    np.testing.assert_allclose(log_det(made_square(operator, corners)), expected)


@pytest.mark.parametrize(("strides", "dilation"), [(1, 1), (2, 1), (1, 2)])
def test_several_channels_have_a_corner_matrix(strides, dilation):
    """Corollary 6 for as many filters as channels: block triangular, with kernel[0, 0] on the diagonal."""
    kernel = np.random.default_rng(0).normal(size=(3, 2, 3, 3))
    operator, corners = conv_operator(kernel, (8, 7), strides, dilation)
    columns = [3 * pixel + channel for pixel in corners for channel in range(3)]

    expected = len(corners) * functional.corner_log_volume(kernel)

    np.testing.assert_allclose(log_det(operator[:, columns]), expected)
    np.testing.assert_allclose(log_det(made_square(operator, columns)), expected)


@pytest.mark.parametrize("strides", [1, 2])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_transposed_convolution_has_the_corner_of_its_transpose(channels, strides):
    """Its operator is the transposed matrix, so the same block of it has the same determinant."""
    kernel = np.random.default_rng(0).normal(size=(3, 3, channels, channels))  # (*spatial, c_out, c_in)
    size, image = 3, 4
    layer = keras.layers.Conv2DTranspose(channels, size, strides=strides, use_bias=False)
    layer.build((1, image, image, channels))
    layer.set_weights([kernel])
    basis = np.eye(image * image * channels, dtype="float32").reshape(-1, image, image, channels)
    output = keras.ops.convert_to_numpy(layer(basis))
    operator = output.reshape(len(basis), -1).T  # rows: (output pixel, filter)

    # The convolution that maps the output's shape back to the input's, with the same kernel array.
    adjoint, corners = conv_operator(kernel, output.shape[1:3], strides)
    np.testing.assert_allclose(operator, adjoint.T, atol=1e-6)
    rows = [channels * pixel + channel for pixel in corners for channel in range(channels)]
    expected = image * image * functional.corner_log_volume(kernel)
    np.testing.assert_allclose(log_det(operator[rows].astype("float64")), expected, rtol=1e-5)


def test_groups_and_depthwise_convolutions_have_block_diagonal_corners():
    kernel = glorot((2, 2, 2, 4)).astype("float32")  # 2 groups of 2 channels
    layer = keras.layers.Conv2D(4, 2, groups=2, use_bias=False)
    layer.build((1, 4, 4, 4))
    layer.set_weights([kernel])
    np.testing.assert_allclose(
        log_det(_corner_block(layer, (4, 4, 4))),
        9 * functional.corner_log_volume(kernel, groups=2),
        rtol=1e-4,
    )

    kernel = glorot((2, 2, 3, 1)).astype("float32")
    layer = keras.layers.DepthwiseConv2D(2, use_bias=False)
    layer.build((1, 4, 4, 3))
    layer.set_weights([kernel])
    np.testing.assert_allclose(
        log_det(_corner_block(layer, (4, 4, 3))), 9 * functional.corner_log_magnitude(kernel).sum(), rtol=1e-4
    )


def _corner_block(layer, shape):
    """The square block of a 2x2 "valid" layer at the positions under the corner."""
    basis = np.eye(int(np.prod(shape)), dtype="float32").reshape(-1, *shape)
    operator = keras.ops.convert_to_numpy(layer(basis)).reshape(len(basis), -1).T.astype("float64")
    pixels = np.arange(np.prod(shape)).reshape(shape)[:-1, :-1]
    return operator[:, pixels.reshape(-1)]
