"""The box of each weight by the number of inputs of its layer, on every backend."""

import keras
import numpy as np
import pytest
from keras import layers
from landscape_cases import ON_JAX

from keras_entropy import landscape
from keras_entropy.landscape import samplers


def built(*parts, shape=(8, 8, 4)):
    return keras.Sequential([keras.Input(shape), *parts])


def transformer():
    tokens = keras.Input((3,), dtype="int32")
    x = layers.Embedding(6, 4)(tokens)
    x = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))
    return keras.Model(tokens, layers.Dense(2)(layers.GlobalAveragePooling1D()(x)))


def classifier():
    convolution = layers.Conv2D(3, 3, strides=2, activation="relu")
    return built(convolution, layers.Flatten(), layers.Dense(2), shape=(8, 8, 1))


def points(shape, high, count):
    rng = np.random.default_rng(0)
    return rng.integers(high, size=(count, *shape)).astype("float32"), rng.integers(2, size=count)


CLASSIFIERS = {
    "convolution": (classifier, [*points((8, 8, 1), 2, 12), *points((8, 8, 1), 2, 7)]),
    "transformer": (transformer, [*points((3,), 6, 12), *points((3,), 6, 7)]),
}


@pytest.mark.parametrize(
    ("layer", "shape", "fan_ins"),
    [
        (lambda: layers.Dense(3), (5,), {"kernel": 5, "bias": 5}),
        (lambda: layers.Dense(3, use_bias=False), (5,), {"kernel": 5}),
        (lambda: layers.Conv1D(4, 3), (8, 6), {"kernel": 18, "bias": 18}),
        (lambda: layers.Conv2D(6, (3, 2)), (8, 8, 4), {"kernel": 24, "bias": 24}),
        (lambda: layers.Conv2D(6, 3, groups=2), (8, 8, 4), {"kernel": 18, "bias": 18}),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 4), {"kernel": 9, "bias": 9}),
        (
            lambda: layers.SeparableConv2D(5, 3, depth_multiplier=2),
            (8, 8, 4),
            {"depthwise_kernel": 9, "pointwise_kernel": 8, "bias": 8},
        ),
        (lambda: layers.EinsumDense("abc,cde->abde", (None, 2, 7), bias_axes="de"), (3, 5), {"kernel": 5, "bias": 5}),
        (lambda: layers.EinsumDense("...ab,abc->...c", 7), (3, 5), {"kernel": 15}),
        (lambda: layers.Embedding(9, 2), (4,), {"embeddings": 1}),
        (layers.BatchNormalization, (8, 8, 4), {"gamma": 1, "beta": 1}),
        (lambda: layers.GroupNormalization(2, center=False), (8, 8, 4), {"gamma": 1}),
        (lambda: layers.LayerNormalization(scale=False), (5,), {"beta": 1}),
        (layers.RMSNormalization, (5,), {"scale": 1}),
    ],
)
def test_the_box_of_each_weight(layer, shape, fan_ins):
    model = built(layer(), shape=shape)

    found = landscape.fan_in_half_widths(model)

    sizes = {variable.name: int(np.prod(variable.shape)) for variable in model.trainable_variables}
    assert sizes.keys() == fan_ins.keys()
    np.testing.assert_array_equal(found, np.concatenate([np.full(sizes[n], 2 / np.sqrt(fan_ins[n])) for n in sizes]))


def test_the_boxes_of_attention_are_those_of_its_projections():
    model = transformer()
    boxes = dict(zip(named(model), landscape.fan_in_half_widths(model), strict=True))
    for projection in ("query", "key", "value"):
        assert boxes[f"{projection}/kernel", 0] == boxes[f"{projection}/bias", 0] == 2 / np.sqrt(4)  # 4 inputs
    assert boxes["attention_output/kernel", 0] == 2 / np.sqrt(6)  # 2 heads of 3


def named(model):
    """Layer and name of each trainable parameter, with its index in the weight."""
    for variable in model.trainable_variables:
        yield from (("/".join(variable.path.split("/")[-2:]), i) for i in range(int(np.prod(variable.shape))))


