import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
from bad_files import huge, virtual

from keras_entropy import models
from keras_entropy.models import weights as files


def names_of(model):
    return [layer.name for layer in model.layers if layer.weights]


def numpy(x):
    return keras.ops.convert_to_numpy(x)


@pytest.fixture(autouse=True)
def _quick_kernels(monkeypatch):
    """Kernels drawn by NumPy: JAX compiles a program for each shape that it draws, up to a second each."""

    def draw(self, shape, dtype=None):
        return np.random.default_rng(0).standard_normal(shape, dtype="float32") / np.sqrt(np.prod(shape[:-1]) + 1)

    monkeypatch.setattr(keras.initializers.VarianceScaling, "__call__", draw)


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


FIRES = {2: (64, 16, 64), 3: (128, 16, 64), 4: (128, 32, 128), 5: (256, 32, 128)}  # inputs, squeezed, expanded
FIRES |= {6: (256, 48, 192), 7: (384, 48, 192), 8: (384, 64, 256), 9: (512, 64, 256)}
KERNELS = {"conv1": (3, 3, 3, 64)}
for number, (inputs, squeezed, expanded) in FIRES.items():
    KERNELS[f"fire{number}/squeeze1x1"] = (1, 1, inputs, squeezed)
    KERNELS[f"fire{number}/expand1x1"] = (1, 1, squeezed, expanded)
    KERNELS[f"fire{number}/expand3x3"] = (3, 3, squeezed, expanded)
KERNELS["conv10"] = (1, 1, 512, 1000)


@pytest.fixture(scope="module")
def converted():
    rng = np.random.default_rng(0)
    arrays = {f"{layer}/kernel": rng.normal(size=shape).astype("float32") for layer, shape in KERNELS.items()}
    return arrays | {f"{layer}/bias": rng.normal(size=shape[-1]).astype("float32") for layer, shape in KERNELS.items()}


