"""The folder of a study: it has one study, and one process at a time works on it."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_entropy import _files, _optional
from keras_entropy.study import records
from keras_entropy.study.records import Key, RunRecord

SCHEMA = "keras-entropy/study/1"
DESCRIPTION = "study.json"
LOG = "workers.log"
LOCK = ".lock"
CHECKPOINTS = "checkpoints"
# These may grow between two calls. Everything else must stay, or runs with different settings would be compared.
_GROWING = ("seeds", "grid", "arms")
_OF_COMPARISON = (*_GROWING, "tune_seeds", "tune", "baseline", "metric", "lower_is_better")
"""Entries that change which runs are trained and compared, but not the result of a run."""


@contextlib.contextmanager
def opened(folder: Path | None, description: dict[str, Any]) -> Iterator[dict[Key, RunRecord]]:
    """Lock a study's folder against other processes, and read its records.

    Args:
        folder: Path of the folder, which is created if it does not exist; None for a study in memory.
        description: The study, as `Study.describe` returns it.

    Yields:
        Dict of keys to records.

    Raises:
        FileExistsError: If the folder has other files.
        BlockingIOError: If another process works on it.
        ValueError: If the folder has another study.
    """
    if folder is None:
        yield {}
        return
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Name a folder.")
    if folder.is_dir() and not (folder / DESCRIPTION).exists() and not is_new(folder):
        raise FileExistsError(f"{folder} is not a study folder: it contains other files. Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        _files.remove_partial(folder)
        if (folder / DESCRIPTION).exists():
            _check_same(folder, description)
        _files.write_json(folder / DESCRIPTION, description)
        path = folder / records.RUNS
        records.repair(path)
        (folder / CHECKPOINTS).mkdir(exist_ok=True)
        _files.remove_partial(folder / CHECKPOINTS)
        yield {record.key: record for record in records.read_records(path)} if path.exists() else {}
        _remove_checkpoints(folder)  # also those of runs that were recorded just before a kill


def clear(folder: Path) -> None:
    """Remove the study in a folder, and no other files.

    Raises:
        BlockingIOError: If a process works on it.
    """
    if not (folder / DESCRIPTION).exists():
        return
    with held(folder):
        _remove_checkpoints(folder)
        for name in (records.RUNS, LOG, DESCRIPTION):  # the file that makes it a study comes last
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes.

    Raises:
        BlockingIOError: If another process has locked it.
    """
    filelock = _optional.require("filelock", extra="study")
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BlockingIOError(f"Another process works on {folder}. Wait until it ends, or stop it.") from error
    try:
        yield
    finally:
        lock.release()


def identity_of_runs(description: Mapping[str, Any]) -> str:
    """Hash of what all runs of a study have in common, from its description."""
    common = {name: value for name, value in description.items() if name not in _OF_COMPARISON}
    return hashlib.sha256(json.dumps(common, sort_keys=True).encode()).hexdigest()


def _remove_checkpoints(folder: Path) -> None:
    for path in (folder / CHECKPOINTS).glob("*.npz"):
        path.unlink(missing_ok=True)
    if (folder / CHECKPOINTS).is_dir() and not any((folder / CHECKPOINTS).iterdir()):
        (folder / CHECKPOINTS).rmdir()


def is_new(folder: Path) -> bool:
    """Whether a folder is empty, except for what an interrupted start leaves."""
    return all(path.name == LOCK or path.name.startswith(_files.PARTIAL) for path in folder.iterdir())


def _check_same(folder: Path, description: dict[str, Any]) -> None:
    path = folder / DESCRIPTION
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        if old["schema"] != SCHEMA:
            raise ValueError(f"its schema is {old['schema']!r}, and this version reads {SCHEMA!r}")
        before = {arm["name"]: arm for arm in old["arms"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} does not describe a study: {error}. Name another folder.") from error
    new = json.loads(json.dumps(description))
    changed = [name for name in new if name not in _GROWING and new[name] != old.get(name)]
    arms = {arm["name"]: arm for arm in new["arms"]}
    for name, arm in before.items():
        now = arms.get(name, {})
        changed += [f"{key} of arm {name!r}" for key in arm if now and key != "grid" and arm[key] != now.get(key)]
        changed += [] if _grown(arm.get("grid", {}), now.get("grid", {})) or not now else [f"grid of arm {name!r}"]
    gone = [f"arm {name!r}" for name in before if name not in arms]
    gone += [f"seed {seed}" for seed in old.get("seeds", []) if seed not in new["seeds"]]
    if changed or gone:
        differs = f"other settings: {', '.join(changed)}" if changed else f"further runs: {', '.join(gone)}"
        raise ValueError(
            f"{folder} has a study with {differs}. Its runs cannot be mixed with those of this study. Name another "
            "folder, or use the same settings: arms, seeds and values of the grid can only be added."
        )


def _grown(before: dict[str, list[Any]], now: dict[str, list[Any]]) -> bool:
    """Whether a grid has the same axes as before, with at least the same values."""
    return before.keys() == now.keys() and all(value in now[axis] for axis in before for value in before[axis])
