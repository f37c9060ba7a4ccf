import copy
import csv
import gc
import math
import re
import time

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import (
    ConvCornerEntropy,
    DenseEntropy,
    DualDense,
    EntropyLogger,
    EntropyWarning,
    FactorSchedule,
    _keras,
    apply_entropy,
)
from keras_entropy.profile import measurable_weights, measure_weight

L = keras.layers
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(50, 8, 8, 2)).astype("float32")  # 50 in batches of 16: the last one is ragged
Y = GENERATOR.integers(0, 3, 50)


def small_cnn(conv=None, dense=None, seed=0, metrics=("sparse_categorical_crossentropy",)):
    keras.utils.set_random_seed(seed)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 2)),
            L.Conv2D(4, 3, kernel_regularizer=conv, name="conv"),
            L.Dropout(0.2),
            L.Flatten(),
            L.Dense(3, activation="softmax", kernel_regularizer=dense, name="head"),
        ]
    )
    model.compile("adam", "sparse_categorical_crossentropy", metrics=list(metrics))
    return model


def fit(model, *extra, epochs=2, validation=True, **arguments):
    validation = {"validation_data": (X[:30], Y[:30])} if validation else {}
    arguments = {"batch_size": 16, "verbose": 0, "callbacks": list(extra), **validation, **arguments}
    return model.fit(X, Y, epochs=epochs, **arguments).history


def is_clean(model):
    """No trace of a logger or a schedule."""
    assert [m.name for m in model.metrics] == ["loss", "compile_metrics"]
    assert "call" not in vars(model._compile_loss)
    assert not list(_keras.step_states(model))
    assert all(
        isinstance(w.regularizer.multiplier, float) for w in model.trainable_weights if w.regularizer is not None
    )


METRIC = "sparse_categorical_crossentropy"


def behaves_as_before(model):
    """What a logger or a schedule left in a model changes nothing that the model returns or saves."""
    names = {"loss", METRIC}
    assert set(model.evaluate(X, Y, verbose=0, return_dict=True)) == names
    assert len(model.evaluate(X, Y, verbose=0)) == len(model.train_on_batch(X, Y)) == 2
    assert set(fit(model, epochs=1)) == names | {f"val_{name}" for name in names}
    assert len(model.weights) == len(small_cnn().weights)


