"""Every public layer, loss, regularizer and callback can be subclassed as those of Keras."""

import copy

import keras
import numpy as np
import pytest

import keras_entropy
from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    CorrelatedRegressor,
    DenseEntropy,
    DualDense,
    EntropyActivation,
    EntropyLogger,
    EntropyRegularizer,
    FactorSchedule,
    RepresentationEntropy,
    SemiSupervisedCrossentropy,
    SigmoidEntropy,
    SoftmaxEntropy,
    SumRegularizer,
    TotalCorrelation,
    ViewEntropy,
    entropy_profile,
)

L = keras.layers
LAYERS = {
    DualDense: {"units": 3, "decision_weight": 0.5},
    EntropyActivation: {"activation": "tanh", "factor": 0.5},
    RepresentationEntropy: {"factor": 0.5},
}
LOSSES = {SigmoidEntropy: {}, SoftmaxEntropy: {}, SemiSupervisedCrossentropy: {"unlabelled_weight": 0.5}}
REGULARIZERS = {
    ConvCornerEntropy: {"factor": 0.5},
    ConvEntropy: {"factor": 0.5},
    DenseEntropy: {"factor": 0.5},
    TotalCorrelation: {"factor": 0.5},
    SumRegularizer: {"regularizers": [DenseEntropy(0.5), "l2"]},
}
CALLBACKS = {EntropyLogger: {"measure": "corner"}, FactorSchedule: {"schedule": lambda epoch: 0.5}}
OTHERS = {EntropyRegularizer, ActivationEntropy, ViewEntropy, CorrelatedRegressor}
"""Those below in tests of their own: the base class, and what takes other data."""

GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(8, 4)).astype("float32")


def test_the_tables_are_complete():
    bases = (keras.Layer, keras.losses.Loss, keras.Regularizer, keras.callbacks.Callback)
    public = {getattr(keras_entropy, name) for name in keras_entropy.__all__}
    classes = {found for found in public if isinstance(found, type) and issubclass(found, bases)}

    assert {*LAYERS, *LOSSES, *REGULARIZERS, *CALLBACKS, *OTHERS} == classes


def reloaded(model, tmp_path):
    model.save(tmp_path / "model.keras")
    return keras.models.load_model(tmp_path / "model.keras")


@pytest.mark.parametrize("base", LAYERS)
def test_layers(base, tmp_path):
    """A subclass has weights and layers of its own, made in `build`, and changes `call`."""

    @keras.saving.register_keras_serializable("test_subclasses", name=f"Own{base.__name__}")
    class Own(base):
        def __init__(self, scale, **arguments):
            super().__init__(**arguments)
            self.scale = scale
            self.inner = L.Dense(4)

        def build(self, input_shape):
            super().build(input_shape)
            self.inner.build(input_shape)
            self.own = self.add_weight(name="own", shape=(input_shape[-1],), initializer="ones")

        def call(self, inputs, training=None):
            return self.scale * super().call(self.inner(inputs) * self.own)

        def get_config(self):
            return {**super().get_config(), "scale": self.scale}

    model = keras.Sequential([keras.Input((4,)), Own(2.0, **LAYERS[base]), L.Dense(1)])
    model.compile("sgd", "mse")
    before = keras.ops.convert_to_numpy(model.layers[0].own)
    history = model.fit(
        X, X[:, :1], epochs=2, verbose=0, callbacks=[EntropyLogger(), FactorSchedule(lambda epoch: 0.5)]
    )

    assert history.history["loss"] != history.history["task_loss"]
    assert not np.array_equal(keras.ops.convert_to_numpy(model.layers[0].own), before)
    again = reloaded(model, tmp_path)
    assert type(again.layers[0]) is Own
    np.testing.assert_allclose(again.predict(X, verbose=0), model.predict(X, verbose=0), rtol=1e-6)
    assert type(keras.models.clone_model(model).layers[0]) is Own


