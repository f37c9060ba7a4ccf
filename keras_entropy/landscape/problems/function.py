"""The parameter space of any function."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping

from keras_entropy import _checks
from keras_entropy.landscape.problems.problem import (
    Energy,
    Observable,
    Problem,
    checked_values,
    digest,
    uniform_parameters,
)
from keras_entropy.runs.identity import identity


def function_problem(
    energy: Energy,
    dimension: int,
    half_width: float,
    observables: Mapping[str, Observable],
    *,
    name: str = "user's function",
) -> Problem:
    """Create a problem from any function of the parameters.

    Args:
        energy: Function of a NumPy array of parameters (d, B), one column for each walker, that returns a mapping with
            an array (B,) for each observable.
        dimension: Integer d. Number of parameters.
        half_width: Float. The box is [-half_width, half_width]^d.
        observables: Mapping from the names that `energy` returns to `Observable`s.
        name: String. Description of the problem. A checkpoint stores it, together with the code of `energy` and the
            values that it encloses. Defaults to "user's function".

    Returns:
        A `Problem`.

    Raises:
        TypeError, ValueError: For invalid arguments, and if `energy` returns something else.

    Examples:
        >>> from keras_entropy.landscape import Observable, function_problem
        >>> problem = function_problem(lambda x: {"square": (x**2).sum(0)}, 3, 1.0, {"square": Observable()})
        >>> problem.dimension
        3
    """
    if not callable(energy):
        raise TypeError(_checks.message("energy", "a function of parameters (d, B)", energy))
    problem = Problem(name, dimension, half_width, observables, energy)
    checked_values(problem, energy(uniform_parameters(problem, 3)), 3)
    known = digest(name, dimension, half_width, sorted(observables.items()), identity(energy))
    return dataclasses.replace(problem, digest=known)


def discrete_problem(
    energy: Energy,
    dimension: int,
    values: Iterable[float],
    observables: Mapping[str, Observable],
    *,
    name: str = "user's function",
) -> Problem:
    """Create a problem from a function of parameters that take certain values only, such as spins or binary weights.

    The entropy of a bin is the log of its share of all `len(values) ** dimension` combinations. A move changes one
    parameter to another of its values.

    Args:
        energy: Function of a NumPy array of parameters (d, B), one column for each walker, that returns a mapping with
            an array (B,) for each observable.
        dimension: Integer d. Number of parameters.
        values: Two or more numbers. What each parameter can be, such as (-1, 1).
        observables: Mapping from the names that `energy` returns to `Observable`s.
        name: String. Description of the problem, as in `function_problem`. Defaults to "user's function".

    Returns:
        A `Problem`.

    Raises:
        TypeError, ValueError: For invalid arguments, and if `energy` returns something else.

    Examples:
        >>> import math
        >>> from keras_entropy.landscape import Observable, density_of_states, discrete_problem
        >>> up = discrete_problem(lambda x: {"up": (x > 0).mean(0)}, 8, (-1, 1), {"up": Observable(8, "high")})
        >>> found = density_of_states(up, "up", 2e4)
        >>> bool(abs(found.entropy[8] - math.log(1 / 2**8)) < 0.3)
        True
    """
    if not callable(energy):
        raise TypeError(_checks.message("energy", "a function of parameters (d, B)", energy))
    given = tuple(sorted({float(_checks.number("values", value)) for value in values}))
    if len(given) < 2:
        raise ValueError(_checks.message("values", "two or more different numbers", values))
    problem = Problem(name, dimension, max(map(abs, given)), observables, energy, values=given)
    checked_values(problem, energy(uniform_parameters(problem, 3)), 3)
    known = digest(name, dimension, given, sorted(observables.items()), identity(energy))
    return dataclasses.replace(problem, digest=known)
