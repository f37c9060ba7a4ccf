"""A sampler for any energy function: one move of all walkers at a time, evaluated together."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_entropy._backend import to_host
from keras_entropy.landscape.problems.problem import Problem, check_finite, checked_values
from keras_entropy.landscape.samplers.sampler import WalkerInfo, WalkerState, Window, evaluate, random_states

Array = np.ndarray[Any, Any]

_BLOCK = 50
"""Moves for which random numbers are drawn at once."""


class NumpySampler:
    """Evaluates the whole energy for each move of all walkers together.

    The weights do not change within a call: with `log_f` above 0, make few moves per call.

    Args:
        problem: Problem whose energy takes NumPy arrays.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def step(self, state: WalkerState, window: Window, moves: int, info: WalkerInfo, observe_every: int = 0) -> None:
        """Make `moves` moves with each walker; see `Sampler.step`."""
        names = [axis.name for axis in window.bins.axes]
        values = evaluate(self.problem, state.parameters)
        found = window.bins.index([values[name] for name in names])
        state.bins[:] = np.where(state.bins < 0, found, state.bins)
        parameters = np.ascontiguousarray(state.parameters.T)
        for begin in range(0, moves, _BLOCK):
            count = min(_BLOCK, moves - begin)
            draws = _draw(state, window, self.problem, count)
            for move, (component, redraw, change, chance) in enumerate(zip(*draws, strict=True), begin + 1):
                self._move(state, window, info, parameters, names, component, redraw, change, chance)
                if observe_every and move % observe_every == 0:
                    self._observe(state, info, parameters)
        state.parameters[:] = parameters.T

    def _move(
        self,
        state: WalkerState,
        window: Window,
        info: WalkerInfo,
        parameters: Array,
        names: list[str],
        component: Array,
        redraw: Array,
        change: Array,
        chance: Array,
    ) -> None:
        everyone = np.arange(len(component))
        old_bins, old, cells = state.bins, parameters[component, everyone], window.bins.cells
        if self.problem.values:
            possible = np.array(self.problem.values)
            new = possible[(np.searchsorted(possible, old) + change) % len(possible)]
        else:
            new = np.where(redraw, 0.0, old) + change
        inside = np.abs(new) <= self.problem.half_width
        parameters[component, everyone] = np.where(inside, new, old)
        values = self.problem.energy(parameters)
        along = [to_host(values[name]) for name in names]
        for name, value in zip(names, along, strict=True):
            check_finite(name, np.all(np.isfinite(value)))
        found = window.bins.index(along)
        found = np.where(inside, found, -1)
        placed, taken = old_bins >= 0, np.where(found >= 0, found, old_bins)
        bands = np.array(info.proposals.shape[2:]) // 2
        shift = cells[taken] - cells[old_bins] + bands
        near = placed & np.all((shift >= 0) & (shift <= 2 * bands), 1)
        np.add.at(info.proposals, (everyone[near], old_bins[near], *shift[near].T), 1)
        with np.errstate(over="ignore"):
            accepted = placed & (found >= 0) & (chance < np.exp(window.log_g[old_bins] - window.log_g[taken]))
        info.accepted[everyone[accepted], old_bins[accepted]] += 1
        parameters[component, everyone] = np.where(accepted, new, old)
        state.bins = np.where(accepted, taken, old_bins)
        info.histogram[everyone, state.bins] += placed
        _count_trips(state, window)

    def _observe(self, state: WalkerState, info: WalkerInfo, parameters: Array) -> None:
        placed = np.flatnonzero(state.bins >= 0)
        place = placed, state.bins[placed]
        values = checked_values(self.problem, self.problem.energy(parameters), len(state.bins))
        recorded = np.stack([values[name] for name in self.problem.observables], 1)[placed]
        info.observed[place] += 1
        info.sums[place] += recorded
        info.squares[place] += recorded**2


def _count_trips(state: WalkerState, window: Window) -> None:
    """Count the walkers that have come from the first end to the second one and back."""
    first, last = window.ends
    stage, trips = state.trips.T
    back = (state.bins == first) & (stage != 1)
    trips += back & (stage == 2)
    state.trips[:, 0] = np.where(back, 1, np.where((state.bins == last) & (stage == 1), 2, stage))


def _draw(state: WalkerState, window: Window, problem: Problem, moves: int) -> tuple[Array, Array, Array, Array]:
    """Draw component, whether it is redrawn, change and chance of each move; the random states advance.

    The change of a parameter that takes certain values only is a number of places in the circle of its values.
    """
    rng = np.random.Generator(np.random.Philox(key=state.random_states[0, :2]))
    shape = moves, len(state.bins)
    component = rng.integers(0, state.parameters.shape[1], shape)
    redraw = (rng.random(shape) < 0.5) & (window.step_size == 0)
    scale = np.where(redraw, 1.0, window.step_size or 2.0 ** -rng.integers(0, window.octaves + 1, shape))
    change: Array
    if problem.values:
        change = rng.integers(1, len(problem.values), shape)
    else:
        change = problem.half_width * scale * rng.uniform(-1.0, 1.0, shape)
    state.random_states[:] = random_states(int(state.random_states[0, 2]), len(state.bins))
    return component, redraw, change, rng.random(shape)
