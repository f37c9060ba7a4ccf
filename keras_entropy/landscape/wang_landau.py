"""Wang-Landau with 1/t over fixed bins, then production at frozen weights; with a state that can be kept."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from keras_entropy.landscape import estimators
from keras_entropy.landscape.axis import Bins
from keras_entropy.landscape.result import GROUPS, Counts
from keras_entropy.landscape.samplers.sampler import Route, Tally, Trajectories, Walkers, Window

Array = np.ndarray[Any, Any]

LEARNING, PRODUCTION = "learning", "production"

_FIRST_LOG_F, _FLAT = 0.01, 0.2
_BURST, _CHUNK = 50, 20_000
"""Moves of a walker between two looks at the common weights, and between two looks at the checkpoint."""

_OBSERVE_EVERY = 50


@dataclasses.dataclass
class State:
    """Everything that a walk depends on.

    Attributes:
        phase: "learning" of the weights, then "production".
        moves: made in this phase by each walker.
        log_f: what a visit adds to a weight.
        log_g: (n,) logs of the weights, float64.
        recent: (n,) visits since log_f was changed.
        proposed: (n, ...) proposals to near bins, of all of learning.
        visited: (n,) visits of all of learning.
        walkers: their positions and random states.
        tally: of production, by groups.
    """

    phase: str
    moves: int
    log_f: float
    log_g: Array
    recent: Array
    proposed: Array
    visited: Array
    walkers: Walkers
    tally: Tally


@dataclasses.dataclass(frozen=True)
class Info:
    """What one step did.

    Attributes:
        moves: of all walkers together.
        visited: share of the target bins seen since the phase, or the present log_f, began.
        round_trips: so far.
    """

    moves: int
    visited: float
    round_trips: int


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long each phase is, in moves of each walker, and what is walked over.

    Attributes:
        bins: the axes and their target bins.
        octaves: of small moves.
        learning: moves of each walker with changing weights.
        production: with frozen ones.
        ends: target bins of a round trip.
        trajectories: which moves go along the gradient; None for none.
    """

    bins: Bins
    octaves: int
    learning: int
    production: int
    ends: tuple[int, int]
    trajectories: Trajectories | None = None


def init(plan: Plan, entropy: Array, parameters: Array, seeds: Array, observables: int) -> State:
    """The state before the first move.

    Args:
        plan: of the walk.
        entropy: (n,) first guess of the weights.
        parameters: (B, d) of the walkers.
        seeds: (B, 4) of their random numbers.
        observables: how many are noted.
    """
    count = len(parameters)
    walkers = Walkers(parameters.copy(), seeds, np.full(count, -1), np.zeros((count, 2), np.int64))
    tally = Tally.empty(min(GROUPS, count), _window(plan, entropy, 0.0), observables, bands(plan))
    recent, visited = (np.zeros(plan.bins.count, np.int64) for _ in range(2))
    proposed = np.zeros(tally.proposals.shape[1:], np.int64)
    return State(LEARNING, 0, _FIRST_LOG_F, entropy.astype(np.float64), recent, proposed, visited, walkers, tally)


def step(route: Route, plan: Plan, state: State) -> Info:
    """Go on by one burst of learning, or by one chunk of production; the state is changed in place.

    Raises:
        ValueError: where no walker stands in a target bin.
    """
    if state.phase == LEARNING:
        info = _learn(route, plan, state)
        if state.moves >= plan.learning:
            state.phase, state.moves, state.log_f = PRODUCTION, 0, 0.0
            state.recent[:] = 0
            state.walkers.trips[:] = 0
        return info
    return _produce(route, plan, state)


def ended(plan: Plan, state: State) -> bool:
    """Whether no move is left."""
    return state.phase == PRODUCTION and state.moves >= plan.production


def counts(route: Route, plan: Plan, state: State) -> Counts:
    """What production has counted."""
    names = list(route.problem.observables)
    tally = state.tally
    return Counts(
        log_g=state.log_g,
        histogram=tally.histogram,
        proposals=tally.proposals,
        neighbours=plan.bins.neighbours(bands(plan)),
        accepted=tally.accepted.sum(0),
        round_trips=int(state.walkers.trips[:, 1].sum()),
        observed=tally.observed,
        sums={name: tally.sums[..., i] for i, name in enumerate(names)},
        squares={name: tally.squares[..., i] for i, name in enumerate(names)},
    )


def _learn(route: Route, plan: Plan, state: State) -> Info:
    window = _window(plan, state.log_g, state.log_f)
    moves = min(_BURST, plan.learning - state.moves)
    tally = Tally.empty(len(state.walkers.bins), window, 0, bands(plan))
    route.advance(state.walkers, window, moves, tally)
    if np.all(state.walkers.bins < 0):
        raise ValueError(
            f"The walkers should start in target bins. Received: {len(state.walkers.bins)} walkers outside of all "
            f"{plan.bins.count} bins. Start from parameters that splitting has found, or widen the edges."
        )
    visits = tally.histogram.sum(0)
    state.proposed += tally.proposals.sum(0)
    state.visited += visits
    state.log_g += state.log_f * visits
    state.recent += visits
    state.moves += moves
    inverse = plan.bins.count / (state.moves * len(state.walkers.bins))
    if state.log_f > inverse and state.recent.min() > _FLAT * state.recent.mean():
        state.log_f /= 2
        state.recent[:] = 0
    state.log_f = max(inverse, state.log_f)
    quarter = 4 * state.moves // plan.learning
    if quarter > 4 * (state.moves - moves) // plan.learning:
        # Proposals know the steps between bins long before walkers have been everywhere.
        near = plan.bins.neighbours(bands(plan))
        state.log_g = estimators.from_proposals(state.proposed, state.visited, near, state.log_g)
        state.recent[:] = 0
    return _info(state, moves, state.recent)


def _produce(route: Route, plan: Plan, state: State) -> Info:
    window = _window(plan, state.log_g, 0.0)
    moves = min(_CHUNK, plan.production - state.moves)
    tally = Tally.empty(len(state.walkers.bins), window, len(route.problem.observables), bands(plan))
    route.advance(state.walkers, window, moves, tally, _OBSERVE_EVERY)
    grouped = tally.grouped(len(state.tally.histogram))
    for field in dataclasses.fields(Tally):
        getattr(state.tally, field.name).__iadd__(getattr(grouped, field.name))
    state.moves += moves
    return _info(state, moves, state.tally.histogram.sum(0))


def _info(state: State, moves: int, visits: Array) -> Info:
    return Info(moves * len(state.walkers.bins), float(np.mean(visits > 0)), int(state.walkers.trips[:, 1].sum()))


def _window(plan: Plan, log_g: Array, log_f: float) -> Window:
    return Window(plan.bins, log_g, log_f, plan.octaves, plan.ends, trajectories=plan.trajectories)


def bands(plan: Plan) -> tuple[int, int]:
    """Distances along the axes up to which proposals are counted."""
    return (3, 0) if len(plan.bins.axes) == 1 else (2, 2)
