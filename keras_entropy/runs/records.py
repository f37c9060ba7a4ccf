"""The record of a run: one line of JSON with a checksum, appended to a file when the run has ended."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import threading
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from keras_entropy import _checks, _files, _sealed
from keras_entropy._frozen import FrozenDict

SCHEMA = "keras-entropy/run/2"
RUNS = "runs.jsonl"

Role = Literal["tune", "report"]
Status = Literal["finished", "diverged", "failed", "died"]
Epoch = Literal["last", "best"]
Slot = tuple[str, int, str, str, str]
Seed = Annotated[int, msgspec.Meta(ge=0, lt=2**32)]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One training run.

    Mappings and lists that are given to the constructor are copied into read-only mappings and tuples.

    Attributes:
        arm: String. Name of the arm; of a search, `"entropy"` or `"baseline"`.
        seed: Integer. Seed of the initial weights, the data order and dropout.
        role: String. `"tune"` for a run that chooses values, `"report"` for a run that is compared.
        point: Mapping. Values on the axes of the grid.
        tuned: Mapping. Values that the tuning seeds chose, or that a tuning run tries.
        status: String. `"finished"`, `"diverged"` (the loss was not finite), `"failed"` (an exception) or `"died"` (the
            process was killed or crashed twice).
        reason: String. Why the run did not finish; empty if it did.
        history: Mapping of names to tuples with one value per epoch: the loss, `task_loss`, `val_task_loss`, the other
            metrics, `entropy_penalty`, and `entropy/<path>` of each layer.
        stopped_early: Boolean. Whether the run ended before its last epoch.
        wall_seconds: Float. Time from building the model to the end of the run.
        cpu_seconds: Float. Processor time of all threads.
        device: String. Name of the processor or accelerator.
        versions: Mapping. Versions of Python, Keras, the backend and this package, and the name of the backend.
        initial_weights: String. Fingerprint of the weights before training; equal for bit-identical weights.
        final_weights: String. Fingerprint of the weights after training; of a search, the hash of its file of weights,
            empty without one.
        warnings: Tuple of strings. The warnings of the run, without repetitions.
        traceback: String. Traceback of the exception that ended the run; empty without one.
        key: String. Hash of all that the results of the run depend on: build function, data, values, seed and settings.
    """

    arm: str
    seed: Seed
    role: Role = "report"
    point: Mapping[str, Any] = FrozenDict()
    tuned: Mapping[str, Any] = FrozenDict()
    status: Status = "finished"
    reason: str = ""
    history: Mapping[str, Sequence[float]] = FrozenDict()
    stopped_early: bool = False
    wall_seconds: float = math.nan
    cpu_seconds: float = math.nan
    device: str = ""
    versions: Mapping[str, str] = FrozenDict()
    initial_weights: str = ""
    final_weights: str = ""
    warnings: Sequence[str] = ()
    traceback: str = ""
    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]*$")] = ""

    def __post_init__(self) -> None:
        for name in ("point", "tuned", "versions"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))
        history = FrozenDict({name: tuple(values) for name, values in self.history.items()})
        object.__setattr__(self, "history", history)
        object.__setattr__(self, "warnings", tuple(self.warnings))

    @property
    def slot(self) -> Slot:
        """What this run is for within its study or search: equal for a run and its repetition."""
        return slot(self.arm, self.seed, self.role, self.point, self.tuned)

    @property
    def epochs(self) -> int:
        """Number of finished epochs."""
        return max((len(values) for values in self.history.values()), default=0)

    @property
    def ok(self) -> bool:
        """Whether the run finished."""
        return self.status == "finished"

    def value(self, metric: str, epoch: Epoch = "last", *, lower_is_better: bool = True) -> float:
        """The metric at one epoch; NaN for a run that did not finish.

        Args:
            metric: String. A name in `history`.
            epoch: String. `"last"`, or `"best"` for the best finite value of this run. Defaults to `"last"`.
            lower_is_better: Boolean. What is best. Defaults to True.

        Raises:
            KeyError: If the history of a finished run has no such metric. The message lists the metrics.
        """
        if not self.ok:
            return math.nan
        if metric not in self.history:
            raise KeyError(f"Arm {self.arm!r}, seed {self.seed} has no {metric!r}, only {', '.join(self.history)}.")
        values = self.history[metric]
        if epoch == "last":
            return values[-1]
        finite = [value for value in values if math.isfinite(value)]
        if not finite:
            return math.nan
        return min(finite) if lower_is_better else max(finite)


def slot(arm: str, seed: int, role: str, point: Mapping[str, Any], tuned: Mapping[str, Any]) -> Slot:
    """What a run is for within its study or search."""
    return arm, seed, role, canonical(point), canonical(tuned)


def canonical(value: Any) -> str:
    """A value of an axis, or a mapping of such values, as text that is the same for equal values."""
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, sort_keys=True)


