"""The entropy change of one weight, on the host in float64.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_entropy import functional
from keras_entropy._backend import to_host
from keras_entropy._frozen import FrozenDict
from keras_entropy.profile.linear_map import HostArray
from keras_entropy.profile.weights import MeasurableWeight, measurable_weights
from keras_entropy.regularizers import (
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyRegularizer,
    TotalCorrelation,
)

MEASURES = ("corner", "log_volume", "total_correlation")
"""Names of the measures: of a corner or leading block, of the whole kernel, and of the dependence between outputs."""


@dataclasses.dataclass(frozen=True)
class WeightEntropy:
    """The entropy change that one weight makes.

    Attributes:
        path: String. As in `MeasurableWeight`.
        kind: String. Class name of the layer.
        shape: Tuple of integers. Shape of the weight.
        mean: Float. Mean of the values, in `unit`.
        unit: String. `"nats per filter"`, `"nats per dimension"` or `"nats per output"`.
        measure: String. Name of the measure, or of the regularizer whose quantity this is.
        penalised: Boolean. Whether an entropy regularizer acts on the weight; False for a frozen layer.
        values: Tuple of floats, one per filter, dimension or output. Empty if they were not asked for.
        pieces: Read-only mapping of floats by name: the means of the heads of an attention projection, or of the
            gates of a recurrent kernel. Empty for other weights.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    unit: str
    measure: str
    penalised: bool
    values: tuple[float, ...] = ()
    pieces: Mapping[str, float] = FrozenDict()

    def __post_init__(self) -> None:
        object.__setattr__(self, "pieces", FrozenDict(self.pieces))

    def __str__(self) -> str:
        """The path, the mean and its unit."""
        return f"{self.path}: {self.mean:.4g} {self.unit}"


def measure_weight(
    weight: MeasurableWeight,
    measure: str | None = None,
    values: bool = False,
    draw: Callable[[Any], HostArray] | None = None,
) -> WeightEntropy:
    """Measure one weight on the host, in float64.

    Args:
        weight: A `MeasurableWeight`, from `measurable_weights`.
        measure: String.

            * `"corner"`: log|det| of the leading block of a matrix, log|c11| of the filters of a convolution (Meni et
              al., 2023, eq. 5, 6 and 18), without a noise floor;
            * `"log_volume"`: the log-volume of the whole kernel, without a noise floor;
            * `"total_correlation"`: the total correlation of the outputs, with a noise floor of 1e-4.

            A scale, such as gamma / sigma of a batch normalisation, has the log of its magnitude in the first two, and
            a total correlation of 0. Defaults to None: the quantity of the weight's own entropy regularizer, or
            `"corner"` if it has none.
        values: Boolean. Whether to compute the value of each filter or dimension too. The values of `"log_volume"` and
            `"total_correlation"` need singular values; those of `"corner"` of a matrix are the logs of the pivots of
            its elimination, which add up to log|det|. Defaults to False.
        draw: Function that returns a NumPy array for each variable, to be measured in place of its own value. Defaults
            to None.

    Returns:
        A `WeightEntropy`, in nats.

    Examples:
        >>> import keras
        >>> from keras_entropy.profile import measurable_weights, measure_weight
        >>> dense = keras.layers.Dense(4, kernel_initializer="identity", name="code")
        >>> (weight,) = measurable_weights(keras.Sequential([keras.Input((4,)), dense]))
        >>> print(measure_weight(weight, "log_volume"))
        code: 0 nats per dimension
    """
    regularizer = weight.regularizer if measure is None else None
    if regularizer is not None:
        names = weight.pieces()
        kernels = weight.kernels(weight.kernel)
        pieces = dict(zip(names if len(names) == len(kernels) else [""], kernels, strict=True))
        unit, quantity = regularizer.unit, _of_regularizer(regularizer)
    else:
        pieces = weight.pieces(draw)
        unit, quantity = _quantity(weight, measure or "corner")
    found = {name: quantity(piece, values) for name, piece in pieces.items()}
    means = {name: float(np.mean(value)) for name, value in found.items()}
    return WeightEntropy(
        path=weight.path,
        kind=type(weight.layer).__name__,
        shape=weight.shape,
        mean=float(np.mean([*means.values()])),
        unit=unit,
        measure=type(regularizer).__name__ if regularizer else measure or "corner",
        penalised=weight.penalised,
        values=tuple(np.concatenate([*found.values()]).tolist()) if values else (),
        pieces=FrozenDict(means if len(means) > 1 else {}),
    )


