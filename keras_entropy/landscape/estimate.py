"""From the counts of production to the result: entropies, standard errors, and checks of convergence."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_entropy.landscape import estimators
from keras_entropy.landscape.axis import Bins
from keras_entropy.landscape.result import ConditionalMean, DensityOfStates
from keras_entropy.landscape.samplers.sampler import WalkerInfo
from keras_entropy.landscape.wang_landau import ROUNDS, Schedule, State

Array = np.ndarray[Any, Any]

_ROUND_TRIPS, _STARVED, _DISAGREEMENT = 20, 0.2, 3.0
"""Least number of round trips, least share of the mean visits of a bin, largest difference of the two estimators in
standard errors."""

_PASSED = "All checks passed: every bin was visited, and the two estimators agree."


def estimate_result(
    problem: str, observables: tuple[str, ...], schedule: Schedule, state: State, splitting: Array, seconds: float
) -> DensityOfStates:
    """Estimate the density of states from a finished walk.

    Args:
        problem: String. Name of the problem.
        observables: Names of the observables that production recorded.
        schedule: Schedule of the walk.
        state: State of the walk.
        splitting: Array (n,). Entropies of the target bins by splitting alone, nats.
        seconds: Float. Wall time of the run.
    """
    bins, info = schedule.bins, state.info
    neighbours = bins.neighbours(schedule.bands)

    # Nothing is known of the entropy of a bin from which no near bin was reached and back.
    linked = estimators.connected(info.proposals.sum(0), neighbours)

    def estimate(part: Array) -> tuple[Array, Array]:
        visits, proposals = part[:, :ROUNDS].T, part[:, ROUNDS:].reshape(neighbours.shape)
        by_visits = estimators.from_histograms(state.log_g, visits)
        found = estimators.from_proposals(proposals, visits.sum(0), neighbours, by_visits)
        found, by_visits = (estimators.normalize(np.where(linked, part, -np.inf)) for part in (found, by_visits))
        return found, by_visits

    def with_difference(part: Array) -> Array:
        found, other = estimate(part)
        return np.stack([found, _difference(found, other)])

    flat = info.proposals.reshape(*info.histogram.shape, -1)
    counts = np.concatenate([np.moveaxis(state.visits, 0, 2), flat], 2)
    histogram = info.histogram.sum(0)
    entropy, other = estimate(counts.sum(0))
    error, difference_error = estimators.jackknife(counts, with_difference)
    round_trips = int(state.walkers.trips[:, 1].sum())
    failures = _failed_checks(histogram, linked, round_trips, _difference(entropy, other), difference_error)
    means = {
        name: ConditionalMean(*(bins.spread(part, np.nan) for part in _conditional_mean(info, i)))
        for i, name in enumerate(observables)
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        acceptance_rate = info.accepted.sum(0) / histogram
    return DensityOfStates(
        problem=problem,
        axes=bins.axes,
        entropy=bins.spread(entropy, -np.inf),
        standard_error=bins.spread(error, np.nan),
        visited=bins.spread((histogram > 0) & linked, False),
        targets=bins.targets,
        histogram=bins.spread(histogram, 0),
        acceptance_rate=bins.spread(acceptance_rate, np.nan),
        round_trips=round_trips,
        histogram_entropy=bins.spread(other, np.nan),
        splitting_entropy=bins.spread(splitting, -np.inf),
        moves=int(histogram.sum()),
        seconds=seconds,
        converged=not failures,
        status=" ".join([*(failures or [_PASSED]), *_remarks(bins)]),
        means=means,
    )


def _conditional_mean(info: WalkerInfo, i: int) -> tuple[Array, Array, Array]:
    """Return mean, standard error and standard deviation (n,) of the observable with index i."""
    sums, observed = info.sums[..., i], info.observed.sum(0)
    error = estimators.jackknife(np.stack([sums, info.observed], 1), lambda part: part[0] / part[1])
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = sums.sum(0) / observed
        deviation = np.sqrt(np.maximum(info.squares[..., i].sum(0) / observed - mean**2, 0.0))
    return mean, error, deviation


def _difference(one: Array, other: Array) -> Array:
    """Return the difference of two entropies, NaN where one is not finite."""
    both = np.isfinite(one) & np.isfinite(other)
    return np.subtract(one, other, out=np.full_like(one, np.nan), where=both)


def _failed_checks(
    histogram: Array, linked: Array, round_trips: int, difference: Array, difference_error: Array
) -> list[str]:
    """Return a sentence for each failed check of convergence, with what to do."""
    failures = []
    empty = int(np.sum(histogram == 0))
    if empty:
        failures.append(f"{empty} of {len(histogram)} target bins were not visited: use more moves.")
    apart = int(np.sum((histogram > 0) & ~linked))
    if apart:
        failures.append(
            f"{apart} of {len(histogram)} target bins were visited, but no moves lead from them to others and back. "
            "Their entropy is unknown: use more moves."
        )
    if round_trips < _ROUND_TRIPS:
        failures.append(
            f"The walkers made {round_trips} round trips, fewer than {_ROUND_TRIPS}: use more moves, or an axis that "
            "ends less deep."
        )
    starved = int(np.sum((histogram > 0) & (histogram < _STARVED * histogram.mean())))
    if starved:
        failures.append(
            f"{starved} bins have fewer than {_STARVED:g} times the mean number of visits, because the weights were "
            "frozen too early: use more moves."
        )
    known = np.isfinite(difference) & (difference_error > 0)
    in_errors = float(np.sqrt(np.mean((difference[known] / difference_error[known]) ** 2))) if known.any() else 0.0
    if in_errors > _DISAGREEMENT:
        failures.append(
            f"The two estimators differ by {in_errors:.1f} standard errors (root mean square; at most "
            f"{np.nanmax(np.abs(difference)):.2g} nats): use more moves."
        )
    return failures


def _remarks(bins: Bins) -> list[str]:
    """Return remarks that no check depends on."""
    missing = int(np.sum(~bins.targets))
    if not missing or len(bins.axes) > 1:  # with two axes, most pairs of values have no parameters
        return []
    return [f"{missing} of {bins.targets.size} bins are not targets: splitting found no parameters there."]
