"""The battery of the layers that carry a term, and what is special to `DualDense`."""

import keras
import numpy as np
import pytest
from conformance import LAYERS
from modes import BACKEND, value_and_gradient
from oracles import central_differences

from keras_entropy import (
    DenseEntropy,
    DualDense,
    EntropyLogger,
    FactorSchedule,
    SigmoidEntropy,
    apply_entropy,
    entropy_profile,
    functional,
    resolve_placement,
)

L = keras.layers
LN2 = np.log(2)
each_layer = pytest.mark.parametrize("case", LAYERS, ids=lambda case: case.name)


def inputs(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def host(x):
    return np.asarray(keras.ops.convert_to_numpy(x))


def model_of(layer, size):
    """The layer after one that does nothing yet, so that there are weights to train."""
    model = keras.Sequential(
        [keras.Input((size,)), L.Dense(size, use_bias=False, kernel_initializer="identity"), layer]
    )
    model.compile("sgd", "mse")
    return model


def expected(case, layer, x):
    return case.oracle(x.astype("float64"), *(w.astype("float64") for w in layer.get_weights()))


@each_layer
@pytest.mark.parametrize("shape", [(6, 5), (4, 3, 5), (2, 3, 2, 5)])
def test_output_term_and_shape_at_any_rank(case, shape):
    layer, x = case.make(), inputs(*shape)

    y = layer(x)

    output, term = expected(case, layer, x)
    np.testing.assert_allclose(host(y), output, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(host(layer.losses[0]), term, rtol=1e-5)
    assert layer.compute_output_shape(shape) == output.shape
    assert layer.compute_output_shape((None, *shape[1:])) == (None, *output.shape[1:])
    assert layer(keras.Input(shape[1:])).shape == (None, *output.shape[1:])


@each_layer
def test_config_clone_and_file_give_the_same_layer(case, tmp_path):
    model = model_of(case.make(name="mine"), 5)
    x, y = inputs(8, 5), np.zeros((8, model.output_shape[-1]))
    config = model.layers[-1].get_config()
    assert type(model.layers[-1]).from_config(config).get_config() == config
    model.save(tmp_path / "m.keras")

    for other in (keras.models.load_model(tmp_path / "m.keras"), keras.models.clone_model(model)):
        other.set_weights(model.get_weights())
        other.compile("sgd", "mse")
        assert other.layers[-1].get_config() == config
        np.testing.assert_allclose(other.evaluate(x, y, verbose=0), model.evaluate(x, y, verbose=0), rtol=1e-6)


@each_layer
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16", "float16"])
def test_precision(case, policy):
    keras.config.set_dtype_policy(policy)
    model = model_of(case.make(), 5)
    x = inputs(8, 5)
    layer = model.layers[-1]

    y = layer(x)

    assert keras.backend.standardize_dtype(y.dtype) == layer.compute_dtype
    assert keras.backend.standardize_dtype(layer.losses[0].dtype) == keras.config.floatx()
    output, term = expected(case, layer, x)
    np.testing.assert_allclose(host(keras.ops.cast(y, "float32")), output, atol=0.05)
    np.testing.assert_allclose(host(layer.losses[0]), term, rtol=0.02)
    assert np.isfinite(model.fit(x, np.zeros(output.shape), epochs=2, verbose=0).history["loss"]).all()


@each_layer
@pytest.mark.parametrize("compiled", [True, False])
def test_the_term_is_in_the_loss_and_follows_a_schedule(case, compiled):
    model = model_of(case.make(), 5)
    model.compile("sgd", "mse", run_eagerly=not compiled)
    x, y = inputs(8, 5), np.zeros((8, model.output_shape[-1]))
    output, term = expected(case, model.layers[-1], x)
    np.testing.assert_allclose(model.evaluate(x, y, verbose=0), (output**2).mean() + term, rtol=1e-5)

    callbacks = [EntropyLogger(), FactorSchedule(lambda epoch: float(epoch == 0))]
    logs = model.fit(x, y, epochs=2, batch_size=8, verbose=0, callbacks=callbacks).history

    np.testing.assert_allclose(logs["loss"][0] - logs["task_loss"][0], term, rtol=1e-4)
    np.testing.assert_allclose(logs["loss"][1], logs["task_loss"][1], rtol=1e-6)


@each_layer
def test_masks_pass_through(case):
    layer = case.make()
    x = inputs(2, 3, 5)
    mask = np.array([[True, True, False], [True, False, False]])
    embedded = L.Masking(-9.0)(np.where(mask[..., None], x, np.float32(-9)))

    y = layer(embedded)

    np.testing.assert_array_equal(
        host(y._keras_mask if BACKEND != "jax" else keras.src.backend.get_keras_mask(y)), mask
    )
    counted = x[mask] if case.masks else host(embedded)
    np.testing.assert_allclose(host(layer.losses[0]), expected(case, layer, counted)[1], rtol=1e-5)


@each_layer
def test_a_factor_that_is_no_number_is_refused(case):
    for bad, error in ((np.nan, ValueError), (np.inf, ValueError), ("1", TypeError), (None, TypeError)):
        with pytest.raises(error, match=f"`{case.strength}`.*finite number"):
            case.make(**{case.strength: bad})


@each_layer
@pytest.mark.skipif(BACKEND == "torch", reason="torch has no compiled mode here")
def test_it_compiles_with_xla(case):
    model = model_of(case.make(), 5)
    model.compile("sgd", "mse", jit_compile=True)

    assert np.isfinite(model.fit(inputs(8, 5), np.zeros((8, model.output_shape[-1])), verbose=0).history["loss"]).all()


def mean_entropy(x, w, g, b):
    return functional.sigmoid_entropy(x @ (w + g) + b).mean()


def printed_gradient(x, w, g, b):
    """-z D (1 - D) x / ln 2 of the mean over rows and units, and the same without x."""
    z = x @ (w + g) + b
    d = 1 / (1 + np.exp(-z))
    slope = -z * d * (1 - d) / LN2 / z.size
    return x.T @ slope, slope.sum(0)


def test_the_gradient_is_the_printed_one_for_both_sets():
    """Mahi, 2025: of the layer by autodiff, and of the definition by central differences in float64."""
    x, w, g, b = inputs(6, 5).astype("float64"), inputs(5, 3, seed=1), inputs(5, 3, seed=2), inputs(3, seed=3)
    of_set, of_bias = printed_gradient(x, w, g, b)
    layer = DualDense(3, decision_weight=1.0)
    layer.build((None, 5))

    def term(values):
        first, second, bias = keras.ops.split(values, [5, 10])
        layer_values = {"kernel": first, "dual_kernel": second, "bias": bias[0]}
        variables = [(getattr(layer, name), value) for name, value in layer_values.items()]
        with keras.StatelessScope(variables, collect_losses=True) as scope:
            layer(x.astype("float32"))
        return scope.losses[0]

    gradient = value_and_gradient(term, np.concatenate([w, g, b[None]]))[1]
    np.testing.assert_allclose(gradient, np.concatenate([of_set, of_set, of_bias[None]]), rtol=1e-4, atol=1e-7)
    np.testing.assert_allclose(central_differences(lambda w: mean_entropy(x, w, g, b), w), of_set, atol=1e-8)
    np.testing.assert_allclose(central_differences(lambda g: mean_entropy(x, w, g, b), g), of_set, atol=1e-8)
    np.testing.assert_allclose(central_differences(lambda b: mean_entropy(x, w, g, b), b), of_bias, atol=1e-8)


def test_a_hundred_steps_of_gradient_descent_are_the_rule_of_the_source():
    """Mahi, 2025: w, G and b each less eta times the printed gradient; w - G is what it was."""
    x = inputs(16, 5)
    model = keras.Sequential([keras.Input((5,)), DualDense(3, dual_initializer="random_normal", decision_weight=1.0)])
    model.compile(keras.optimizers.SGD(0.5))
    w, g, b = (weight.astype("float64") for weight in model.get_weights())
    difference = w - g

    for _ in range(100):
        model.train_on_batch(x)
        of_set, of_bias = printed_gradient(x.astype("float64"), w, g, b)
        w, g, b = w - 0.5 * of_set, g - 0.5 * of_set, b - 0.5 * of_bias
        for found, rule in zip(model.get_weights(), (w, g, b), strict=True):
            # float32 rounds each of the steps by 6e-8 of weights of about 1.
            np.testing.assert_allclose(found, rule, atol=1e-5)
    found_w, found_g, _ = model.get_weights()
    np.testing.assert_allclose(found_w - found_g, difference, atol=1e-5)
    assert np.abs(w + g).sum() > 1.2 * np.abs(difference).sum()


def test_under_gradient_descent_it_is_dense_at_twice_the_learning_rate(seeded):
    x, y = inputs(32, 5), np.random.default_rng(1).integers(0, 2, (32, 3))
    dual = keras.Sequential([keras.Input((5,)), DualDense(3, use_bias=False)])
    dense = keras.Sequential([keras.Input((5,)), L.Dense(3, "sigmoid", use_bias=False)])
    dense.set_weights(dual.get_weights()[:1])
    dual.compile(keras.optimizers.SGD(0.1), "binary_crossentropy")
    dense.compile(keras.optimizers.SGD(0.2), "binary_crossentropy")

    for model in (dual, dense):
        model.fit(x, y, epochs=20, shuffle=False, verbose=0)

    np.testing.assert_allclose(sum(dual.get_weights()), dense.get_weights()[0], atol=1e-5)


@pytest.mark.slow
def test_descent_on_the_term_alone_decides_every_unit(seeded):
    """Whatever the labels are: there are none. Each row goes to the side of each unit on which it was."""
    x = inputs(40, 5)
    model = keras.Sequential([keras.Input((5,)), DualDense(3, decision_weight=1.0)])
    model.compile(keras.optimizers.Adam(0.1))

    model.fit(np.tile(x, (200, 1)), batch_size=40, shuffle=False, verbose=0)  # 200 steps on all rows

    d = model.predict(x, verbose=0)
    assert np.minimum(d, 1 - d).max() < 0.1


def test_the_logger_logs_the_functional_in_bits():
    x = inputs(200, 5)
    model = keras.Sequential(
        [keras.Input((5,)), DualDense(4, "softmax", name="dual"), L.Dense(2, name="head"), DualDense(3, name="last")]
    )
    model.compile("sgd", "mse")

    logs = model.fit(x, np.zeros((200, 3)), verbose=0, callbacks=[EntropyLogger(sample=x)]).history

    w, g, b = model.layers[0].get_weights()
    expected = functional.sigmoid_entropy(x.astype("float64") @ (w + g) + b).mean()
    np.testing.assert_allclose(logs["entropy/dual/sigmoid"], [expected], rtol=1e-5)
    assert {name for name in logs if name.startswith("entropy/")} == {
        "entropy/dual", "entropy/dual/sigmoid",  # a softmax has no slope of its own
        "entropy/head", "entropy/head/activation", "entropy/head/total",
        "entropy/last", "entropy/last/sigmoid", "entropy/last/activation", "entropy/last/total",
    }  # fmt: skip
    assert model.layers[0].activation is keras.activations.softmax


def test_the_profile_measures_the_sum_of_the_sets():
    layer = DualDense(5, dual_initializer="random_normal", name="dual")
    model = keras.Sequential([keras.Input((5,)), layer])
    w, g, _ = layer.get_weights()

    (record,) = entropy_profile(model, "log_volume").records

    assert (record.path, record.shape) == ("dual", (5, 5))
    np.testing.assert_allclose(record.mean, np.linalg.slogdet(w.astype("float64") + g)[1] / 5, rtol=1e-6)
    (random,) = entropy_profile(model, "log_volume", randomize=0).records
    (again,) = entropy_profile(model, "log_volume", randomize=0).records
    assert np.isfinite(random.mean)
    assert random.mean == again.mean != record.mean


def test_entropy_terms_are_not_put_on_one_of_two_sets():
    """They would measure w, not w + G. Other regularizers act on w, as `kernel_regularizer` does."""
    model = keras.Sequential([keras.Input((5,)), DualDense(4, name="dual"), L.Dense(3, name="head")])

    found = resolve_placement(model, "all", regularizer=DenseEntropy(0.1))

    assert [weight.path for weight in found] == ["head"]
    with pytest.raises(ValueError, match=r"'dual' finds no kernel that DenseEntropy can act on.*head"):
        apply_entropy(model, "dual", DenseEntropy(0.1))
    alone = keras.Sequential([keras.Input((5,)), DualDense(4, name="alone")])
    for placement in ("alone", "all", "first"):
        with pytest.raises(ValueError, match=r"does not act on DualDense \(alone\).*dual_regularizer="):
            apply_entropy(alone, placement, DenseEntropy(0.1))
    apply_entropy(model, "dual", keras.regularizers.L2(0.1))
    np.testing.assert_allclose(host(model.losses[0]), 0.1 * (host(model.layers[0].kernel) ** 2).sum(), rtol=1e-6)
    assert model.layers[0].kernel_regularizer is not None


def test_each_set_has_its_own_regularizer_constraint_and_initializer():
    layer = DualDense(
        4, None, use_bias=False, kernel_initializer="zeros", dual_initializer="ones",
        kernel_regularizer=keras.regularizers.L1(1.0), dual_regularizer=keras.regularizers.L2(1.0),
        dual_constraint=keras.constraints.MaxNorm(0.5), activity_regularizer=keras.regularizers.L2(0.0),
    )  # fmt: skip
    model = keras.Sequential([keras.Input((5,)), layer])
    assert [float(host(x)) for x in layer.losses] == [0.0, 20.0]
    model.compile("sgd", "mse")

    model.fit(inputs(8, 5), np.zeros((8, 4)), verbose=0)

    assert np.linalg.norm(host(layer.dual_kernel), axis=0).max() <= 0.5 + 1e-6
    assert DualDense.from_config(layer.get_config()).get_config() == layer.get_config()


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(("first", "second"), [(0.5, 0.0), (0.0, 0.5), (0.5, -0.25)])
def test_a_factor_that_is_set_later_acts_in_compiled_steps_too(first, second, compiled):
    layer = DualDense(3, decision_weight=first)
    model = model_of(layer, 5)
    model.compile(keras.optimizers.SGD(0.0), "mse", run_eagerly=not compiled)
    x, y = inputs(8, 5), np.zeros((8, 3))

    def losses():
        history = model.fit(x, y, verbose=0, shuffle=False).history["loss"]
        return [history[0], model.train_on_batch(x, y), model.evaluate(x, y, verbose=0)]

    z = x.astype("float64") @ layer.get_weights()[0]
    task, bits = np.mean(1 / (1 + np.exp(-z)) ** 2), functional.sigmoid_entropy(z).mean()
    np.testing.assert_allclose(losses(), task + first * bits, rtol=1e-5)
    layer.decision_weight = second

    np.testing.assert_allclose(losses(), task + second * bits, rtol=1e-5)
    layer(x)
    np.testing.assert_allclose([host(loss) for loss in layer.losses], [second * bits] * bool(second), rtol=1e-5)
    assert layer.decision_weight == layer.get_config()["decision_weight"] == second


def test_a_factor_that_is_set_keeps_what_a_schedule_left_and_is_refused_in_fit():
    model = model_of(DualDense(3, decision_weight=0.5), 5)
    layer, x = model.layers[-1], inputs(8, 5)

    def change(epoch):
        layer.decision_weight = 1.0
        return 0.5

    with pytest.raises(ValueError, match=r"`decision_weight` of 'dual_dense.*between two calls.*FactorSchedule"):
        model.fit(x, np.zeros((8, 3)), verbose=0, callbacks=[FactorSchedule(change)])
    assert layer.decision_weight == 0.5
    model.fit(x, np.zeros((8, 3)), verbose=0, callbacks=[FactorSchedule(lambda epoch: 0.5)])
    layer(x)
    before = host(layer.losses[0])
    layer.decision_weight = 1.0
    layer(x)
    np.testing.assert_allclose(host(layer.losses[0]), 2 * before, rtol=1e-6)
    with pytest.raises(ValueError, match="`decision_weight`.*finite number"):
        layer.decision_weight = np.nan


@pytest.mark.parametrize("shape", [(0, 5), (2, 0, 5)])
def test_the_term_of_an_empty_batch_is_0(shape):
    layer = DualDense(3, decision_weight=0.5)
    layer(np.zeros(shape, "float32"))

    assert host(layer.losses[0]) == 0


def test_the_logger_leaves_out_what_the_mask_leaves_out(seeded):
    """As the layer's own term does; also in a sample of more rows than go through the model at once."""
    x = inputs(200, 3, 5)
    x[np.arange(200) % 3 > 0, 1:] = -9
    x[::5] = -9
    model = keras.Sequential([keras.Input((3, 5)), L.Masking(-9.0), DualDense(4, decision_weight=1.0, name="dual")])
    model.compile("sgd", "mse")

    logs = model.fit(x, np.zeros((200, 3, 4)), verbose=0, callbacks=[EntropyLogger(sample=x)]).history

    model(x)
    np.testing.assert_allclose(logs["entropy/dual/sigmoid"], host(model.losses[0]), rtol=1e-5)
    assert not {"call", "_mask"} & set(vars(model.get_layer("dual")))


def test_without_a_factor_there_is_no_term():
    layer = DualDense(3)
    layer(inputs(2, 5))

    assert layer.losses == []


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: DualDense(0), ValueError, "`units`.*positive integer"),
        (lambda: DualDense(2.5), TypeError, "`units`.*positive integer"),
        (lambda: DualDense(3, use_bias="yes"), TypeError, "`use_bias`"),
        (
            lambda: DualDense(3, dtype="int8_from_float32"),
            NotImplementedError,
            "cannot be quantised.*keras.layers.Dense",
        ),
        (lambda: DualDense(3).build((None, None)), ValueError, r"known size.*\(None, None\)"),
        (lambda: DualDense(3)(np.ones((2, 5), "int32")), TypeError, r"floating-point.*int32.*astype"),
        (lambda: of_images()(np.ones((2, 5), "uint8")), TypeError, r"floating-point.*uint8.*astype"),
        (lambda: DualDense(3)(keras.Input((5,), dtype="int32")), TypeError, r"floating-point.*int32.*astype"),
        (lambda: DualDense(3, decision_weight=10**5000), ValueError, "`decision_weight`.*an integer of 16610 bits"),
        (lambda: DualDense(3)(np.ones(5, "float32")), ValueError, "min_ndim=2"),
        (lambda: built().enable_lora(2), NotImplementedError, "no low-rank adapter"),
        (lambda: built().quantize("int8"), NotImplementedError, "cannot be quantised"),
    ],
)
def test_bad_arguments_are_named(call, error, words):
    with pytest.raises(error, match=words):
        call()


def of_images():
    return keras.Sequential([keras.Input((5,), dtype="uint8"), DualDense(3)])


def built():
    layer = DualDense(3)
    layer.build((None, 5))
    return layer


def test_a_last_layer_of_logits_takes_the_loss(seeded):
    x = inputs(32, 5)
    model = keras.Sequential([keras.Input((5,)), DualDense(3, None)])
    model.compile("sgd", SigmoidEntropy())

    np.testing.assert_allclose(
        model.evaluate(x, verbose=0), functional.sigmoid_entropy(model.predict(x, verbose=0)).mean(), rtol=1e-5
    )
