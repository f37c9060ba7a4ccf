"""Random walks in a box with changes of one component, weighted by a function of one or two observables."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

if TYPE_CHECKING:
    from keras_entropy.landscape.kernels.network_kernel import Kernel

_U64 = np.uint64


class Walkers(NamedTuple):
    """The state of B walkers and what they counted; n target bins, m observables."""

    parameters: NDArray[np.float64]  # (B, d)
    rng: NDArray[np.uint64]  # (B, 4)
    bins: NDArray[np.int64]  # (B,) target bins, set by `place`
    values: NDArray[np.float64]  # (B, 2) the observables of the axes
    work: NDArray[Any]  # (B, words)
    histogram: NDArray[np.int64]  # (B, n)
    proposals: NDArray[np.int64]  # (B, n, 2 * band + 1, 2 * band + 1), a band for each axis
    accepted: NDArray[np.int64]  # (B, n)
    trips: NDArray[np.int64]  # (B, 2) the stage of the present round trip and how many were completed
    sums: NDArray[np.float64]  # (B, n, m)
    squares: NDArray[np.float64]  # (B, n, m)
    counts: NDArray[np.int64]  # (B, n)


class Target(NamedTuple):
    """The bins of the axes and the weights of the target bins."""

    edges0: NDArray[np.float64]
    edges1: NDArray[np.float64]  # empty with one axis
    bin_map: NDArray[np.int64]  # flat index of the cells -> target bin, or -1
    cells: NDArray[np.int64]  # (n, 2) cell of each target bin along the axes
    log_g: NDArray[np.float64]  # (n,)
    first: int  # target bins between which round trips are counted
    last: int
    step: float = 0.0  # of all moves, none of which redraws then, in half widths; 0 for those of the rule


@njit(error_model="numpy", forceinline=True)
def next_state(state: Any) -> Any:
    """Sixty-four random bits by xoshiro256++, from the four words of a state; the state moves on."""
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
    """A number in [0, 1) from random bits."""
    return float(np.int64(bits >> _U64(11))) * 2.0**-53


@njit(error_model="numpy", forceinline=True)
def cell_of(edges: Any, value: float) -> int:
    """`searchsorted(edges, value, side="right") - 1`, the ends clamped; at once where the edges are equally spaced."""
    cells = len(edges) - 1
    if cells < 2:
        return 0
    if not value < edges[cells - 1]:  # also what is not a number
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
def target_bin(target: Any, a: float, b: float) -> int:
    """The target bin of two observables, -1 outside."""
    cell = cell_of(target.edges0, a)
    if len(target.edges1) > 2:
        cell = cell * (len(target.edges1) - 1) + cell_of(target.edges1, b)
    found: int = target.bin_map[cell]
    return found


@njit(error_model="numpy")
def follow_trip(trips: Any, bin_: int, target: Any) -> None:
    """Stage 1: the first end was reached; stage 2: the last one after it; back at the first, a trip is complete."""
    if bin_ == target.first and trips[0] != 1:
        trips[1] += trips[0] >> 1
        trips[0] = 1
    elif bin_ == target.last and trips[0] == 1:
        trips[0] = 2


@functools.cache
def make_place(kernel: Kernel) -> Any:
    """`place(walkers, target, data)`: load the walkers' parameters and set their bins and values."""
    load_kernel = kernel.load

    @njit(nogil=True, error_model="numpy")
    def place(walkers: Any, target: Any, data: Any) -> None:
        for b in range(len(walkers.bins)):
            first, second = load_kernel(walkers.parameters[b], data, walkers.work[b])
            walkers.values[b, 0], walkers.values[b, 1] = first, second
            walkers.bins[b] = target_bin(target, first, second)

    return place


