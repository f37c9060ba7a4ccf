"""Processes that train, as an executor: a process that dies is replaced, and the run that it trained is tried again.

The number of threads decides how sums are rounded, so a run is bit-identical in every process with as many threads.
"""

from __future__ import annotations

import functools
import os
import pickle
import signal
import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import keras

from keras_entropy import _backend, _optional
from keras_entropy.runs import epochs

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
    """A process cannot read what it should train, or an executor is broken: no single run is the cause."""


class ProcessDiedError(RuntimeError):
    """The process of a run died, as often as it was tried."""


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


def packed(job: Any, content: str) -> bytes:
    """Pickle what all runs of some work share, including functions that other processes cannot import.

    Args:
        job: Any object.
        content: String. The kind of work, for an error.

    Raises:
        TypeError: If it cannot be pickled.
    """
    cloudpickle = _optional.require("cloudpickle", extra="study")
    try:
        return bytes(cloudpickle.dumps(job))
    except Exception as error:  # pickle raises whatever the object raises
        raise TypeError(
            f"The {content} cannot be sent to other processes: {error}. Build models and load data inside functions, "
            "and give plain values, arrays and functions."
        ) from error


@functools.lru_cache(maxsize=1)  # kept, with its data, from one run to the next
def unpacked(payload: bytes) -> Any:
    """Return what `packed` has pickled.

    Raises:
        JobError: If this process cannot read it, as for a module that it cannot import.
    """
    try:
        return pickle.loads(payload)
    except Exception as error:
        raise JobError(f"A process cannot read its work: {type(error).__name__}: {error}") from error


class ProcessPool(Executor):
    """An executor whose tasks run in processes of this machine, one process per worker, started when it is needed.

    A task whose process dies is tried again in a new process, and the other processes go on.

    Args:
        workers: Integer. Number of processes.
        tries: Integer. How often a task may kill its process before it fails with `ProcessDiedError`. Defaults to 2.
        log: Path of a file, to which the output of the processes is appended. Defaults to None: standard output.
        shares: List with the cores and the GPU of each worker, as of `shares`. Defaults to None: one thread for each
            worker, on any core.
    """

    def __init__(
        self, workers: int, *, tries: int = 2, log: Path | None = None, shares: list[Share] | None = None
    ) -> None:
        _optional.require("loky", extra="study")
        self._tries, self._log = tries, None if log is None else str(log.absolute())
        self._shares: list[Share] = [([], "")] * workers if shares is None else list(shares)
        self._workers: list[_Worker] = []
        self._here = threading.local()
        self._threads = ThreadPoolExecutor(workers, "worker", self._begin)

    def _begin(self) -> None:
        self._here.worker = _Worker(self._shares.pop(), self._log)
        self._workers.append(self._here.worker)

    def submit(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Run a function in one of the processes."""
        return self._threads.submit(self._run, function, *args, **kwargs)

    def _run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        for _ in range(self._tries):
            try:
                return self._here.worker.run(function, *args, **kwargs)
            except BrokenExecutor:
                self._here.worker.replace()
        raise ProcessDiedError(f"its process was killed or crashed {_times(self._tries)}")

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """End the processes, after their last task."""
        self._threads.shutdown(wait, cancel_futures=cancel_futures)
        for worker in self._workers:
            worker.stop(kill=not wait)

    def kill(self) -> None:
        """End the processes now."""
        self._threads.shutdown(wait=False, cancel_futures=True)
        for worker in self._workers:
            worker.stop(kill=True)
        self._threads.shutdown(wait=True)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.shutdown()
        else:
            self.kill()


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")


Share = tuple[list[int], str]
"""Cores of a process, and the GPU that it sees."""


def shares(count: int) -> list[Share]:
    """Divide the cores and GPUs of this machine among processes."""
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = visible.split(",") if visible else [path.name[6:] for path in sorted(Path("/dev").glob("nvidia[0-9]*"))]
    found = []
    for i in range(count):
        own = cores[i::count] or ([cores[i % len(cores)]] if cores else [])
        found.append((own, gpus[i % len(gpus)] if gpus else ""))
    return found


class _Worker:
    """A process and its replacements, for one thread of a pool."""

    def __init__(self, share: Share, log: str | None) -> None:
        cores, gpu = share
        self._env = environment() | {_GROWN: os.environ.get(_GROWN, "1e9")}
        if cores:
            self._env |= dict.fromkeys(_ONE_THREAD, str(len(cores)))
        if gpu:
            self._env["CUDA_VISIBLE_DEVICES"] = gpu
        self._report = epochs.file_of_a_worker()
        self._names = {"log": log, "parent": os.getpid(), "cores": cores, "report": self._report}
        self._stopped = False
        self._process: Any = None
        self.replace()

    def replace(self) -> None:
        """Start a new process, when it is needed, in place of one that has died."""
        import loky

        if self._process is not None:
            self._process.shutdown(wait=True, kill_workers=True)
        if self._report is not None:
            self._report.unlink(missing_ok=True)  # of a process that was killed
        if not self._stopped:
            self._process = loky.ProcessPoolExecutor(1, env=self._env, initializer=exec, initargs=(_FIRST, self._names))

    def run(self, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        """Run a function in the process."""
        if self._stopped:
            raise JobError("The pool was stopped.")
        return self._process.submit(function, *args, **kwargs).result()

    def stop(self, *, kill: bool) -> None:
        """End the process."""
        self._stopped = True
        self._process.shutdown(wait=True, kill_workers=kill)


# As text: unpickling a function of this module would import TensorFlow, which prints and takes seconds. Before that, a
# thread begins to watch the parent, and ends the process with it, and the output goes to the log.
_FIRST = """
import multiprocessing, os, threading, time

def watch():
    if os.name == "nt":  # where the number of the parent stays when it is dead
        multiprocessing.parent_process().join()
    else:
        while os.getppid() == parent:
            time.sleep(0.2)
    os._exit(1)

threading.Thread(target=watch, daemon=True).start()
if log is not None:
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
if cores and hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, cores)
from keras_entropy.runs.pool import start
start(report)
"""


def start(report: Path | None) -> None:
    """Set up a process of the pool: ignore Ctrl-C, and do not autotune input pipelines.

    Args:
        report: Path of the file in which to report the epochs of runs; None to report none.
    """
    epochs.report_in(report)
    _backend.framework().disable_pipeline_tuning()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
