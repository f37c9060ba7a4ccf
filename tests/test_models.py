import re

import keras
import numpy as np
import pytest

from keras_entropy import models

pytestmark = pytest.mark.usefixtures("quick_kernels")


def names_of(model):
    return [layer.name for layer in model.layers if layer.weights]


def numpy(x):
    return keras.ops.convert_to_numpy(x)


class TestAutoencoder:
    def test_layers_and_shapes(self):
        model = models.autoencoder((8, 6, 2), width=20)

        assert names_of(model) == ["encoder", "decoder"]
        assert model.input_shape == model.output_shape == (None, 8, 6, 2)
        assert model.get_layer("encoder").kernel.shape == (96, 20)
        assert model.get_layer("decoder").kernel.shape == (20, 96)

    @pytest.mark.parametrize(("shape", "width"), [((4, 4, 2), 20), ((5,), 1)])
    def test_number_of_parameters(self, shape, width):
        d = np.prod(shape)

        assert models.autoencoder(shape, width).count_params() == d * width + width + width * d + d

    def test_is_60_wide_by_default(self):
        assert models.autoencoder((4, 4, 1)).get_layer("encoder").units == 60

    def test_is_a_sigmoid_and_then_linear(self, seeded):
        model = models.autoencoder((3, 2), width=4)
        x = np.random.default_rng(0).normal(size=(5, 3, 2)).astype("float32")
        w1, b1, w2, b2 = model.get_weights()

        hidden = 1 / (1 + np.exp(-(x.reshape(5, 6) @ w1 + b1)))

        np.testing.assert_allclose(numpy(model(x)), (hidden @ w2 + b2).reshape(5, 3, 2), atol=1e-5)

    @pytest.mark.parametrize(("width", "error"), [(0, ValueError), (-1, ValueError), (2.5, TypeError)])
    def test_a_bad_width_is_named(self, width, error):
        with pytest.raises(error, match=f"`width`.*positive integer.*width={width}"):
            models.autoencoder((8, 8, 1), width)


