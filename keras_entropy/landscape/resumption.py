"""What a checkpoint has to say before compiled code sees it: shapes, types and ranges that fit the walk."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from keras_entropy.landscape import wang_landau
from keras_entropy.landscape.axis import Axis, Bins, bins_of
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.samplers.octaves import MOST

Array = np.ndarray[Any, Any]

_ROUNDING = 1e-9
"""How far beyond the walls of the box a position may be, in half widths."""


def checked_bins(
    problem: Problem, names: Sequence[str], given: Sequence[Axis | None], stored: Mapping[str, Any]
) -> Bins:
    """The bins of a checkpoint.

    Args:
        problem: `Problem`.
        names: Names of the axes.
        given: The axes that the arguments determine; None for an axis that splitting has found.
        stored: Arrays of the checkpoint, by name.

    Raises:
        ValueError: If the bins are not those of such a walk. The message is a clause.
    """
    axes = []
    for i, name in enumerate(names):
        edges = _array(stored, f"edges{i}", np.float64)
        axes.append(Axis(name, edges, problem.observables[name].deep))
        known = given[i]
        if known is not None and not np.array_equal(known.edges, edges):
            raise ValueError(f"the edges of {name!r} are not those of the arguments")
    mapping = _array(stored, "mapping", np.int64)
    if mapping.shape != (math.prod(axis.bins for axis in axes),) or mapping.max(initial=-1) < 0:
        raise ValueError("its bins do not fit its axes")
    bins = bins_of(axes, mapping >= 0)
    if not np.array_equal(bins.mapping, mapping):
        raise ValueError("its bins are not numbered in order")
    return bins


def checked_number(stored: Mapping[str, Any], name: str, kind: type) -> Any:
    """A number of a checkpoint that is finite and at least 0.

    Raises:
        ValueError: If it is not. The message is a clause.
    """
    array = np.asarray(stored.get(name))
    if array.shape != () or array.dtype != kind or not np.isfinite(array) or array < 0:
        raise ValueError(f"`{name}` is not a number of at least 0")
    return array.item()


def checked_octaves(stored: Mapping[str, Any]) -> int:
    """The octaves of the moves.

    Raises:
        ValueError: If no walk has so many. The message is a clause.
    """
    octaves: int = checked_number(stored, "octaves", np.int64)
    if octaves > MOST:
        raise ValueError(f"its moves have {octaves} octaves, more than {MOST}")
    return octaves


def checked_entropy(stored: Mapping[str, Any], bins: Bins) -> Array:
    """The entropy of the target bins by splitting.

    Raises:
        ValueError: If it is not. The message is a clause.
    """
    entropy = _array(stored, "splitting", np.float64)
    if entropy.shape != (bins.count,) or not np.all(np.isfinite(entropy)):
        raise ValueError("`splitting` is not a finite number for each bin")
    return entropy


def check_state(problem: Problem, schedule: wang_landau.Schedule, walkers: int, state: wang_landau.State) -> None:
    """Check that a walk can go on from a state.

    Raises:
        ValueError: If it cannot. The message is a clause.
    """
    n = schedule.bins.count
    start = np.zeros((walkers, problem.dimension))
    states = np.zeros((walkers, 4), np.uint64)
    new = wang_landau.init(schedule, np.zeros(n), start, states, len(problem.observables))
    for name, array, like in _pairs(state, new):
        if array.shape != like.shape or array.dtype != like.dtype:
            raise ValueError(
                f"`{name}` has shape {array.shape} and type {array.dtype}, not {like.shape} and {like.dtype}"
            )
        if array.dtype.kind == "f" and not np.all(np.isfinite(array)):
            raise ValueError(f"`{name}` is not finite")
        if array.dtype.kind == "i" and array.min(initial=0) < (-1 if name == "walkers.bins" else 0):
            raise ValueError(f"`{name}` is negative")
    limits = {wang_landau.LEARNING: schedule.learning, wang_landau.PRODUCTION: schedule.production}
    if not isinstance(state.phase, str) or state.phase not in limits:
        raise ValueError(f"its phase is {state.phase!r}")
    if type(state.moves) is not int or not 0 <= state.moves <= limits[state.phase]:
        raise ValueError(f"its number of moves is {state.moves!r}")
    if type(state.log_f) is not float or not 0 <= state.log_f <= wang_landau.FIRST_LOG_F:
        raise ValueError(f"its log_f is {state.log_f!r}")
    if np.abs(state.walkers.parameters).max() > problem.half_width * (1 + _ROUNDING):
        raise ValueError("a walker is outside of the box")
    possible = np.array(problem.values, np.float32)  # JAX computes in this type
    if len(possible) and not np.isin(state.walkers.parameters.astype(np.float32), possible).all():
        raise ValueError("a walker has a parameter that is none of the values of the problem")
    if not np.array_equal(state.visits.sum(0), state.info.histogram):
        raise ValueError("the visits of its rounds do not add up")
    if state.walkers.bins.max() >= n:
        raise ValueError("a walker is in a bin that does not exist")
    if state.walkers.trips[:, 0].max() > 2 or not state.walkers.random_states.any(axis=1).all():
        raise ValueError("a walker has an impossible state")


def _pairs(state: Any, like: Any, prefix: str = "") -> list[tuple[str, Array, Array]]:
    """The arrays of two states, by name."""
    found = []
    for field in dataclasses.fields(like):
        one, other = getattr(state, field.name), getattr(like, field.name)
        if dataclasses.is_dataclass(other):
            found += _pairs(one, other, f"{prefix}{field.name}.")
        elif isinstance(other, np.ndarray):
            found.append((prefix + field.name, np.asarray(one), other))
    return found


def _array(stored: Mapping[str, Any], name: str, kind: Any) -> Array:
    array = np.asarray(stored.get(name))
    if array.dtype != kind or array.ndim != 1:
        raise ValueError(f"`{name}` is not a list of numbers")
    return array
