"""`model.export` writes the model that predicts, whatever terms and callbacks it has been trained with."""

import importlib.util

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import (
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    DualDense,
    EntropyActivation,
    EntropyLogger,
    FactorSchedule,
    RepresentationEntropy,
)

pytestmark = pytest.mark.slow

L = keras.layers
X = np.random.default_rng(0).normal(size=(8, 6, 2)).astype("float32")
ONE = X[:1]
"""One sample: some formats fix the size of a batch."""

NEEDS = {
    "tf_saved_model": {"tensorflow": "tensorflow", "jax": "tensorflow", "torch": "torch_xla"},
    "litert": {"tensorflow": "tensorflow", "torch": "litert_torch"},
    "onnx": {"tensorflow": "tf2onnx", "jax": "jax2onnx", "torch": "onnxscript"},
    "torch": {"torch": "torch"},
}
"""The package that Keras needs for a format on a backend; a format without the backend is one that Keras refuses."""


def is_installed(package):
    try:
        return importlib.util.find_spec(package) is not None
    except ValueError:  # TensorFlow, blocked by conftest.py
        return False


@pytest.fixture(scope="module")
def model():
    keras.utils.set_random_seed(0)
    layers = [
        L.Conv1D(3, 2, kernel_regularizer=ConvEntropy(0.5, grid=4, every=2)),
        L.Conv1D(3, 2, kernel_regularizer=ConvCornerEntropy(0.5)),
        L.Flatten(),
        L.Dense(5, kernel_regularizer=DenseEntropy(0.5, every=2)),
        EntropyActivation("tanh", 0.5),
        RepresentationEntropy(0.5, momentum=0.5),
        DualDense(3, decision_weight=0.5),
    ]
    model = keras.Sequential([keras.Input((6, 2)), *layers])
    model.compile("sgd", "mse")
    model.fit(X, X[:, 0, :1], verbose=0, callbacks=[FactorSchedule(lambda epoch: 0.5), EntropyLogger()])
    return model


def run_saved_model(path):
    import tensorflow as tf

    loaded = tf.saved_model.load(path)  # owns the variables
    return loaded.serve(ONE).numpy()


def run_litert(path):
    import tensorflow as tf

    interpreter = tf.lite.Interpreter(path)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], ONE)
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])


def run_onnx(path):
    session = pytest.importorskip("onnxruntime", reason="runs what is exported to ONNX").InferenceSession(path)
    return session.run(None, {session.get_inputs()[0].name: ONE})[0]


def run_torch(path):
    import torch

    return torch.export.load(path).module()(torch.tensor(ONE)).detach().numpy()


RUN = {
    "tf_saved_model": ("exported", run_saved_model),
    "litert": ("exported.tflite", run_litert),
    "onnx": ("exported.onnx", run_onnx),
    "torch": ("exported.pt2", run_torch),
}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of the exporters
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.filterwarnings("ignore:Converting a tensor to a Python:Warning")  # of torch's tracer, about Keras
@pytest.mark.filterwarnings("ignore:torch.as_tensor results are registered as constants:Warning")
@pytest.mark.filterwarnings("ignore:.*tf.lite.Interpreter is deprecated:UserWarning")
@pytest.mark.parametrize("form", RUN)
def test_what_is_exported_predicts_as_the_model(form, model, tmp_path):
    package = NEEDS[form].get(BACKEND)
    if package is None:
        pytest.skip(f"Keras does not export to {form} on {BACKEND}")
    if not is_installed(package):
        pytest.skip(f"Keras needs {package} to export to {form} on {BACKEND}")
    name, run = RUN[form]
    path = str(tmp_path / name)

    model.export(path, format=form, verbose=False)

    np.testing.assert_allclose(run(path), model.predict(ONE, verbose=0), rtol=1e-5, atol=1e-6)
