"""Models with outputs of any rank and number, and names that the logger would use too: in `EntropyLogger`."""

import keras
import numpy as np
import pytest
from keras import ops
from modes import BACKEND

from keras_entropy import DenseEntropy, EntropyLogger, EntropyWarning, FactorSchedule

L = keras.layers
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(50, 6)).astype("float32")  # 50 in batches of 16: the last one is smaller
Y = GENERATOR.normal(size=(50, 3)).astype("float32")


class Outputs(keras.Model):
    """Returns what `outputs` makes of the output of a layer."""

    def __init__(self, outputs, factor=0.0):
        super().__init__()
        self.dense = L.Dense(3, kernel_regularizer=DenseEntropy(factor), name="dense")
        self.outputs_of = outputs

    def call(self, x):
        return self.outputs_of(self.dense(x))


def squared(y_true, y_pred):
    return ops.mean(ops.square(y_true - y_pred), axis=-1)


def to_halves(y_true, y_pred):
    """Loss of outputs that have two rows per sample, as of two views of it."""
    return squared(y_true, y_pred[: ops.shape(y_true)[0]]) + ops.mean(ops.square(y_pred))


OUTPUTS = {
    "scalar first": (lambda y: {"aux": ops.mean(y), "logits": y}, {"aux": None, "logits": "mse"}, {"aux": X[:, 0]}),
    "dict": (lambda y: {"logits": y, "other": y[:, :1]}, {"logits": "mse", "other": "mae"}, {"other": X[:, :1]}),
    "no loss for some": (lambda y: {"logits": y, "other": y}, {"logits": "mse", "other": None}, {"other": Y}),
    "twice the batch": (lambda y: {"logits": ops.concatenate([y, -y])}, {"logits": to_halves}, {}),
    "one sum per batch": (lambda y: {"logits": ops.sum(y, axis=0)}, {"logits": squared}, {}),
}


@pytest.mark.parametrize("case", OUTPUTS)
def test_task_loss_is_the_loss_of_the_model_without_terms(case):
    outputs, losses, more = OUTPUTS[case]
    y = {"logits": Y, **more}

    def trained(factor, *callbacks):
        keras.utils.set_random_seed(0)
        model = Outputs(outputs, factor)
        model.compile(keras.optimizers.SGD(0.0), losses)
        arguments = {"batch_size": 16, "verbose": 0, "shuffle": False}
        if case != "one sum per batch":
            arguments["validation_data"] = (X[:20], {name: value[:20] for name, value in y.items()})
        return model.fit(X, y, callbacks=list(callbacks), **arguments).history

    expected = trained(0.0)
    history = trained(10.0, EntropyLogger())

    assert "entropy/dense" in history
    for name in expected:
        if name in ("loss", "val_loss"):
            task = name.replace("loss", "task_loss")
            np.testing.assert_allclose(history[task], expected[name], rtol=1e-5, err_msg=task)


@pytest.mark.parametrize("sizes", [[16, 1, 7], [16, 0, 4]], ids=["unequal", "empty"])
def test_batches_of_any_size_are_averaged_as_in_keras(sizes):
    if 0 in sizes and BACKEND != "tensorflow":
        pytest.skip("Keras trains on empty batches on TensorFlow alone")

    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return len(sizes)

        def __getitem__(self, i):
            rows = slice(sum(sizes[:i]), sum(sizes[: i + 1]))
            return X[rows], Y[rows]

    keras.utils.set_random_seed(0)
    model = Outputs(lambda y: y)
    model.compile(keras.optimizers.SGD(0.0), "mse")
    history = model.fit(
        Batches(), validation_data=Batches(), verbose=0, shuffle=False, callbacks=[EntropyLogger()]
    ).history

    np.testing.assert_allclose(history["task_loss"], history["loss"], rtol=1e-6)
    np.testing.assert_allclose(history["val_task_loss"], history["val_loss"], rtol=1e-6)


def task_loss(y_true, y_pred):
    return 2 * squared(y_true, y_pred)


METRICS = {
    "object": (keras.metrics.MeanAbsoluteError, "entropy_penalty", "entropy_penalty"),
    "task": (keras.metrics.MeanAbsoluteError, "task_loss", "task_loss, val_task_loss"),
    "validation": (keras.metrics.MeanAbsoluteError, "val_task_loss", "val_task_loss"),
    "layer": (keras.metrics.MeanAbsoluteError, "entropy/head", "entropy/head"),
    "function": (lambda name: task_loss, "task_loss", "task_loss, val_task_loss"),
}


