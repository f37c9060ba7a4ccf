import doctest
import importlib.util
import os
import shutil
import sys

import keras
import numpy as np
import pytest
from PIL import Image

from keras_entropy import datasets

pytestmark = pytest.mark.once

# Without importing it: `prepared` treats TensorFlow differently where it is not loaded yet.
needs_tfds = pytest.mark.skipif(
    importlib.util.find_spec("tensorflow") is None or importlib.util.find_spec("tensorflow_datasets") is None,
    reason="prepared sets need tensorflow and tensorflow-datasets",
)

RED, GREY = (255, 0, 0), 51


def picture(path, colour=RED, size=(4, 6)):
    """An image of one colour and of `size` (height, width)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L" if isinstance(colour, int) else "RGB", size[::-1], colour).save(path)


def split_of(data):
    return {"train": (data.x_train, data.y_train), "test": (data.x_test, data.y_test)}


def are_images(x, shape):
    assert x.shape == shape
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1


def are_labels(y, count, classes):
    assert y.shape == (count,)
    assert y.dtype == np.int32
    assert set(np.unique(y)) <= set(range(classes))


class TestDigits:
    @pytest.fixture(autouse=True)
    def _sklearn(self):
        pytest.importorskip("sklearn", reason="the digits need scikit-learn")

    def test_are_images_with_labels(self):
        data = datasets.digits()

        are_images(data.x_train, (1437, 8, 8, 1))
        are_images(data.x_test, (360, 8, 8, 1))
        are_labels(data.y_train, 1437, 10)
        are_labels(data.y_test, 360, 10)
        assert data.class_names == tuple("0123456789")
        assert data.x_train.max() == data.x_test.max() == 1

    def test_unpack_into_four_arrays(self):
        data = datasets.digits()

        x_train, y_train, x_test, y_test = data

        assert x_train is data.x_train
        assert y_train is data.y_train
        assert x_test is data.x_test
        assert y_test is data.y_test

    def test_every_image_of_scikit_learn_is_in_one_of_the_two_parts(self):
        from sklearn.datasets import load_digits

        images, labels = load_digits(return_X_y=True)
        data = datasets.digits()

        x = np.concatenate([data.x_train, data.x_test]).reshape(-1, 64)
        y = np.concatenate([data.y_train, data.y_test])
        found = sorted((*pixels, label) for pixels, label in zip((16 * x).tolist(), y.tolist(), strict=True))
        assert found == sorted((*pixels, label) for pixels, label in zip(images.tolist(), labels.tolist(), strict=True))

    def test_each_class_has_the_same_proportion(self):
        data = datasets.digits()
        train, test = np.bincount(data.y_train), np.bincount(data.y_test)

        assert np.abs(test - (train + test) * 360 / 1797).max() < 1

    def test_the_split_is_always_the_same(self):
        first = datasets.digits()
        keras.utils.set_random_seed(1)

        for one, other in zip(first, datasets.digits(), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_without_scikit_learn_say_what_to_install(self, monkeypatch):
        monkeypatch.setitem(sys.modules, "sklearn", None)

        with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-entropy\[data\]"'):
            datasets.digits()


class TestSpirals:
    def test_shapes_and_labels(self):
        data = datasets.spirals(seed=0)

        for x, y in split_of(data).values():
            assert x.shape == (40, 2)
            assert x.dtype == np.float32
            are_labels(y, 40, 2)
            assert np.bincount(y).tolist() == [20, 20]
        assert data.class_names == ("0", "1")
        assert datasets.spirals(0, points=3).x_test.shape == (6, 2)

    @pytest.mark.parametrize("seed", [0, 1, 2**32 - 1])
    def test_the_same_seed_gives_the_same_points(self, seed):
        for one, other in zip(datasets.spirals(seed), datasets.spirals(seed), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_other_seeds_and_the_test_set_have_other_points(self):
        points = [datasets.spirals(0).x_train, datasets.spirals(0).x_test, datasets.spirals(1).x_train]

        assert len(np.unique(np.concatenate(points), axis=0)) == 120

    def test_without_noise_the_points_lie_on_the_arms(self):
        for x, y in split_of(datasets.spirals(3, points=500, noise=0)).values():
            r = np.linalg.norm(x, axis=1)
            theta = 2 * r + np.pi * y

            assert r.min() >= 1 - 1e-6
            assert r.max() <= 5 + 1e-6
            np.testing.assert_allclose(x, r[:, None] * np.stack([np.cos(theta), np.sin(theta)], axis=1), atol=1e-4)

    def test_the_radius_is_uniform(self):
        r = np.linalg.norm(datasets.spirals(0, points=5000, noise=0).x_train, axis=1)

        # Bounds of more than five standard deviations of the estimates from 10000 points.
        np.testing.assert_allclose(r.mean(), 3, atol=0.06)
        np.testing.assert_allclose(r.var(), 16 / 12, atol=0.06)

    def test_the_noise_has_its_standard_deviation_in_each_coordinate(self):
        clean, noisy = (datasets.spirals(0, points=2000, noise=noise).x_train for noise in (0, 0.1))

        np.testing.assert_allclose((noisy - clean).std(axis=0), 0.1, rtol=0.06)
        np.testing.assert_allclose((noisy - clean).mean(axis=0), 0, atol=0.01)
        radius = np.linalg.norm(datasets.spirals(0).x_train, axis=1)
        assert radius.min() > 1 - 0.6
        assert radius.max() < 5 + 0.6

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"points": 0}, ValueError, "`points`.*positive integer.*points=0"),
            ({"points": 2.5}, TypeError, "`points`.*positive integer.*points=2.5"),
            ({"noise": -0.1}, ValueError, "`noise`.*at least 0.*noise=-0.1"),
            ({"noise": np.nan}, ValueError, "`noise`.*finite number.*noise=nan"),
            ({"seed": -1}, ValueError, "`seed`.*integer from 0 to.*seed=-1"),
            ({"seed": 2**40}, ValueError, "`seed`.*integer from 0 to"),
            ({"seed": None}, TypeError, "`seed`.*integer from 0 to.*seed=None"),
            ({"noise": "loud"}, TypeError, "`noise`.*finite number.*noise='loud'"),
        ],
    )
    def test_bad_arguments_are_named(self, arguments, error, words):
        with pytest.raises(error, match=words):
            datasets.spirals(**{"seed": 0} | arguments)


@pytest.mark.data
@needs_tfds
class TestPreparedData:
    def test_parts_of_mnist(self, data_folder):
        data = datasets.mnist(data_folder / "tfds", train="train[:200]", test="test[:100]")

        are_images(data.x_train, (200, 28, 28, 1))
        are_images(data.x_test, (100, 28, 28, 1))
        are_labels(data.y_train, 200, 10)
        are_labels(data.y_test, 100, 10)
        assert data.x_train.max() == 1
        np.testing.assert_allclose(data.x_train * 255, np.round(data.x_train * 255), atol=1e-4)
        assert data.class_names == tuple("0123456789")

    def test_the_test_set_of_mnist_is_whole(self, data_folder):
        data = datasets.prepared("mnist", data_folder / "tfds", train="train[:1]")

        assert np.bincount(data.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]

    def test_a_set_by_its_name(self, data_folder):
        data = datasets.load("cifar10_small", data_folder / "tfds")

        are_images(data.x_train, (7500, 32, 32, 3))
        are_images(data.x_test, (1500, 32, 32, 3))
        assert np.bincount(data.y_train).tolist() == [734, 713, 765, 758, 763, 725, 780, 749, 767, 746]
        assert np.bincount(data.y_test).tolist() == [149, 152, 146, 151, 137, 126, 168, 149, 165, 157]
        assert data.class_names[:5] == ("airplane", "automobile", "bird", "cat", "deer")
        assert data.class_names[5:] == ("dog", "frog", "horse", "ship", "truck")

    def test_the_folder_may_come_from_the_environment(self, data_folder, monkeypatch):
        monkeypatch.setenv("TFDS_DATA_DIR", str(data_folder / "tfds"))

        assert datasets.mnist(train="train[:3]", test="test[:2]").x_train.shape == (3, 28, 28, 1)

    def test_the_newest_version_is_read(self, data_folder, tmp_path):
        (tmp_path / "mnist" / "9.0.0").mkdir(parents=True)
        (tmp_path / "mnist" / "9.0.0" / "dataset_info.json").write_text("{}")
        shutil.copytree(data_folder / "tfds" / "mnist" / "3.0.1", tmp_path / "mnist" / "10.0.0")

        assert datasets.mnist(tmp_path, train="train[:3]", test="test[:2]").x_test.shape == (2, 28, 28, 1)

    def test_damaged_files_are_named_with_what_to_run(self, data_folder, tmp_path):
        for damage in (spoil_description, cut_records, lose_records):
            folder = tmp_path / damage.__name__
            shutil.copytree(data_folder / "tfds" / "mnist" / "3.0.1", folder / "mnist" / "3.0.1")
            damage(folder / "mnist" / "3.0.1")

            with pytest.raises(OSError, match=f"{folder}/mnist/3.0.1 could not be read: .*tfds build mnist"):
                datasets.mnist(folder, train="train[:3]", test="test[:2]")


def spoil_description(folder):
    (folder / "dataset_info.json").write_text("junk")


def cut_records(folder):
    for file in folder.glob("*.tfrecord*"):
        file.write_bytes(file.read_bytes()[:100])


def lose_records(folder):
    for file in folder.glob("*.tfrecord*"):
        file.unlink()


class TestMissingPreparedData:
    def test_say_what_is_there_and_what_to_run(self, tmp_path):
        for name in ("other", "another"):
            (tmp_path / name / "1.0.0").mkdir(parents=True)
            (tmp_path / name / "1.0.0" / "dataset_info.json").write_text("{}")

        with pytest.raises(FileNotFoundError) as error:
            datasets.mnist(tmp_path)

        text = str(error.value)
        assert f"No prepared data set 'mnist' in {tmp_path} (found there: another, other)" in text
        assert f"`tfds build mnist --data_dir {tmp_path}`" in text
        assert "--data-dir" in text
        assert "TFDS_DATA_DIR" in text

    @pytest.mark.parametrize("get", [datasets.cifar10, lambda folder: datasets.load("cifar10", folder)])
    def test_a_folder_that_is_not_there_holds_none(self, get, tmp_path):
        with pytest.raises(FileNotFoundError, match="'cifar10' in .*/nowhere .found there: none.*tfds build cifar10"):
            get(tmp_path / "nowhere")

    def test_the_folder_may_come_from_the_environment(self, monkeypatch, tmp_path):
        monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "sets"))

        with pytest.raises(FileNotFoundError, match=f"--data_dir {tmp_path}/sets`"):
            datasets.mnist()
        with pytest.raises(FileNotFoundError, match=f"--data_dir {tmp_path}/given`"):
            datasets.mnist(tmp_path / "given")

    def test_the_folder_is_in_the_home_folder_by_default(self, monkeypatch, tmp_path):
        monkeypatch.delenv("TFDS_DATA_DIR", raising=False)
        monkeypatch.setenv("HOME", str(tmp_path))

        with pytest.raises(FileNotFoundError, match=f"--data_dir {tmp_path}/tensorflow_datasets`"):
            datasets.mnist()
        with pytest.raises(FileNotFoundError, match=f"--data_dir {tmp_path}/sets`"):
            datasets.mnist("~/sets")

    @pytest.mark.data
    def test_without_tensorflow_say_what_to_install(self, data_folder, monkeypatch):
        monkeypatch.setitem(sys.modules, "tensorflow", None)

        with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-entropy\[data,tensorflow\]"'):
            datasets.mnist(data_folder / "tfds")


class TestImageFolder:
    def test_masks_are_no_class_of_photographs(self, tmp_path):
        for kind in ("images", "masks"):
            picture(tmp_path / "train" / kind / "a.png")

        with pytest.raises(ValueError, match=f"{tmp_path} holds images and masks"):
            datasets.image_folder(tmp_path)

    @pytest.mark.parametrize(
        ("make", "words"),
        [
            (lambda path: path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(40)), "cannot be read as an image"),
            (lambda path: path.write_bytes(path.with_name("a.png").read_bytes()[:-30]), "cannot be read as an image"),
            (lambda path: path.write_bytes(b""), "cannot be read as an image"),
            (lambda path: Image.new("1", (20_000, 20_000)).save(path), "cannot be read as an image: DecompressionBomb"),
            (lambda path: Image.new("1", (10_000, 8_000)).save(path), "has 80 million pixels, and may have 67 million"),
            (os.mkfifo, "is not a file"),
            (os.mkdir, "is not a file"),
        ],
    )
    def test_images_that_are_none_or_too_large_are_named_quickly(self, make, words, folder):
        picture(folder / "train/ant/a.png")
        make(folder / "train/ant/b.png")
        with pytest.raises((OSError, ValueError), match=f"train/ant/b.png {words}"):
            datasets.image_folder(folder, size=(4, 4))

    @pytest.mark.data
    def test_photographs(self, data_folder):
        data = datasets.image_folder(data_folder / "imagenette")

        are_images(data.x_train, (1000, 96, 96, 3))
        are_images(data.x_test, (300, 96, 96, 3))
        assert np.bincount(data.y_train).tolist() == 10 * [100]
        assert np.bincount(data.y_test).tolist() == 10 * [30]
        assert data.class_names == tuple(sorted(path.name for path in (data_folder / "imagenette/train").iterdir()))
        assert len(data.class_names) == 10
        assert data.x_train.std() > 0.1

    @pytest.fixture
    def folder(self, tmp_path):
        """Two classes, of which one is not in the test set."""
        picture(tmp_path / "train/zebra/1.png", RED)
        picture(tmp_path / "train/ant/2.png", GREY)
        picture(tmp_path / "train/ant/1.PNG", (0, 255, 0))
        (tmp_path / "train/ant/notes.txt").write_text("not an image")
        picture(tmp_path / "test/zebra/1.png", (0, 0, 255))
        return tmp_path

    @pytest.mark.parametrize("read", [datasets.image_folder, lambda folder: datasets.load(str(folder))])
    def test_reads_rgb_images_class_by_class_in_alphabetical_order(self, read, folder):
        data = read(folder)

        are_images(data.x_train, (3, 4, 6, 3))
        are_images(data.x_test, (1, 4, 6, 3))
        assert data.class_names == ("ant", "zebra")
        assert data.y_train.tolist() == [0, 0, 1]
        assert data.y_test.tolist() == [1]
        are_labels(data.y_train, 3, 2)
        colours = np.array([[0, 1, 0], [0.2, 0.2, 0.2], [1, 0, 0]], np.float32)
        np.testing.assert_array_equal(data.x_train, np.broadcast_to(colours[:, None, None], (3, 4, 6, 3)))
        np.testing.assert_array_equal(data.x_test, np.broadcast_to(np.float32([0, 0, 1]), (1, 4, 6, 3)))

    def test_several_sizes_need_one_to_resize_to(self, folder):
        picture(folder / "train/ant/3.png", GREY, size=(9, 5))

        with pytest.raises(ValueError, match=r"several sizes, from \(4, 6\) to \(9, 5\).*Pass size=\(height, width\)"):
            datasets.image_folder(folder)
        data = datasets.image_folder(folder, size=(3, 8))

        are_images(data.x_train, (4, 3, 8, 3))
        are_images(data.x_test, (1, 3, 8, 3))
        np.testing.assert_array_equal(data.x_train[1:3], np.float32(0.2))

    def test_a_class_that_training_lacks_is_named(self, folder):
        picture(folder / "test/bee/1.png")
        picture(folder / "test/yak/1.png")

        with pytest.raises(ValueError, match=f"{folder}/test has classes that {folder}/train lacks: bee, yak"):
            datasets.image_folder(folder)

    @pytest.mark.parametrize("missing", ["train", "test"])
    def test_a_missing_folder_is_named(self, folder, missing):
        shutil.rmtree(folder / missing)

        with pytest.raises(FileNotFoundError, match=f"There is no folder {folder}/{missing}"):
            datasets.image_folder(folder)

    @pytest.mark.parametrize("empty", ["train", "test"])
    def test_a_folder_without_images_is_named_with_the_suffixes(self, folder, empty):
        shutil.rmtree(folder / empty)
        (folder / empty / "ant").mkdir(parents=True)
        (folder / empty / "ant" / "photo.txt").write_text("not an image")

        with pytest.raises(FileNotFoundError, match=rf"{folder}/{empty} holds no images .\.jpg.*\.png.*class folders"):
            datasets.image_folder(folder)

    def test_a_path_to_nothing_is_named(self, tmp_path):
        with pytest.raises(FileNotFoundError, match=f"There is no image folder {tmp_path}/nowhere"):
            datasets.load(str(tmp_path / "nowhere"))


class TestSegmentationFolder:
    @pytest.mark.data
    def test_street_scenes(self, data_folder):
        data = datasets.segmentation_folder(data_folder / "segmentation")

        for count, (x, masks) in zip((90, 30), split_of(data).values(), strict=True):
            are_images(x, (count, 96, 128, 3))
            assert masks.shape == (count, 96, 128)
            assert masks.dtype == np.int32
        pixels = np.bincount(np.concatenate([data.y_train, data.y_test]).ravel())
        assert pixels[:6].tolist() == [245735, 352252, 15292, 445168, 84093, 147391]
        assert pixels[6:].tolist() == [14829, 17945, 80341, 9259, 4060, 58195]
        assert data.class_names == ()

    @pytest.fixture
    def folder(self, tmp_path):
        for part in ("train", "test"):
            for name, number in {"a": 0, "b": 11}.items():
                picture(tmp_path / part / "images" / f"{name}.jpg", GREY)
                picture(tmp_path / part / "masks" / f"{name}.png", number)
        return tmp_path

    def test_each_image_has_the_mask_of_its_name(self, folder):
        data = datasets.segmentation_folder(folder)

        are_images(data.x_train, (2, 4, 6, 3))
        for _, masks in split_of(data).values():
            np.testing.assert_array_equal(masks, np.broadcast_to(np.int32([[[0]], [[11]]]), (2, 4, 6)))

    def test_resizing_makes_no_new_classes(self, folder):
        numbers = np.random.default_rng(0).choice([0, 11], size=(4, 6)).astype(np.uint8)
        Image.fromarray(numbers).save(folder / "train/masks/b.png")

        data = datasets.segmentation_folder(folder, size=(7, 9))

        are_images(data.x_train, (2, 7, 9, 3))
        assert data.y_train.shape == (2, 7, 9)
        assert set(np.unique(data.y_train[1])) == {0, 11}

    def test_several_sizes_need_one_to_resize_to(self, folder):
        picture(folder / "train/images/b.jpg", size=(5, 5))

        with pytest.raises(ValueError, match=r"several sizes, from \(4, 6\) to \(5, 5\).*Pass size="):
            datasets.segmentation_folder(folder)

    def test_a_missing_mask_is_named(self, folder):
        (folder / "test/masks/b.png").unlink()

        with pytest.raises(FileNotFoundError, match=rf"{folder}/test/masks has no mask for b\.jpg \(1 in all\)"):
            datasets.segmentation_folder(folder)

    @pytest.mark.parametrize("missing", ["train/images", "test/masks"])
    def test_a_missing_folder_is_named(self, folder, missing):
        shutil.rmtree(folder / missing)

        with pytest.raises(FileNotFoundError, match=f"{folder}/{missing}"):
            datasets.segmentation_folder(folder)


class TestLoad:
    def test_digits(self):
        pytest.importorskip("sklearn", reason="the digits need scikit-learn")

        np.testing.assert_array_equal(datasets.load("digits").x_test, datasets.digits().x_test)

    def test_spirals_of_a_seed(self):
        np.testing.assert_array_equal(datasets.load("spirals", seed=4).x_train, datasets.spirals(4).x_train)
        np.testing.assert_array_equal(datasets.load("spirals").x_train, datasets.spirals(0).x_train)


def test_examples_in_the_docstrings():
    pytest.importorskip("sklearn", reason="the digits need scikit-learn")

    assert doctest.testmod(datasets).failed == 0
