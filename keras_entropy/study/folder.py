"""The folder of a study: it has one study, and one process at a time works on it."""

from __future__ import annotations

import contextlib
import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_entropy import _checks, _files
from keras_entropy.runs import records
from keras_entropy.runs.folder import ResultsFolder
from keras_entropy.runs.identity import digest
from keras_entropy.runs.records import RunRecord, RunRecords
from keras_entropy.study.single_run import NotLoggedError

SCHEMA = "keras-entropy/study/2"
DESCRIPTION = "study.json"
LOG = "workers.log"
CHECKPOINTS = "checkpoints"
# These may grow between two calls. Everything else must stay, or runs with different settings would be compared.
_GROWING = ("seeds", "grid", "arms")
_REMEDY = (
    "Their runs cannot be mixed. Restore the settings (arms, seeds and values of a grid can only be added), replace "
    "the study with overwrite=True (--overwrite), or name another folder."
)
_OF_COMPARISON = (*_GROWING, "tune_seeds", "tune", "baseline", "metric", "lower_is_better")
"""Entries that change which runs are trained and compared, but not the result of a run."""


@contextlib.contextmanager
def locked(folder: Path | None, description: dict[str, Any], *, overwrite: bool = False) -> Iterator[list[str]]:
    """Lock a study's folder against other processes, before anything is written or removed in it.

    A folder in which no study begins until the context ends is left as it was.

    Args:
        folder: Path of the folder, which is created if it does not exist; None for a study in memory.
        description: The study, as `Study.describe` returns it.
        overwrite: Boolean. Whether the study will replace an earlier one. Defaults to False.

    Yields:
        List of strings. Names of the arms with which the study in the folder has begun.

    Raises:
        FileExistsError: If the folder has other files.
        BlockingIOError: If another process works on it.
        ValueError: If the folder has another study.
    """
    if folder is None:
        yield []
        return
    results, was_there = results_of(folder), folder.exists()
    results.check(ignored=LOG)  # of a study that was killed before it had begun
    try:
        with results.locked():
            before = None if overwrite else results.description(DESCRIPTION, SCHEMA)
            if before is not None:
                now = json.loads(json.dumps(description))
                results.refuse_others(_changed(before, now), _REMEDY)
                results.refuse_others(_gone(before, now), _REMEDY, "further runs")
            if overwrite:
                results.remove(LOG)  # now, because the processes keep it open
            try:
                yield [] if before is None else [arm["name"] for arm in before["arms"]]
            except NotLoggedError:
                if not any(path.stat().st_size for path in folder.glob(records.RUNS)):  # the study has not begun
                    results.remove(records.RUNS, CHECKPOINTS, DESCRIPTION)
                raise
    finally:
        if not results.holds_work:
            results.remove(LOG)
            if not was_there:
                results.remove_if_empty()


@contextlib.contextmanager
def recorded(
    folder: Path | None, description: dict[str, Any], key_of: Callable[[RunRecord], str], *, overwrite: bool = False
) -> Iterator[RunRecords]:
    """Describe a study in its locked folder, and read its records.

    Args:
        folder: Path of the folder; None for a study in memory.
        description: The study, as `Study.describe` returns it.
        key_of: Function that returns the key which a record of the study has.
        overwrite: Boolean. Whether to remove an earlier study first. Defaults to False.

    Yields:
        `RunRecords`.

    Raises:
        ValueError: If the folder has a damaged record.
    """
    if folder is None:
        yield RunRecords(None)
        return
    results = results_of(folder)
    if overwrite:
        results.remove(records.RUNS, CHECKPOINTS, DESCRIPTION)  # what marks the folder goes last
    _files.remove_partial(folder)
    results.describe(DESCRIPTION, SCHEMA, description)
    found = RunRecords(folder / records.RUNS, key_of)
    (folder / CHECKPOINTS).mkdir(exist_ok=True)
    _files.remove_partial(folder / CHECKPOINTS)
    yield found
    try:
        _files.remove(folder / CHECKPOINTS)  # also those of runs that were recorded just before a kill
    except _files.WriteError as error:  # the runs are recorded, and the next call removes it
        warnings.warn(str(error), _checks.EntropyWarning, stacklevel=3)


def results_of(folder: Path) -> ResultsFolder:
    """The results folder of a study."""
    return ResultsFolder(folder, "study", (DESCRIPTION,), (records.RUNS, LOG, CHECKPOINTS))


def identity_of_runs(description: Mapping[str, Any]) -> str:
    """Hash of what all runs of a study have in common, from its description."""
    common = {name: value for name, value in description.items() if name not in _OF_COMPARISON}
    return digest(common)


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the settings that differ between two descriptions, but for what was added."""
    found = [name for name in new if name not in _GROWING and new[name] != old.get(name)]
    arms = {arm["name"]: arm for arm in new["arms"]}
    for arm in old["arms"]:
        name, now = arm["name"], arms.get(arm["name"])
        if now is not None:
            found += [f"{key} of arm {name!r}" for key in arm if key != "grid" and arm[key] != now.get(key)]
            found += [] if _grown(arm.get("grid", {}), now.get("grid", {})) else [f"grid of arm {name!r}"]
    return found


def _gone(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Names of the arms and seeds that a new description lacks."""
    arms = {arm["name"] for arm in new["arms"]}
    found = [f"arm {arm['name']!r}" for arm in old["arms"] if arm["name"] not in arms]
    return found + [f"seed {seed}" for seed in old.get("seeds", []) if seed not in new["seeds"]]


def _grown(before: dict[str, list[Any]], now: dict[str, list[Any]]) -> bool:
    """Whether a grid has the same axes as before, with at least the same values."""
    return before.keys() == now.keys() and all(value in now[axis] for axis in before for value in before[axis])
