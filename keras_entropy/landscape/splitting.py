"""Multilevel splitting: the fraction of the box beyond each threshold, in steps that are easy to count.

Start from uniform samples. Keep the particles beyond a threshold that a fair fraction of them has passed, multiply them
to the old number, move them at random beyond the threshold, and repeat; the fractions multiply. The result is the start
of a Wang-Landau walk, and an independent estimate.

Sources:
    Kahn, Harris (1951): Estimation of particle transmission by random sampling.
    Au, Beck (2001): Estimation of small failure probabilities in high dimensions by subset simulation.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape.axis import Axis, Bins, bins_of
from keras_entropy.landscape.samplers.octaves import octaves_of
from keras_entropy.landscape.samplers.sampler import (
    Sampler,
    WalkerInfo,
    WalkerState,
    Window,
    evaluate,
    init,
    init_at,
)

Array = np.ndarray[Any, Any]

_KEPT = math.exp(-1)
"""Fraction of the particles that a level keeps, so that a level is one nat."""

_MAX_LEVELS = 1000

_SNAPSHOTS = 8
"""Times at which the positions of a level are stored. Each stored position beyond the next threshold is kept."""


@dataclasses.dataclass
class Splitting:
    """The result of splitting.

    Attributes:
        bins: `Bins`. The axes; the targets are the bins that particles have visited.
        entropy: Array (n,), nats. Entropies of the target bins; the entropy of the whole box is 0.
        parameters: Array (m, d). Particles in all target bins.
        found: Array (m,). Target bins of the particles.
        moves: Integer. Moves of all particles.
        octaves: Integer. `Window.octaves` that suits the deep end.
    """

    bins: Bins
    entropy: Array
    parameters: Array
    found: Array
    moves: int
    octaves: int

    def select(self, count: int, rng: np.random.Generator) -> Array:
        """Return (count, d) particles, spread over the bins as evenly as possible, in random order."""
        order = rng.permutation(len(self.found))
        chosen = np.linspace(0, self.bins.count - 1, count).round().astype(int)
        by_bin: dict[int, list[int]] = {}
        for particle in order:
            by_bin.setdefault(int(self.found[particle]), []).append(int(particle))
        filled = np.array(sorted(by_bin))
        turns = {bin_: itertools.cycle(particles) for bin_, particles in by_bin.items()}
        rows = [next(turns[int(filled[np.argmin(np.abs(filled - bin_))])]) for bin_ in chosen]
        parameters: Array = self.parameters[rng.permutation(rows)]
        return parameters


def find_axis(sampler: Sampler, name: str, target: float, particles: int, moves: int, seed: int) -> Axis:
    """Find bins of about one nat, from the whole box to a target value.

    Args:
        sampler: Sampler that moves the particles.
        name: String. Name of the observable.
        target: Float. Value of the deepest edge.
        particles: Integer. Number of particles.
        moves: Integer. Moves of each particle at each level.
        seed: Integer. Seed of the random numbers.

    Raises:
        ValueError: If a fair fraction of the box lies beyond `target`, which then needs no splitting.
        RuntimeError: If no particle comes closer to `target`.
    """
    deep = sampler.problem.observables[name].deep
    sign = 1.0 if deep == "low" else -1.0
    walkers = init(sampler.problem, particles, seed)
    values = sign * evaluate(sampler.problem, walkers.parameters)[name]
    thresholds: list[float] = []
    top, octaves = float(values.max()), 0
    for _ in range(_MAX_LEVELS):
        threshold = float(np.quantile(values, _KEPT))
        kept = values <= threshold
        if threshold <= sign * target:
            if not thresholds:
                raise ValueError(_not_deep(name, sign * threshold, target))
            if len(thresholds) > 1 and np.mean(values <= sign * target) > math.sqrt(_KEPT):
                thresholds.pop()  # else the bin above the target is much narrower than the others
            break
        if kept.all() or (thresholds and threshold >= thresholds[-1]):
            raise RuntimeError(_died_out(name, sign * values.min(), target, particles, moves))
        thresholds.append(threshold)
        walkers = _multiplied(walkers, walkers.parameters[kept])
        window = _beyond(name, sign, threshold, deep)
        octaves = octaves_of(sampler, walkers, window, octaves)
        window = dataclasses.replace(window, octaves=octaves)
        sampler.step(walkers, window, moves, WalkerInfo.zeros(len(walkers.bins), window))
        values = sign * evaluate(sampler.problem, walkers.parameters)[name]
    else:
        raise RuntimeError(_died_out(name, sign * values.min(), target, particles, moves))
    lowest = min(float(values.min()), sign * target - 1e-9)
    edges = np.unique([lowest, sign * target, *thresholds, max(top, thresholds[0] + 1e-9)])
    return Axis(name, np.sort(sign * edges), deep)


def _beyond(name: str, sign: float, threshold: float, deep: str) -> Window:
    """Return the window of the values beyond a threshold, at flat weights."""
    edges = np.sort(sign * np.array([threshold, threshold + 1.0]))
    bins = bins_of([Axis(name, np.sort([edges[0] - 1, *edges]), deep)])
    beyond = np.arange(2) == (0 if deep == "low" else 1)
    return Window(Bins(bins.axes, np.where(beyond, 0, -1)), np.zeros(1))


def split(sampler: Sampler, axes: tuple[Axis, ...], particles: int, moves: int, seed: int) -> Splitting:
    """Estimate the entropies of all bins, by splitting along the first axis to its deep end, and to the other end.

    Args:
        sampler: Sampler that moves the particles.
        axes: One or two axes.
        particles: Integer. Number of particles.
        moves: Integer. Moves of each particle at each level: half to spread the multiplied particles, half to count.
        seed: Integer. Seed of the random numbers.

    Raises:
        RuntimeError: If no particle reaches the deep end.
    """
    upwards = axes[0].deep == "high"
    down = _Descent(sampler, axes, upwards, moves, init(sampler.problem, particles, seed))
    if not down.run():
        reached = float(axes[0].centers[down.rows[down.level]])
        raise RuntimeError(_died_out(axes[0].name, reached, float(axes[0].centers[down.rows[-1]]), particles, moves))
    entropy, pool, spent = down.entropy, down.pool, down.spent
    if not np.isfinite(entropy[down.row == down.rows[0]]).any():  # uniform samples do not reach the other end
        up = _Descent(sampler, axes, not upwards, moves, init(sampler.problem, particles, seed + 1))
        up.run()
        entropy = np.where(np.isfinite(entropy), entropy, up.entropy)
        pool, spent = pool + up.pool, spent + up.spent
    targets = np.isfinite(entropy)
    bins = bins_of(axes, targets.reshape([axis.bins for axis in axes]))
    parameters, found = (np.concatenate(part) for part in zip(*pool, strict=True))
    inside = bins.mapping[found] >= 0
    return Splitting(bins, entropy[targets], parameters[inside], bins.mapping[found][inside], spent, down.octaves)


class _Descent:
    """Splitting along the first axis, from the whole box to one of its ends.

    Args:
        sampler: Sampler that moves the particles.
        axes: Axes of the bins.
        upwards: Whether the end is that of high values.
        moves: Moves of each particle at each level: half to spread the multiplied particles, half to count.
        walkers: The particles, at uniform points.
    """

    def __init__(
        self, sampler: Sampler, axes: tuple[Axis, ...], upwards: bool, moves: int, walkers: WalkerState
    ) -> None:
        self._sampler, self._axes, self._moves, self._walkers = sampler, axes, moves, walkers
        n0, size = axes[0].bins, int(np.prod([axis.bins for axis in axes]))
        self.rows = np.arange(n0) if upwards else np.arange(n0)[::-1]
        self.row = np.arange(size) // (size // n0)  # of each bin, along the first axis
        self.level, self.spent, self.octaves = 0, 0, 0
        self.entropy = np.full(size, -np.inf)
        self.pool: list[tuple[Array, Array]] = []
        self._snapshots: list[tuple[Array, Array]] = []  # positions at this level and their bins
        self._log_fraction = 0.0  # log of the fraction of the box beyond the level

    def run(self) -> bool:
        """Go from level to level, and return False if no particle passes the next threshold."""
        last = len(self.rows) - 1
        while True:
            shares = self._shares()
            by_row = np.bincount(self.row, shares)[self.rows]
            passed = np.cumsum(by_row[::-1])[::-1]  # share of each row and all rows beyond
            target = max(int(np.flatnonzero(passed >= _KEPT / 2)[-1]), self.level + 1)
            done = target >= last and passed[last] >= _KEPT / 2
            taken = np.isin(self.row, self.rows[self.level :] if done else self.rows[self.level : target])
            with np.errstate(divide="ignore"):
                self.entropy[taken] = self._log_fraction + np.log(shares[taken])
            if done:
                return True
            parameters, found = (np.concatenate(part) for part in zip(*self._snapshots, strict=True))
            kept = np.flatnonzero(np.isin(self.row[found], self.rows[target:]))
            if not len(kept):
                return False
            self._log_fraction += math.log(passed[target])
            self._walkers = _multiplied(self._walkers, parameters[kept])
            self.level = target

    def _shares(self) -> Array:
        """Move the particles beyond the level, and return the share of each bin there."""
        beyond = np.isin(self.row, self.rows[self.level :])
        bins = bins_of(self._axes, beyond.reshape([axis.bins for axis in self._axes]))
        window = Window(bins, np.zeros(bins.count))
        self.octaves = octaves_of(self._sampler, self._walkers, window, self.octaves)
        window = dataclasses.replace(window, octaves=self.octaves)
        particles, spread = len(self._walkers.bins), self._moves // 2
        self._sampler.step(self._walkers, window, spread, WalkerInfo.zeros(particles, window))
        lost = self._walkers.bins < 0  # by rounding, just beyond the level
        if lost.any() and not lost.all():
            self._walkers = _multiplied(self._walkers, self._walkers.parameters[~lost])
        info, chosen = WalkerInfo.zeros(particles, window), np.flatnonzero(beyond)
        counted = max(1, (self._moves - spread) // _SNAPSHOTS)
        self._snapshots = []
        for _ in range(_SNAPSHOTS):
            self._sampler.step(self._walkers, window, counted, info)
            self._snapshots.append((self._walkers.parameters.copy(), chosen[self._walkers.bins]))
        self.spent += (spread + counted * _SNAPSHOTS) * particles
        self.pool.append(self._snapshots[-1])
        shares = np.zeros(len(beyond))
        shares[beyond] = info.histogram.sum(0) / info.histogram.sum()
        return shares


def _multiplied(walkers: WalkerState, parameters: Array) -> WalkerState:
    """Return all walkers, with their own random states, at the given positions, each used about equally often."""
    count, given = len(walkers.bins), len(parameters)
    rows = np.arange(count) % given if given <= count else np.arange(count) * given // count
    return init_at(parameters[rows].copy(), walkers.random_states)


def _not_deep(name: str, threshold: float, target: float) -> str:
    return _checks.message(
        "target_loss",
        f"deeper than {threshold:.6g}, the {name!r} that {_KEPT:.0%} of the box reach",
        target,
        "Take a deeper value, or give the bins as `edges`.",
    )


def _died_out(name: str, reached: float, wanted: float, particles: int, moves: int) -> str:
    return (
        f"Splitting has died out at {name} = {reached:.6g} on the way to {wanted:.6g}: none of {particles} particles "
        f"went further in {moves} moves. Use more `particles` or `split_moves`, or an axis that ends less deep."
    )