def headed(metrics=(), factor=0.1):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((6,)), L.Dense(3, kernel_regularizer=DenseEntropy(factor), name="head")])
    model.compile(keras.optimizers.SGD(0.0), "mse", metrics=list(metrics))
    return model


@pytest.mark.parametrize("case", METRICS)
def test_a_metric_keeps_its_name(case):
    make, name, taken = METRICS[case]
    arguments = {"verbose": 0, "validation_data": (X[:20], Y[:20]), "epochs": 2}
    expected = headed([make(name=name)]).fit(X, Y, **arguments).history

    model = headed([make(name=name)])
    with pytest.warns(EntropyWarning, match=f"EntropyLogger does not log {taken}: ") as caught:
        history = model.fit(X, Y, callbacks=[EntropyLogger()], **arguments).history

    assert len([warning for warning in caught if warning.category is EntropyWarning]) == 1
    assert {key: history[key] for key in expected} == expected
    assert {"entropy/head", "entropy_penalty", "task_loss", "val_task_loss"} <= set(history)


def test_a_metric_named_task_loss_is_in_the_results_of_evaluate_too():
    model = headed([keras.metrics.MeanAbsoluteError(name="task_loss")])
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)

    assert model.evaluate(X, Y, verbose=0, return_dict=True, callbacks=[EntropyLogger()]) == expected


def test_the_loss_of_an_output_named_task_keeps_its_name():
    def fit(*callbacks):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        model = keras.Model(inputs, {"task": L.Dense(3, name="task")(inputs), "b": L.Dense(3, name="b")(inputs)})
        model.compile(keras.optimizers.SGD(0.0), {"task": "mse", "b": "mae"})
        y = {"task": Y, "b": Y}
        return model.fit(X, y, verbose=0, validation_data=(X, y), callbacks=list(callbacks)).history

    expected = fit()
    with pytest.warns(EntropyWarning, match="does not log task_loss, val_task_loss: .* Rename the metric or output"):
        history = fit(EntropyLogger())

    assert {key: history[key] for key in expected} == expected


def test_a_metric_named_entropy_multiplier_keeps_its_name():
    model = headed([keras.metrics.MeanAbsoluteError(name="entropy_multiplier")])
    expected = model.evaluate(X, Y, verbose=0, return_dict=True)["entropy_multiplier"]
    with pytest.warns(EntropyWarning, match="FactorSchedule does not log entropy_multiplier: "):
        history = model.fit(X, Y, verbose=0, callbacks=[FactorSchedule(lambda epoch: 7.0)]).history

    np.testing.assert_allclose(history["entropy_multiplier"], expected, rtol=1e-6)


def test_two_loggers_of_different_measures_do_not_replace_each_other():
    with pytest.warns(EntropyWarning, match="does not log entropy/head: .* remove the other EntropyLogger"):
        both = headed().fit(X, Y, verbose=0, callbacks=[EntropyLogger("head"), EntropyLogger(measure="corner")]).history

    alone = [
        headed().fit(X, Y, verbose=0, callbacks=[EntropyLogger(measure=m)]).history for m in ("corner", "log_volume")
    ]
    assert both["entropy/head"] in [history["entropy/head"] for history in alone]
    assert both.keys() == alone[0].keys()


# Ragged and sparse tensors


def dense_of(tensor):
    """A ragged or sparse tensor of TensorFlow as a dense one of three columns."""
    import tensorflow as tf

    if isinstance(tensor, tf.RaggedTensor):
        return tensor.to_tensor(shape=(None, 3))
    if isinstance(tensor, tf.SparseTensor):
        return tf.ensure_shape(tf.sparse.to_dense(tensor), (None, 3))
    return tensor


def ragged():
    import tensorflow as tf

    return tf.ragged.constant([[1.0, 2.0], [3.0], [4.0, 5.0, 6.0], [1.0]])


def sparse():
    import tensorflow as tf

    return tf.sparse.from_dense(np.eye(4, 3, dtype="float32"))


def as_ragged(y):
    import tensorflow as tf

    return tf.RaggedTensor.from_tensor(y)


class Mixed(keras.Model):
    """Takes ragged and sparse inputs, and may return ragged outputs."""

    def __init__(self, factor, returns):
        super().__init__()
        self.dense = L.Dense(3, kernel_regularizer=DenseEntropy(factor), name="dense")
        self.returns = returns

    def call(self, x):
        return self.returns(self.dense(dense_of(x)))


