"""Entropy through the activation: slopes, the regularizer, the layer, and independent component analysis."""

import keras
import numpy as np
import pytest
from modes import BACKEND, EACH_MODE, value_and_gradient

from keras_entropy import (
    ActivationEntropy,
    DenseEntropy,
    EntropyActivation,
    EntropyLogger,
    FactorSchedule,
    functional,
    register_measurable,
)
from keras_entropy.functional import ACTIVATIONS_OF_OUTPUT

EPSILON = 1e-6
L = keras.layers
# `threshold` takes further arguments: Keras itself cannot use it as a layer's activation.
ELEMENTWISE = [
    name
    for name in sorted(dir(keras.activations))
    if callable(getattr(keras.activations, name))
    and name not in ("deserialize", "get", "serialize", "softmax", "log_softmax", "sparsemax", "glu", "threshold")
]


def apply(name, z):
    return np.asarray(keras.ops.convert_to_numpy(keras.activations.get(name)(keras.ops.convert_to_tensor(z))))


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_slope_from_the_input_is_the_derivative(name, mode):
    z = np.array([-4.3, -1.1, -0.3, 0.2, 0.9, 2.2, 5.4], np.float32)  # no kinks among them
    slope = (apply(name, z + 1e-2) - apply(name, z - 1e-2)) / 2e-2
    expected = 0.5 * np.log(slope.astype("float64") ** 2 + 1e-2)

    found, gradient = value_and_gradient(lambda x: keras.ops.sum(functional.log_slope(x, name, epsilon=0.1)), z, mode)

    np.testing.assert_allclose(functional.log_slope(z, name, epsilon=0.1), expected, atol=2e-3)
    np.testing.assert_allclose(found, expected.sum(), atol=1e-2)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("name", ACTIVATIONS_OF_OUTPUT)
def test_slope_from_the_output_is_the_slope_from_the_input(name, mode):
    z = np.array([-4.3, -1.1, -0.3, 0.2, 0.9, 2.2, 5.4], np.float32)
    expected = functional.log_slope(z, name)
    y = apply(name, z)

    def from_output(z):
        return keras.ops.sum(functional.log_slope(keras.activations.get(name)(z), name, of="output"))

    value, gradient = value_and_gradient(from_output, z, mode)
    _, direct = value_and_gradient(lambda x: keras.ops.sum(functional.log_slope(x, name)), z, mode)

    np.testing.assert_allclose(functional.log_slope(y, name, of="output"), expected, atol=1e-2)
    np.testing.assert_allclose(value, expected.sum(), atol=1e-2)
    np.testing.assert_allclose(gradient, direct, atol=1e-2)


@pytest.mark.parametrize("mode", EACH_MODE)
@pytest.mark.parametrize("name", ELEMENTWISE)
def test_saturated_and_extreme_inputs_stay_finite(name, mode):
    z = np.array([-1e30, -1e4, -100, -30, -1e-30, 0, 1e-30, 30, 80], np.float32)
    z = z[3:] if name == "exponential" else z

    values, gradient = value_and_gradient(lambda x: keras.ops.sum(functional.log_slope(x, name)), z, mode)

    assert np.isfinite(values)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(
    ("name", "of"), [*((name, "input") for name in ELEMENTWISE), *((name, "output") for name in ACTIVATIONS_OF_OUTPUT)]
)
def test_the_slope_at_nan_is_nan_and_the_others_stay(name, of):
    x = np.array([np.nan, 0.3, np.nan, -0.2, 0.0], np.float32)
    rest = functional.log_slope(np.delete(x, [0, 2]), name, of=of)

    tensor = keras.ops.convert_to_numpy(functional.log_slope(keras.ops.convert_to_tensor(x), name, of=of))
    found = functional.log_slope(x, name, of=of)

    for values in (found, tensor):
        assert np.isnan(values).tolist() == [True, False, True, False, False]
    np.testing.assert_array_equal(np.delete(found, [0, 2]), rest)


@pytest.mark.parametrize("activation", ["leaky_relu", "relu", "linear"])
def test_inputs_of_an_activation_that_are_nan_are_logged_as_nan(activation):
    model = samples_model()
    model.layers[0].activation = keras.activations.get(activation)
    x, y = data()

    history = model.fit(x * np.nan, y, epochs=1, verbose=0, callbacks=[EntropyLogger(sample=x)]).history

    assert np.isnan(history[f"entropy/{model.layers[0].name}/activation"]).all()


