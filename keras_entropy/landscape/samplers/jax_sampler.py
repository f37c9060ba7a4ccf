"""A sampler for any energy that JAX can trace: all moves in one compiled program, on a GPU if there is one."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from keras_entropy.landscape.problems.problem import Problem, check_finite
from keras_entropy.landscape.samplers import hamiltonian
from keras_entropy.landscape.samplers.sampler import WalkerInfo, WalkerState, Window, random_states

Array = np.ndarray[Any, Any]

_COUNTS = {
    **dict.fromkeys(("histogram", "proposals", "accepted", "observed"), jnp.int32),
    **dict.fromkeys(("sums", "squares"), jnp.float32),
}
"""Names of the counters, and their types on the device."""


class _Window(NamedTuple):
    """A `Window` as arrays of the device."""

    edges: tuple[Any, ...]
    mapping: Any
    cells: Any
    log_g: Any
    octaves: Any
    step_size: Any
    ends: Any
    slope: hamiltonian.Slope | None
    hmc_fraction: Any
    num_leapfrog_steps: Any


class _Carry(NamedTuple):
    """What changes from move to move; `finite` says for each axis whether all values were finite."""

    parameters: Any
    bins: Any
    trips: Any
    histogram: Any
    proposals: Any
    accepted: Any
    observed: Any
    sums: Any
    squares: Any
    finite: Any


class JaxSampler:
    """Evaluates the whole energy for each move of all walkers together, and stays on the device in between.

    Parameters, energies and differences of log weights are float32; counts are integers, and log weights are kept in
    float64. The weights do not change within a call. With `Window.hmc`, all walkers make a trajectory at the same
    moves, which are drawn with the probability `HMC.fraction`.

    Args:
        problem: Problem whose energy takes arrays (d, B) of JAX.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._run = jax.jit(self._loop, static_argnames=("names",))

    def step(self, state: WalkerState, window: Window, moves: int, info: WalkerInfo, observe_every: int = 0) -> None:
        """Make `moves` moves with each walker; see `Sampler.step`."""
        axes, count = window.bins.axes, window.bins.count
        spare = window.bins.mapping.size - count  # room for all bins: the levels of splitting share one program

        counts = {}
        for name, kind in _COUNTS.items():
            part = getattr(info, name)
            counts[name] = jnp.zeros((len(part), count + spare, *part.shape[2:]), kind)
        begin = _Carry(
            parameters=jnp.asarray(state.parameters.T, jnp.float32),
            bins=jnp.asarray(state.bins, jnp.int32),
            trips=jnp.asarray(state.trips, jnp.int32),
            finite=jnp.ones(len(axes), bool),
            **counts,
        )
        key = jax.random.wrap_key_data(jnp.asarray(state.random_states[0, :2] >> np.uint64(32), jnp.uint32))
        names = tuple(axis.name for axis in axes)
        on_device = _on_device(window, spare)
        end = self._run(begin, on_device, key, jnp.asarray(moves, jnp.int32), jnp.asarray(observe_every), names=names)
        for name, finite in zip(names, np.asarray(end.finite), strict=True):
            check_finite(name, finite)
        state.parameters[:] = np.asarray(end.parameters).T
        state.bins[:], state.trips[:] = np.asarray(end.bins), np.asarray(end.trips)
        state.random_states[:] = random_states(int(state.random_states[0, 2]), len(state.bins))
        for name in _COUNTS:
            getattr(info, name)[...] += np.asarray(getattr(end, name))[:, :count]

    def _loop(
        self, begin: _Carry, window: _Window, key: Any, moves: Any, observe_every: Any, names: tuple[str, ...]
    ) -> _Carry:
        everyone = jnp.arange(len(begin.bins))
        half_width, dimension = self.problem.half_width, len(begin.parameters)

        def index(values: Any) -> Any:
            flat = jnp.zeros(len(everyone), jnp.int32)
            for edges, name in zip(window.edges, names, strict=True):
                flat = flat * (len(edges) + 1) + jnp.searchsorted(edges, values[name], side="right").astype(jnp.int32)
            return window.mapping[flat]

        def checked(carry: _Carry, values: Any) -> _Carry:
            finite = jnp.stack([jnp.all(jnp.isfinite(values[name])) for name in names])
            return carry._replace(finite=carry.finite & finite)

        def observe(carry: _Carry) -> _Carry:
            values = self.problem.energy(carry.parameters)
            placed, place = carry.bins >= 0, (everyone, carry.bins)
            recorded = jnp.stack([values[name] for name in self.problem.observables], 1)
            recorded = jnp.where(placed[:, None], recorded, 0.0)
            return carry._replace(
                observed=carry.observed.at[place].add(placed.astype(jnp.int32)),
                sums=carry.sums.at[place].add(recorded),
                squares=carry.squares.at[place].add(recorded**2),
            )

        def single_component_move(carry: _Carry, keys: Any) -> _Carry:
            count = len(everyone)
            place = jax.random.randint(keys[0], (count,), 0, dimension), everyone
            old = carry.parameters[place]
            new = _proposed(self.problem, window, old, keys)
            inside = jnp.abs(new) <= half_width
            moved = carry.parameters.at[place].set(jnp.where(inside, new, old))
            values = self.problem.energy(moved)
            found = jnp.where(inside, index(values), -1)
            accepted, carry = _accept(window, checked(carry, values), found, 0.0, keys[4], True)
            return carry._replace(parameters=carry.parameters.at[place].set(jnp.where(accepted, new, old)))

        def hmc_move(slope: hamiltonian.Slope, carry: _Carry, keys: Any) -> _Carry:
            (name,) = names
            end = hamiltonian.trajectory(
                lambda parameters: self.problem.energy(parameters)[name],
                slope,
                half_width,
                carry.parameters,
                keys[1],
                window.num_leapfrog_steps,
            )
            values = {name: end.values}
            # A diverged trajectory is rejected; its value says nothing about the energy within the box.
            whole = {name: jnp.where(jnp.all(jnp.isfinite(end.parameters), 0), end.values, 0.0)}
            accepted, carry = _accept(window, checked(carry, whole), index(values), end.log_ratio, keys[4], False)
            return carry._replace(parameters=jnp.where(accepted, end.parameters, carry.parameters))

        def move(i: Any, carry: _Carry) -> _Carry:
            keys = jax.random.split(jax.random.fold_in(key, i), 5)
            if window.slope is None:
                carry = single_component_move(carry, keys)
            else:
                chosen = jax.random.bernoulli(jax.random.fold_in(keys[0], 1), window.hmc_fraction)
                along = functools.partial(hmc_move, window.slope)
                carry = jax.lax.cond(chosen, along, single_component_move, carry, keys)
            if not carry.sums.shape[2]:
                return carry
            asked = (observe_every > 0) & ((i + 1) % jnp.maximum(observe_every, 1) == 0)
            result: _Carry = jax.lax.cond(asked, observe, lambda same: same, carry)
            return result

        values = self.problem.energy(begin.parameters)
        begin = checked(begin, values)._replace(bins=jnp.where(begin.bins < 0, index(values), begin.bins))
        end: _Carry = jax.lax.fori_loop(0, moves, move, begin)
        return end


