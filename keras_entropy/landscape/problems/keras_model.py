"""The parameter space of any Keras classifier."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_entropy import _backend, _checks
from keras_entropy.landscape.problems.classification import REDUCTIONS, TIES, checked_data, observables_of
from keras_entropy.landscape.problems.fan_in import fan_in_half_widths
from keras_entropy.landscape.problems.problem import Problem, digest
from keras_entropy.runs.identity import identity

Array = np.ndarray[Any, Any]


def keras_problem(
    model: keras.Model,
    data: Iterable[Any],
    half_width: float | str,
    *,
    from_logits: bool = True,
    reduction: str = "mean",
    strength: float = 0.0,
    ties: str = "wrong",
) -> Problem:
    """Create the problem of a Keras classifier: all its trainable weights in a box.

    Observables are "train_loss", the cross-entropy in nats, "train_accuracy" and "test_accuracy". `stateless_call`
    computes them in float32 for all walkers together: by `vmap` and `jit` on JAX, by `vectorized_map` in a graph on
    TensorFlow, by `torch.vmap` on torch. On torch, a model with convolutions takes the walkers one by one, which is
    slower. The parameters are ordered as in `model.trainable_variables`, each of them row by row; weights that are not
    trainable keep their values. For fully connected ReLU networks `network_problem` is much faster, because it
    evaluates what a move changes only.

    Args:
        model: Built `keras.Model` that maps x to (n, classes).
        data: x_train (n, ...), y_train (n,), x_test (m, ...), y_test (m,), with integer labels from 0 on.
        half_width: Float, or "fan_in". For a number the box is [-half_width, half_width]^d. For "fan_in" each weight
            has its own box, of half width 2 / sqrt(fan_in): see `fan_in_half_widths`. The parameters of the problem are
            then the weights divided by these half widths, in the box [-1, 1]^d, so that moves fit each layer.
        from_logits: Boolean. Whether the model returns logits; False for probabilities. Defaults to True.
        reduction: String. Whether the loss is the "mean" of the cross-entropies of the points, or their "sum". Defaults
            to "mean".
        strength: Float. Strength of the regularization term strength * |c|^2 in the loss (Zhang, 2021, eq. 6). Defaults
            to 0.
        ties: String. How equal outputs are classified: "wrong" if the output of the label must be larger than all
            others, "first" if the first of equal outputs wins. Defaults to "wrong".

    Returns:
        A `Problem`.

    Raises:
        TypeError, ValueError: For a model that is not built or not a classifier, and for other invalid arguments.

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
    _checks.one_of("reduction", reduction, REDUCTIONS)
    _checks.one_of("ties", ties, TIES)
    from_logits = _checks.flag("from_logits", from_logits)
    strength = _checks.non_negative("strength", strength)
    scales = None
    if isinstance(half_width, str):
        if half_width != "fan_in":
            raise ValueError(_checks.message("half_width", 'a finite number above 0, or "fan_in"', half_width))
        scales, half_width = fan_in_half_widths(model), 1.0
    half_width = float(_checks.number("half_width", half_width))
    arrays = checked_data(data, dimensions=None)
    x_train, y_train, _, y_test = arrays
    shape = model.compute_output_shape((None, *x_train.shape[1:]))
    classes = max(2, int(max(y_train.max(), y_test.max(initial=0))) + 1)
    if len(shape) != 2 or shape[1] is None or shape[1] < classes:
        raise ValueError(
            f"`model` should have an output for each of {classes} classes, of shape (n, {classes}). Received: a model "
            f"with outputs of shape {shape}."
        )
    frozen = [_backend.to_host(variable) for variable in model.non_trainable_variables]
    settings = [from_logits, reduction, strength, ties, half_width if scales is None else "fan_in"]
    return Problem(
        name=f"Keras model {model.name!r}",
        dimension=sum(math.prod(variable.shape) for variable in model.trainable_variables),
        half_width=half_width,
        observables=observables_of(y_train, y_test),
        energy=_CompiledEnergy(
            _Energy(model, arrays, frozen, scales, from_logits, reduction == "sum", strength, ties == "first")
        ),
        digest=digest("keras", identity(model), settings, *frozen, *arrays),
        traceable=True,
    )


