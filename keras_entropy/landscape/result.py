"""What a run has found: the entropy of each bin, how sure it is, and whether it may be believed."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_entropy import _checks, _files
from keras_entropy.landscape import estimators
from keras_entropy.landscape.axis import Axis, Bins

Array = np.ndarray[Any, Any]

SCHEMA = "keras-entropy/density-of-states/1"
GROUPS = 32
"""Of independent walkers, from which errors are estimated: with so few of them (error / its estimate)^2 is 31/29 on
average, not 1."""

_ROUND_TRIPS, _STARVED, _DISAGREE = 20, 0.2, 3.0


@dataclasses.dataclass(frozen=True)
class Counts:
    """What production has counted, by groups of walkers.

    Attributes:
        log_g: (n,) logs of the frozen weights.
        histogram: (groups, n) visits.
        proposals: (groups, n, ...) proposals to near bins.
        neighbours: (n, ...) what bins these are.
        accepted: (n,) accepted moves from each bin.
        round_trips: over all walkers.
        observed: (groups, n) how often observables were noted.
        sums: name -> (groups, n) sums of an observable; squares: the same of its square.
        squares: of it.
    """

    log_g: Array
    histogram: Array
    proposals: Array
    neighbours: Array
    accepted: Array
    round_trips: int
    observed: Array
    sums: dict[str, Array]
    squares: dict[str, Array]


@dataclasses.dataclass(frozen=True)
class DensityOfStates:
    """Entropy S = ln(V_bin / V_box) of the bins of one or two observables [B, eq. 8]; the whole box has 0.

    Arrays have the shape of the bins, (n,) or (n0, n1).

    Attributes:
        problem: its name.
        axes: the bins.
        entropy: nats; -inf where a bin was not visited.
        standard_error: nats, by leaving out each of 32 groups of independent walkers in turn; NaN where not visited.
        visited: bins that production has seen.
        targets: bins that were fixed to be sampled, before it began.
        histogram: visits in production.
        acceptance: share of accepted moves by bin.
        round_trips: from the largest bin to the deep end and back, over all walkers.
        other_entropy: by a second estimator: the first one goes by proposals between near bins, this one by visits.
        splitting_entropy: by splitting alone, independent of the walk.
        moves: of production.
        seconds: of wall time, whole.
        converged: whether nothing speaks against it.
        status: in words: what speaks against it and what to do.
    """

    problem: str
    axes: tuple[Axis, ...]
    entropy: Array
    standard_error: Array
    visited: Array
    targets: Array
    histogram: Array
    acceptance: Array
    round_trips: int
    other_entropy: Array
    splitting_entropy: Array
    moves: int
    seconds: float
    converged: bool
    status: str
    means: dict[str, tuple[Array, Array, Array]]

    def conditional_mean(self, name: str) -> tuple[Array, Array, Array]:
        """Mean of an observable over all parameters of a bin [B, eq. 9].

        Args:
            name: of the observable.

        Returns:
            Mean, its standard error, and the standard deviation within the bin; NaN where nothing was noted.

        Raises:
            ValueError: for an observable that was not noted.
        """
        return self.means[_checks.one_of("name", name, tuple(self.means))]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write everything to a JSON file, whole or not at all."""
        record: dict[str, Any] = {"schema": SCHEMA}
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            record[field.name] = value.tolist() if isinstance(value, np.ndarray) else value
        record["axes"] = [{"name": a.name, "edges": a.edges.tolist(), "deep": a.deep} for a in self.axes]
        record["means"] = {name: [part.tolist() for part in parts] for name, parts in self.means.items()}
        _files.write_text(path, json.dumps(_files.strict(record)) + "\n")

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DensityOfStates:
        """Read what `save` wrote.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: for a file that is no density of states, or of another version.
        """
        try:
            record = json.loads(Path(path).read_text(encoding="utf-8"))
            if not isinstance(record, dict) or record.pop("schema", None) != SCHEMA:
                raise TypeError(f"its schema is not {SCHEMA!r}")
            axes = tuple(Axis(axis["name"], np.array(axis["edges"]), axis["deep"]) for axis in record.pop("axes"))
            shape = tuple(axis.bins for axis in axes)
            means = {name: tuple(map(_numbers, parts)) for name, parts in record.pop("means").items()}
            arrays = {name: _numbers(value) for name, value in record.items() if isinstance(value, list)}
            for array in (*arrays.values(), *(part for parts in means.values() for part in parts)):
                if array.shape != shape:
                    raise TypeError(f"it has an array of shape {array.shape} for bins of shape {shape}")
            return cls(**{**record, **arrays}, axes=axes, means=means)  # type: ignore[arg-type]
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            what = f"{error} is missing" if isinstance(error, KeyError) else error
            raise ValueError(f"{path} is no density of states: {what}. Write one with DensityOfStates.save.") from error


