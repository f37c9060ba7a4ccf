"""One run: what is paired, what arms change, what is recorded when it goes wrong."""

import dataclasses
import gc
import inspect
import math
import random
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from study_cases import Redrawn, build, build_or_fail, data, data_of_seed

from keras_entropy import DenseEntropy, EntropyWarning, TotalCorrelation, _backend
from keras_entropy.runs import memory
from keras_entropy.study import Arm, Constant, JobError, Study, control_arms, controls, single_run
from keras_entropy.study.single_run import Task


def train(arm, seed=0, values=None, build=build, **settings):
    study = Study(build, [arm], [seed], **{"data": data, "epochs": 3, "batch_size": 16, **settings})
    return single_run.train(study._job(), Task(arm.name, seed, "report", values or {}, {}))


NONE = Arm("none", dropout=0.3)


@pytest.fixture(scope="module")
def none():
    record = train(NONE)
    assert record.ok, record.traceback
    return record


def test_a_run_is_recorded(none):
    assert none.epochs == 3
    losses = {"loss", "val_loss", "task_loss", "val_task_loss", "mae", "val_mae"}
    assert losses | {"entropy/encoder", "entropy/decoder"} <= none.history.keys()
    assert all(len(values) == 3 for values in none.history.values())
    assert none.initial_weights != none.final_weights
    assert none.cpu_seconds > 0
    assert none.wall_seconds > 0
    assert none.device
    assert none.versions["keras"] == keras.__version__
    assert none.versions["backend"] == keras.backend.backend()
    assert not none.stopped_early
    assert none.warnings == ()


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(none):
    assert train(NONE).final_weights == none.final_weights
    other = train(NONE, seed=1)
    assert other.initial_weights != none.initial_weights


@pytest.mark.parametrize(
    "arm",
    [
        Arm("constant", "first", DenseEntropy(0.1), constant=True, dropout=0.3),
        Arm("scaled by one", "all", initializer=1.0, dropout=0.3),
        Arm("draws numbers of its own", inputs=Redrawn(), dropout=0.3),
    ],
    ids=lambda arm: arm.name,
)
def test_arms_are_paired_in_weights_order_and_masks(arm, none):
    record = train(arm)

    assert record.ok, record.traceback
    assert record.initial_weights == none.initial_weights
    assert record.final_weights == none.final_weights


def test_a_term_changes_training_but_not_the_start(none):
    record = train(Arm("volume", "first", DenseEntropy(0.1), dropout=0.3))

    assert record.initial_weights == none.initial_weights
    assert record.final_weights != none.final_weights
    assert record.history["entropy_penalty"][0] != 0


def test_data_order_depends_on_the_seed():
    """Plain gradient descent in batches of one: another order gives other weights."""
    arm = Arm("none", optimizer="sgd", learning_rate=0.1)
    study = Study(build, [arm], [0], data=data, epochs=1, batch_size=1)
    job, task = study._job(), Task("none", 0, "report", {}, {})
    ended = []
    for order in (0, 1):
        run = single_run.prepare(job, task)
        ended.append(single_run._fit(job, dataclasses.replace(task, seed=order), run, single_run.StudyWatch(job)))
    assert ended[0] != ended[1]


def test_early_stopping_watches_the_task_and_not_the_penalty():
    """A constant of 1e9 hides every change of the loss from float32."""
    arm = Arm("constant", "first", Constant(1e9), eager=True)
    task = train(arm, epochs=6, patience=2)
    with pytest.warns(EntropyWarning, match="includes the penalty in constant"):
        penalised = train(arm, epochs=6, patience=2, monitor="val_loss")

    assert not task.stopped_early
    assert task.epochs == 6
    assert penalised.stopped_early
    assert penalised.epochs < 6


@pytest.mark.parametrize(
    "settings", [{"patience": 2, "monitor": "val_acc"}, {"metric": "val_acc"}], ids=["monitor", "metric"]
)
@pytest.mark.usefixtures("train_here")  # in a thread, the next run would begin meanwhile, and write into the folder
def test_a_name_that_is_not_logged_stops_the_study_in_the_first_run(settings, tmp_path):
    study = Study(build, [Arm("none", eager=True)], range(3), data=data, epochs=2, output=tmp_path / "out", **settings)
    says = f"`{list(settings)[-1]}` should be one of the logged values: loss, .*val_mae.* Received: 'val_acc'"
    with pytest.raises(JobError, match=says):
        study.run(progress=False)

    assert not (tmp_path / "out").exists()  # so that the corrected study may take its place


