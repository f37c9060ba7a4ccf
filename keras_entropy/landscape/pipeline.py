"""The entropy of parameter space: splitting, Wang-Landau, production."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _checks
from keras_entropy.landscape import checkpoint as files
from keras_entropy.landscape import splitting, wang_landau
from keras_entropy.landscape.axis import Axis, Bins, axis_of
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.result import DensityOfStates, assemble
from keras_entropy.landscape.samplers.numpy_sampler import GeneralRoute
from keras_entropy.landscape.samplers.sampler import Route, Trajectories, octaves_of, seed_states

Array = np.ndarray[Any, Any]

_FINDING, _SPLITTING, _LEARNING = 0.05, 0.15, 0.1
"""Shares of the moves, to find bins, to fill them, to learn the weights."""

_LEVELS, _DEEP_LEVELS = 30, 100
"""Of splitting, where they are not known: along an accuracy, and to the bins of a loss."""

ROUTES = ("numba", "jax", "numpy")

_SECONDS = 10.0
"""Between checkpoints."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a run tells about itself.

    Attributes:
        phase: "splitting", "learning" or "production".
        done: share of the moves of the whole run that are made.
        moves_per_second: since the last time.
        log_f: what a visit adds to a weight.
        visited: share of the target bins seen in this phase, or since log_f changed.
        round_trips: so far.
    """

    phase: str
    done: float
    moves_per_second: float
    log_f: float
    visited: float
    round_trips: int


def density_of_states(
    problem: Problem,
    axes: Iterable[str] = ("train_accuracy",),
    moves: float = 1e8,
    seed: int = 0,
    *,
    edges: Mapping[str, Any] | None = None,
    stop: float | None = None,
    walkers: int = 32,
    particles: int = 200,
    split_moves: int | None = None,
    gradient_share: float = 0.0,
    leapfrogs: int = 10,
    route: str | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> DensityOfStates:
    """Entropy of the parameters that have a certain loss or accuracy, S = ln(V_bin / V_box) [B, eq. 8].

    Multilevel splitting from uniform samples finds walkers for all bins and a first estimate. Wang-Landau with the 1/t
    schedule, all walkers sharing one set of weights, refines it over bins that are fixed beforehand. Production at
    frozen weights gives the result: from the histogram, and from the proposals between near bins.

    Args:
        problem: the box and what is observed in it.
        axes: names of one or two observables; the first one is that along which splitting goes.
        moves: of all walkers together, in all phases.
        seed: of the random numbers.
        edges: of the bins of an observable, by its name; accuracies have one for each value, and losses bins of about
            one nat down to `stop`, where nothing is given.
        stop: for an observable without edges, the value of the deepest one.
        walkers: how many.
        particles: of splitting.
        split_moves: of each particle for each level; by default so many that 15 % of all moves are for splitting, and
            5 % to find the bins of a loss.
        gradient_share: share, below 1, of the moves after splitting that are Hamiltonian trajectories of all parameters
            in the potential of the weights, accepted by Metropolis's rule: the Wang-Landau molecular dynamics that [B]
            announces. For one observable that has a gradient, such as a loss, on the JAX backend.
        leapfrogs: steps of each such move, which evaluates the gradient once more than that; 1 is Metropolis-adjusted
            Langevin.
        route: what computes: "numba", machine code for the processor that evaluates what a move changes only, for the
            problems that ship with this package; "jax", one compiled program for all walkers, for any energy that JAX
            can trace, on the JAX backend; "numpy", any energy. By default the first of them that serves, "jax" for
            moves along a gradient; for a user's own function "jax" is not tried unless asked for.
        checkpoint: file that keeps the walk; it is gone on from, to the same bits, if it is there.
        progress: is called now and then.

    Returns:
        A `DensityOfStates`; look at its `status` before you believe it.

    Raises:
        TypeError, ValueError: for arguments of another kind, a checkpoint of another walk, or a damaged one.
        RuntimeError: where splitting does not reach the deep end.

    Examples:
        >>> from keras_entropy.landscape import ball_problem, density_of_states, exact
        >>> found = density_of_states(ball_problem(10), ["energy"], 1e5, edges={"energy": exact.ball_edges(10, 8)})
        >>> found.entropy.shape
        (8,)
    """
    begin = time.monotonic()
    names = _names(problem, axes)
    total = _checks.positive_integer("moves", int(_checks.number("moves", moves)))
    walkers = _checks.positive_integer("walkers", walkers)
    particles = _checks.positive_integer("particles", particles)
    seed = _checks.seed("seed", seed)
    found_axes = [axis_of(problem, name, edges or {}) for name in names]
    if split_moves is not None:
        split_moves = _checks.positive_integer("split_moves", split_moves)

    def moves_of_level(share: float, levels: int) -> int:
        return split_moves or int(np.clip(share * total / (levels * particles), 100, 5000))

    trajectories = _trajectories(problem, names, gradient_share, leapfrogs, route)
    moving = route_of(problem, names, route or (None if trajectories is None else "jax"))
    if trajectories is not None:
        from keras_entropy.landscape.samplers.hamiltonian import check_gradient

        check_gradient(problem, names[0])
    identity = {
        "problem": problem.digest,
        "axes": list(names),
        "edges": [None if axis is None else axis.edges.tolist() for axis in found_axes],
        "number of moves": total,
        "seed": seed,
        "stop": stop,
        "number of walkers": walkers,
        "number of particles": particles,
        "split_moves": split_moves,
        "trajectories": None if trajectories is None else dataclasses.astuple(trajectories),
        "route": type(moving).__name__,
        "version": _versions(),
    }
    kept = None if checkpoint is None else files.read(checkpoint, identity)
    if kept is None:
        if progress is not None:
            progress(Progress("splitting", 0.0, 0.0, 0.0, 0.0, 0))
        done_axes = tuple(
            axis or _found_axis(moving, name, stop, particles, moves_of_level(_FINDING, _DEEP_LEVELS), seed)
            for axis, name in zip(found_axes, names, strict=True)
        )
        levels = _LEVELS if problem.observables[names[0]].levels else done_axes[0].bins
        split = splitting.split(moving, done_axes, particles, moves_of_level(_SPLITTING, levels), seed)
        bins, first, spent = split.bins, split.entropy, split.moves
        plan = _plan(problem, bins, first, total, spent, walkers, trajectories)
        rng = np.random.default_rng([seed, 2])
        parameters = split.spread(walkers, rng)
        seeds = seed_states(seed + 1_000_003, walkers)
        state = wang_landau.init(plan, first, parameters, seeds, len(problem.observables))
        before = 0.0
    else:
        state, extra = kept
        done_axes = tuple(
            Axis(name, extra[f"edges{i}"], problem.observables[name].deep) for i, name in enumerate(names)
        )
        bins, first, spent = Bins(done_axes, extra["mapping"]), extra["splitting"], int(extra["spent"])
        plan = _plan(problem, bins, first, total, spent, walkers, trajectories)
        before = float(extra["seconds"])

    def keep() -> None:
        if checkpoint is None:
            return
        beside = {f"edges{i}": axis.edges for i, axis in enumerate(done_axes)}
        beside |= {"mapping": bins.mapping, "splitting": first, "spent": np.array(spent)}
        files.write(checkpoint, identity, state, {**beside, "seconds": np.array(before + time.monotonic() - begin)})

    keep()
    _walk(moving, plan, state, spent, keep, progress)
    keep()
    counted = wang_landau.counts(moving, plan, state)
    return assemble(problem.name, bins, counted, first, before + time.monotonic() - begin)


def route_of(problem: Problem, axes: tuple[str, ...], name: str | None = None) -> Route:
    """What moves the walkers of a problem: that of a name, or the first one that serves.

    Raises:
        ValueError: for one that does not serve.
    """
    if name is not None:
        _checks.one_of("route", name, ROUTES)
    kernel = None if problem.kernel is None or name not in (None, "numba") else problem.kernel(axes)
    if kernel is not None:
        from keras_entropy.landscape.samplers.numba_sampler import CompiledRoute

        return CompiledRoute(problem, kernel)
    if name == "numba":
        raise ValueError(f"There is no kernel for {problem.name} along {', '.join(axes)}. Use route='jax' or 'numpy'.")
    on_jax = keras.backend.backend() == "jax"
    if name == "jax" and not on_jax:
        raise ValueError("`route`='jax' needs the JAX backend. Set KERAS_BACKEND=jax, or use route='numpy'.")
    if name == "jax" or (name is None and on_jax and problem.traceable):
        from keras_entropy.landscape.samplers.jax_sampler import ScannedRoute

        return ScannedRoute(problem)
    return GeneralRoute(problem)


def _names(problem: Problem, axes: Iterable[str]) -> tuple[str, ...]:
    """The names of one or two axes.

    Raises:
        TypeError, ValueError: for something else, or for no problem.
    """
    if not isinstance(problem, Problem):
        raise TypeError(_checks.message("problem", "a Problem, such as network_problem(...)", problem))
    if not isinstance(axes, Iterable):
        raise TypeError(_checks.message("axes", "one or two names of observables", axes))
    names = (axes,) if isinstance(axes, str) else tuple(axes)
    if not 1 <= len(names) <= 2 or len(set(names)) < len(names):
        raise ValueError(_checks.message("axes", "one or two names of observables", axes))
    return names


def _trajectories(
    problem: Problem, axes: tuple[str, ...], share: float, leapfrogs: int, route: str | None
) -> Trajectories | None:
    """Which moves go along the gradient: None for none.

    Raises:
        TypeError, ValueError: for numbers of another kind, and where there is no gradient.
    """
    leapfrogs = _checks.positive_integer("leapfrogs", leapfrogs)
    share = float(_checks.number("gradient_share", share))
    if not 0 <= share < 1:
        remedy = "Moves of one component have to be among them, to count what leads from bin to bin."
        raise ValueError(_checks.message("gradient_share", "at least 0 and below 1", share, remedy))
    if not share:
        return None
    if len(axes) > 1:
        raise ValueError(f"`gradient_share` above 0 is for one axis. Received: axes={axes!r}. Use gradient_share=0.")
    levels = problem.observables[axes[0]].levels
    if levels is not None:
        raise ValueError(
            f"`gradient_share` above 0 needs an observable with a gradient, such as a loss; {axes[0]!r} has "
            f"{levels + 1} levels and is flat between them. Use gradient_share=0."
        )
    if route not in (None, "jax"):
        raise ValueError(
            f"`gradient_share` above 0 needs route='jax', which has gradients. Received: route={route!r}. Leave "
            "`route` out on the JAX backend, or use gradient_share=0."
        )
    if keras.backend.backend() != "jax":
        raise ValueError(
            f"`gradient_share` above 0 needs the JAX backend. Received: {keras.backend.backend()}. Set "
            "KERAS_BACKEND=jax, or use gradient_share=0."
        )
    return Trajectories(share, leapfrogs)


def _walk(
    route: Route,
    plan: wang_landau.Plan,
    state: wang_landau.State,
    spent: int,
    keep: Callable[[], None],
    progress: Callable[[Progress], None] | None,
) -> None:
    count = len(state.walkers.bins)
    whole = spent + count * (plan.learning + plan.production)
    made = spent + count * (state.moves + (plan.learning if state.phase == wang_landau.PRODUCTION else 0))
    kept = shown = time.monotonic()
    since = 0
    while not wang_landau.ended(plan, state):
        info = wang_landau.step(route, plan, state)
        made, since = made + info.moves, since + info.moves
        now = time.monotonic()
        if now - kept > _SECONDS:
            keep()
            kept = now
        if progress is not None and now - shown > 0.5:
            rate = since / (now - shown)
            progress(Progress(state.phase, made / whole, rate, state.log_f, info.visited, info.round_trips))
            shown, since = now, 0


def _plan(
    problem: Problem,
    bins: Bins,
    entropy: Array,
    total: int,
    spent: int,
    walkers: int,
    trajectories: Trajectories | None,
) -> wang_landau.Plan:
    learning = max(1, int(_LEARNING * total / walkers))
    production = max(1, (total - spent) // walkers - learning, int(0.5 * total / walkers))
    largest = int(np.argmax(entropy))
    rows = np.flatnonzero(bins.mapping >= 0) // (bins.mapping.size // bins.axes[0].bins)
    deep = rows == (rows.max() if bins.axes[0].deep == "high" else rows.min())
    smallest = int(np.argmin(np.where(deep, entropy, np.inf)))
    octaves = max(octaves_of(problem, axis.name) for axis in bins.axes)
    return wang_landau.Plan(bins, octaves, learning, production, (largest, smallest), trajectories)


def _found_axis(route: Route, name: str, stop: float | None, particles: int, moves: int, seed: int) -> Axis:
    if stop is None:
        raise ValueError(f"`stop` should be the deepest value of {name!r}, or `edges` its bins. Received: stop=None.")
    deep = route.problem.observables[name].deep
    return splitting.find_edges(route, name, float(_checks.number("stop", stop)), deep, particles, moves, seed + 7)


def _versions() -> dict[str, str]:
    return {"numpy": np.__version__, "machine": platform.machine()}
