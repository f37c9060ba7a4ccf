"""Ctrl-C during training."""

from __future__ import annotations

import signal
import sys
import threading
from types import FrameType
from typing import Any, Self

import keras


class InterruptWatch(keras.callbacks.Callback):
    """Callback and context manager that raises KeyboardInterrupt again if Python has dropped it.

    Python drops and prints an exception that is raised in a callback of the garbage collector or in a finaliser. Ctrl-C
    may hit one of these, since JAX runs a callback at each collection; training would then go on. Use an instance both
    as a callback of `fit` and as a context manager around it: it raises the exception at the end of the batch, or of
    the context.
    """

    def __init__(self) -> None:
        super().__init__()
        self._asked = False
        self._previous: Any = None
        self._unraisable: Any = None

    def __enter__(self) -> Self:
        previous = signal.getsignal(signal.SIGINT)
        # Only the main thread may set handlers. A signal that is ignored, as in a background job, stays ignored.
        if callable(previous) and threading.current_thread() is threading.main_thread():
            self._previous = previous
            signal.signal(signal.SIGINT, self._handle)
            self._unraisable, sys.unraisablehook = sys.unraisablehook, self._report
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            sys.unraisablehook = self._unraisable
        if kind is None and self._asked:
            raise KeyboardInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._asked = True
        self._previous(number, frame)

    def _report(self, dropped: Any) -> None:
        if not (self._asked and dropped.exc_type is KeyboardInterrupt):
            self._unraisable(dropped)

    def on_train_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed during training."""
        if self._asked:
            raise KeyboardInterrupt

    def on_test_batch_end(self, batch: int, logs: dict[str, Any] | None = None) -> None:
        """Raise KeyboardInterrupt if Ctrl-C was pressed during validation."""
        self.on_train_batch_end(batch, logs)
