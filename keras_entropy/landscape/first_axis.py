"""What a density of states says along its first axis: a second axis is summed over."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_entropy.landscape.result import DensityOfStates

Array = np.ndarray[Any, Any]


def entropy_along(found: DensityOfStates) -> Array:
    """The entropy of each bin of the first axis, array (n0,), nats; -inf for a bin that was not visited."""
    from scipy.special import logsumexp

    entropies = np.where(found.visited, found.entropy, -np.inf).reshape(found.axes[0].bins, -1)
    whole: Array = logsumexp(entropies, axis=1)
    return whole


def mean_along(found: DensityOfStates, observable: str) -> Array:
    """The mean of an observable over all parameters in each bin of the first axis (Zhang, 2021, eq. 9).

    Returns:
        Array (n0,); NaN for a bin in which the observable was not recorded.
    """
    rows = found.axes[0].bins
    means = found.means[observable].mean.reshape(rows, -1)
    known = np.isfinite(means) & found.visited.reshape(rows, -1)
    entropies = np.where(known, found.entropy.reshape(rows, -1), -np.inf)
    largest = entropies.max(1, keepdims=True)
    weights = np.where(known, np.exp(entropies - np.where(np.isfinite(largest), largest, 0.0)), 0.0)
    with np.errstate(invalid="ignore"):
        mean: Array = (weights * np.where(known, means, 0.0)).sum(1) / weights.sum(1)
    return mean


def deep_bin(found: DensityOfStates) -> int:
    """The bin at the deep end of the first axis, such as that of a training accuracy of 1."""
    axis = found.axes[0]
    return axis.bins - 1 if axis.deep == "high" else 0


def region_of(found: DensityOfStates) -> str:
    """What the bin at the deep end of the first axis is, in words."""
    axis = found.axes[0]
    name = axis.name.replace("_", " ")
    return f"{name} below {axis.edges[1]:.4g}" if axis.deep == "low" else f"{name} of {axis.centers[-1]:.4g}"
