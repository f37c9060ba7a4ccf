"""Every layer of Keras, every argument that takes a regularizer, and every term: right, or refused with a reason."""

import inspect

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    SumRegularizer,
    TotalCorrelation,
    apply_entropy,
    profile,
)

L = keras.layers

TERMS = {
    "dense": DenseEntropy(0.5),
    "leading": DenseEntropy(0.5, block="leading", reduction="sum"),
    "reciprocal": DenseEntropy(0.5, epsilon=0.1, form="reciprocal"),
    "conv": ConvEntropy(0.5, grid=4),
    "corner": ConvCornerEntropy(0.5),
    "corner matrix": ConvCornerEntropy(0.5, channels="matrix", reduction="sum"),
    "correlation": TotalCorrelation(0.5, grid=4),
    "activation": ActivationEntropy("sigmoid", 0.5),
}
OF_MATRICES = {"dense", "leading", "reciprocal", "correlation"}
OF_CONVOLUTIONS = {"conv", "corner", "corner matrix", "correlation"}
NEED_LAYOUT = {"conv", "corner matrix", "correlation"}

SEQUENCE, IMAGE, VOLUME = (6, 2), (6, 6, 2), (3, 3, 3, 2)


def whole(kernel):
    return [kernel]


def heads(axis):
    return lambda kernel: list(np.moveaxis(kernel, axis, 0))


def gates(count):
    return lambda kernel: np.split(kernel, count, axis=-1)


def recurrent(count):
    return {"kernel": gates(count), "recurrent": gates(count)}


# By class: the arguments, the shape of the input, and by argument the kernels that the weight consists of. All other
# arguments take a bias, a scale or the outputs.
CONV = {"filters": 3, "kernel_size": 3}
TABLE = {
    L.Dense: ({"units": 3}, (4,), {"kernel": whole}),
    L.EinsumDense: (
        {"equation": "abc,bcd->abd", "output_shape": (3, 2), "bias_axes": "bd"}, (3, 5), {"kernel": heads(0)},
    ),
    L.Embedding: ({"input_dim": 5, "output_dim": 3}, (4,), {"embeddings": whole}),
    L.ReversibleEmbedding: ({"input_dim": 5, "output_dim": 3}, (4,), {"embeddings": whole}),
    L.Conv1D: (CONV, SEQUENCE, {"kernel": whole}),
    L.Conv2D: (CONV, IMAGE, {"kernel": whole}),
    L.Conv3D: (CONV, VOLUME, {"kernel": whole}),
    L.Conv1DTranspose: (CONV, SEQUENCE, {"kernel": whole}),
    L.Conv2DTranspose: (CONV, IMAGE, {"kernel": whole}),
    L.Conv3DTranspose: (CONV, VOLUME, {"kernel": whole}),
    L.DepthwiseConv1D: ({"kernel_size": 3, "depth_multiplier": 2}, SEQUENCE, {"depthwise": whole}),
    L.DepthwiseConv2D: ({"kernel_size": 3, "depth_multiplier": 2}, IMAGE, {"depthwise": whole}),
    L.SeparableConv1D: (CONV, SEQUENCE, {"depthwise": whole, "pointwise": whole}),
    L.SeparableConv2D: (CONV, IMAGE, {"depthwise": whole, "pointwise": whole}),
    L.SimpleRNN: ({"units": 3}, SEQUENCE, {"kernel": whole, "recurrent": whole}),
    L.LSTM: ({"units": 3}, SEQUENCE, recurrent(4)),
    L.GRU: ({"units": 3}, SEQUENCE, recurrent(3)),
    L.SimpleRNNCell: ({"units": 3}, SEQUENCE, {"kernel": whole, "recurrent": whole}),
    L.LSTMCell: ({"units": 3}, SEQUENCE, recurrent(4)),
    L.GRUCell: ({"units": 3}, SEQUENCE, recurrent(3)),
    L.ConvLSTM1D: (CONV, (2, *SEQUENCE), recurrent(4)),
    L.ConvLSTM2D: (CONV, (2, *IMAGE), recurrent(4)),
    L.ConvLSTM3D: (CONV, (2, *VOLUME), recurrent(4)),
    L.MultiHeadAttention: ({"num_heads": 2, "key_dim": 3}, SEQUENCE, {"kernel": None}),
    L.GroupQueryAttention: (
        {"head_dim": 3, "num_query_heads": 4, "num_key_value_heads": 2}, SEQUENCE, {"kernel": None},
    ),
    L.BatchNormalization: ({}, (4,), {}),
    L.LayerNormalization: ({"axis": [1, 2]}, (4, 3), {}),
    L.GroupNormalization: ({"groups": 2}, (4,), {}),
    L.PReLU: ({}, (4, 3), {}),
}  # fmt: skip
CELLS = {L.SimpleRNNCell, L.LSTMCell, L.GRUCell}
DROPPED_BY_KERAS = {(L.SimpleRNN, "activity")}
LAYOUTS = dict.fromkeys((L.Conv1DTranspose, L.Conv2DTranspose, L.Conv3DTranspose), "transpose")