@pytest.mark.parametrize("name", ["sigmoid", "tanh"])
def test_outputs_of_one_count_as_the_floor_and_inputs_do_not(name):
    z = np.array([18.0, 40.0])
    slope = {"sigmoid": -z, "tanh": np.log(4) - 2 * z}[name]

    np.testing.assert_allclose(functional.log_slope(z, name, epsilon=0), slope, atol=1e-6)
    ones = keras.ops.ones((2,))
    found = keras.ops.convert_to_numpy(functional.log_slope(ones, name, of="output", epsilon=1e-4))
    np.testing.assert_allclose(found, np.log(1e-4), rtol=1e-5)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: functional.log_slope(1.0, "softmax"), "elementwise.*softmax.*no slope"),
        (lambda: functional.log_slope(1.0, "nothing"), "nothing"),
        (lambda: functional.log_slope(1.0, None), "`activation`"),
        (lambda: functional.log_slope(1.0, "sigmoid", of="outputs"), "`of`.*'input', 'output'"),
        (lambda: functional.log_slope(1.0, "gelu", of="output"), "sigmoid.*'gelu'.*EntropyActivation"),
        (lambda: functional.log_slope(1.0, keras.ops.sin, of="output"), "does not determine the slope"),
        (lambda: functional.log_slope(1.0, "tanh", epsilon=-1), "`epsilon`"),
        (lambda: ActivationEntropy("relu", 1.0), "'relu'.*EntropyActivation"),
        (lambda: ActivationEntropy("sigmoid", np.nan), "`factor`"),
        (lambda: EntropyActivation("softmax", 1.0), "elementwise"),
        (lambda: EntropyActivation(L.Softmax(), 1.0), "elementwise"),
        (lambda: ActivationEntropy("tanh", 1.0, reduction="sum", axis=7)(np.zeros((2, 3))), "`axis`.*shape.*axis=7"),
        (lambda: EntropyActivation("gelu", 1.0, reduction="max"), "`reduction`"),
    ],
)
def test_bad_arguments_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


def test_a_function_of_the_users_own_is_differentiated():
    z = np.linspace(-2, 2, 9)

    found = functional.log_slope(z, lambda x: keras.ops.power(x, 3) + x, epsilon=0)

    np.testing.assert_allclose(found, np.log(3 * z**2 + 1), rtol=1e-5, atol=1e-6)


def samples_model(regularizer=None, **changes):
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, "sigmoid", activity_regularizer=regularizer, **changes)])
    model.compile("sgd", "mse")
    return model


def data(n=24):
    generator = np.random.default_rng(0)
    return generator.normal(size=(n, 6)).astype("float32"), generator.uniform(size=(n, 3)).astype("float32")


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_the_term_does_not_depend_on_the_size_of_the_batch(reduction):
    model = samples_model(ActivationEntropy("sigmoid", 0.5, reduction=reduction))
    x, y = data()
    outputs = model.predict(x, verbose=0).astype("float64")
    slopes = np.log(outputs * (1 - outputs))
    task = ((outputs - y) ** 2).mean()
    expected = task - 0.5 * (slopes.mean() if reduction == "mean" else slopes.sum(-1).mean())

    for size in (24, 8):
        np.testing.assert_allclose(model.evaluate(x, y, batch_size=size, verbose=0), expected, rtol=1e-5)


def test_training_with_it_moves_units_out_of_saturation():
    x, _ = data(256)
    slopes = {}
    for factor in (0.0, 1.0):
        keras.utils.set_random_seed(0)
        model = samples_model(ActivationEntropy("sigmoid", factor), kernel_initializer="ones")
        model.compile(keras.optimizers.Adam(0.02), "mse")
        model.fit(4 * x, model.predict(4 * x, verbose=0), epochs=10, verbose=0)
        outputs = model.predict(4 * x, verbose=0)
        slopes[factor] = functional.log_slope(outputs, "sigmoid", of="output").mean()

    assert slopes[1.0] > slopes[0.0] + 1


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16"])
def test_half_precision(policy):
    keras.config.set_dtype_policy(policy)
    model = keras.Sequential(
        [
            keras.Input((6,)),
            L.Dense(5, "tanh", activity_regularizer=ActivationEntropy("tanh", 0.1)),
            L.Dense(3),
            EntropyActivation("gelu", 0.1),
        ]
    )
    model.compile("sgd", "mse")
    x, y = data()

    assert np.isfinite(model.fit(x, y, epochs=2, verbose=0).history["loss"]).all()