class _CompiledEnergy:
    """An energy that is compiled anew where it is sent: what a framework has compiled cannot always be pickled."""

    def __init__(self, energy: _Energy) -> None:
        self._energy = energy
        self._compiled = _backend.framework().compiled(energy)

    def __call__(self, parameters: Any) -> Any:
        return self._compiled(parameters)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._energy,)


class _Energy:
    """Returns the observables at parameters (d, B), as tensors."""

    def __init__(
        self,
        model: keras.Model,
        data: tuple[Array, Array, Array, Array],
        frozen: list[Array],
        scales: Array | None,
        from_logits: bool,
        summed: bool,
        strength: float,
        first_wins: bool,
    ) -> None:
        x_train, y_train, x_test, y_test = data
        self._model, self._frozen = model, frozen
        self._scales = None if scales is None else scales.astype("float32")
        self._points = np.concatenate([x_train, x_test]).astype("float32")
        self._labels = np.concatenate([y_train, y_test]).astype("int32")
        self._train = len(y_train)
        # JAX skips the test points in moves that do not use their accuracy; elsewhere one call is faster than two.
        self._apart = _backend.framework().transforms_functions and len(y_test) > 0
        self._from_logits, self._summed, self._strength, self._first_wins = from_logits, summed, strength, first_wins

    def __call__(self, parameters: Any) -> dict[str, Any]:
        rows = ops.transpose(ops.cast(parameters, "float32"))
        values = _backend.framework().map_rows(self._evaluate_one, rows)
        return dict(zip(("train_loss", "train_accuracy", "test_accuracy"), values, strict=True))

    def _evaluate_one(self, vector: Any) -> tuple[Any, Any, Any]:
        if self._scales is not None:
            vector = vector * ops.convert_to_tensor(self._scales)
        pieces, begin = [], 0
        for variable in self._model.trainable_variables:
            size = math.prod(variable.shape)
            pieces.append(ops.reshape(vector[begin : begin + size], variable.shape))
            begin += size

        def outputs_of(points: Array) -> Any:
            return self._model.stateless_call(pieces, self._frozen, points, training=False)[0]

        train = self._train
        if self._apart:
            outputs, tested = outputs_of(self._points[:train]), outputs_of(self._points[train:])
        else:
            both = outputs_of(self._points)
            outputs, tested = both[:train], both[train:]
        labels, hidden = (ops.convert_to_tensor(part) for part in (self._labels[:train], self._labels[train:]))
        losses = keras.losses.sparse_categorical_crossentropy(labels, outputs, from_logits=self._from_logits)
        loss = ops.sum(losses) if self._summed else ops.mean(losses)
        right = self._is_right(tested, hidden) if len(self._labels) > train else ops.zeros((1,))
        loss = loss + self._strength * ops.sum(vector**2)
        return loss, ops.mean(self._is_right(outputs, labels)), ops.mean(right)

    def _is_right(self, outputs: Any, labels: Any) -> Any:
        """Return (n,), 1 for a point that is classified as its label and 0 for the others."""
        if self._first_wins:
            return ops.cast(ops.equal(ops.cast(ops.argmax(outputs, axis=1), "int32"), labels), "float32")
        # No output is compared with itself: compiled programs compute it twice, with different roundings.
        is_own = ops.cast(ops.one_hot(labels, outputs.shape[1]), "bool")
        own = ops.sum(ops.where(is_own, outputs, 0.0), axis=1)
        others = ops.max(ops.where(is_own, -math.inf, outputs), axis=1)
        return ops.cast(own > others, "float32")
