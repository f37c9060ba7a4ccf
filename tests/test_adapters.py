"""Terms on layers with low-rank adapters, and on quantised layers."""

import keras
import numpy as np
import pytest

from keras_entropy import (
    ConvEntropy,
    DenseEntropy,
    EntropyLogger,
    EntropyWarning,
    FactorSchedule,
    SumRegularizer,
    apply_entropy,
    entropy_profile,
    profile,
)

L = keras.layers


def dense(term):
    return L.Dense(5, kernel_regularizer=term, name="d")


LAYERS = {
    "dense": (dense, (8,)),
    "einsum": (lambda term: L.EinsumDense("abc,bcd->abd", (3, 4), kernel_regularizer=term, name="d"), (3, 5)),
    "conv": (lambda term: L.Conv2D(4, 3, kernel_regularizer=term, name="d"), (6, 6, 2)),
    "embedding": (lambda term: L.Embedding(6, 4, embeddings_regularizer=term, name="d"), (3,)),
}
each_layer = pytest.mark.parametrize("kind", LAYERS)


def model_of(kind, term):
    keras.utils.set_random_seed(0)
    make, shape = LAYERS[kind]
    x = keras.Input(shape, dtype="int32" if kind == "embedding" else "float32")
    model = keras.Model(x, L.Dense(2)(L.Flatten()(make(term)(x))))
    return model, np.ones((4, *shape), x.dtype)


def term_of(kind, **arguments):
    return (ConvEntropy if kind == "conv" else DenseEntropy)(0.1, **arguments)


def total(model):
    return float(keras.ops.convert_to_numpy(sum(model.losses)))


def fit(model, x, callbacks=(), **arguments):
    model.compile(keras.optimizers.SGD(0.1), "mse")
    return model.fit(x, np.zeros((4, 2), "float32"), verbose=0, callbacks=[*callbacks], **arguments).history


@each_layer
def test_the_term_follows_the_merged_kernel(kind):
    model, x = model_of(kind, term_of(kind))
    before = total(model)

    model.get_layer("d").enable_lora(2)
    np.testing.assert_allclose(total(model), before, rtol=1e-5)  # the second adapter is 0

    history = fit(model, x, [EntropyLogger(measure="term")], epochs=2)
    np.testing.assert_allclose(history["entropy_penalty"], np.multiply(-0.1, history["entropy/d"]), rtol=1e-6)
    np.testing.assert_allclose(total(model), history["entropy_penalty"][-1], rtol=1e-4)
    (weight,) = (weight for weight in profile.measurable_weights(model) if weight.path == "d")
    assert weight.penalised


@each_layer
def test_a_positive_factor_raises_the_entropy_of_the_merged_kernel(kind):
    model, x = model_of(kind, term_of(kind))
    model.get_layer("d").enable_lora(2)
    (before,) = (profile.measure_weight(w).mean for w in profile.measurable_weights(model) if w.penalised)
    model.compile(keras.optimizers.SGD(0.05), "mse", loss_weights=[0.0])

    model.fit(x, np.zeros((4, 2)), epochs=3, verbose=0)

    (after,) = (profile.measure_weight(w).mean for w in profile.measurable_weights(model) if w.penalised)
    assert after > before


def test_a_term_attached_after_the_adapters_acts_on_the_merged_kernel():
    model, x = model_of("dense", None)
    model.get_layer("d").enable_lora(2)

    attached = apply_entropy(model, "d", DenseEntropy(0.1, every=2))

    (record, _) = entropy_profile(model).records
    np.testing.assert_allclose(total(model), -0.1 * record.mean, rtol=1e-4)
    fit(model, x, [FactorSchedule(lambda epoch: 2.0)])
    np.testing.assert_allclose(profile.penalty(model), total(model), rtol=1e-4)
    attached.remove()
    assert model.losses == []


def test_every_counts_the_steps_of_a_merged_kernel_once():
    model, x = model_of("dense", DenseEntropy(0.1, every=2))
    model.get_layer("d").enable_lora(2)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    y = np.zeros((4, 2), "float32")

    losses = [model.train_on_batch(x, y) for _ in range(4)]

    penalty = profile.penalty(model)
    task = model.evaluate(x, y, verbose=0) - penalty
    np.testing.assert_allclose(np.ravel(losses)[:1] - task, 2 * penalty, rtol=1e-3)
    assert len(np.ravel(losses)) == 4


