"""The runs of a study on an executor: trained there, and returned as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import Executor

from keras_entropy.runs import execution, memory
from keras_entropy.runs.pool import unpacked
from keras_entropy.runs.records import RunRecord
from keras_entropy.study import single_run
from keras_entropy.study.single_run import Task


def execute(payload: bytes, task: Task) -> RunRecord:
    """Train a run in this process."""
    with memory.set_aside():
        return single_run.train(unpacked(payload), task)


def train(payload: bytes, tasks: Sequence[Task], executor: Executor, ended: Callable[[RunRecord], None]) -> None:
    """Train all runs on an executor, and give each record to `ended`."""

    def died(task: Task, reason: str) -> RunRecord:
        return task.record(status="died", reason=reason)

    execution.run_all(executor, execute, [(task, (payload, task)) for task in tasks], died, ended)
