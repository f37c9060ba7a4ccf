"""The checkpoint of a walk: written atomically, and read only for the same walk."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from keras_entropy import _checks, _files
from keras_entropy.landscape.samplers.sampler import WalkerInfo, WalkerState
from keras_entropy.landscape.wang_landau import State

SCHEMA = "keras-entropy/landscape/3"

_PLAIN = ("phase", "moves", "log_f")
_ARRAYS = ("log_g", "recent", "proposed", "visited", "visits")
_PARTS = {"walkers": WalkerState, "info": WalkerInfo}


def write(path: str | os.PathLike[str], identity: dict[str, Any], state: State, extra: dict[str, Any]) -> None:
    """Write a checkpoint, atomically.

    Args:
        path: Path of the file.
        identity: Plain values that determine the walk: problem, arguments, versions.
        state: State of the walk.
        extra: Arrays to store beside the state, by name.
    """
    head = {"schema": SCHEMA, "identity": identity, "state": {name: getattr(state, name) for name in _PLAIN}}
    arrays = {name: getattr(state, name) for name in _ARRAYS} | {
        f"extra/{name}": value for name, value in extra.items()
    }
    for part, kind in _PARTS.items():
        for field in dataclasses.fields(kind):
            arrays[f"{part}/{field.name}"] = getattr(getattr(state, part), field.name)
    body = io.BytesIO()
    np.savez(body, head=np.frombuffer(json.dumps(head, sort_keys=True).encode(), np.uint8), **arrays)
    with _files.replacing(path) as temporary:
        temporary.write_bytes(hashlib.sha256(body.getvalue()).digest() + body.getvalue())


def read(path: str | os.PathLike[str], identity: dict[str, Any]) -> tuple[State, dict[str, Any]] | None:
    """Read a checkpoint.

    Returns:
        The state and the arrays beside it, or None if the file does not exist.

    Raises:
        ValueError: If the file is damaged, of another version, or of another walk.
    """
    path = Path(path)
    if not path.exists():
        return None
    whole = path.read_bytes()
    if len(whole) < 32 or hashlib.sha256(whole[32:]).digest() != whole[:32]:
        raise damaged(path, "its checksum is wrong")
    try:
        with np.load(io.BytesIO(whole[32:]), allow_pickle=False) as arrays:
            found = {name: arrays[name] for name in arrays.files}
        head = json.loads(found.pop("head").tobytes())
        if head["schema"] != SCHEMA:
            raise ValueError(f"its schema is {head['schema']!r}, and this version reads {SCHEMA!r}")
        stored = dict(head["identity"])
        parts = {
            part: kind(**{field.name: found[f"{part}/{field.name}"] for field in dataclasses.fields(kind)})
            for part, kind in _PARTS.items()
        }
        state = State(**{name: found[name] for name in _ARRAYS}, **parts, **head["state"])
    except Exception as error:  # np.load, zipfile and json raise many kinds of errors
        raise damaged(path, f"{error} is missing" if isinstance(error, KeyError) else error) from error
    wanted = json.loads(json.dumps(identity))
    changed = [name for name in {**stored, **wanted} if stored.get(name) != wanted.get(name)]
    if changed:
        raise ValueError(
            f"{_checks.printable(path)} is the checkpoint of a walk with different "
            f"{_checks.printable(', '.join(changed))}. Use the same arguments to resume it, or another file."
        )
    return state, {name.removeprefix("extra/"): value for name, value in found.items() if name.startswith("extra/")}


def damaged(path: str | os.PathLike[str], reason: object) -> ValueError:
    """The error for a file that is not a checkpoint, or is one that cannot be right."""
    text = _checks.printable(f"{path} is not the checkpoint of such a walk: {reason}")
    return ValueError(f"{text}. Delete it, or use another file.")
