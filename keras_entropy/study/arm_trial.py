"""A trial of each arm before anything is trained: its model is built and changed, as in its first run.

A function of the data is called once too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Executor

from keras_entropy._checks import EntropyWarning
from keras_entropy.runs import execution, machine, memory, training
from keras_entropy.runs.pool import unpacked
from keras_entropy.runs.seeds import seeded
from keras_entropy.study.axes import OWN_AXES, Values
from keras_entropy.study.run_data import load
from keras_entropy.study.single_run import Job, caught_warnings


def check(
    payload: bytes, values: Mapping[str, Sequence[Values]], executor: Executor, data_seed: int | None = None
) -> None:
    """Raise an error that each run of an arm would raise, such as for a placement that fits no layer.

    The models are built where the runs will be: a GPU, files and the state of Keras are those of a run.

    Args:
        payload: Bytes. The packed `Job`.
        values: Dict of the names of arms to the values of their runs.
        executor: `concurrent.futures.Executor` that will train.
        data_seed: Integer. Seed of the data to load. Defaults to None: no data are loaded.

    Raises:
        ValueError: If an arm cannot have any run. An arm whose process dies is left to its runs.
        JobError: If the processes cannot read the study, or the executor is broken.

    Warns:
        EntropyWarning: If the data hold NaN or infinite numbers.
    """
    problems: dict[str, Problem] = {}
    first = next(iter(values), None)
    jobs = [
        (name, (payload, name, _of_placements(found), data_seed if name == first else None))
        for name, found in values.items()
    ]
    execution.run_all(executor, problem, jobs, lambda name, reason: {name: Problem()}, problems.update)
    for name in values:
        if problems[name].error:
            raise ValueError(problems[name].error)
        for text in problems[name].cautions:
            warnings.warn(text, EntropyWarning, stacklevel=3)


@dataclasses.dataclass(frozen=True)
class Problem:
    """What speaks against the runs of an arm: an error that each would raise, and warnings of the data."""

    error: str = ""
    cautions: tuple[str, ...] = ()


def problem(payload: bytes, name: str, values: Sequence[Values], data_seed: int | None) -> dict[str, Problem]:
    """The name of an arm, with what speaks against its runs."""
    job = unpacked(payload)
    cautions: tuple[str, ...] = ()
    try:
        with caught_warnings():  # each run records them
            for one in values:
                _try(job, name, one)
        if data_seed is not None:
            cautions = _load(job, data_seed)
    except ValueError as error:
        return {name: Problem(str(error))}
    finally:
        memory.free()
    return {name: Problem(cautions=cautions)}


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


def _load(job: Job, seed: int) -> tuple[str, ...]:
    """Load the data as a run does, and return this package's warnings of it."""
    with warnings.catch_warnings(record=True) as caught, _explained("Loading the data failed"):
        warnings.simplefilter("always")
        load(job.data, seed)
    return tuple(str(warning.message) for warning in caught if issubclass(warning.category, EntropyWarning))


@contextlib.contextmanager
def _explained(where: str) -> Iterator[None]:
    try:
        yield
    except Exception as error:  # anything that the user's functions raise
        kind = "" if isinstance(error, TypeError | ValueError) else f"{type(error).__name__}: "
        raise ValueError(f"{where}: {kind}{error}") from error
