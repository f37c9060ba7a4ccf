"""Multilevel splitting: how much of the box lies beyond each threshold, in steps that are easy to count.

Uniform samples are kept where they lie beyond a threshold that a fair share of them has passed, multiplied to their old
number, and moved at random beyond it; the shares multiply. It is the start of a walk, and an estimate by itself.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from typing import Any

import numpy as np

from keras_entropy.landscape.axis import Axis, Bins, bins_of
from keras_entropy.landscape.samplers.sampler import Route, Tally, Walkers, Window, octaves_of, start, values_at

Array = np.ndarray[Any, Any]

KEPT = math.exp(-1)
"""Share of the particles that a level keeps: levels of one nat."""

_LEVELS = 1000

_LOOKS = 8
"""Times at which the positions of a level are noted: who was beyond the next threshold at any of them goes on."""


@dataclasses.dataclass
class Splitting:
    """What splitting has found.

    Attributes:
        bins: the axes, and as targets the bins that were seen.
        entropy: (n,) of the targets, in nats, relative to the whole box.
        parameters: (m, d) of particles in all of them.
        found: (m,) their bins.
        moves: that it took.
    """

    bins: Bins
    entropy: Array
    parameters: Array
    found: Array
    moves: int

    def spread(self, count: int, rng: np.random.Generator) -> Array:
        """(count, d) particles that stand as evenly over the bins as they can, in random order."""
        order = rng.permutation(len(self.found))
        chosen = np.linspace(0, self.bins.count - 1, count).round().astype(int)
        seen: dict[int, list[int]] = {}
        for particle in order:
            seen.setdefault(int(self.found[particle]), []).append(int(particle))
        there = np.array(sorted(seen))
        turns = {bin_: itertools.cycle(particles) for bin_, particles in seen.items()}
        rows = [next(turns[int(there[np.argmin(np.abs(there - bin_))])]) for bin_ in chosen]
        parameters: Array = self.parameters[rng.permutation(rows)]
        return parameters


def find_edges(route: Route, name: str, stop: float, deep: str, particles: int, moves: int, seed: int) -> Axis:
    """Bins of about one nat, from the whole box to the value at which to stop.

    Args:
        route: that moves the particles.
        name: of the observable.
        stop: value of the deepest edge.
        deep: "low" or "high": on which side of it few parameters lie.
        particles: how many.
        moves: of each, for each level.
        seed: of the random numbers.

    Raises:
        RuntimeError: where no particle comes nearer to `stop`.
    """
    sign = 1.0 if deep == "low" else -1.0
    walkers = start(route.problem, particles, seed)
    values = sign * values_at(route.problem, walkers.parameters)[name]
    thresholds: list[float] = []
    top = float(values.max())
    for _ in range(_LEVELS):
        threshold = float(np.quantile(values, KEPT))
        kept = values <= threshold
        if threshold <= sign * stop:
            break
        if kept.all() or (thresholds and threshold >= thresholds[-1]):
            raise RuntimeError(_extinct(name, sign * values.min(), stop, particles, moves))
        thresholds.append(threshold)
        walkers = _multiplied(walkers, kept)
        edges = np.sort(sign * np.array([threshold, threshold + 1.0]))
        bins = bins_of([Axis(name, np.sort([edges[0] - 1, *edges]), deep)])
        beyond = np.arange(2) == (0 if deep == "low" else 1)
        window = Window(Bins(bins.axes, np.where(beyond, 0, -1)), np.zeros(1), octaves=octaves_of(route.problem, name))
        route.advance(walkers, window, moves, Tally.empty(len(walkers.bins), window))
        values = sign * values_at(route.problem, walkers.parameters)[name]
    else:
        raise RuntimeError(_extinct(name, sign * values.min(), stop, particles, moves))
    lowest = min(float(values.min()), sign * stop - 1e-9)
    edges = np.unique([lowest, sign * stop, *thresholds, max(top, thresholds[0] + 1e-9)])
    return Axis(name, np.sort(sign * edges), deep)


def split(route: Route, axes: tuple[Axis, ...], particles: int, moves: int, seed: int) -> Splitting:
    """Entropies of all bins, by splitting along the first axis towards its deep end, and towards the other one.

    Args:
        route: that moves the particles.
        axes: one or two, with edges.
        particles: how many.
        moves: of each, for each level; half of them spread what was multiplied, half are counted.
        seed: of the random numbers.

    Raises:
        RuntimeError: where the particles do not reach the deep end.
    """
    upwards = axes[0].deep == "high"
    down = _Descent(route, axes, upwards, moves, start(route.problem, particles, seed))
    if not down.run():
        reached = float(axes[0].centers[down.rows[down.level]])
        raise RuntimeError(_extinct(axes[0].name, reached, float(axes[0].centers[down.rows[-1]]), particles, moves))
    entropy, pool, spent = down.entropy, down.pool, down.spent
    if not np.isfinite(entropy[down.row == down.rows[0]]).any():  # the other end is not seen from the box itself
        up = _Descent(route, axes, not upwards, moves, start(route.problem, particles, seed + 1))
        up.run()
        entropy = np.where(np.isfinite(entropy), entropy, up.entropy)
        pool, spent = pool + up.pool, spent + up.spent
    targets = np.isfinite(entropy)
    bins = bins_of(axes, targets.reshape([axis.bins for axis in axes]))
    parameters, found = (np.concatenate(part) for part in zip(*pool, strict=True))
    inside = bins.mapping[found] >= 0
    return Splitting(bins, entropy[targets], parameters[inside], bins.mapping[found][inside], spent)


class _Descent:
    """Splitting along the first axis, from the whole box towards one of its ends.

    Args:
        route: that moves the particles.
        axes: of the bins.
        upwards: whether the end is that of high values.
        moves: of each particle, for each level; the first half spreads what was multiplied, the second is counted.
        walkers: the particles, at uniform points.
    """

    def __init__(self, route: Route, axes: tuple[Axis, ...], upwards: bool, moves: int, walkers: Walkers) -> None:
        self._route, self._axes, self._moves, self._walkers = route, axes, moves, walkers
        self._octaves = max(octaves_of(route.problem, axis.name) for axis in axes)
        n0, size = axes[0].bins, int(np.prod([axis.bins for axis in axes]))
        self.rows = np.arange(n0) if upwards else np.arange(n0)[::-1]
        self.row = np.arange(size) // (size // n0)  # of each bin, along the first axis
        self.level, self.spent = 0, 0
        self.entropy = np.full(size, -np.inf)
        self.pool: list[tuple[Array, Array]] = []
        self._seen: list[tuple[Array, Array]] = []  # positions at this level and their bins
        self._reached = 0.0  # log of the share of the box beyond the level

    def run(self) -> bool:
        """Go from level to level; False where no particle passes the next one."""
        last = len(self.rows) - 1
        while True:
            shares = self._shares()
            by_row = np.bincount(self.row, shares)[self.rows]
            passed = np.cumsum(by_row[::-1])[::-1]  # share at each row and beyond
            target = max(int(np.flatnonzero(passed >= KEPT / 2)[-1]), self.level + 1)
            done = target >= last and passed[last] >= KEPT / 2
            taken = np.isin(self.row, self.rows[self.level :] if done else self.rows[self.level : target])
            with np.errstate(divide="ignore"):
                self.entropy[taken] = self._reached + np.log(shares[taken])
            if done:
                return True
            parameters, found = (np.concatenate(part) for part in zip(*self._seen, strict=True))
            kept = np.flatnonzero(np.isin(self.row[found], self.rows[target:]))
            if not len(kept):
                return False
            self._reached += math.log(passed[target])
            self._walkers = _placed(self._walkers, parameters[kept])
            self.level = target

    def _shares(self) -> Array:
        """Of each bin, among what lies beyond the level; the particles are moved for it."""
        beyond = np.isin(self.row, self.rows[self.level :])
        bins = bins_of(self._axes, beyond.reshape([axis.bins for axis in self._axes]))
        window = Window(bins, np.zeros(bins.count), octaves=self._octaves)
        particles, spread = len(self._walkers.bins), self._moves // 2
        self._route.advance(self._walkers, window, spread, Tally.empty(particles, window))
        lost = self._walkers.bins < 0  # by a rounding of what is just beyond the level
        if lost.any() and not lost.all():
            self._walkers = _multiplied(self._walkers, ~lost)
        tally, chosen = Tally.empty(particles, window), np.flatnonzero(beyond)
        counted = max(1, (self._moves - spread) // _LOOKS)
        self._seen = []
        for _ in range(_LOOKS):
            self._route.advance(self._walkers, window, counted, tally)
            self._seen.append((self._walkers.parameters.copy(), chosen[self._walkers.bins]))
        self.spent += (spread + counted * _LOOKS) * particles
        self.pool.append(self._seen[-1])
        shares = np.zeros(len(beyond))
        shares[beyond] = tally.histogram.sum(0) / tally.histogram.sum()
        return shares


def _multiplied(walkers: Walkers, kept: Array) -> Walkers:
    """The kept walkers, as often as all together; each goes on with random numbers of its own."""
    return _placed(walkers, walkers.parameters[kept])


def _placed(walkers: Walkers, parameters: Array) -> Walkers:
    """The walkers at so many positions: at each as often as at the others, or at some of them, evenly chosen."""
    count, given = len(walkers.bins), len(parameters)
    rows = np.arange(count) % given if given <= count else np.arange(count) * given // count
    return Walkers(parameters[rows].copy(), walkers.seeds, np.full(count, -1), walkers.trips.copy())


def _extinct(name: str, reached: float, wanted: float, particles: int, moves: int) -> str:
    return (
        f"Splitting has died out: none of {particles} particles came beyond {name} = {reached:.6g} on the way to "
        f"{wanted:.6g}, with {moves} moves each. Use more `particles` or `split_moves`, or stop at a less deep end."
    )