class TestSqueezenet:
    def test_layers_and_shapes(self):
        model = models.squeezenet()

        kernels = {layer.name: tuple(layer.kernel.shape) for layer in model.layers if layer.weights}
        assert kernels == {name.replace("/", "_"): shape for name, shape in KERNELS.items()}
        assert list(kernels) == [name.replace("/", "_") for name in KERNELS]
        assert model.count_params() == 1235496
        steps = ["conv1", "pool1", "fire2_concat", "fire3_concat", "pool3", "fire5_concat", "pool5", "fire7_concat"]
        assert [tuple(model.get_layer(name).output.shape[1:]) for name in [*steps, "fire9_concat", "conv10"]] == [
            *((113, 113, 64), (56, 56, 64), (56, 56, 128), (56, 56, 128), (27, 27, 128), (27, 27, 256)),
            *((13, 13, 256), (13, 13, 384), (13, 13, 512), (13, 13, 1000)),
        ]
        assert all(layer.activation is keras.activations.relu for layer in model.layers if layer.weights)

    def test_expansions_are_concatenated_1x1_first(self, seeded):
        model = models.squeezenet((31, 31, 3), 2)
        outputs = [model.get_layer(f"fire2_{name}").output for name in ("expand1x1", "expand3x3", "concat")]
        x = np.random.default_rng(0).normal(size=(1, 31, 31, 3)).astype("float32")

        small, large, joined = (numpy(y) for y in keras.Model(model.input, outputs)(x))

        np.testing.assert_array_equal(joined, np.concatenate([small, large], axis=-1))

    def test_the_smallest_images_leave_one_pixel_and_sides_may_be_open(self):
        assert models.squeezenet((31, None, 1), 2).get_layer("conv10").output.shape[1:] == (1, None, 2)

    @pytest.mark.parametrize("shape", [(30, 64, 3), (64, 64)])
    def test_images_that_are_too_small_are_named(self, shape):
        with pytest.raises(ValueError, match=re.escape(f"at least 31 pixels a side. Received: input_shape={shape}.")):
            models.squeezenet(shape)

    def test_an_archive_is_loaded(self, tmp_path, converted):
        np.savez(tmp_path / "w.npz", **converted)

        model = models.squeezenet((32, 32, 3), weights=tmp_path / "w.npz")

        for layer in KERNELS:
            kernel, bias = model.get_layer(layer.replace("/", "_")).weights
            np.testing.assert_array_equal(numpy(kernel), converted[f"{layer}/kernel"])
            np.testing.assert_array_equal(numpy(bias), converted[f"{layer}/bias"])

    def test_with_other_classes_only_the_head_stays_fresh(self, tmp_path, converted):
        np.savez(tmp_path / "w.npz", **converted)

        keras.utils.set_random_seed(3)
        fresh = models.squeezenet((32, 32, 3), 7)
        keras.utils.set_random_seed(3)
        model = models.by_name("SqueezeNet", (32, 32, 3), 7, str(tmp_path / "w.npz"))

        for kept, new in zip(fresh.get_layer("conv10").weights, model.get_layer("conv10").weights, strict=True):
            np.testing.assert_array_equal(numpy(kept), numpy(new))
        kernel = model.get_layer("fire9_expand3x3").kernel
        np.testing.assert_array_equal(numpy(kernel), converted["fire9/expand3x3/kernel"])

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            ({"conv1/bias": None, "fire2/squeeze1x1/kernel": None}, "Missing: conv1/bias, fire2/squeeze1x1/kernel."),
            ({"conv2/bias": np.zeros(3)}, "Missing: none. Unknown: conv2/bias."),
            ({f"a{i}/bias": np.zeros(3) for i in range(9)}, "a5/bias and 3 more."),
            (
                {"fire4/expand3x3/kernel": np.zeros((3, 3, 128, 32))},
                "fire4/expand3x3/kernel in {} should be numbers of shape (3, 3, 32, 128), for 'squeezenet' with input "
                "(32, 32, 3) and output (1000,). Received: float64 of shape (3, 3, 128, 32).",
            ),
            (
                {"conv10/kernel": np.zeros((1, 1, 256, 9))},
                "conv10/kernel in {} should be numbers of shape (1, 1, 512, 9)",
            ),
            ({"conv10/bias": np.zeros(9)}, "conv10/bias in {} should be numbers of shape (1000,)"),
            ({"conv1/bias": np.array(["a"] * 64)}, "Received: <U1 of shape (64,)."),
            ({"conv1/bias": np.array([None] * 64)}, "is not a whole .npz archive of arrays. ValueError: Object arrays"),
        ],
    )
    def test_an_archive_that_does_not_fit_is_described(self, change, words, tmp_path, converted):
        path = tmp_path / "w.npz"
        np.savez(path, **{name: array for name, array in {**converted, **change}.items() if array is not None})

        with pytest.raises(ValueError, match=re.escape(words.format(path))) as caught:
            models.squeezenet((32, 32, 3), weights=path)

        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("share", [0, 0.5, 0.999])
    def test_an_archive_that_is_cut_off_is_told(self, share, tmp_path, converted):
        np.savez(tmp_path / "whole.npz", **converted)
        whole = (tmp_path / "whole.npz").read_bytes()
        (tmp_path / "w.npz").write_bytes(whole[: int(share * len(whole))])

        with pytest.raises(ValueError, match=r"w\.npz is not a whole .npz archive"):
            models.squeezenet((32, 32, 3), weights=tmp_path / "w.npz")

    def test_a_damaged_archive_is_told(self, tmp_path, converted):
        np.savez(tmp_path / "w.npz", **converted)
        content = bytearray((tmp_path / "w.npz").read_bytes())
        content[len(content) // 2] ^= 255
        (tmp_path / "w.npz").write_bytes(content)

        with pytest.raises(ValueError, match=r"w\.npz is not a whole .npz archive.*Bad CRC"):
            models.squeezenet((32, 32, 3), weights=tmp_path / "w.npz")

    def test_a_missing_archive_is_told(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=r"There is no file of weights .*w\.npz"):
            models.squeezenet((32, 32, 3), weights=tmp_path / "w.npz")

    @pytest.mark.data
    def test_converted_weights_know_a_cat(self, data_folder):
        image = pytest.importorskip("PIL.Image")
        model = models.squeezenet(weights=data_folder / "weights" / "squeezenet_v1.1.npz")
        with image.open(data_folder / "weights" / "cat.jpg") as file:
            picture = np.asarray(file.convert("RGB").resize((227, 227), image.Resampling.BILINEAR))

        (found,) = numpy(model(models.squeezenet_input(picture[None])))

        assert list(np.argsort(-found)[:3]) == [281, 285, 282]  # tabby, Egyptian cat, tiger cat
        # Versions of the JPEG decoder differ by a grey level here and there.
        np.testing.assert_allclose(found[[281, 285, 282]], [0.844, 0.115, 0.041], atol=2e-3)


class TestSqueezenetInput:
    IMAGES = np.random.default_rng(0).integers(0, 256, size=(2, 3, 4, 3), dtype="uint8")
    EXPECTED = IMAGES[..., ::-1] - np.array([103.939, 116.779, 123.68])

    @pytest.mark.parametrize("dtype", ["uint8", "float32", "float64"])
    def test_arrays(self, dtype):
        images = self.IMAGES.astype(dtype)

        result = models.squeezenet_input(images)

        assert isinstance(result, np.ndarray)
        assert result.dtype == "float32"
        np.testing.assert_allclose(result, self.EXPECTED, atol=1e-4)
        np.testing.assert_array_equal(images, self.IMAGES)  # not changed in place

    def test_tensors(self):
        result = models.squeezenet_input(keras.ops.convert_to_tensor(self.IMAGES))

        assert keras.ops.is_tensor(result)
        assert keras.backend.standardize_dtype(result.dtype) == "float32"
        np.testing.assert_allclose(numpy(result), self.EXPECTED, atol=1e-4)

    def test_other_channels_are_refused(self):
        with pytest.raises(ValueError, match=r"`images`.*three channels.*shape \(2, 8, 8, 1\)"):
            models.squeezenet_input(np.zeros((2, 8, 8, 1)))


class TestByName:
    def test_names_are_the_packages_own_and_then_those_of_keras(self):
        names = models.names()

        assert names[:4] == ["autoencoder", "cnn", "squeezenet", "unet"]
        assert {"VGG16", "ResNet50", "MobileNetV3Small", "ConvNeXtXLarge", "NASNetMobile", "Xception"} <= set(names)
        assert all(callable(getattr(keras.applications, name)) for name in names[4:])
        assert len({name.lower() for name in names}) == len(names)

    @pytest.mark.parametrize(
        ("name", "shape", "output"),
        [
            ("autoencoder", (28, 28, 1), (28, 28, 1)),
            ("CNN", (32, 32, 3), (10,)),
            ("U-Net", (128, 128, 3), (128, 128, 1)),
            ("squeeze_net", (227, 227, 3), (1000,)),
        ],
    )
    def test_own_architectures_have_defaults(self, name, shape, output):
        model = models.by_name(name)

        assert model.input_shape == (None, *shape)
        assert model.output_shape == (None, *output)

    def test_own_architectures_take_a_shape_and_classes(self):
        assert models.by_name("unet", [16, 24, 1], 3).output_shape == (None, 16, 24, 3)
        assert models.by_name("autoencoder", (5,)).output_shape == (None, 5)

    @pytest.mark.parametrize(
        ("name", "side"), [("MobileNetV2", 32), ("mobilenet_v3_small", 64), ("resnet-50", 32), ("DENSENET121", 32)]
    )
    def test_applications(self, name, side):
        model = models.by_name(name, (side, side, 3), classes=4)

        assert model.input_shape == (None, side, side, 3)
        assert model.output_shape == (None, 4)
        assert name.replace("-", "").replace("_", "").lower()[:8] in model.name.lower()

    def test_applications_have_keras_defaults(self):
        model = models.by_name("mobilenet")

        assert model.input_shape == (None, 224, 224, 3)
        assert model.output_shape == (None, 1000)

    @pytest.mark.parametrize(
        ("name", "close"),
        [("vgg17", "VGG19, VGG16"), ("unett", "unet"), ("res_net_50_v3", "ResNet50V2"), ("kat", None)],
    )
    def test_an_unknown_name_is_told_what_is_close(self, name, close):
        with pytest.raises(
            ValueError, match=f"`name`.*architecture.*name='{name}'.*`keras_entropy.models.names"
        ) as caught:
            models.by_name(name)

        assert (f"Close to it: {close}" if close else "lists all") in str(caught.value)
        assert ("Close" in str(caught.value)) == (close is not None)

    @pytest.mark.parametrize("name", [None, 3, ""])
    def test_what_is_no_name_is_refused(self, name):
        with pytest.raises(ValueError, match=f"`name` should be the name of an architecture. Received: name={name!r}"):
            models.by_name(name)

    def test_classes_are_checked(self):
        with pytest.raises(ValueError, match="`classes` should be None for 'autoencoder'"):
            models.by_name("autoencoder", classes=3)
        with pytest.raises(ValueError, match="`classes` should be a positive integer"):
            models.by_name("mobilenet", classes=0)

    def test_imagenet_is_for_applications(self):
        with pytest.raises(ValueError, match="`weights` should be None or a file for 'unet'"):
            models.by_name("unet", weights="imagenet")
        with pytest.raises(ValueError, match="imagenet.*1000.*3"):  # Keras's own words: it was asked
            models.by_name("mobilenet", classes=3, weights="imagenet")

    @pytest.mark.parametrize(
        ("name", "weights", "words"),
        [
            ("cnn", "a.npz", r"None or a file ending in \.weights\.h5, \.h5, \.keras for 'cnn'.*'a\.npz'"),
            ("vgg16", "noisy-student", r"None, \"imagenet\" or a file .* for 'VGG16'.*'noisy-student'"),
            ("squeezenet", 3, r"\.npz for 'squeezenet'. Received: weights=3"),
        ],
    )
    def test_other_weights_are_refused(self, name, weights, words):
        with pytest.raises(ValueError, match=words):
            models.by_name(name, weights=weights)


def saved(model, path):
    if path.name.endswith(".weights.h5"):
        model.save_weights(path)
    else:
        model.save(path)
    return path


@pytest.mark.parametrize("suffix", [".weights.h5", ".h5", ".keras"])
class TestFilesOfKeras:
    def test_weights_are_loaded(self, suffix, tmp_path):
        model = models.cnn((8, 8, 1), 3)
        model.compile("adam", "sparse_categorical_crossentropy")
        model.fit(np.ones((2, 8, 8, 1)), np.ones(2), verbose=0)  # the file then holds an optimizer too

        loaded = models.by_name("cnn", (8, 8, 1), 3, saved(model, tmp_path / f"w{suffix}"))

        for old, new in zip(model.get_weights(), loaded.get_weights(), strict=True):
            np.testing.assert_array_equal(old, new)

    @pytest.mark.parametrize(("name", "shape", "classes"), [("cnn", (8, 8, 1), 4), ("unet", (8, 8, 1), 3)])
    def test_other_layers_are_told(self, name, shape, classes, suffix, tmp_path):
        path = saved(models.cnn((8, 8, 1), 3), tmp_path / f"w{suffix}")

        words = (
            rf"w{re.escape(suffix)} is damaged, or holds weights of other layers than '{name}' with input \(8, 8, 1\)"
        )
        with pytest.raises(ValueError, match=words) as caught:
            models.by_name(name, shape, classes, path)

        assert "\n" not in str(caught.value)

    def test_layers_that_only_the_file_has_are_told(self, suffix, tmp_path):
        layers = [keras.Input((2,)), *(keras.layers.Dense(2) for _ in range(3))]
        path = saved(keras.Sequential(layers), tmp_path / f"w{suffix}")

        with pytest.raises(ValueError, match=r"other layers than.*([Ee]xpected [42].*6|[Ee]xpected 2 layers.*3)"):
            files.load_keras(keras.Sequential(layers[:-1]), path)

    @pytest.mark.parametrize("share", [0, 0.5, 0.99])
    def test_a_file_that_is_cut_off_is_told(self, share, suffix, tmp_path):
        path = saved(models.cnn((8, 8, 1), 3), tmp_path / f"w{suffix}")
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

        with pytest.raises(ValueError, match=f"w{re.escape(suffix)} is damaged, or") as caught:
            models.by_name("cnn", (8, 8, 1), 3, str(path))

        assert "\n" not in str(caught.value)

    def test_a_missing_file_is_told(self, suffix, tmp_path):
        with pytest.raises(FileNotFoundError, match=f"There is no file of weights .*w{re.escape(suffix)}"):
            models.by_name("vgg16", weights=tmp_path / f"w{suffix}")


def test_states_of_dropout_are_no_weights(tmp_path):
    model = models.squeezenet((32, 32, 3), 2)

    loaded = models.by_name("squeezenet", (32, 32, 3), 2, saved(model, tmp_path / "w.weights.h5"))

    np.testing.assert_array_equal(loaded.get_weights()[-2], model.get_weights()[-2])


@pytest.mark.parametrize("change", [huge, virtual])
@pytest.mark.parametrize("suffix", [".weights.h5", ".keras"])
def test_hostile_files_of_weights_are_refused_before_they_are_read(tmp_path, change, suffix):
    model = models.cnn((8, 8, 1), 2)
    path = tmp_path / f"w{suffix}"
    model.save_weights(tmp_path / "w.weights.h5")
    with h5py.File(tmp_path / "w.weights.h5", "a") as store:
        change(store)
    if suffix == ".keras":
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("config.json", "metadata.json"):
                archive.writestr(name, "{}")
            archive.write(tmp_path / "w.weights.h5", "model.weights.h5")
    before = [weight.copy() for weight in model.get_weights()]

    with pytest.raises(ValueError, match=r"w\..* it (declares|takes its weights)"):
        models.load_weights(model, path)

    for weight, old in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(weight, old)
