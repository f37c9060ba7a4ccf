"""The folder of a study: one process at a time works on it, and it holds one study."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_entropy import _files, _optional
from keras_entropy.study import records
from keras_entropy.study.records import Key, RunRecord

SCHEMA = "keras-entropy/study/1"
DESCRIPTION = "study.json"
LOG = "workers.log"
LOCK = ".lock"
# What may grow from one call to the next; all else must stay, or old runs would be compared with different ones.
_GROWING = ("seeds", "grid", "arms")


@contextlib.contextmanager
def opened(folder: Path | None, description: dict[str, Any]) -> Iterator[dict[Key, RunRecord]]:
    """Hold a study's folder against other processes, and give the records that are there.

    Args:
        folder: that is made if it is not there; None for a study without one.
        description: of the study, as `Study.describe` gives it.

    Raises:
        FileExistsError: for a folder with something else.
        BlockingIOError: where another process holds it.
        ValueError: for the folder of another study.
    """
    if folder is None:
        yield {}
        return
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Name a folder.")
    if folder.is_dir() and not (folder / DESCRIPTION).exists() and not is_new(folder):
        raise FileExistsError(f"{folder} holds something else than a study. Name another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        _files.remove_partial(folder)
        if (folder / DESCRIPTION).exists():
            _check_same(folder, description)
        _files.write_json(folder / DESCRIPTION, description)
        path = folder / records.RUNS
        records.repair(path)
        yield {record.key: record for record in records.read_records(path)} if path.exists() else {}


def clear(folder: Path) -> None:
    """Remove the study in a folder, and nothing else.

    Raises:
        BlockingIOError: where a process works on it.
    """
    if not (folder / DESCRIPTION).exists():
        return
    with held(folder):
        for name in (records.RUNS, LOG, DESCRIPTION):  # what makes it a study last
            (folder / name).unlink(missing_ok=True)


@contextlib.contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a folder against other processes.

    Raises:
        BlockingIOError: where another process holds it.
    """
    filelock = _optional.require("filelock", extra="study")
    lock = filelock.FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except filelock.Timeout as error:
        raise BlockingIOError(f"Another process works on {folder}. Wait for its end, or stop it.") from error
    try:
        yield
    finally:
        lock.release()


def is_new(folder: Path) -> bool:
    """Whether a folder holds nothing but what an interrupted beginning leaves."""
    return all(path.name == LOCK or path.name.startswith(_files.PARTIAL) for path in folder.iterdir())


def _check_same(folder: Path, description: dict[str, Any]) -> None:
    path = folder / DESCRIPTION
    try:
        old = json.loads(path.read_text(encoding="utf-8"))
        if old["schema"] != SCHEMA:
            raise ValueError(f"schema {old['schema']!r}; this version reads {SCHEMA!r}")
        before = {arm["name"]: arm for arm in old["arms"]}
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the description of a study: {error}. Name another folder.") from error
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
        other = f"another {', another '.join(changed)}" if changed else f"also {', '.join(gone)}"
        raise ValueError(
            f"{folder} holds a study with {other}: its runs would be mixed with those of this one. Name another "
            "folder, or set it back. Arms, seeds and values of the grid can only be added."
        )


def _grown(before: dict[str, list[Any]], now: dict[str, list[Any]]) -> bool:
    """Whether a grid has the same axes as before, with at least their values."""
    return before.keys() == now.keys() and all(value in now[axis] for axis in before for value in before[axis])
