"""Which units of a layer are redundant: what each adds to the log-volume, given the others.

Let W be the kernel of a layer with one unit (or filter) per column, x a white input, and e white noise. The entropy of
the outputs z = W'x + epsilon e is, up to a constant per unit, the log-volume V(W) = 1/2 log det(W'W + epsilon^2 I).
Without unit i, the determinant is that of the minor without row and column i, and by Cramer's rule
det(minor) = det(A) (A^-1)_ii with A = W'W + epsilon^2 I. So a unit adds

    V(W) - V(W without i) = -1/2 log (A^-1)_ii,

which is the entropy of its output given the outputs of the others. With epsilon = 0 it is the log of the distance of
its column to the span of the others. The sum over all units, each given those that are left, is V(W).

A convolution has a matrix for each frequency w, the transfer matrix K(w) of `functional.conv_log_volume`. What a filter
adds is the mean over the frequencies. The unfolded kernel, a matrix of pixels and channels by filters, would ignore that
the filters act at every pixel, so that one filter may be another one shifted.

If a layer has more units than inputs, the volume without noise does not change with the number of units, but the noise
makes it well defined: a unit then adds log(epsilon) - 1/2 log(1 - h), with h the leverage of its column.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.functional.conv import bands_of
from keras_entropy.profile.linear_map import HostArray
from keras_entropy.profile.weights import MeasurableWeight, measurable_weights


@dataclasses.dataclass(frozen=True)
class RedundantUnits:
    """The units of a layer in the order in which they are redundant.

    Attributes:
        order: Tuple of integers. Indices of the units: the first one adds least to the log-volume of the layer, the
            second one adds least without the first, and so on.
        added: Tuple of floats. What each adds given those that follow it, in nats (per output pixel of a convolution).
            The sum is the log-volume of the layer.
    """

    order: tuple[int, ...]
    added: tuple[float, ...]


def redundant_units(model: Any, layer: str, epsilon: float = 1e-4) -> RedundantUnits:
    """Order the units of a Dense layer or the filters of a convolution by what they add to its log-volume.

    Args:
        model: A built Keras model.
        layer: String. Path of the layer, as in `measurable_weights`.
        epsilon: Float > 0. Standard deviation of the assumed noise, in kernel units. Defaults to 1e-4.

    Returns:
        `RedundantUnits`.

    Raises:
        ValueError: If there is no such layer, or it is not a Dense layer or a convolution.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy.profile.redundancy import redundant_units
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(2, name="code")])
        >>> model.layers[0].set_weights([np.array([[1.0, 1.0], [0.0, 0.1]]), np.zeros(2)])
        >>> redundant_units(model, "code").order
        (0, 1)
    """
    weights = {weight.path: weight for weight in measurable_weights(model)}
    if layer not in weights:
        raise ValueError(_checks.message("layer", f"one of {', '.join(weights) or 'no layers'}", layer))
    if weights[layer].layout not in ("dense", "conv") or len(weights[layer].pieces()) > 1:
        raise ValueError(_checks.message("layer", "a Dense layer or a convolution", layer))
    epsilon = _checks.non_negative("epsilon", epsilon)
    inverses = [
        (share, np.linalg.inv(gram + epsilon**2 * np.eye(gram.shape[-1]))) for share, gram in _grams(weights[layer])
    ]
    return RedundantUnits(*_eliminate(inverses))


def _grams(weight: MeasurableWeight) -> list[tuple[HostArray, HostArray]]:
    """The shares (frequencies,) and Gram matrices (frequencies, groups, units, units) of a weight."""
    kernel, found = weight.kernel, weight.linear_map
    if weight.layout == "dense":
        (kernel,) = weight.pieces().values()
        kernel = kernel.astype(np.float64)
        return [(np.ones(1), (kernel.T @ kernel)[None, None])]
    grams = []
    for band in bands_of(kernel, None, found.strides, found.dilation, found.groups):
        matrices = band.parts[0] if len(band.parts) == 1 else band.parts[0] + 1j * band.parts[1]
        grams.append((band.weights, matrices.conj().swapaxes(-1, -2) @ matrices))
    return grams


def _eliminate(inverses: list[tuple[HostArray, HostArray]]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """Remove the unit that adds least, again and again. The inverse of a minor is a Schur complement."""
    groups, units = inverses[0][1].shape[1:3]
    left = np.ones((groups, units), dtype=bool)
    order, added = [], []
    for _ in range(groups * units):
        values = np.full((groups, units), np.inf)
        values[left] = sum(
            np.tensordot(share, -0.5 * np.log(_diagonal(inverse)[:, left]), 1) for share, inverse in inverses
        )
        group, unit = np.unravel_index(np.argmin(values), values.shape)
        order.append(int(group * units + unit))
        added.append(float(values[group, unit]))
        left[group, unit] = False
        for _, inverse in inverses:
            block = inverse[:, group]
            column = block[:, :, unit] / block[:, unit, unit, None]
            block -= column[:, :, None] * block[:, unit, None, :]
    return tuple(order), tuple(added)


def _diagonal(matrices: HostArray) -> HostArray:
    return np.einsum("fgii->fgi", matrices).real
