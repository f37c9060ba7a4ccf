import re
import zipfile

import h5py
import keras
import numpy as np
import pytest
from bad_files import huge, virtual

from keras_entropy import models
from keras_entropy.models import weights as files

pytestmark = [pytest.mark.once, pytest.mark.usefixtures("quick_kernels")]


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

        assert (f"Similar names: {close}" if close else "lists all") in str(caught.value)
        assert ("Similar" in str(caught.value)) == (close is not None)

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

        words = rf"w{re.escape(suffix)} should have the weights of '{name}' with input \(8, 8, 1\)"
        with pytest.raises(ValueError, match=words) as caught:
            models.by_name(name, shape, classes, path)

        assert "\n" not in str(caught.value)

    def test_layers_that_only_the_file_has_are_told(self, suffix, tmp_path):
        layers = [keras.Input((2,)), *(keras.layers.Dense(2) for _ in range(3))]
        path = saved(keras.Sequential(layers), tmp_path / f"w{suffix}")

        with pytest.raises(
            ValueError, match=r"should have the weights of .*(, [42] arrays. Received: 6|[Ee]xpected 2 layers.*3)"
        ):
            files.load_weights(keras.Sequential(layers[:-1]), path)

    @pytest.mark.parametrize("share", [0, 0.5, 0.99])
    def test_a_file_that_is_cut_off_is_told(self, share, suffix, tmp_path):
        path = saved(models.cnn((8, 8, 1), 3), tmp_path / f"w{suffix}")
        path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])

        with pytest.raises(
            ValueError, match=f"w{re.escape(suffix)} should have the weights of .* Received: a damaged file"
        ) as caught:
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
