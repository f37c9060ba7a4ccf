"""JSON files that say what they are and show damage: with a schema, and a checksum over all that is in them."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import warnings
from collections.abc import Mapping
from typing import Any, TypeVar, get_origin

import msgspec
import numpy as np

from keras_entropy import _checks, _files

T = TypeVar("T")

CHECKSUM = "sha256"
EDITED = f'If you changed it on purpose, delete its "{CHECKSUM}".'
"""What to do with a file that was edited by hand."""


def sealed(schema: str, record: Mapping[str, Any]) -> dict[str, Any]:
    """A record as strict JSON has it, with its schema and, as the last entry, its checksum."""
    plain = {"schema": schema, **_files.strict(record)}
    return {**plain, CHECKSUM: checksum(plain)}


def write(path: str | os.PathLike[str], schema: str, record: Mapping[str, Any], *, indent: int | None = 1) -> None:
    """Write a sealed record to a file, atomically."""
    _files.write_text(path, json.dumps(sealed(schema, record), indent=indent, allow_nan=False) + "\n")


def read(path: str | os.PathLike[str], schema: str) -> dict[str, Any]:
    """Read a file that `write` wrote.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As `opened`.
    """
    return opened(_files.local(path).read_bytes(), schema, str(path))


def checksum(record: Mapping[str, Any]) -> str:
    """The hash of a record: equal for records with equal names and values, in any order."""
    return hashlib.sha256(json.dumps(record, sort_keys=True, allow_nan=False).encode()).hexdigest()


def opened(text: str | bytes, schema: str, where: str) -> dict[str, Any]:
    """Read a sealed record.

    Args:
        text: The JSON.
        schema: String. The schema that this version reads.
        where: String. The file, and the line in it, for a warning.

    Returns:
        The record without schema and checksum. A record whose checksum was deleted is read with a warning.

    Raises:
        ValueError: If it is not a JSON object with this schema, or its checksum is wrong. The message is a clause.
    """
    try:
        found = json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    except ValueError as error:  # also for bytes that are not UTF-8, and for numbers with thousands of digits
        raise ValueError(f"it is not JSON ({error})") from error
    if not isinstance(found, dict):
        raise ValueError("it is not a JSON object")
    if found.get("schema") != schema:
        raise ValueError(f"its schema is {str(found.get('schema'))[:80]!r}, and this version reads {schema!r}")
    expected = found.pop(CHECKSUM, None)
    if expected is None:
        warnings.warn(
            f"{_checks.printable(where)} has no checksum. Using it as it is.", _checks.EntropyWarning, stacklevel=3
        )
    elif expected != _checksum_of(found):
        raise ValueError("its checksum is wrong")
    del found["schema"]
    return found


def _checksum_of(found: dict[str, Any]) -> str:
    try:
        return checksum(found)
    except (ValueError, RecursionError):  # an infinite number, as no file of ours has
        return ""


def converted(found: Mapping[str, Any], kind: type[T]) -> T:
    """Convert a record to a dataclass, and check the types of all its fields. Lists of numbers become arrays.

    Raises:
        ValueError: If a field is missing, unknown, or of another type. The message is a clause.
    """
    unknown = sorted(found.keys() - {field.name for field in dataclasses.fields(kind)})  # type: ignore[arg-type]
    if unknown:
        raise ValueError(f"it has the unknown field {_checks.printable(unknown[0])!r}")
    try:
        return msgspec.convert(found, kind, dec_hook=_array)
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise ValueError(f"it is not as it should be: {_checks.printable(str(error))}") from error


def numbers(value: Any) -> Any:
    """Replace the texts "nan", "inf" and "-inf", which stand for numbers in strict JSON, in lists and mappings too."""
    if isinstance(value, list):
        return [numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: numbers(item) for name, item in value.items()}
    return float(value) if value in ("nan", "inf", "-inf") else value


def _array(kind: Any, value: Any) -> Any:
    if get_origin(kind) is not np.ndarray or not isinstance(value, list):
        raise TypeError("a list of numbers is expected")
    found = np.array(numbers(value))
    return found if found.dtype.kind in "bi" else found.astype(np.float64, casting="same_kind")
