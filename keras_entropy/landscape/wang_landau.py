"""The Wang-Landau walk over fixed bins, with the 1/t schedule, and production in rounds at frozen weights.

`init` makes the `State`, and `step` advances it and returns an `Info`. A `State` holds everything that the walk depends
on, so that a walk that was stopped and resumed is bit-identical.

Sources:
    Wang, Landau (2001): Efficient, multiple-range random walk algorithm to calculate the density of states.
    Belardinelli, Pereyra (2007): Fast algorithm to calculate density of states (the 1/t schedule).
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_entropy.landscape import estimators
from keras_entropy.landscape.axis import Bins
from keras_entropy.landscape.samplers.sampler import HMC, Sampler, WalkerInfo, WalkerState, Window, init_at

Array = np.ndarray[Any, Any]

LEARNING, PRODUCTION = "learning", "production"

GROUPS = 32
"""Groups of independent walkers, from which standard errors are estimated. With this number the mean of
(error / estimated error)^2 is 31/29, not 1."""

FIRST_LOG_F, _FLATNESS = 0.01, 0.2
"""First value of log_f, and the share of the mean that all bins of the histogram must reach before log_f is halved."""

_BURST, _CHUNK = 50, 20_000
"""Moves of each walker in one step: of learning, after which the shared weights are updated, and of production."""

ROUNDS = 8
"""Rounds of production. The weights are frozen within a round, and estimated again before the next one from all
proposals so far."""

_OBSERVE_EVERY = 50
"""Moves after which production records the observables."""


@dataclasses.dataclass
class State:
    """Everything that a walk depends on; n is the number of target bins.

    Attributes:
        phase: "learning" while the weights change, then "production".
        moves: Integer. Moves of each walker in this phase.
        log_f: Float. What each visit adds to a log weight.
        log_g: Array (ROUNDS, n), float64. Log weights: of learning in the first row, which stays for the first round of
            production; of a later round in its row.
        recent: Array (n,). Visits since log_f changed.
        proposed: Array (n, ...). Proposals to near bins in all of learning.
        visited: Array (n,). Visits in all of learning.
        walkers: Positions and random states.
        visits: Array (ROUNDS, groups, n). Visits of each round of production, in groups of walkers.
        info: Counts of all rounds, in groups of walkers.
    """

    phase: str
    moves: int
    log_f: float
    log_g: Array
    recent: Array
    proposed: Array
    visited: Array
    visits: Array
    walkers: WalkerState
    info: WalkerInfo


@dataclasses.dataclass(frozen=True)
class Info:
    """What one step did.

    Attributes:
        moves: Integer. Moves of all walkers together.
        visited: Float. Fraction of the target bins visited in this phase, or since log_f changed.
        round_trips: Integer. Round trips so far.
    """

    moves: int
    visited: float
    round_trips: int


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The phases of a walk, and the window that it samples.

    Attributes:
        bins: `Bins`. The axes and their target bins.
        octaves: Integer. See `Window`.
        learning: Integer. Moves of each walker while the weights change.
        production: Integer. Moves of each walker in all rounds of production.
        ends: Two integers. Target bins between which round trips are counted.
        hmc: `HMC`, or None for single-component moves only. Defaults to None.
    """

    bins: Bins
    octaves: int
    learning: int
    production: int
    ends: tuple[int, int]
    hmc: HMC | None = None

    @property
    def bands(self) -> tuple[int, int]:
        """Largest distances along the axes at which proposals are counted."""
        return (3, 0) if len(self.bins.axes) == 1 else (2, 2)

    @property
    def round_ends(self) -> Array:
        """Array (ROUNDS,). Moves of each walker in production at which each round ends."""
        return np.arange(1, ROUNDS + 1) * self.production // ROUNDS

    def window(self, log_g: Array, log_f: float) -> Window:
        """Return the window at these weights."""
        return Window(self.bins, log_g, log_f, self.octaves, self.ends, hmc=self.hmc)


