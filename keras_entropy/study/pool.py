"""Runs in a pool of processes with one thread each.

The number of threads decides how sums are rounded, so a run is bit-identical in every pool and alone in such a process.
"""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, Future, wait
from pathlib import Path
from typing import Any

import keras

from keras_entropy import _backend, _optional
from keras_entropy.runs import memory
from keras_entropy.study import single_run
from keras_entropy.study.records import RunRecord
from keras_entropy.study.single_run import Job, Task

Ended = Callable[[RunRecord], None]

_ONE_THREAD = (
    "TF_NUM_INTRAOP_THREADS",
    "TF_NUM_INTEROP_THREADS",
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NPROC",  # read by XLA, and so by JAX
)

_GROWN = "LOKY_MAX_MEMORY_LEAK_SIZE"
"""Bytes by which a process may grow before loky restarts it; a restart costs TensorFlow the time of a few runs."""


class JobError(RuntimeError):
    """A process cannot read a study, or an executor is broken: no single run is the cause."""


def environment() -> dict[str, str]:
    """Environment variables for a process that trains runs of a study. Set them before Keras is imported.

    They set one thread per process, and let several processes share the memory of a GPU.

    Returns:
        Dict of names to values.

    Examples:
        >>> from keras_entropy.study import environment
        >>> environment()["OMP_NUM_THREADS"]
        '1'
    """
    return {
        **dict.fromkeys(_ONE_THREAD, "1"),
        "KERAS_BACKEND": keras.backend.backend(),
        "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        "XLA_PYTHON_CLIENT_PREALLOCATE": "false",
        "TF_CPP_MIN_LOG_LEVEL": os.environ.get("TF_CPP_MIN_LOG_LEVEL", "2"),
    }


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


def run_on_executor(payload: bytes, tasks: Sequence[Task], executor: Executor, ended: Ended) -> None:
    """Train all runs on an executor."""
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
                except Exception as error:  # the executor's own: `execute` raises no other
                    record = _died(task, single_run.describe(error))
                ended(record)
    finally:
        for future in futures:
            future.cancel()


def run_in_pool(payload: bytes, tasks: Sequence[Task], workers: int, ended: Ended, log: Path | None = None) -> None:
    """Train all runs in a pool of processes, which is restarted when a process dies.

    The runs that were in progress when a process died are tried again, one at a time. A run whose process dies again is
    recorded as died. The output of the processes is appended to the file `log`.
    """
    log = None if log is None else log.absolute()
    waiting, suspects = deque(tasks), deque[Task]()
    while waiting or suspects:
        if waiting:
            suspects.extend(_until_broken(payload, waiting, workers, ended, log))
        else:
            for task in _until_broken(payload, suspects, 1, ended, log):
                ended(_died(task, "its process was killed or crashed twice"))


def _until_broken(payload: bytes, tasks: deque[Task], workers: int, ended: Ended, log: Path | None) -> list[Task]:
    """Train runs until none is left or a process dies; return the runs that were then in progress."""
    loky = _optional.require("loky", extra="study")
    names = {"log": None if log is None else str(log), "parent": os.getpid()}
    grown = {_GROWN: os.environ.get(_GROWN, "1e9")}
    pool = loky.ProcessPoolExecutor(workers, env=environment() | grown, initializer=exec, initargs=(_FIRST, names))
    futures: dict[Future[Any], Task] = {}
    kill = True
    try:
        while tasks or futures:
            while tasks and len(futures) < workers:
                futures[pool.submit(execute, payload, tasks[0])] = tasks[0]
                tasks.popleft()
            lost = []
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                try:
                    record = future.result()
                except BrokenExecutor:
                    lost.append(futures.pop(future))
                    continue
                del futures[future]
                ended(record)
            if lost:
                return lost + list(futures.values())
        kill = False
    except BrokenExecutor:  # of submit
        return list(futures.values())
    finally:
        pool.shutdown(wait=True, kill_workers=kill)
    return []


# As text: unpickling a function of this module would import TensorFlow, which prints, before the redirection.
_FIRST = """
import os
if log is not None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
from keras_entropy.study.pool import start
start(parent)
"""


def start(parent: int) -> None:
    """Set up a process of the pool: ignore Ctrl-C, end with the parent, and do not autotune input pipelines."""
    _backend.framework().disable_pipeline_tuning()
    signal.signal(signal.SIGINT, signal.SIG_IGN)

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _died(task: Task, reason: str) -> RunRecord:
    return task.record(status="died", reason=reason)
