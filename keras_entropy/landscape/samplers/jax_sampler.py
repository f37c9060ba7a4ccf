"""Walkers of any energy that JAX can trace: all moves in one compiled program, on a GPU if there is one."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from keras_entropy.landscape.problems.problem import Problem, check_finite
from keras_entropy.landscape.samplers import hamiltonian
from keras_entropy.landscape.samplers.sampler import Tally, Walkers, Window, seed_states

Array = np.ndarray[Any, Any]


class _Target(NamedTuple):
    """What a window holds, as arrays of the device."""

    edges: tuple[Any, ...]
    mapping: Any
    cells: Any
    log_g: Any
    octaves: Any
    step: Any
    ends: Any
    slope: hamiltonian.Slope | None
    share: Any
    leaps: Any


class _Carry(NamedTuple):
    """What changes from move to move; `finite` is whether all values along the axes were."""

    parameters: Any
    bins: Any
    trips: Any
    histogram: Any
    proposals: Any
    accepted: Any
    observed: Any
    sums: Any
    squares: Any
    finite: Any = True


class ScannedRoute:
    """Evaluates the whole energy for each move of all walkers together, without leaving the device in between.

    Parameters, energies and differences of log weights are float32; counts and log weights are kept in integers and in
    float64. Within a call the weights are those of its begin. Where a window asks for trajectories, all walkers make
    one at the same moves, drawn with their share.

    Args:
        problem: with an energy of JAX arrays (d, B).
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._run = jax.jit(self._loop, static_argnames=("names",))

    def advance(self, walkers: Walkers, window: Window, moves: int, tally: Tally, observe_every: int = 0) -> None:
        """Make so many moves with each walker; walkers and tally are changed in place."""
        axes, count = window.bins.axes, window.bins.count
        spare = window.bins.mapping.size - count  # room for all bins: the levels of splitting share one program
        target = _Target(
            edges=tuple(jnp.asarray(axis.edges[1:-1], jnp.float32) for axis in axes),
            mapping=jnp.asarray(window.bins.mapping, jnp.int32),
            cells=jnp.asarray(np.pad(window.bins.cells, ((0, spare), (0, 0))), jnp.int32),
            log_g=jnp.asarray(np.pad(window.log_g - window.log_g.max(), (0, spare)), jnp.float32),
            octaves=jnp.asarray(window.octaves, jnp.int32),
            step=jnp.asarray(window.step, jnp.float32),
            ends=jnp.asarray(window.ends, jnp.int32),
            **_gradient(window),
        )

        def empty(part: Array, kind: Any) -> Any:
            return jnp.zeros((len(part), count + spare, *part.shape[2:]), kind)

        begin = _Carry(
            jnp.asarray(walkers.parameters.T, jnp.float32),
            jnp.asarray(walkers.bins, jnp.int32),
            jnp.asarray(walkers.trips, jnp.int32),
            *(empty(part, jnp.int32) for part in (tally.histogram, tally.proposals, tally.accepted, tally.observed)),
            *(empty(part, jnp.float32) for part in (tally.sums, tally.squares)),
        )._replace(finite=jnp.ones(len(axes), bool))
        key = jax.random.wrap_key_data(jnp.asarray(walkers.seeds[0, :2] >> np.uint64(32), jnp.uint32))
        names = tuple(axis.name for axis in axes)
        end = self._run(begin, target, key, jnp.asarray(moves, jnp.int32), jnp.asarray(observe_every), names=names)
        for name, finite in zip(names, np.asarray(end.finite), strict=True):
            check_finite(name, finite)
        walkers.parameters[:] = np.asarray(end.parameters).T
        walkers.bins[:], walkers.trips[:] = np.asarray(end.bins), np.asarray(end.trips)
        walkers.seeds[:] = seed_states(int(walkers.seeds[0, 2]), len(walkers.bins))
        for name in ("histogram", "proposals", "accepted", "observed", "sums", "squares"):
            getattr(tally, name)[...] += np.asarray(getattr(end, name))[:, :count]

    def _loop(
        self, begin: _Carry, target: _Target, key: Any, moves: Any, observe_every: Any, names: tuple[str, ...]
    ) -> _Carry:
        everyone = jnp.arange(len(begin.bins))
        half_width, dimension = self.problem.half_width, len(begin.parameters)

        def index(values: Any) -> Any:
            flat = jnp.zeros(len(everyone), jnp.int32)
            for edges, name in zip(target.edges, names, strict=True):
                flat = flat * (len(edges) + 1) + jnp.searchsorted(edges, values[name], side="right").astype(jnp.int32)
            return target.mapping[flat]

        def looked_at(carry: _Carry, values: Any) -> _Carry:
            finite = jnp.stack([jnp.all(jnp.isfinite(values[name])) for name in names])
            return carry._replace(finite=carry.finite & finite)

        def observe(carry: _Carry) -> _Carry:
            values = self.problem.energy(carry.parameters)
            noted = jnp.stack([values[name] for name in self.problem.observables], 1)
            place = everyone, carry.bins
            return carry._replace(
                observed=carry.observed.at[place].add(1),
                sums=carry.sums.at[place].add(noted),
                squares=carry.squares.at[place].add(noted**2),
            )

        def component(carry: _Carry, keys: Any) -> _Carry:
            count = len(everyone)
            place = jax.random.randint(keys[0], (count,), 0, dimension), everyone
            redraw = jax.random.bernoulli(keys[1], 0.5, (count,)) & (target.step == 0)
            octave = jax.random.randint(keys[2], (count,), 0, target.octaves + 1)
            small = jnp.where(target.step > 0, target.step, 2.0 ** -octave.astype(jnp.float32))
            step = half_width * jnp.where(redraw, 1.0, small)
            old = carry.parameters[place]
            new = jnp.where(redraw, 0.0, old) + step * jax.random.uniform(keys[3], (count,), minval=-1.0)
            inside = jnp.abs(new) <= half_width
            moved = carry.parameters.at[place].set(jnp.where(inside, new, old))
            values = self.problem.energy(moved)
            found = jnp.where(inside, index(values), -1)
            accepted, carry = _settle(target, looked_at(carry, values), found, 0.0, keys[4], True)
            return carry._replace(parameters=carry.parameters.at[place].set(jnp.where(accepted, new, old)))

        def along(slope: hamiltonian.Slope, carry: _Carry, keys: Any) -> _Carry:
            (name,) = names
            end = hamiltonian.trajectory(
                lambda parameters: self.problem.energy(parameters)[name],
                slope,
                half_width,
                carry.parameters,
                keys[1],
                target.leaps,
            )
            values = {name: end.values}
            # One that has run away is rejected, and says nothing about the energy within the box.
            whole = {name: jnp.where(jnp.all(jnp.isfinite(end.parameters), 0), end.values, 0.0)}
            accepted, carry = _settle(target, looked_at(carry, whole), index(values), end.gain, keys[4], False)
            return carry._replace(parameters=jnp.where(accepted, end.parameters, carry.parameters))

        def move(i: Any, carry: _Carry) -> _Carry:
            keys = jax.random.split(jax.random.fold_in(key, i), 5)
            if target.slope is None:
                carry = component(carry, keys)
            else:
                chosen = jax.random.bernoulli(jax.random.fold_in(keys[0], 1), target.share)
                carry = jax.lax.cond(chosen, functools.partial(along, target.slope), component, carry, keys)
            if not carry.sums.shape[2]:
                return carry
            asked = (observe_every > 0) & ((i + 1) % jnp.maximum(observe_every, 1) == 0)
            result: _Carry = jax.lax.cond(asked, observe, lambda same: same, carry)
            return result

        values = self.problem.energy(begin.parameters)
        begin = looked_at(begin, values)._replace(bins=jnp.where(begin.bins < 0, index(values), begin.bins))
        end: _Carry = jax.lax.fori_loop(0, moves, move, begin)
        return end


