"""Which files of pretrained weights belong to an architecture."""

import pytest

from reproduction.trained_weights import FORMATS, pretrained

pytestmark = pytest.mark.once


def test_weights_are_those_of_the_architecture_and_of_no_other_version(tmp_path, monkeypatch):
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    for name in ("resnet50v2_weights_tf_kernels.h5", "resnet50_weights_notop.h5", "resnet50_weights.txt"):
        (tmp_path / "keras" / "models" / name).touch()
    assert pretrained(None, "resnet50", FORMATS) is None
    (tmp_path / "resnet50.h5").touch()
    assert pretrained(tmp_path, "resnet50", FORMATS) == tmp_path / "resnet50.h5"
    (tmp_path / "keras" / "models" / "resnet50_weights_tf_kernels.h5").touch()
    assert pretrained(None, "resnet50", (".h5",)).name == "resnet50_weights_tf_kernels.h5"
