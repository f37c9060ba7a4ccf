"""Networks of a problem that Adam trains, all of them in one compiled program. Needs the JAX backend."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from reproduction.paper_numbers import zhang

Array = np.ndarray[Any, Any]

STEPS = 100
"""Training steps in one compiled program."""


class Trained(NamedTuple):
    """What trained networks have reached, arrays (networks,).

    Attributes:
        loss: Training loss.
        accuracy: Test accuracy.
        outside: Share of the parameters outside the box that is sampled.
    """

    loss: Array
    accuracy: Array
    outside: Array


def trained(shape: tuple[int, int], data: Any, seed: int, networks: int, epochs: Iterable[int]) -> dict[int, Trained]:
    """Train networks on the whole training set at once.

    Args:
        shape: Hidden layers, and units of each.
        data: Training and test data.
        seed: Integer. Seed of the initial weights.
        networks: Integer. Number of networks.
        epochs: Numbers of epochs after which the networks are looked at.

    Returns:
        Dict from numbers of epochs to `Trained`.
    """
    import jax
    import keras

    keras.utils.set_random_seed(1000 + seed)
    depth, width = shape
    model = keras.Sequential(
        [keras.Input((2,)), *(keras.layers.Dense(width, "relu") for _ in range(depth)), keras.layers.Dense(2)]
    )
    optimizer = keras.optimizers.Adam(zhang("training")["learning_rate"])
    optimizer.build(model.trainable_variables)
    x, y, x_test, y_test = (np.asarray(part) for part in (data.x_train, data.y_train, data.x_test, data.y_test))

    def loss(weights: Any) -> Any:
        logits, _ = model.stateless_call(weights, [], x)
        return keras.ops.mean(keras.losses.sparse_categorical_crossentropy(y, logits, from_logits=True))

    def step(state: Any, _: Any) -> Any:
        weights, slots = state
        weights, slots = optimizer.stateless_apply(slots, jax.grad(loss)(weights), weights)
        return (weights, slots), None

    @jax.jit
    @jax.vmap
    def train(weights: Any, slots: Any) -> Any:
        return jax.lax.scan(step, (weights, slots), length=STEPS)[0]

    starts = [keras.models.clone_model(model).get_weights() for _ in range(networks)]
    weights = [np.stack(parts) for parts in zip(*starts, strict=True)]
    slots = [np.stack([np.array(variable.value)] * networks) for variable in optimizer.variables]
    found, half_width, wanted = {}, 2 / math.sqrt(width), set(epochs)
    for done in range(STEPS, max(wanted) + 1, STEPS):
        weights, slots = train(weights, slots)
        if done in wanted:
            logits = jax.vmap(lambda w: model.stateless_call(w, [], x_test)[0])(weights)
            right = (np.array(logits).argmax(2) == y_test).mean(1)
            flat = np.concatenate([np.array(part).reshape(networks, -1) for part in weights], 1)
            losses = np.array(jax.vmap(loss)(weights))
            found[done] = Trained(losses, right, (np.abs(flat) > half_width).mean(1))
    return found
