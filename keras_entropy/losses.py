"""Losses of undecided outputs: for rows without labels.

Sources:
    [C] Bouarfa Mahi: "Optimizing a Model Using Entropy: A Novel Approach" (2025).
    [G] Grandvalet, Bengio: "Semi-supervised learning by entropy minimization" (2004), eq. 6.
"""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from keras_entropy import _backend, _checks, _keras, functional
from keras_entropy._backend import Array

UNLABELLED = -1


class _OfLogits(keras.losses.Loss):
    """Base of the losses of logits, which may also be given the probabilities that a model ends with.

    Args:
        from_logits: False where the outputs are probabilities.
        reduction: of Keras.
        name: of Keras.
        dtype: of Keras.
    """

    _of_classes = True
    """Whether the outputs of a row compete: the units of the last axis are classes."""

    def __init__(self, from_logits: bool, reduction: str | None, name: str | None, dtype: Any) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = _checks.flag("from_logits", from_logits)

    def _checked(self, y_pred: Any) -> Array:
        """Outputs as they are, or a clear error."""
        y_pred = y_pred if hasattr(y_pred, "dtype") else np.asarray(y_pred)
        name, dtype = type(self).__name__, keras.backend.standardize_dtype(y_pred.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise TypeError(f"{name} takes outputs of a model, of a floating-point type. Received: {dtype}.")
        if not len(y_pred.shape):
            raise ValueError(f"{name} takes outputs of shape (batch, ...). Received: a scalar.")
        if self._of_classes and y_pred.shape[-1] == 1:
            raise ValueError(
                f"{name} takes outputs (batch, ..., classes) of at least two classes. Received: shape "
                f"{tuple(y_pred.shape)}, and one class is certain whatever its logit. Give the model two outputs; for "
                "units that are on or off by themselves there is SigmoidEntropy."
            )
        # TensorFlow and torch know where a tensor comes from, JAX does not.
        if self.from_logits and _keras.logits_before(y_pred) is not None:
            raise ValueError(
                f"{name} takes logits. Received: the output of a sigmoid or softmax. End the model with "
                f"activation=None, or give {name}(from_logits=False)."
            )
        return y_pred

    def _logits(self, y_pred: Array) -> Array:
        """Outputs of a model as logits, in float32 or float64."""
        y_pred = _backend.as_float(ops.convert_to_tensor(y_pred))
        return y_pred if self.from_logits else self._unsquashed(y_pred)

    def _unsquashed(self, p: Array) -> Array:
        return ops.log(_backend.at_least(p, _backend.smallest_normal(p)))

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "from_logits": self.from_logits}