def _proposed(problem: Problem, window: _Window, old: Any, keys: Any) -> Any:
    """Return new values (B,) for components with the values `old`."""
    if problem.values:
        possible = jnp.asarray(problem.values, jnp.float32)
        places = jax.random.randint(keys[3], old.shape, 1, len(possible))
        return possible[(jnp.searchsorted(possible, old) + places) % len(possible)]
    redraw = jax.random.bernoulli(keys[1], 0.5, old.shape) & (window.step_size == 0)
    octave = jax.random.randint(keys[2], old.shape, 0, window.octaves + 1)
    small = jnp.where(window.step_size > 0, window.step_size, 2.0 ** -octave.astype(jnp.float32))
    reach = problem.half_width * jnp.where(redraw, 1.0, small)
    return jnp.where(redraw, 0.0, old) + reach * jax.random.uniform(keys[3], old.shape, minval=-1.0)


def _accept(
    window: _Window, carry: _Carry, found: Any, log_ratio: Any, key: Any, symmetric: bool
) -> tuple[Any, _Carry]:
    """Return which walkers accept, and the carry after the move except for the parameters.

    Args:
        window: The bins and their weights.
        carry: The carry before the move.
        found: Array (B,). Proposed bins, -1 for none.
        log_ratio: Array (B,), nats. Added to the log ratio of the weights.
        key: Random key of JAX.
        symmetric: Boolean. Whether the move is symmetric, so that the proposals are counted.
    """
    everyone = jnp.arange(len(carry.bins))
    taken = jnp.where(found >= 0, found, carry.bins)
    log_ratio = log_ratio + window.log_g[carry.bins] - window.log_g[taken]
    placed = carry.bins >= 0
    accepted = placed & (found >= 0) & (jax.random.uniform(key, placed.shape) < jnp.exp(jnp.minimum(log_ratio, 0.0)))
    bins = jnp.where(accepted, taken, carry.bins)
    stage, trips = carry.trips.T
    back = (bins == window.ends[0]) & (stage != 1)
    trips = trips + (back & (stage == 2))
    stage = jnp.where(back, 1, jnp.where((bins == window.ends[1]) & (stage == 1), 2, stage))
    proposals = carry.proposals
    if symmetric:
        bands = jnp.array(proposals.shape[2:]) // 2
        shift = window.cells[taken] - window.cells[carry.bins] + bands
        near = jnp.all((shift >= 0) & (shift <= 2 * bands), 1)
        place = everyone, carry.bins, shift[:, 0], shift[:, 1]
        proposals = proposals.at[place].add((placed & near).astype(jnp.int32), mode="drop")
    return accepted, carry._replace(
        bins=bins,
        trips=jnp.stack([stage, trips], 1),
        histogram=carry.histogram.at[everyone, bins].add(placed.astype(jnp.int32)),
        proposals=proposals,
        accepted=carry.accepted.at[everyone, carry.bins].add(accepted.astype(jnp.int32)),
    )


def _on_device(window: Window, spare: int) -> _Window:
    """Return a window as arrays of the device, padded by `spare` bins."""
    bins, hmc = window.bins, window.hmc
    slope = None
    if hmc is not None:
        slope = hamiltonian.Slope(
            *(jnp.asarray(part, jnp.float32) for part in hamiltonian.slope_of(bins, window.log_g))
        )
    return _Window(
        edges=tuple(jnp.asarray(axis.edges[1:-1], jnp.float32) for axis in bins.axes),
        mapping=jnp.asarray(bins.mapping, jnp.int32),
        cells=jnp.asarray(np.pad(bins.cells, ((0, spare), (0, 0))), jnp.int32),
        log_g=jnp.asarray(np.pad(window.log_g - window.log_g.max(), (0, spare)), jnp.float32),
        octaves=jnp.asarray(window.octaves, jnp.int32),
        step_size=jnp.asarray(window.step_size, jnp.float32),
        ends=jnp.asarray(window.ends, jnp.int32),
        slope=slope,
        hmc_fraction=None if hmc is None else jnp.asarray(hmc.fraction, jnp.float32),
        num_leapfrog_steps=None if hmc is None else jnp.asarray(hmc.num_leapfrog_steps, jnp.int32),
    )
