"""What is sampled: a box of parameters and what is observed in it."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from keras_entropy import _backend, _checks
from keras_entropy.runs.identity import identity

Array = np.ndarray[Any, Any]
Energy = Callable[[Any], Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Observable:
    """A function of the parameters that an axis or a mean may be of.

    Attributes:
        levels: n where it takes the values 0/n, 1/n, ..., n/n only, such as an accuracy; None for any number.
        deep: "high" or "low": the end that few parameters reach.
    """

    levels: int | None = None
    deep: str = "low"

    def __post_init__(self) -> None:
        if self.levels is not None:
            _checks.positive_integer("levels", self.levels)
        _checks.one_of("deep", self.deep, ("high", "low"))


@dataclasses.dataclass(frozen=True)
class Problem:
    """A box [-half_width, half_width]^dimension and observables in it.

    Attributes:
        name: in words.
        dimension: d, number of parameters.
        half_width: of the box, the same for each parameter.
        observables: by name.
        energy: function of a NumPy array of parameters (d, B), walkers last, that returns (B,) for each observable.
        digest: of everything that determines the energy, so that a checkpoint of another problem is refused.
        traceable: whether the energy also takes arrays of JAX, within its compiler, where that is the backend.
        kernel: makes the compiled kernel for the axes that it is given, or gives None where there is none for them.
        data: arrays of that kernel.
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

    def __post_init__(self) -> None:
        _checks.positive_integer("dimension", self.dimension)
        if not _checks.number("half_width", self.half_width) > 0:
            raise ValueError(_checks.message("half_width", "above 0, or the box is empty", self.half_width))
        if not self.observables:
            raise ValueError(_checks.message("observables", "at least one, by name", dict(self.observables)))


def function_problem(
    energy: Energy,
    dimension: int,
    half_width: float,
    observables: Mapping[str, Observable],
    *,
    name: str = "user's function",
) -> Problem:
    """A problem of any function.

    Args:
        energy: function of a NumPy array of parameters (d, B), walkers last, that returns (B,) for each observable.
        dimension: d.
        half_width: of the box [-half_width, half_width]^d.
        observables: what the energy returns, by name.
        name: in words. A checkpoint is checked by it, and by the text of the function and the values that it encloses.

    Raises:
        TypeError, ValueError: for other arguments, and for an energy that does not return what it should.

    Examples:
        >>> from keras_entropy.landscape import Observable, function_problem
        >>> problem = function_problem(lambda x: {"square": (x**2).sum(0)}, 3, 1.0, {"square": Observable()})
        >>> problem.dimension
        3
    """
    if not callable(energy):
        raise TypeError(_checks.message("energy", "a function of parameters (d, B)", energy))
    problem = Problem(name, dimension, half_width, dict(observables), energy)
    checked_values(problem, energy(uniform_parameters(problem, 3)), 3)
    known = digest(name, dimension, half_width, sorted(observables.items()), identity(energy))
    return dataclasses.replace(problem, digest=known)


def ball_problem(dimension: int) -> Problem:
    """|x|^2 in the cube [-1, 1]^d, an observable "energy" whose entropy is known.

    Args:
        dimension: d.

    Examples:
        >>> from keras_entropy.landscape import ball_problem
        >>> ball_problem(10).observables["energy"].deep
        'low'
    """

    def energy(parameters: Any) -> dict[str, Any]:
        positive = (parameters > 0) + 0.0 * parameters
        return {"energy": (parameters**2).sum(0), "positive": positive.sum(0) / dimension}

    def kernel(axes: tuple[str, ...]) -> Any:
        from keras_entropy.landscape.kernels.exact_kernels import ball_kernel

        return ball_kernel(dimension) if axes == ("energy",) else None

    return Problem(
        f"ball in a cube of {dimension} dimensions",
        dimension,
        1.0,
        {"energy": Observable(), "positive": Observable(levels=dimension, deep="high")},
        energy,
        digest=digest("ball", dimension),
        traceable=True,
        kernel=kernel,
    )


def perceptron_problem(train: tuple[Array, Array], test: tuple[Array, Array]) -> Problem:
    """The accuracies of a perceptron with two weights in [-1, 1]^2, whose entropy is known.

    Args:
        train: points (n, 2) and labels (n,) of -1 or 1.
        test: the same.
    """
    sets = {"train_accuracy": train, "test_accuracy": test}

    def energy(parameters: Array) -> dict[str, Array]:
        return {name: np.mean(y[:, None] * (x @ parameters) > 0, axis=0) for name, (x, y) in sets.items()}

    def kernel(axes: tuple[str, ...]) -> Any:
        from keras_entropy.landscape.kernels.exact_kernels import perceptron_kernel

        return perceptron_kernel() if axes == tuple(sets) else None

    return Problem(
        "perceptron with two weights",
        2,
        1.0,
        {name: Observable(levels=len(y), deep="high") for name, (_, y) in sets.items()},
        energy,
        digest=digest("perceptron", *train, *test),
        kernel=kernel,
        data=(*train, *test),
    )


def checked_values(problem: Problem, values: Mapping[str, Any], count: int) -> dict[str, Array]:
    """What an energy has returned, as float64.

    Raises:
        ValueError: for another shape, a missing observable, or values that are not finite.
    """
    found = {}
    for name in problem.observables:
        if name not in values:
            raise ValueError(f"The energy returned no {name!r}. It returned: {', '.join(map(repr, values))}.")
        array = np.asarray(_backend.to_host(values[name]), dtype=np.float64)
        if array.shape != (count,):
            raise ValueError(
                f"The energy should return {name!r} of shape ({count},), a value for each walker (parameters come as "
                f"(d, B), walkers last). Received: shape {array.shape}."
            )
        check_finite(name, np.all(np.isfinite(array)))
        found[name] = array
    return found


def check_finite(name: str, finite: Any) -> None:
    """Raise `ValueError` unless all values of an observable were finite."""
    if not finite:
        raise ValueError(
            f"The energy returned a value of {name!r} that is not finite, for parameters within the box. Return a "
            "large number where there is none, or choose a smaller `half_width`."
        )


def uniform_parameters(problem: Problem, count: int) -> Array:
    """(d, B) points of the box."""
    draws = np.random.default_rng(0).uniform(-1.0, 1.0, (problem.dimension, count))
    points: Array = draws * problem.half_width
    return points


def digest(*parts: Any) -> str:
    """Equal for equal parts, arrays by their bits."""
    whole = hashlib.sha256()
    for part in parts:
        whole.update(np.ascontiguousarray(part).tobytes() if isinstance(part, np.ndarray) else repr(part).encode())
    return whole.hexdigest()[:16]