def arguments_of(kind):
    """The arguments of a class and its bases that take a regularizer, without `_regularizer`."""
    found = {}
    for base in kind.__mro__:
        parameters = inspect.signature(base.__init__).parameters
        found |= dict.fromkeys(name for name in parameters if name.endswith("_regularizer"))
        if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters.values()):
            break
    return [name.removesuffix("_regularizer") for name in found]


def classes_of_keras():
    return {kind for kind in vars(L).values() if inspect.isclass(kind) and issubclass(kind, L.Layer)}


def test_the_table_has_every_layer_with_a_weight_that_takes_a_regularizer():
    assert {kind for kind in classes_of_keras() if set(arguments_of(kind)) - {"activity"}} == set(TABLE)


def model_of(kind, argument, term):
    keras.utils.set_random_seed(0)
    arguments, shape, _ = TABLE[kind]
    layer = kind(name="held", **arguments, **{f"{argument}_regularizer": term})
    embeds = isinstance(layer, L.Embedding)
    x = keras.Input(shape, dtype="int32" if embeds else "float32")
    attends = isinstance(layer, L.MultiHeadAttention | L.GroupQueryAttention)
    if hasattr(layer, "state_size") and not isinstance(layer, L.RNN):
        layer = L.RNN(layer, name="rnn")
    model = keras.Model(x, layer(x, x) if attends else layer(x))
    return model, np.ones((2, *shape), "int32" if embeds else "float32")


def losses_of(model, x):
    model(x)
    return model.losses


def host(variable):
    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def expected(kind, argument, term, model):
    """The penalty from the values of the weights, as the term has it for NumPy arrays."""
    variables = [v for v in model.trainable_variables if v.regularizer is not None]
    if kind in (L.MultiHeadAttention, L.GroupQueryAttention):
        kernels = [heads(0 if "output" in v.path else 1)(host(v)) for v in variables]
    else:
        kernels = [TABLE[kind][2][argument](host(v)) for v in variables]
    together = np.mean if term.reduction == "mean" else np.sum
    return sum(together([term(kernel) for kernel in parts]) for parts in kernels)


def layout_of(kind, argument):
    return "depthwise" if argument == "depthwise" else LAYOUTS.get(kind, "conv")


def is_right(kind, argument, name):
    """Whether a term can measure what an argument stands for."""
    if argument not in TABLE[kind][2]:
        return argument == "activity" and name == "activation"
    convolves = "Conv" in kind.__name__
    if name in NEED_LAYOUT and layout_of(kind, argument) != "conv":
        return False
    return name in (OF_CONVOLUTIONS if convolves else OF_MATRICES)


SLOW = (L.Conv3D, L.Conv3DTranspose, L.ConvLSTM2D, L.ConvLSTM3D)
ROWS = [pytest.param(kind, id=kind.__name__, marks=[pytest.mark.slow] if kind in SLOW else []) for kind in TABLE]


@pytest.mark.parametrize("kind", ROWS)
def test_each_cell_is_right_or_refused(kind):
    for argument in arguments_of(kind):
        holder = SumRegularizer([TERMS["dense"]])
        model, x = model_of(kind, argument, holder)
        for name, term in TERMS.items():
            holder.regularizers = (term,)
            in_a_scan = BACKEND == "jax" and kind in CELLS  # Keras loses what is added inside it
            if (kind, argument) in DROPPED_BY_KERAS:
                assert losses_of(model, x) == []
            elif not is_right(kind, argument, name):
                with pytest.raises((ValueError, TypeError), match=type(term).__name__):
                    losses_of(model, x)
            elif argument == "activity":
                assert losses_of(model, x) or in_a_scan
            else:
                found = float(keras.ops.convert_to_numpy(sum(model.losses)))
                value = expected(kind, argument, term, model)
                np.testing.assert_allclose(found, value, rtol=1e-4, atol=1e-5, err_msg=f"{argument}: {name}")
                np.testing.assert_allclose(profile.penalty(model), value, rtol=1e-9)


