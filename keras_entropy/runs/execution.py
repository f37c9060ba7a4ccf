"""Jobs on an executor: each of them ends with a result, also where its process dies."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Executor, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any, TypeVar

from keras_entropy import _checks, _files
from keras_entropy.runs.pool import JobError, ProcessDiedError

Task = TypeVar("Task")
Result = TypeVar("Result")

_LONGEST = 500
"""Characters of an error in a record or a warning."""


def check_executor(executor: Any, workers: Any) -> None:
    """Check an executor of the user, or the number of processes of the pool that stands in for one.

    Raises:
        TypeError, ValueError: For anything but an executor of processes, or a positive number, and for both.
    """
    if executor is not None and not isinstance(executor, Executor):
        raise TypeError(_checks.message("executor", "a concurrent.futures.Executor or None", executor))
    if isinstance(executor, ThreadPoolExecutor) and executor._max_workers > 1:
        raise ValueError(
            "`executor` should run its tasks in processes, because the threads of a process share Keras's random "
            "numbers. Received: a ThreadPoolExecutor with several threads. Use a ProcessPoolExecutor."
        )
    if executor is not None and workers is not None:
        raise ValueError("Give `workers` or `executor`, not both: an executor has its own workers.")
    if workers is not None:
        _checks.positive_integer("workers", workers)


def run_all(
    executor: Executor,
    function: Callable[..., Result],
    jobs: Iterable[tuple[Task, tuple[Any, ...]]],
    died: Callable[[Task, str], Result],
    ended: Callable[[Result], None],
) -> None:
    """Run a function for all jobs, and give each result to `ended` when it is there.

    Args:
        executor: `concurrent.futures.Executor`.
        function: Function that makes a result of the arguments of a job. It raises `JobError` and `WriteError` only.
        jobs: Iterable of pairs: a task, and the arguments for the function.
        died: Function of a task and a reason that makes the result of a job whose process died.
        ended: Function of a result.

    Raises:
        JobError: If a process cannot read its job, or the executor is broken.
        WriteError: If a process cannot write its files.
    """
    futures = {executor.submit(function, *arguments): task for task, arguments in jobs}
    try:
        while futures:
            for future in wait(futures, return_when=FIRST_COMPLETED).done:
                task = futures.pop(future)
                try:
                    result = future.result()
                except BrokenExecutor as error:
                    raise JobError(
                        f"The executor is broken ({error}). Finished runs are kept: run again with a new executor."
                    ) from error
                except (JobError, _files.WriteError):
                    raise
                except ProcessDiedError as error:
                    result = died(task, str(error))
                except Exception as error:  # the executor's own
                    result = died(task, described(error))
                ended(result)
    finally:
        for future in futures:
            future.cancel()


def described(error: BaseException) -> str:
    """An exception in one line, with the file and line that raised it.

    TensorFlow lists the frames of a graph before it names the cause, and Keras prints parts in bold.
    """
    lines = [line for line in str(error).splitlines() if not line.lstrip().startswith('File "')]
    text = _checks.printable(" ".join(_checks.without_bold(" ".join(lines)).split()))
    if len(text) > _LONGEST:  # the cause may stand at the end
        text = f"{text[: _LONGEST // 4]} ... {text[-_LONGEST * 3 // 4 :]}"
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    return f"{type(error).__name__}: {text}{place}"