class RunRecords:
    """The records of one study or search by slot, in memory and in a file. Threads may share it.

    Args:
        path: Path of the file; None for records in memory only.
        key_of: Function that returns the key which a record should have. Defaults to None: any key.

    Raises:
        ValueError: If a line of the file is damaged, or is the record of another study or search.
    """

    def __init__(self, path: Path | None, key_of: Callable[[RunRecord], str] | None = None) -> None:
        self._path, self._lock = path, threading.Lock()
        lines = _lines(path)[0] if path is not None and path.exists() else []
        self._size = sum(len(line) + 1 for line in lines)
        self._by_slot = {record.slot: record for record in _parsed(path, lines, key_of)}

    def __contains__(self, slot: Slot) -> bool:
        return slot in self._by_slot

    def __getitem__(self, slot: Slot) -> RunRecord:
        return self._by_slot[slot]

    def get(self, slot: Slot) -> RunRecord | None:
        """The record of a slot; None if there is none."""
        return self._by_slot.get(slot)

    def all(self) -> list[RunRecord]:
        """All records. Of runs in the same slot, the last one counts."""
        return list(self._by_slot.values())

    def add(self, *records: RunRecord) -> None:
        """Add records. They are on disk when this returns. An incomplete last line of a killed process is cut off.

        Raises:
            WriteError: If the file cannot be written, or has lost records that were there.
        """
        sealed = [json.dumps(_sealed.sealed(SCHEMA, vars(record)), allow_nan=False) + "\n" for record in records]
        with self._lock:
            if self._path is not None:
                with _files.writing(self._path), self._path.open("rb+" if self._size else "ab") as file:
                    if file.seek(0, os.SEEK_END) < self._size:
                        raise _files.WriteError(
                            f"{_checks.printable(self._path)} has lost records since they were read: another program "
                            "has cut it. Stop that program, and start this one again."
                        )
                    file.truncate(self._size)
                    file.seek(self._size)
                    file.write("".join(sealed).encode())
                    file.flush()
                    os.fsync(file.fileno())
                    self._size = file.tell()
            self._by_slot |= {record.slot: record for record in records}


def read_records(folder: str | os.PathLike[str]) -> list[RunRecord]:
    """Read the records of a study or a search, in the order in which the runs ended.

    An incomplete last line, of a killed process, is ignored with a warning. If a run was trained again, its last record
    counts.

    Args:
        folder: Path of the study's output folder, or of the file of records.

    Returns:
        List of `RunRecord`.

    Raises:
        FileNotFoundError: If there are no records.
        ValueError: If a line is damaged or is not the record of a run. The message names the line.

    Examples:
        >>> from keras_entropy.study import read_records
        >>> records = read_records("runs/study")  # doctest: +SKIP
    """
    path = _files.local(folder, "folder")
    path = path / RUNS if path.is_dir() else path
    if not path.exists():
        raise FileNotFoundError(
            f"{_checks.printable(f'{folder} is not the folder of a study: there is no {path}')}. Name the `output` of "
            "a study that has begun."
        )
    lines, rest = _lines(path)
    if rest:
        warnings.warn(
            f"{_checks.printable(path)}: ignoring its last line, which is incomplete.",
            _checks.EntropyWarning,
            stacklevel=2,
        )
    latest: dict[Slot, RunRecord] = {}
    for record in _parsed(path, lines):
        kept = record.slot if record.role == "tune" else (*record.slot[:4], "")
        latest.pop(kept, None)
        latest[kept] = record
    return list(latest.values())


def _lines(path: Path) -> tuple[list[bytes], bytes]:
    """The complete lines of a file, and the incomplete last one."""
    *lines, rest = path.read_bytes().split(b"\n")
    return lines, rest


def _parsed(
    path: Path | None, lines: Iterable[bytes], key_of: Callable[[RunRecord], str] | None = None
) -> Iterator[RunRecord]:
    for number, line in enumerate(lines, start=1):
        try:
            values = _sealed.opened(line, SCHEMA, f"{path}, line {number}")
            record = _sealed.converted(_with_numbers(values), RunRecord)
            if key_of is not None and record.key != key_of(record):
                raise ValueError("it is from another study or search")
            yield record
        except ValueError as error:
            raise ValueError(
                f"{_checks.printable(path)}, line {number} is not the record of a run: {error}. Delete the line to "
                f"train that run again. {_sealed.EDITED}"
            ) from error


def _with_numbers(values: dict[str, Any]) -> dict[str, Any]:
    """The fields of a record with NaN and infinities, which strict JSON has as text, as numbers."""
    names = values.keys() & {"history", "wall_seconds", "cpu_seconds"}
    return {**values, **{name: _sealed.numbers(values[name]) for name in names}}
