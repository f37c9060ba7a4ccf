"""A live table of a running study."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable
from types import TracebackType
from typing import Any, Self

from keras_entropy.study.records import RunRecord
from keras_entropy.study.single_run import Task


class Progress:
    """A live table on the standard error of a terminal: finished, failed and remaining runs by arm, and the time left.

    The time left is the mean time of the runs that ended since the start, times the number of remaining runs.

    Args:
        arms: Iterable of strings. Names of the arms, in order.
        show: Boolean. False for no table.
    """

    def __init__(self, arms: Iterable[str], show: bool) -> None:
        self._arms = list(arms)
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._title = ""
        self._ended_now = 0
        self._start = time.monotonic()
        self._live: Any = None
        if show and sys.stderr.isatty():
            from rich.console import Console
            from rich.live import Live

            self._live = Live(self.table(), console=Console(stderr=True), refresh_per_second=2, transient=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.update(self.table())
            self._live.__exit__(kind, error, trace)

    def begin(self, title: str, kept: Iterable[RunRecord], left: Iterable[Task]) -> None:
        """Start a stage, with the records that it already has and the runs that remain."""
        self._title = title
        for record in kept:
            self._count(record)
        self._left.update(task.arm for task in left)
        self._show()

    def ended(self, record: RunRecord) -> None:
        """Count a run that has ended."""
        self._count(record)
        self._left[record.arm] = max(0, self._left[record.arm] - 1)
        self._ended_now += 1
        self._show()

    @property
    def seconds_left(self) -> float | None:
        """Seconds left in this stage; None before the first run has ended."""
        if not self._ended_now:
            return None
        return (time.monotonic() - self._start) / self._ended_now * sum(self._left.values())

    def table(self) -> Any:
        """The current table."""
        from rich.markup import escape
        from rich.table import Table

        seconds = self.seconds_left
        left = "time left unknown" if seconds is None else f"{_clock(seconds)} left"
        table = Table(title=f"{self._title} ({left})" if self._title else None)
        table.add_column("arm")
        for name in ("done", "failed", "left"):
            table.add_column(name, justify="right")
        for arm in self._arms:
            table.add_row(escape(arm), *(str(count[arm]) for count in (self._done, self._failed, self._left)))
        return table

    def _count(self, record: RunRecord) -> None:
        (self._done if record.ok else self._failed)[record.arm] += 1

    def _show(self) -> None:
        if self._live is not None:
            self._live.update(self.table())


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