def test_layer_saves_clones_and_follows_a_schedule(tmp_path):
    model = keras.Sequential([keras.Input((6,)), L.Dense(3), EntropyActivation("silu", 0.5, reduction="sum")])
    model.compile("sgd", "mse")
    x, y = data()
    z = model.layers[0](x)
    expected = -0.5 * keras.ops.convert_to_numpy(functional.log_slope(z, "silu")).sum(-1).mean()
    task = ((model.predict(x, verbose=0) - y) ** 2).mean()
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0) - task, expected, rtol=1e-4)

    model.save(tmp_path / "m.keras")
    for other in (keras.models.load_model(tmp_path / "m.keras"), keras.models.clone_model(model)):
        other.set_weights(model.get_weights())
        other.compile("sgd", "mse")
        np.testing.assert_allclose(other.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)
        assert other.layers[-1].get_config() == model.layers[-1].get_config()
    history = model.fit(x, y, epochs=2, verbose=0, callbacks=[EntropyLogger(), FactorSchedule(lambda e: float(e == 0))])
    loss, task_loss = history.history["loss"], history.history["task_loss"]
    assert abs(loss[0] - task_loss[0]) > 0.1
    assert loss[1] == pytest.approx(task_loss[1], rel=1e-6)


def test_config_holds_what_the_user_gave():
    regularizer = ActivationEntropy(keras.activations.tanh, np.float64(0.5), of="input", axis=1)
    config = regularizer.get_config()

    assert config == {
        "activation": "tanh",
        "factor": 0.5,
        "epsilon": 1e-6,
        "reduction": "mean",
        "of": "input",
        "axis": 1,
    }
    assert ActivationEntropy.from_config(config).get_config() == config
    found = keras.regularizers.deserialize(keras.regularizers.serialize(regularizer))
    assert found.get_config() == config
    with pytest.raises(TypeError, match="`axis`"):
        ActivationEntropy("tanh", 1.0, axis=1.5)


def test_an_activation_that_is_a_layer_survives_its_config():
    layer = EntropyActivation(L.LeakyReLU(negative_slope=0.1), 0.5)

    again = EntropyActivation.from_config(layer.get_config())

    np.testing.assert_allclose(keras.ops.convert_to_numpy(again(-np.ones((1, 2), "float32"))), -0.1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(again.losses[0]), -0.5 * np.log(0.1), rtol=1e-5)


def test_weights_are_refused():
    layer = L.Dense(3, kernel_regularizer=ActivationEntropy("tanh", 1.0))
    layer.build((None, 4))

    with pytest.raises(TypeError, match="activity_regularizer"):
        layer.losses  # noqa: B018


def test_a_layer_called_twice_adds_it_twice_and_time_distributed_takes_it_itself():
    regularizer = ActivationEntropy("sigmoid", 1.0)
    dense = L.Dense(3, "sigmoid", activity_regularizer=regularizer)
    x, _ = data()
    inputs = keras.Input((6,))
    model = keras.Model(inputs, L.add([dense(inputs), dense(-inputs)]))
    model(x)
    assert len(model.losses) == 2

    outer = L.TimeDistributed(L.Dense(3, "sigmoid"), activity_regularizer=regularizer)
    y = keras.ops.convert_to_numpy(outer(np.stack([x, -x], axis=1)))
    (loss,) = outer.losses
    expected = -np.log(y * (1 - y)).mean()
    np.testing.assert_allclose(keras.ops.convert_to_numpy(loss), expected, rtol=1e-5)


def amari(matrix):
    """Distance of a square matrix from a scaled permutation, 0 to 1 [Amari, Cichocki, Yang, 1996]."""
    p = np.abs(matrix)
    n = len(p)
    rows = (p.sum(1) / p.max(1) - 1).sum()
    columns = (p.sum(0) / p.max(0) - 1).sum()
    return (rows + columns) / (2 * n * (n - 1))