def _numbers(values: Any) -> Array:
    """An array as it was: flags and counts as such, all else as float64, also what stands there as text."""
    found = np.asarray(values)
    return found if found.dtype.kind in "bi" else np.array(values, np.float64)


def assemble(problem: str, bins: Bins, counts: Counts, splitting: Array, seconds: float) -> DensityOfStates:
    """Entropies, errors and a verdict from what production has counted.

    Args:
        problem: its name.
        bins: that were sampled.
        counts: of production.
        splitting: (n,) entropies of the target bins by splitting alone.
        seconds: of wall time.
    """

    def by_visits(part: Array) -> Array:
        return estimators.from_histogram(counts.log_g, part[:, -1])

    def by_proposals(part: Array) -> Array:
        proposals = part[:, :-1].reshape(counts.neighbours.shape)
        return estimators.from_proposals(proposals, part[:, -1], counts.neighbours, by_visits(part))

    flat = counts.proposals.reshape(*counts.histogram.shape, -1)
    both = np.concatenate([flat, counts.histogram[..., None]], 2)
    histogram = counts.histogram.sum(0)
    entropy, other = by_proposals(both.sum(0)), by_visits(both.sum(0))

    def with_difference(part: Array) -> Array:
        found = by_proposals(part)
        return np.stack([found, _apart(found, by_visits(part))])

    error, spread = estimators.jackknife(both, with_difference)
    sure = np.isfinite(entropy) & np.isfinite(other) & (spread > 0)
    difference = 0.0
    if sure.any():
        difference = float(np.sqrt(np.mean((_apart(entropy, other)[sure] / spread[sure]) ** 2)))
    reasons = _reasons(histogram, counts, entropy, other, difference)
    said = reasons or ["Nothing speaks against it: all bins visited, estimators agree."]
    means = {}
    observed = counts.observed.sum(0)
    for name, sums in counts.sums.items():
        both = np.stack([sums, counts.observed], 1)
        mean_error = estimators.jackknife(both, lambda part: part[0] / part[1])
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = sums.sum(0) / observed
            deviation = np.sqrt(np.maximum(counts.squares[name].sum(0) / observed - mean**2, 0.0))
        means[name] = tuple(bins.spread(part, np.nan) for part in (mean, mean_error, deviation))
    with np.errstate(invalid="ignore", divide="ignore"):
        acceptance = counts.accepted / histogram
    return DensityOfStates(
        problem=problem,
        axes=bins.axes,
        entropy=bins.spread(entropy, -np.inf),
        standard_error=bins.spread(error, np.nan),
        visited=bins.spread(histogram > 0, False),
        targets=bins.targets,
        histogram=bins.spread(histogram, 0),
        acceptance=bins.spread(acceptance, np.nan),
        round_trips=counts.round_trips,
        other_entropy=bins.spread(other, np.nan),
        splitting_entropy=bins.spread(splitting, -np.inf),
        moves=int(histogram.sum()),
        seconds=seconds,
        converged=not reasons,
        status=" ".join([*said, *_remarks(bins)]),
        means=means,  # type: ignore[arg-type]
    )


def _remarks(bins: Bins) -> list[str]:
    """What a reader should know of a run that may be right."""
    missing = int(np.sum(~bins.targets))
    if not missing or len(bins.axes) > 1:  # with two axes most pairs have no parameters
        return []
    return [f"{missing} of {bins.targets.size} bins were no targets: no particle of splitting came there."]


def _apart(one: Array, other: Array) -> Array:
    """The difference of two entropies; NaN where one is not finite."""
    both = np.isfinite(one) & np.isfinite(other)
    return np.subtract(one, other, out=np.full_like(one, np.nan), where=both)


def _reasons(histogram: Array, counts: Counts, entropy: Array, other: Array, in_errors: float) -> list[str]:
    """What speaks against a run, each with what to do."""
    found = []
    empty = int(np.sum(histogram == 0))
    if empty:
        found.append(f"{empty} of {len(histogram)} target bins were not visited: use more moves.")
    if counts.round_trips < _ROUND_TRIPS:
        found.append(
            f"Only {counts.round_trips} round trips, of at least {_ROUND_TRIPS}: use more moves, or stop at a less "
            "deep end."
        )
    starved = int(np.sum((histogram > 0) & (histogram < _STARVED * histogram.mean())))
    if starved:
        found.append(
            f"{starved} bins have less than {_STARVED:g} of the mean number of visits: the weights were frozen too "
            "early. Use more moves."
        )
    if in_errors > _DISAGREE:
        found.append(
            f"The two estimators differ by {in_errors:.1f} standard errors (root mean square; at most "
            f"{np.nanmax(np.abs(_apart(entropy, other))):.2g} nats): use more moves."
        )
    return found
