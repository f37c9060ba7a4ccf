"""One adapter per array library: nothing else in the package asks which backend it runs on."""

import ast

import keras
import numpy as np
import pytest
from modes import BACKEND, value_and_gradient
from source import JAX_ONLY, imported, trees

from keras_entropy import _backend

HOME = "keras_entropy/_backend/"

RECORDED = {
    "keras_entropy/landscape/pipeline.py": "an error",
    "keras_entropy/runs/machine.py": "the versions in a record",
    "keras_entropy/runs/pool.py": "the variable KERAS_BACKEND of a process",
    "keras_entropy/tuning/project_folder.py": "the description of a search",
    "keras_entropy_cli/run_folder.py": "the description of a run",
}
"""Files that write the name of the backend down, or compare it with one that was written down."""

FRAMEWORKS = ("jax", "tensorflow", "torch")


def elsewhere():
    return {path: tree for path, tree in trees().items() if not path.startswith(HOME)}


def test_no_other_file_asks_for_the_backend():
    asks = {
        path
        for path, tree in elsewhere().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("backend.backend", "config.backend"))
    }

    assert asks == set(RECORDED)


def test_no_other_file_compares_names_of_backends():
    compared = [
        f"{path}:{node.lineno}: {ast.unparse(node)}"
        for path, tree in elsewhere().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Compare | ast.MatchValue)
        and "sys.modules" not in ast.unparse(node)
        and any(isinstance(part, ast.Constant) and part.value in FRAMEWORKS for part in ast.walk(node))
        # There `backend` is an argument of the user.
        and not path.startswith("keras_entropy/landscape/")
    ]

    assert compared == []


def test_no_other_file_imports_a_framework():
    found = {
        path
        for path, tree in elsewhere().items()
        for name in imported(tree)
        if name.split(".")[0] in FRAMEWORKS and path not in JAX_ONLY
    }

    assert found == set()


def test_the_adapter_is_that_of_the_backend():
    assert type(_backend.framework()).__name__.lower() == f"{BACKEND}adapter"
    assert _backend.framework() is _backend.framework()
    assert _backend.namespace(np.ones(2)) is np
    assert _backend.namespace(keras.ops.ones(2)) is keras.ops


def test_a_backend_without_adapter_is_an_error(monkeypatch):
    monkeypatch.setattr(keras.backend, "backend", lambda: "numpy")
    with pytest.raises(ValueError, match=r"TensorFlow, JAX or torch backend of Keras. Received: 'numpy'"):
        _backend.framework.__wrapped__()


@pytest.mark.parametrize("condition", [True, False])
def test_value_if_skips_the_value_and_its_gradient(condition):
    def penalty(x):
        return keras.ops.sum(1 / x)  # infinite, with an infinite gradient

    def value_of(x):
        return _backend.framework().value_if(keras.ops.convert_to_tensor(condition), penalty, x)

    value, gradient = value_and_gradient(value_of, [0.0, 1.0])

    assert value == (np.inf if condition else 0)
    assert gradient.tolist() == ([-np.inf, -1] if condition else [0, 0])
