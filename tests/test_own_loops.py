"""The callbacks in training loops of the user: they act from `on_train_begin` to `on_train_end`, wherever they are."""

import keras
import numpy as np
import pytest
from modes import BACKEND

from keras_entropy import DenseEntropy, DualDense, EntropyLogger, FactorSchedule, _keras

L = keras.layers
EPOCHS = 3
MULTIPLIERS = [0.0, 1.0, 0.25]
GENERATOR = np.random.default_rng(0)
X = GENERATOR.normal(size=(64, 8)).astype("float32")
Y = GENERATOR.normal(size=(64, 3)).astype("float32")
BATCHES = [slice(i, i + 16) for i in range(0, 64, 16)]


def network(metrics=("mse",)):
    keras.utils.set_random_seed(0)
    hidden = L.Dense(8, "tanh", kernel_regularizer=DenseEntropy(0.5), name="hidden")
    model = keras.Sequential([keras.Input((8,)), hidden, L.Dense(3)])
    model.compile(keras.optimizers.SGD(0.1), "mse", metrics=list(metrics))
    return model


def callbacks():
    return [FactorSchedule(MULTIPLIERS.__getitem__), EntropyLogger()]


def kernel(model):
    return keras.ops.convert_to_numpy(model.get_layer("hidden").kernel)


def is_clean(model):
    assert not any(isinstance(metric, _keras.TaskLoss) for metric in model.metrics)
    assert not list(_keras.step_states(model))
    assert model.get_layer("hidden").kernel_regularizer.multiplier == MULTIPLIERS[-1]


@pytest.fixture(scope="module")
def fitted():
    """Kernel and history of `fit`."""
    model = network()
    arguments = {"batch_size": 16, "shuffle": False, "epochs": EPOCHS, "verbose": 0}
    history = model.fit(X, Y, validation_data=(X[:32], Y[:32]), callbacks=callbacks(), **arguments).history
    return kernel(model), history


def in_a_list(model):
    listed = keras.callbacks.CallbackList(callbacks(), add_history=True, model=model)
    listed.on_train_begin()
    for epoch in range(EPOCHS):
        listed.on_epoch_begin(epoch)
        for rows in BATCHES:
            logs = model.train_on_batch(X[rows], Y[rows], return_dict=True)
        _, mse = model.evaluate(X[:32], Y[:32], verbose=0)  # of this loop alone, and with two results as always
        listed.on_epoch_end(epoch, {**logs, "mse": mse})
    listed.on_train_end()
    return model.history.history


def in_a_list_with_validation(model):
    listed = keras.callbacks.CallbackList(callbacks(), add_history=True, model=model)
    listed.on_train_begin()
    for epoch in range(EPOCHS):
        listed.on_epoch_begin(epoch)
        for rows in BATCHES:
            loss, _ = model.train_on_batch(X[rows], Y[rows])
        found = model.evaluate(X[:32], Y[:32], verbose=0, callbacks=listed, return_dict=True)
        assert set(found) == {"loss", "mse"}
        listed.on_epoch_end(epoch, {"loss": loss} | {f"val_{name}": value for name, value in found.items()})
    listed.on_train_end()
    return model.history.history


def one_by_one_with_one_dict(model):
    class Trainer:
        def __init__(self):
            self.parts = {"cbs": callbacks()}
            for callback in self.parts["cbs"]:
                callback.set_model(model)

        def each(self, hook, *arguments):
            for callback in self.parts["cbs"]:
                getattr(callback, hook)(*arguments)

    trainer, logs, history = Trainer(), {}, {}
    trainer.each("on_train_begin")
    for epoch in range(EPOCHS):
        trainer.each("on_epoch_begin", epoch)
        for rows in BATCHES:
            logs["loss"] = model.train_on_batch(X[rows], Y[rows])[0]
        trainer.each("on_epoch_end", epoch, logs)
        for name, value in logs.items():
            history.setdefault(name, []).append(value)
    trainer.each("on_train_end")
    return history


def around_fit(model):
    """As in reinforcement learning, where each round fits a replay buffer."""
    listed = keras.callbacks.CallbackList(callbacks(), model=model)
    listed.on_train_begin()
    history = {}
    for epoch in range(EPOCHS):
        listed.on_epoch_begin(epoch)
        logs = model.fit(X, Y, batch_size=16, shuffle=False, verbose=0).history
        assert set(logs) == {"loss", "mse"}
        logs = {name: values[-1] for name, values in logs.items()}
        for callback in listed.callbacks:
            callback.on_epoch_end(epoch, logs)
        for name, value in logs.items():
            history.setdefault(name, []).append(value)
    listed.on_train_end()
    return history


def without_on_train_begin(model):
    every, history = callbacks(), {}
    for callback in every:
        callback.set_model(model)
    for epoch in range(EPOCHS):
        for callback in every:
            callback.on_epoch_begin(epoch)
        for rows in BATCHES:
            model.train_on_batch(X[rows], Y[rows])
        logs = {}
        for callback in every:
            callback.on_epoch_end(epoch, logs)
        for name, value in logs.items():
            history.setdefault(name, []).append(value)
    for callback in every:
        callback.on_train_end()
    return history


