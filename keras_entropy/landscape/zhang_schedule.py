"""The schedule of [B] as it was published, to be compared with."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.axis import axis_of, bins_of
from keras_entropy.landscape.pipeline import route_of
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.result import DensityOfStates
from keras_entropy.landscape.samplers.sampler import Tally, Window, start

Array = np.ndarray[Any, Any]

_ADAPT = 1000
_LOW, _HIGH = 0.3, 0.7
_WARNING = (
    "Zhang's schedule adapts its steps while it samples and ends at a finite ln f: its error does not fall below a few "
    "tenths of a nat, however many moves are made, and with few moves it is wrong by hundreds. Use density_of_states."
)


def zhang_schedule(
    problem: Problem,
    axes: Iterable[str] = ("train_accuracy",),
    moves: float = 1e8,
    seed: int = 0,
    *,
    edges: Mapping[str, Any] | None = None,
    stages: int = 10_000,
) -> DensityOfStates:
    """Wang-Landau as [B] describes it, with a warning: for comparisons, not for results.

    One walker; stage n of equal length adds ln f = 5 / (n + 10) for each visit; the step is changed by 10 % after every
    1000 moves, to keep the share of accepted ones between 0.3 and 0.7. The weights at the end are the entropy. [B]
    makes 3.2e6 moves in each of 10,000 stages. A move changes one component, by up to the step.

    Args:
        problem: one with a kernel: a network or an exact problem of this package.
        axes: names of one or two observables.
        moves: in all stages together.
        seed: of the random numbers.
        edges: of the bins, by name; accuracies have one for each value where nothing is given.
        stages: how many.

    Returns:
        A `DensityOfStates` that is never converged, without errors and means.

    Raises:
        TypeError, ValueError: for arguments of another kind, and for an observable without bins.

    Examples:
        >>> import warnings
        >>> from keras_entropy.landscape import ball_problem, exact, zhang_schedule
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")
        ...     edges = {"energy": exact.ball_edges(10, 4)}
        ...     found = zhang_schedule(ball_problem(10), "energy", 1e4, edges=edges, stages=10)
        >>> found.converged
        False
    """
    begin = time.monotonic()
    warnings.warn(_WARNING, _checks.EntropyWarning, stacklevel=2)
    names = (axes,) if isinstance(axes, str) else tuple(axes)
    found = [axis_of(problem, name, edges or {}) for name in names]
    if None in found:
        raise ValueError(f"`edges` should have the bins of {names[found.index(None)]!r}. Received: edges={edges!r}.")
    bins = bins_of(axis for axis in found if axis is not None)
    total = _checks.positive_integer("moves", int(_checks.number("moves", moves)))
    stages = _checks.positive_integer("stages", stages)
    moving = route_of(problem, names, "numba")  # the others keep the weights for the length of a call
    walkers = start(problem, 1, _checks.seed("seed", seed))
    log_g, histogram, accepted = np.zeros(bins.count), np.zeros(bins.count, np.int64), np.zeros(bins.count, np.int64)
    step, since, recent = 1.0, 0, 0
    for stage in range(stages):
        left = total * (stage + 1) // stages - total * stage // stages
        log_f = 5 / (stage + 10)
        while left > 0:
            made = min(left, _ADAPT - since)
            window = Window(bins, log_g, log_f, 0, (bins.count - 1, 0), step)
            tally = Tally.empty(1, window)
            moving.advance(walkers, window, made, tally)
            log_g += log_f * tally.histogram[0]
            histogram += tally.histogram[0]
            accepted += tally.accepted[0]
            left, since, recent = left - made, since + made, recent + int(tally.accepted.sum())
            if since == _ADAPT:
                share, since, recent = recent / since, 0, 0
                step = min(2.0, step * (1.1 if share > _HIGH else 0.9 if share < _LOW else 1.0))
    seen = histogram > 0
    entropy = np.where(seen, log_g, -np.inf)
    entropy -= entropy.max() + math.log(np.exp(entropy - entropy.max()).sum())
    nothing = bins.spread(np.full(bins.count, np.nan), np.nan)
    with np.errstate(invalid="ignore"):
        acceptance = accepted / histogram
    return DensityOfStates(
        problem=problem.name,
        axes=bins.axes,
        entropy=bins.spread(entropy, -np.inf),
        standard_error=nothing,
        visited=bins.spread(seen, False),
        targets=bins.targets,
        histogram=bins.spread(histogram, 0),
        acceptance=bins.spread(acceptance, np.nan),
        round_trips=int(walkers.trips[0, 1]),
        other_entropy=nothing,
        splitting_entropy=nothing,
        moves=total,
        seconds=time.monotonic() - begin,
        converged=False,
        status=f"{_WARNING} The last ln f was {5 / (stages + 9):.2g}.",
        means={},
    )
