"""Entropies from what a sampler has counted at frozen weights."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_PULL = 1e-6
"""Weight of a reference, in counts."""


def normalised(entropy: Array) -> Array:
    """Entropies shifted so that their exponentials add up to 1: the whole box has the entropy 0."""
    from scipy.special import logsumexp

    shifted: Array = entropy - logsumexp(entropy)
    return shifted


def from_histogram(log_g: Array, histogram: Array) -> Array:
    """Weights corrected by the visits that they led to; -inf without any.

    Args:
        log_g: (n,) logs of the weights, at which the sampler was frozen.
        histogram: (n,) visits.

    Returns:
        (n,) entropies in nats, normalised.
    """
    with np.errstate(divide="ignore"):
        return normalised(log_g + np.log(histogram))


def from_proposals(proposals: Array, histogram: Array, neighbours: Array, reference: Array) -> Array:
    """Entropies from how often moves between neighbouring bins were proposed, whether accepted or not.

    Proposals are symmetric, and a sampler whose weights depend on the bin alone is uniform within a bin, so the shares
    of proposals obey g_i T_ij = g_j T_ji. Only pairs of near bins with counts both ways are used, by least squares:
    all pairs together are biased, since long jumps towards the large bins are seen and their reverse is not.

    Args:
        proposals: (n, w0, w1) counts from a bin to those near it, itself in the middle.
        histogram: (n,) moves from each bin, those to far bins among them.
        neighbours: (n, w0, w1) the near bins, -1 for none.
        reference: (n,) entropies for bins that no pair connects, relative to the others.

    Returns:
        (n,) entropies in nats, normalised; -inf where `reference` is.
    """
    n = len(histogram)
    flat = proposals.reshape(n, -1)
    i, place = np.nonzero((flat > 0) & (neighbours.reshape(n, -1) >= 0))
    j = neighbours.reshape(n, -1)[i, place]
    there, back = flat[i, place], flat[j, flat.shape[1] - 1 - place]
    both = (back > 0) & (i < j)
    i, j, there, back = i[both], j[both], there[both], back[both]
    step = np.log(there / histogram[i]) - np.log(back / histogram[j])
    weight = 1 / (1 / there + 1 / back)
    matrix, right = np.zeros((n, n)), np.zeros(n)
    for one, other, sign in ((i, j, -1.0), (j, i, 1.0)):
        np.add.at(matrix, (one, one), weight)
        np.add.at(matrix, (one, other), -weight)
        np.add.at(right, one, sign * weight * step)
    known = np.isfinite(reference)
    # A weak pull towards the reference decides where no pair does.
    matrix[known, known] += _PULL
    right[known] += _PULL * reference[known]
    found = np.full(n, -np.inf)
    found[known] = np.linalg.solve(matrix[np.ix_(known, known)], right[known])
    return normalised(found)


def jackknife(counts: Array, estimate: Any) -> Array:
    """Standard errors of an estimate from groups of independent walkers, each left out in turn.

    Args:
        counts: (groups, ...) what each group has counted.
        estimate: function of a sum over groups.

    Returns:
        Standard errors in the shape of the estimate; NaN where leaving a group out leaves nothing.
    """
    groups = len(counts)
    whole = counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.stack([estimate(whole - part) for part in counts])
        spread = np.where(np.isfinite(without), without, np.nan)
        variance = np.mean((spread - spread.mean(0)) ** 2, axis=0) * (groups - 1)
    errors: Array = np.sqrt(variance)
    return errors