def test_other_members_of_a_sum_act_on_the_adapters_as_in_keras():
    both = SumRegularizer([DenseEntropy(0.1), keras.regularizers.L2(0.01)])
    model, _ = model_of("dense", both)
    before = total(model_of("dense", DenseEntropy(0.1))[0])
    layer = model.get_layer("d")
    layer.enable_lora(2)

    squares = np.sum(np.square(keras.ops.convert_to_numpy(layer.lora_kernel_a)))

    np.testing.assert_allclose(total(model), before + 0.01 * squares, rtol=1e-5)


def test_saved_and_cloned_models_keep_the_term(tmp_path):
    model, x = model_of("dense", DenseEntropy(0.1))
    model.get_layer("d").enable_lora(2)
    fit(model, x)
    model.save(tmp_path / "m.keras")

    loaded = keras.models.load_model(tmp_path / "m.keras")

    assert loaded.get_layer("d").lora_enabled
    np.testing.assert_allclose(total(loaded), total(model), rtol=1e-4)


def test_adapters_of_a_quantised_kernel_are_refused():
    model, x = model_of("dense", DenseEntropy(0.1))
    model.get_layer("d").quantize("int8")
    model.get_layer("d").enable_lora(2)

    with pytest.raises(ValueError, match=r"DenseEntropy cannot measure .* 'd': quantised to int8.*Take the term off"):
        fit(model, x)


def test_float8_leaves_the_kernel_and_its_term():
    model, _ = model_of("dense", DenseEntropy(0.1))
    before = total(model)
    model.get_layer("d").quantize("float8")

    np.testing.assert_allclose(total(model), before, rtol=1e-6)
    np.testing.assert_allclose(profile.penalty(model), before, rtol=1e-5)
    assert [record.skipped for record in entropy_profile(model).records] == [None, None]


def quantised(term, mode="int8", **arguments):
    """A model whose layer `d` is quantised, after it is built or, with a dtype, from the start."""
    keras.utils.set_random_seed(0)
    layers = [L.Dense(8, kernel_regularizer=term, name="d", **arguments), L.Dense(2, name="head")]
    if arguments:
        return keras.Sequential(layers)
    model = keras.Sequential([keras.Input((8,)), *layers])
    model.get_layer("d").quantize(mode)
    return model


@pytest.mark.parametrize("arguments", [{"mode": "int8"}, {"mode": "int4"}, {"dtype": "int8_from_float32"}], ids=str)
def test_the_logger_says_that_a_term_on_a_quantised_layer_has_no_effect(arguments):
    model = quantised(DenseEntropy(0.1), **arguments)
    x = np.ones((4, 8), "float32")

    with pytest.warns(EntropyWarning, match="quantised layers have no effect: d. Train the model .* before") as caught:
        history = fit(model, x, [EntropyLogger()], epochs=2)

    assert len([warning for warning in caught if warning.category is EntropyWarning]) == 1
    assert history["entropy_penalty"] == [0.0, 0.0]
    np.testing.assert_allclose(history["task_loss"], history["loss"])


def test_a_quantised_layer_without_term_has_no_warning():
    history = fit(quantised(None), np.ones((4, 8), "float32"), [EntropyLogger()])
    assert {"entropy/head", "task_loss"} <= set(history)


@pytest.mark.parametrize(
    "placement", ["all", "first", ["d", "head"], callable], ids=["all", "first", "globs", "predicate"]
)
@pytest.mark.parametrize("term", [DenseEntropy(0.1), keras.regularizers.L2(0.1)], ids=["entropy", "L2"])
def test_attaching_says_which_layers_are_quantised(placement, term):
    model = quantised(None)

    with pytest.warns(EntropyWarning, match=r"leaves layers out.*quantised layers: d \(int8\)\. .* before quantising"):
        attached = apply_entropy(model, placement, term)

    assert attached.layers == ("head",)


def test_a_placement_of_quantised_layers_alone_is_refused():
    model = quantised(None)

    for placement in ("d", lambda layer: layer.name == "d"):
        with pytest.raises(ValueError, match=r"finds no kernel that DenseEntropy.*quantised layers: d \(int8\)\."):
            apply_entropy(model, placement, DenseEntropy(0.1))
    assert apply_entropy(model, "head", DenseEntropy(0.1)).layers == ("head",)
    with pytest.raises(
        ValueError, match=r"act on none of the kernels of the model: head\.$"
    ):  # which acts on no matrix
        apply_entropy(model, "all", ConvEntropy(0.1))