@pytest.mark.parametrize("sources", [2, 4, pytest.param(10, marks=pytest.mark.slow)])
def test_descent_on_it_alone_separates_independent_sources(sources):
    """Infomax [Bell, Sejnowski, 1995]: kernel and activation together, no other loss, find the unmixing matrix."""
    generator = np.random.default_rng(sources)
    mixing = np.linalg.qr(generator.normal(size=(sources, sources)))[0] * np.geomspace(1, 2, sources)
    x = (generator.laplace(size=(4000, sources)) @ mixing).astype("float32")
    keras.utils.set_random_seed(0)
    layer = L.Dense(
        sources, "sigmoid", kernel_initializer="orthogonal",
        kernel_regularizer=DenseEntropy(1.0, reduction="sum"),
        activity_regularizer=ActivationEntropy("sigmoid", 1.0, reduction="sum"),
    )  # fmt: skip
    model = keras.Sequential([keras.Input((sources,)), layer])
    rate = keras.optimizers.schedules.CosineDecay(0.05, 240)
    model.compile(keras.optimizers.Adam(rate), lambda y_true, y: 0.0 * keras.ops.mean(y))
    before = amari(mixing @ keras.ops.convert_to_numpy(layer.kernel))

    model.fit(x, x, batch_size=1000, epochs=60, verbose=0)

    after = amari(mixing @ keras.ops.convert_to_numpy(layer.kernel))
    assert before > 0.15
    assert after < 0.03


def knn_entropy(x):
    """Kozachenko-Leonenko estimate from nearest neighbours, in nats."""
    from math import lgamma, log, pi

    n, d = x.shape
    nearest = np.empty(n)
    for i in range(0, n, 500):
        squares = ((x[i : i + 500, None] - x[None]) ** 2).sum(-1)
        squares[np.arange(len(squares)), i + np.arange(len(squares))] = np.inf
        nearest[i : i + 500] = np.sqrt(squares.min(1))
    ball = d / 2 * log(pi) - lgamma(d / 2 + 1)
    return d * np.log(nearest).mean() + ball + log(n - 1) + 0.5772156649


