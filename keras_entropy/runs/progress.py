"""How far runs are: a live table on a terminal or in a notebook; a line for each run in a log file or a pipe."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from keras_entropy import _checks, _files
from keras_entropy.runs import epochs

_SILENCE = 60.0
"""Longest time in seconds without a line, in a log file or a pipe."""


class Progress:
    """Shows finished, failed and remaining runs by group, the epochs of those that train now, and the time left.

    The epochs are those of runs in this process and in a `ProcessPool` that starts while this is shown.

    The time left is the time since the start of the stage, divided by the number of runs that have ended, times the
    number of runs that remain.

    Args:
        groups: Iterable of strings. Names of the rows, such as the arms of a study.
        show: Boolean. False shows nothing.
        noun: String. What is counted. Defaults to `"run"`.
    """

    def __init__(self, groups: Iterable[str], show: bool, noun: str = "run") -> None:
        self._groups, self._noun = list(groups), noun
        self._done: Counter[str] = Counter()
        self._failed: Counter[str] = Counter()
        self._left: Counter[str] = Counter()
        self._title, self._note = "", ""
        self._ended_now = 0
        self._start = self._spoken = time.monotonic()
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._live: Any = None
        self._lines = False
        self._reports: tempfile.TemporaryDirectory[str] | None = None
        self._outer: Path | None = None
        if show:
            from rich.console import Console

            console = Console(stderr=True)
            # In a notebook, rich needs ipywidgets to change what it has shown.
            if console.is_terminal or (console.is_jupyter and importlib.util.find_spec("ipywidgets")):
                from rich.live import Live

                self._live = Live(get_renderable=self.table, console=console, refresh_per_second=2)
            else:
                self._lines = True

    def __enter__(self) -> Self:
        if self._live is not None or self._lines:
            self._reports = _files.temporary_folder()
            self._outer = epochs.reported_in()
            epochs.report_in(Path(self._reports.name, "here.json"))
        if self._live is not None:
            self._live.__enter__()
        elif self._lines:
            threading.Thread(target=self._speak_up, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._live is not None:
            self._live.__exit__(kind, error, trace)
        if self._reports is not None:
            epochs.report_in(self._outer)
            self._reports.cleanup()

    def begin(self, title: str, left: Mapping[str, int], ended: Iterable[tuple[str, bool]] = ()) -> None:
        """Start a stage.

        Args:
            title: String. Name of the stage.
            left: Mapping of groups to the number of runs that remain.
            ended: Group of each run that ended before, and whether it finished.
        """
        with self._lock:
            self._title = title
            self._ended_now, self._start = 0, time.monotonic()
            for group, finished in ended:
                (self._done if finished else self._failed)[group] += 1
            self._left.update(left)
            if self._left.total():
                self._show(f"{title}: {self._counts()}")

    def ended(self, group: str, finished: bool, text: str = "", note: str = "") -> None:
        """Count a run that has ended.

        Args:
            group: String. Its group.
            finished: Boolean. False for a run that failed.
            text: String. What to say of the run in a line.
            note: String. What to show from now on, such as the best result. Defaults to what is shown.
        """
        with self._lock:
            (self._done if finished else self._failed)[group] += 1
            self._left[group] = max(0, self._left[group] - 1)
            self._ended_now += 1
            self._note = note or self._note
            words = [text or group, *([] if finished else ["failed"]), self._counts()]
            self._show(f"{self._title}: {', '.join(word for word in (*words, self._note) if word)}")

    @property
    def seconds_left(self) -> float | None:
        """Seconds left in this stage; None before the first run has ended, unless all runs that remain say it."""
        if not self._ended_now:
            said = [] if self._reports is None else epochs.seconds_left(Path(self._reports.name))
            known = [seconds for seconds in said if seconds is not None]
            return max(known) if known and len(known) == self._left.total() else None
        return (time.monotonic() - self._start) / self._ended_now * self._left.total()

    def title(self) -> str:
        """The current stage, with the time left and the epochs of the runs that train now."""
        parts = [self._time_left(), self._epochs(), self._note]
        return f"{self._title} ({', '.join(part for part in parts if part)})" if self._title else ""

    def table(self) -> Any:
        """The current title and table."""
        from rich.console import Group
        from rich.table import Table
        from rich.text import Text

        table = Table()
        table.add_column("")
        for name in ("done", "failed", "left"):
            table.add_column(name, justify="right")
        for group in self._groups:
            table.add_row(
                Text(_checks.printable(group)), *(str(count[group]) for count in (self._done, self._failed, self._left))
            )
        return Group(Text(self.title()), table)  # a title of the table would wrap at its width

    def _time_left(self) -> str:
        seconds = self.seconds_left
        return "time left unknown" if seconds is None else f"{_clock(seconds)} left"

    def _epochs(self) -> str:
        return "" if self._reports is None else epochs.text(Path(self._reports.name))

    def _counts(self) -> str:
        ended = self._done.total() + self._failed.total()
        return f"{ended} of {ended + self._left.total()} {self._noun}s, {self._time_left()}"

    def _show(self, line: str) -> None:
        if self._live is not None:
            self._live.refresh()
        self._line(line)

    def _line(self, text: str) -> None:
        if self._lines:
            self._spoken = time.monotonic()
            sys.stderr.write(f"{_checks.printable(text)}\n")
            sys.stderr.flush()

    def _speak_up(self) -> None:
        """Write a line when there was none for a minute."""
        while not self._over.wait(1.0):
            with self._lock:
                if time.monotonic() - self._spoken >= _SILENCE and self._left.total():
                    words = (self._counts(), self._epochs())
                    self._line(f"{self._title}: {', '.join(word for word in words if word)}")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
