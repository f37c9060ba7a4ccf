"""A sampler for problems with a compiled kernel: each walker moves alone, and a move evaluates what it changes only."""

from __future__ import annotations

import functools
import itertools
import os
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from keras_entropy.landscape.kernels import random_walk
from keras_entropy.landscape.kernels.kernel import Kernel
from keras_entropy.landscape.problems.problem import Problem, check_finite
from keras_entropy.landscape.samplers.sampler import WalkerInfo, WalkerState, Window

Array = np.ndarray[Any, Any]

_REFRESH_EVERY = 1000
"""Moves after which a kernel evaluates everything again, so that rounding errors do not accumulate."""


class NumbaSampler:
    """Moves each walker by itself, several at a time in threads; the result is the same for any number of threads.

    Args:
        problem: Problem that is sampled.
        kernel: Kernel of the problem for the observables of the axes.
        threads: Integer. Number of threads. Defaults to one for each core.
    """

    def __init__(self, problem: Problem, kernel: Kernel, threads: int | None = None) -> None:
        self.problem = problem
        self._kernel = kernel
        self._data = self._kernel.prepare(*problem.data)
        # A kernel counts points where the observable is the share of them.
        self._scales = np.array([problem.observables[name].levels or 1 for name in problem.observables], np.float64)
        self._init, self._step = random_walk.make_init(self._kernel), random_walk.make_step(self._kernel)
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self._threads = threads or cores
        self._pool = ThreadPoolExecutor(self._threads)

    def step(self, state: WalkerState, window: Window, moves: int, info: WalkerInfo, observe_every: int = 0) -> None:
        """Make `moves` moves with each walker; see `Sampler.step`."""
        count, bins = len(state.bins), window.bins
        edges = [axis.edges * (self.problem.observables[axis.name].levels or 1) for axis in bins.axes]
        compiled_window = random_walk.WindowArrays(
            edges[0],
            edges[1] if len(edges) > 1 else np.zeros(0),
            bins.mapping,
            bins.cells,
            window.log_g,
            *window.ends,
            float(window.step_size),
        )
        walkers = random_walk.WalkerArrays(
            parameters=state.parameters,
            random_states=state.random_states,
            bins=state.bins,
            values=np.zeros((count, 2)),
            work=self._kernel.work(count),
            histogram=info.histogram,
            proposals=info.proposals,
            accepted=info.accepted,
            trips=state.trips,
            sums=np.zeros_like(info.sums),
            squares=np.zeros_like(info.squares),
            observed=info.observed,
        )
        if np.any(state.bins < 0):
            old_bins = state.bins.copy()
            self._init(walkers, compiled_window, self._data)
            state.bins[:] = np.where(old_bins < 0, state.bins, old_bins)
        settings = self.problem.half_width, window.log_f, moves, window.octaves, observe_every, _REFRESH_EVERY
        ends = np.linspace(0, count, min(self._threads, count) + 1).astype(int)
        runs = [
            self._pool.submit(
                functools.partial(self._step, walkers, compiled_window, self._data, *settings, first, last)
            )
            for first, last in itertools.pairwise(ends)
        ]
        for run in runs:
            run.result()
        for axis, values in zip(bins.axes, walkers.values.T, strict=False):
            check_finite(axis.name, np.all(np.isfinite(values)))
        if observe_every:
            info.sums += walkers.sums / self._scales
            info.squares += walkers.squares / self._scales**2
