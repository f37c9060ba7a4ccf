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