class _Entropy(_OfLogits):
    """Base of the losses that ignore `y_true`."""

    def __call__(self, y_true: Any, y_pred: Array, sample_weight: Any = None) -> Array:
        """The entropy of `y_pred`; `y_true` may be anything, also None."""
        y_pred = self._checked(y_pred)
        return super().__call__(y_pred, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_entropy")
class SigmoidEntropy(_Entropy):
    """Mean sigmoid entropy of the units of the last axis, in bits [C]: how undecided they are, each by itself.

    Labels are ignored. Alone, it drives each unit to 0 or 1 and carries no information on any label; it is of use
    beside a loss that does. See `functional.sigmoid_entropy`.

    Args:
        from_logits: True (default): outputs are logits, those of a last layer with `activation=None`. False: they are
            probabilities; those within rounding of 1 then have no gradient.
        reduction: as of other losses of Keras. Defaults to `"sum_over_batch_size"`.
        name: of the loss.
        dtype: of the loss.

    Call arguments:
        * y_true: ignored.
        * y_pred: (batch, ..., units).

    Raises:
        TypeError, ValueError: for bad arguments; for outputs that are integers; for outputs of a sigmoid in place of
            logits where the backend shows it (not JAX).

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import SigmoidEntropy
        >>> float(SigmoidEntropy()(None, np.array([[0.0, 0.0], [0.0, 1000.0]])))
        0.75
    """

    _of_classes = False

    def __init__(
        self,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "sigmoid_entropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, reduction, name, dtype)

    def call(self, y_true: Any, y_pred: Array) -> Array:
        """(batch, ...): bits."""
        return ops.mean(functional.sigmoid_entropy(self._logits(y_pred)), axis=-1)

    def _unsquashed(self, p: Array) -> Array:
        below = 1 - float(np.finfo(keras.backend.standardize_dtype(p.dtype)).epsneg)
        p = _backend.at_least(-_backend.at_least(-p, -below), _backend.smallest_normal(p))
        return ops.log(p) - ops.log1p(-p)


@keras.saving.register_keras_serializable(package="keras_entropy")
class SoftmaxEntropy(_Entropy):
    """Entropy of the class that the outputs predict, in bits: how undecided a row is. Labels are ignored.

    See `functional.softmax_entropy`.

    Args:
        from_logits: True (default): outputs are logits, those of a last layer with `activation=None`. False: they are
            probabilities.
        reduction: as of other losses of Keras. Defaults to `"sum_over_batch_size"`.
        name: of the loss.
        dtype: of the loss.

    Call arguments:
        * y_true: ignored.
        * y_pred: (batch, ..., classes).

    Raises:
        TypeError, ValueError: for bad arguments; for outputs that are integers, or one class; for outputs of a softmax
            in place of logits where the backend shows it (not JAX).

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import SoftmaxEntropy
        >>> float(SoftmaxEntropy()(None, np.array([[3.0, 3.0, 3.0, 3.0], [1000.0, 0.0, 0.0, 0.0]])))
        1.0
    """

    def __init__(
        self,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "softmax_entropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, reduction, name, dtype)

    def call(self, y_true: Any, y_pred: Array) -> Array:
        """(batch, ...): bits."""
        return functional.softmax_entropy(self._logits(y_pred))


@keras.saving.register_keras_serializable(package="keras_entropy")
class SemiSupervisedCrossentropy(_OfLogits):
    """Cross-entropy of the rows with a label plus a factor times the entropy of the rows without: [G, eq. 6].

    mean of -log p(label) over labelled rows + `unlabelled_weight` * mean of -sum p log p over unlabelled ones, in nats.
    Each mean is over the rows of its own kind in the batch, so that the factor means the same whatever their
    proportion; a kind of which a batch has none adds 0. With few labels in a batch that mean is noisy: take batches
    large enough to hold several.

    Args:
        unlabelled_weight: a finite number; positive drives unlabelled rows to a decision. Defaults to 0.1.
        from_logits: True (default): outputs are logits, those of a last layer with `activation=None`. False: they are
            the probabilities of a softmax.
        reduction: `"sum_over_batch_size"` (default) or `"mean"`: as above, of weighted rows where there are sample
            weights; `"mean_with_sample_weight"`: the divisors are the sums of the weights; `"sum"`: sums, not means;
            `"none"`: one value for each row.
        name: of the loss.
        dtype: of the loss.

    Call arguments:
        * y_true: (batch, ...) or (batch, ..., 1): labels from 0 to classes - 1, and -1 where there is none; of a type
            that can hold -1.
        * y_pred: (batch, ..., classes), two or more.
        * sample_weight: (batch, ...) or (batch,). A mask of the outputs leaves rows out of sums and counts, whatever
            their labels and outputs; so does a weight of 0 where the label is neither a class nor -1. A row of weight
            0 with a label is left out of sums, and counted as Keras counts it.

    Raises:
        TypeError, ValueError: for bad arguments, shapes that do not fit together (one-hot labels among them), integer
            outputs, one class, unsigned labels. For labels that are not integers from -1 to classes - 1, where they can
            be seen: in a compiled step the loss is NaN instead.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import SemiSupervisedCrossentropy
        >>> loss = SemiSupervisedCrossentropy(unlabelled_weight=0.5)
        >>> value = loss(np.array([1, -1, -1]), np.array([[0.0, 0.0], [0.0, 0.0], [900.0, 0.0]]))
        >>> round(float(value / np.log(2)), 6)  # 1 + 0.5 * (1 + 0) / 2
        1.25
    """

    def __init__(
        self,
        unlabelled_weight: float = 0.1,
        from_logits: bool = True,
        reduction: str | None = "sum_over_batch_size",
        name: str | None = "semi_supervised_crossentropy",
        dtype: Any = None,
    ) -> None:
        super().__init__(from_logits, reduction, name, dtype)
        self.unlabelled_weight = _checks.number("unlabelled_weight", unlabelled_weight)

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Any = None) -> Array:
        """The loss; overridden because rows are counted by kind."""
        y_pred = self._checked(y_pred)
        mask = _keras.mask_of(y_pred)
        y_true, logits = self._arguments(y_true, y_pred)
        labels = _classes(y_true, logits.shape[-1])
        counts, weights = ops.ones_like(labels, dtype="bool"), ops.ones_like(labels, dtype=self.dtype)
        if mask is not None:
            counts = counts & _over_rows("mask", ops.cast(mask, "bool"), labels)
        if sample_weight is not None:
            weights = weights * _over_rows("sample_weight", ops.cast(sample_weight, self.dtype), labels)
        used = counts & (weights != 0)
        self._check_labels(ops.where(used, labels, UNLABELLED), y_true, logits)
        # Nothing of a row that is not used reaches the value or the gradient: 0 times what is not finite is NaN.
        values = self._rows(ops.where(used, labels, UNLABELLED), ops.where(used[..., None], logits, 0))
        values = ops.where(used, values * weights, 0)
        if self.reduction in (None, "none"):
            return values
        if self.reduction == "sum":
            return ops.sum(values)
        divisors = weights if self.reduction == "mean_with_sample_weight" else ops.ones_like(values)
        counts = counts & (used | (labels < logits.shape[-1]))
        total = ops.zeros((), values.dtype)
        for kind in (labels == UNLABELLED, labels != UNLABELLED):
            of_kind = counts & kind
            count = ops.sum(ops.where(of_kind, divisors, 0))
            total = total + ops.divide_no_nan(ops.sum(ops.where(of_kind, values, 0)), count)
        return _keras.scale_loss(total)

    def call(self, y_true: Array, y_pred: Array) -> Array:
        """(batch, ...): nats, cross-entropy or the factor times entropy."""
        y_true, logits = self._arguments(y_true, y_pred)
        labels = _classes(y_true, logits.shape[-1])
        self._check_labels(labels, y_true, logits)
        return self._rows(labels, logits)

    def _rows(self, labels: Array, logits: Array) -> Array:
        unlabelled = labels == UNLABELLED
        # What a row does not use is 0, so that an infinity there does not reach the gradient.
        entropy = functional.softmax_entropy(ops.where(unlabelled[..., None], logits, 0), math.e)
        valid = (labels >= 0) & (labels < logits.shape[-1])
        log_p = ops.log_softmax(ops.where(unlabelled[..., None], 0, logits), axis=-1)
        chosen = ops.take_along_axis(log_p, ops.where(valid, labels, 0)[..., None], axis=-1)[..., 0]
        crossentropy = ops.where(valid, -chosen, math.nan)
        values = ops.where(unlabelled, self.unlabelled_weight * entropy, crossentropy)
        return ops.cast(values, self.dtype)

    def _arguments(self, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        """Labels (batch, ...) as they are, and logits."""
        if y_true is None:
            raise ValueError(
                "SemiSupervisedCrossentropy takes labels, -1 where there is none. Received: y_true=None. Give `fit` "
                "the labels too; where no row has any, SoftmaxEntropy is the loss."
            )
        y_true = y_true if hasattr(y_true, "dtype") else np.asarray(y_true)
        dtype = keras.backend.standardize_dtype(y_true.dtype)
        if dtype == "bool" or dtype.startswith("uint"):
            raise TypeError(
                "`y_true` should be of a type that can hold -1, which stands for no label. Received: labels of type "
                f"{dtype}. Cast them, y.astype('int32'), before rows without a label are set to -1."
            )
        logits = self._logits(y_pred)
        expected = tuple(logits.shape[:-1])
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == len(expected) + 1 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, axis=-1)
        if len(logits.shape) < 2 or len(y_true.shape) != len(expected) or not _fit(y_true.shape, expected):
            raise ValueError(
                "SemiSupervisedCrossentropy takes labels (batch, ...) and outputs (batch, ..., classes). Received: "
                f"shapes {tuple(y_true.shape)} and {tuple(y_pred.shape)}. Labels are integers, not one-hot rows, and "
                "-1 where there is none."
            )
        return y_true, logits

    def _check_labels(self, labels: Array, y_true: Array, logits: Array) -> None:
        """Refuse labels that are no classes, where they can be seen."""
        seen, classes = _backend.host_value(labels), logits.shape[-1]
        if seen is None:
            return
        bad = seen >= classes
        if bad.any():
            received = np.unique(_backend.to_host(y_true)[bad])[:5].tolist()
            raise ValueError(
                f"`y_true` should hold labels from 0 to {classes - 1}, the number of outputs less 1, and -1 where "
                f"there is none. Received: {', '.join(map(str, received))}."
            )

    def get_config(self) -> dict[str, Any]:
        """The constructor's arguments."""
        return {**super().get_config(), "unlabelled_weight": self.unlabelled_weight}


def _classes(y_true: Array, classes: int) -> Array:
    """Labels as integers: UNLABELLED, a class, or `classes` for what is neither."""
    labels = ops.cast(y_true, "int32")
    whole = ops.cast(labels, y_true.dtype) == y_true
    return ops.where(whole & (labels >= UNLABELLED) & (labels < classes), labels, classes)


def _over_rows(argument: str, x: Array, rows: Array) -> Array:
    """A weight or mask of rows, or of all rows along their last axes, with the rank of `rows`."""
    received, expected = tuple(x.shape), tuple(rows.shape)
    while len(x.shape) > len(expected) and x.shape[-1] == 1:
        x = ops.squeeze(x, axis=-1)
    while len(x.shape) < len(expected):
        x = ops.expand_dims(x, axis=-1)
    if len(x.shape) != len(expected) or not _fit([None if size == 1 else size for size in x.shape], expected):
        raise ValueError(
            f"`{argument}` should have one value for each row of outputs or for each of the batch, of shape "
            f"{' or '.join(dict.fromkeys(map(str, (expected, expected[:1]))))}. Received: shape {received}."
        )
    return x


def _fit(shape: Any, expected: Any) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(shape, expected, strict=True))
