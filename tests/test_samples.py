"""`EntropyLogger(sample=)`: the types that `model.predict` takes, models of a fixed batch size, and what is refused."""

import contextlib

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import EntropyLogger, entropy_profile

L = keras.layers


def data(n=24):
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, 6)).astype("float32"), generator.uniform(size=(n, 3)).astype("float32")


def logged(model, sample):
    logger, logs = EntropyLogger(sample=sample), {}
    logger.set_model(model)
    logger.on_train_begin()
    logger.on_epoch_end(0, logs)
    logger.on_train_end()
    return logs


def odd_samples():
    import scipy.sparse

    x, _ = data()
    yield "csr", scipy.sparse.csr_matrix(x)
    yield "coo", scipy.sparse.coo_array(x)
    with contextlib.suppress(ModuleNotFoundError):
        import pandas

        yield "pandas", pandas.DataFrame(x)
    if BACKEND == "tensorflow":
        import tensorflow

        yield "tensorflow", tensorflow.sparse.from_dense(x)
        yield "tensor", tensorflow.constant(x)
    if BACKEND == "jax":
        import jax.experimental.sparse

        yield "jax", jax.experimental.sparse.BCOO.fromdense(x)


def test_samples_of_the_types_that_predict_takes():
    x, _ = data()
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, "sigmoid", name="d")])
    model.compile("sgd", "mse")
    expected = logged(model, x)["entropy/d/activation"]
    assert expected < -1

    for name, sample in odd_samples():
        found = logged(model, sample)["entropy/d/activation"]
        np.testing.assert_allclose(found, expected, rtol=1e-5, err_msg=name)
        assert [layer.constant for layer in entropy_profile(model, sample=sample).constant] == [()], name


@pytest.mark.parametrize("rows", [16, 40, 64])
def test_a_model_of_a_fixed_batch_size_is_measured_on_whole_batches(rows):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(batch_shape=(16, 4, 8))
    model = keras.Model(inputs, L.Dense(3, "tanh", name="d")(L.LSTM(5, stateful=True)(inputs)))
    model.compile(keras.optimizers.SGD(0.0), "mse")
    x = np.ones((rows, 4, 8), "float32")
    slope = np.log(1 - model.predict(x[:16], verbose=0) ** 2).mean()
    model.layers[1].reset_state()

    np.testing.assert_allclose(logged(model, x)["entropy/d/activation"], slope, rtol=1e-5)
    with pytest.raises(ValueError, match=r"`sample` should be inputs of at least 16 rows.*15"):
        logged(model, x[:15])


@pytest.mark.parametrize("sample", [np.ones((200, 50)).tolist(), (row for row in [np.ones(6)]), {"a": 3}, [[], []]])
def test_samples_of_other_types_are_refused_in_a_short_line(sample):
    with pytest.raises(ValueError, match=rf"`sample`.*of type {type(sample).__name__}.*Give rows") as caught:
        EntropyLogger(sample=sample)

    assert len(str(caught.value)) < 1000


@pytest.mark.parametrize("sample", [data(), [*data()]])
def test_a_sample_with_labels_is_refused(sample):
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, "relu")])
    model.compile("sgd", "mse")
    words = r"`sample` should be one array, for the one input of the model. Received: .*\(24, 6\), \(24, 3\).*no labels"

    with pytest.raises(ValueError, match=words):
        entropy_profile(model, sample=sample)
    with pytest.raises(ValueError, match=words):
        model.fit(*data(), verbose=0, callbacks=[EntropyLogger(sample=sample)])


@pytest.mark.parametrize("count", [1, 3])
def test_a_sample_has_one_array_for_each_input(count):
    x, _ = data()
    inputs = [keras.Input((6,)), keras.Input((6,))]
    model = keras.Model(inputs, L.Dense(3, "relu")(L.Add()(inputs)))

    assert entropy_profile(model, sample=[x, x]).constant is not None
    with pytest.raises(ValueError, match="`sample` should be 2 arrays, one for each input"):
        entropy_profile(model, sample=[x] * count)


