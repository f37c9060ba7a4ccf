"""The identity of a value of the user, which is the same in every process and differs for different values."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import inspect
import json
import os
import types
from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from typing import Any

_outer: ContextVar[tuple[int, ...]] = ContextVar("_outer", default=())
"""Ids of the objects whose identity is being computed, outermost first: a function may enclose itself."""


def identity(value: Any) -> Any:
    """Describe a value as plain JSON, equal for equal values.

    A function is described by its name, code, defaults and enclosed values, without the functions that it calls; an
    array by its bytes; an object of Keras by its config; any other object by its attributes, or by what `copy` makes a
    copy from.

    Args:
        value: Any value.

    Returns:
        A dict, list, string, number, boolean or None.

    Examples:
        >>> from keras_entropy.runs.identity import identity
        >>> identity({"batch_size": 32, "sizes": (8, 4)})
        {'batch_size': 32, 'sizes': [8, 4]}
    """
    if value is None or isinstance(value, bool | int | float | str):
        return value
    outer = _outer.get()
    if id(value) in outer:
        return f"itself, {len(outer) - outer.index(id(value))} up"
    token = _outer.set((*outer, id(value)))
    try:
        return _identity(value)
    finally:
        _outer.reset(token)


def digest(value: Any) -> str:
    """Return 32 hex digits that are equal for two values of plain JSON, or mappings, if and only if the values are."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=dict).encode()).hexdigest()[:32]


def _identity(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): identity(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [identity(item) for item in value]
    if isinstance(value, set | frozenset):
        return sorted(repr(identity(item)) for item in value)
    if isinstance(value, bytes | complex | range | slice | os.PathLike):
        return repr(value)
    return _function(value) if callable(value) else _object(value)


def _function(value: Any) -> str:
    """Describe a function, or an object that is called like one."""
    if isinstance(value, type):
        return value.__qualname__
    if isinstance(value, functools.partial):
        return _called(identity(value.func), value.args, value.keywords)
    if inspect.isfunction(value):
        return _text(value)
    if inspect.ismethod(value) or inspect.isbuiltin(value):
        owner = value.__self__
        return f"{owner.__name__ if inspect.ismodule(owner) else identity(owner)}.{value.__name__}"
    if hasattr(value, "__wrapped__"):  # as of functools.cache
        return str(identity(value.__wrapped__))
    return _object(value)


def _object(value: Any) -> str:
    if hasattr(value, "__array__"):
        return f"array {_hash(array_bytes(value))}"
    name = type(value).__qualname__
    settings = _settings(value)
    if settings is not None:
        return _called(name, [], settings)
    try:
        reduced = value.__reduce_ex__(4)
    except TypeError:  # such as a lock: described by its type alone
        return name
    parts = [reduced] if isinstance(reduced, str) else reduced[1:]
    return _called(name, [list(part) if isinstance(part, Iterator) else part for part in parts], {})


def _settings(value: Any) -> Mapping[str, Any] | None:
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(value, "describe"):  # of this package
        return dict(value.describe())
    return dict(value.get_config()) if hasattr(value, "get_config") else getattr(value, "__dict__", None)


def _called(name: Any, arguments: Any, keywords: Mapping[str, Any]) -> str:
    shown = [f"{identity(item)!r}" for item in arguments] + [f"{n}={identity(v)!r}" for n, v in keywords.items()]
    return f"{name}({', '.join(shown)})" if shown else str(name)


def _text(function: Callable[..., Any]) -> str:
    # `...` marks a variable without a value: no identity is an ellipsis.
    enclosed = [identity(cell.cell_contents) if _is_filled(cell) else ... for cell in function.__closure__ or ()]
    rest = [enclosed, identity(function.__defaults__), identity(function.__kwdefaults__)]
    return f"{function.__qualname__} {_hash(f'{_code(function.__code__)}{rest}'.encode())}"


def _code(code: types.CodeType) -> str:
    """Describe the bytecode: a process that a function was sent to may not have its source."""
    constants = [_code(value) if isinstance(value, types.CodeType) else identity(value) for value in code.co_consts]
    return f"{code.co_code.hex()}{code.co_names}{constants}"


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018 (reading it is the test)
    except ValueError:
        return False
    return True


def array_bytes(array: Any) -> bytes:
    """Return bytes that are equal for two arrays if and only if they have the same shape, dtype and bits."""
    import numpy as np

    plain = np.ascontiguousarray(array)
    return f"{plain.shape}{plain.dtype}".encode() + plain.tobytes()


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:12]
