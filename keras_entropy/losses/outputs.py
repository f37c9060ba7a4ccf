"""Entropies of outputs as losses, for rows without labels.

Sources:
    Mahi (2025): Optimizing a Model Using Entropy: A Novel Approach.
    Grandvalet, Bengio (2004): Semi-supervised learning by entropy minimization.
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
    """Base class of the losses of logits or probabilities.

    Args:
        from_logits: Boolean. False if the outputs are probabilities.
        reduction: String. As in `keras.losses.Loss`.
        name: String. As in `keras.losses.Loss`.
        dtype: As in `keras.losses.Loss`.
    """

    _of_classes = True
    """Whether the units of the last axis are classes, one of which is right."""

    def __init__(self, from_logits: bool, reduction: str | None, name: str | None, dtype: Any) -> None:
        super().__init__(name=name, reduction=reduction, dtype=dtype)
        self.from_logits = _checks.flag("from_logits", from_logits)

    def _checked(self, y_pred: Any) -> Array:
        """Return the outputs unchanged, or raise an error that says what is wrong with them."""
        y_pred = y_pred if hasattr(y_pred, "dtype") else np.asarray(y_pred)
        name, dtype = type(self).__name__, keras.backend.standardize_dtype(y_pred.dtype)
        if not keras.backend.is_float_dtype(dtype):
            raise TypeError(
                f"`y_pred` of {name} should be of a floating-point dtype. Received: {dtype}. Give the outputs of the "
                "model, not labels."
            )
        if not len(y_pred.shape):
            raise ValueError(
                f"`y_pred` of {name} should have shape (batch, ...). Received: a scalar. Give a batch of outputs."
            )
        if self._of_classes and y_pred.shape[-1] == 1:
            raise ValueError(
                f"`y_pred` of {name} should have shape (batch, ..., classes) with at least two classes, because a "
                f"single class is always certain. Received: shape {tuple(y_pred.shape)}. Give the model two outputs, "
                "or use SigmoidEntropy for units that are on or off independently."
            )
        # TensorFlow and torch tensors know the operation that made them, JAX tensors do not.
        if self.from_logits and _keras.logits_before(y_pred) is not None:
            raise ValueError(
                f"`y_pred` of {name} should be logits. Received: the output of a sigmoid or softmax. End the model "
                f"with activation=None, or use {name}(from_logits=False)."
            )
        return y_pred

    def _logits(self, y_pred: Array) -> Array:
        """Return outputs as logits, in float32 or float64."""
        y_pred = _backend.as_float(ops.convert_to_tensor(y_pred))
        return y_pred if self.from_logits else self._unsquashed(y_pred)

    def _unsquashed(self, p: Array) -> Array:
        return ops.log(_backend.at_least(p, _backend.smallest_normal(p)))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "from_logits": self.from_logits}


class _Entropy(_OfLogits):
    """Base class of the losses that ignore `y_true`."""

    def __call__(self, y_true: Any, y_pred: Array, sample_weight: Any = None) -> Array:
        """Compute the entropy of `y_pred`; `y_true` may be anything, also None."""
        y_pred = self._checked(y_pred)
        return super().__call__(y_pred, y_pred, sample_weight)


@keras.saving.register_keras_serializable(package="keras_entropy")
class SigmoidEntropy(_Entropy):
    """Mean entropy of the units of the last axis in bits: how undecided each unit is (Mahi, 2025).

    The loss ignores labels. Minimised alone it drives each unit to 0 or 1, whatever the label; use it beside a loss
    with labels. See `functional.sigmoid_entropy`.

    Args:
        from_logits: Boolean. True if the outputs are logits, as of a last layer with `activation=None`; False if they
            are probabilities. Probabilities that round to 1 have no gradient. Defaults to True.
        reduction: String. As in `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"sigmoid_entropy"`.
        dtype: Dtype of the loss. Defaults to None, Keras's floatx.

    Call arguments:
        * y_true: Ignored.
        * y_pred: Tensor of shape (batch, ..., units).

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the outputs are integers; or, except on JAX,
            if they come from a sigmoid although `from_logits=True`.

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
        """Compute the mean entropy of the units of each row in bits, of shape (batch, ...)."""
        return ops.mean(functional.sigmoid_entropy(self._logits(y_pred)), axis=-1)

    def _unsquashed(self, p: Array) -> Array:
        below = 1 - float(np.finfo(keras.backend.standardize_dtype(p.dtype)).epsneg)
        p = _backend.at_least(-_backend.at_least(-p, -below), _backend.smallest_normal(p))
        return ops.log(p) - ops.log1p(-p)


