"""What a study leaves of each run: one line of JSON, appended when the run has ended."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

from keras_entropy import _checks, _files

SCHEMA = "keras-entropy/run/1"
RUNS = "runs.jsonl"

Status = Literal["finished", "diverged", "failed", "died"]
Key = tuple[str, int, str, str, str]


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunRecord:
    """One training run.

    Attributes:
        arm: name of the arm.
        seed: of initial weights, data order and dropout.
        role: `"tune"` for a run that chooses values, `"report"` for one that is compared.
        point: values of the study's and the arm's grid.
        tuned: values that are chosen on the tuning seeds.
        status: `"finished"`; `"diverged"`: the loss was not finite; `"failed"`: an exception; `"died"`: the process
            was killed or crashed twice.
        reason: in words, where the status is not "finished".
        history: values by epoch of the loss, `task_loss`, `val_task_loss`, the other metrics, `entropy_penalty` and
            the `entropy/<path>` of each layer.
        stopped_early: whether early stopping ended the run.
        wall_seconds: from building the model to the end.
        cpu_seconds: of processor time, all threads.
        device: processor or accelerator.
        versions: of Python, Keras, the backend and this package, and the name of the backend.
        initial_weights: fingerprint of the weights before training; equal weights have equal ones.
        final_weights: fingerprint of the weights after it.
        warnings: that the run gave, each once.
        traceback: of the exception, where one ended the run.
        replicas: how many runs were trained at once as one program; the times are shares of theirs.
    """

    arm: str
    seed: int
    role: Literal["tune", "report"] = "report"
    point: dict[str, Any] = dataclasses.field(default_factory=dict)
    tuned: dict[str, Any] = dataclasses.field(default_factory=dict)
    status: Status = "finished"
    reason: str = ""
    history: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    stopped_early: bool = False
    wall_seconds: float = math.nan
    cpu_seconds: float = math.nan
    device: str = ""
    versions: dict[str, str] = dataclasses.field(default_factory=dict)
    initial_weights: str = ""
    final_weights: str = ""
    warnings: list[str] = dataclasses.field(default_factory=list)
    traceback: str = ""
    replicas: int = 1

    @property
    def key(self) -> Key:
        """What tells this run from all others of its study."""
        return key(self.arm, self.seed, self.role, self.point, self.tuned)

    @property
    def epochs(self) -> int:
        """How many epochs were finished."""
        return max((len(values) for values in self.history.values()), default=0)

    @property
    def ok(self) -> bool:
        """Whether the run came to its end."""
        return self.status == "finished"

    def value(self, metric: str, epoch: Literal["last", "best"] = "last", *, lower_is_better: bool = True) -> float:
        """The metric at the last epoch, or at its own best finite one; NaN for a run that did not finish.

        Raises:
            KeyError: for a metric that the finished run has not; the message lists what there is.
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


_LOWER = ("loss", "error", "mse", "mae", "rmse", "crossentropy", "divergence", "penalty")
_HIGHER = ("accuracy", "acc", "auc", "precision", "recall", "iou", "f1", "score", "r2", "similarity")


def direction(metric: str, lower_is_better: bool | None, argument: str = "lower_is_better") -> bool:
    """Whether lower values of a metric are better: as given, or as its name says.

    Raises:
        TypeError: for what is neither.
        ValueError: where nothing is given and the name says nothing.
    """
    if lower_is_better is not None:
        if not isinstance(lower_is_better, bool):
            raise TypeError(_checks.message(argument, "True, False or None", lower_is_better))
        return lower_is_better
    words = str(metric).lower().split("_")
    says = [any(name in words or (len(name) > 3 and words[-1].endswith(name)) for name in n) for n in (_LOWER, _HIGHER)]
    if says[0] == says[1]:
        raise ValueError(f"The name of {metric!r} does not say which values are better. Give `{argument}`.")
    return says[0]


def key(arm: str, seed: int, role: str, point: dict[str, Any], tuned: dict[str, Any]) -> Key:
    """What tells a run from all others of its study."""
    return arm, seed, role, json.dumps(point, sort_keys=True), json.dumps(tuned, sort_keys=True)


def append(path: Path, records: Iterable[RunRecord]) -> None:
    """Add records to the file, a line each, on disk when this returns."""
    lines = [
        json.dumps({"schema": SCHEMA, **_files.strict(dataclasses.asdict(record))}, allow_nan=False)
        for record in records
    ]
    with path.open("ab") as file:
        file.write("".join(line + "\n" for line in lines).encode())
        file.flush()
        os.fsync(file.fileno())


def repair(path: Path) -> None:
    """Cut off the last line if a kill has torn it."""
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
    """The records of a study, in the order in which the runs ended.

    A last line without its end, which a killed process may leave or a running one is about to finish, is left out. Of
    a run that was trained again, the last record counts.

    Args:
        folder: the study's output, or the file of records itself.

    Raises:
        FileNotFoundError: where there are no records.
        ValueError: for a file that does not hold records; it names the line.

    Examples:
        >>> from keras_entropy.study import read_records
        >>> records = read_records("runs/study")  # doctest: +SKIP
    """
    path = Path(folder)
    path = path / RUNS if path.is_dir() else path
    try:
        content = path.read_bytes()
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path} does not exist: {folder} holds no records of a study.") from error
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
                raise ValueError(f"schema {schema!r}; this version reads {SCHEMA!r}")
            if not values.keys() <= fields or not {"arm", "seed", "status"} <= values.keys():
                raise ValueError("other fields than a run has")
            values["history"] = {name: [float(v) for v in column] for name, column in values["history"].items()}
            for name in ("wall_seconds", "cpu_seconds"):
                values[name] = float(values.get(name, math.nan))
            yield RunRecord(**values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{path}, line {number} is not the record of a run: {error}. Without the line that run is trained "
                "again."
            ) from error
