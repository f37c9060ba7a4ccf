"""Checks of arguments, and the one wording of errors: argument, expectation, received value, remedy."""

from __future__ import annotations

import math
import numbers
import os
import re
from collections.abc import Collection, Iterable
from typing import Any

_LONGEST = 500  # characters of a received value
_LARGEST = 3.4e38  # of a float32


class EntropyWarning(UserWarning):
    """Warning about an entropy term or measure that does not stop the work."""


def message(argument: str, expected: str, received: object, remedy: str = "") -> str:
    """Word an error about an argument.

    Args:
        argument: String. Name of the argument.
        expected: String. What it should be, to follow "should be".
        received: The value of the argument. An array, also as nested lists, is shown by its shape; a long value is cut.
        remedy: String. One or more sentences that say what to do. Defaults to none.

    Examples:
        >>> from keras_entropy import _checks
        >>> _checks.message("epsilon", "at least 0", -1, "Use epsilon=0 for no noise.")
        '`epsilon` should be at least 0. Received: epsilon=-1 (of type int). Use epsilon=0 for no noise.'
    """
    text = f"`{argument}` should be {expected}. Received: {argument}{_shown(received)} (of type {_type(received)})."
    return f"{text} {remedy}" if remedy else text


def _shown(value: Any) -> str:
    if isinstance(value, int) and value.bit_length() > 1024:  # Python prints all of up to 4300 digits, or none
        return f"=an integer of {value.bit_length()} bits"
    if hasattr(value, "dtype") and len(getattr(value, "shape", ())):
        return f" of shape {tuple(value.shape)}"
    text, shape = repr(value), _shape_of_lists(value)
    if shape is not None and (len(shape) > 1 or len(text) > _LONGEST):
        return f" of shape {shape}"
    return f"={text}" if len(text) <= _LONGEST else f"={text[:_LONGEST]}..."


def _shape_of_lists(value: Any) -> tuple[int, ...] | None:
    """The shape of an array of numbers as nested lists; None for anything else, () for a number."""
    if isinstance(value, numbers.Real):
        return ()
    shapes = {_shape_of_lists(item) for item in value} if isinstance(value, list) else set()
    shape = shapes.pop() if len(shapes) == 1 else None
    return None if shape is None else (len(value), *shape)


def _type(value: object) -> str:
    return type(value).__name__


def printable(text: object) -> str:
    """Return a text or a path with "?" for control characters, which names from files of other people may hold."""
    return "".join(c if c.isprintable() else "?" for c in str(text))


def in_a_line(error: object) -> str:
    """What an error says, in one line of printable text without a full stop, to go on after it."""
    return printable(" ".join(without_bold(str(error)).split())).rstrip(".")


def without_bold(text: str) -> str:
    """Remove the codes of bold text for terminals, which Keras has in its errors."""
    return re.sub(r"\x1b\[[01]m", "", text)


def one_of(argument: str, value: object, choices: Collection[str]) -> str:
    """Return a string that is one of `choices`.

    Raises:
        ValueError: If it is something else.
    """
    if not isinstance(value, str) or value not in choices:
        raise ValueError(message(argument, "one of " + ", ".join(repr(choice) for choice in choices), value))
    return value


def number(argument: str, value: Any) -> int | float:
    """Return a finite number as a plain Python number.

    Raises:
        TypeError: If it is a boolean or no number.
        ValueError: If it is NaN or infinite.
    """
    if hasattr(value, "item") and getattr(value, "ndim", None) == 0:  # a NumPy scalar or 0-d array
        value = value.item()
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(message(argument, "a finite number", value))
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer beyond the largest float
        finite = False
    if not finite:
        raise ValueError(message(argument, "a finite number", value))
    return int(value) if isinstance(value, int) else float(value)


def float32(argument: str, value: Any) -> int | float:
    """Return a number that float32 holds, in which terms are computed, as a plain Python number.

    Raises:
        TypeError: If it is a boolean or no number.
        ValueError: If it is NaN, infinite, or infinite as float32.
    """
    plain = number(argument, value)
    if abs(plain) > _LARGEST:
        raise ValueError(message(argument, f"a number from -{_LARGEST:.1e} to {_LARGEST:.1e}, as float32 holds", value))
    return plain


def moves(value: Any) -> int:
    """Return a number of moves, which may be a float such as 1e8, as a Python integer.

    Raises:
        TypeError, ValueError: If it is no number from 1 to 1e18.
    """
    plain = number("moves", value)
    if not 1 <= plain <= 1e18:  # counts of moves are 64-bit integers
        raise ValueError(message("moves", "from 1 to 1e18", value))
    return int(plain)


def non_negative(argument: str, value: Any) -> float:
    """Return a number that is at least 0 as a plain Python number.

    Raises:
        TypeError, ValueError: If it is something else.
    """
    plain = number(argument, value)
    if plain < 0:
        raise ValueError(message(argument, "at least 0", value))
    return plain


def positive(argument: str, value: Any) -> float:
    """Return a number above 0 as a float.

    Raises:
        TypeError, ValueError: If it is something else.
    """
    plain = float(number(argument, value))
    if plain <= 0:
        raise ValueError(message(argument, "above 0", value))
    return plain


def flag(argument: str, value: Any) -> bool:
    """Return a boolean.

    Raises:
        TypeError: If it is something else.
    """
    if not isinstance(value, bool):
        raise TypeError(message(argument, "True or False", value))
    return value


def seed(argument: str, value: Any) -> int:
    """Return a seed, an integer from 0 to 2**32 - 1, as a Python integer.

    Raises:
        TypeError, ValueError: If it is something else.
    """
    expected = "an integer from 0 to 2**32 - 1"
    try:
        plain = number(argument, value)
    except (TypeError, ValueError) as error:
        raise type(error)(message(argument, expected, value)) from None
    if not isinstance(plain, int) or not 0 <= plain < 2**32:
        raise ValueError(message(argument, expected, value))
    return plain


def seeds(argument: str, values: Any) -> list[int]:
    """Return a list of different seeds.

    Raises:
        TypeError, ValueError: If it is something else.
    """
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(message(argument, "a list of seeds, such as range(10)", values))
    found = [seed(f"{argument}[{i}]", value) for i, value in enumerate(values)]
    if len(set(found)) < len(found):
        raise ValueError(message(argument, "different seeds", found))
    return found


def positive_integer(argument: str, value: Any) -> int:
    """Return an integer that is at least 1 as a Python integer.

    Raises:
        TypeError, ValueError: If it is something else.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message(argument, "a positive integer", value))
    if value < 1:
        raise ValueError(message(argument, "a positive integer", value))
    return int(value)


def fits_memory(argument: str, value: object, size: float) -> None:
    """Raise an error if an argument asks for more memory than the machine has, before any is taken.

    Args:
        argument: String. Name of the argument.
        value: The value of the argument.
        size: Number. Bytes that are needed at least.

    Raises:
        ValueError: If the machine has less memory.
    """
    if size > (most := _memory()):
        expected = f"small enough for the memory of this machine, {most / 1e9:.0f} GB"
        raise ValueError(
            message(argument, expected, value, f"It needs {size / 1e9:.3g} GB or more. Use a lower value.")
        )


def _memory() -> float:
    """Bytes of memory of this machine; 1 TiB where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 2.0**40