def init(schedule: Schedule, entropy: Array, parameters: Array, random_states: Array, observables: int) -> State:
    """Return the state before the first move.

    Args:
        schedule: Schedule of the walk.
        entropy: Array (n,). Initial log weights.
        parameters: Array (B, d). Positions of the walkers.
        random_states: Array (B, 4). Their random states.
        observables: Integer. Number of observables that production records.
    """
    walkers = init_at(parameters.copy(), random_states)
    groups = min(GROUPS, len(parameters))
    info = WalkerInfo.zeros(groups, schedule.window(entropy, 0.0), observables, schedule.bands)
    recent, visited = (np.zeros(schedule.bins.count, np.int64) for _ in range(2))
    proposed = np.zeros(info.proposals.shape[1:], np.int64)
    log_g = np.zeros((ROUNDS, schedule.bins.count))
    log_g[0] = entropy
    visits = np.zeros((ROUNDS, *info.histogram.shape), np.int64)
    return State(LEARNING, 0, FIRST_LOG_F, log_g, recent, proposed, visited, visits, walkers, info)


def step(sampler: Sampler, schedule: Schedule, state: State) -> Info:
    """Make one burst of learning, or one chunk of a round of production, and change the state in place.

    Raises:
        ValueError: If no walker is in a target bin.
    """
    if state.phase == LEARNING:
        info = _learn(sampler, schedule, state)
        if state.moves >= schedule.learning:
            state.phase, state.moves, state.log_f = PRODUCTION, 0, 0.0
            state.recent[:] = 0
            state.walkers.trips[:] = 0
        return info
    return _produce(sampler, schedule, state)


def is_finished(schedule: Schedule, state: State) -> bool:
    """Return whether the walk has made all its moves."""
    return state.phase == PRODUCTION and state.moves >= schedule.production


def _learn(sampler: Sampler, schedule: Schedule, state: State) -> Info:
    log_g = state.log_g[0]
    window = schedule.window(log_g, state.log_f)
    moves = min(_BURST, schedule.learning - state.moves)
    counted = WalkerInfo.zeros(len(state.walkers.bins), window, 0, schedule.bands)
    sampler.step(state.walkers, window, moves, counted)
    if np.all(state.walkers.bins < 0):
        raise ValueError(
            f"The walkers should start in target bins. Received: {len(state.walkers.bins)} walkers outside of all "
            f"{schedule.bins.count} bins. Start them from parameters that splitting has found, or widen the edges."
        )
    visits = counted.histogram.sum(0)
    state.proposed += counted.proposals.sum(0)
    state.visited += visits
    log_g += state.log_f * visits
    state.recent += visits
    state.moves += moves
    inverse = schedule.bins.count / (state.moves * len(state.walkers.bins))
    if state.log_f > inverse and state.recent.min() > _FLATNESS * state.recent.mean():
        state.log_f /= 2
        state.recent[:] = 0
    state.log_f = max(inverse, state.log_f)
    quarter = 4 * state.moves // schedule.learning
    if quarter > 4 * (state.moves - moves) // schedule.learning:
        # Proposals give the steps between bins long before the walkers have been everywhere.
        near = schedule.bins.neighbours(schedule.bands)
        log_g[:] = estimators.from_proposals(state.proposed, state.visited, near, log_g)
        state.recent[:] = 0
    return _info(state, moves, state.recent)


def _produce(sampler: Sampler, schedule: Schedule, state: State) -> Info:
    ends = schedule.round_ends
    index = int(np.searchsorted(ends, state.moves, side="right"))
    window = schedule.window(state.log_g[index], 0.0)
    moves = min(_CHUNK, int(ends[index]) - state.moves)
    counted = WalkerInfo.zeros(len(state.walkers.bins), window, len(sampler.problem.observables), schedule.bands)
    sampler.step(state.walkers, window, moves, counted, min(_OBSERVE_EVERY, moves))
    counted = counted.sum_groups(len(state.info.histogram))
    state.info.add(counted)
    state.visits[index] += counted.histogram
    state.moves += moves
    if state.moves == ends[index] and index + 1 < ROUNDS:
        near = schedule.bins.neighbours(schedule.bands)
        proposed, visited = state.proposed + state.info.proposals.sum(0), state.visited + state.info.histogram.sum(0)
        state.log_g[index + 1] = estimators.from_proposals(proposed, visited, near, state.log_g[index])
    return _info(state, moves, state.info.histogram.sum(0))


def _info(state: State, moves: int, visits: Array) -> Info:
    return Info(moves * len(state.walkers.bins), float(np.mean(visits > 0)), int(state.walkers.trips[:, 1].sum()))