def test_the_kernel_of_a_subclass_of_dual_dense_is_in_the_profile():
    class Own(DualDense):
        pass

    model = keras.Sequential([keras.Input((4,)), Own(3, name="own")])

    assert [record.path for record in entropy_profile(model).measured] == ["own"]


@pytest.mark.parametrize("base", LOSSES)
def test_losses(base, tmp_path):
    """A subclass changes `call`, which the reduction, sample weights and masks see."""

    @keras.saving.register_keras_serializable("test_subclasses", name=f"Own{base.__name__}")
    class Own(base):
        def __init__(self, scale=3.0, **arguments):
            super().__init__(**arguments)
            self.scale = scale

        def call(self, y_true, y_pred):
            return self.scale * super().call(y_true, y_pred)

        def get_config(self):
            return {**super().get_config(), "scale": self.scale}

    labels = np.array([0, 1, -1, -1, 3, 2, -1, 0])
    plain, own = base(**LOSSES[base]), Own(**LOSSES[base])
    for arguments in ((labels, X), (labels, X, np.linspace(0, 1, 8).astype("float32"))):
        values = [float(keras.ops.convert_to_numpy(loss(*arguments))) for loss in (plain, own)]
        np.testing.assert_allclose(values[1], 3 * values[0], rtol=1e-5)
    model = keras.Sequential([keras.Input((4,)), L.Dense(4)])
    model.compile("sgd", own)
    loss = model.evaluate(X, labels, verbose=0)
    np.testing.assert_allclose(reloaded(model, tmp_path).evaluate(X, labels, verbose=0), loss, rtol=1e-5)


def test_a_loss_of_views():
    class Own(ViewEntropy):
        def call(self, y_true, y_pred):
            return 3 * super().call(y_true, y_pred)

    views = X.reshape(4, 2, 4)
    values = [float(keras.ops.convert_to_numpy(loss(np.zeros(4), views))) for loss in (ViewEntropy(), Own())]
    np.testing.assert_allclose(values[1], 3 * values[0], rtol=1e-5)


def test_a_regressor(tmp_path):
    @keras.saving.register_keras_serializable("test_subclasses", name="OwnRegressor")
    class Own(CorrelatedRegressor):
        def call(self, inputs, training=None):
            return 2 * super().call(inputs, training=training)

    own = Own(keras.Sequential([keras.Input((4,)), L.Dense(2)]), outputs=2)
    own.compile("sgd")
    own.fit(X, X[:, :2], verbose=0)
    again = reloaded(own, tmp_path)
    assert type(again) is Own
    np.testing.assert_allclose(again.predict(X, verbose=0), own.predict(X, verbose=0), rtol=1e-6)


def scaled(base):
    """A subclass of a regularizer with an argument of its own, which multiplies the penalty."""

    @keras.saving.register_keras_serializable("test_subclasses", name=f"Own{base.__name__}")
    class Own(base):
        def __init__(self, scale, **arguments):
            super().__init__(**arguments)
            self.scale = scale

        def __call__(self, x):
            return self.scale * super().__call__(x)

        def get_config(self):
            return {**super().get_config(), "scale": self.scale}

    return Own


@pytest.mark.parametrize("base", REGULARIZERS)
def test_regularizers(base, tmp_path):
    Own = scaled(base)

    def model(regularizer):
        keras.utils.set_random_seed(0)
        of_conv = base in (ConvCornerEntropy, ConvEntropy)
        layer = (
            L.Conv1D(4, 2, kernel_regularizer=regularizer) if of_conv else L.Dense(4, kernel_regularizer=regularizer)
        )
        found = keras.Sequential([keras.Input((5, 4) if of_conv else (4,)), layer])
        found.compile("sgd", "mse", run_eagerly=True)
        return found

    def penalty(model):
        return float(keras.ops.convert_to_numpy(sum(model.losses)))

    own = model(Own(2.0, **REGULARIZERS[base]))
    np.testing.assert_allclose(penalty(own), 2 * penalty(model(base(**REGULARIZERS[base]))), rtol=1e-6)
    again = reloaded(own, tmp_path)
    assert type(again.layers[0].kernel_regularizer) is Own
    np.testing.assert_allclose(penalty(again), penalty(own), rtol=1e-6)


