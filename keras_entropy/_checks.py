"""Wording of errors and checks of arguments shared by the whole package."""

from __future__ import annotations

import math
import numbers
from collections.abc import Collection, Iterable
from typing import Any


class EntropyWarning(UserWarning):
    """Something about an entropy that a user should know, but that does not stop the work."""


def message(argument: str, expected: str, received: object, remedy: str = "") -> str:
    """Word an error: which argument, what was expected, what was received, what to do."""
    if isinstance(received, int) and received.bit_length() > 1024:  # Python prints all of up to 4300 digits, or none
        shown = f"an integer of {received.bit_length()} bits"
    else:
        shown = repr(received)
    text = f"`{argument}` should be {expected}. Received: {argument}={shown} (of type {type(received).__name__})."
    return f"{text} {remedy}" if remedy else text


def printable(text: str) -> str:
    """`text` with "?" for control characters, as names from a file of somebody else may hold."""
    return "".join(c if c.isprintable() else "?" for c in text)


def one_of(argument: str, value: object, choices: Collection[str]) -> str:
    """Return `value` if it is one of `choices`; raise `ValueError` otherwise."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(message(argument, "one of " + ", ".join(repr(choice) for choice in choices), value))
    return value


def number(argument: str, value: Any) -> int | float:
    """Return `value` as the plain Python number it stands for; booleans, NaN and infinities are refused."""
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


def non_negative(argument: str, value: Any) -> float:
    """Return `value` as a plain Python number that is at least 0."""
    plain = number(argument, value)
    if plain < 0:
        raise ValueError(message(argument, "at least 0", value))
    return plain


def positive(argument: str, value: Any) -> float:
    """Return `value` as a float above 0."""
    plain = float(number(argument, value))
    if plain <= 0:
        raise ValueError(message(argument, "above 0", value))
    return plain


def flag(argument: str, value: Any) -> bool:
    """Return `value` if it is a boolean."""
    if not isinstance(value, bool):
        raise TypeError(message(argument, "True or False", value))
    return value


def seed(argument: str, value: Any) -> int:
    """Return `value` as the Python integer from 0 to 2**32 - 1 that it stands for."""
    plain = number(argument, value)
    if not isinstance(plain, int) or not 0 <= plain < 2**32:
        raise ValueError(message(argument, "an integer from 0 to 2**32 - 1", value))
    return plain


def seeds(argument: str, values: Any) -> list[int]:
    """Return different seeds."""
    if isinstance(values, str) or not isinstance(values, Iterable):
        raise TypeError(message(argument, "a list of seeds, such as range(10)", values))
    found = [seed(argument, value) for value in values]
    if len(set(found)) < len(found):
        raise ValueError(message(argument, "different seeds", found))
    return found


def positive_integer(argument: str, value: Any) -> int:
    """Return `value` as a Python integer that is at least 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(message(argument, "a positive integer", value))
    if value < 1:
        raise ValueError(message(argument, "a positive integer", value))
    return int(value)
