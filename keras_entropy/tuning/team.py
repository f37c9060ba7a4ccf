"""Several trials at once: threads that ask the oracle and hand runs to an executor."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from concurrent.futures import Executor, wait
from typing import Any

from keras_tuner import errors
from keras_tuner.engine.trial import Trial

from keras_entropy.runs.pool import ProcessDiedError, ProcessPool, packed
from keras_entropy.runs.records import RunRecord
from keras_entropy.tuning import trial_run

_PAUSE = 0.2
"""Seconds between two looks at the other threads, and between two requests for a trial."""


class Team:
    """The threads of a search.

    Args:
        tuner: `EntropyTuner`.
        executor: Executor that trains the runs.
        fit: Mapping. Arguments of `fit` by name.

    Raises:
        TypeError: If the search cannot be sent to other processes.
    """

    def __init__(self, tuner: Any, executor: Executor, fit: Mapping[str, Any]) -> None:
        self._tuner, self._executor, self._fit = tuner, executor, dict(fit)
        self._over = threading.Event()
        self._errors: list[BaseException] = []
        self._payload = packed(tuner.job((), self._fit), "search")

    def work(self, count: int) -> None:
        """Run trials in this number of threads, until the oracle has no more or one raises an error."""
        threads = [threading.Thread(target=self._work, name=f"worker-{i}", daemon=True) for i in range(count)]
        for thread in threads:
            thread.start()
        try:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(_PAUSE)
                if self._errors:
                    break
        finally:
            ended = not any(thread.is_alive() for thread in threads)
            self._over.set()
            if not ended and isinstance(self._executor, ProcessPool):
                self._executor.kill()
            for thread in threads:
                thread.join()
        if self._errors:
            raise self._errors[0]

    def _work(self) -> None:
        oracle = self._tuner.oracle
        try:
            while not self._over.is_set():
                # A copy: other threads should see that the trial has ended when the oracle has scored it.
                trial = Trial.from_state(oracle.create_trial(threading.current_thread().name).get_state())
                if trial.status == "STOPPED":
                    return
                if trial.status == "IDLE":  # Hyperband waits for other trials
                    self._over.wait(_PAUSE)
                    continue
                self._tuner.on_trial_begin(trial)
                self._tuner.try_trial(trial, **self._fit)
                self._tuner.on_trial_end(trial)
        except BaseException as error:
            self._errors.append(error)

    def train(self, task: trial_run.Task) -> RunRecord:
        """Train a run on the executor.

        Raises:
            FatalError: For an error that ends the search.
            FailedTrialError: If the run killed its process too often.
        """
        try:
            future = self._executor.submit(trial_run.execute, self._payload, task)
            while not wait([future], timeout=_PAUSE).done:
                if self._over.is_set():
                    future.cancel()
                    raise errors.FatalRuntimeError("The search was stopped.")
            run: RunRecord = future.result()
        except (errors.FatalError, errors.FailedTrialError):
            raise
        except RuntimeError as error:
            if isinstance(error, ProcessDiedError) and not self._over.is_set():
                raise errors.FailedTrialError(f"Seed {task.seed}: {error}.") from error
            raise errors.FatalRuntimeError(f"{type(error).__name__}: {error}") from error
        except Exception as error:  # the executor's own, as of a worker of Dask that was killed too often
            raise errors.FailedTrialError(f"Seed {task.seed}: {type(error).__name__}: {error}") from error
        return run
