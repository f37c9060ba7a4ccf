"""The folder of many walks: its description, and a record of each walk."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keras_entropy import _checks, _files, _sealed
from keras_entropy.landscape.walk import Slot, WalkRecord
from keras_entropy.runs.folder import ResultsFolder
from keras_entropy.runs.identity import digest

SCHEMA, RECORD_SCHEMA = "keras-entropy/walks/1", "keras-entropy/walk/1"
DESCRIPTION, RECORDS, CHECKPOINTS, LOG = "walks.json", "walks", "checkpoints", "workers.log"
TABLE, FIGURE = "walks.csv", "landscape.png"
_REMEDY = (
    "Their walks cannot be mixed. Restore the settings (groups and data sets can only be added), replace the walks "
    "with overwrite=True (--overwrite), or name another folder."
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class WalkPlan:
    """What walks there are to be: the description of their folder.

    Attributes:
        settings: Dict. The arguments of all walks, as plain values.
        problems: Dict from names of groups to the digests of their problems, one for each data set.
        pairs: Pairs of groups to compare.
    """

    settings: dict[str, Any]
    problems: dict[str, tuple[str, ...]]
    pairs: tuple[tuple[str, str], ...]


def results_of(folder: Path) -> ResultsFolder:
    """The results folder of many walks."""
    owns = (RECORDS, CHECKPOINTS, LOG, TABLE, FIGURE)
    return ResultsFolder(folder, "set of walks", (DESCRIPTION,), owns)


class WalkRecords:
    """The records of walks, each in a file of its own, or in memory only.

    Args:
        folder: Path of the folder; None for records in memory.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._found: dict[Slot, WalkRecord] = {}

    def path(self, slot: Slot) -> Path | None:
        """Path of the file of a walk."""
        return None if self._folder is None else self._folder / RECORDS / file_name(*slot)

    def get(self, slot: Slot) -> WalkRecord | None:
        """The record of a walk; None if there is none.

        Raises:
            ValueError: If the file is damaged, or is the record of another walk. The message names the file.
        """
        if slot not in self._found:
            path = self.path(slot)
            if path is not None and path.exists():
                self._found[slot] = read_record(path, slot)
        return self._found.get(slot)

    @property
    def finished(self) -> bool:
        """Whether all walks that were asked for or added have finished."""
        return all(record.density is not None for record in self._found.values())

    def add(self, record: WalkRecord) -> None:
        """Add a record. It is on disk when this returns."""
        slot = record.group, record.data_set
        path = self.path(slot)
        if path is not None:
            plain = vars(record) | {"density": None if record.density is None else record.density.to_record()}
            _sealed.write(path, RECORD_SCHEMA, plain, indent=None)
        self._found[slot] = record


def read_record(path: Path, slot: Slot) -> WalkRecord:
    """Read the record of a walk.

    Raises:
        ValueError: If it is damaged, or that of another walk.
    """
    try:
        found = _sealed.converted(_sealed.read(path, RECORD_SCHEMA), WalkRecord)
        if found.density is not None:
            found.density.check_shapes()
        if (found.group, found.data_set) != slot:
            raise ValueError("it is of another group or data set")
    except ValueError as error:
        raise damaged(path, error) from error
    return found


def damaged(path: Path | None, reason: object) -> ValueError:
    """The error for a file that is not the record of a walk."""
    return ValueError(
        f"{_checks.printable(path)} is not the record of this walk: {reason}. Delete the file to measure the walk "
        f"again. {_sealed.EDITED}"
    )


def file_name(group: str, data_set: int) -> str:
    """Name of the file of a walk: that of its group, as far as every file system takes it."""
    safe = re.sub(r"[^a-z0-9_]+", "-", group)[:40]
    return f"{safe if safe == group else f'{safe}-{digest(group)[:8]}'}-{data_set}.json"


@contextlib.contextmanager
def opened(folder: Path | None, plan: WalkPlan, *, overwrite: bool = False) -> Iterator[WalkRecords]:
    """Lock a folder of walks against other processes.

    Args:
        folder: Path of the folder, which is created if it does not exist; None for records in memory.
        plan: `WalkPlan`.
        overwrite: Boolean. Whether to remove earlier walks first. Defaults to False.

    Yields:
        `WalkRecords`.

    Raises:
        FileExistsError: If the folder has other files.
        BlockingIOError: If another process works on it.
        ValueError: If the folder has other walks.
    """
    if folder is None:
        yield WalkRecords(None)
        return
    results = results_of(folder)
    results.check()
    with results.locked(overwrite=overwrite):
        _files.remove_partial(folder)
        before = read_plan(folder)
        if before is not None:
            results.refuse_others(_changed(before, plan), _REMEDY)
        results.describe(DESCRIPTION, SCHEMA, vars(plan))
        for name in (RECORDS, CHECKPOINTS):
            (folder / name).mkdir(exist_ok=True)
            _files.remove_partial(folder / name)
        records = WalkRecords(folder)
        yield records
        if records.finished:
            try:
                _files.remove(folder / CHECKPOINTS)  # also those of walks that were recorded just before a kill
            except _files.WriteError as error:  # the walks are recorded, and the next call removes it
                warnings.warn(str(error), _checks.EntropyWarning, stacklevel=3)


def read_plan(folder: Path) -> WalkPlan | None:
    """Read the plan in a folder; None if the folder has none.

    Raises:
        ValueError: If the file is not the plan of walks.
    """
    results = results_of(folder)
    found = results.description(DESCRIPTION, SCHEMA)
    try:
        return None if found is None else _sealed.converted(found, WalkPlan)
    except ValueError as error:
        raise results.damaged(DESCRIPTION, error) from error


def _changed(before: WalkPlan, now: WalkPlan) -> list[str]:
    """Names of the settings that differ between two plans, but for what was added."""
    settings = json.loads(json.dumps(now.settings))
    names = {**before.settings, **settings}
    found = [name for name in names if before.settings.get(name) != settings.get(name)]
    for group, problems in before.problems.items():
        new = now.problems.get(group)
        if new is None or new[: len(problems)] != problems:
            found.append(f"{'no ' if new is None else 'problems of '}group {group!r}")
    return found
