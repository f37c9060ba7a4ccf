"""The entropy of parameter space in three phases: splitting, Wang-Landau, production."""

from __future__ import annotations

import dataclasses
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import keras
import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy.landscape import checkpoint as checkpoint_file
from keras_entropy.landscape import resumption, splitting, wang_landau
from keras_entropy.landscape.axis import Axis, Bins, axis_names, axis_of
from keras_entropy.landscape.estimate import estimate_result
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.result import DensityOfStates
from keras_entropy.landscape.samplers.sampler import HMC, Sampler, random_states
from keras_entropy.landscape.samplers.selection import select_sampler

Array = np.ndarray[Any, Any]

_EDGES, _SPLITTING, _LEARNING = 0.04, 0.08, 0.08
"""Fractions of the moves: to find the edges of an axis, to split, to learn the weights."""

_LEVELS, _DEEP_LEVELS = 30, 100
"""Expected number of levels of splitting: along an accuracy, and along a loss down to its deepest bin."""

_SPLIT_MOVES = 100, 5000
"""Least and most moves of each particle at each level of splitting: fewer would let it die out."""

_SECONDS = 10.0
"""Seconds between checkpoints."""

_PROGRESS_SECONDS = 0.5
"""Seconds between calls of `progress`."""


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a run reports while it goes on.

    Attributes:
        phase: String. "splitting", "learning" or "production".
        done: Float. Fraction of the moves of the whole run that are made.
        moves_per_second: Float. Moves per second since the last report.
        log_f: Float. What each visit adds to a log weight.
        visited: Float. Fraction of the target bins visited in this phase, or since log_f changed.
        round_trips: Integer. Round trips so far.
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
    target_loss: float | None = None,
    walkers: int = 32,
    particles: int = 200,
    split_moves: int | None = None,
    hmc_fraction: float = 0.0,
    num_leapfrog_steps: int = 10,
    backend: str | None = None,
    threads: int | None = None,
    checkpoint: str | os.PathLike[str] | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> DensityOfStates:
    """Estimate the entropy S = ln(V_bin / V_box) of the parameters in each bin of a loss or accuracy, in nats.

    S is defined in (Zhang, 2021, eq. 8). Multilevel splitting from uniform samples finds walkers for all bins and a
    first estimate. A Wang-Landau walk (Wang and Landau, 2001) with the 1/t schedule (Belardinelli and Pereyra, 2007)
    refines it over bins that are fixed beforehand; all walkers share one set of weights. Production has eight rounds at
    frozen weights, which are estimated again between the rounds. It gives two estimates: from the moves proposed
    between near bins, and from the histograms of visits of all rounds (Ferrenberg and Swendsen, 1989).

    Args:
        problem: `Problem`. The box of parameters, and the observables.
        axes: One or two names of observables. Splitting goes along the first one. Defaults to `("train_accuracy",)`.
        moves: Float. Number of moves of all walkers together, in all phases. Defaults to 1e8.
        seed: Integer. Seed of the random numbers. Defaults to 0.
        edges: Mapping from names of observables to increasing edges of bins. Values beyond the first or the last edge
            count in the first or the last bin, so that the bins cover the whole box. Without edges, an accuracy has one
            bin for each value, and a loss has bins of about one nat down to `target_loss`. Defaults to None.
        target_loss: Float. Deepest edge of an axis that has neither edges nor levels, such as a training loss. Defaults
            to None.
        walkers: Integer. Number of walkers. Defaults to 32.
        particles: Integer. Number of particles of splitting. Defaults to 200.
        split_moves: Integer. Moves of each particle at each level of splitting. Defaults to None: splitting takes 8 %
            of the moves, and 4 % more if it has to find edges, but at least 100 for each particle and level. So a
            run of less than about 1e6 moves makes more moves than `moves`, unless `split_moves` is given.
        hmc_fraction: Float, below 1. Fraction of the moves after splitting that are Hamiltonian Monte Carlo along the
            gradient of the observable; 0 for single-component moves only. It needs one axis whose observable has a
            gradient, such as a loss, and the JAX backend. Defaults to 0.
        num_leapfrog_steps: Integer. Leapfrog steps of each Hamiltonian trajectory; with 1 it is the Metropolis-adjusted
            Langevin algorithm. Defaults to 10.
        backend: String. What computes the moves. "numba" is machine code that evaluates what a move changes only, for
            the problems of this package; "jax" is one compiled program for all walkers, for any energy that JAX can
            trace, on the JAX backend of Keras; "numpy" evaluates any energy. Defaults to None: the first of them that
            serves, "jax" with `hmc_fraction`; "jax" is not tried for a `function_problem`.
        threads: Integer. Number of threads of the "numba" moves; the result is the same for any number. Defaults to
            None: one for each core.
        checkpoint: Path of a file that stores the walk. If it exists, the walk resumes from it and is bit-identical to
            one that was never stopped. Defaults to None.
        progress: Function that is called with a `Progress` about twice a second. Defaults to None.

    Returns:
        A `DensityOfStates`. Read its `status` before you use it.

    Raises:
        TypeError, ValueError: For invalid arguments, and for a checkpoint that is corrupted or of another walk.
        RuntimeError: If splitting does not reach the deep end of the first axis.
        ModuleNotFoundError: If the problem needs Numba and it is not installed.

    Examples:
        >>> from keras_entropy.landscape import ball_problem, density_of_states, exact
        >>> found = density_of_states(ball_problem(10), ["energy"], 1e5, edges={"energy": exact.ball_edges(10, 8)})
        >>> found.entropy.shape
        (8,)
    """
    begin = time.monotonic()
    threads = None if threads is None else _checks.positive_integer("threads", threads)
    names = axis_names(problem, axes)
    settings = _Settings(
        problem=problem,
        axes=tuple(axis_of(problem, name, edges or {}) for name in names),
        names=names,
        moves=_checks.moves(moves),
        seed=_checks.seed("seed", seed),
        target_loss=None if target_loss is None else float(_checks.number("target_loss", target_loss)),
        walkers=_checks.positive_integer("walkers", walkers),
        particles=_checks.positive_integer("particles", particles),
        split_moves=None if split_moves is None else _checks.positive_integer("split_moves", split_moves),
        hmc=_hmc(problem, names, hmc_fraction, num_leapfrog_steps, backend),
    )
    for argument in ("walkers", "particles"):
        count = getattr(settings, argument)
        _checks.fits_memory(argument, count, 8 * problem.dimension * count)
    sampler = select_sampler(problem, names, backend or (None if settings.hmc is None else "jax"), threads)
    if settings.hmc is not None:
        from keras_entropy.landscape.samplers.hamiltonian import check_gradient

        check_gradient(problem, names[0])
    identity = settings.identity(sampler)
    stored = None if checkpoint is None else checkpoint_file.read(checkpoint, identity)
    if stored is None:
        if progress is not None:
            progress(Progress("splitting", 0.0, 0.0, 0.0, 0.0, 0))
        run = _start(sampler, settings)
    else:
        run = _resumed(checkpoint, settings, *stored)

    def save() -> None:
        if checkpoint is not None:
            checkpoint_file.write(checkpoint, identity, run.state, run.extra(time.monotonic() - begin))

    save()
    _walk(sampler, run, save, progress)
    save()
    seconds = run.seconds + time.monotonic() - begin
    return estimate_result(problem.name, tuple(problem.observables), run.schedule, run.state, run.splitting, seconds)