class TestCnn:
    def test_layers_and_shapes(self):
        model = models.cnn((9, 8, 3), classes=5, filters=(4, 6, 7))

        assert names_of(model) == ["conv1", "conv2", "conv3", "head"]
        assert model.input_shape == (None, 9, 8, 3)
        assert model.output_shape == (None, 5)
        assert model.get_layer("conv1").kernel.shape == (3, 3, 3, 4)
        assert model.get_layer("conv3").kernel.shape == (3, 3, 6, 7)
        assert model.get_layer("head").kernel.shape == ((9 // 8) * (8 // 8) * 7, 5)

    @pytest.mark.parametrize("filters", [(4,), (2, 3, 5)])
    def test_number_of_parameters(self, filters):
        height, width, channels, classes = 17, 8, 3, 10
        expected = 0
        for count in filters:
            expected += 9 * channels * count + count
            height, width, channels = height // 2, width // 2, count
        expected += height * width * channels * classes + classes

        assert models.cnn((17, 8, 3), classes, filters).count_params() == expected

    def test_has_two_blocks_of_32_by_default(self):
        model = models.cnn((8, 8, 1), classes=10)

        assert [model.get_layer(name).filters for name in ("conv1", "conv2")] == [32, 32]
        assert names_of(model) == ["conv1", "conv2", "head"]

    def test_is_convolution_leaky_relu_pooling_and_softmax(self, seeded):
        model = models.cnn((6, 4, 2), classes=3, filters=(5,))
        x = np.random.default_rng(0).normal(size=(2, 6, 4, 2)).astype("float32")
        conv, bias, head, head_bias = model.get_weights()

        features = numpy(keras.ops.conv(x, conv, padding="same")) + bias
        features = np.where(features > 0, features, 0.2 * features)
        pooled = features.reshape(2, 3, 2, 2, 2, 5).max(axis=(2, 4)).reshape(2, -1)
        scores = np.exp(pooled @ head + head_bias)

        np.testing.assert_allclose(numpy(model(x)), scores / scores.sum(axis=1, keepdims=True), atol=1e-5)

    def test_the_smallest_images_leave_one_pixel(self):
        assert models.cnn((4, 4, 1), 2, filters=(3, 3)).get_layer("head").kernel.shape == (3, 2)

    @pytest.mark.parametrize(
        ("shape", "filters", "words"),
        [
            ((3, 8, 1), (2, 2), r"at least 4 pixels a side, for 2 poolings.*input_shape=\(3, 8, 1\)"),
            ((8, 7, 1), (2, 2, 2), r"at least 8 pixels a side, for 3 poolings.*input_shape=\(8, 7, 1\)"),
            ((8, 8), (2, 2), r"\(height, width, channels\).*input_shape=\(8, 8\)"),
        ],
    )
    def test_images_that_are_too_small_or_none_are_named(self, shape, filters, words):
        with pytest.raises(ValueError, match=words):
            models.cnn(shape, 10, filters)


@pytest.mark.parametrize(
    ("make", "loss", "target"),
    [
        (lambda: models.autoencoder((4, 4, 1), width=3), "mse", lambda x: x),
        (lambda: models.cnn((4, 4, 1), 3, (2, 2)), "sparse_categorical_crossentropy", lambda x: np.arange(len(x)) % 3),
        (lambda: models.unet((4, 4, 1), filters=(4,)), "binary_crossentropy", lambda x: (x > 0.5).astype("float32")),
    ],
    ids=["autoencoder", "cnn", "unet"],
)
def test_a_gradient_step_moves_every_weight(make, loss, target, seeded):
    model = make()
    model.compile(keras.optimizers.SGD(0.1), loss)
    x = np.random.default_rng(0).uniform(size=(8, 4, 4, 1)).astype("float32")
    before = model.get_weights()

    value = model.train_on_batch(x, target(x))

    assert np.isfinite(value)
    for old, new in zip(before, model.get_weights(), strict=True):
        assert np.isfinite(new).all()
        assert (old != new).any()


class TestUnet:
    def test_layers_and_shapes(self):
        model = models.unet((8, 12, 3), filters=(4, 6))

        assert [layer.name for layer in model.layers[1:]] == [
            *("down1_conv1", "down1_conv2", "down1_pool", "down2_conv1", "down2_conv2", "down2_pool"),
            *("bottom_conv1", "bottom_conv2"),
            *("up2_transpose", "up2_concat", "up2_conv1", "up2_conv2"),
            *("up1_transpose", "up1_concat", "up1_conv1", "up1_conv2", "head"),
        ]
        assert {layer.name: (*layer.output.shape[1:],) for layer in model.layers if "_conv1" not in layer.name} == {
            model.layers[0].name: (8, 12, 3),
            **{"down1_conv2": (8, 12, 4), "down1_pool": (4, 6, 4), "down2_conv2": (4, 6, 6), "down2_pool": (2, 3, 6)},
            "bottom_conv2": (2, 3, 12),
            **{"up2_transpose": (4, 6, 6), "up2_concat": (4, 6, 12), "up2_conv2": (4, 6, 6)},
            **{"up1_transpose": (8, 12, 4), "up1_concat": (8, 12, 8), "up1_conv2": (8, 12, 4)},
            "head": (8, 12, 1),
        }
        assert model.get_layer("down1_conv1").kernel.shape == (3, 3, 3, 4)
        assert model.get_layer("up2_transpose").kernel.shape == (2, 2, 6, 12)
        assert model.get_layer("head").kernel.shape == (1, 1, 4, 1)

    def test_has_three_levels_and_one_class_by_default(self):
        model = models.unet((8, 8, 3))

        widths = [model.get_layer(f"{level}_conv2").filters for level in ("down1", "down2", "down3", "bottom", "up1")]
        assert widths == [16, 32, 64, 128, 16]
        assert model.output_shape == (None, 8, 8, 1)

    def test_each_level_up_is_fed_by_the_level_down_of_its_number(self, seeded):
        model = models.unet((8, 8, 1), filters=(3, 3, 3))  # equal, so that only the sides tell the levels apart
        parts = ["down{}_conv2", "up{}_transpose", "up{}_concat"]
        outputs = {i: [model.get_layer(part.format(i)).output for part in parts] for i in (1, 2, 3)}
        x = np.random.default_rng(0).uniform(size=(2, 8, 8, 1)).astype("float32")

        for down, up, joined in keras.Model(model.input, outputs)(x).values():
            assert numpy(down).any()
            np.testing.assert_array_equal(numpy(joined), np.concatenate([numpy(down), numpy(up)], axis=-1))

    def test_the_convolutions_end_in_a_relu_and_the_transposed_ones_do_not(self):
        model = models.unet((4, 4, 1), filters=(2, 3))

        relu = {layer.name for layer in model.layers if getattr(layer, "activation", None) is keras.activations.relu}
        assert relu == {f"{level}_conv{i}" for level in ("down1", "down2", "bottom", "up2", "up1") for i in (1, 2)}
        assert model.get_layer("up1_transpose").activation is keras.activations.linear
        assert all(isinstance(model.get_layer(name).kernel_initializer, keras.initializers.HeNormal) for name in relu)

    @pytest.mark.parametrize("classes", [1, 3])
    def test_ends_in_a_sigmoid_or_a_softmax(self, classes, seeded):
        model = models.unet((4, 4, 2), classes, filters=(3,))
        features = keras.Model(model.input, model.get_layer("up1_conv2").output)
        x = np.random.default_rng(0).normal(size=(2, 4, 4, 2)).astype("float32")
        kernel, bias = (numpy(weight) for weight in model.get_layer("head").weights)

        scores = np.exp(numpy(features(x)) @ kernel[0, 0] + bias)
        expected = scores / (1 + scores) if classes == 1 else scores / scores.sum(axis=-1, keepdims=True)

        np.testing.assert_allclose(numpy(model(x)), expected, atol=1e-5)

    def test_sides_may_be_left_open(self):
        model = models.unet((None, None, 1), filters=(2, 2))

        assert model.output_shape == (None, None, None, 1)
        assert model(np.zeros((1, 8, 4, 1), "float32")).shape == (1, 8, 4, 1)

    @pytest.mark.parametrize("shape", [(8, 12, 3), (None, 4, 3), (0, 8, 3), (8, 8)])
    def test_sides_that_cannot_be_halved_are_named(self, shape):
        words = f"multiples of 8, for 3 halvings. Received: input_shape={shape}."
        with pytest.raises(ValueError, match=re.escape(words)):
            models.unet(shape)

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ({"filters": ()}, "`filters`.*at least one"),
            ({"filters": (4, 0)}, "filters=0"),
            ({"classes": 0}, "classes=0"),
        ],
    )
    def test_other_bad_arguments_are_named(self, arguments, words):
        with pytest.raises(ValueError, match=words):
            models.unet((8, 8, 3), **arguments)
