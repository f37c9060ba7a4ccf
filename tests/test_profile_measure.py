import keras
import numpy as np
import pytest

from keras_entropy import ConvCornerEntropy, DenseEntropy, TotalCorrelation, functional, profile
from keras_entropy.profile import measurable_weights, measure_weight

L = keras.layers


def built(layer, shape):
    return keras.Sequential([keras.Input(shape), layer])


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (L.Dense(3, name="x"), (4,), [("x", "dense")]),
        (L.EinsumDense("ab,bc->ac", 3, name="x"), (4,), [("x", "dense")]),
        (L.EinsumDense("abc,cde->abde", (None, 2, 3), name="x"), (4, 5), [("x", "dense")]),
        (L.Conv1D(3, 2, name="x"), (8, 2), [("x", "conv")]),
        (L.Conv2D(3, 2, name="x"), (8, 8, 2), [("x", "conv")]),
        (L.Conv3D(3, 2, name="x"), (8, 8, 8, 2), [("x", "conv")]),
        (L.Conv1DTranspose(3, 2, name="x"), (8, 2), [("x", "transpose")]),
        (L.Conv2DTranspose(3, 2, name="x"), (8, 8, 2), [("x", "transpose")]),
        (L.Conv3DTranspose(3, 2, name="x"), (4, 4, 4, 2), [("x", "transpose")]),
        (L.DepthwiseConv1D(2, name="x"), (8, 2), [("x", "depthwise")]),
        (L.DepthwiseConv2D(2, name="x"), (8, 8, 2), [("x", "depthwise")]),
        (
            L.SeparableConv1D(3, 2, name="x"),
            (8, 2),
            [("x/depthwise_kernel", "depthwise"), ("x/pointwise_kernel", "conv")],
        ),
        (
            L.SeparableConv2D(3, 2, name="x"),
            (8, 8, 2),
            [("x/depthwise_kernel", "depthwise"), ("x/pointwise_kernel", "conv")],
        ),
        (L.BatchNormalization(name="x"), (4,), [("x", "scale")]),
        (L.LayerNormalization(name="x"), (4,), [("x", "scale")]),
        (L.RMSNormalization(name="x"), (4,), [("x", "scale")]),
        (L.GroupNormalization(2, name="x"), (4,), [("x", "scale")]),
        (L.BatchNormalization(scale=False, name="x"), (4,), [("x", "scale")]),
        (L.LayerNormalization(scale=False), (4,), []),
        (L.LSTM(3, name="x"), (5, 4), [("x/lstm_cell/kernel", "dense"), ("x/lstm_cell/recurrent_kernel", "dense")]),
        (L.TimeDistributed(L.Dense(3, name="x"), name="each"), (5, 4), [("each/x", "dense")]),
    ],
)
def test_which_weights_are_measured(layer, shape, expected):
    weights = measurable_weights(built(layer, shape))

    assert [(weight.path, weight.layout) for weight in weights] == expected
    for weight in weights:
        entropy = measure_weight(weight, values=True)
        assert entropy.shape == tuple(weight.variable.shape)
        np.testing.assert_allclose(np.mean(entropy.values), entropy.mean, rtol=1e-9)


@pytest.mark.parametrize(
    ("layer", "shape", "kernel", "arguments"),
    [
        (L.Conv2D(4, 3, strides=2), (8, 8, 2), lambda k: k, {"strides": 2}),
        (L.Conv2D(4, 3, dilation_rate=(1, 2), groups=2), (8, 8, 4), lambda k: k, {"dilation": (1, 2), "groups": 2}),
        (L.Conv1DTranspose(2, 3, strides=2), (8, 3), lambda k: k, {"strides": 2}),
        (L.DepthwiseConv2D(3, strides=2, depth_multiplier=2), (8, 8, 3), lambda k: k.reshape(3, 3, 1, 6),
         {"strides": 2, "groups": 3}),
    ],
)  # fmt: skip
def test_exact_measures_take_strides_dilation_and_groups_from_the_layer(layer, shape, kernel, arguments):
    (weight,) = measurable_weights(built(layer, shape))
    groups, rows, columns = functional.transfer_shape(
        kernel(weight.kernel).shape, *(arguments.get(name, 1) for name in ("strides", "dilation", "groups"))
    )
    volume = functional.conv_log_volume(kernel(weight.kernel), **arguments)

    found = measure_weight(weight, "log_volume", values=True)

    np.testing.assert_allclose(found.mean, volume / (groups * min(rows, columns)))
    np.testing.assert_allclose(np.mean(found.values), found.mean)
    assert (found.unit, found.measure) == ("nats per dimension", "log_volume")
    transposed = weight.layout == "transpose"
    redundancy = functional.total_correlation(kernel(weight.kernel), epsilon=1e-4, transpose=transposed, **arguments)
    found = measure_weight(weight, "total_correlation", values=True)
    np.testing.assert_allclose(found.mean, redundancy / (rows if transposed else groups * columns))
    np.testing.assert_allclose(np.mean(found.values), found.mean)
    assert (found.unit, found.measure) == ("nats per output", "total_correlation")