def test_a_monitor_that_is_not_logged_hurts_nobody_without_early_stopping():
    assert train(Arm("none", eager=True), monitor="val_acc").ok


def test_a_run_that_raises_is_a_record():
    record = train(Arm("none", fails="raise"), build=build_or_fail)

    assert record.status == "failed"
    assert record.reason.startswith("ValueError: no such <width> at all (study_cases.py, line ")
    assert "build_or_fail" in record.traceback
    assert math.isnan(record.value("val_task_loss"))


def test_a_run_that_diverges_keeps_its_history_and_stops():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of the overflow, on the host
        record = train(Arm("none", optimizer="sgd", learning_rate=1e30, eager=True), epochs=5)

    assert record.status == "diverged"
    assert "in epoch " in record.reason
    assert 1 <= record.epochs < 5
    assert not math.isfinite(record.history["loss"][-1])
    assert not record.stopped_early


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        (lambda: None, "`build` should return a compiled keras.Model. Received: NoneType. End it with `return model`."),
        (
            lambda: keras.Sequential([keras.Input((6,))]),
            "The model that `build` returns is not compiled. Call model.compile(...) in `build`.",
        ),
    ],
    ids=["none", "raw"],
)
def test_build_must_return_a_compiled_model(returned, words):
    assert words in train(Arm("none"), build=returned).reason


def test_an_unbuilt_model_is_named():
    def unbuilt():
        model = keras.Sequential([keras.layers.Dense(6)])
        model.compile("sgd", "mse")
        return model

    assert "keras.Input" in train(Arm("none"), build=unbuilt).reason


def test_data_may_depend_on_the_seed_and_must_be_four_arrays():
    assert train(Arm("none", eager=True), data=data_of_seed).ok
    record = train(Arm("none"), data=lambda: data()[:3])
    assert record.status == "failed"
    assert "(x_train, y_train, x_val, y_val)" in record.reason


def build_with_f1():
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, "softmax")])
    model.compile("sgd", "categorical_crossentropy", metrics=[keras.metrics.F1Score()])
    return model


def test_a_metric_of_several_values_is_left_out_of_the_history():
    """Keras's `F1Score()` has one value for each class."""
    x, y = np.random.default_rng(0).normal(size=(30, 6)), np.eye(3)[np.arange(30) % 3]
    study = Study(build_with_f1, [Arm("none")], [0], data=(x[:20], y[:20], x[20:], y[20:]), epochs=1)
    with ThreadPoolExecutor(1) as executor:
        (record,) = study.run(executor, progress=False).records
    assert record.ok, record.reason
    assert "loss" in record.history
    assert "f1_score" not in record.history


def test_every_control_trains_and_says_what_it_is():
    none = train(Arm("none", dropout=0.3, eager=True), epochs=1)
    rival = Arm("volume", "first", DenseEntropy(1e-2), dropout=0.3, eager=True)
    arms = control_arms(rival)
    assert [arm.name for arm in arms] == [
        "constant",
        "soft orthogonality",
        "L2",
        "orthogonal initialisation",
        "scaled initialisation",
        "centred inputs",
        "standardised inputs",
        "batch normalisation",
    ]
    found = {}
    for arm in arms:
        values = {"factor": 0.1} if arm.takes_factor else {}
        found[arm.name] = train(arm, values=values, epochs=1, tune_seeds=[9])
    assert {record.status for record in found.values()} == {"finished"}, found
    assert found["constant"].history["loss"] != none.history["loss"]
    changed_start = {name for name, record in found.items() if record.initial_weights != none.initial_weights}
    assert changed_start == {"orthogonal initialisation", "scaled initialisation", "batch normalisation"}
    with pytest.raises(ValueError, match="no regularizer"):
        control_arms(Arm("none"))


@pytest.mark.parametrize("inputs", ["centred", "standardised"])
def test_a_model_that_transforms_its_inputs_itself(inputs, tmp_path):
    model, (x, y, *_) = build(), data()
    x = 3 * x + np.arange(6)
    x[:, 2] = 1
    expected = model.evaluate(controls.transform(inputs, x)(x), y, verbose=0, return_dict=True)

    whole = controls.with_raw_inputs(model, inputs, x)

    assert whole.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-4)
    whole.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert loaded.evaluate(x, y, verbose=0, return_dict=True) == pytest.approx(expected, rel=1e-4)


