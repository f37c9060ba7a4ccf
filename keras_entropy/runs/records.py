"""The record of a run: one line of JSON, appended to a file when the run has ended."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from keras_entropy import _files
from keras_entropy._frozen import FrozenDict

SCHEMA = "keras-entropy/run/1"
RUNS = "runs.jsonl"

Role = Literal["tune", "report"]
Status = Literal["finished", "diverged", "failed", "died"]
Epoch = Literal["last", "best"]
Key = tuple[str, int, str, str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One training run.

    Mappings and lists that are given to the constructor are copied into read-only mappings and tuples.

    Attributes:
        arm: String. Name of the arm.
        seed: Integer. Seed of the initial weights, the data order and dropout.
        role: String. `"tune"` for a run that chooses values, `"report"` for a run that is compared.
        point: Mapping. Values on the axes of the grid.
        tuned: Mapping. Values that the tuning seeds chose, or that a tuning run tries.
        status: String. `"finished"`, `"diverged"` (the loss was not finite), `"failed"` (an exception) or `"died"` (the
            process was killed or crashed twice).
        reason: String. Why the run did not finish; empty if it did.
        history: Mapping of names to tuples with one value per epoch: the loss, `task_loss`, `val_task_loss`, the other
            metrics, `entropy_penalty`, and `entropy/<path>` of each layer.
        stopped_early: Boolean. Whether early stopping ended the run.
        wall_seconds: Float. Time from building the model to the end of the run.
        cpu_seconds: Float. Processor time of all threads.
        device: String. Name of the processor or accelerator.
        versions: Mapping. Versions of Python, Keras, the backend and this package, and the name of the backend.
        initial_weights: String. Fingerprint of the weights before training; equal for bit-identical weights.
        final_weights: String. Fingerprint of the weights after training.
        warnings: Tuple of strings. The warnings of the run, without repetitions.
        traceback: String. Traceback of the exception that ended the run; empty without one.
    """

    arm: str
    seed: int
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

    def __post_init__(self) -> None:
        for name in ("point", "tuned", "versions"):
            object.__setattr__(self, name, FrozenDict(getattr(self, name)))
        history = FrozenDict({name: tuple(values) for name, values in self.history.items()})
        object.__setattr__(self, "history", history)
        object.__setattr__(self, "warnings", tuple(self.warnings))

    @property
    def key(self) -> Key:
        """The values that identify this run within its study."""
        return key(self.arm, self.seed, self.role, self.point, self.tuned)

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


def key(arm: str, seed: int, role: str, point: Mapping[str, Any], tuned: Mapping[str, Any]) -> Key:
    """The values that identify a run within its study."""
    return arm, seed, role, canonical(point), canonical(tuned)


def canonical(value: Any) -> str:
    """A value of an axis, or a mapping of such values, as text that is the same for equal values."""
    return json.dumps(dict(value) if isinstance(value, Mapping) else value, sort_keys=True)


def append(path: Path, *records: RunRecord) -> None:
    """Add records to a file, one line each. They are on disk when this returns."""
    lines = [json.dumps({"schema": SCHEMA, **_plain(record)}, allow_nan=False) for record in records]
    with path.open("ab") as file:
        file.write("".join(line + "\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


def _plain(record: RunRecord) -> dict[str, Any]:
    return {field.name: _files.strict(getattr(record, field.name)) for field in dataclasses.fields(record)}


def repair(path: Path) -> None:
    """Cut off an incomplete last line, which a killed process leaves."""
    if not path.exists():
        return
    with path.open("rb+") as file:
        content = file.read()
        whole = content.rfind(b"\n") + 1
        if whole < len(content):
            file.truncate(whole)
            file.flush()
            os.fsync(file.fileno())


def read_records(folder: str | os.PathLike[str]) -> list[RunRecord]:
    """Read the records of a study, in the order in which the runs ended.

    An incomplete last line, of a killed or a running process, is ignored. If a run was trained again, its last record
    counts.

    Args:
        folder: Path of the study's output folder, or of the file of records.

    Returns:
        List of `RunRecord`.

    Raises:
        FileNotFoundError: If there are no records.
        ValueError: If a line is not the record of a run. The message names the line.

    Examples:
        >>> from keras_entropy.study import read_records
        >>> records = read_records("runs/study")  # doctest: +SKIP
    """
    path = Path(folder)
    path = path / RUNS if path.is_dir() else path
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{folder} is not the folder of a study: there is no {path}. Name the `output` of a study that has begun."
        ) from error
    latest: dict[Key, RunRecord] = {}
    for record in _parsed(path, content[: content.rfind(b"\n") + 1]):
        slot = record.key if record.role == "tune" else (*record.key[:4], "")
        latest.pop(slot, None)
        latest[slot] = record
    return list(latest.values())


def _parsed(path: Path, content: bytes) -> Iterator[RunRecord]:
    fields = {field.name for field in dataclasses.fields(RunRecord)}
    for number, line in enumerate(content.splitlines(), start=1):
        try:
            values = json.loads(line)
            schema = values.pop("schema")
            if schema != SCHEMA:
                raise ValueError(f"its schema is {schema!r}, and this version reads {SCHEMA!r}")
            if not values.keys() <= fields or not {"arm", "seed", "status"} <= values.keys():
                raise ValueError("its fields are not those of a run")
            values["history"] = {name: [float(v) for v in column] for name, column in values["history"].items()}
            for name in ("wall_seconds", "cpu_seconds"):
                values[name] = float(values.get(name, math.nan))
            yield RunRecord(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}, line {number} is not the record of a run: {error}. Delete the line to train that run again."
            ) from error
