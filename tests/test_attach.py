"""`apply_entropy` on models that are built, and its handle."""

import keras
import numpy as np
import pytest

from keras_entropy import (
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyLogger,
    EntropyWarning,
    FactorSchedule,
    SumRegularizer,
    apply_entropy,
    profile,
)

L = keras.layers
X = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
Y = np.zeros((16, 3), "float32")
BACKEND = keras.backend.backend()


def network(**arguments):
    keras.utils.set_random_seed(0)
    inner = keras.Sequential([keras.Input((6,)), L.Dense(5, name="a", **arguments)], name="inner")
    x = keras.Input((6,))
    model = keras.Model(x, L.Dense(3, name="head")(inner(x)))
    model.compile(keras.optimizers.Adam(0.01), "mse")
    return model


def total(model):
    return float(keras.ops.convert_to_numpy(sum(model.losses)))


def host(variable):
    return keras.ops.convert_to_numpy(variable).astype(np.float64)


def weights_after_fit(model, epochs=1):
    model.fit(X, Y, batch_size=4, shuffle=False, epochs=epochs, verbose=0)
    return model.get_weights()


def assert_equal(first, second):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("term", [keras.regularizers.L2(0.3), keras.regularizers.L1(0.2), DenseEntropy(0.1)])
def test_any_regularizer_of_keras_acts_on_a_trained_model(term):
    model = network()
    weights_after_fit(model)

    attached = apply_entropy(model, "all", term)

    assert attached.layers == tuple(attached) == ("inner/a", "head")
    assert len(attached) == 2
    kernels = [model.get_layer("inner").get_layer("a").kernel, model.get_layer("head").kernel]
    expected = sum(float(keras.ops.convert_to_numpy(term(k.value))) for k in kernels)
    np.testing.assert_allclose(total(model), expected, rtol=1e-5)
    task = np.mean(np.square(model.predict(X, verbose=0) - Y))
    loss = model.fit(X, Y, verbose=0).history["loss"][0]  # one batch: the loss before the step
    np.testing.assert_allclose(loss, task + expected, rtol=1e-4)


def test_a_regularizer_that_is_there_acts_on():
    model = network(kernel_regularizer=keras.regularizers.L2(0.5))
    before = total(model)

    apply_entropy(model, "inner/a", DenseEntropy(0.1))

    kernel = host(model.get_layer("inner").get_layer("a").kernel)
    np.testing.assert_allclose(total(model), before + float(DenseEntropy(0.1)(kernel)), rtol=1e-4)
    (weight, _) = profile.measurable_weights(model)
    assert isinstance(weight.regularizer, DenseEntropy)
    assert weight.penalised
    np.testing.assert_allclose(profile.penalty(model), float(DenseEntropy(0.1)(kernel)), rtol=1e-6)


def test_sums_survive_saving_and_cloning(tmp_path):
    model = network(kernel_regularizer=keras.regularizers.L2(0.5))
    apply_entropy(model, "inner/a", DenseEntropy(0.1))
    weights_after_fit(model)
    model.save(tmp_path / "m.keras")

    for other in (keras.models.load_model(tmp_path / "m.keras"), keras.models.clone_model(model)):
        other.set_weights(model.get_weights())
        np.testing.assert_allclose(total(other), total(model), rtol=1e-6)


@pytest.mark.parametrize("fits", [0, 1])
@pytest.mark.parametrize("every", [1, 3])
def test_removal_leaves_nothing(fits, every):
    """Losses, config, weights and steps are those of a model that never had a term."""
    plain, model = network(), network()
    for _ in range(fits):
        assert_equal(weights_after_fit(plain), weights_after_fit(model))
    seeds, config = len(model.get_layer("head")._seed_generators), model.get_config()

    attached = apply_entropy(model, "all", DenseEntropy(0.1, every=every))
    assert model.losses
    assert model.get_config() != config
    if fits:
        model.evaluate(X, Y, verbose=0)  # compiled with the term
    attached.remove()
    attached.remove()

    assert model.losses == []
    assert model.get_config() == config
    assert len(model.get_layer("head")._seed_generators) == seeds
    assert_equal(weights_after_fit(plain), weights_after_fit(model))
    assert int(model.optimizer.iterations) == int(plain.optimizer.iterations)