def conv_and_dense():
    layers = [keras.layers.Conv2D(2, 3, name="c"), keras.layers.Flatten(), keras.layers.Dense(3, "relu", name="d")]
    model = keras.Sequential([keras.Input((5, 5, 1)), *layers])
    model.compile("sgd", "mse")
    return model


@pytest.mark.parametrize("placement", ["first", "all", "*"])
@pytest.mark.parametrize("term", [DenseEntropy(1e-2), DenseEntropy])
def test_controls_act_on_the_kernels_that_the_term_takes(placement, term):
    """In a model with convolutions, `"first"` is not the same kernel for each regularizer."""
    arms = {arm.name: arm for arm in control_arms(Arm("volume", placement, term))}
    changed = {}
    for name, arm in arms.items():
        model = conv_and_dense()
        before = keras.ops.convert_to_numpy(model.get_layer("c").kernel)
        model = arm.change(model, {"factor": 0.1}, 0)
        assert np.array_equal(before, keras.ops.convert_to_numpy(model.get_layer("c").kernel)), name
        changed[name] = [layer.name for layer in model.layers if getattr(layer, "kernel", None) is not None
                         and layer.kernel.regularizer is not None]  # fmt: skip
        assert ("d_normalisation" in [layer.name for layer in model.layers]) == (name == "batch normalisation")
        assert "c_normalisation" not in [layer.name for layer in model.layers]

    assert {name for name, layers in changed.items() if layers == ["d"]} == {"constant", "soft orthogonality", "L2"}
    assert {name for name, layers in changed.items() if layers not in ([], ["d"])} == set()
    with pytest.raises(TypeError, match="`kernels_of` should be a keras.Regularizer"):
        Arm("a", "first", "l2", kernels_of="DenseEntropy")


def test_initialisation_changes_the_placed_kernel_only():
    model = build()
    first, second = (model.get_layer(name).kernel for name in ("encoder", "decoder"))
    before = keras.ops.convert_to_numpy(first), keras.ops.convert_to_numpy(second)

    controls.initialise(model, "first", 2.0, seed=0)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(first), 2 * before[0])
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(second), before[1])

    controls.initialise(model, "first", "orthogonal", seed=3)
    kernel = keras.ops.convert_to_numpy(first)
    np.testing.assert_allclose(kernel.T @ kernel, np.eye(4), atol=1e-5)


def test_batch_normalisation_stands_before_the_activation_and_keeps_weights_and_compilation():
    model = build(dropout=0.5)
    changed = controls.batch_normalised(model, "encoder")

    assert [layer.name for layer in changed.layers[1:4]] == ["encoder", "encoder_normalisation", "encoder_activation"]
    assert changed.get_layer("encoder").activation is keras.activations.linear
    assert changed.get_layer("encoder_activation").activation is keras.activations.tanh
    kernels = [m.get_layer("encoder").get_weights()[0] for m in (model, changed)]
    np.testing.assert_array_equal(*kernels)
    assert changed.compiled
    assert changed.optimizer.name == model.optimizer.name
    x = data()[0]
    # At the start the moving averages are 0 and 1, so that the outputs are those of the model, but for epsilon.
    np.testing.assert_allclose(changed.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-3, atol=5e-3)


def test_batch_normalisation_of_other_models():
    inputs = keras.Input((6,))  # without a name
    hidden = keras.layers.Dense(4, activation=keras.layers.LeakyReLU(0.3), name="hidden")(inputs)
    shared = keras.layers.Dense(4, name="shared")
    model = keras.Model(inputs, keras.layers.Add()([shared(shared(hidden)), hidden]))
    model.compile("sgd", "mse")
    changed = controls.batch_normalised(model, "hidden")
    assert [type(layer).__name__ for layer in changed.layers[1:4]] == ["Dense", "BatchNormalization", "LeakyReLU"]
    x = data()[0]
    np.testing.assert_allclose(changed.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-3, atol=5e-3)
    with pytest.raises(ValueError, match="used once. Received: a placement with shared"):
        controls.batch_normalised(model, "shared")

    class Own(keras.Sequential):
        pass

    own = Own([keras.Input((6,)), keras.layers.Dense(6)])
    own.compile("sgd", "mse")
    with pytest.raises(TypeError, match="Received: a Own"):
        controls.batch_normalised(own, "first")