def penalty(model: Any) -> float:
    """Sum the entropy penalties of a model's kernels at their present values, on the host in float64.

    Args:
        model: A Keras model.

    Returns:
        Float. The part of `sum(model.losses)` that comes from this package's regularizers of kernels. Terms of
        activations are not included.

    Examples:
        >>> import keras
        >>> from keras_entropy import DenseEntropy, profile
        >>> dense = keras.layers.Dense(4, kernel_initializer="identity", kernel_regularizer=DenseEntropy(0.1, 0.0))
        >>> abs(profile.penalty(keras.Sequential([keras.Input((4,)), dense])))
        0.0
    """
    trainable = {id(variable) for variable in model.trainable_variables}
    total = 0.0
    for weight in measurable_weights(model):
        terms = [term for term in weight.terms if isinstance(term, EntropyRegularizer)]
        if terms and any(id(variable) in trainable for variable in weight.trained_variables):
            kernels = weight.kernels(weight.kernel)
            total += sum(term.host_penalty(kernels) for term in terms)
    return total


_Quantity = Callable[[HostArray, bool], Any]
"""Function of an array and whether to return the value of each filter or dimension, or only something of that mean."""


def _of_regularizer(regularizer: EntropyRegularizer) -> _Quantity:
    def quantity(piece: HostArray, values: bool) -> Any:
        kernel = np.asarray(piece, dtype=np.float64)
        # A regularizer of the user may compute with tensors of the backend.
        return to_host(regularizer.log_magnitudes(kernel) if values else regularizer.measure(kernel))

    return quantity


def _quantity(weight: MeasurableWeight, measure: str) -> tuple[str, _Quantity]:
    """The unit of a measure of a weight, and the function that measures one of its pieces."""
    if weight.layout == "scale":
        if measure == "total_correlation":
            return TotalCorrelation.unit, _no_correlation
        return DenseEntropy.unit, _log_scale
    if weight.layout == "dense":
        if measure == "total_correlation":  # the last axis of a piece counts the outputs
            correlation = _of_regularizer(TotalCorrelation(1.0))
            return TotalCorrelation.unit, lambda piece, values: correlation(_triangle(piece), values)
        return DenseEntropy.unit, _log_pivots if measure == "corner" else _log_singular_values
    if measure == "corner":
        corner = _of_regularizer(ConvCornerEntropy(1.0, epsilon=0.0, layout=weight.layout))
        return ConvCornerEntropy.unit, lambda piece, values: corner(piece[(slice(1),) * (piece.ndim - 2)], values)
    regularizer: EntropyRegularizer
    if measure == "log_volume":
        regularizer = ConvEntropy(1.0, epsilon=0.0, **weight.layer_arguments)
    else:
        regularizer = TotalCorrelation(1.0, **weight.layer_arguments)
    return regularizer.unit, _of_regularizer(regularizer)


def _log_scale(scale: HostArray, values: bool) -> Any:
    return functional.log_magnitude(np.asarray(scale, dtype=np.float64).reshape(-1))


def _no_correlation(scale: HostArray, values: bool) -> Any:
    return np.zeros(scale.size)


def _log_pivots(matrix: HostArray, values: bool) -> Any:
    """Logs of the pivots of the LU elimination of the leading block; their mean is log|det| per dimension."""
    from scipy.linalg import lapack

    k = min(matrix.shape)
    # LAPACK can overwrite the transposed copy, because it is in column order; its determinant is the same.
    factors, _, _ = lapack.dgetrf(np.array(matrix[:k, :k], dtype=np.float64).T, overwrite_a=True)
    return functional.log_magnitude(np.diagonal(factors))


def _log_singular_values(matrix: HostArray, values: bool) -> Any:
    triangle = _triangle(matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T)
    if values:
        return functional.dense_log_spectrum(triangle)
    return functional.dense_log_volume(triangle) / len(triangle)


_BLOCK = 2**22
"""How many numbers of a tall matrix are factorised at a time: 32 MiB."""


def _triangle(matrix: HostArray) -> HostArray:
    """Return a matrix with the same Gram matrix, in float64: R of the QR of a tall one, a block of rows at a time."""
    rows, columns = matrix.shape
    if rows <= columns:
        return np.asarray(matrix, dtype=np.float64)
    step = max(columns, _BLOCK // columns)
    blocks = [matrix[i : i + step] for i in range(0, rows, step)]
    return functools.reduce(_triangle_below, blocks, np.zeros((0, columns)))


def _triangle_below(triangle: HostArray, block: HostArray) -> HostArray:
    factor: Any = np.linalg.qr(np.concatenate([triangle, block.astype(np.float64)]), mode="r")
    return np.asarray(factor)
