import re

import keras
import numpy as np
import pytest

from keras_entropy import models

pytestmark = pytest.mark.usefixtures("quick_kernels")


def numpy(x):
    return keras.ops.convert_to_numpy(x)


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
                "fire4/expand3x3/kernel in {} should be an array of numbers of shape (3, 3, 32, 128) for 'squeezenet' "
                "with input (32, 32, 3) and output (1000,). Received: float64 of shape (3, 3, 128, 32).",
            ),
            (
                {"conv10/kernel": np.zeros((1, 1, 256, 9))},
                "conv10/kernel in {} should be an array of numbers of shape (1, 1, 512, 9)",
            ),
            ({"conv10/bias": np.zeros(9)}, "conv10/bias in {} should be an array of numbers of shape (1000,)"),
            ({"conv1/bias": np.array(["a"] * 64)}, "Received: <U1 of shape (64,)."),
            (
                {"conv1/bias": np.array([None] * 64)},
                "is not an .npz archive of arrays, or is damaged. ValueError: Object arrays",
            ),
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

        with pytest.raises(ValueError, match=r"w\.npz is not an .npz archive"):
            models.squeezenet((32, 32, 3), weights=tmp_path / "w.npz")

    def test_a_damaged_archive_is_told(self, tmp_path, converted):
        np.savez(tmp_path / "w.npz", **converted)
        content = bytearray((tmp_path / "w.npz").read_bytes())
        content[len(content) // 2] ^= 255
        (tmp_path / "w.npz").write_bytes(content)

        with pytest.raises(ValueError, match=r"w\.npz is not an .npz archive.*Bad CRC"):
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