def test_removal_after_training_with_the_term_keeps_the_optimizer():
    model = network()
    attached = apply_entropy(model, "all", DenseEntropy(0.1))
    trained = weights_after_fit(model)
    attached.remove()

    assert_equal(trained, model.get_weights())
    assert int(model.optimizer.iterations) == 4
    task = np.mean(np.square(model.predict(X, verbose=0) - Y))
    np.testing.assert_allclose(model.fit(X, Y, verbose=0).history["loss"][0], task, rtol=1e-5)


def test_terms_are_removed_in_any_order():
    model = network(kernel_regularizer=keras.regularizers.L2(0.5))
    layer = model.get_layer("inner").get_layer("a")
    own = layer.kernel_regularizer
    first = apply_entropy(model, "inner/a", DenseEntropy(0.1))
    second = apply_entropy(model, "all", keras.regularizers.L1(0.1))

    first.remove()
    assert [type(r).__name__ for r in layer.kernel.regularizer.regularizers] == ["L2", "L1"]
    second.remove()

    assert layer.kernel.regularizer is own
    assert layer.kernel_regularizer is own
    assert model.get_layer("head").kernel_regularizer is None


def test_two_terms_with_every_count_their_own_steps():
    model = network()
    first, second = Counted(every=2), Counted(every=3)
    apply_entropy(model, "head", first)
    apply_entropy(model, "head", second)
    model.compile(keras.optimizers.SGD(0.0), "mse")

    losses = [model.train_on_batch(X[:4], Y[:4]) for _ in range(6)]

    task = model.evaluate(X[:4], Y[:4], verbose=0) - 2  # both are 1 outside of training
    found = np.round(np.asarray(losses) - task).astype(int).tolist()
    assert found == [5, 0, 2, 3, 2, 0]


class Counted(DenseEntropy):
    """A penalty of 1 on each k-th step."""

    def __init__(self, factor=1.0, every=1, **arguments):
        super().__init__(factor, every=every, **arguments)

    def penalty(self, kernel):
        return keras.ops.sum(kernel) * 0 + 1


def test_a_dict_gives_each_group_its_own_term():
    model = network()

    attached = apply_entropy(model, {"first": DenseEntropy(0.5), "head": DenseEntropy(0.1)})

    assert attached.layers == ("inner/a", "head")
    assert model.get_layer("inner").get_layer("a").kernel_regularizer.factor == 0.5
    assert model.get_layer("head").kernel_regularizer.factor == 0.1
    attached.remove()
    assert model.losses == []


def test_schedules_and_logs_reach_terms_inside_sums():
    model = network(kernel_regularizer=keras.regularizers.L2(1e-3))
    apply_entropy(model, "inner/a", DenseEntropy(0.1))

    history = model.fit(X, Y, verbose=0, callbacks=[EntropyLogger(), FactorSchedule(lambda epoch: 0.0)]).history

    assert history["entropy_penalty"] == [0.0]
    kernel = host(model.get_layer("inner").get_layer("a").kernel)
    np.testing.assert_allclose(history["entropy/inner/a"], DenseEntropy(1.0).measure(kernel), rtol=1e-5)


def test_shared_layers_get_one_term():
    shared = L.Dense(6, name="shared")
    x = keras.Input((6,))
    model = keras.Model(x, shared(shared(x)))

    assert apply_entropy(model, "all", DenseEntropy(1.0)).layers == ("shared",)
    assert len(model.losses) == 1


@pytest.mark.parametrize("name", ["MobileNet", "Xception"])
def test_models_of_keras_applications(name):
    model = getattr(keras.applications, name)(weights=None, input_shape=(75, 75, 3), classes=2)

    attached = apply_entropy(model, "first:2", ConvCornerEntropy(0.1))

    assert len(model.losses) == len(attached) == 2
    attached.remove()
    assert model.losses == []


def test_sums_are_put_on_and_taken_off_member_by_member():
    model = keras.Sequential([
        keras.Input((9, 9, 2)), L.Conv2D(4, 3, strides=2, name="c"), L.Flatten(), L.Dense(3, name="d")
    ])  # fmt: skip
    attached = apply_entropy(
        model, "all", SumRegularizer([ConvEntropy(1e-3), DenseEntropy(1e-3), keras.regularizers.L2(1e-2)])
    )

    assert attached.layers == ("c", "d")
    kinds = {name: [type(r).__name__ for r in model.get_layer(name).kernel.regularizer.regularizers] for name in "cd"}
    assert kinds == {"c": ["ConvEntropy", "L2"], "d": ["DenseEntropy", "L2"]}
    assert model.get_layer("c").kernel.regularizer.regularizers[0].strides == 2
    attached.remove()
    assert model.losses == []