KERNEL_LAYOUTS = [(kind, a) for kind in TABLE for a in TABLE[kind][2] if layout_of(kind, a) != "conv"]


@pytest.mark.parametrize(("kind", "argument"), KERNEL_LAYOUTS)
@pytest.mark.parametrize("make", [ConvEntropy, TotalCorrelation])
def test_a_term_with_the_layout_of_its_layer_is_right(kind, argument, make):
    with pytest.raises(ValueError, match=rf"{make.__name__} on layer 'held' should have layout.*Give layout"):
        losses_of(*model_of(kind, argument, make(0.5)))

    term = make(0.5, grid=4, layout=layout_of(kind, argument))
    model, _ = model_of(kind, argument, term)

    np.testing.assert_allclose(
        float(keras.ops.convert_to_numpy(sum(model.losses))), expected(kind, argument, term, model), rtol=1e-4
    )


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (L.Conv2D(4, 3, strides=2, kernel_regularizer=ConvEntropy(1.0)), "strides=2"),
        (L.Conv2D(4, 3, dilation_rate=2, kernel_regularizer=TotalCorrelation(1.0)), "dilation=2"),
        (L.Conv2D(4, 3, groups=2, kernel_regularizer=ConvEntropy(1.0)), "groups=2"),
        (L.Dense(4, activity_regularizer=DenseEntropy(1.0), name="d"), "outputs of layer 'd'.*kernel_regularizer="),
        (L.GRU(4, bias_regularizer=DenseEntropy(1.0), return_sequences=True), "'bias' of layer 'gru_cell.*entropy"),
    ],
)
def test_refusals_say_what_to_do(layer, words):
    x = np.ones((2, 8, 2) if isinstance(layer, L.GRU) else (2, 8, 8, 2), "float32")

    with pytest.raises((ValueError, TypeError), match=words):
        losses_of(layer, x)


@pytest.mark.parametrize("kind", [L.Dense, L.LSTM, L.GRU, L.MultiHeadAttention, L.ConvLSTM1D, L.EinsumDense])
def test_the_log_and_the_profile_show_what_the_term_acts_on(kind):
    term = (ConvEntropy if kind is L.ConvLSTM1D else DenseEntropy)(1.0, epsilon=0.0)
    model, _ = model_of(kind, "kernel", term)

    of_term = [profile.measure_weight(w) for w in profile.measurable_weights(model) if w.penalised]
    shown = [profile.measure_weight(w, "log_volume") for w in profile.measurable_weights(model) if w.penalised]

    losses = float(keras.ops.convert_to_numpy(sum(model.losses)))
    np.testing.assert_allclose(-losses, sum(entropy.mean for entropy in of_term), rtol=1e-4)
    for one, other in zip(of_term, shown, strict=True):
        np.testing.assert_allclose(one.mean, other.mean, rtol=1e-6)
        assert list(one.pieces) == list(other.pieces)


def test_training_acts_on_each_head_and_gate():
    """One step of gradient descent on the term alone raises the entropy of each head and gate."""
    x = keras.Input((4, 6))
    h = L.MultiHeadAttention(2, 3, kernel_regularizer=DenseEntropy(1.0), name="mha")(x, x)
    model = keras.Model(x, L.LSTM(3, kernel_regularizer=DenseEntropy(1.0), name="lstm")(h))
    model.compile(keras.optimizers.SGD(0.01), "mse", loss_weights=[0.0])
    before = [profile.measure_weight(w) for w in profile.measurable_weights(model) if w.penalised]

    model.fit(np.ones((2, 4, 6), "float32"), np.zeros((2, 3), "float32"), verbose=0)

    after = [profile.measure_weight(w) for w in profile.measurable_weights(model) if w.penalised]
    for first, second in zip(before, after, strict=True):
        assert all(second.pieces[name] > first.pieces[name] for name in first.pieces)
    assert [len(entropy.pieces) for entropy in after] == [2, 2, 2, 2, 4]


def test_apply_entropy_acts_on_each_gate():
    model, _ = model_of(L.LSTM, "kernel", None)
    term = DenseEntropy(0.5)

    apply_entropy(model, "*/kernel", term)

    np.testing.assert_allclose(
        float(keras.ops.convert_to_numpy(sum(model.losses))), expected(L.LSTM, "kernel", term, model), rtol=1e-4
    )
