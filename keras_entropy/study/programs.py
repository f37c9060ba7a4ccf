"""Functions traced by JAX, and which of them are one program with different numbers."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import jax
import numpy as np
from jax.extend import core

# Calls of another traced function, by the version of JAX, and where they keep it.
_CALLS = {
    "jit": "jaxpr",
    "pjit": "jaxpr",
    "closed_call": "call_jaxpr",
    "custom_jvp_call": "call_jaxpr",
    "custom_vjp_call": "call_jaxpr",
}


@dataclasses.dataclass(frozen=True)
class _Operation:
    """A primitive of JAX; where its inputs come from and where its outputs go, as places in a `Program`."""

    primitive: Any
    settings: Any
    inputs: list[int]
    outputs: list[int]
    params: dict[str, Any] = dataclasses.field(compare=False)


class Program:
    """A traced function as a list of operations, apart from the numbers that stand in it.

    Values have places: those of arguments and results of operations are counted from 0, those of numbers from -1 down.

    Args:
        function: of trees of arrays.
        *arguments: trees of arrays, or of their shapes and types, to trace it for.

    Attributes:
        numbers: the constants of the function, such as a factor, in the order in which they occur.
        form: all else. Functions of equal forms and equal numbers do the same.
    """

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*arguments)
        self._tree = jax.tree.structure(shapes)
        self._read(traced)

    @classmethod
    def _of(cls, traced: Any) -> Program:
        program = cls.__new__(cls)
        program._tree = None
        program._read(traced)
        return program

    def _read(self, traced: Any) -> None:
        self.numbers: list[Any] = []
        self._operations: list[_Operation] = []
        arguments = [str(variable.aval) for variable in traced.jaxpr.invars]
        self._values = len(arguments)
        self._results = self._inline(traced, range(self._values))
        types = [(np.shape(number), np.asarray(number).dtype) for number in self.numbers]
        self.form = (arguments, self._operations, self._results, types, self._tree)

    def _inline(self, traced: Any, arguments: Iterable[int]) -> list[int]:
        """Add the operations of a traced function, and return the places of its results."""
        jaxpr = traced.jaxpr
        places: dict[Any, int] = dict(zip(jaxpr.invars, arguments, strict=True))
        for variable, constant in zip(jaxpr.constvars, traced.consts, strict=True):
            places[variable] = self._place(constant)

        def place(atom: Any) -> int:
            if isinstance(atom, core.Literal):
                return self._place(np.asarray(atom.val, atom.aval.dtype))
            return places[atom]

        for equation in jaxpr.eqns:
            inputs = [place(atom) for atom in equation.invars]
            call = _CALLS.get(equation.primitive.name)
            if call is not None:
                outputs = self._inline(equation.params[call], inputs)
            else:
                outputs = list(range(self._values, self._values + len(equation.outvars)))
                self._values += len(outputs)
                settings = {name: _comparable(value) for name, value in equation.params.items()}
                operation = _Operation(equation.primitive, settings, inputs, outputs, equation.params)
                self._operations.append(operation)
            places.update(zip(equation.outvars, outputs, strict=True))
        return [place(atom) for atom in jaxpr.outvars]

    def _place(self, number: Any) -> int:
        self.numbers.append(number)
        return -len(self.numbers)

    def __call__(self, numbers: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """The result for a list of arrays, with `numbers` in place of the program's own."""
        values = dict(enumerate(arguments)) | {-1 - i: number for i, number in enumerate(numbers)}
        for operation in self._operations:
            found = operation.primitive.bind(*(values[i] for i in operation.inputs), **operation.params)
            found = found if operation.primitive.multiple_results else [found]
            values.update(zip(operation.outputs, found, strict=True))
        return jax.tree.unflatten(self._tree, [values[i] for i in self._results])


class Common:
    """What several programs of one form have in common: their program, with the numbers in which they differ left open.

    Args:
        programs: of one form.

    Attributes:
        numbers: for each program its numbers in those places.
    """

    def __init__(self, programs: Sequence[Program]) -> None:
        self._program = programs[0]
        columns = zip(*(program.numbers for program in programs), strict=True)
        self._open = [i for i, column in enumerate(columns) if not all(equal(column[0], value) for value in column)]
        self.numbers = [[np.asarray(program.numbers[i]) for i in self._open] for program in programs]

    def __call__(self, numbers: Sequence[Any], arguments: Sequence[Any]) -> Any:
        """The result for a list of arrays, with one program's numbers."""
        given = dict(zip(self._open, numbers, strict=True))
        return self._program([given.get(i, own) for i, own in enumerate(self._program.numbers)], arguments)


def equal(one: Any, other: Any) -> bool:
    """Whether two arrays have the same shape, type and bits."""
    if one is other:
        return True
    one, other = np.asarray(one), np.asarray(other)
    return bool(one.shape == other.shape and one.dtype == other.dtype and one.tobytes() == other.tobytes())


def _comparable(value: Any) -> Any:
    """A setting of a primitive; a function in it, such as a branch, by its form and its numbers."""
    if isinstance(value, core.Jaxpr):
        value = core.ClosedJaxpr(value, ())
    if isinstance(value, core.ClosedJaxpr):
        program = Program._of(value)
        return program.form, [np.asarray(number).tobytes() for number in program.numbers]
    if isinstance(value, list | tuple):
        return [_comparable(item) for item in value]
    return value