@functools.cache
def make_advance(kernel: Kernel) -> Any:  # noqa: PLR0915 - the loop is one function
    """The compiled driver for a kernel.

    `advance(walkers, target, data, half_width, log_f, moves, scales, observe_every, refresh_every, first, last)` makes
    `moves` moves with each of the walkers from `first` up to, but without, `last`: with probability 1/2 a component is
    drawn anew in the box, else it changes by up to `half_width * 2**-o` with `o` up to `scales`. The weights are
    `log_g` plus `log_f` for each visit in the walker's own row of `histogram`.

    The walkers' arrays are changed in place; counts are added to what the arrays hold. Bins must be set (`place`); a
    walker in none (-1) stays where it is. What leaves the box or the target is rejected, and stands in `proposals` as
    a step of 0. `observe_every` and `refresh_every` may be 0: never. A walker's result depends on its own row alone.
    """
    load_kernel, propose, accept, observe = kernel.load, kernel.propose, kernel.accept, kernel.observe
    dimension, observed = kernel.dimension, len(kernel.observables)

    @njit(nogil=True, error_model="numpy")
    def walk(
        parameters: Any, rng: Any, work: Any, histogram: Any, proposals: Any, accepted: Any, trips: Any, sums: Any,
        squares: Any, counts: Any, target: Any, data: Any, start: int, half_width: float, log_f: float, moves: int,
        scales: int, observe_every: int, refresh_every: int,
    ) -> Any:  # fmt: skip
        a, b = load_kernel(parameters, data, work)
        log_g = target.log_g
        band0, band1 = proposals.shape[1] // 2, proposals.shape[2] // 2
        cells = target.cells
        found = target_bin(target, a, b)
        bin_ = found if found >= 0 else start
        follow_trip(trips, bin_, target)
        to_observe, to_refresh = observe_every, refresh_every
        sizes = np.empty(scales + 1)
        for k in range(scales + 1):
            sizes[k] = half_width * 2.0**-k
        for _ in range(moves):
            bits = next_state(rng)
            i = np.int64(((bits >> _U64(32)) * _U64(dimension)) >> _U64(32))
            octave = np.int64((((bits >> _U64(1)) & _U64(0x7FFFFFFF)) * _U64(scales + 1)) >> _U64(31))
            u = 2.0 * unit_uniform(next_state(rng)) - 1.0
            redraw = target.step == 0.0 and (bits & _U64(1)) != _U64(0)
            new = (0.0 if redraw else parameters[i]) + u * (
                half_width * target.step if target.step > 0.0 else half_width if redraw else sizes[octave]
            )
            if abs(new) <= half_width:
                new_a, new_b = propose(work, data, parameters, i, new)
                proposed = target_bin(target, new_a, new_b)
            else:
                proposed = -1
            if proposed >= 0:
                shift0 = cells[proposed, 0] - cells[bin_, 0] + band0
                shift1 = cells[proposed, 1] - cells[bin_, 1] + band1
                if 0 <= shift0 <= 2 * band0 and 0 <= shift1 <= 2 * band1:
                    proposals[bin_, shift0, shift1] += 1
                gain = log_g[bin_] - log_g[proposed] + log_f * np.float64(histogram[bin_] - histogram[proposed])
                if gain >= 0.0 or unit_uniform(next_state(rng)) < np.exp(gain):
                    accept(work, data, parameters, i, new)
                    parameters[i] = new
                    accepted[bin_] += 1
                    bin_, a, b = proposed, new_a, new_b
                    follow_trip(trips, bin_, target)
            else:
                proposals[bin_, band0, band1] += 1
            histogram[bin_] += 1
            to_observe -= 1
            if to_observe == 0:
                to_observe = observe_every
                values = observe(work, data, parameters)
                for k in range(observed):
                    sums[bin_, k] += values[k]
                    squares[bin_, k] += values[k] * values[k]
                counts[bin_] += 1
            to_refresh -= 1
            if to_refresh == 0:
                to_refresh = refresh_every
                new_a, new_b = load_kernel(parameters, data, work)
                found = target_bin(target, new_a, new_b)
                if found >= 0:  # else rounding made it leave the target: the old values stand
                    bin_, a, b = found, new_a, new_b
        return bin_, a, b

    @njit(nogil=True, error_model="numpy")
    def advance(
        walkers: Any, target: Any, data: Any, half_width: float, log_f: float, moves: int, scales: int,
        observe_every: int, refresh_every: int, first: int, last: int,
    ) -> None:  # fmt: skip
        for b in range(first, last):
            if walkers.bins[b] < 0:
                continue
            walkers.bins[b], walkers.values[b, 0], walkers.values[b, 1] = walk(
                walkers.parameters[b], walkers.rng[b], walkers.work[b], walkers.histogram[b], walkers.proposals[b],
                walkers.accepted[b], walkers.trips[b], walkers.sums[b], walkers.squares[b], walkers.counts[b],
                target, data, walkers.bins[b], half_width, log_f, moves, scales, observe_every, refresh_every,
            )  # fmt: skip

    return advance
