"""Entropies from what a sampler has counted at frozen weights."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


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


def from_proposals(proposals: Array, histogram: Array, reference: Array) -> Array:
    """Entropies from how often moves between neighbouring bins were proposed, whether accepted or not.

    Proposals are symmetric, and a sampler whose weights depend on the bin alone is uniform within a bin, so the shares
    of proposals obey g_i T_ij = g_j T_ji. Only pairs of near bins with counts both ways are used, by least squares:
    all pairs together are biased, since long jumps towards the large bins are seen and their reverse is not.

    Args:
        proposals: (n, 2 * band + 1) counts from a bin to the bins at a distance of -band to band.
        histogram: (n,) moves from each bin, those to far bins among them.
        reference: (n,) entropies for bins that no pair connects, relative to the others.

    Returns:
        (n,) entropies in nats, normalised; -inf where `reference` is.
    """
    n, width = proposals.shape
    band = width // 2
    totals = np.maximum(histogram, 1)
    rows, right, weights = [], [], []
    for distance in range(1, band + 1):
        i = np.arange(n - distance)
        j = i + distance
        there, back = proposals[i, band + distance], proposals[j, band - distance]
        both = (there > 0) & (back > 0)
        i, j, there, back = i[both], j[both], there[both], back[both]
        rows.append(np.stack([i, j], 1))
        right.append(np.log(there / totals[i]) - np.log(back / totals[j]))
        weights.append(1 / np.sqrt(1 / there + 1 / back))
    pairs, steps, weight = np.concatenate(rows), np.concatenate(right), np.concatenate(weights)
    matrix = np.zeros((len(pairs) + n, n))
    matrix[np.arange(len(pairs)), pairs[:, 0]] = -weight
    matrix[np.arange(len(pairs)), pairs[:, 1]] = weight
    known = np.isfinite(reference)
    # A weak pull towards the reference decides where no pair does.
    matrix[len(pairs) :][known, known.nonzero()[0]] = 1e-4
    wanted = np.concatenate([steps * weight, np.where(known, reference, 0.0) * 1e-4])
    found = np.linalg.lstsq(matrix, wanted, rcond=None)[0]
    return normalised(np.where(known, found, -np.inf))


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
