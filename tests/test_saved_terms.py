"""A warning says if saving and cloning will drop a term, and none says so if they keep it."""

import warnings

import keras
import numpy as np
import pytest

from keras_entropy import CorrelatedRegressor, DenseEntropy, EntropyWarning, apply_entropy

L = keras.layers
L2 = keras.regularizers.L2(1e-3)
own = keras.saving.register_keras_serializable("saved terms")


@own
class Net(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = L.Dense(5, name="one")
        self.second = L.Dense(3, name="two")

    def call(self, x):
        return self.second(self.first(x))


@own
class Holder(L.Layer):
    """Makes its layer itself; its config has only the number of units."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.inner = L.Dense(units, name="inner", **self.arguments_of_layer())

    def arguments_of_layer(self):
        return {}

    def build(self, shape):
        self.inner.build(shape)

    def call(self, x):
        return self.inner(x)

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@own
class Keeper(Holder):
    """Takes the regularizer of its layer, and returns it."""

    def __init__(self, units, kernel_regularizer=None, **kwargs):
        self.given = kernel_regularizer
        super().__init__(units, **kwargs)

    def arguments_of_layer(self):
        return {"kernel_regularizer": self.given}

    def get_config(self):
        inner = keras.regularizers.serialize(self.inner.kernel_regularizer)
        return {**super().get_config(), "kernel_regularizer": inner}


@own
class Forgetful(Keeper):
    """Takes the regularizer of its layer, and returns what it was given."""

    def get_config(self):
        return {**super().get_config(), "kernel_regularizer": keras.regularizers.serialize(self.given)}


@own
class WithoutConfig(L.Layer):
    def __init__(self, layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def call(self, x):
        return self.layer(x)


@own
class HoldsOne(keras.Model):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.one = WithoutConfig(L.Dense(3, name="inner"), name="one")

    def call(self, x):
        return self.one(x)


@own
class Around(L.Wrapper):
    def call(self, x):
        return self.layer(x)


@own
class OwnDense(L.Dense):
    pass


@own
class OwnFunctional(keras.Model):
    pass


def called(model, width=4):
    model(np.ones((2, width), "float32"))
    return model


def chain(*layers, shape=(4,)):
    return keras.Sequential([keras.Input(shape), *layers])


def middle(layer):
    x = keras.Input((4,))
    return keras.Model(x, L.Dense(2, name="out")(layer(L.Dense(4, name="in")(x))))


def functional(kind=keras.Model):
    x = keras.Input((4,))
    return kind(x, L.Dense(2, name="out")(x))


def attention():
    x = keras.Input((4, 6))
    return keras.Model(x, L.Dense(2)(L.MultiHeadAttention(2, 3)(x, x)))


def regressor():
    model = CorrelatedRegressor(chain(L.Dense(3)), outputs=3)
    model.compile("adam")
    return called(model)


KEPT = {
    "nested": lambda: chain(chain(L.Dense(4)), functional()),
    "LSTM": lambda: chain(L.LSTM(4), shape=(5, 3)),
    "GRU": lambda: chain(L.GRU(4), shape=(5, 3)),
    "stacked cells": lambda: chain(L.RNN([L.LSTMCell(3), L.GRUCell(2)]), shape=(5, 3)),
    "ConvLSTM": lambda: chain(L.ConvLSTM1D(2, 3), shape=(4, 8, 2)),
    "Bidirectional": lambda: chain(L.Bidirectional(L.LSTM(4)), shape=(5, 3)),
    "TimeDistributed": lambda: chain(L.TimeDistributed(chain(L.Dense(3))), shape=(5, 4)),
    "separable": lambda: chain(L.SeparableConv1D(3, 2), shape=(5, 3)),
    "EinsumDense": lambda: chain(L.EinsumDense("abc,cd->abd", (None, 4)), shape=(5, 3)),
    "SpectralNormalization": lambda: chain(L.SpectralNormalization(L.Dense(2))),
    "attention": attention,
    "application": lambda: keras.applications.MobileNet((32, 32, 3), weights=None, classes=2),
    "CorrelatedRegressor": regressor,
    "argument for the regularizer": lambda: middle(Keeper(3)),
    "wrapper": lambda: middle(Around(L.Dense(3))),
    "subclass of a layer": lambda: middle(OwnDense(3)),
    "subclass of a functional model": lambda: functional(OwnFunctional),
}


def after_saving(model, path):
    model.save(path)
    return [keras.saving.load_model(path), keras.models.clone_model(model)]


@pytest.mark.filterwarnings("error::keras_entropy.EntropyWarning")
@pytest.mark.parametrize("make", KEPT.values(), ids=KEPT)
def test_kept_without_a_warning(make, tmp_path):
    model = make()

    apply_entropy(model, "all", L2)

    assert model.losses
    for other in after_saving(model, tmp_path / "m.keras"):
        assert len(other.losses) == len(model.losses)


DROPPED = [
    ("subclassed model", lambda: called(Net()), "regularizer of one, two: the config of class Net", 0),
    ("layer in the middle", lambda: middle(Holder(3, name="mine")), "of mine/inner: the config of class Holder", 2),
    ("repeated", lambda: chain(L.TimeDistributed(Holder(3)), shape=(2, 4)), "inner: the config of class Holder", 0),
    ("own argument", lambda: middle(Forgetful(3, name="mine")), "of mine/inner: the config of class Forgetful", 2),
    ("no config inside", lambda: called(HoldsOne()), "of one/inner: the config of class WithoutConfig", 0),
]


@pytest.mark.parametrize(("make", "words", "left"), [case[1:] for case in DROPPED], ids=[case[0] for case in DROPPED])
def test_dropped_with_one_warning(make, words, left, tmp_path):
    model = make()

    with pytest.warns(EntropyWarning, match=words) as caught:
        apply_entropy(model, "all", L2)

    (warning,) = [warning for warning in caught if warning.category is EntropyWarning]
    assert "Attach it again after loading" in str(warning.message)
    assert warning.filename == __file__
    for other in after_saving(model, tmp_path / "m.keras"):
        assert len(other.losses) == left
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EntropyWarning)
        apply_entropy(other, "all", L2, replace=True)
    assert len(other.losses) == len(model.losses)


def test_a_model_that_keras_does_not_save_is_said_by_keras_alone(tmp_path):
    model = chain(WithoutConfig(L.Dense(3)))

    with warnings.catch_warnings():
        warnings.simplefilter("error", EntropyWarning)
        apply_entropy(model, "all", L2)

    with pytest.raises(NotImplementedError):
        model.save(tmp_path / "m.keras")


def test_a_term_of_a_loaded_model_can_be_taken_off_after_it_was_trained(tmp_path):
    x, y = np.ones((8, 4), "float32"), np.ones((8, 3), "float32")
    model = keras.Sequential([keras.Input((4,)), L.Dense(3, kernel_regularizer=L2, name="one")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    without = model.evaluate(x, y, verbose=0)
    apply_entropy(model, "one", DenseEntropy(0.5))
    model.save(tmp_path / "m.keras")

    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.evaluate(x, y, verbose=0) != pytest.approx(without, abs=1e-3)
    loaded.fit(x, y, verbose=0)
    apply_entropy(loaded, "one", DenseEntropy(0.0), replace=True).remove()
    assert loaded.evaluate(x, y, verbose=0) == pytest.approx(without, abs=1e-6)
    assert loaded.fit(x, y, verbose=0).history["loss"] == pytest.approx([without], abs=1e-6)
    assert isinstance(loaded.get_layer("one").kernel_regularizer, keras.regularizers.L2)


def test_the_layers_are_left_with_their_own_regularizers():
    model = called(Net())
    config = [layer.get_config() for layer in (model.first, model.second)]

    with pytest.warns(EntropyWarning, match="Net"):
        attached = apply_entropy(model, {"one": L2, "two": DenseEntropy(1e-3)})

    assert model.first.kernel_regularizer is model.first.kernel.regularizer is L2
    assert model.second.kernel_regularizer is model.second.kernel.regularizer
    attached.remove()
    assert [layer.get_config() for layer in (model.first, model.second)] == config


@pytest.mark.filterwarnings("error::keras_entropy.EntropyWarning")
def test_runs_of_studies_and_searches_do_not_warn():
    keras_tuner = pytest.importorskip("keras_tuner")
    from keras_entropy.study import Arm
    from keras_entropy.tuning import EntropyHyperModel

    def build(hp=None):
        model = called(Net())
        model.compile("sgd", "mse")
        return model

    assert EntropyHyperModel(build, DenseEntropy, placements=["all"]).build(keras_tuner.HyperParameters()).losses
    for arm in (Arm("a", "all", L2), Arm("b", {"one": L2})):
        assert arm.change(build(), {}, 0).losses


def test_many_layers_are_counted():
    class Deep(keras.Model):
        def __init__(self):
            super().__init__()
            self.all = [L.Dense(4, name=f"d{i}") for i in range(13)]

        def call(self, x):
            for layer in self.all:
                x = layer(x)
            return x

    with pytest.warns(EntropyWarning, match=r"d0, .*, d9 and 3 others: the config of class Deep"):
        apply_entropy(called(Deep()), "all", L2)
