"""`every=k`: the term acts on each k-th training step with weight k, and costs nothing on the others."""

import os
import subprocess
import sys
import textwrap
import time

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import ConvCornerEntropy, ConvEntropy, DenseEntropy, EntropyWarning, TotalCorrelation, apply_entropy
from keras_entropy.regularizers import EntropyRegularizer

L = keras.layers
# Keras compiles on JAX by itself, and not at all on torch here.
JIT = [False, pytest.param(True, marks=pytest.mark.slow)] if BACKEND == "tensorflow" else ["auto"]
jit = pytest.mark.parametrize("jit_compile", JIT)


@keras.saving.register_keras_serializable(package="tests")
class One(EntropyRegularizer):
    """A penalty of 1."""

    unit = "nats"

    def __init__(self, factor=1.0, epsilon=0.0, reduction="mean", every=1):
        super().__init__(factor, epsilon, reduction, every)

    def check_kernel(self, shape):
        pass

    def penalty(self, kernel):
        return 0 * keras.ops.sum(kernel) + 1.0


class StepLosses(keras.callbacks.Callback):
    """The loss of each step, from Keras's running means."""

    def __init__(self):
        super().__init__()
        self.losses = []

    def on_epoch_begin(self, epoch, logs=None):
        self.before = 0.0

    def on_train_batch_end(self, batch, logs=None):
        total = float(logs["loss"]) * (batch + 1)
        self.losses.append(round(total - self.before, 4))
        self.before = total


def zeros(n=80):
    return np.zeros((n, 4), np.float32), np.zeros((n, 4), np.float32)


def model_of(*regularizers, jit_compile="auto", **changes):
    model = keras.Sequential([keras.Input((4,)), *(L.Dense(4, kernel_regularizer=r) for r in regularizers)])
    model.compile(keras.optimizers.SGD(0.0), "mse", jit_compile=jit_compile, **changes)
    return model


@jit
def test_each_kth_training_step_has_weight_k_and_validation_is_not_counted(jit_compile):
    model, steps = model_of(One(every=3), jit_compile=jit_compile), StepLosses()
    x, y = zeros()

    history = model.fit(
        x, y, batch_size=8, epochs=2, verbose=0, validation_data=(x, y), validation_batch_size=16, callbacks=[steps]
    )
    model.evaluate(x, y, verbose=0)
    model.fit(x, y, batch_size=8, verbose=0, callbacks=[steps])

    assert steps.losses == ([3.0, 0.0, 0.0] * 10)
    assert history.history["val_loss"] == [1.0, 1.0]
    assert float(keras.ops.convert_to_numpy(model.losses[0])) == 1.0


def test_layers_that_share_a_regularizer_count_for_themselves():
    model, steps = model_of(*[One(every=4)] * 3), StepLosses()

    model.fit(*zeros(), batch_size=8, verbose=0, callbacks=[steps])

    assert steps.losses == [12.0, 0.0, 0.0, 0.0, 12.0, 0.0, 0.0, 0.0, 12.0, 0.0]


def test_nested_models_and_train_on_batch_count():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(4, kernel_regularizer=One(every=2))])
    model = keras.Sequential([keras.Input((4,)), inner])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x, y = zeros(8)

    losses = []
    for _ in range(4):
        model.reset_metrics()
        losses.append(round(float(model.train_on_batch(x, y)), 4))

    assert losses == [2.0, 0.0, 2.0, 0.0]


def test_steps_per_execution_counts_each_step():
    if BACKEND == "torch":
        pytest.skip("Keras refuses steps_per_execution on torch")
    model = model_of(One(every=5), steps_per_execution=5)

    history = model.fit(*zeros(), batch_size=8, epochs=2, verbose=0)

    np.testing.assert_allclose(history.history["loss"], 1.0)


@pytest.mark.parametrize(
    ("regularizer", "layer", "shape"),
    [
        (DenseEntropy, L.Dense(3), (4,)),
        (TotalCorrelation, L.Dense(3), (4,)),
        (ConvCornerEntropy, L.Conv2D(3, 3), (8, 8, 2)),
        (ConvEntropy, L.Conv2D(3, 3), (8, 8, 2)),
        (TotalCorrelation, L.Conv2D(3, 3), (8, 8, 2)),
    ],
)
@jit
def test_the_gradient_comes_every_kth_step_k_times_as_large(regularizer, layer, shape, jit_compile):
    """With no other loss, SGD moves on steps 0 and 3 only, three times as far."""
    x = np.ones((8, *shape), np.float32)
    kernels = {}
    for every in (1, 3):
        keras.utils.set_random_seed(0)
        config = layer.get_config()
        config["kernel_regularizer"] = regularizer(0.1, epsilon=0.1, every=every)
        model = keras.Sequential([keras.Input(shape), type(layer).from_config(config), L.Flatten()])
        model.compile(keras.optimizers.SGD(0.1), lambda y_true, y: 0.0 * keras.ops.mean(y), jit_compile=jit_compile)
        seen = [model.get_weights()[0]]
        for _ in range(4):
            model.train_on_batch(x, x.reshape(8, -1)[:, :1])
            seen.append(model.get_weights()[0])
        kernels[every] = seen

    first = kernels[1][1] - kernels[1][0]
    assert np.abs(first).max() > 1e-5
    np.testing.assert_allclose(kernels[3][1] - kernels[3][0], 3 * first, atol=1e-6)
    assert (kernels[3][1] == kernels[3][2]).all()
    assert (kernels[3][2] == kernels[3][3]).all()
    assert (kernels[3][3] != kernels[3][4]).any()


