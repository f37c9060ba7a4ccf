"""The entropy change of one weight, on the host in float64.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_entropy import _backend, _keras, functional
from keras_entropy.profile.keras_layers import HostArray
from keras_entropy.profile.weights import MeasurableWeight
from keras_entropy.regularizers import (
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyRegularizer,
    TotalCorrelation,
)

MEASURES = ("corner", "log_volume", "total_correlation")
"""The source's numbers, the exact log-volume, and the total correlation of the outputs."""


@dataclasses.dataclass(frozen=True)
class WeightEntropy:
    """The entropy change that one weight makes.

    Attributes:
        path: as in `MeasurableWeight`.
        kind: class name of the layer.
        shape: of the kernel.
        mean: nats per filter, dimension or output.
        unit: what `mean` and `values` are per: "nats per filter", "nats per dimension" or "nats per output".
        measure: name of the measure, or the regularizer whose quantity this is.
        penalised: whether an entropy regularizer acts on the weight; False for a frozen layer.
        values: per filter or dimension; empty where they were not asked for.
        pieces: the means of the parts of a weight that is measured in parts of one size: heads of attention, gates
            of recurrent layers; empty for others.
    """

    path: str
    kind: str
    shape: tuple[int, ...]
    mean: float
    unit: str
    measure: str
    penalised: bool
    values: tuple[float, ...] = ()
    pieces: Mapping[str, float] = dataclasses.field(default_factory=dict)


def measure_weight(
    weight: MeasurableWeight,
    measure: str | None = None,
    values: bool = False,
    draw: Callable[[Any], HostArray] | None = None,
) -> WeightEntropy:
    """Measure one weight on the host, in float64.

    Args:
        weight: of `measurable_weights`.
        measure: `"corner"`: what [A] measures, log|det| of the leading block of a Dense kernel and log|c11| of
            a convolution; `"log_volume"`: the exact log-volume of the whole kernel; both without a noise floor;
            `"total_correlation"`: total correlation, with a noise floor of 1e-4; or None: the quantity of the weight's
            own entropy regularizer, `"corner"` where it has none. A scale, such as gamma / sigma of a batch
            normalisation, has the log of its magnitude in the first two and a total correlation of 0.
        values: whether to find the value of each filter or dimension too. That takes singular values, except for
            `"corner"`: there a matrix has the logs of the pivots of its elimination, which add up to log|det|.
        draw: if given, the values of variables are those that it gives, not their own.

    Returns:
        A `WeightEntropy`, in nats.
    """
    regularizer = weight.regularizer if measure is None else None
    if regularizer is not None:
        pieces = {"": weight.kernel}
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
        pieces=means if len(means) > 1 else {},
    )


def penalty(model: Any) -> float:
    """The sum of the entropy penalties of a model's kernels at their present values, on the host in float64.

    Args:
        model: a Keras model.

    Returns:
        The part of `sum(model.losses)` that comes from the package's regularizers of kernels, not of activations.
    """
    total = 0.0
    for variable in model.trainable_variables:
        for regularizer in _keras.members(variable.regularizer):
            if isinstance(regularizer, EntropyRegularizer):
                total += float(regularizer(np.asarray(_backend.to_host(variable), dtype=np.float64)))
    return total


_Quantity = Callable[[HostArray, bool], Any]
"""Of an array: the value of each filter or dimension, or, where these are not asked for, their mean."""


def _of_regularizer(regularizer: EntropyRegularizer) -> _Quantity:
    def quantity(piece: HostArray, values: bool) -> Any:
        kernel = np.asarray(piece, dtype=np.float64)
        return regularizer.log_magnitudes(kernel) if values else regularizer.measure(kernel)

    return quantity


def _quantity(weight: MeasurableWeight, measure: str) -> tuple[str, _Quantity]:
    """The unit of a measure of a weight, and the function of one of its pieces."""
    if weight.layout == "scale":
        if measure == "total_correlation":
            return TotalCorrelation.unit, _no_correlation
        return DenseEntropy.unit, _log_scale
    if weight.layout == "dense":
        if measure == "total_correlation":  # pieces have their outputs last
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
    """Of the leading block: the logs of the pivots of its elimination, whose mean is log|det| per dimension."""
    from scipy.linalg import lapack

    k = min(matrix.shape)
    # The copy, transposed, is in the order that LAPACK overwrites; the determinant is the same.
    factors, _, _ = lapack.dgetrf(np.array(matrix[:k, :k], dtype=np.float64).T, overwrite_a=True)
    return functional.log_magnitude(np.diagonal(factors))


def _log_singular_values(matrix: HostArray, values: bool) -> Any:
    triangle = _triangle(matrix if matrix.shape[0] >= matrix.shape[1] else matrix.T)
    if values:
        return functional.dense_log_spectrum(triangle)
    return functional.dense_log_volume(triangle) / len(triangle)


_BLOCK = 2**22
"""Numbers of a tall matrix that are factorised at a time: 32 MiB."""


def _triangle(matrix: HostArray) -> HostArray:
    """A matrix with the same Gram matrix, in float64: R of the QR of a tall one, found a block of rows at a time."""
    rows, columns = matrix.shape
    if rows <= columns:
        return np.asarray(matrix, dtype=np.float64)
    step = max(columns, _BLOCK // columns)
    blocks = [matrix[i : i + step] for i in range(0, rows, step)]
    return functools.reduce(_triangle_below, blocks, np.zeros((0, columns)))


def _triangle_below(triangle: HostArray, block: HostArray) -> HostArray:
    factor: Any = np.linalg.qr(np.concatenate([triangle, block.astype(np.float64)]), mode="r")
    return np.asarray(factor)