def test_a_sum_that_was_there_comes_back_as_it_was():
    model = network(kernel_regularizer=SumRegularizer([keras.regularizers.L2(0.5)]))
    config = model.get_config()

    first, second = (apply_entropy(model, "inner/a", DenseEntropy(factor)) for factor in (0.1, 0.2))
    first.remove()
    second.remove()

    assert model.get_config() == config


def test_a_function_that_is_there_acts_on():
    model = network(kernel_regularizer=lambda w: 0.1 * keras.ops.sum(w**2))
    before = total(model)

    attached = apply_entropy(model, "all", keras.regularizers.L2(0.1))

    assert total(model) > 1.9 * before
    attached.remove()
    np.testing.assert_allclose(total(model), before, rtol=1e-6)


def test_a_composite_of_the_users_own_is_one_regularizer():
    class Tenfold(keras.Regularizer):
        def __init__(self, regularizers):
            self.regularizers = regularizers

        def __call__(self, x):
            return 10 * sum(regularizer(x) for regularizer in self.regularizers)

    model = network()
    attached = apply_entropy(model, "head", Tenfold([keras.regularizers.L2(0.1)]))
    assert total(model) > 0
    attached.remove()
    assert model.losses == []


def test_adapters_made_later_lose_the_term_too():
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, name="d")])
    attached = apply_entropy(model, "all", DenseEntropy(0.1))
    model.get_layer("d").enable_lora(2)

    attached.remove()

    assert model.losses == []