def compiled_in_between(model):
    listed = keras.callbacks.CallbackList(callbacks(), add_history=True, model=model)
    listed.on_train_begin()
    for epoch in range(EPOCHS):
        model.compile(keras.optimizers.SGD(0.1), "mse", metrics=["mse"])
        listed.on_epoch_begin(epoch)
        for rows in BATCHES:
            logs = model.train_on_batch(X[rows], Y[rows], return_dict=True)
        listed.on_epoch_end(epoch, logs)
    listed.on_train_end()
    return model.history.history


LOOPS = [
    in_a_list,
    in_a_list_with_validation,
    one_by_one_with_one_dict,
    around_fit,
    without_on_train_begin,
    compiled_in_between,
]


@pytest.mark.parametrize("loop", LOOPS, ids=lambda loop: loop.__name__)
def test_a_loop_trains_and_logs_as_fit(loop, fitted):
    model = network()
    model.train_on_batch(0 * X[:16], 0 * Y[:16])  # compiles the step before the callbacks come
    model.set_weights(network().get_weights())

    history = loop(model)

    expected_kernel, expected = fitted
    np.testing.assert_allclose(kernel(model), expected_kernel, atol=1e-6)
    assert history["entropy_multiplier"] == MULTIPLIERS
    for name in ("task_loss", "entropy/hidden", "entropy_penalty"):
        np.testing.assert_allclose(history[name], expected[name], rtol=1e-5, atol=1e-6, err_msg=name)
    if "val_loss" in history:
        np.testing.assert_allclose(history["val_task_loss"], expected["val_task_loss"], rtol=1e-5)
    is_clean(model)


def test_a_step_of_the_user(fitted):
    """Gradients of the loss with `model.losses`, as in Keras's guides on training loops."""
    model = network()
    optimizer = keras.optimizers.SGD(0.1)
    optimizer.build(model.trainable_variables)
    schedule = FactorSchedule(MULTIPLIERS.__getitem__)
    schedule.set_model(model)
    schedule.on_train_begin()
    step = STEPS[BACKEND](model, optimizer)
    for epoch in range(EPOCHS):
        schedule.on_epoch_begin(epoch)
        for rows in BATCHES:
            step(X[rows], Y[rows])
    schedule.on_train_end()

    np.testing.assert_allclose(kernel(model), fitted[0], atol=1e-6)
    is_clean(model)


def tensorflow_step(model, optimizer):
    import tensorflow as tf

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = keras.ops.mean(keras.ops.square(model(x, training=True) - y)) + sum(model.losses)
        optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)

    return step


def torch_step(model, optimizer):
    import torch

    def step(x, y):
        model.zero_grad()
        loss = keras.ops.mean(keras.ops.square(model(x, training=True) - torch.tensor(y))) + sum(model.losses)
        loss.backward()
        with torch.no_grad():
            optimizer.apply([v.value.grad for v in model.trainable_weights], model.trainable_weights)

    return step


def jax_step(model, optimizer):
    import jax

    def loss(trainable, others, x, y):
        predictions, others, losses = model.stateless_call(trainable, others, x, training=True, return_losses=True)
        return keras.ops.mean(keras.ops.square(predictions - y)) + sum(losses), others

    @jax.jit
    def compiled(trainable, others, of_optimizer, x, y):
        (_, others), gradients = jax.value_and_grad(loss, has_aux=True)(trainable, others, x, y)
        return *optimizer.stateless_apply(of_optimizer, gradients, trainable), others

    def step(x, y):
        every = (model.trainable_variables, optimizer.variables, model.non_trainable_variables)
        trainable, of_optimizer, others = ([v.value for v in variables] for variables in every)
        results = compiled(trainable, others, of_optimizer, x, y)
        for variables, values in zip(every, results, strict=True):
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)

    return step


STEPS = {"tensorflow": tensorflow_step, "torch": torch_step, "jax": jax_step}


def test_a_schedule_of_a_gan_acts_on_its_discriminator_too():
    """Both models are trained in turns; the schedule has the outer one."""
    keras.utils.set_random_seed(0)
    discriminator = keras.Sequential([keras.Input((8,)), L.Dense(4, kernel_regularizer=DenseEntropy(1.0)), L.Dense(1)])
    discriminator.compile(keras.optimizers.SGD(0.0), "mse")
    discriminator.train_on_batch(X, Y[:, :1])
    generator = keras.Sequential([keras.Input((3,)), DualDense(8, decision_weight=1.0)])
    gan = keras.Sequential([generator, discriminator])
    gan.compile(keras.optimizers.SGD(0.0), "mse")
    schedule = FactorSchedule(lambda epoch: 10.0 * epoch)
    schedule.set_model(gan)
    schedule.on_train_begin()
    losses = []
    for epoch in range(3):
        schedule.on_epoch_begin(epoch)
        losses.append([discriminator.train_on_batch(X, Y[:, :1]), gan.train_on_batch(Y, Y[:, :1])])
    schedule.on_train_end()

    steps = np.diff(losses, axis=0)
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-5)
    assert np.all(np.abs(steps) > 0.1)
