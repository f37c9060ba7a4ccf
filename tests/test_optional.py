"""What needs an extra says so in one message, and nothing else needs one."""

import sys

import pytest

from keras_entropy import _optional

pytestmark = pytest.mark.once


def test_a_missing_package_is_an_error_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)

    with pytest.raises(ModuleNotFoundError) as caught:
        _optional.require("matplotlib.figure", extra="plot")

    assert str(caught.value) == (
        'Drawing figures needs matplotlib, which is not installed. Install it with: pip install "keras-entropy[plot]"'
    )
    assert caught.value.name == "matplotlib"


def test_returns_the_module(monkeypatch, tmp_path):
    (tmp_path / "numba").mkdir()
    (tmp_path / "numba" / "__init__.py").write_text("")
    (tmp_path / "numba" / "part.py").write_text("answer = 42")
    monkeypatch.syspath_prepend(tmp_path)
    for name in [name for name in sys.modules if name.partition(".")[0] == "numba"]:
        monkeypatch.delitem(sys.modules, name)

    assert _optional.require("numba.part", extra="landscape").answer == 42

    monkeypatch.delitem(sys.modules, "numba.part")
    monkeypatch.delitem(sys.modules, "numba")


@pytest.mark.parametrize(
    ("source", "error", "words"),
    [
        ("import no_such_dependency", ModuleNotFoundError, "No module named 'no_such_dependency'"),
        ("from math import no_such_name", ImportError, "cannot import name 'no_such_name'"),
        ("raise OSError('a shared library is broken')", OSError, "a shared library is broken"),
    ],
)
def test_a_broken_package_is_not_taken_for_a_missing_one(monkeypatch, tmp_path, source, error, words):
    (tmp_path / "loky.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "loky", raising=False)

    with pytest.raises(error, match=words) as caught:
        _optional.require("loky", extra="study")

    assert "keras-entropy[" not in str(caught.value)