def test_callbacks_are_told_to_wait_for_the_end_of_fit():
    class Meddling(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            apply_entropy(self.model, "all", DenseEntropy(0.1))

    model = network()
    with pytest.raises(ValueError, match="between two calls of `fit`.*FactorSchedule"):
        model.fit(X, Y, verbose=0, callbacks=[Meddling()])
    assert model.losses == []


@pytest.mark.filterwarnings("error::UserWarning")
def test_layers_that_keep_no_regularizer_are_named(monkeypatch):
    from networks import Odd

    from keras_entropy.profile import linear_map, register_measurable

    monkeypatch.setattr(linear_map, "_FUNCTIONS", dict(linear_map._FUNCTIONS))
    register_measurable(Odd, lambda layer: {"mix": layer.mix})
    model = keras.Sequential([keras.Input((4,)), Odd(name="odd")])

    with pytest.warns(EntropyWarning, match=r"drop the regularizer of odd: the config of class Odd does not"):
        apply_entropy(model, "all", DenseEntropy(0.1))

    assert len(model.losses) == 1


def test_a_term_acts_on_each_block():
    model = keras.Sequential([keras.Input((3, 4)), L.EinsumDense("abc,bcd->abd", output_shape=(3, 2), name="e")])

    assert apply_entropy(model, "all", DenseEntropy(0.1)).layers == ("e",)

    blocks = host(model.get_layer("e").kernel)
    np.testing.assert_allclose(total(model), np.mean([DenseEntropy(0.1)(block) for block in blocks]), rtol=1e-5)


class TestErrors:
    def test_frozen_layers(self):
        model = network()
        model.get_layer("head").trainable = False

        with pytest.raises(ValueError, match=r"Frozen: head.*`trainable=True`.*Nothing was attached"):
            apply_entropy(model, "all", DenseEntropy(1.0))

        assert model.losses == []

    def test_models_that_are_not_built(self):
        with pytest.raises(ValueError, match="not built"):
            apply_entropy(keras.Sequential([L.Dense(2)]), "all", DenseEntropy(1.0))

    def test_a_layer_in_place_of_a_model(self):
        layer = L.Dense(3)
        layer.build((None, 4))

        with pytest.raises(
            TypeError, match=r"`model` should be a keras.Model.*of type Dense.*path of the layer as `pla"
        ):
            apply_entropy(layer, "all", DenseEntropy(1.0))

        assert layer.losses == []

    def test_a_regularizer_that_does_not_fit_names_the_layer(self):
        model = keras.Sequential([keras.Input((8, 8, 1)), L.Conv2D(4, 3, name="c")])
        with pytest.raises(ValueError, match=r"'c'.*rank 2.*Nothing was attached"):
            apply_entropy(model, "all", keras.regularizers.OrthogonalRegularizer(0.1))
        assert model.losses == []

    def test_projections_of_attention_are_left_out(self):
        x = keras.Input((4, 6))
        model = keras.Model(x, L.Dense(2, name="d")(L.MultiHeadAttention(2, 3, name="mha")(x, x)))

        assert apply_entropy(model, "all", keras.regularizers.L2(0.1)).layers == ("d",)
        with pytest.raises(ValueError, match=r"'mha/\*' finds no kernel that L2 can act on.*: d\."):
            apply_entropy(model, "mha/*", keras.regularizers.L2(0.1))

    def test_an_empty_dict(self):
        with pytest.raises(ValueError, match=r"`placement` should be a dict with at least one placement.*Name the lay"):
            apply_entropy(network(), {})

    @pytest.mark.parametrize(
        ("arguments", "words"),
        [
            ((DenseEntropy(1.0), "all"), r"apply_entropy\(model, placement, regularizer\)"),
            (("all", "l2"), "`regularizer` should be a keras.Regularizer"),
            (("all",), "`regularizer` should be a keras.Regularizer"),
            (({"all": DenseEntropy(1.0)}, DenseEntropy(1.0)), "None, because `placement` is a dict"),
            (({"all": 3},), "`regularizer`.*3"),
        ],
    )
    def test_other_arguments(self, arguments, words):
        with pytest.raises(TypeError, match=words):
            apply_entropy(network(), *arguments)


class TestSum:
    def test_is_the_sum(self):
        kernel = np.random.default_rng(0).normal(size=(4, 3)).astype("float32")
        terms = [keras.regularizers.L2(0.1), DenseEntropy(0.2)]
        x = keras.ops.convert_to_tensor(kernel)

        found = keras.ops.convert_to_numpy(SumRegularizer(terms)(x))

        expected = sum(float(keras.ops.convert_to_numpy(term(x))) for term in terms)
        np.testing.assert_allclose(found, expected, rtol=1e-6)

    def test_sums_are_flattened_and_names_known(self):
        inner = SumRegularizer(["l2", DenseEntropy(0.2)])

        assert len(SumRegularizer([inner, keras.regularizers.L1(0.1)]).regularizers) == 3

    def test_config_round_trip(self):
        term = SumRegularizer([keras.regularizers.L2(0.1), ConvCornerEntropy([1.0, 2.0])])

        copy = keras.regularizers.deserialize(keras.regularizers.serialize(term))

        assert copy.get_config() == term.get_config()

    def test_errors(self):
        with pytest.raises(ValueError, match="at least one"):
            SumRegularizer([])
        with pytest.raises(TypeError, match=r"`regularizers\[0\]`.*3"):
            SumRegularizer([3])


def test_an_equal_term_twice_is_said_and_replaced_when_asked():
    model = keras.Sequential([keras.Input((8,)), keras.layers.Dense(4, name="code")])
    apply_entropy(model, "all", DenseEntropy(1e-3))
    with pytest.warns(EntropyWarning, match=r"code had an equal regularizer already.*replace=True"):
        second = apply_entropy(model, "all", DenseEntropy(1e-3))
    assert len(model.losses) == 1
    kernel = model.layers[0].kernel
    twice = float(keras.ops.convert_to_numpy(model.losses[0]))
    second.remove()
    once = float(keras.ops.convert_to_numpy(model.losses[0]))
    assert twice == pytest.approx(2 * once)

    for factor in (1e-3, 1e-2):
        apply_entropy(model, "all", DenseEntropy(factor), replace=True)
        assert kernel.regularizer.factor == factor
    apply_entropy(model, "all", keras.regularizers.L2(1e-3), replace=True)  # of another class: beside the first
    assert len(kernel.regularizer.regularizers) == 2


def test_what_is_replaced_stays_if_nothing_can_be_attached():
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, name="a"), keras.layers.Dense(3, name="b")])
    apply_entropy(model, "all", DenseEntropy(1e-3))
    model.get_layer("a").trainable = False

    with pytest.raises(ValueError, match="Frozen: a.*Nothing was attached"):
        apply_entropy(model, "all", DenseEntropy(1e-2), replace=True)

    assert model.get_layer("b").kernel_regularizer.factor == pytest.approx(1e-3)
    assert len(model.losses) == 1
