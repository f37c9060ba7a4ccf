"""How walkers are moved: one interface, whatever computes."""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from keras_entropy.landscape.axis import Bins
from keras_entropy.landscape.problems.problem import Problem, checked_values

Array = np.ndarray[Any, Any]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass
class Walkers:
    """Positions and random states of B walkers.

    Attributes:
        parameters: (B, d) float64.
        seeds: (B, 4) uint64, states of random numbers.
        bins: (B,) int64 target bins of the window they are in; -1 for those that `advance` is to place. One that then
            stands in no target bin stays where it is, and at -1.
        trips: (B, 2) int64: the stage of the present round trip, and how many were completed.
    """

    parameters: Array
    seeds: Array
    bins: Array
    trips: Array


@dataclasses.dataclass(frozen=True)
class Trajectories:
    """Which of the moves are Hamiltonian trajectories in the potential of the weights, and how long they are.

    Attributes:
        share: of all moves; the rest change one component.
        leaps: leapfrog steps of each.
    """

    share: float
    leaps: int


@dataclasses.dataclass(frozen=True)
class Window:
    """The bins of a walk and its weights.

    Attributes:
        bins: of the axes; what is no target is a wall.
        log_g: (n,) logs of the weights: a move from i to j is accepted with min(1, exp(log_g[i] - log_g[j])).
        log_f: what each visit adds to the log weight of its bin, for the walker itself until the call ends.
        octaves: of the small moves.
        ends: target bins between which round trips are counted.
        step: above 0, every move changes a component by up to so many half widths, in place of the rule of `Route`.
        trajectories: for a route that has gradients, along an axis whose observable has one.
    """

    bins: Bins
    log_g: Array
    log_f: float = 0.0
    octaves: int = 2
    ends: tuple[int, int] = (0, 0)
    step: float = 0.0
    trajectories: Trajectories | None = None


@dataclasses.dataclass
class Tally:
    """What walkers have counted.

    Attributes:
        histogram: (B, n) visits, counted after each move, accepted or not.
        proposals: (B, n, 2 * band + 1, 2 * band + 1) proposals to near bins, accepted or not, a band for each axis, of
            the moves that are symmetric: those of one component.
        accepted: (B, n) accepted moves, by the bin that was left.
        observed: (B, n) how often observables were noted.
        sums: (B, n, m) of the observables, in the order of the problem.
        squares: of their squares.
    """

    histogram: Array
    proposals: Array
    accepted: Array
    observed: Array
    sums: Array
    squares: Array

    @classmethod
    def empty(cls, walkers: int, window: Window, observables: int = 0, bands: tuple[int, int] = (0, 0)) -> Tally:
        """Zeros, with room for proposals to bins at most `bands` apart along the axes."""
        n = window.bins.count
        integers = [
            np.zeros((walkers, *rest), np.int64) for rest in ((n,), (n, *(2 * band + 1 for band in bands)), (n,), (n,))
        ]
        return cls(*integers, *(np.zeros((walkers, n, observables)) for _ in range(2)))

    def grouped(self, groups: int) -> Tally:
        """Added up over groups of neighbouring walkers."""
        parts = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return Tally(*(np.stack([piece.sum(0) for piece in np.array_split(part, groups)]) for part in parts))


class Route(Protocol):
    """Moves walkers of one problem.

    A move changes one component: half of the moves redraw it in the box, half add half_width * 2**-o * u with u uniform
    on (-1, 1) and o uniform on 0..octaves. What lies outside of the box, or in no target bin, is rejected and counted.
    A share of `Window.trajectories` is Hamiltonian trajectories, which bounce off the walls of the box. Nothing adapts.
    """

    problem: Problem

    def advance(self, walkers: Walkers, window: Window, moves: int, tally: Tally, observe_every: int = 0) -> None:
        """Make so many moves with each walker; walkers and tally are changed in place."""


def octaves_of(problem: Problem, name: str) -> int:
    """Few where the observable is a plateau function, more where it has a slope to be resolved."""
    return 6 if problem.observables[name].levels is None else 2


def values_at(problem: Problem, parameters: Array) -> dict[str, Array]:
    """All observables, (B,) each, at parameters (B, d)."""
    columns = np.ascontiguousarray(parameters.T)
    return checked_values(problem, problem.energy(columns), len(parameters))


def start(problem: Problem, count: int, seed: int) -> Walkers:
    """Walkers at uniform points of the box."""
    rng = np.random.default_rng([seed, 1])
    parameters = rng.uniform(-problem.half_width, problem.half_width, (count, problem.dimension))
    return Walkers(parameters, seed_states(seed, count), np.full(count, -1), np.zeros((count, 2), np.int64))


def seed_states(seed: int, count: int) -> Array:
    """(count, 4) states of xoshiro256++: successive outputs of splitmix64, so that no two walkers share any."""
    begin = _mixed(np.array([seed % 2**64], np.uint64))
    return _mixed(begin + np.arange(1, 4 * count + 1, dtype=np.uint64) * _GOLDEN).reshape(count, 4)


def _mixed(x: Array) -> Array:
    """The output function of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = x ^ (x >> np.uint64(31))
    return mixed