def test_a_frozen_layer_is_no_part_of_the_box():
    model = transformer()
    whole = len(landscape.fan_in_half_widths(model))
    next(layer for layer in model.layers if isinstance(layer, layers.LayerNormalization)).trainable = False
    assert len(landscape.fan_in_half_widths(model)) == whole - 8


@pytest.mark.parametrize("name", CLASSIFIERS)
def test_parameters_are_the_weights_in_units_of_their_boxes(name):
    """The energy of a problem against the outputs of the model with these weights."""
    make, data = CLASSIFIERS[name]
    model = make()
    problem = landscape.keras_problem(model, data, "fan_in", strength=0.01)
    parameters = np.random.default_rng(1).uniform(-1, 1, (3, problem.dimension))

    found = samplers.evaluate(problem, parameters)

    assert problem.half_width == 1.0
    before = model.get_weights()
    for i, weights in enumerate(parameters * landscape.fan_in_half_widths(model)):
        begin, pieces = 0, []
        for variable in before:
            pieces.append(weights[begin : begin + variable.size].reshape(variable.shape))
            begin += variable.size
        model.set_weights(pieces)
        losses, rights = zip(*(evaluated(model, *data[k : k + 2]) for k in (0, 2)), strict=True)
        expected = losses[0] + 0.01 * np.sum(weights**2), *rights
        np.testing.assert_allclose([values[i] for values in found.values()], expected, rtol=1e-5)


def evaluated(model, x, y):
    """Cross-entropy and accuracy of a model, from its outputs in NumPy."""
    logits = np.asarray(model.predict_on_batch(x), "float64")
    own = logits[np.arange(len(y)), y]
    return np.mean(np.log(np.exp(logits).sum(1)) - own), np.mean(np.sum(logits >= own[:, None], 1) == 1)


def test_a_problem_with_other_boxes_is_another_problem():
    make, data = CLASSIFIERS["convolution"]
    model = make()
    assert landscape.keras_problem(model, data, "fan_in").digest != landscape.keras_problem(model, data, 1.0).digest


@pytest.mark.parametrize(
    ("layer", "shape", "name"),
    [
        (lambda: layers.SimpleRNN(2), (3, 4), "simple_rnn.*/kernel"),
        (layers.PReLU, (4,), "alpha"),
        (lambda: layers.Conv2DTranspose(2, 3), (8, 8, 4), "kernel"),
    ],
)
def test_a_weight_without_a_rule_is_named(layer, shape, name):
    with pytest.raises(
        ValueError, match=f"'fan_in'.*{name}.*Give a number as `half_width`, or set `trainable = False`"
    ):
        landscape.fan_in_half_widths(built(layer(), shape=shape))


@pytest.mark.parametrize(("half_width", "words"), [("fan_out", 'finite number above 0, or "fan_in"'), (0.0, "above 0")])
def test_other_half_widths_are_refused(half_width, words):
    make, data = CLASSIFIERS["convolution"]
    with pytest.raises(ValueError, match=words):
        landscape.keras_problem(make(), data, half_width)


@ON_JAX
@pytest.mark.slow
def test_a_short_walk_of_a_convolutional_network_converges_to_the_shares_of_uniform_samples():
    make, data = CLASSIFIERS["convolution"]
    problem = landscape.keras_problem(make(), data, "fan_in")
    edges = np.array([0.5, 0.65, 0.75, 0.9, 8.0])
    options = {"edges": {"train_loss": edges}, "hmc_fraction": 0.2, "num_leapfrog_steps": 1}

    found = landscape.density_of_states(problem, "train_loss", 1e5, walkers=64, particles=64, split_moves=20, **options)

    assert found.converged, found.status
    parameters = np.random.default_rng(1).uniform(-1, 1, (10_000, problem.dimension))
    counts = np.histogram(samplers.evaluate(problem, parameters)["train_loss"], edges)[0]
    expected, error = np.log(counts / counts.sum()), np.sqrt(1 / counts)
    assert np.abs(found.entropy - expected).max() < 4 * np.hypot(found.standard_error, error).max() < 0.5