def test_nothing_is_added_to_what_is_saved(tmp_path):
    plain, counted = model_of(One()), model_of(One(every=3))
    for model in (plain, counted):
        model.fit(*zeros(), verbose=0)

    assert len(counted.weights) == len(plain.weights)
    counted.save_weights(tmp_path / "a.weights.h5")
    plain.load_weights(tmp_path / "a.weights.h5")
    counted.save(tmp_path / "a.keras")
    loaded = keras.models.load_model(tmp_path / "a.keras")
    assert loaded.layers[-1].kernel_regularizer.every == 3
    steps = StepLosses()
    loaded.fit(*zeros(), batch_size=8, verbose=0, callbacks=[steps])
    assert steps.losses[:4] == [3.0, 0.0, 0.0, 3.0]
    clone = keras.models.clone_model(counted)
    clone.compile("sgd", "mse")
    clone.fit(*zeros(), batch_size=8, verbose=0)


def test_a_term_attached_to_a_trained_model_counts():
    model, steps = model_of(None), StepLosses()
    model.fit(*zeros(), verbose=0)

    apply_entropy(model, "first", One(every=4))
    model.fit(*zeros(), batch_size=8, verbose=0, callbacks=[steps])

    assert steps.losses[:5] == [4.0, 0.0, 0.0, 0.0, 4.0]


@pytest.mark.skipif(BACKEND != "jax", reason="only JAX cannot make the counter inside a compiled step")
def test_on_jax_a_term_that_cannot_count_says_so_and_acts_on_each_step():
    model, steps = model_of(None), StepLosses()
    model.fit(*zeros(), verbose=0)
    model.layers[-1].kernel.regularizer = One(every=4)
    model.train_function = None

    with pytest.warns(EntropyWarning, match=r"`every`=4 has no effect.*apply_entropy.*model.losses"):
        model.fit(*zeros(), batch_size=8, verbose=0, callbacks=[steps])
    assert set(steps.losses) == {1.0}


@pytest.mark.slow
def test_the_work_is_skipped():
    """The processor time of this process: other processes would disturb the wall time."""
    x = np.zeros((320, 500), np.float32)
    seconds, models = {1: [], 10: []}, {}
    for every in seconds:
        term = DenseEntropy(1e-3, every=every)
        models[every] = keras.Sequential([keras.Input((500,)), L.Dense(500, kernel_regularizer=term)])
        models[every].compile("sgd", "mse")
        models[every].fit(x, x, batch_size=8, verbose=0)
    for _ in range(3):
        for every, model in models.items():
            start = time.process_time()
            model.fit(x, x, batch_size=8, verbose=0)
            seconds[every].append(time.process_time() - start)

    assert min(seconds[10]) < 0.5 * min(seconds[1])


@pytest.mark.parametrize(("every", "error"), [(0, ValueError), (-1, ValueError), (1.5, TypeError), (True, TypeError)])
@pytest.mark.parametrize("kind", [DenseEntropy, ConvCornerEntropy, ConvEntropy, TotalCorrelation])
def test_bad_periods_are_refused(kind, every, error):
    with pytest.raises(error, match="`every`.*positive integer"):
        kind(1.0, every=every)


@pytest.mark.slow
@pytest.mark.processes
def test_several_batched_factorisations_in_one_step_do_not_wait_for_each_other():
    """On two threads; the suite itself is pinned to one, where they could not."""
    code = """
        import keras, numpy as np
        from keras_entropy import ConvEntropy, TotalCorrelation
        L, terms = keras.layers, [ConvEntropy(1e-3), TotalCorrelation(1e-3)] * 3
        convolutions = [L.Conv2D(32, 3, padding="same", kernel_regularizer=term) for term in terms]
        model = keras.Sequential([keras.Input((8, 8, 3)), *convolutions, L.GlobalAveragePooling2D()])
        model.compile("sgd", "mse")
        x = np.zeros((64, 8, 8, 3), "float32")
        model.fit(x, np.zeros((64, 32)), epochs=5, batch_size=8, verbose=0)
        print("done")
    """
    pins = dict.fromkeys(("NPROC", "OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "2")
    command = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(command, env={**os.environ, **pins}, capture_output=True, text=True, timeout=240, check=True)

    assert done.stdout.strip().endswith("done")
