"""Walkers of problems that have a kernel: each alone in machine code, changed one component at a time."""

from __future__ import annotations

import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_entropy.landscape.kernels import random_walk
from keras_entropy.landscape.kernels.network_kernel import Kernel
from keras_entropy.landscape.problems.problem import Problem, check_finite
from keras_entropy.landscape.samplers.sampler import Tally, Walkers, Window

Array = np.ndarray[Any, Any]

_REFRESH = 1000
"""Moves after which everything is evaluated anew, so that rounding does not add up."""


class CompiledRoute:
    """Moves each walker by itself, several at a time in threads; the result does not depend on how many.

    Args:
        problem: what is sampled.
        kernel: for the observables of the axes, which are evaluated at each move.
        threads: how many; by default one for each core.
    """

    def __init__(self, problem: Problem, kernel: Kernel, threads: int | None = None) -> None:
        self.problem = problem
        self._kernel = kernel
        self._data = self._kernel.prepare(*problem.data)
        # Kernels count points where an observable is a share of them.
        self._scales = np.array([problem.observables[name].levels or 1 for name in problem.observables], np.float64)
        self._place, self._advance = random_walk.make_place(self._kernel), random_walk.make_advance(self._kernel)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = threads or cores
        self._pool = ThreadPoolExecutor(self._threads)

    def advance(self, walkers: Walkers, window: Window, moves: int, tally: Tally, observe_every: int = 0) -> None:
        """Make so many moves with each walker; walkers and tally are changed in place."""
        count = len(walkers.bins)
        edges = [axis.edges * (self.problem.observables[axis.name].levels or 1) for axis in window.bins.axes]
        second = edges[1] if len(edges) > 1 else np.zeros(0)
        bins, step = window.bins, float(window.step)
        target = random_walk.Target(edges[0], second, bins.mapping, bins.cells, window.log_g, *window.ends, step)
        moved = random_walk.Walkers(
            parameters=walkers.parameters,
            rng=walkers.seeds,
            bins=walkers.bins,
            values=np.zeros((count, 2)),
            work=self._kernel.work(count),
            histogram=tally.histogram,
            proposals=tally.proposals,
            accepted=tally.accepted,
            trips=walkers.trips,
            sums=np.zeros_like(tally.sums),
            squares=np.zeros_like(tally.squares),
            counts=tally.observed,
        )
        if np.any(walkers.bins < 0):
            stood = walkers.bins.copy()
            self._place(moved, target, self._data)
            walkers.bins[:] = np.where(stood < 0, walkers.bins, stood)
        settings = self.problem.half_width, window.log_f, moves, window.octaves, observe_every, _REFRESH
        ends = np.linspace(0, count, min(self._threads, count) + 1).astype(int)
        runs = [
            self._pool.submit(functools.partial(self._advance, moved, target, self._data, *settings, first, last))
            for first, last in itertools.pairwise(ends)
        ]
        for run in runs:
            run.result()
        for axis, values in zip(window.bins.axes, moved.values.T, strict=False):
            check_finite(axis.name, np.all(np.isfinite(values)))
        if observe_every:
            tally.sums += moved.sums / self._scales
            tally.squares += moved.squares / self._scales**2