@pytest.mark.skipif(BACKEND != "tensorflow", reason="needs TensorFlow")
def test_a_data_set_as_a_sample_is_refused():
    import tensorflow

    with pytest.raises(ValueError, match="`sample`.*Dataset.*a batch of a data set"):
        EntropyLogger(sample=tensorflow.data.Dataset.from_tensor_slices(data()[0]).batch(8))


def test_a_sample_that_a_model_built_in_training_does_not_take_is_named():
    class Built(keras.Model):
        def __init__(self):
            super().__init__()
            self.dense = L.Dense(3, "tanh")

        def call(self, x):
            return self.dense(x)

    x, y = data()
    model = Built()
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="`sample` should be inputs of the model"):
        model.fit(x, y, verbose=0, callbacks=[EntropyLogger(sample=x[:, :3])])


def test_samples_that_say_nothing_are_refused():
    import scipy.sparse

    x, _ = data()
    bad = x.copy()
    bad[3, 2], bad[5, 1] = np.nan, np.inf
    for sample in (bad, scipy.sparse.csr_matrix(bad), keras.ops.convert_to_tensor(bad), [x, bad]):
        for use in (
            lambda s: EntropyLogger(sample=s),
            lambda s: entropy_profile(keras.Sequential([keras.Input((6,)), L.Dense(3)]), sample=s),
        ):
            with pytest.raises(
                ValueError, match="`sample` should be finite numbers.*2 of .* NaN or infinite.*Leave out"
            ):
                use(sample)
    with pytest.raises(ValueError, match="`sample` should be at least two rows to measure representations"):
        EntropyLogger(sample=x[:1], representations="all")


class Branch(keras.layers.Layer):
    """A layer inside a branch, which JAX compiles."""

    def __init__(self, **options):
        super().__init__(**options)
        self.dense = L.Dense(3, "relu", name="inner")

    def build(self, shape):
        self.dense.build(shape)

    def call(self, x):
        return keras.ops.cond(keras.ops.sum(x) > 0, lambda: self.dense(x), lambda: 2 * self.dense(x))


def scoped(*layers):
    with keras.RematScope(mode="full"):
        return keras.Sequential([keras.Input((6,)), *layers])


@pytest.mark.parametrize(
    ("model", "on_jax", "elsewhere"),
    [
        (lambda: keras.Sequential([keras.Input((6,)), Branch(name="b"), L.Dense(3, name="d")]), "d", "b/inner d"),
        (lambda: keras.Sequential([keras.Input((6, 1)), L.LSTM(4, name="r"), L.Dense(3, name="d")]), "r d", "r d"),
        pytest.param(
            lambda: scoped(L.Dense(4, "relu", name="a"), L.Dense(3, name="d")), "", "a d",
            marks=pytest.mark.skipif(BACKEND != "jax", reason="a test of what JAX compiles"),
        ),
    ],
)  # fmt: skip
def test_layers_inside_what_jax_compiles_are_left_out(model, on_jax, elsewhere):
    model, (x, y) = model(), data()
    sample = x.reshape((-1, *model.input_shape[1:]))
    model.compile("sgd", "mse")

    logs = model.fit(sample, y, verbose=0, callbacks=[EntropyLogger(sample=sample, representations="all")]).history

    constant = entropy_profile(model, sample=sample).constant
    assert "entropy/d" in logs
    assert [layer.path for layer in constant] == (on_jax if BACKEND == "jax" else elsewhere).split()


def test_an_error_of_a_measure_is_not_blamed_on_the_sample(monkeypatch):
    def measure(z, activation):
        raise ZeroDivisionError("in the measure")

    model = keras.Sequential([keras.Input((6,)), L.Dense(3, "sigmoid", name="d")])
    model.compile("sgd", "mse")
    monkeypatch.setattr("keras_entropy.functional.log_slope", measure)
    with pytest.raises(ZeroDivisionError, match="in the measure"):
        logged(model, data()[0])


def test_an_activation_may_be_called_with_more_arguments():
    class Approximate(L.Dense):
        def call(self, x):
            return self.activation(x @ self.kernel, approximate=True)

    model = keras.Sequential([keras.Input((6,)), Approximate(3, keras.activations.gelu, name="d")])
    model.compile("sgd", "mse")
    assert np.isfinite(logged(model, data()[0])["entropy/d/activation"])