@dataclasses.dataclass(frozen=True)
class _Settings:
    """The checked arguments that determine a walk; an axis is None if splitting has to find its edges."""

    problem: Problem
    axes: tuple[Axis | None, ...]
    names: tuple[str, ...]
    moves: int
    seed: int
    target_loss: float | None
    walkers: int
    particles: int
    split_moves: int | None
    hmc: HMC | None

    def identity(self, sampler: Sampler) -> dict[str, Any]:
        """Return the plain values that a checkpoint must match, by the names of the arguments."""
        return {
            "problem": self.problem.digest,
            "axes": list(self.names),
            "edges": [None if axis is None else axis.edges.tolist() for axis in self.axes],
            "moves": self.moves,
            "seed": self.seed,
            "target_loss": self.target_loss,
            "walkers": self.walkers,
            "particles": self.particles,
            "split_moves": self.split_moves,
            "hmc_fraction": 0.0 if self.hmc is None else self.hmc.fraction,
            "num_leapfrog_steps": None if self.hmc is None else self.hmc.num_leapfrog_steps,
            "backend": type(sampler).__name__,
            "NumPy version": np.__version__,
            "machine": platform.machine(),
        }

    def moves_per_level(self, fraction: float, levels: int) -> int:
        """Return the moves of each particle at each of `levels` levels that together take a fraction of all moves."""
        return self.split_moves or int(np.clip(fraction * self.moves / (levels * self.particles), *_SPLIT_MOVES))

    def schedule(self, bins: Bins, entropy: Array, spent: int, octaves: int) -> wang_landau.Schedule:
        """Return the schedule of the walk after `spent` moves of splitting, which has found `entropy` (n,)."""
        learning = max(1, int(_LEARNING * self.moves / self.walkers))
        production = max(1, (self.moves - spent) // self.walkers - learning, int(0.5 * self.moves / self.walkers))
        largest = int(np.argmax(entropy))
        rows = np.flatnonzero(bins.mapping >= 0) // (bins.mapping.size // bins.axes[0].bins)
        deep = rows == (rows.max() if bins.axes[0].deep == "high" else rows.min())
        smallest = int(np.argmin(np.where(deep, entropy, np.inf)))
        return wang_landau.Schedule(bins, octaves, learning, production, (largest, smallest), self.hmc)


@dataclasses.dataclass(frozen=True)
class _Run:
    """A walk after splitting.

    Attributes:
        schedule: Schedule of the walk.
        state: State of the walk, which changes in place.
        splitting: Array (n,). Entropies of the target bins by splitting.
        spent: Integer. Moves of splitting.
        seconds: Float. Wall time of the earlier processes that made this walk.
    """

    schedule: wang_landau.Schedule
    state: wang_landau.State
    splitting: Array
    spent: int
    seconds: float

    def extra(self, seconds: float) -> dict[str, Array]:
        """Return the arrays that a checkpoint stores beside the state, after `seconds` of this process."""
        bins = self.schedule.bins
        stored = {f"edges{i}": axis.edges for i, axis in enumerate(bins.axes)}
        stored |= {"mapping": bins.mapping, "splitting": self.splitting, "spent": np.array(self.spent)}
        stored["octaves"] = np.array(self.schedule.octaves)
        return {**stored, "seconds": np.array(self.seconds + seconds)}


def _start(sampler: Sampler, settings: _Settings) -> _Run:
    """Split, and place the walkers."""
    axes = tuple(
        axis or _find_axis(sampler, name, settings) for axis, name in zip(settings.axes, settings.names, strict=True)
    )
    levels = _LEVELS if settings.problem.observables[settings.names[0]].levels else axes[0].bins
    moves = settings.moves_per_level(_SPLITTING, levels)
    split = splitting.split(sampler, axes, settings.particles, moves, settings.seed)
    schedule = settings.schedule(split.bins, split.entropy, split.moves, split.octaves)
    parameters = split.select(settings.walkers, np.random.default_rng([settings.seed, 2]))
    states = random_states(settings.seed + 1_000_003, settings.walkers)
    state = wang_landau.init(schedule, split.entropy, parameters, states, len(settings.problem.observables))
    return _Run(schedule, state, split.entropy, split.moves, 0.0)


def _resumed(path: Any, settings: _Settings, state: wang_landau.State, stored: dict[str, Array]) -> _Run:
    """Return the walk of a checkpoint.

    Raises:
        ValueError: If it cannot be one of this walk.
    """
    try:
        bins = resumption.checked_bins(settings.problem, settings.names, settings.axes, stored)
        entropy = resumption.checked_entropy(stored, bins)
        spent = resumption.checked_number(stored, "spent", np.int64)
        octaves = resumption.checked_octaves(stored)
        schedule = settings.schedule(bins, entropy, spent, octaves)
        resumption.check_state(settings.problem, schedule, settings.walkers, state)
        return _Run(schedule, state, entropy, spent, resumption.checked_number(stored, "seconds", np.float64))
    except ValueError as error:
        raise checkpoint_file.damaged(path, error) from error


def _find_axis(sampler: Sampler, name: str, settings: _Settings) -> Axis:
    if settings.target_loss is None:
        raise ValueError(
            f"`target_loss` should be the deepest value of {name!r}, or `edges` should have its bins. Received: "
            "target_loss=None."
        )
    moves = settings.moves_per_level(_EDGES, _DEEP_LEVELS)
    return splitting.find_axis(sampler, name, settings.target_loss, settings.particles, moves, settings.seed + 7)


def _walk(sampler: Sampler, run: _Run, save: Callable[[], None], progress: Callable[[Progress], None] | None) -> None:
    """Walk to the end, with a checkpoint and a report now and then."""
    schedule, state = run.schedule, run.state
    count = len(state.walkers.bins)
    whole = run.spent + count * (schedule.learning + schedule.production)
    earlier = schedule.learning if state.phase == wang_landau.PRODUCTION else 0
    made = run.spent + count * (state.moves + earlier)
    saved = reported = time.monotonic()
    since = 0
    while not wang_landau.is_finished(schedule, state):
        info = wang_landau.step(sampler, schedule, state)
        made, since = made + info.moves, since + info.moves
        now = time.monotonic()
        if now - saved > _SECONDS:
            save()
            saved = now
        if progress is not None and now - reported > _PROGRESS_SECONDS:
            rate = since / (now - reported)
            progress(Progress(state.phase, made / whole, rate, state.log_f, info.visited, info.round_trips))
            reported, since = now, 0


def _hmc(
    problem: Problem, axes: tuple[str, ...], fraction: float, num_leapfrog_steps: int, backend: str | None
) -> HMC | None:
    """Return the settings of Hamiltonian Monte Carlo, or None for a fraction of 0.

    Raises:
        TypeError, ValueError: For invalid numbers, and if there is no gradient.
    """
    num_leapfrog_steps = _checks.positive_integer("num_leapfrog_steps", num_leapfrog_steps)
    fraction = float(_checks.number("hmc_fraction", fraction))
    if not 0 <= fraction < 1:
        remedy = "The other moves change one component; their proposals between bins give the entropy."
        raise ValueError(_checks.message("hmc_fraction", "at least 0 and below 1", fraction, remedy))
    if not fraction:
        return None
    if len(axes) > 1:
        raise ValueError(f"`hmc_fraction` above 0 needs a single axis. Received: axes={axes!r}. Use hmc_fraction=0.")
    if problem.values:
        raise ValueError(
            "`hmc_fraction` above 0 needs parameters that change continuously. Received: parameters that take "
            f"{len(problem.values)} values. Use hmc_fraction=0."
        )
    levels = problem.observables[axes[0]].levels
    if levels is not None:
        raise ValueError(
            f"`hmc_fraction` above 0 needs an observable with a gradient, such as a loss. Received: {axes[0]!r}, which "
            f"has {levels + 1} levels and is flat between them. Use hmc_fraction=0."
        )
    if backend not in (None, "jax"):
        raise ValueError(
            f"`hmc_fraction` above 0 needs backend='jax', which has gradients. Received: backend={backend!r}. Omit "
            "`backend` on the JAX backend, or use hmc_fraction=0."
        )
    if not _backend.framework().transforms_functions:
        raise ValueError(
            f"`hmc_fraction` above 0 needs the JAX backend. Received: {keras.backend.backend()}. Set "
            "KERAS_BACKEND=jax, or use hmc_fraction=0."
        )
    return HMC(fraction, num_leapfrog_steps)
