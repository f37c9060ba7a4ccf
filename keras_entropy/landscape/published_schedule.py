"""The published schedule of Zhang (2021), for comparison.

Sources:
    Zhang (2021): Correlation between entropy and generalizability in a neural network.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.axis import Bins, axis_names, axis_of, bins_of
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.result import DensityOfStates
from keras_entropy.landscape.samplers.sampler import WalkerInfo, Window, init
from keras_entropy.landscape.samplers.selection import select_sampler

Array = np.ndarray[Any, Any]

_ADAPT_EVERY = 1000
_LOW, _HIGH = 0.3, 0.7
_WARNING = (
    "Zhang's schedule adapts its step size while it samples and ends at a finite ln f. Its error does not fall below a "
    "few tenths of a nat with any number of moves, and with few moves it is hundreds of nats. Use density_of_states."
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
    """Estimate the entropy with the schedule of Zhang (2021), with a warning: for comparison, not for results.

    There is one walker. In stage n each visit adds ln f = 5 / (n + 10); all stages have the same length. A move changes
    one component by up to the step size, which changes by 10 % after every 1000 moves to keep the acceptance rate
    between 0.3 and 0.7. The final weights are the entropy. The paper makes 3.2e6 moves in each of 10,000 stages.

    Args:
        problem: `Problem` with a compiled kernel: a network or an exact problem of this package.
        axes: One or two names of observables. Defaults to `("train_accuracy",)`.
        moves: Float. Number of moves in all stages together. Defaults to 1e8.
        seed: Integer. Seed of the random numbers. Defaults to 0.
        edges: Mapping from names of observables to increasing edges of bins. Without edges, an accuracy has one bin for
            each value. Defaults to None.
        stages: Integer. Number of stages. Defaults to 10,000.

    Returns:
        A `DensityOfStates` that is never converged, without standard errors and means.

    Raises:
        TypeError, ValueError: For invalid arguments, and for an observable without bins.
        ModuleNotFoundError: If Numba is not installed.

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
    names = axis_names(problem, axes)
    warnings.warn(_WARNING, _checks.EntropyWarning, stacklevel=2)
    found = [axis_of(problem, name, edges or {}) for name in names]
    if None in found:
        raise ValueError(f"`edges` should have the bins of {names[found.index(None)]!r}. Received: edges={edges!r}.")
    bins = bins_of(axis for axis in found if axis is not None)
    total = _checks.moves(moves)
    stages = _checks.positive_integer("stages", stages)
    sampler = select_sampler(problem, names, "numba")  # the others do not change the weights within a call
    walkers = init(problem, 1, _checks.seed("seed", seed))
    log_g, histogram, accepted = np.zeros(bins.count), np.zeros(bins.count, np.int64), np.zeros(bins.count, np.int64)
    step_size, since, recent = 1.0, 0, 0
    for stage in range(stages):
        left = total * (stage + 1) // stages - total * stage // stages
        log_f = 5 / (stage + 10)
        while left > 0:
            moves_now = min(left, _ADAPT_EVERY - since)
            window = Window(bins, log_g, log_f, 0, (bins.count - 1, 0), step_size)
            info = WalkerInfo.zeros(1, window)
            sampler.step(walkers, window, moves_now, info)
            log_g += log_f * info.histogram[0]
            histogram += info.histogram[0]
            accepted += info.accepted[0]
            left, since, recent = left - moves_now, since + moves_now, recent + int(info.accepted.sum())
            if since == _ADAPT_EVERY:
                rate, since, recent = recent / since, 0, 0
                step_size = min(2.0, step_size * (1.1 if rate > _HIGH else 0.9 if rate < _LOW else 1.0))
    status = f"{_WARNING} The last ln f was {5 / (stages + 9):.2g}."
    trips = int(walkers.trips[0, 1])
    return _result(problem, bins, log_g, histogram, accepted, trips, time.monotonic() - begin, status)


def _result(
    problem: Problem,
    bins: Bins,
    log_g: Array,
    histogram: Array,
    accepted: Array,
    trips: int,
    seconds: float,
    status: str,
) -> DensityOfStates:
    """Return the result of final weights (n,) and counts (n,)."""
    visited = histogram > 0
    entropy = np.where(visited, log_g, -np.inf)
    entropy -= entropy.max() + math.log(np.exp(entropy - entropy.max()).sum())
    unknown = bins.spread(np.full(bins.count, np.nan), np.nan)
    with np.errstate(invalid="ignore"):
        acceptance_rate = accepted / histogram
    return DensityOfStates(
        problem=problem.name,
        axes=bins.axes,
        entropy=bins.spread(entropy, -np.inf),
        standard_error=unknown,
        visited=bins.spread(visited, False),
        targets=bins.targets,
        histogram=bins.spread(histogram, 0),
        acceptance_rate=bins.spread(acceptance_rate, np.nan),
        round_trips=trips,
        histogram_entropy=unknown,
        splitting_entropy=unknown,
        moves=int(histogram.sum()),
        seconds=seconds,
        converged=False,
        status=status,
        means={},
    )
