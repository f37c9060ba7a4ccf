"""The compiled random walk: single-component moves in a box, weighted by the bin of one or two observables."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from keras_entropy.landscape.kernels.kernel import Kernel

_U64 = np.uint64


class WalkerArrays(NamedTuple):
    """State and counts of B walkers, with n target bins and m observables."""

    parameters: NDArray[np.float64]  # (B, d)
    random_states: NDArray[np.uint64]  # (B, 4)
    bins: NDArray[np.int64]  # (B,) target bins, set by `init`
    values: NDArray[np.float64]  # (B, 2) the observables of the axes
    work: NDArray[Any]  # (B, words)
    histogram: NDArray[np.int64]  # (B, n)
    proposals: NDArray[np.int64]  # (B, n, 2 * band + 1, 2 * band + 1), a band for each axis
    accepted: NDArray[np.int64]  # (B, n)
    trips: NDArray[np.int64]  # (B, 2) stage of the current round trip, and completed round trips
    sums: NDArray[np.float64]  # (B, n, m)
    squares: NDArray[np.float64]  # (B, n, m)
    observed: NDArray[np.int64]  # (B, n)


class WindowArrays(NamedTuple):
    """The bins of the axes and the weights of the target bins."""

    edges0: NDArray[np.float64]
    edges1: NDArray[np.float64]  # empty with one axis
    mapping: NDArray[np.int64]  # flat index of the bins of the axes -> target bin, or -1
    cells: NDArray[np.int64]  # (n, 2) index of each target bin along the axes
    log_g: NDArray[np.float64]  # (n,)
    first: int  # target bins between which round trips are counted
    last: int
    step_size: float = 0.0  # see `samplers.Window`


@njit(error_model="numpy", forceinline=True)
def next_state(state: Any) -> Any:
    """Return 64 random bits of xoshiro256++ and advance the state, four words."""
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    result = ((total << _U64(23)) | (total >> _U64(41))) + s0
    shifted = s1 << _U64(17)
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= shifted
    s3 = (s3 << _U64(45)) | (s3 >> _U64(19))
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return result


@njit(error_model="numpy", forceinline=True)
def unit_uniform(bits: Any) -> float:
    """Convert random bits to a number in [0, 1)."""
    return float(np.int64(bits >> _U64(11))) * 2.0**-53


@njit(error_model="numpy", forceinline=True)
def cell_of(edges: Any, value: float) -> int:
    """Return `searchsorted(edges, value, side="right") - 1`, clamped to the bins.

    Equally spaced edges need no search.
    """
    cells = len(edges) - 1
    if cells < 2:
        return 0
    if not value < edges[cells - 1]:  # also NaN
        return cells - 1
    if value < edges[1]:
        return 0
    guess = int((value - edges[0]) * (cells / (edges[cells] - edges[0])))
    guess = min(max(guess, 1), cells - 2)
    if edges[guess] <= value < edges[guess + 1]:
        return guess
    low, high = 1, cells - 1  # edges[low] <= value < edges[high]
    while high - low > 1:
        middle = (low + high) // 2
        if value >= edges[middle]:
            low = middle
        else:
            high = middle
    return low


@njit(error_model="numpy", forceinline=True)
def target_bin(window: Any, a: float, b: float) -> int:
    """Return the target bin of the values of the axes, -1 if there is none."""
    cell = cell_of(window.edges0, a)
    if len(window.edges1) > 2:
        cell = cell * (len(window.edges1) - 1) + cell_of(window.edges1, b)
    found: int = window.mapping[cell]
    return found


@njit(error_model="numpy")
def count_trip(trips: Any, bin_: int, window: Any) -> None:
    """Update the stage: 1 at the first end, 2 at the last end after it. Back at the first end, a trip is complete."""
    if bin_ == window.first and trips[0] != 1:
        trips[1] += trips[0] >> 1
        trips[0] = 1
    elif bin_ == window.last and trips[0] == 1:
        trips[0] = 2


@functools.cache
def make_init(kernel: Kernel) -> Any:
    """Compile `init(walkers, window, data)`, which loads the parameters of the walkers and sets bins and values."""
    load_kernel = kernel.load

    @njit(nogil=True, error_model="numpy")
    def init(walkers: Any, window: Any, data: Any) -> None:
        for b in range(len(walkers.bins)):
            first, second = load_kernel(walkers.parameters[b], data, walkers.work[b])
            walkers.values[b, 0], walkers.values[b, 1] = first, second
            walkers.bins[b] = target_bin(window, first, second)

    return init


@functools.cache
def make_step(kernel: Kernel) -> Any:  # noqa: PLR0915 - the loop is one function
    """Compile the walk of a kernel.

    `step(walkers, window, data, half_width, log_f, moves, octaves, observe_every, refresh_every, first, last)` makes
    `moves` moves with each of the walkers `first`, ..., `last - 1`; see `samplers.Sampler` for the moves. The log
    weights are `log_g` plus `log_f` for each visit in the walker's own row of `histogram`.

    The arrays of the walkers are changed in place, and counts are added to them. `init` must have set the bins; a
    walker with bin -1 stays where it is. A proposal outside the box or the target bins counts in `proposals` as a move
    from the bin to itself. `observe_every` and `refresh_every` may be 0: never. The result of a walker depends on its
    own row only.
    """
    load_kernel, propose, accept, observe = kernel.load, kernel.propose, kernel.accept, kernel.observe
    dimension, observables = kernel.dimension, len(kernel.observables)

    @njit(nogil=True, error_model="numpy")
    def walk(
        parameters: Any, random_state: Any, work: Any, histogram: Any, proposals: Any, accepted: Any, trips: Any,
        sums: Any, squares: Any, observed: Any, window: Any, data: Any, start: int, half_width: float, log_f: float,
        moves: int, octaves: int, observe_every: int, refresh_every: int,
    ) -> Any:  # fmt: skip
        a, b = load_kernel(parameters, data, work)
        log_g = window.log_g
        band0, band1 = proposals.shape[1] // 2, proposals.shape[2] // 2
        cells = window.cells
        found = target_bin(window, a, b)
        bin_ = found if found >= 0 else start
        count_trip(trips, bin_, window)
        to_observe, to_refresh = observe_every, refresh_every
        sizes = np.empty(octaves + 1)
        for k in range(octaves + 1):
            sizes[k] = half_width * 2.0**-k
        for _ in range(moves):
            bits = next_state(random_state)
            i = np.int64(((bits >> _U64(32)) * _U64(dimension)) >> _U64(32))
            octave = np.int64((((bits >> _U64(1)) & _U64(0x7FFFFFFF)) * _U64(octaves + 1)) >> _U64(31))
            u = 2.0 * unit_uniform(next_state(random_state)) - 1.0
            redraw = window.step_size == 0.0 and (bits & _U64(1)) != _U64(0)
            new = (0.0 if redraw else parameters[i]) + u * (
                half_width * window.step_size if window.step_size > 0.0 else half_width if redraw else sizes[octave]
            )
            if abs(new) <= half_width:
                new_a, new_b = propose(work, data, parameters, i, new)
                proposed = target_bin(window, new_a, new_b)
            else:
                proposed = -1
            if proposed >= 0:
                shift0 = cells[proposed, 0] - cells[bin_, 0] + band0
                shift1 = cells[proposed, 1] - cells[bin_, 1] + band1
                if 0 <= shift0 <= 2 * band0 and 0 <= shift1 <= 2 * band1:
                    proposals[bin_, shift0, shift1] += 1
                gain = log_g[bin_] - log_g[proposed] + log_f * np.float64(histogram[bin_] - histogram[proposed])
                if gain >= 0.0 or unit_uniform(next_state(random_state)) < np.exp(gain):
                    accept(work, data, parameters, i, new)
                    parameters[i] = new
                    accepted[bin_] += 1
                    bin_, a, b = proposed, new_a, new_b
                    count_trip(trips, bin_, window)
            else:
                proposals[bin_, band0, band1] += 1
            histogram[bin_] += 1
            to_observe -= 1
            if to_observe == 0:
                to_observe = observe_every
                values = observe(work, data, parameters)
                for k in range(observables):
                    sums[bin_, k] += values[k]
                    squares[bin_, k] += values[k] * values[k]
                observed[bin_] += 1
            to_refresh -= 1
            if to_refresh == 0:
                to_refresh = refresh_every
                new_a, new_b = load_kernel(parameters, data, work)
                found = target_bin(window, new_a, new_b)
                if found >= 0:  # else rounding took the walker across a wall: keep the old values
                    bin_, a, b = found, new_a, new_b
        return bin_, a, b

    @njit(nogil=True, error_model="numpy")
    def step(
        walkers: Any, window: Any, data: Any, half_width: float, log_f: float, moves: int, octaves: int,
        observe_every: int, refresh_every: int, first: int, last: int,
    ) -> None:  # fmt: skip
        for b in range(first, last):
            if walkers.bins[b] < 0:
                continue
            walkers.bins[b], walkers.values[b, 0], walkers.values[b, 1] = walk(
                walkers.parameters[b], walkers.random_states[b], walkers.work[b], walkers.histogram[b],
                walkers.proposals[b], walkers.accepted[b], walkers.trips[b], walkers.sums[b], walkers.squares[b],
                walkers.observed[b], window, data, walkers.bins[b], half_width, log_f, moves, octaves, observe_every,
                refresh_every,
            )  # fmt: skip

    return step
