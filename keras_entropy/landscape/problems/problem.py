"""What is sampled: a box of parameters, and observables in it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy._frozen import FrozenDict

Array = np.ndarray[Any, Any]
Energy = Callable[[Any], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Observable:
    """A function of the parameters that can be an axis, or whose mean in each bin is recorded.

    Attributes:
        levels: Integer n for an observable that takes the values 0/n, 1/n, ..., n/n only, such as an accuracy; None for
            one that changes continuously. Defaults to None.
        deep: "low" or "high": the end of the values that only a small part of the box reaches, such as "low" for a loss
            and "high" for an accuracy. Defaults to "low".

    Raises:
        TypeError, ValueError: For other values of the arguments.

    Examples:
        >>> from keras_entropy.landscape import Observable
        >>> Observable(levels=40, deep="high")
        Observable(levels=40, deep='high')
    """

    levels: int | None = None
    deep: str = "low"

    def __post_init__(self) -> None:
        if self.levels is not None:
            _checks.positive_integer("levels", self.levels)
        _checks.one_of("deep", self.deep, ("high", "low"))


@dataclasses.dataclass(frozen=True, eq=False)
class Problem:
    """A box [-half_width, half_width]^dimension of parameters, and observables in it.

    `network_problem`, `keras_problem`, `function_problem`, `discrete_problem`, `ball_problem` and `perceptron_problem`
    make one.

    Attributes:
        name: String. Description of the problem.
        dimension: Integer d. Number of parameters.
        half_width: Float. Half width of the box, the same for each parameter.
        observables: Mapping from names to `Observable`s.
        energy: Function of a NumPy array of parameters (d, B), one column for each walker, that returns a mapping with
            an array (B,) for each observable.
        digest: String. Hash of everything that determines the energy; a checkpoint of another problem is refused.
        traceable: Boolean. Whether `energy` also takes JAX arrays inside compiled code. Defaults to False.
        kernel: Function that returns the compiled kernel for the axes in its argument, or None if there is none for
            them. None for a problem without kernels. Defaults to None.
        data: Arrays for the kernel.
        values: Increasing numbers within the box: the values that a parameter can take. Empty if it can take any value
            in the box. Defaults to empty.
    """

    name: str
    dimension: int
    half_width: float
    observables: Mapping[str, Observable]
    energy: Energy
    digest: str = ""
    traceable: bool = False
    kernel: Callable[[tuple[str, ...]], Any] | None = None
    data: tuple[Any, ...] = ()
    values: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        _checks.fits_memory("dimension", self.dimension, 8 * _checks.positive_integer("dimension", self.dimension))
        if not _checks.number("half_width", self.half_width) > 0:
            raise ValueError(_checks.message("half_width", "above 0", self.half_width, "A box of width 0 is empty."))
        if not self.observables:
            raise ValueError(_checks.message("observables", "a mapping with at least one observable", self.observables))
        object.__setattr__(self, "observables", FrozenDict(self.observables))


def checked_values(problem: Problem, values: Mapping[str, Any], count: int) -> dict[str, Array]:
    """Return the values of an energy at `count` points, as float64.

    Raises:
        ValueError: For a missing observable, another shape, or values that are not finite.
    """
    found = {}
    for name in problem.observables:
        if name not in values:
            raise ValueError(
                f"`energy` should return a value for {name!r}. Received: {', '.join(map(repr, values)) or 'nothing'}."
            )
        array = np.asarray(_backend.to_host(values[name]), dtype=np.float64)
        if array.shape != (count,):
            raise ValueError(
                f"`energy` should return {name!r} of shape ({count},), one value for each column of the parameters "
                f"(d, {count}). Received: shape {array.shape}."
            )
        check_finite(name, np.all(np.isfinite(array)))
        found[name] = array
    return found


def check_finite(name: str, finite: Any) -> None:
    """Raise `ValueError` unless all values of an observable are finite."""
    if not finite:
        raise ValueError(
            f"`energy` should return finite values everywhere in the box. Received: a value of {name!r} that is not "
            "finite. Return a large number instead, or choose a smaller `half_width`."
        )


def uniform_parameters(problem: Problem, count: int) -> Array:
    """Return (d, count) uniform points of the box, the same at each call."""
    return drawn_parameters(problem, np.random.default_rng(0), (problem.dimension, count))


def drawn_parameters(problem: Problem, rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Return uniform parameters."""
    if problem.values:
        return rng.choice(np.array(problem.values), shape)
    return rng.uniform(-problem.half_width, problem.half_width, shape)


def digest(*parts: Any) -> str:
    """Return a hash of the parts: of the bytes of an array, of the `repr` of anything else."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return whole.hexdigest()[:16]