def test_a_regularizer_of_activities(tmp_path):
    Own = scaled(ActivationEntropy)
    arguments = {"activation": "tanh", "factor": 0.5}
    losses = []
    for regularizer in (ActivationEntropy(**arguments), Own(2.0, **arguments)):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), L.Dense(4, "tanh", activity_regularizer=regularizer)])
        model.compile("sgd", "mae")
        losses.append(model.evaluate(X, model.predict(X, verbose=0), verbose=0))
    np.testing.assert_allclose(losses[1], 2 * losses[0], rtol=1e-5)
    again = reloaded(model, tmp_path)
    np.testing.assert_allclose(again.evaluate(X, model.predict(X, verbose=0), verbose=0), losses[1], rtol=1e-5)


def test_a_regularizer_of_the_user_from_the_base_class(tmp_path):
    """With a factor, a schedule and a log, like those of this package."""

    @keras.saving.register_keras_serializable("test_subclasses")
    class LogNorm(EntropyRegularizer):
        unit = "nats"

        def __init__(self, factor, epsilon=0.0, reduction="mean", every=1):
            super().__init__(factor, epsilon, reduction, every)

        def check_kernel(self, shape):
            pass

        def log_magnitudes(self, kernel):
            return 0.5 * keras.ops.log(keras.ops.sum(keras.ops.square(kernel), axis=0))

        def penalty(self, kernel):
            return -self.factor * keras.ops.mean(self.log_magnitudes(kernel))

    model = keras.Sequential([keras.Input((4,)), L.Dense(3, kernel_regularizer=LogNorm(0.5), name="a")])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    kernel = keras.ops.convert_to_numpy(model.layers[0].kernel)
    callbacks = [EntropyLogger(measure="term"), FactorSchedule(lambda epoch: 2.0)]
    history = model.fit(X, X[:, :3], verbose=0, callbacks=callbacks).history

    mean = np.log(np.linalg.norm(kernel, axis=0)).mean()
    np.testing.assert_allclose(history["entropy/a"], mean, rtol=1e-5)
    np.testing.assert_allclose(history["entropy_penalty"], -1.0 * mean, rtol=1e-5)
    np.testing.assert_allclose(np.subtract(history["loss"], history["task_loss"]), -1.0 * mean, atol=1e-5)
    assert type(reloaded(model, tmp_path).layers[0].kernel_regularizer) is LogNorm


HOOKS = ["set_params", "set_model"] + [
    f"on_{when}_{edge}" for when in ("train", "epoch", "train_batch", "test", "test_batch") for edge in ("begin", "end")
]


@pytest.mark.parametrize("base", CALLBACKS)
def test_callbacks(base):
    """A subclass has arguments of its own and every hook; KerasTuner makes deep copies of it."""

    def hook(name):
        def call(self, *arguments, **keywords):
            self.seen.append(name)
            return getattr(super(Own, self), name)(*arguments, **keywords)

        return call

    class Own(base):
        def __init__(self, label):
            super().__init__(**CALLBACKS[base])
            self.label, self.seen = label, []

    for name in HOOKS:
        setattr(Own, name, hook(name))

    def trained(*callbacks):
        keras.utils.set_random_seed(0)
        model = keras.Sequential([keras.Input((4,)), L.Dense(4, kernel_regularizer=DenseEntropy(1.0), name="d")])
        model.compile("sgd", "mse", run_eagerly=True)
        return model.fit(X, X, validation_data=(X, X), verbose=0, callbacks=list(callbacks)).history

    expected = trained(base(**CALLBACKS[base]))
    own = Own("mine")
    first = copy.deepcopy(own)
    assert trained(own) == expected
    assert set(own.seen) == set(HOOKS)
    second = copy.deepcopy(own)
    assert (first.label, first.seen) == ("mine", [])
    assert second.seen == own.seen
    assert second.seen is not own.seen
    assert second.model is None
    for copied in (first, second):
        assert trained(copied) == expected
