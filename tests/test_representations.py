"""The entropy of the outputs of layers, in the log."""

import keras
import numpy as np
import pytest

from keras_entropy import DualDense, EntropyLogger, functional

L = keras.layers


def built():
    keras.utils.set_random_seed(0)
    layers = [
        L.Conv2D(6, 3, activation="relu", name="conv"),
        L.Flatten(name="flat"),
        L.Dense(8, activation="tanh", name="hidden"),
        L.Dropout(0.5, name="dropout"),
        L.Dense(3, name="head"),
    ]
    model = keras.Sequential([keras.Input((5, 5, 2)), *layers])
    model.compile("sgd", "mse")
    return model


@pytest.fixture
def network():
    return built()


@pytest.fixture
def data():
    generator = np.random.default_rng(0)
    return generator.normal(size=(40, 5, 5, 2)).astype("float32"), generator.normal(size=(40, 3)).astype("float32")


def fit(model, data, epochs=1, **options):
    logger = EntropyLogger(sample=data[0], **options)
    history = model.fit(*data, epochs=epochs, verbose=0, callbacks=[logger]).history
    return logger, history


def test_each_layer_is_measured_on_its_outputs(network, data):
    logger, history = fit(network, data, representations="all")

    measured = {found.path: found for found in logger.representations_logged}
    assert list(measured) == ["conv", "hidden", "head"]
    for path, found in measured.items():
        outputs = keras.Model(network.inputs, network.get_layer(path).output)([data[0]], training=False)
        z = keras.ops.convert_to_numpy(outputs).astype("float64")
        z = z.mean(axis=tuple(range(1, z.ndim - 1)))  # feature maps are averaged
        assert (found.n, found.d) == z.shape
        assert found.entropy == pytest.approx(float(functional.gaussian_entropy(z)), rel=1e-4, abs=1e-4)
        assert found.effective_rank == pytest.approx(float(functional.effective_rank(z)), rel=1e-4)
        assert found.dead == 0
        for name in ("entropy", "effective_rank", "dead"):
            assert history[f"representation/{path}/{name}"] == [getattr(found, name)]


def test_outputs_that_are_not_finite_are_not_called_alive(network, data):
    network.get_layer("hidden").kernel.assign(np.full(network.get_layer("hidden").kernel.shape, np.nan))
    network.get_layer("hidden").trainable = False
    network.compile("sgd", "mse")
    logger, _ = fit(network, data, representations="hidden")

    (found,) = logger.representations_logged
    assert np.isnan([found.entropy, found.effective_rank, found.dead]).all()


def test_a_collapsed_layer_is_seen(network, data):
    hidden = network.get_layer("hidden")
    kernel = np.zeros(hidden.kernel.shape, "float32")
    kernel[0, :5] = 0.1  # five units repeat each other, and three never change
    hidden.kernel.assign(kernel)
    hidden.trainable = False
    network.compile("sgd", "mse")
    logger, _ = fit(network, data, representations="hidden")

    (found,) = logger.representations_logged
    assert found.effective_rank == pytest.approx(1, abs=1e-3)
    assert found.dead == 3 / 8
    assert found.entropy < 0.45 * np.log(1e-2)
    assert not found.is_rank_limited


def test_the_log_says_that_a_sample_is_too_small(network, data):
    x, y = data
    logger, _ = fit(network, (x[:8], y[:8]), representations=["hidden", "con*"])
    limited = {found.path: found.is_rank_limited for found in logger.representations_logged}
    assert limited == {"conv": False, "hidden": True}


def test_training_has_the_same_bits(data):
    found = []
    for options in ({}, {"representations": "all"}):
        model = built()
        _, history = fit(model, data, epochs=2, **options)
        found.append((history["loss"], [weight.tobytes() for weight in model.get_weights()]))
    assert found[0] == found[1]


def test_a_call_leaves_the_layers_as_they_were(network, data):
    calls = {layer.name: vars(layer).get("call") for layer in network.layers}
    fit(network, data, representations="all")
    assert {layer.name: vars(layer).get("call") for layer in network.layers} == calls


def test_the_axis_of_the_channels():
    """That of the layer, or of Keras for images; sequences have their channels last."""
    x = np.random.default_rng(0).normal(size=(12, 3, 4, 5)).astype("float32")
    keras.config.set_image_data_format("channels_first")
    try:
        layers = [L.ReLU(name="images"), L.GlobalAveragePooling2D(name="vectors"), L.Reshape((1, 3))]
        last = [L.LayerNormalization(name="sequence"), L.AveragePooling1D(1, name="first"), L.Flatten()]
        model = keras.Sequential([keras.Input((3, 4, 5)), *layers, *last])
        model.compile("sgd", "mse")
        logger, _ = fit(model, (x, x[:, :, 0, 0]), representations="all")
    finally:
        keras.config.set_image_data_format("channels_last")

    assert {r.path: r.d for r in logger.representations_logged} == {
        "images": 3, "vectors": 3, "sequence": 3, "first": 1,
    }  # fmt: skip


class Counter(L.Layer):
    """Counts its calls."""

    calls = 0

    def call(self, inputs):
        Counter.calls += 1
        return inputs


