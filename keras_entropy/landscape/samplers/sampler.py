"""What all samplers share: the state of the walkers, what they count, and the window that they sample.

A sampler moves walkers through the box of a problem. It knows the problem by its energy function alone: it knows no
network, and it reads and writes no file.
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

import numpy as np

from keras_entropy.landscape.axis import Bins
from keras_entropy.landscape.problems.problem import Problem, checked_values, drawn_parameters

Array = np.ndarray[Any, Any]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@dataclasses.dataclass
class WalkerState:
    """Positions and random states of B walkers: everything that the next move depends on.

    Attributes:
        parameters: Array (B, d), float64. Positions in the box.
        random_states: Array (B, 4), uint64. States of the random number generators.
        bins: Array (B,), int64. Target bin of each walker. At -1, `step` finds the bin of the walker's position; a
            walker that is in no target bin stays where it is, and its bin stays -1.
        trips: Array (B, 2), int64. Stage of the current round trip, and number of completed round trips.
    """

    parameters: Array
    random_states: Array
    bins: Array
    trips: Array


@dataclasses.dataclass
class WalkerInfo:
    """What walkers count while they move: diagnostics that no move depends on.

    B is the number of walkers (or of groups of walkers), n the number of target bins, m the number of observables.

    Attributes:
        histogram: Array (B, n), int64. Visits of each bin, counted after each move, accepted or rejected.
        proposals: Array (B, n, 2 * band + 1, 2 * band + 1), int64, one band for each axis. Proposed moves from each bin
            to the bins near it, accepted or rejected. Only single-component moves, which are symmetric, are counted.
        accepted: Array (B, n), int64. Accepted moves, by the bin that the walker left.
        observed: Array (B, n), int64. How often the observables were recorded in each bin.
        sums: Array (B, n, m), float64. Sums of the recorded observables, in the order of the problem.
        squares: Array (B, n, m), float64. Sums of their squares.
    """

    histogram: Array
    proposals: Array
    accepted: Array
    observed: Array
    sums: Array
    squares: Array

    @classmethod
    def zeros(cls, walkers: int, window: Window, observables: int = 0, bands: tuple[int, int] = (0, 0)) -> WalkerInfo:
        """Create counters at 0, with room for proposals to bins at most `bands` apart along the axes."""
        n = window.bins.count
        widths = [2 * band + 1 for band in bands]
        integers = [np.zeros((walkers, *rest), np.int64) for rest in ((n,), (n, *widths), (n,), (n,))]
        return cls(*integers, *(np.zeros((walkers, n, observables)) for _ in range(2)))

    def sum_groups(self, groups: int) -> WalkerInfo:
        """Return the counts summed over `groups` groups of neighbouring walkers."""
        parts = [getattr(self, field.name) for field in dataclasses.fields(self)]
        return WalkerInfo(*(np.stack([piece.sum(0) for piece in np.array_split(part, groups)]) for part in parts))

    def add(self, other: WalkerInfo) -> None:
        """Add the counts of another info of the same shapes, in place."""
        for field in dataclasses.fields(self):
            getattr(self, field.name).__iadd__(getattr(other, field.name))


@dataclasses.dataclass(frozen=True)
class HMC:
    """Hamiltonian Monte Carlo among the moves.

    Attributes:
        fraction: Float. Fraction of the moves that are Hamiltonian trajectories; the others change one component.
        num_leapfrog_steps: Integer. Leapfrog steps of each trajectory.
    """

    fraction: float
    num_leapfrog_steps: int


@dataclasses.dataclass(frozen=True)
class Window:
    """The distribution that walkers sample, and how they propose moves.

    Attributes:
        bins: `Bins`. Walkers stay in the target bins; all other bins are a wall.
        log_g: Array (n,). Log weights of the target bins: a move from bin i to bin j is accepted with probability
            min(1, exp(log_g[i] - log_g[j])).
        log_f: Float. What each visit adds to the log weight of its bin, for this walker and until the call ends.
            Defaults to 0.
        octaves: Integer. Small moves have scales of 1, 1/2, ..., 2**-octaves half widths. Defaults to 2.
        ends: Two integers. Target bins between which round trips are counted.
        step_size: Float, in half widths. Above 0, every move changes one component by up to `step_size`, and none
            redraws it. Defaults to 0: the moves of `Sampler`.
        hmc: `HMC`, or None for single-component moves only. HMC needs a sampler with gradients and one axis whose
            observable has a gradient. Defaults to None.
    """

    bins: Bins
    log_g: Array
    log_f: float = 0.0
    octaves: int = 2
    ends: tuple[int, int] = (0, 0)
    step_size: float = 0.0
    hmc: HMC | None = None


class Sampler(Protocol):
    """Moves the walkers of one problem.

    A move changes one component. Half of the moves redraw it uniformly in the box; the other half add
    half_width * 2**-o * u, with u uniform on (-1, 1) and o uniform on 0, 1, ..., octaves. If a component can take
    certain values only, a move gives it another of these. A proposal outside of the box or of all target bins is
    rejected and counted as a visit of the old bin. With `Window.hmc`, a fraction of the moves are Hamiltonian
    trajectories, which are reflected at the walls of the box. Nothing adapts while it samples.
    """

    problem: Problem

    def step(self, state: WalkerState, window: Window, moves: int, info: WalkerInfo, observe_every: int = 0) -> None:
        """Make `moves` moves with each walker, and change `state` and `info` in place.

        Args:
            state: The walkers.
            window: What they sample.
            moves: Moves of each walker.
            info: Counters; the counts of this call are added.
            observe_every: Record all observables after every so many moves. Defaults to 0: never.
        """


def init(problem: Problem, walkers: int, seed: int) -> WalkerState:
    """Draw walkers uniformly in the box."""
    rng = np.random.default_rng([seed, 1])
    parameters = drawn_parameters(problem, rng, (walkers, problem.dimension))
    return init_at(parameters, random_states(seed, walkers))


def init_at(parameters: Array, states: Array) -> WalkerState:
    """Place walkers at parameters (B, d), with random states (B, 4); `Sampler.step` finds their bins."""
    count = len(parameters)
    return WalkerState(parameters, states, np.full(count, -1), np.zeros((count, 2), np.int64))


def evaluate(problem: Problem, parameters: Array) -> dict[str, Array]:
    """Return all observables, (B,) each, at parameters (B, d)."""
    columns = np.ascontiguousarray(parameters.T)
    return checked_values(problem, problem.energy(columns), len(parameters))


def random_states(seed: int, walkers: int) -> Array:
    """Return (walkers, 4) states of xoshiro256++.

    They are successive outputs of splitmix64, so that no two walkers share a word.
    """
    begin = _splitmix64(np.array([seed % 2**64], np.uint64))
    return _splitmix64(begin + np.arange(1, 4 * walkers + 1, dtype=np.uint64) * _GOLDEN).reshape(walkers, 4)


def _splitmix64(x: Array) -> Array:
    """Apply the output function of splitmix64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: Array = x ^ (x >> np.uint64(31))
    return mixed