@pytest.mark.parametrize("dimensions", [1, 2, 3])
@pytest.mark.parametrize("activation", ["sigmoid", "tanh", "softplus", "leaky_relu"])
def test_the_logged_total_is_the_change_of_entropy_of_the_layer(dimensions, activation):
    """Against nearest-neighbour estimates of the entropies of the inputs and outputs."""
    generator = np.random.default_rng(dimensions)
    x = generator.normal(size=(4000, dimensions)).astype("float32")
    model = keras.Sequential([keras.Input((dimensions,)), L.Dense(dimensions, activation, name="map")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kernel = 0.3 * generator.normal(size=(dimensions, dimensions)) + 0.7 * np.eye(dimensions)
    model.set_weights([kernel, 0.3 * np.ones(dimensions)])
    z = x.astype("float64") @ kernel + 0.3
    y = {
        "sigmoid": 1 / (1 + np.exp(-z)), "tanh": np.tanh(z), "softplus": np.log1p(np.exp(z)),
        "leaky_relu": np.where(z < 0, 0.2 * z, z),
    }[activation]  # fmt: skip

    logs = model.fit(x[:64], y[:64], verbose=0, callbacks=[EntropyLogger(measure="log_volume", sample=x)]).history

    (linear,), (slope,), (total,) = (logs[f"entropy/map{part}"] for part in ("", "/activation", "/total"))
    assert total == linear + slope
    np.testing.assert_allclose(linear, np.linalg.slogdet(kernel)[1] / dimensions, atol=1e-5)
    np.testing.assert_allclose(dimensions * total, knn_entropy(y) - knn_entropy(x.astype("float64")), atol=0.1)


def test_the_logger_measures_nested_layers_and_leaves_them_as_they_were():
    leaky = L.LeakyReLU(negative_slope=0.1)
    inner = keras.Sequential([keras.Input((6,)), L.Dense(6, "sigmoid", name="a"), L.Dense(4, name="b"),
                              EntropyActivation("gelu", 0.0, name="c")], name="inner")  # fmt: skip
    model = keras.Sequential([keras.Input((6,)), inner, L.BatchNormalization(), L.Dense(3, leaky, name="d"),
                              L.Dense(3, "softmax", name="e")])  # fmt: skip
    x, y = data(300)
    weights = model.get_weights()
    histories = []
    for sample in (None, x):
        model.set_weights(weights)
        model.compile("sgd", "mse")
        logger = EntropyLogger(sample=sample)
        histories.append(model.fit(x, y, epochs=2, verbose=0, shuffle=False, callbacks=[logger]).history)

    assert histories[0]["loss"] == histories[1]["loss"]
    new = sorted(histories[1].keys() - histories[0].keys())
    names = [f"inner/{n}" for n in "abc"] + ["d"]
    expected = [f"entropy/{n}/activation" for n in names] + [f"entropy/{n}/total" for n in names if n != "inner/c"]
    assert new == sorted(expected)
    assert histories[1]["entropy/inner/b/activation"] == [0.0, 0.0]
    assert inner.layers[0].activation is keras.activations.sigmoid
    assert model.layers[2].activation is leaky
    z = keras.ops.convert_to_numpy(inner.layers[0](x))
    np.testing.assert_allclose(histories[1]["entropy/inner/a/activation"][-1], np.log(z * (1 - z)).mean(), rtol=1e-4)


def test_random_layers_draw_the_same_numbers_with_and_without_a_sample():
    x, y = data()
    weights = []
    for sample in (None, x):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        model = keras.Model(inputs, L.Dense(3, "tanh")(L.Dropout(0.5, seed=1)(inputs, training=True)))
        model.compile("sgd", "mse")
        model.fit(x, y, epochs=2, verbose=0, shuffle=False, callbacks=[EntropyLogger(sample=sample)])
        weights.append(model.get_weights())

    for with_sample, without in zip(*weights, strict=True):
        np.testing.assert_array_equal(with_sample, without)


@keras.saving.register_keras_serializable("test_activation")
class Unactivated(L.Dense):
    """A layer that may be built without an activation, unlike those of Keras, which replace None by "linear"."""

    def __init__(self, units, **arguments):
        super().__init__(units, **arguments)
        self.activation = None


def test_a_layer_without_activation_is_logged_without_a_slope():
    x, y = data()
    register_measurable(Unactivated, lambda layer: {"kernel": layer.kernel})
    model = keras.Sequential([keras.Input((6,)), Unactivated(4, name="a"), L.Dense(3, "tanh", name="b")])
    model.compile("sgd", "mse")

    logs = model.fit(x, y, verbose=0, callbacks=[EntropyLogger(sample=x)]).history

    assert {"entropy/a", "entropy/b", "entropy/b/activation"} <= logs.keys()
    assert "entropy/a/activation" not in logs


def test_recurrent_layers_are_logged_without_their_activations():
    x = np.random.default_rng(0).normal(size=(16, 5, 4)).astype("float32")
    model = keras.Sequential([keras.Input((5, 4)), keras.layers.GRU(3, name="gru"), keras.layers.Dense(2, name="d")])
    model.compile("sgd", "mse")

    logs = model.fit(x, np.zeros((16, 2)), verbose=0, callbacks=[EntropyLogger(sample=x)]).history

    entropies = {name for name in logs if name.startswith("entropy/gru")}
    assert entropies == {"entropy/gru/gru_cell/kernel", "entropy/gru/gru_cell/recurrent_kernel"}
    assert logs["entropy/d/activation"] == [0.0]


def test_layers_of_the_same_name_keep_their_own_slopes():
    class Twins(keras.Model):
        def __init__(self):
            super().__init__()
            self.a, self.b = L.Dense(6, "sigmoid", name="d"), L.Dense(3, "linear", name="d")

        def call(self, x):
            return self.b(self.a(x))

    model = Twins()
    model.compile("sgd", "mse")
    x, y = data()

    logs = model.fit(x, y, verbose=0, callbacks=[EntropyLogger(sample=x)]).history

    assert logs["entropy/d/activation"][0] < -1.3
    assert logs["entropy/d_1/activation"] == [0.0]


def test_a_sample_that_the_model_does_not_take_stops_before_training():
    x, y = data()
    model = samples_model()
    before = model.get_weights()[0]

    with pytest.raises(Exception, match="shape|dimension|incompatible|multiplied"):
        model.fit(x, y, epochs=1, verbose=0, callbacks=[EntropyLogger(sample=x[:, :3])])

    np.testing.assert_array_equal(model.get_weights()[0], before)


@pytest.mark.parametrize("sample", [3.0, np.zeros((0, 6)), [np.zeros((2, 6)), np.zeros((3, 6))], "digits"])
def test_bad_samples_are_refused(sample):
    with pytest.raises(ValueError, match="`sample`.*model.predict"):
        EntropyLogger(sample=sample)


@pytest.mark.skipif(BACKEND == "torch", reason="torch has no compiled mode here")
def test_terms_compile_with_the_step():
    model = keras.Sequential([keras.Input((6,)), L.Dense(3), EntropyActivation("mish", 0.1)])
    model.compile("sgd", "mse", jit_compile=True)

    assert np.isfinite(model.fit(*data(), verbose=0).history["loss"]).all()