class TestEntropyLogger:
    def test_logs_the_task_loss_without_penalties(self):
        history = fit(small_cnn(ConvCornerEntropy(0.1), DenseEntropy(0.3)), EntropyLogger(), epochs=3)

        np.testing.assert_allclose(history["task_loss"], history["sparse_categorical_crossentropy"], rtol=1e-6)
        np.testing.assert_allclose(history["val_task_loss"], history["val_sparse_categorical_crossentropy"], rtol=1e-6)
        np.testing.assert_allclose(
            np.subtract(history["val_loss"], history["val_task_loss"]), history["entropy_penalty"], atol=1e-6
        )

    def test_a_term_does_not_change_how_a_layer_is_logged(self):
        model = small_cnn()
        without = fit(model, EntropyLogger())
        apply_entropy(model, "all", ConvCornerEntropy(0.1))
        apply_entropy(model, "all", DenseEntropy(0.1))
        logger = EntropyLogger()
        history = fit(model, logger)
        assert without.keys() == history.keys()
        assert {entropy.measure for entropy in logger.layers_logged} == {"log_volume"}
        values = {entropy.path: measure_weight(w, "log_volume").mean for w, entropy in zip(
            measurable_weights(model), logger.layers_logged, strict=True)}  # fmt: skip
        assert {path: history[f"entropy/{path}"][-1] for path in values} == values

    def test_measure_term_logs_each_layer_in_its_regularizers_quantity_and_others_as_corners(self):
        model = small_cnn(dense=DenseEntropy(0.1, epsilon=1e-2))
        logger = EntropyLogger(measure="term")
        history = fit(model, logger)

        corner = np.log(np.abs(model.get_layer("conv").get_weights()[0][0, 0])).mean()
        s = np.linalg.svd(model.get_layer("head").get_weights()[0].astype("float64"), compute_uv=False)
        np.testing.assert_allclose(history["entropy/conv"][-1], corner, rtol=1e-5)
        np.testing.assert_allclose(history["entropy/head"][-1], 0.5 * np.log(s**2 + 1e-4).mean(), rtol=1e-6)
        conv, head = logger.layers_logged
        assert (conv.measure, conv.unit, conv.penalised) == ("corner", "nats per filter", False)
        assert (head.measure, head.unit, head.penalised) == ("DenseEntropy", "nats per dimension", True)

    def test_measure_corner_is_the_leading_block_for_all(self):
        model = small_cnn(dense=DenseEntropy(0.1))
        history = fit(model, EntropyLogger(measure="corner"))

        kernel = model.get_layer("head").get_weights()[0].astype("float64")
        np.testing.assert_allclose(history["entropy/head"][-1], np.linalg.slogdet(kernel[:3])[1] / 3, rtol=1e-6)

    def test_training_is_bit_identical_and_the_model_is_left_as_it_was(self):
        plain = small_cnn(ConvCornerEntropy(0.1))
        expected = fit(plain, epochs=3)
        watched = small_cnn(ConvCornerEntropy(0.1))
        history = fit(watched, EntropyLogger(), epochs=3)

        assert {name: history[name] for name in expected} == expected
        for a, b in zip(plain.get_weights(), watched.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
        is_clean(watched)
        assert set(watched.evaluate(X, Y, verbose=0, return_dict=True)) == {
            "loss",
            "sparse_categorical_crossentropy",
        }

    @pytest.mark.parametrize("position", [0, 1])
    def test_every_callback_sees_the_logs_wherever_the_logger_stands(self, position, tmp_path):
        stopper = keras.callbacks.EarlyStopping("entropy/conv", mode="max", patience=0)
        table = keras.callbacks.CSVLogger(tmp_path / "log.csv")
        saver = keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", monitor="val_task_loss", mode="min", save_best_only=True
        )
        others = [stopper, table, saver]
        others.insert(position * 3, EntropyLogger())

        history = fit(small_cnn(ConvCornerEntropy(-1.0)), *others, epochs=5)

        assert len(history["loss"]) < 5  # the entropy falls, so the stopper stopped
        with (tmp_path / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        np.testing.assert_allclose([float(row["entropy/conv"]) for row in rows], history["entropy/conv"])
        loaded = keras.models.load_model(tmp_path / "best.keras")
        assert [m.name for m in loaded.metrics] == ["loss", "compile_metrics"]

    @pytest.mark.skipif(BACKEND != "tensorflow", reason="Keras's TensorBoard callback needs TensorFlow")
    def test_the_tensorboard_callback_of_keras_gets_them_too(self, tmp_path):
        fit(small_cnn(), keras.callbacks.TensorBoard(tmp_path), EntropyLogger())

        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        assert "epoch_entropy/conv" in EventAccumulator(str(tmp_path / "train")).Reload().Tags()["tensors"]

    @pytest.mark.parametrize("how", [{"jit_compile": True}, {"run_eagerly": True}, {"steps_per_execution": 2}])
    def test_however_the_step_is_run(self, how):
        if BACKEND == "torch" and "run_eagerly" not in how:
            pytest.skip("Keras refuses several steps per execution on torch, and torch.compile needs a C++ compiler")
        model = small_cnn(ConvCornerEntropy(1.0), DenseEntropy(1.0))
        metric = "sparse_categorical_crossentropy"
        model.compile("adam", metric, metrics=[metric], **how)

        history = fit(model, FactorSchedule(lambda epoch: epoch + 1.0), EntropyLogger())

        np.testing.assert_allclose(history["task_loss"], history[metric], rtol=1e-6)
        np.testing.assert_allclose(
            np.subtract(history["val_loss"], history["val_task_loss"]), history["entropy_penalty"], rtol=1e-5
        )
        is_clean(model)

    def test_several_outputs_loss_weights_and_sample_weights(self):
        def build(factor):
            keras.utils.set_random_seed(0)
            inputs = keras.Input((6,))
            hidden = L.Dense(5, activation="tanh", kernel_regularizer=DenseEntropy(factor))(inputs)
            model = keras.Model(inputs, {"a": L.Dense(2, name="a")(hidden), "b": L.Dense(1, name="b")(hidden)})
            # No learning: the unpenalised model has the same weights, and its loss is the task loss.
            model.compile(keras.optimizers.SGD(0.0), {"a": "mse", "b": "mae"}, loss_weights={"a": 2.0, "b": 0.5})
            return model

        x = GENERATOR.normal(size=(50, 6)).astype("float32")
        y = {"a": x[:, :2], "b": x[:, 2:3]}
        weights = {"a": np.linspace(0, 1, 50), "b": np.ones(50)}
        arguments = {
            "batch_size": 16,
            "verbose": 0,
            "validation_data": (x[:20], {k: v[:20] for k, v in y.items()}),
        }
        expected = build(0.0).fit(x, y, sample_weight=weights, **arguments).history
        history = build(10.0).fit(x, y, sample_weight=weights, callbacks=[EntropyLogger()], **arguments).history

        np.testing.assert_allclose(history["task_loss"], expected["loss"], rtol=1e-6)
        np.testing.assert_allclose(history["val_task_loss"], expected["val_loss"], rtol=1e-6)

    def test_without_validation_there_is_no_val_task_loss_as_there_is_no_val_loss(self):
        history = fit(small_cnn(), EntropyLogger(), epochs=4, validation_freq=2)
        assert len(history["val_task_loss"]) == len(history["val_loss"]) == 2

        assert "val_task_loss" not in fit(small_cnn(), EntropyLogger(), validation=False)

    def test_the_progress_line_is_short_and_everything_else_sees_all(self, capsys, tmp_path):
        layers = [L.Dense(4, name=f"layer{i}") for i in range(20)]
        model = keras.Sequential([keras.Input((4,)), *layers])
        model.compile("sgd", "mse")
        x = np.ones((8, 4), "float32")
        seen = []
        table = keras.callbacks.CSVLogger(tmp_path / "log.csv")
        other = keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: seen.append(dict(logs)))
        logger = EntropyLogger()
        history = model.fit(x, x, validation_data=(x, x), callbacks=[table, logger, other], verbose=2).history

        printed = capsys.readouterr().out
        assert "entropy/" not in printed
        mean = np.mean([layer.mean for layer in logger.layers_logged])
        assert float(re.search(r" entropy: (\S+)", printed)[1]) == pytest.approx(mean, abs=1e-4)
        assert all(f"{name}: " in printed for name in ("task_loss", "val_task_loss", "entropy_penalty"))
        columns = (tmp_path / "log.csv").read_text().splitlines()[0].split(",")
        for names in (history, seen[0], columns):
            assert sum(name.startswith("entropy/layer") for name in names) == 20

    def test_a_loss_without_the_penalty_is_noticed_once(self):
        class Forgetful(keras.Sequential):
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                found = super().compute_loss(x, y, y_pred, sample_weight, training)
                return found - sum(self.losses)

        model = Forgetful([keras.Input((4,)), L.Dense(4, kernel_regularizer=DenseEntropy(1.0))])
        model.compile("sgd", "mse")
        x = GENERATOR.normal(size=(8, 4)).astype("float32")
        with pytest.warns(EntropyWarning, match="The loss of Forgetful does not contain the entropy penalty") as caught:
            model.fit(x, x, epochs=3, verbose=0, callbacks=[EntropyLogger()])
        assert len([warning for warning in caught if warning.category is EntropyWarning]) == 1

    def test_csv_files_keep_the_validation_columns_when_the_first_epoch_has_none(self, tmp_path):
        table = keras.callbacks.CSVLogger(tmp_path / "log.csv")
        history = fit(small_cnn(), table, EntropyLogger(), epochs=4, validation_freq=2)

        with (tmp_path / "log.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert [row["val_loss"] for row in rows] == [
            "NA",
            str(history["val_loss"][0]),
            "NA",
            str(history["val_loss"][1]),
        ]
        assert [row["val_task_loss"] == "NA" for row in rows] == [True, False, True, False]

    def test_a_second_fit_initial_epoch_and_a_second_logger(self):
        model = small_cnn(ConvCornerEntropy(0.1))
        logger = EntropyLogger()
        for _ in range(2):
            assert len(fit(model, logger)["entropy/conv"]) == 2
            is_clean(model)

        history = fit(model, logger, EntropyLogger(), epochs=3, initial_epoch=2)
        np.testing.assert_allclose(history["task_loss"], history[METRIC], rtol=1e-6)
        is_clean(model)

    def test_a_fit_that_ends_by_an_exception_harms_no_later_one(self, tmp_path):
        class Interrupt(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                raise RuntimeError("stop here")

        model = small_cnn(ConvCornerEntropy(0.1))
        logger, schedule = EntropyLogger(log_dir=tmp_path), FactorSchedule(lambda epoch: 0.5)
        with pytest.raises(RuntimeError, match="stop here"):
            fit(model, logger, schedule, Interrupt())

        behaves_as_before(model)
        history = fit(model, logger, schedule)
        np.testing.assert_allclose(history["task_loss"], history[METRIC], rtol=1e-6)
        is_clean(model)

    @pytest.mark.parametrize("held", [False, True])
    def test_a_fit_stopped_before_its_first_batch_harms_no_later_one(self, held):
        class Stop(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                raise KeyboardInterrupt

        model = small_cnn(ConvCornerEntropy(0.1))
        errors = []
        for _ in range(3):
            try:
                fit(model, EntropyLogger(), FactorSchedule(lambda epoch: 0.5), Stop())
            except KeyboardInterrupt as error:
                errors.append(error if held else None)  # a notebook keeps the traceback, and so the callbacks

        class Forget(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                errors.clear()
                gc.collect()

        names = ("loss", METRIC)
        assert set(fit(model, Forget(), epochs=3)) == {f"{prefix}{name}" for prefix in ("", "val_") for name in names}
        behaves_as_before(model)

    def test_a_stopped_fit_whose_traceback_is_kept_leaves_results_and_factors_right(self):
        class Stop(keras.callbacks.Callback):
            def on_train_batch_end(self, batch, logs=None):
                raise KeyboardInterrupt

        model = small_cnn(ConvCornerEntropy(0.1))
        with pytest.raises(KeyboardInterrupt) as kept:
            fit(model, EntropyLogger(), FactorSchedule(lambda epoch: 0.5), Stop())

        behaves_as_before(model)
        assert kept.type is KeyboardInterrupt
        assert float(model.get_layer("conv").kernel_regularizer.multiplier) == 0.5
        history = fit(model, EntropyLogger(), FactorSchedule(lambda epoch: 0.25))
        np.testing.assert_allclose(history["task_loss"], history[METRIC], rtol=1e-6)
        assert model.get_layer("conv").kernel_regularizer.multiplier == 0.25

    def test_monitors_of_the_task_skip_epochs_without_validation(self, tmp_path):
        stopper = keras.callbacks.EarlyStopping("val_task_loss", mode="min", patience=3, restore_best_weights=True)
        saver = keras.callbacks.ModelCheckpoint(
            tmp_path / "best.keras", monitor="val_task_loss", mode="min", save_best_only=True
        )
        with pytest.warns(UserWarning, match="available") as caught:  # Keras's own, as for val_loss
            history = fit(small_cnn(), stopper, saver, EntropyLogger(), epochs=6, validation_freq=2)

        assert {str(w.message).split(" on ")[0] for w in caught if w.category is EntropyWarning} == set()
        assert len(history["loss"]) == 6
        assert len(history["val_task_loss"]) == 3
        assert stopper.best == saver.best == min(history["val_task_loss"])
        assert "on_epoch_end" not in vars(stopper)

    @pytest.mark.skipif(BACKEND == "jax", reason="written for TensorFlow and torch")
    def test_a_train_step_that_feeds_all_metrics_gets_the_right_task_loss(self):
        class Custom(keras.Sequential):
            def train_step(self, data):
                x, y = data
                if BACKEND == "tensorflow":
                    import tensorflow as tf

                    with tf.GradientTape() as tape:
                        predictions = self(x, training=True)
                        loss = self.compute_loss(y=y, y_pred=predictions)
                    gradients = tape.gradient(loss, self.trainable_variables)
                    self.optimizer.apply(gradients, self.trainable_variables)
                else:
                    import torch

                    predictions = self(x, training=True)
                    self.zero_grad()
                    loss = self.compute_loss(y=y, y_pred=predictions)
                    loss.backward()
                    with torch.no_grad():
                        self.optimizer.apply([v.value.grad for v in self.trainable_weights], self.trainable_weights)
                for metric in self.metrics:
                    metric.update_state(loss) if metric.name == "loss" else metric.update_state(y, predictions)
                return {metric.name: metric.result() for metric in self.metrics}

        model = Custom([keras.Input((4,)), L.Dense(3, kernel_regularizer=DenseEntropy(1.0))])
        model.compile(keras.optimizers.SGD(0.0), "mse")
        x = GENERATOR.normal(size=(16, 4)).astype("float32")
        y = GENERATOR.normal(size=(16, 3)).astype("float32")

        history = model.fit(x, y, batch_size=16, verbose=0, callbacks=[EntropyLogger()]).history

        expected = np.mean(np.square(keras.ops.convert_to_numpy(model(x)) - y))
        np.testing.assert_allclose(history["task_loss"], expected, rtol=1e-5)

    def test_a_compute_loss_that_goes_its_own_way_is_told_of(self):
        class Own(keras.Sequential):
            def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
                return keras.ops.mean(keras.ops.square(y - y_pred)) + sum(self.losses)

        model = Own([keras.Input((4,)), L.Dense(4, kernel_regularizer=DenseEntropy(1.0))])
        model.compile("sgd", "mse")
        x = GENERATOR.normal(size=(16, 4)).astype("float32")

        with pytest.warns(EntropyWarning, match="cannot log task_loss.*Own"):
            history = model.fit(x, x, epochs=2, verbose=0, callbacks=[EntropyLogger()]).history

        assert np.isnan(history["task_loss"]).all()

    def test_a_metric_of_the_user_named_task_loss_is_kept(self):
        model = small_cnn()
        metric = keras.metrics.SparseCategoricalAccuracy(name="task_loss")
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=[metric])

        with pytest.warns(EntropyWarning, match="does not log task_loss, val_task_loss: .* Rename"):
            history = fit(model, EntropyLogger())

        assert max(history["task_loss"]) <= 1.0

    def test_a_file_is_no_log_folder(self, tmp_path):
        (tmp_path / "log").write_text("mine")
        with pytest.raises(NotADirectoryError, match="`log_dir` should be a folder"):
            EntropyLogger(log_dir=tmp_path / "log")

    def test_nan_weights_are_logged_as_nan_in_event_files_too(self, tmp_path):
        model = small_cnn(dense=DenseEntropy(0.1))
        model.set_weights([np.full(w.shape, np.nan) for w in model.get_weights()])

        history = fit(model, EntropyLogger(log_dir=tmp_path))

        assert np.isnan(history["entropy/head"]).all()

    def test_evaluate_and_predict_with_the_logger(self):
        model = small_cnn(ConvCornerEntropy(0.1))
        fit(model)

        found = model.evaluate(X, Y, verbose=0, return_dict=True, callbacks=[EntropyLogger()])
        model.predict(X, verbose=0, callbacks=[EntropyLogger()])

        np.testing.assert_allclose(found["task_loss"], found["sparse_categorical_crossentropy"], rtol=1e-6)
        is_clean(model)

    def test_nested_shared_and_frozen_layers(self):
        keras.utils.set_random_seed(0)
        shared = L.Dense(4, kernel_regularizer=DenseEntropy(0.1), name="shared")
        inner = keras.Sequential([keras.Input((4,)), L.Dense(4, name="dense"), shared], name="inner")
        frozen = L.Dense(4, kernel_regularizer=DenseEntropy(0.1), trainable=False, name="frozen")
        inputs = keras.Input((4,))
        model = keras.Model(inputs, frozen(shared(inner(inputs))))
        model.compile("sgd", "mse")
        x = GENERATOR.normal(size=(16, 4)).astype("float32")
        logger = EntropyLogger()

        history = model.fit(x, x, verbose=0, callbacks=[logger]).history

        names = {name for name in history if name.startswith("entropy/")}
        assert names == {"entropy/inner/dense", "entropy/inner/shared", "entropy/frozen"}
        assert {e.path: e.penalised for e in logger.layers_logged} == {
            "inner/dense": False,
            "inner/shared": True,
            "frozen": False,
        }
        np.testing.assert_allclose(
            history["entropy_penalty"][0], float(keras.ops.convert_to_numpy(sum(model.losses))), rtol=1e-5
        )
        assert len(model.losses) == 1

    def test_subclassed_model_built_at_the_first_batch(self):
        class Subclassed(keras.Model):
            def __init__(self):
                super().__init__()
                self.first = L.Dense(4, kernel_regularizer=DenseEntropy(0.1), name="dense")
                self.second = L.Dense(4, name="dense")

            def call(self, x):
                return self.second(self.first(x))

        model = Subclassed()
        model.compile("sgd", "mse")
        x = GENERATOR.normal(size=(16, 4)).astype("float32")
        schedule = FactorSchedule(lambda epoch: 2.0 * epoch)

        history = model.fit(x, x, epochs=2, verbose=0, callbacks=[EntropyLogger(), schedule]).history

        assert {"entropy/dense", "entropy/dense_1", "task_loss"} <= set(history)
        penalty = np.subtract(history["loss"], history["task_loss"])
        assert abs(penalty[0]) < 1e-6
        assert abs(penalty[1]) > 1e-3

    def test_models_that_hide_their_loss_are_told_so(self):
        class OwnMetrics(keras.Model):
            def __init__(self):
                super().__init__()
                self.dense = L.Dense(2, name="dense")
                self.total = keras.metrics.Mean(name="total")

            def call(self, x):
                return self.dense(x)

            @property
            def metrics(self):
                return [self.total]

        x = np.ones((8, 2), "float32")
        model = OwnMetrics()
        model.compile("sgd", "mse")
        with pytest.warns(EntropyWarning, match="task_loss.*OwnMetrics.metrics"):
            history = model.fit(x, x, verbose=0, callbacks=[EntropyLogger()]).history
        assert "entropy/dense" in history
        assert "task_loss" not in history

        model = keras.Sequential([keras.Input((2,)), L.Dense(2, use_bias=False, kernel_regularizer=DenseEntropy(0.1))])
        model.compile("sgd")
        with pytest.warns(EntropyWarning, match="without a loss"):
            model.fit(x, verbose=0, callbacks=[EntropyLogger()])

    def test_placement_chooses_by_name_glob_list_predicate_or_dict(self):
        def logged(placement):
            logger, logs = EntropyLogger(placement=placement), {}
            logger.set_model(model)
            logger.on_epoch_end(0, logs)
            logger.on_train_end()
            return {name for name in logs if name.startswith("entropy/")}

        model = small_cnn()

        assert logged("c*") == logged("first") == {"entropy/conv"}
        assert (
            logged("all") == logged({"first": ConvCornerEntropy(0.1), "head": None}) == {"entropy/conv", "entropy/head"}
        )
        assert logged(["head", "conv"]) == {"entropy/conv", "entropy/head"}
        assert logged(lambda layer: isinstance(layer, L.Dense)) == {"entropy/head"}
        with pytest.raises(ValueError, match=r"'conv9'.*Available: conv, head"):
            logged("conv9")

    def test_writes_event_files(self, tmp_path):
        fit(small_cnn(ConvCornerEntropy(0.1)), EntropyLogger(measure="term", log_dir=tmp_path / "run"))

        from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

        events = EventAccumulator(str(tmp_path / "run"), size_guidance={"tensors": 0}).Reload()
        tags = set(events.Tags()["tensors"])
        assert {
            "entropy/conv",
            "entropy/head",
            "entropy_penalty",
            "task_loss",
            "val_task_loss",
            "loss",
            "nats per filter in/conv",
            "nats per dimension in/head",
            "entropy by layer",
        } <= tags
        assert [e.step for e in events.Tensors("entropy/conv")] == [0, 1]

    def test_deep_copies_are_fresh_and_equal(self):
        logger = EntropyLogger(placement="conv", measure="corner")
        fit(small_cnn(), logger)

        other = copy.deepcopy(logger)

        assert (other.placement, other.measure, other.log_dir) == (("conv",), "corner", None)
        assert other.layers_logged == ()
        assert "entropy/conv" in fit(small_cnn(), other)

    def test_monitors_of_the_penalty_are_warned_of(self, tmp_path):
        monitors = [
            keras.callbacks.EarlyStopping(),
            keras.callbacks.ReduceLROnPlateau("loss"),
            keras.callbacks.ModelCheckpoint(tmp_path / "a.keras", save_best_only=True),
            keras.callbacks.ModelCheckpoint(tmp_path / "b.keras"),
            keras.callbacks.EarlyStopping("val_task_loss", mode="min"),
        ]
        with pytest.warns(EntropyWarning, match="penalty") as caught:
            fit(small_cnn(ConvCornerEntropy(0.1)), *monitors, EntropyLogger())

        words = [str(w.message) for w in caught if w.category is EntropyWarning]
        assert [text.split("(")[0] for text in words] == [
            "EarlyStopping",
            "ReduceLROnPlateau",
            "ModelCheckpoint",
        ]
        assert all('monitor="val_task_loss", mode="min"' in text for text in words)
        fit(small_cnn(), *monitors, EntropyLogger())  # nothing to warn of without a penalty: warnings are errors

    def test_a_penalty_that_hides_the_task_loss_from_float32_is_warned_of_once(self):
        # 1 / (|det| + 1e-4) near 1e4, where neighbouring float32 numbers are 1e-3 apart.
        keras.utils.set_random_seed(0)
        regularizer = DenseEntropy(1.0, form="reciprocal", block="leading")
        model = keras.Sequential([keras.Input((64,)), L.Dense(20, kernel_regularizer=regularizer), L.Dense(64)])
        model.compile("sgd", "mse")
        x = 0.3 * GENERATOR.normal(size=(32, 64)).astype("float32")

        with pytest.warns(EntropyWarning, match=r'Float32.*"val_task_loss" with mode="min"') as caught:
            model.fit(x, x, epochs=3, verbose=0, callbacks=[EntropyLogger()])

        assert len([w for w in caught if "apart" in str(w.message)]) == 1

    @pytest.mark.parametrize(
        ("arguments", "error", "words"),
        [
            ({"measure": "exact"}, ValueError, "`measure`.*'corner'.*'exact'"),
            ({"measure": 1}, ValueError, "`measure`"),
            ({"placement": 3}, TypeError, "`placement`.*glob.*3"),
            ({"placement": [1]}, TypeError, "`placement`"),
            ({"placement": []}, TypeError, "`placement`"),
            ({"placement": "empirical:2"}, ValueError, "`placement`.*without a reference.*resolve_placement"),
        ],
    )
    def test_bad_arguments(self, arguments, error, words):
        with pytest.raises(error, match=words):
            EntropyLogger(**arguments)

    def test_missing_tensorboard_is_said_at_construction(self, monkeypatch, tmp_path):
        monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)

        with pytest.raises(ModuleNotFoundError, match=r'pip install "keras-entropy\[tensorboard\]"'):
            EntropyLogger(log_dir=tmp_path)


class TestFactorSchedule:
    @pytest.mark.parametrize("after_a_fit", [False, True])
    def test_multiplies_the_penalty_each_epoch(self, after_a_fit):
        model = small_cnn(ConvCornerEntropy(1.0), DenseEntropy(1.0))
        model.optimizer.learning_rate = 0.0
        if after_a_fit:
            fit(model, epochs=1)
        full = float(keras.ops.convert_to_numpy(sum(model.losses)))

        schedule = FactorSchedule(lambda epoch: [0.0, 0.5, 2.0, -1.0][epoch])
        with pytest.warns(
            EntropyWarning, match=r"schedule\(3\) of FactorSchedule is -1.0.*opposite direction.*max\(0.0"
        ):
            history = fit(model, schedule, EntropyLogger(), epochs=4)

        expected = np.multiply([0.0, 0.5, 2.0, -1.0], full)
        np.testing.assert_allclose(np.subtract(history["loss"], history["task_loss"]), expected, atol=1e-5)
        np.testing.assert_allclose(np.subtract(history["val_loss"], history["val_task_loss"]), expected, atol=1e-5)
        np.testing.assert_allclose(history["entropy_penalty"], expected, rtol=1e-5)
        assert history["entropy_multiplier"] == [0.0, 0.5, 2.0, -1.0]
        is_clean(model)

    def test_the_last_value_stays_and_is_not_in_the_config(self):
        model = small_cnn(ConvCornerEntropy(1.0))
        fit(model, FactorSchedule(lambda epoch: 0.25))

        regularizer = model.get_layer("conv").kernel_regularizer
        assert regularizer.multiplier == 0.25
        assert type(regularizer).from_config(regularizer.get_config()).multiplier == 1.0
        history = fit(model, EntropyLogger())
        np.testing.assert_allclose(
            np.subtract(history["val_loss"], history["val_task_loss"]), history["entropy_penalty"], atol=1e-6
        )

    def test_no_new_trace_per_epoch(self):
        traces = []

        class Counting(ConvCornerEntropy):
            def penalty(self, kernel):
                traces.append(1)
                return super().penalty(kernel)

        model = small_cnn(Counting(1.0))
        fit(model, FactorSchedule(lambda epoch: 1.0 / (1 + epoch)), epochs=1)
        once = len(traces)
        traces.clear()
        fit(model, FactorSchedule(lambda epoch: 1.0 / (1 + epoch)), epochs=6)

        if BACKEND != "torch":  # torch runs eagerly: once per step
            assert len(traces) <= once

    def test_weights_saved_during_training_load_into_the_plain_model(self, tmp_path):
        model = small_cnn(ConvCornerEntropy(1.0))
        saver = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.weights.h5", save_weights_only=True)
        whole = keras.callbacks.ModelCheckpoint(tmp_path / "{epoch}.keras")

        fit(model, FactorSchedule(lambda epoch: 2.0), saver, whole)

        plain = small_cnn()
        plain.optimizer.build(plain.trainable_variables)
        plain.load_weights(tmp_path / "2.weights.h5")
        loaded = keras.models.load_model(tmp_path / "2.keras")
        for other in (plain, loaded):
            for a, b in zip(model.get_weights(), other.get_weights(), strict=True):
                np.testing.assert_array_equal(a, b)

    def test_goes_on_rightly_after_backup_and_restore(self, tmp_path):
        class Killed(keras.callbacks.Callback):
            def on_epoch_begin(self, epoch, logs=None):
                if epoch == 2:
                    raise KeyboardInterrupt

        def run(*extra):
            backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
            model = small_cnn(ConvCornerEntropy(1.0))
            return fit(model, FactorSchedule(lambda epoch: 10.0**epoch), EntropyLogger(), backup, *extra, epochs=4)

        with pytest.raises(KeyboardInterrupt):
            run(Killed())

        assert run()["entropy_multiplier"] == [100.0, 1000.0]

    @pytest.mark.parametrize(
        ("schedule", "error", "words"),
        [
            (lambda epoch: math.nan, ValueError, r"schedule\(0\).*nan"),
            (lambda epoch: None, TypeError, r"schedule\(0\).*None"),
        ],
    )
    def test_a_schedule_that_returns_no_number(self, schedule, error, words):
        with pytest.raises(error, match=words):
            fit(small_cnn(ConvCornerEntropy(1.0)), FactorSchedule(schedule))

    def test_bad_arguments(self):
        with pytest.raises(TypeError, match="`schedule`.*0.5"):
            FactorSchedule(0.5)
        with pytest.raises(ValueError, match="no entropy regularizer"):
            fit(small_cnn(), FactorSchedule(lambda epoch: 1.0))
        model = keras.Sequential([keras.Input((4,)), DualDense(3)])
        model.compile("sgd", "mse")
        with pytest.raises(ValueError, match="no entropy regularizer.*`decision_weight` of its DualDense"):
            model.fit(X[:, 0, :4, 0], X[:, 0, :3, 0], callbacks=[FactorSchedule(lambda epoch: 1.0)])

    def test_two_schedules_of_one_regularizer_are_refused(self):
        schedules = [FactorSchedule(lambda epoch: 1.0), FactorSchedule(lambda epoch: 2.0)]
        model = small_cnn(ConvCornerEntropy(1.0))

        with pytest.raises(ValueError, match="Two FactorSchedules"):
            fit(model, *schedules)
        fit(model, schedules[1])
        is_clean(model)

    def test_deep_copies(self):
        schedule = FactorSchedule(lambda epoch: 1.0)
        fit(small_cnn(ConvCornerEntropy(1.0)), schedule)

        assert copy.deepcopy(schedule).schedule is schedule.schedule


@pytest.mark.slow
def test_the_logger_costs_at_most_a_hundredth_of_an_epoch_of_a_cifar_cnn():
    """One epoch of [64, 64, 64] on 50,000 images takes minutes; the logger's work, measured alone, milliseconds."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((32, 32, 3))]
    for _ in range(3):
        layers += [L.Conv2D(64, 3, activation="leaky_relu"), L.MaxPooling2D()]
    model = keras.Sequential([*layers, L.Flatten(), L.Dense(10, activation="softmax")])
    model.compile("adam", "sparse_categorical_crossentropy")
    x, y = GENERATOR.normal(size=(512, 32, 32, 3)).astype("float32"), GENERATOR.integers(0, 10, 512)
    model.fit(x, y, batch_size=128, verbose=0)
    begin = time.perf_counter()
    model.fit(x, y, batch_size=128, verbose=0)
    epoch = (time.perf_counter() - begin) * 50_000 / 512
    logger = EntropyLogger()
    logger.set_model(model)
    begin = time.perf_counter()
    logger.on_epoch_end(0, {"loss": 1.0})
    cost = time.perf_counter() - begin
    logger.on_train_end()

    assert cost <= 0.01 * epoch
