"""One walk of many: what it is asked for, and its record."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from keras_entropy import _checks, _files
from keras_entropy.landscape import checkpoint
from keras_entropy.landscape.pipeline import Progress, density_of_states
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.result import DensityOfStates
from keras_entropy.runs import epochs, machine
from keras_entropy.runs.execution import described
from keras_entropy.runs.identity import digest, identity
from keras_entropy.runs.pool import JobError, unpacked

Slot = tuple[str, int]
"""Group and number of the data set."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class WalkRecord:
    """A walk that has ended.

    Attributes:
        group: String. Name of its group.
        data_set: Integer. Number of its data set within the group, from 0.
        key: String. Hash of the problem and the arguments.
        status: String. `"finished"`, `"failed"` (an exception) or `"died"` (the process was killed or crashed).
        reason: String. Why the walk did not finish; empty if it did.
        density: `DensityOfStates`, or None if the walk did not finish.
    """

    group: str
    data_set: Annotated[int, msgspec.Meta(ge=0)]
    key: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$")]
    status: Literal["finished", "failed", "died"] = "finished"
    reason: str = ""
    density: DensityOfStates | None = None

    def __post_init__(self) -> None:
        if (self.status == "finished") != (self.density is not None):
            raise ValueError(
                f"a walk with the status {self.status!r} has {'no' if self.density is None else 'a'} result"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class WalkTask:
    """A walk to make, as it is sent to the process that makes it, beside its problem.

    Attributes:
        group: String. Name of its group.
        data_set: Integer. Number of its data set.
        key: String. Hash of the problem and the arguments.
        arguments: Mapping of arguments of `density_of_states` by name.
        threads: Integer, or None. Threads of the walk; the result does not depend on them.
        checkpoints: Path of the folder of checkpoints; None for no checkpoint.
    """

    group: str
    data_set: int
    key: str
    arguments: Mapping[str, Any]
    threads: int | None
    checkpoints: Path | None

    @property
    def slot(self) -> Slot:
        """Group and number of the data set."""
        return self.group, self.data_set

    @property
    def checkpoint(self) -> Path | None:
        """Path of the checkpoint; None where the folder does not exist, as on another machine."""
        if self.checkpoints is None or not self.checkpoints.is_dir():
            return None
        return self.checkpoints / f"{self.key}.state"

    def record(self, **changes: Any) -> WalkRecord:
        """The record of this walk."""
        return WalkRecord(group=self.group, data_set=self.data_set, key=self.key, **changes)


def key_of(problem: Problem, arguments: Mapping[str, Any]) -> str:
    """The key of a walk: a hash of all that its result depends on, also of the version of the walk."""
    return digest([digest_of(problem), identity(dict(arguments)), checkpoint.SCHEMA])


def digest_of(problem: Problem) -> str:
    """The digest of a problem, also of one that was made without it."""
    return problem.digest or digest([problem.name, problem.dimension, problem.half_width, identity(problem.energy)])


def measure(payload: bytes, task: WalkTask) -> WalkRecord:
    """Make a walk in this process. An exception goes into the record.

    Args:
        payload: Bytes. The problem and the settings of Keras, as `packed` has pickled them.
        task: `WalkTask`.

    Raises:
        JobError: If this process cannot read the problem.
        WriteError: If the machine cannot write the checkpoint.
    """
    problem, settings = unpacked(payload)
    try:
        machine.apply_settings(settings)
        with epochs.ShareReport() as report:
            return task.record(density=_density(problem, task, lambda at: report(at.done, text_of(at))))
    except (JobError, _files.WriteError):  # the machine is at fault, and not the walk
        raise
    except Exception as error:  # a failed walk is a result, and the others go on
        return task.record(status="failed", reason=described(error))


def _density(problem: Problem, task: WalkTask, progress: Callable[[Progress], None]) -> DensityOfStates:
    options = {**task.arguments, "threads": task.threads, "checkpoint": task.checkpoint, "progress": progress}
    path = task.checkpoint
    if path is not None and path.exists():
        try:
            return density_of_states(problem, **options)
        except ValueError as error:
            path.unlink(missing_ok=True)
            warnings.warn(
                f"Cannot resume from {_checks.printable(path)}: {_checks.in_a_line(error)}. Restarting this walk.",
                _checks.EntropyWarning,
                stacklevel=2,
            )
    return density_of_states(problem, **options)


def text_of(at: Progress) -> str:
    """What a display says of a walk beside its share."""
    if at.phase == "splitting":
        return at.phase
    text = f"{at.phase}, {at.moves_per_second / 1e6:.1f}e6 moves/s, {at.visited:.0%} of bins"
    text += f", {at.round_trips} round trips"
    return f"{text}, ln f {at.log_f:.1e}" if at.phase == "learning" else text
