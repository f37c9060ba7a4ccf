"""Walkers of any energy function: one move of all of them at a time, evaluated together."""

from __future__ import annotations

from typing import Any

import numpy as np

from keras_entropy._backend import to_host
from keras_entropy.landscape.problems.problem import Problem, check_finite, checked_values
from keras_entropy.landscape.samplers.sampler import Tally, Walkers, Window, seed_states, values_at

Array = np.ndarray[Any, Any]

_BLOCK = 50


class GeneralRoute:
    """Evaluates the whole energy for each move of all walkers together, with NumPy.

    Within a call the weights are those of its begin: a walk with `log_f` above 0 is to be called for few moves.

    Args:
        problem: with an energy of NumPy arrays.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem

    def advance(self, walkers: Walkers, window: Window, moves: int, tally: Tally, observe_every: int = 0) -> None:
        """Make so many moves with each walker; walkers and tally are changed in place."""
        names = [axis.name for axis in window.bins.axes]
        values = values_at(self.problem, walkers.parameters)
        found = window.bins.index([values[name] for name in names])
        walkers.bins[:] = np.where(walkers.bins < 0, found, walkers.bins)
        parameters = np.ascontiguousarray(walkers.parameters.T)
        for begin in range(0, moves, _BLOCK):
            count = min(_BLOCK, moves - begin)
            draws = _draw(walkers, window, self.problem.half_width, count)
            for move, (component, redraw, step, chance) in enumerate(zip(*draws, strict=True), begin + 1):
                self._move(walkers, window, tally, parameters, names, component, redraw, step, chance)
                if observe_every and move % observe_every == 0:
                    self._observe(walkers, tally, parameters)
        walkers.parameters[:] = parameters.T

    def _move(
        self,
        walkers: Walkers,
        window: Window,
        tally: Tally,
        parameters: Array,
        names: list[str],
        component: Array,
        redraw: Array,
        step: Array,
        chance: Array,
    ) -> None:
        everyone = np.arange(len(component))
        old_bins, old, cells = walkers.bins, parameters[component, everyone], window.bins.cells
        new = np.where(redraw, 0.0, old) + step
        inside = np.abs(new) <= self.problem.half_width
        parameters[component, everyone] = np.where(inside, new, old)
        values = self.problem.energy(parameters)
        along = [to_host(values[name]) for name in names]
        for name, value in zip(names, along, strict=True):
            check_finite(name, np.all(np.isfinite(value)))
        found = window.bins.index(along)
        found = np.where(inside, found, -1)
        taken = np.where(found >= 0, found, old_bins)
        bands = np.array(tally.proposals.shape[2:]) // 2
        shift = cells[taken] - cells[old_bins] + bands
        near = np.all((shift >= 0) & (shift <= 2 * bands), 1)
        np.add.at(tally.proposals, (everyone[near], old_bins[near], *shift[near].T), 1)
        with np.errstate(over="ignore"):
            accepted = (found >= 0) & (chance < np.exp(window.log_g[old_bins] - window.log_g[taken]))
        tally.accepted[everyone[accepted], old_bins[accepted]] += 1
        parameters[component, everyone] = np.where(accepted, new, old)
        walkers.bins = np.where(accepted, taken, old_bins)
        tally.histogram[everyone, walkers.bins] += 1
        count_trips(walkers, window)

    def _observe(self, walkers: Walkers, tally: Tally, parameters: Array) -> None:
        everyone = np.arange(len(walkers.bins))
        values = checked_values(self.problem, self.problem.energy(parameters), len(walkers.bins))
        noted = np.stack([values[name] for name in self.problem.observables], 1)
        tally.observed[everyone, walkers.bins] += 1
        tally.sums[everyone, walkers.bins] += noted
        tally.squares[everyone, walkers.bins] += noted**2


def count_trips(walkers: Walkers, window: Window) -> None:
    """Count who has come from the first end to the second one and back."""
    first, last = window.ends
    stage, trips = walkers.trips.T
    back = (walkers.bins == first) & (stage != 1)
    trips += back & (stage == 2)
    walkers.trips[:, 0] = np.where(back, 1, np.where((walkers.bins == last) & (stage == 1), 2, stage))


def _draw(walkers: Walkers, window: Window, half_width: float, moves: int) -> tuple[Array, Array, Array, Array]:
    """Component, whether it is redrawn, step and chance for each move of each walker; the random states move on."""
    rng = np.random.Generator(np.random.Philox(key=walkers.seeds[0, :2]))
    shape = moves, len(walkers.bins)
    component = rng.integers(0, walkers.parameters.shape[1], shape)
    redraw = (rng.random(shape) < 0.5) & (window.step == 0)
    scale = np.where(redraw, 1.0, window.step or 2.0 ** -rng.integers(0, window.octaves + 1, shape))
    step = half_width * scale * rng.uniform(-1.0, 1.0, shape)
    walkers.seeds[:] = seed_states(int(walkers.seeds[0, 2]), len(walkers.bins))
    return component, redraw, step, rng.random(shape)
