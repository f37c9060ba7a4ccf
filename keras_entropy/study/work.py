"""The runs of a study on an executor: sent to its workers, trained there, and returned as records."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, wait

from keras_entropy import _optional
from keras_entropy.runs import memory
from keras_entropy.runs.pool import JobError, ProcessDiedError
from keras_entropy.study import single_run
from keras_entropy.study.records import RunRecord
from keras_entropy.study.single_run import Job, Task


def packed(job: Job) -> bytes:
    """Pickle a job for other processes, including functions that they cannot import."""
    cloudpickle = _optional.require("cloudpickle", extra="study")
    try:
        return bytes(cloudpickle.dumps(job))
    except Exception as error:  # pickle raises whatever the object raises
        raise TypeError(
            f"The study cannot be sent to other processes: {error}. Build models and load data inside `build` and "
            "`data`, and give arms plain values and functions."
        ) from error


def execute(payload: bytes, task: Task) -> RunRecord:
    """Train a run in this process."""
    job = _unpacked(payload)
    with memory.set_aside():
        return single_run.train(job, task)


@functools.lru_cache(maxsize=1)  # kept, with its data, from one task to the next
def _unpacked(payload: bytes) -> Job:
    try:
        job: Job = pickle.loads(payload)
    except Exception as error:  # as of any module that this process cannot import
        raise JobError(f"A process cannot read the study: {type(error).__name__}: {error}") from error
    return job


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
                except JobError:
                    raise
                except ProcessDiedError as error:
                    record = task.record(status="died", reason=str(error))
                except Exception as error:  # the executor's own: `execute` raises no other
                    record = task.record(status="died", reason=single_run.describe(error))
                ended(record)
    finally:
        for future in futures:
            future.cancel()