def _settle(target: _Target, carry: _Carry, found: Any, gain: Any, key: Any, symmetric: bool) -> tuple[Any, _Carry]:
    """Who accepts, and everything but the parameters after it.

    Args:
        target: the bins and their weights.
        carry: before the move.
        found: (B,) bins of what is proposed, -1 for none.
        gain: (B,) nats to be added to the log of the ratio of the weights.
        key: of the random numbers.
        symmetric: whether the proposals may be counted, since as many are made back.
    """
    everyone = jnp.arange(len(carry.bins))
    taken = jnp.where(found >= 0, found, carry.bins)
    gain = gain + target.log_g[carry.bins] - target.log_g[taken]
    there = carry.bins >= 0
    accepted = there & (found >= 0) & (jax.random.uniform(key, there.shape) < jnp.exp(jnp.minimum(gain, 0.0)))
    bins = jnp.where(accepted, taken, carry.bins)
    stage, trips = carry.trips.T
    back = (bins == target.ends[0]) & (stage != 1)
    trips = trips + (back & (stage == 2))
    stage = jnp.where(back, 1, jnp.where((bins == target.ends[1]) & (stage == 1), 2, stage))
    proposals = carry.proposals
    if symmetric:
        bands = jnp.array(proposals.shape[2:]) // 2
        shift = target.cells[taken] - target.cells[carry.bins] + bands
        near = jnp.all((shift >= 0) & (shift <= 2 * bands), 1)
        place = everyone, carry.bins, shift[:, 0], shift[:, 1]
        proposals = proposals.at[place].add((there & near).astype(jnp.int32), mode="drop")
    return accepted, carry._replace(
        bins=bins,
        trips=jnp.stack([stage, trips], 1),
        histogram=carry.histogram.at[everyone, bins].add(there.astype(jnp.int32)),
        proposals=proposals,
        accepted=carry.accepted.at[everyone, carry.bins].add(accepted.astype(jnp.int32)),
    )


def _gradient(window: Window) -> dict[str, Any]:
    """Of a window, what trajectories need."""
    if window.trajectories is None:
        return {"slope": None, "share": None, "leaps": None}
    slope = hamiltonian.slope_of(window.bins, window.log_g)
    return {
        "slope": hamiltonian.Slope(*(jnp.asarray(part, jnp.float32) for part in slope)),
        "share": jnp.asarray(window.trajectories.share, jnp.float32),
        "leaps": jnp.asarray(window.trajectories.leaps, jnp.int32),
    }
