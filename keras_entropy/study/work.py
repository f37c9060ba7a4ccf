"""The runs of a study on an executor: trained there, and returned as records."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, wait

from keras_entropy import _files
from keras_entropy.runs import memory
from keras_entropy.runs.pool import JobError, ProcessDiedError, unpacked
from keras_entropy.runs.records import RunRecord
from keras_entropy.study import single_run
from keras_entropy.study.single_run import Task


def execute(payload: bytes, task: Task) -> RunRecord:
    """Train a run in this process."""
    with memory.set_aside():
        return single_run.train(unpacked(payload), task)


def train(payload: bytes, tasks: Sequence[Task], executor: Executor, ended: Callable[[RunRecord], None]) -> None:
    """Train all runs on an executor, and give each record to `ended`."""
    futures = {executor.submit(execute, payload, task): task for task in tasks}
    try:
        while futures:
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                task = futures.pop(future)
                try:
                    record = future.result()
                except BrokenExecutor as error:
                    raise JobError(
                        f"The executor is broken ({error}). Finished runs are kept: run again with a new executor."
                    ) from error
                except (JobError, _files.WriteError):
                    raise
                except ProcessDiedError as error:
                    record = task.record(status="died", reason=str(error))
                except Exception as error:  # the executor's own: `execute` raises no other
                    record = task.record(status="died", reason=single_run.describe(error))
                ended(record)
    finally:
        for future in futures:
            future.cancel()
