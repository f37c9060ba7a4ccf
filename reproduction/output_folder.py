"""The folder of a reproduction: which one it holds, who writes in it, and files that are written whole."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from reproduction.entries import Settings

SCHEMA = "keras_entropy/reproduction-1"
STATE = "reproduction.json"
LOCK = ".lock"
PARTIAL = ".partial-"


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes.

    Raises:
        BlockingIOError: If another process has locked it.
    """
    from filelock import FileLock, Timeout

    held = FileLock(folder / LOCK, timeout=0)
    try:
        held.acquire()
    except Timeout as error:
        raise BlockingIOError(f"Another process works in {folder}. Wait until it ends, or stop it.") from error
    try:
        yield
    finally:
        held.release()


def write(path: Path, content: bytes | str) -> None:
    """Write a file as a whole: under a temporary name first, then renamed."""
    temporary = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    with temporary.open("wb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_state(folder: Path) -> dict[str, Any] | None:
    """Which reproduction a folder holds; None if it holds none.

    Raises:
        ValueError: If `reproduction.json` was not written by this program.
    """
    path = folder / STATE
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["schema"] == SCHEMA and isinstance(state["plan"], dict):
            return dict(state)
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path} is not the file of a reproduction. Choose another folder.")


def write_state(folder: Path, state: dict[str, Any]) -> None:
    """Write which reproduction a folder holds, and what it found."""
    write(folder / STATE, json.dumps({"schema": SCHEMA, **state}, indent=1) + "\n")


def plan(name: str, settings: Settings) -> dict[str, Any]:
    """What identifies a reproduction."""
    data = None if settings.data is None else str(settings.data.resolve())
    return {"name": name, "scale": settings.scale, "seeds": settings.seeds, "data": data}


def begin(name: str, settings: Settings, state: dict[str, Any] | None) -> Settings:
    """Write the plan of a new reproduction, or check that the folder holds the same one.

    Args:
        name: Name of the entry.
        settings: How it is run.
        state: What `read_state` has returned for the folder.

    Returns:
        The settings, with the number of seeds that the folder holds if they name none.

    Raises:
        ValueError: If the folder holds another reproduction.
    """
    own = plan(name, settings)
    if state is not None:
        before = state["plan"]
        for key in own.keys() - {"seeds"}:  # the study checks that seeds are only added
            if before.get(key) != own[key]:
                raise ValueError(
                    f"{settings.output} holds another reproduction: its {key} is {before.get(key)}, not {own[key]}. "
                    f"Give the same {key}, or choose another folder."
                )
        if not settings.seeds:
            return dataclasses.replace(settings, seeds=before.get("seeds"))
    write_state(settings.output, {**(state or {}), "plan": own})
    return settings


def end(folder: Path, state: dict[str, Any] | None, error: Exception) -> None:
    """After an error, leave the state as if nothing had begun, if nothing has.

    Args:
        folder: Folder of the reproduction.
        state: What `read_state` had returned for it before.
        error: The error that ended the run. A ValueError, such as for fewer seeds than there are, changes no plan.
    """
    if state is None:
        if {path.name for path in folder.iterdir()} <= {STATE, LOCK}:
            (folder / STATE).unlink()
    elif isinstance(error, ValueError):
        write_state(folder, state)


def prepare(output: Path, *, overwrite: bool, resume: bool) -> Path | None:
    """Check that a command may write in a folder.

    Args:
        output: The folder.
        overwrite: True to rename an earlier reproduction and start anew.
        resume: True to continue an earlier reproduction.

    Returns:
        The new name of an earlier reproduction, if there was one to overwrite.

    Raises:
        FileExistsError: If the folder holds a reproduction and neither option is given, or if it holds other files.
        FileNotFoundError: If there is nothing to resume.
        ValueError: If both options are given.
    """
    if overwrite and resume:
        raise ValueError("--overwrite and --resume exclude each other. Give one of them.")
    there = read_state(output) is not None
    if resume and not there:
        raise FileNotFoundError(f"{output} holds no reproduction to resume. Leave --resume out, or check the folder.")
    if there and overwrite:
        earlier = set_aside(output)
        sys.stderr.write(f"The earlier reproduction is now in {earlier}.\n")
        return earlier
    if there and not resume:
        raise FileExistsError(
            f"{output} holds a reproduction. Use --resume to continue it, --overwrite to start anew (the earlier one "
            "is renamed), or --output for another folder."
        )
    if not there and output.exists() and not _is_new(output):
        raise FileExistsError(f"{output} holds other files. Use --output for another folder.")
    return None


def set_aside(output: Path) -> Path:
    """Rename the folder of a reproduction and return its new name.

    Raises:
        BlockingIOError: If another process works in it.
        ValueError: If it is a link.
    """
    if output.is_symlink():
        raise ValueError(f"{output} is a link. Name the folder itself, or another one.")
    output, number = output.resolve(), 1
    while (target := output.with_name(f"{output.name}.old-{number}")).exists():
        number += 1
    with lock(output):
        output.rename(target)
    return target


def put_back(earlier: Path, output: Path) -> None:
    """Give an earlier reproduction its name back, if nothing has begun in its place."""
    if read_state(output) is None and _is_new(output):
        shutil.rmtree(output)
        earlier.rename(output)
        sys.stderr.write(f"The earlier reproduction is in {output} again.\n")


def _is_new(folder: Path) -> bool:
    """Whether a folder holds at most what an interrupted start leaves behind."""
    if not folder.is_dir():
        return False
    return all(path.name == LOCK or path.name.startswith(PARTIAL) for path in folder.iterdir())
