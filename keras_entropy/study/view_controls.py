"""Losses of two views that others use against a collapse: the controls of `ViewEntropy`.

Sources:
    Bardes, Ponce, LeCun (2022): VICReg: variance-invariance-covariance regularization for self-supervised learning.
    Zbontar, Jing, Misra, LeCun, Deny (2021): Barlow Twins: self-supervised learning via redundancy reduction.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from keras_entropy import _backend, _checks
from keras_entropy._backend import Array
from keras_entropy.functional.covariance import Batch, centred
from keras_entropy.losses import LossOfViews

_VARIANCE_FLOOR = 1e-4  # Bardes et al., 2022, section 4.1
_NORM_FLOOR = 1e-5  # of the batch normalisation in the code of Zbontar et al.


@keras.saving.register_keras_serializable(package="keras_entropy")
class VICReg(LossOfViews):
    """The loss of Bardes et al. (2022, eq. 6): invariance, variance and covariance of two views.

    It is `invariance` * s(z1, z2) + `variance` * (v(z1) + v(z2)) + `covariance` * (c(z1) + c(z2)), with

    * s: mean squared distance of the views, over samples and dimensions. Eq. 5 does not divide by the dimensions, the
      code of the authors does;
    * v: mean over the dimensions of max(0, 1 - sqrt(variance + 1e-4)) (eq. 1). The code of the authors halves it;
    * c: sum of the squared covariances of different dimensions, divided by the number of dimensions (eq. 4).

    Args:
        invariance: Float. Weight of s. Defaults to 25.
        variance: Float. Weight of v. Defaults to 25.
        covariance: Float. Weight of c. Defaults to 1.
        name: String. Name of the loss. Defaults to `"vicreg"`.
        dtype: Dtype of the loss. Defaults to None, Keras's floatx.

    Call arguments:
        * y_true: Ignored.
        * y_pred: Tensor of shape (batch, 2, dim). The batch is the global batch, as in `ViewEntropy`.

    Raises:
        TypeError, ValueError: If a weight is negative or no number; when called, as `ViewEntropy`.

    Examples:
        >>> import keras
        >>> from keras_entropy.study import VICReg
        >>> round(float(VICReg(variance=2.0)(None, keras.ops.zeros((8, 2, 3)))), 4)  # collapsed: 2 * (0.99 + 0.99)
        3.96
    """

    def __init__(
        self,
        invariance: float = 25.0,
        variance: float = 25.0,
        covariance: float = 1.0,
        name: str | None = "vicreg",
        dtype: Any = None,
    ) -> None:
        super().__init__(name, dtype)
        self.invariance = _checks.non_negative("invariance", invariance)
        self.variance = _checks.non_negative("variance", variance)
        self.covariance = _checks.non_negative("covariance", covariance)

    def loss_of_views(self, first: Array, second: Array) -> Array:
        """Compute the weighted sum of the three terms."""
        terms = [variance_and_covariance(centred(view)) for view in (first, second)]
        variance, covariance = (sum(values) for values in zip(*terms, strict=True))
        distance = ops.mean(ops.square(first - second))
        return self.invariance * distance + self.variance * variance + self.covariance * covariance

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        own = {"invariance": self.invariance, "variance": self.variance, "covariance": self.covariance}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="keras_entropy")
class BarlowTwins(LossOfViews):
    """The loss of Zbontar et al. (2021, eq. 1 and 2): the cross-correlation of two views should be the identity.

    It is the sum over the dimensions of (1 - C_ii)^2 plus `redundancy` times the sum of C_ij^2 over i != j, with C the
    correlations over the batch of the dimensions of the first view with those of the second. As in the code of the
    authors, 1e-5 is added to each variance.

    Args:
        redundancy: Float. Weight of the correlations of different dimensions. Defaults to 5e-3.
        name: String. Name of the loss. Defaults to `"barlow_twins"`.
        dtype: Dtype of the loss. Defaults to None, Keras's floatx.

    Call arguments:
        * y_true: Ignored.
        * y_pred: Tensor of shape (batch, 2, dim). The batch is the global batch, as in `ViewEntropy`.

    Raises:
        TypeError, ValueError: If the weight is negative or no number; when called, as `ViewEntropy`.

    Examples:
        >>> import keras
        >>> from keras_entropy.study import BarlowTwins
        >>> float(BarlowTwins()(None, keras.ops.zeros((8, 2, 3))))  # collapsed: no dimension agrees with itself
        3.0
    """

    def __init__(self, redundancy: float = 5e-3, name: str | None = "barlow_twins", dtype: Any = None) -> None:
        super().__init__(name, dtype)
        self.redundancy = _checks.non_negative("redundancy", redundancy)

    def loss_of_views(self, first: Array, second: Array) -> Array:
        """Compute the distance of the cross-correlation from the identity."""
        total = _backend.framework().sum_over_replicas
        normed = []
        for view in (centred(first), centred(second)):
            count = _backend.at_least(view.count, 1.0)
            variances = total(ops.sum(ops.square(view.rows), axis=0)) / count
            normed.append(view.rows / ops.sqrt((variances + _NORM_FLOOR) * count))
        correlations = total(ops.transpose(normed[0]) @ normed[1])
        diagonal = ops.diagonal(correlations)
        others = _off_diagonal(ops.square(correlations))
        return ops.sum(ops.square(1 - diagonal)) + self.redundancy * others

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        return {**super().get_config(), "redundancy": self.redundancy}


def variance_and_covariance(vectors: Batch) -> tuple[Array, Array]:
    """Compute the terms v and c of `VICReg` for a batch of centred vectors."""
    covariance = vectors.covariance()
    variances = ops.diagonal(covariance)
    dimensions = vectors.rows.shape[-1]
    hinge = ops.mean(ops.relu(1 - ops.sqrt(variances + _VARIANCE_FLOOR)))
    return hinge, _off_diagonal(ops.square(covariance)) / dimensions


def _off_diagonal(matrix: Array) -> Array:
    """Sum of the elements off the diagonal."""
    return ops.sum(matrix * (1 - ops.eye(matrix.shape[-1], dtype=matrix.dtype)))