def test_activations_and_representations_share_one_pass_and_have_the_values_of_their_own():
    x = np.random.default_rng(0).normal(size=(300, 4)).astype("float32")
    dense = L.Dense(6, activation=L.ReLU(name="activation"), name="dense")
    dual = DualDense(3, decision_weight=0.1, name="dual")
    model = keras.Sequential([keras.Input((4,)), Counter(name="counter"), dense, dual])
    model.compile("sgd", "mse")
    found, calls = [], []
    for options in ({}, {"representations": "all"}):
        logger, logs = EntropyLogger(sample=x, **options), {}
        logger.set_model(model)
        Counter.calls = 0
        logger.on_epoch_end(0, logs)
        calls.append(Counter.calls)
        found.append(logs)

    assert calls == [3, 3]  # batches of 128 rows
    activations, both = found
    assert {name: both[name] for name in activations} == activations
    assert sorted(set(activations)) == sorted(name for name in both if not name.startswith("representation/"))
    assert {"entropy/dense/activation", "entropy/dual/sigmoid"} <= set(activations)
    for path, layer in (("dense/activation", dense), ("dual", dual)):
        outputs = keras.Model(model.inputs, layer.output)
        z = np.concatenate([keras.ops.convert_to_numpy(outputs([x[i : i + 128]])) for i in (0, 128, 256)])
        assert both[f"representation/{path}/entropy"] == float(functional.gaussian_entropy(z.astype("float64")))


def test_a_layer_that_is_called_for_several_widths_is_left_out():
    pool, x = L.GlobalAveragePooling1D(keepdims=True, name="pool"), keras.Input((4, 2))
    y = pool(L.Dense(3, name="d")(pool(x)))
    model = keras.Model(x, L.Flatten()(y))
    model.compile("sgd", "mse")
    sample = np.random.default_rng(0).normal(size=(16, 4, 2))

    logs = model.fit(
        sample, np.zeros((16, 3)), verbose=0, callbacks=[EntropyLogger(sample=sample, representations="all")]
    ).history

    assert {name.split("/")[1] for name in logs if name.startswith("representation/")} == {"d"}


def test_a_layer_that_is_called_twice_gives_both_outputs(data):
    shared, inputs = L.Dense(4, name="shared"), keras.Input((3,))
    model = keras.Model(inputs, L.Add()([shared(inputs), shared(-inputs)]))
    model.compile("sgd", "mse")
    logger, _ = fit(model, (data[1], data[1][:, [0, 1, 2, 0]]), representations="shared")
    assert [(found.n, found.d) for found in logger.representations_logged] == [(80, 4)]


@pytest.mark.parametrize(
    ("representations", "sample", "error", "words"),
    [
        ("all", None, ValueError, "`representations` should be None without a sample"),
        (3, 1, TypeError, "`representations` should be a glob, several globs, or a predicate on layers"),
        ([], 1, TypeError, "`representations` should be a glob, several globs, or a predicate on layers"),
    ],
)
def test_a_wrong_argument_is_named(representations, sample, error, words, data):
    with pytest.raises(error, match=words):
        EntropyLogger(sample=data[0] if sample else None, representations=representations)


@pytest.mark.parametrize("bad", ["nothing*", ["hidden", "nothing*"]])
def test_each_glob_has_to_match_a_layer(network, data, bad):
    words = r"`representations` should match layers.*'nothing\*', .* conv, flat, hidden, dropout, head\."
    with pytest.raises(ValueError, match=words):
        fit(network, data, representations=bad)


def test_a_predicate_has_to_choose_a_layer(network, data):
    with pytest.raises(ValueError, match="`representations` .* predicate that chooses .*: conv, flat, hidden"):
        fit(network, data, representations=lambda layer: False)


def nested():
    encoder = keras.Sequential([L.Dense(5, name="wide"), L.Dense(3, name="code")], name="encoder")
    outer = keras.Sequential([encoder, L.Dense(2, name="code_head")], name="outer")
    model = keras.Sequential([keras.Input((4,)), outer, L.Dense(3, name="head")])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize(
    ("chosen", "paths"),
    [
        ("all", ["outer/encoder/wide", "outer/encoder/code", "outer/code_head", "head"]),
        ("outer/encoder", ["outer/encoder"]),
        ("outer/encoder/*", ["outer/encoder/wide", "outer/encoder/code"]),
        ("code", ["outer/encoder/code"]),
        ("code*", ["outer/encoder/code", "outer/code_head"]),
        ("encoder", ["outer/encoder"]),
        (["head", "code"], ["outer/encoder/code", "head"]),
        (lambda layer: getattr(layer, "units", 0) == 3, ["outer/encoder/code", "head"]),
    ],
)
def test_layers_are_found_by_path_name_glob_and_predicate(chosen, paths):
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    logger, _ = fit(nested(), (x, x[:, :3]), representations=chosen)

    assert [found.path for found in logger.representations_logged] == paths


class Twice(keras.Model):
    """Two layers of one name."""

    def __init__(self):
        super().__init__()
        self.first, self.second = L.Dense(4, name="dense"), L.Dense(3, name="dense")

    def call(self, x):
        return self.second(self.first(x))


def test_layers_of_one_name_are_told_apart():
    x = np.random.default_rng(0).normal(size=(12, 4)).astype("float32")
    model = Twice()
    model.compile("sgd", "mse")
    logger, _ = fit(model, (x, x[:, :3]), representations="all")

    assert [(found.path, found.d) for found in logger.representations_logged] == [("dense", 4), ("dense_1", 3)]


def test_tensorboard_shows_them(network, data, tmp_path):
    pytest.importorskip("tensorboard")
    pytest.importorskip("matplotlib")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util import tensor_util

    _, history = fit(network, data, epochs=2, representations="hidden", log_dir=tmp_path)
    events = EventAccumulator(str(tmp_path)).Reload()
    tensors = events.Tensors("representation/hidden/effective_rank")
    points = [float(tensor_util.make_ndarray(event.tensor_proto)) for event in tensors]
    np.testing.assert_allclose(points, history["representation/hidden/effective_rank"], rtol=1e-6)