FULL = np.ones((4, 3), "float32")
MIXED = {
    "ragged inputs": (ragged, lambda: FULL, lambda y: y),
    "ragged labels": (lambda: FULL, ragged, lambda y: y),
    "ragged outputs": (lambda: FULL, lambda: FULL, as_ragged),
    "sparse inputs": (sparse, lambda: FULL, lambda y: y),
    "sparse labels": (lambda: FULL, sparse, lambda y: y),
}


@pytest.mark.slow
@pytest.mark.skipif(BACKEND != "tensorflow", reason="ragged and sparse tensors of TensorFlow")
@pytest.mark.parametrize("case", MIXED)
def test_ragged_and_sparse_tensors_train_as_without_callbacks(case):
    import tensorflow as tf

    x, y, returns = MIXED[case]
    data = tf.data.Dataset.from_tensor_slices((x(), y())).batch(3)

    def trained(factor, *callbacks):
        keras.utils.set_random_seed(0)
        model = Mixed(factor, returns)
        model.compile(keras.optimizers.SGD(0.1), lambda a, b: squared(dense_of(a), dense_of(b)))
        fit = {"epochs": 2, "verbose": 0, "shuffle": False, "validation_data": data}
        return model.fit(data, callbacks=[*callbacks], **fit).history

    expected, history = trained(0.1), trained(0.1, FactorSchedule(lambda epoch: 1.0), EntropyLogger())
    task = trained(0.0, EntropyLogger())

    assert {name: history[name] for name in expected} == expected
    for prefix in ("", "val_"):
        np.testing.assert_allclose(task[f"{prefix}task_loss"], task[f"{prefix}loss"], rtol=1e-6)


@pytest.mark.slow
def test_sparse_matrices_of_scipy_train_as_without_callbacks():
    import scipy.sparse

    def trained(*callbacks):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,), sparse=BACKEND != "torch")  # Keras has no sparse tensors on torch
        model = keras.Model(inputs, L.Dense(3, kernel_regularizer=DenseEntropy(0.1), name="dense")(inputs))
        model.compile(keras.optimizers.SGD(0.1), "mse")
        x = scipy.sparse.csr_matrix(np.eye(4, 6, dtype="float32"))
        return model.fit(x, FULL, batch_size=2, verbose=0, shuffle=False, callbacks=[*callbacks]).history

    expected, history = trained(), trained(FactorSchedule(lambda epoch: 1.0), EntropyLogger())

    assert history["loss"] == expected["loss"]
    np.testing.assert_allclose(history["task_loss"][0] + history["entropy_penalty"][0], expected["loss"], rtol=1e-2)


# Metrics by their names, and metrics with several results


class Several(keras.metrics.Metric):
    """A metric that returns a dict, with names that the logger would use."""

    def __init__(self):
        super().__init__(name="several")
        self.count = self.add_variable((), "zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign_add(1.0)

    def result(self):
        return {"entropy_penalty": self.count + 0.0, "entropy/h": self.count * 2.0}


@pytest.mark.slow
def test_metrics_by_name_of_a_dict_of_outputs():
    def trained(*callbacks):
        keras.utils.set_random_seed(0)
        inputs = keras.Input((6,))
        h = L.Dense(4, kernel_regularizer=DenseEntropy(0.1), name="h")(inputs)
        model = keras.Model(inputs, {"a": L.Dense(3, activation="softmax", name="a")(h), "b": L.Dense(1, name="b")(h)})
        metrics = {"a": "accuracy", "b": ["mae", "mse", Several()]}
        model.compile(keras.optimizers.SGD(0.1), {"a": "categorical_crossentropy", "b": "mse"}, metrics=metrics)
        y = {"a": np.eye(3, dtype="float32")[np.arange(50) % 3], "b": Y[:, :1]}
        return model.fit(X, y, verbose=0, shuffle=False, validation_data=(X, y), callbacks=[*callbacks]).history

    expected = trained()
    with pytest.warns(EntropyWarning, match="EntropyLogger does not log entropy/h, entropy_penalty: "):
        history = trained(FactorSchedule(lambda epoch: 1.0), EntropyLogger())

    assert {name: history[name] for name in expected} == expected
    assert {"task_loss", "val_task_loss", "entropy/a"} <= set(history)
    assert "a_accuracy" in expected