@pytest.mark.parametrize("measure", [None, "corner", "log_volume", "total_correlation"])
def test_recurrent_kernels_with_a_term_have_every_measure(measure):
    model = built(L.LSTM(3, kernel_regularizer=TotalCorrelation(0.1), name="lstm"), (5, 4))

    weight, _ = measurable_weights(model)

    assert np.isfinite(measure_weight(weight, measure).mean)


def test_exact_measures_of_separable_and_einsum_layers():
    depthwise, pointwise = measurable_weights(built(L.SeparableConv2D(3, 3, strides=2), (8, 8, 2)))
    assert depthwise.layer_arguments["strides"] == 2
    assert pointwise.layer_arguments == {"layout": "conv", "strides": 1, "dilation": 1, "groups": 1}
    (outputs_first,) = measurable_weights(built(L.EinsumDense("ab,cb->ac", 3), (5,)))
    assert outputs_first.kernel.shape == (3, 5)

    found = measure_weight(outputs_first, "total_correlation").mean

    np.testing.assert_allclose(found, functional.total_correlation(outputs_first.kernel.T, epsilon=1e-4) / 3)


def test_a_regularizer_makes_a_kernel_measured():
    model = built(L.LSTM(3, kernel_regularizer=DenseEntropy(0.1), name="lstm"), (5, 4))

    weight, recurrent = measurable_weights(model)

    assert weight.path == "lstm/lstm_cell/kernel"
    assert measure_weight(recurrent).measure == "corner"
    assert measure_weight(weight).measure == "DenseEntropy"
    assert weight.penalised


def test_values_are_per_filter_or_dimension():
    dense = measure_weight(measurable_weights(built(L.Dense(3), (5,)))[0], values=True)
    conv = measure_weight(measurable_weights(built(L.Conv2D(7, 3), (8, 8, 2)))[0], values=True)
    depthwise = measure_weight(
        measurable_weights(built(L.DepthwiseConv2D(3, depth_multiplier=2), (8, 8, 5)))[0], values=True
    )

    assert [len(entropy.values) for entropy in (dense, conv, depthwise)] == [3, 7, 10]


def test_low_rank_adapters_are_measured_merged():
    model = built(L.Dense(4, name="x"), (4,))
    layer = model.get_layer("x")
    layer.enable_lora(2)
    rng = np.random.default_rng(0)
    layer.lora_kernel_a.assign(rng.normal(size=(4, 2)))
    layer.lora_kernel_b.assign(rng.normal(size=(2, 4)))
    parts = (layer._kernel, layer.lora_kernel_a, layer.lora_kernel_b)
    kernel, a, b = (keras.ops.convert_to_numpy(v).astype("float64") for v in parts)
    merged = kernel + a @ b  # alpha is the rank

    (weight,) = measurable_weights(model)

    assert not weight.penalised
    np.testing.assert_allclose(measure_weight(weight).mean, np.linalg.slogdet(merged)[1] / 4)


def test_quantised_layers_are_left_out():
    model = built(L.Dense(4), (4,))
    model.layers[0].quantize("int8")

    assert measurable_weights(model) == []


def test_a_kernel_that_a_wrapper_shares_counts_once():
    dense = L.Dense(3, kernel_regularizer=DenseEntropy(0.1), name="dense")
    model = built(L.SpectralNormalization(dense, name="wrapper"), (4,))

    assert [weight.path for weight in measurable_weights(model)] == ["wrapper/dense"]


def test_penalty_is_that_of_the_trainable_weights():
    frozen = L.Dense(3, kernel_regularizer=DenseEntropy(1.0), trainable=False)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            L.Dense(3, kernel_regularizer=DenseEntropy(0.5)),
            frozen,
            L.Dense(2, kernel_regularizer="l2"),
        ]
    )
    expected = DenseEntropy(0.5)(np.asarray(model.layers[0].get_weights()[0], "float64"))

    np.testing.assert_allclose(profile.penalty(model), expected)


def test_a_nan_weight_is_nan():
    model = built(L.Conv2D(2, 3, kernel_regularizer=ConvCornerEntropy(1.0)), (8, 8, 1))
    kernel, bias = model.get_weights()
    kernel[0, 0, 0, 0] = np.nan
    model.set_weights([kernel, bias])

    assert np.isnan(measure_weight(measurable_weights(model)[0]).mean)
    assert np.isnan(profile.penalty(model))


def test_layers_are_selected_by_path_and_else_by_name():
    inner = keras.Sequential([keras.Input((5, 4)), L.LSTM(3, name="lstm")], name="inner")
    x = keras.Input((5, 4))
    weights = measurable_weights(keras.Model(x, L.Dense(2, name="head")(inner(x))))
    kernels = ["inner/lstm/lstm_cell/kernel", "inner/lstm/lstm_cell/recurrent_kernel"]

    assert [weight.path for weight in profile.select(weights, "lstm")] == kernels
    assert [weight.path for weight in profile.select(weights, ["head", "*/recurrent_kernel"])] == [kernels[1], "head"]
    with pytest.raises(ValueError, match=r"'lst'.*inner/lstm/lstm_cell/kernel"):
        profile.select(weights, "lst")
