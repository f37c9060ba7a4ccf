"""Images of prepared sets, and of folders."""

import numpy as np
import pytest

pytest.importorskip("sklearn", reason="the digits need scikit-learn")

from reproduction import Settings, image_data, image_folders

pytestmark = pytest.mark.once


def test_images_change_their_side():
    x = np.arange(16, dtype="float32").reshape(1, 4, 4, 1)
    np.testing.assert_allclose(image_data.resized(x, 2)[0, ..., 0], [[2.5, 4.5], [10.5, 12.5]])
    large = image_data.resized(x, 10)
    assert large.shape == (1, 10, 10, 1)
    assert large[0, 1:9, 1:9, 0].tolist() == np.kron(x[0, ..., 0], np.ones((2, 2))).tolist()
    assert large.sum() == 4 * x.sum()
    with pytest.raises(ValueError, match="should divide 4"):
        image_data.resized(x, 3)


@pytest.mark.usefixtures("no_prepared_sets")
def test_a_folder_without_the_set_is_an_error_and_full_never_takes_the_digits(tmp_path):
    for settings in (Settings(output=tmp_path, data=tmp_path), Settings(output=tmp_path, scale="full")):
        with pytest.raises(FileNotFoundError, match="tfds build mnist"):
            image_data.images(settings, ("mnist",), 10, 10, 28)


@pytest.mark.data
def test_prepared_sets_are_found_in_the_folder_or_its_tfds(data_folder, tmp_path):
    pytest.importorskip("tensorflow", reason="reads prepared sets")
    for folder in (data_folder, data_folder / "tfds"):
        found = image_data.images(Settings(output=tmp_path, data=folder), ("cifar10", "cifar10_small"), 20, 10**6, 16)
        assert found.data.x_train.shape == (20, 16, 16, 3)
        assert found.name == "cifar10_small"
        assert any("a part of cifar10" in sentence for sentence in found.reduced)
        assert any("test images, not 1000000" in sentence for sentence in found.reduced)
    with pytest.raises(FileNotFoundError, match="tfds build cifar10 "):
        image_data.images(
            Settings(output=tmp_path, data=data_folder, scale="full"), ("cifar10", "cifar10_small"), 20, 10, 16
        )


def test_folders(tmp_path):
    def found(data, scale="small"):
        return image_folders.find(Settings(output=tmp_path / "out", data=data, scale=scale), "imagenette")

    assert found(None) is None
    with pytest.raises(FileNotFoundError, match="full scale needs the set 'imagenette'"):
        found(None, "full")
    with pytest.raises(FileNotFoundError, match="imagenette"):
        found(tmp_path)
    (tmp_path / "imagenette" / "train").mkdir(parents=True)
    assert found(tmp_path) == found(tmp_path / "imagenette", "full") == tmp_path / "imagenette"
    few = image_folders.photographs(None, 16, 30)
    assert few.x_train.shape == (30, 16, 16, 3)
    assert np.bincount(few.y_train).tolist() == [3] * 10
    np.testing.assert_allclose(few.x_train.mean((0, 1, 2)), 0, atol=1e-5)
    assert image_folders.mask_class(np.array([0, 3, 3, 2])) == 3
    assert image_folders.mask_class(np.array([0, 255])) is None