@keras.saving.register_keras_serializable(package="keras_entropy")
class SoftmaxEntropy(_Entropy):
    """Entropy of the predicted distribution over the classes in bits: how undecided a row is.

    The loss ignores labels. See `functional.softmax_entropy`.

    Args:
        from_logits: Boolean. True if the outputs are logits, as of a last layer with `activation=None`; False if they
            are probabilities. Defaults to True.
        reduction: String. As in `keras.losses.Loss`. Defaults to `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"softmax_entropy"`.
        dtype: Dtype of the loss. Defaults to None, Keras's floatx.

    Call arguments:
        * y_true: Ignored.
        * y_pred: Tensor of shape (batch, ..., classes).

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the outputs are integers, or of one class; or,
            except on JAX, if they come from a softmax although `from_logits=True`.

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
        """Compute the entropy of each row in bits, of shape (batch, ...)."""
        return functional.softmax_entropy(self._logits(y_pred))


@keras.saving.register_keras_serializable(package="keras_entropy")
class SemiSupervisedCrossentropy(_OfLogits):
    """Cross-entropy of labelled rows plus a weight times the entropy of unlabelled rows.

    This is eq. 6 of Grandvalet and Bengio (2004), in nats: the mean of -log p(label) over labelled rows, plus
    `unlabelled_weight` times the mean of -sum p log p over unlabelled rows. Each mean is over the rows of its kind in
    the batch, so the weight means the same for any proportion of labels. If a batch has no rows of a kind, that kind
    adds 0. Use batches large enough to hold several labels, because a mean over few rows is noisy.

    Args:
        unlabelled_weight: Float. Weight of the entropy of unlabelled rows. A positive weight drives them to a decision.
            Defaults to 0.1.
        from_logits: Boolean. True if the outputs are logits, as of a last layer with `activation=None`; False if they
            are the probabilities of a softmax. Defaults to True.
        reduction: String. `"sum_over_batch_size"` or `"mean"`: the means above, of weighted rows if there are sample
            weights; `"mean_with_sample_weight"`: the sums of weighted rows divided by the sums of the weights;
            `"sum"`: sums in place of means; `"none"`: one value per row. Defaults to `"sum_over_batch_size"`.
        name: String. Name of the loss. Defaults to `"semi_supervised_crossentropy"`.
        dtype: Dtype of the loss. Defaults to None, Keras's floatx.

    Call arguments:
        * y_true: Labels of shape (batch, ...) or (batch, ..., 1): integers from 0 to classes - 1, or -1 for no label,
            of a signed dtype.
        * y_pred: Tensor of shape (batch, ..., classes), with at least two classes.
        * sample_weight: Weights of shape (batch, ...) or (batch,). A row with weight 0 adds nothing to the sums, but is
            counted, as in Keras; if its label is neither a class nor -1, it is not counted either. Rows that a mask of
            the outputs excludes are neither added nor counted, whatever their labels and outputs.

    Raises:
        TypeError, ValueError: If an argument is invalid. When called: if the shapes do not match (one-hot labels, for
            instance), the outputs are integers or of one class, or the labels are unsigned. If a label is not an
            integer from -1 to classes - 1; in a compiled step, which cannot raise, the loss becomes NaN.

    Examples:
        >>> import numpy as np
        >>> from keras_entropy import SemiSupervisedCrossentropy
        >>> loss = SemiSupervisedCrossentropy(unlabelled_weight=0.5)
        >>> value = loss(np.array([1, -1, -1]), np.array([[0.0, 0.0], [0.0, 0.0], [900.0, 0.0]]))
        >>> round(float(value / np.log(2)), 6)  # 1 bit + 0.5 * (1 + 0) / 2 bits
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
        self.unlabelled_weight = _checks.float32("unlabelled_weight", unlabelled_weight)

    def __call__(self, y_true: Array, y_pred: Array, sample_weight: Any = None) -> Array:
        """Compute the loss; overridden because rows are counted by kind."""
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
        # A row that is not used is replaced, because 0 times a value that is not finite is NaN.
        values = self.call(ops.where(used, labels, UNLABELLED), ops.where(used[..., None], y_pred, 0))
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
        """Compute cross-entropy or weighted entropy of each row in nats, of shape (batch, ...)."""
        y_true, logits = self._arguments(y_true, y_pred)
        labels = _classes(y_true, logits.shape[-1])
        self._check_labels(labels, y_true, logits)
        return self._rows(labels, logits)

    def _rows(self, labels: Array, logits: Array) -> Array:
        unlabelled = labels == UNLABELLED
        # Outputs that a term does not use are set to 0, so that an infinity among them does not reach the gradient.
        entropy = functional.softmax_entropy(ops.where(unlabelled[..., None], logits, 0), math.e)
        valid = (labels >= 0) & (labels < logits.shape[-1])
        log_p = ops.log_softmax(ops.where(unlabelled[..., None], 0, logits), axis=-1)
        chosen = ops.take_along_axis(log_p, ops.where(valid, labels, 0)[..., None], axis=-1)[..., 0]
        crossentropy = ops.where(valid, -chosen, math.nan)
        values = ops.where(unlabelled, self.unlabelled_weight * entropy, crossentropy)
        return ops.cast(values, self.dtype)

    def _arguments(self, y_true: Array, y_pred: Array) -> tuple[Array, Array]:
        """Return labels of shape (batch, ...) and logits."""
        if y_true is None:
            raise ValueError(
                "`y_true` should hold labels, and -1 for rows without one. Received: y_true=None. Give `fit` the "
                "labels, or use SoftmaxEntropy if no row has a label."
            )
        y_true = y_true if hasattr(y_true, "dtype") else np.asarray(y_true)
        dtype = keras.backend.standardize_dtype(y_true.dtype)
        if dtype == "bool" or dtype.startswith("uint"):
            raise TypeError(
                "`y_true` should be of a signed dtype, because -1 stands for no label. Received: labels of dtype "
                f"{dtype}. Cast them with y.astype('int32') before you set labels to -1."
            )
        logits = self._logits(y_pred)
        expected = tuple(logits.shape[:-1])
        y_true = ops.convert_to_tensor(y_true)
        if len(y_true.shape) == len(expected) + 1 and y_true.shape[-1] == 1:
            y_true = ops.squeeze(y_true, axis=-1)
        if len(logits.shape) < 2 or len(y_true.shape) != len(expected) or not _fit(y_true.shape, expected):
            raise ValueError(
                "`y_true` and `y_pred` should have shapes (batch, ...) and (batch, ..., classes). Received: shapes "
                f"{tuple(y_true.shape)} and {tuple(y_pred.shape)}. Labels are integers, not one-hot rows, and -1 for "
                "no label."
            )
        return y_true, logits

    def _check_labels(self, labels: Array, y_true: Array, logits: Array) -> None:
        """Raise `ValueError` for labels that are not classes, unless they are inside a compiled step."""
        seen, classes = _backend.host_value(labels), logits.shape[-1]
        if seen is None:
            return
        bad = seen >= classes
        if bad.any():
            received = np.unique(_backend.to_host(y_true)[bad])[:5].tolist()
            raise ValueError(
                f"`y_true` should hold labels from 0 to {classes - 1}, because the model has {classes} outputs, and -1 "
                f"for no label. Received: {', '.join(map(str, received))}."
            )

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "unlabelled_weight": self.unlabelled_weight}


def _classes(y_true: Array, classes: int) -> Array:
    """Return labels as integers: UNLABELLED, a class, or `classes` for any other value."""
    labels = ops.cast(y_true, "int32")
    whole = ops.cast(labels, y_true.dtype) == y_true
    return ops.where(whole & (labels >= UNLABELLED) & (labels < classes), labels, classes)


def _over_rows(argument: str, x: Array, rows: Array) -> Array:
    """Return weights or a mask, one per row or one per sample, with the rank of `rows`."""
    received, expected = tuple(x.shape), tuple(rows.shape)
    while len(x.shape) > len(expected) and x.shape[-1] == 1:
        x = ops.squeeze(x, axis=-1)
    while len(x.shape) < len(expected):
        x = ops.expand_dims(x, axis=-1)
    if len(x.shape) != len(expected) or not _fit([None if size == 1 else size for size in x.shape], expected):
        raise ValueError(
            f"`{argument}` should have one value per row of outputs or one per sample, of shape "
            f"{' or '.join(dict.fromkeys(map(str, (expected, expected[:1]))))}. Received: shape {received}."
        )
    return x


def _fit(shape: Any, expected: Any) -> bool:
    return all(a is None or b is None or a == b for a, b in zip(shape, expected, strict=True))
