"""Runs of one structure share a compiled step, and have the same bits as alone."""

import contextlib

import keras
import numpy as np
import pytest

from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    FactorSchedule,
    SumRegularizer,
    TotalCorrelation,
    _backend,
    apply_entropy,
)
from keras_entropy.runs import memory, shared_models, training
from keras_entropy.runs.checkpoint import Checkpoint
from keras_entropy.runs.watch import Watch
from keras_entropy.study import fingerprint

L = keras.layers
COMPILES = _backend.framework().compiles_steps
only_where_steps_are_compiled = pytest.mark.skipif(not COMPILES, reason="torch compiles no steps")


@pytest.fixture(autouse=True)
def no_models():
    shared_models.clear()
    yield
    shared_models.clear()


def data(inputs):
    generator = np.random.default_rng(0)
    x = generator.normal(size=(40, *inputs)).astype("float32")
    return x, generator.integers(0, 3, size=40)


def dense(term=None, optimizer="adam", extra=(), rate=1e-2, placement="all"):
    model = keras.Sequential([keras.Input((6,)), L.Dense(5, activation="tanh"), *extra, L.Dense(3)])
    return compiled(model, term, optimizer, rate, placement)


def conv(term=None):
    layers = [keras.Input((5, 5, 2)), L.Conv2D(4, 3, activation="relu"), L.GlobalAveragePooling2D(), L.Dense(3)]
    return compiled(keras.Sequential(layers), term, "adam", 1e-2, "all")


