"""The parameter space of any Keras classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_entropy import _backend, _checks
from keras_entropy.landscape.problems.network import checked_data
from keras_entropy.landscape.problems.problem import Observable, Problem, digest
from keras_entropy.runs.identity import identity

Array = np.ndarray[Any, Any]


def keras_problem(
    model: keras.Model,
    data: Iterable[Any],
    half_width: float,
    *,
    from_logits: bool = True,
    loss: str = "mean",
    strength: float = 0.0,
    ties: str = "wrong",
) -> Problem:
    """Parameter space of a Keras classifier: all its trainable weights in a box, evaluated by `stateless_call`.

    Observables are "train_loss", "train_accuracy" and "test_accuracy", in float32, for all walkers together: on JAX by
    `vmap` and `jit`, on TensorFlow by `vectorized_map` in a graph, on torch by `torch.vmap`. The parameters stand in
    the order of `model.trainable_variables`, each row by row; what is not trainable stays as it is. For the networks of
    `network_problem` that function is much faster, since it evaluates what a move changes only.

    Args:
        model: built; it maps x to (n, classes).
        data: x_train (n, ...), y_train (n,) labels from 0 on, x_test, y_test.
        half_width: of the box [-half_width, half_width]^d.
        from_logits: False for a model that ends in probabilities.
        loss: "mean" of the cross-entropies of all points, or their "sum".
        strength: of the term strength |c|^2 that the loss then holds [B, eq. 6].
        ties: "wrong" where the right output has to be larger than all others, "first" where the first of equals wins.

    Raises:
        TypeError, ValueError: for a model that is not built or not a classifier, and for other bad arguments.

    Examples:
        >>> import keras
        >>> from keras_entropy import datasets
        >>> from keras_entropy.landscape import keras_problem
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(4, "tanh"), keras.layers.Dense(2)])
        >>> keras_problem(model, datasets.spirals(seed=0), half_width=1.0).dimension
        22
    """
    if not isinstance(model, keras.Model) or not model.built or not model.trainable_variables:
        raise TypeError(_checks.message("model", "a built keras.Model with trainable weights", model))
    _checks.one_of("loss", loss, ("mean", "sum"))
    _checks.one_of("ties", ties, ("wrong", "first"))
    from_logits = _checks.flag("from_logits", from_logits)
    strength = _checks.non_negative("strength", strength)
    half_width = float(_checks.number("half_width", half_width))
    arrays = checked_data(data, dimensions=None)
    x_train, y_train, _, y_test = arrays
    shape = model.compute_output_shape((None, *x_train.shape[1:]))
    classes = max(2, int(max(y_train.max(), y_test.max(initial=0))) + 1)
    if len(shape) != 2 or shape[1] is None or shape[1] < classes:
        raise ValueError(
            f"`model` should give an output for each of {classes} classes, (n, {classes}). Received: a model of output "
            f"shape {shape}."
        )
    frozen = [_backend.to_host(variable) for variable in model.non_trainable_variables]
    settings = [from_logits, loss, strength, ties, half_width]
    return Problem(
        name=f"Keras model {model.name!r}",
        dimension=sum(math.prod(variable.shape) for variable in model.trainable_variables),
        half_width=half_width,
        observables={
            "train_loss": Observable(),
            "train_accuracy": Observable(len(y_train), "high"),
            "test_accuracy": Observable(max(1, len(y_test)), "high"),
        },
        energy=_compiled(_Energy(model, arrays, frozen, from_logits, loss == "sum", strength, ties == "first")),
        digest=digest("keras", identity(model), settings, *frozen, *arrays),
        traceable=True,
    )


class _Energy:
    """What is observed at parameters (d, B), as tensors."""

    def __init__(
        self,
        model: keras.Model,
        data: tuple[Array, Array, Array, Array],
        frozen: list[Array],
        from_logits: bool,
        summed: bool,
        strength: float,
        first_wins: bool,
    ) -> None:
        x_train, y_train, x_test, y_test = data
        self._model, self._frozen = model, frozen
        self._points = np.concatenate([x_train, x_test]).astype("float32")
        self._labels = np.concatenate([y_train, y_test]).astype("int32")
        self._train = len(y_train)
        self._from_logits, self._summed, self._strength, self._first_wins = from_logits, summed, strength, first_wins

    def __call__(self, parameters: Any) -> dict[str, Any]:
        values = ops.vectorized_map(self._one, ops.transpose(ops.cast(parameters, "float32")))
        return dict(zip(("train_loss", "train_accuracy", "test_accuracy"), values, strict=True))

    def _one(self, vector: Any) -> tuple[Any, Any, Any]:
        pieces, begin = [], 0
        for variable in self._model.trainable_variables:
            size = math.prod(variable.shape)
            pieces.append(ops.reshape(vector[begin : begin + size], variable.shape))
            begin += size
        outputs, _ = self._model.stateless_call(pieces, self._frozen, self._points, training=False)
        labels = ops.expand_dims(ops.convert_to_tensor(self._labels), 1)
        train = self._train
        losses = keras.losses.sparse_categorical_crossentropy(
            labels[:train, 0], outputs[:train], from_logits=self._from_logits
        )
        loss = ops.sum(losses) if self._summed else ops.mean(losses)
        right = self._right(outputs, labels)
        tested = right[train:] if train < len(self._labels) else ops.zeros((1,))
        return loss + self._strength * ops.sum(vector**2), ops.mean(right[:train]), ops.mean(tested)

    def _right(self, outputs: Any, labels: Any) -> Any:
        """(n,) 1 where a point is classified as its label."""
        if self._first_wins:
            found = ops.equal(ops.cast(ops.argmax(outputs, axis=1), "int32"), labels[:, 0])
        else:
            own = ops.take_along_axis(outputs, labels, axis=1)
            found = ops.equal(ops.sum(ops.cast(outputs >= own, "int32"), axis=1), 1)
        return ops.cast(found, "float32")


def _compiled(energy: Callable[[Any], dict[str, Any]]) -> Callable[[Any], dict[str, Any]]:
    """By the compiler of the backend, where it has one."""
    backend = keras.backend.backend()
    if backend == "jax":
        import jax

        return jax.jit(energy)  # type: ignore[no-any-return]
    if backend == "tensorflow":
        import tensorflow as tf

        return tf.function(energy)  # type: ignore[no-any-return]
    import torch

    return torch.no_grad()(energy)  # type: ignore[no-any-return]
