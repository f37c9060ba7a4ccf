"""A trial of each arm before anything is trained: its model is built and changed, as in its first run."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor

from keras_entropy.runs import execution, machine, memory, training
from keras_entropy.runs.pool import unpacked
from keras_entropy.runs.seeds import seeded
from keras_entropy.study.axes import OWN_AXES, Values
from keras_entropy.study.single_run import Job, caught_warnings


def check(payload: bytes, values: Mapping[str, Sequence[Values]], executor: Executor) -> None:
    """Raise an error that each run of an arm would raise, such as for a placement that fits no layer.

    The models are built where the runs will be: a GPU, files and the state of Keras are those of a run.

    Args:
        payload: Bytes. The packed `Job`.
        values: Dict of the names of arms to the values of their runs.
        executor: `concurrent.futures.Executor` that will train.

    Raises:
        ValueError: If an arm cannot have any run. An arm whose process dies is left to its runs.
        JobError: If the processes cannot read the study, or the executor is broken.
    """
    problems: dict[str, str] = {}
    jobs = [(name, (payload, name, _of_placements(found))) for name, found in values.items()]
    execution.run_all(executor, problem, jobs, lambda name, reason: {name: ""}, problems.update)
    for name in values:
        if problems[name]:
            raise ValueError(problems[name])


def problem(payload: bytes, name: str, values: Sequence[Values]) -> dict[str, str]:
    """The name of an arm, with the error of its runs as a sentence; the sentence is empty if there is none."""
    job = unpacked(payload)
    try:
        with caught_warnings():  # each run records them
            for one in values:
                _try(job, name, one)
    except ValueError as error:
        return {name: str(error)}
    finally:
        memory.free()
    return {name: ""}


def _of_placements(values: Sequence[Values]) -> list[Values]:
    """The first values with each placement."""
    return list({str(v.get("placement")): v for v in reversed(values)}.values())


def _try(job: Job, name: str, values: Values) -> None:
    arm = job.arms[name]
    given = {**{axis: value for axis, value in values.items() if axis not in OWN_AXES}, **arm.arguments}
    listed = ", ".join(f"{argument}={value!r}" for argument, value in given.items())
    machine.clear_session(job.settings)
    with seeded(0):
        with _explained(f"Arm {name!r}: build({listed}) failed"):
            model = job.build(**given)
        with _explained(f"Arm {name!r}"):
            arm.change(training.checked_model(model), values, 0)


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # anything that the user's functions raise
        kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{where}: {kind}{error}") from error