def compiled(model, term, optimizer="sgd", rate=0.1, placement="all"):
    model.compile(
        keras.optimizers.get({"class_name": optimizer, "config": {"learning_rate": rate}}),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    if term is not None:
        apply_entropy(model, placement, term)
    return model


CASES = {
    "no term": lambda factor: dense(rate=factor),
    "dense": lambda factor: dense(DenseEntropy(factor)),
    "reciprocal": lambda factor: dense(DenseEntropy(factor, form="reciprocal", epsilon=1e-2)),
    "total correlation": lambda factor: dense(TotalCorrelation(factor)),
    "every": lambda factor: dense(DenseEntropy(factor, every=3)),
    "every, given to the layer": lambda factor: dense(
        extra=[L.Dense(4, kernel_regularizer=TotalCorrelation(factor, every=2))]
    ),
    "two terms": lambda factor: dense(SumRegularizer([DenseEntropy(factor), keras.regularizers.L2(1e-3)])),
    "corner, per filter": lambda factor: conv(ConvCornerEntropy([factor, -factor, 0.0, 2 * factor])),
    "conv": lambda factor: conv(ConvEntropy(factor)),
    "dropout": lambda factor: dense(DenseEntropy(factor), extra=[L.Dropout(0.4)]),
    "normalisation": lambda factor: dense(DenseEntropy(factor), extra=[L.BatchNormalization()]),
    "momentum": lambda factor: dense(DenseEntropy(factor), optimizer="rmsprop"),
    "weight decay": lambda factor: dense(DenseEntropy(factor), optimizer="adamw", rate=factor),
    "infomax": lambda factor: dense(
        extra=[L.Dense(4, activation="sigmoid", activity_regularizer=ActivationEntropy("sigmoid", 1e-2))],
        rate=factor,
    ),
}
QUICK = {"dense", "every", "dropout"}
"""The cases that run by default; each compiles three times."""


def trained(build, factor, seed, callbacks=()):
    """History and fingerprint of a run, and the model that trained."""
    keras.backend.clear_session(free_memory=False)
    keras.utils.set_random_seed(seed)
    model = build(factor)
    memory.build_optimizer(model)
    x, y = data(model.input_shape[1:])
    watch = Watch()
    arguments = {"x": x, "y": y, "validation_data": (x, y), "epochs": 3, "batch_size": 16}
    with shared_models.training(model, callbacks) as used:
        training.fit(used, arguments, seed, watch, callbacks=callbacks)
        return repr(watch.history), fingerprint(used), used


@pytest.mark.parametrize("name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.slow) for n in CASES])
def test_a_run_has_the_bits_that_it_has_alone(name):
    build = CASES[name]
    *alone, _ = trained(build, 2e-3, 1)
    shared_models.clear()

    *_, first = trained(build, 5e-2, 0)
    *after_another, used = trained(build, 2e-3, 1)
    *again, _ = trained(build, 2e-3, 1)

    assert (used is first) == COMPILES
    assert after_another == alone
    assert again == alone


def test_a_schedule_multiplies_the_factor_that_is_set():
    schedule = FactorSchedule(lambda epoch: 0.5**epoch)
    *alone, _ = trained(CASES["dense"], 2e-3, 1, [schedule])
    *constant, _ = trained(CASES["dense"], 2e-3, 1)
    trained(CASES["dense"], 1e-1, 0, [schedule])
    *after_another, _ = trained(CASES["dense"], 2e-3, 1, [FactorSchedule(lambda epoch: 0.5**epoch)])
    *constant_again, _ = trained(CASES["dense"], 2e-3, 1)

    assert after_another == alone
    assert constant_again == constant
    assert alone != constant


@only_where_steps_are_compiled
def test_loss_scaling_is_part_of_the_state():
    @contextlib.contextmanager
    def half():
        before = keras.config.dtype_policy()
        keras.config.set_dtype_policy("mixed_float16")
        try:
            yield
        finally:
            keras.config.set_dtype_policy(before)

    def build(factor):
        with half():
            model = keras.Sequential([keras.Input((6,)), L.Dense(5), L.Dense(3, dtype="float32")])
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(factor), initial_scale=1024.0)
        model.compile(optimizer, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
        return model

    *alone, _ = trained(build, 2e-3, 1)
    shared_models.clear()
    *_, first = trained(build, 1e-1, 0)
    *after_another, used = trained(build, 2e-3, 1)

    assert used is first
    assert after_another == alone


@only_where_steps_are_compiled
def test_nothing_is_traced_again(monkeypatch):
    calls, penalty = [], DenseEntropy.penalty
    monkeypatch.setattr(DenseEntropy, "penalty", lambda term, kernel: (calls.append(0), penalty(term, kernel))[1])

    counts = []
    for seed, factor in enumerate((1e-2, 2e-2, 3e-2)):
        calls.clear()
        trained(lambda factor: dense(DenseEntropy(factor), placement="first"), factor, seed)
        counts.append(len(calls))

    assert counts[0] > counts[1] == counts[2] == 3  # of the logger, at the end of each epoch


class Own(L.Layer):
    def call(self, x):
        return 2 * x


def custom_loss(y, p):
    return keras.losses.sparse_categorical_crossentropy(y, p, from_logits=True)


def with_custom_loss(_):
    model = dense()
    model.compile("sgd", custom_loss)
    return model


class OwnModel(keras.Model):
    def train_step(self, *arguments):
        return super().train_step(*arguments)


def subclassed(_):
    inputs = keras.Input((6,))
    return compiled(OwnModel(inputs, L.Dense(3)(inputs)), None)


def adapted(_):
    """The statistics of the data are constants of the step, and in no config."""
    normalization = L.Normalization()
    normalization.adapt(data((6,))[0])
    return compiled(keras.Sequential([keras.Input((6,)), normalization, L.Dense(3)]), None)


def with_a_function_as_learning_rate(_):
    model = dense()
    model.compile(keras.optimizers.SGD(lambda: 0.1), "mse")
    return model


@pytest.mark.parametrize(
    "build",
    [
        lambda _: dense(extra=[Own()]),
        with_custom_loss,
        subclassed,
        lambda _: dense(extra=[L.Dense(4, custom_loss)]),
        adapted,
        with_a_function_as_learning_rate,
        lambda _: dense(extra=[L.Lambda(lambda x: 2 * x)]),
    ],
    ids=["layer", "loss", "model", "activation", "adapted", "learning rate", "lambda"],
)
def test_a_model_with_a_part_of_the_users_compiles_by_itself(build):
    model = build(0)
    memory.build_optimizer(model)
    assert shared_models.structure(model) is None


class Freezing(keras.callbacks.Callback):
    pass


def test_a_training_with_a_callback_of_the_users_compiles_by_itself():
    *_, first = trained(CASES["dense"], 1e-2, 0, [Freezing()])
    *_, second = trained(CASES["dense"], 1e-2, 0, [Freezing()])
    assert first is not second


@only_where_steps_are_compiled
@pytest.mark.parametrize(
    "other",
    [
        lambda: dense(DenseEntropy(1e-2, epsilon=1e-3)),
        lambda: dense(DenseEntropy(1e-2), placement="first"),
        lambda: dense(TotalCorrelation(1e-2)),
        lambda: dense(DenseEntropy(1e-2), optimizer="sgd"),
        lambda: dense(DenseEntropy(1e-2), extra=[L.Dropout(0.1)]),
        dense,
    ],
    ids=["epsilon", "placement", "kind", "optimizer", "layer", "no term"],
)
def test_another_structure_has_steps_of_its_own(other):
    built = [dense(DenseEntropy(1e-2)), dense(DenseEntropy(2e-2), rate=0.5), other()]
    for model in built:
        memory.build_optimizer(model)
    texts = [shared_models.structure(model) for model in built]
    # The names of layers are counted in a process, from the start in each run.
    assert None not in texts
    assert texts[0] != texts[2]


@only_where_steps_are_compiled
def test_what_is_set_on_an_optimizer_later_is_part_of_the_structure():
    excluding = dense(optimizer="adamw")
    excluding.optimizer.exclude_from_weight_decay(var_names=["bias"])
    for model in (one := dense(optimizer="adamw"), two := dense(optimizer="adamw", rate=0.5), excluding):
        memory.build_optimizer(model)
    assert shared_models._settings(one.optimizer) == shared_models._settings(two.optimizer)
    assert shared_models._settings(one.optimizer) != shared_models._settings(excluding.optimizer)


@only_where_steps_are_compiled
def test_a_term_that_models_have_in_common_has_its_factor_in_each():
    """An object outside of `build` is the same in all runs, and in models of another structure."""
    term = DenseEntropy(0.1)

    def build(width, rate):
        layers = [keras.Input((6,)), L.Dense(width, kernel_regularizer=term), L.Dense(3)]
        return compiled(keras.Sequential(layers), None, rate=rate)

    *alone, _ = trained(lambda rate: build(4, rate), 0.1, 0)
    trained(lambda rate: build(5, rate), 0.1, 0)
    *after_another, _ = trained(lambda rate: build(4, rate), 0.1, 0)
    assert after_another == alone


@only_where_steps_are_compiled
def test_a_term_of_the_user_keeps_its_factor():
    term = DenseEntropy(1e-3)

    def build(term):
        return dense(extra=[L.Dense(4, kernel_regularizer=term)])

    *alone, first = trained(build, term, 1)
    *_, other = trained(build, DenseEntropy(0.5), 1)
    assert other is first
    assert term.factor == 1e-3
    *again, _ = trained(build, term, 1)
    assert again == alone


@only_where_steps_are_compiled
def test_one_term_on_two_layers_is_another_structure_than_two_terms():
    def build(terms):
        return dense(extra=[L.Dense(4, kernel_regularizer=term) for term in terms])

    *_, one = trained(build, [DenseEntropy(1e-3)] * 2, 1)
    *_, two = trained(build, [DenseEntropy(1e-3), DenseEntropy(0.5)], 1)
    assert two is not one


@only_where_steps_are_compiled
def test_a_training_that_fails_leaves_nothing():
    class Failing(keras.callbacks.LearningRateScheduler):
        def on_epoch_end(self, epoch, logs=None):
            raise RuntimeError("no")

    Failing.__module__ = "keras.of_a_test"
    *alone, first = trained(CASES["dense"], 1e-2, 0)
    with pytest.raises(RuntimeError, match="no"):
        trained(CASES["dense"], 1e-2, 0, [Failing(lambda epoch: 1e-2)])
    *after, second = trained(CASES["dense"], 1e-2, 0)

    assert after == alone
    assert second is not first


@only_where_steps_are_compiled
def test_old_models_make_room():
    for width in range(2, 2 + shared_models._MOST_MODELS + 2):
        model = keras.Sequential([keras.Input((2,)), L.Dense(width)])
        model.compile("sgd", "mse")
        memory.build_optimizer(model)
        with shared_models.training(model):
            pass
    assert len(shared_models._kept) == shared_models._MOST_MODELS


class Killed(BaseException):
    """In place of kill -9."""


@pytest.mark.parametrize(
    "name", ["dropout", *(pytest.param(n, marks=pytest.mark.slow) for n in ("every", "every, given to the layer"))]
)
def test_a_killed_run_goes_on_in_a_new_process_and_in_one_that_has_trained_others(name, tmp_path, monkeypatch):
    build, path = CASES[name], tmp_path / "run.npz"

    def run(seed, kill=None):
        keras.backend.clear_session(free_memory=False)
        keras.utils.set_random_seed(seed)
        model = build(1e-2)
        memory.build_optimizer(model)
        x, y = data(model.input_shape[1:])
        watch, epochs = Watch(), []
        saves = Checkpoint.on_epoch_end

        def counted(saver, epoch, logs=None):
            saves(saver, epoch, logs)
            epochs.append(epoch)
            if epoch == kill:
                raise Killed

        with monkeypatch.context() as patch, shared_models.training(model) as used:
            patch.setattr(Checkpoint, "on_epoch_end", counted)
            arguments = {"x": x, "y": y, "validation_data": (x, y), "epochs": 4, "batch_size": 16}
            training.fit(used, arguments, seed, watch, checkpoint=path, key="key")
            path.unlink()
            return repr(watch.history), fingerprint(used), epochs

    whole = run(1)
    for process in ("new", "old"):
        with pytest.raises(Killed):
            run(1, kill=1)
        if process == "new":
            shared_models.clear()
        else:
            saved = path.read_bytes()
            path.unlink()
            run(0)
            path.write_bytes(saved)
        found = run(1)
        assert found[:2] == whole[:2]
        assert found[2] == [2, 3]
