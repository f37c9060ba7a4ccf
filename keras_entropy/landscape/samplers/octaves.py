"""How small the small moves of a window have to be."""

from __future__ import annotations

import dataclasses

import numpy as np

from keras_entropy.landscape.samplers.sampler import Sampler, WalkerInfo, WalkerState, Window

_BEYOND = 1
"""Octaves below the best scale that moves have too: some parameters need smaller moves than most."""

_FOR_LEVELS = 2
MOST = 30
"""Most octaves."""

_MOVES = 5
"""Moves of each walker for each scale that is tried."""


def octaves_of(sampler: Sampler, state: WalkerState, window: Window, guess: int = _BEYOND) -> int:
    """Return `Window.octaves` that suits walkers: one beyond the scale at which accepted moves go the farthest.

    An observable with levels has 2, because its levels are reached by large moves. For others the scale is found by
    trial moves of copies of the walkers, which stay where they are. It is chosen before a walk and kept: a scale that
    follows the acceptance rate during a walk would bias it.

    Args:
        sampler: Sampler of the problem.
        state: The walkers.
        window: What they sample.
        guess: Integer. Octaves to begin the search with. Defaults to 1.
    """
    if all(sampler.problem.observables[axis.name].levels for axis in window.bins.axes):
        return _FOR_LEVELS

    def mean_square(scale: int) -> float:
        copies = WalkerState(*(getattr(state, field.name).copy() for field in dataclasses.fields(state)))
        info = WalkerInfo.zeros(len(state.bins), window)
        sampler.step(copies, dataclasses.replace(window, step_size=2.0**-scale), _MOVES, info)
        return float(np.mean((copies.parameters - state.parameters) ** 2))

    best = min(max(guess - _BEYOND, 0), MOST - _BEYOND)
    gain = mean_square(best)
    for direction in (1, -1):
        while 0 <= best + direction <= MOST - _BEYOND and (found := mean_square(best + direction)) > gain:
            best, gain = best + direction, found
    return best + _BEYOND
