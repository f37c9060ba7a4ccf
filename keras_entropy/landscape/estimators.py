"""Estimators of the entropy from the counts of a sampler at frozen weights."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_REFERENCE_WEIGHT = 1e-6
"""Weight of the reference in `from_proposals`, in counts."""


_ITERATIONS, _TOLERANCE = 1000, 1e-6
"""Most iterations of `from_histograms`, and the change in nats at which they end."""


def normalize(entropy: Array) -> Array:
    """Shift entropies so that their exponentials sum to 1: the entropy of the whole box is 0."""
    from scipy.special import logsumexp

    shifted: Array = entropy - logsumexp(entropy)
    return shifted


def from_histograms(log_g: Array, histograms: Array) -> Array:
    """Estimate entropies from the visits of several rounds, each at its own weights (Ferrenberg and Swendsen, 1989).

    The visits of a round are in proportion to exp(entropy - log_g) times a constant of the round. Both are found
    together, by iteration. One round needs none.

    Args:
        log_g: Array (rounds, n). Log weights, at which the sampler was frozen in each round.
        histograms: Array (rounds, n). Visits. A round without visits does not count.

    Returns:
        Array (n,) of entropies in nats, normalized; -inf for a bin without visits.
    """
    from scipy.special import logsumexp

    used = histograms.sum(1) > 0
    log_g, histograms = log_g[used], histograms[used]
    with np.errstate(divide="ignore"):
        log_visits, log_moves = np.log(histograms.sum(0)), np.log(histograms.sum(1))
    entropy = normalize(log_visits + log_g.mean(0))
    for _ in range(_ITERATIONS):
        constants = logsumexp(entropy - log_g, axis=1)
        found = normalize(log_visits - logsumexp((log_moves - constants)[:, None] - log_g, axis=0))
        change = np.abs(np.where(np.isfinite(entropy), found - np.where(np.isfinite(entropy), entropy, 0.0), 0.0)).max()
        entropy = found
        if change < _TOLERANCE:
            break
    return entropy


def from_proposals(proposals: Array, histogram: Array, neighbours: Array, reference: Array) -> Array:
    """Estimate entropies from the moves that were proposed between near bins, accepted or rejected.

    Proposals are symmetric, and the sampler is uniform within a bin because its weights depend on the bin alone. So the
    probabilities T of proposals obey detailed balance, g_i T_ij = g_j T_ji, which is solved by weighted least squares.
    Only pairs of near bins with counts in both directions are used. The whole matrix would be biased: long jumps to the
    large bins are counted, and their rare reverse moves are not.

    Args:
        proposals: Array (n, w0, w1). Counts from each bin to the bins near it, itself in the middle.
        histogram: Array (n,). All moves from each bin, also to far bins.
        neighbours: Array (n, w0, w1). Near bins of each bin, -1 for none.
        reference: Array (n,). Entropies of bins that no pair connects, relative to the others.

    Returns:
        Array (n,) of entropies in nats, normalized; -inf where `reference` is -inf.
    """
    n = len(histogram)
    i, j, there, back = _pairs(proposals, neighbours)
    step = np.log(there / histogram[i]) - np.log(back / histogram[j])
    weight = 1 / (1 / there + 1 / back)
    matrix, right = np.zeros((n, n)), np.zeros(n)
    for one, other, sign in ((i, j, -1.0), (j, i, 1.0)):
        np.add.at(matrix, (one, one), weight)
        np.add.at(matrix, (one, other), -weight)
        np.add.at(right, one, sign * weight * step)
    known = np.isfinite(reference)
    # A small weight of the reference decides where no pair does.
    matrix[known, known] += _REFERENCE_WEIGHT
    right[known] += _REFERENCE_WEIGHT * reference[known]
    found = np.full(n, -np.inf)
    found[known] = np.linalg.solve(matrix[np.ix_(known, known)], right[known])
    return normalize(found)


def connected(proposals: Array, neighbours: Array) -> Array:
    """Return which bins (n,) pairs with counts in both directions connect with most others; see `from_proposals`."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    n = len(proposals)
    i, j, _, _ = _pairs(proposals, neighbours)
    _, component = connected_components(coo_array((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)
    most: Array = component == np.bincount(component).argmax()
    return most


def _pairs(proposals: Array, neighbours: Array) -> tuple[Array, Array, Array, Array]:
    """Return pairs of near bins i < j that have counts in both directions, and these counts."""
    n = len(proposals)
    flat = proposals.reshape(n, -1)
    i, place = np.nonzero((flat > 0) & (neighbours.reshape(n, -1) >= 0))
    j = neighbours.reshape(n, -1)[i, place]
    there, back = flat[i, place], flat[j, flat.shape[1] - 1 - place]
    both = (back > 0) & (i < j)
    return i[both], j[both], there[both], back[both]


def jackknife(counts: Array, estimate: Any) -> Array:
    """Estimate standard errors by leaving out each group of independent walkers in turn.

    Args:
        counts: Array (groups, ...). Counts of each group.
        estimate: Function of the counts summed over groups.

    Returns:
        Standard errors in the shape of the estimate; NaN if the estimate is not finite without one of the groups.
    """
    groups = len(counts)
    whole = counts.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        without = np.stack([estimate(whole - part) for part in counts])
        spread = np.where(np.isfinite(without), without, np.nan)
        variance = np.mean((spread - spread.mean(0)) ** 2, axis=0) * (groups - 1)
    errors: Array = np.sqrt(variance)
    return errors