def test_placements_may_be_a_dict_of_placements_to_regularizers(none):
    record = train(Arm("both", {"encoder": DenseEntropy(0.1), "decoder": DenseEntropy(0.2)}, dropout=0.3))
    assert record.initial_weights == none.initial_weights
    assert record.final_weights != none.final_weights


def test_the_order_of_the_data_does_not_depend_on_random_numbers_drawn_in_training():
    """Dropout of a fraction of 1e-7 draws as any other, and changes next to nothing."""

    def build(rate):
        model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(6), keras.layers.Dropout(rate)])
        model.compile("sgd", "mse")
        return model

    drawing, plain = (train(Arm("a", rate=rate), epochs=4, build=build) for rate in (1e-7, 0.0))
    assert drawing.initial_weights == plain.initial_weights
    assert drawing.history["loss"] == pytest.approx(plain.history["loss"], rel=1e-5)


@pytest.mark.parametrize(("inputs", "deviation"), [("centred", None), ("standardised", 1.0)])
def test_inputs_are_changed_with_the_statistics_of_the_training_data(inputs, deviation):
    x, _, x_val, _ = data()
    change = controls.transform(inputs, x)

    np.testing.assert_allclose(change(x).mean(0), 0, atol=1e-6)
    if deviation:
        np.testing.assert_allclose(change(x).std(0), deviation, atol=1e-5)
    shift = change(x_val) - x_val if inputs == "centred" else None
    if shift is not None:
        np.testing.assert_allclose(shift, np.broadcast_to(-x.mean(0), shift.shape), atol=1e-6)
    images = np.random.default_rng(0).normal(3, 2, (5, 4, 4, 3))
    assert np.abs(controls.transform(inputs, images)(images).mean((0, 1, 2))).max() < 1e-6
    constant = np.ones((4, 2))
    assert np.isfinite(controls.transform(inputs, constant)(constant)).all()


def test_a_constant_survives_saving(tmp_path):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(4, name="encoder")])
    controls.attach(model, "first", TotalCorrelation(0.5), constant=True)
    value = float(model.losses[0])
    model.save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")

    assert isinstance(loaded.get_layer("encoder").kernel_regularizer, Constant)
    assert float(loaded.losses[0]) == pytest.approx(value)


def test_a_constant_goes_to_the_weights_and_not_to_what_their_names_mean():
    layers = [keras.layers.Dense(4, name=name) for name in ("a", "all", "first", "none", "b[1]", "*")]
    model = keras.Sequential([keras.Input((4,)), *layers])
    controls.attach(model, lambda layer: layer.name != "a", TotalCorrelation(0.5), constant=True)

    assert layers[0].kernel_regularizer is None
    assert all(isinstance(layer.kernel_regularizer, Constant) for layer in layers[1:])
    assert len(model.losses) == 5


def test_warnings_of_a_run_are_in_its_record():
    def warned():
        warnings.warn("mind this", EntropyWarning, stacklevel=1)
        return data()

    record = train(Arm("none", eager=True), data=warned)
    assert record.warnings == ("EntropyWarning: mind this",)


def test_a_run_leaves_nothing_behind():
    """What it left would be set aside with the rest by the next run, and grow."""
    arm = Arm("volume", "first", DenseEntropy(0.1))
    job = Study(build, [arm], [0], data=data, epochs=2)._job()
    task = Task("volume", 0, "report", {}, {})
    single_run.train(job, task)  # the first one imports and caches
    gc.collect()
    with memory.set_aside():
        assert single_run.train(job, task).ok
        assert gc.collect() < 100


def test_pipelines_of_tensorflow_are_not_tuned(monkeypatch):
    if keras.backend.backend() != "tensorflow":
        pytest.skip("other backends have no such pipelines")
    import tensorflow as tf

    made = tf.data.experimental.AutotuneOptions
    monkeypatch.setattr(made, "__init__", inspect.unwrap(made.__init__))  # put back after the test
    assert tf.data.Options().autotune.enabled is None  # as TensorFlow likes it
    _backend.framework().disable_pipeline_tuning()
    _backend.framework().disable_pipeline_tuning()  # once more changes nothing
    assert tf.data.Options().autotune.enabled is False


def test_random_numbers_that_another_thread_draws_change_nothing(none):
    """As those of a worker of Dask that has just started."""
    over = threading.Event()

    def draw():
        while not over.is_set():
            random.random()

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        record = train(Arm("none", dropout=0.3))
    finally:
        over.set()
        thread.join()
    assert record.initial_weights == none.initial_weights
    assert record.final_weights == none.final_weights
