"""How far the runs are that go on now: each process writes its own part in a file, and the display reads the files."""

from __future__ import annotations

import contextlib
import json
import time
import uuid
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import keras

_SECONDS = 0.5
"""Shortest time between two reports: some epochs take less time than the write of a file."""

_MOST_NUMBERS = 4

_file: Path | None = None


def report_in(file: Path | None) -> None:
    """Set the file in which this process reports its epoch; None if no display reads it."""
    global _file  # noqa: PLW0603 (a process has one display)
    _file = file


def reported_in() -> Path | None:
    """The file in which this process reports its epoch; None if no display reads it."""
    return _file


def file_of_a_worker() -> Path | None:
    """A file in which another process can report to the display of this one; None if there is none."""
    return None if _file is None else _file.with_name(f"{uuid.uuid4().hex}.json")


class _Report:
    """Context manager that withdraws the report of this process at its end.

    A process that is killed leaves its report; whoever replaces the process removes it.
    """

    def __init__(self) -> None:
        super().__init__()
        self._spoken: float | None = None

    def _write(self, report: list[Any]) -> None:
        now = time.monotonic()
        if _file is None or (self._spoken is not None and now - self._spoken < _SECONDS):
            return
        self._spoken, partial = now, _file.with_suffix(".partial")
        with contextlib.suppress(OSError):  # the display has ended
            partial.write_text(json.dumps(report), encoding="utf-8")
            partial.replace(_file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if _file is not None:
            with contextlib.suppress(OSError):
                _file.unlink(missing_ok=True)


class EpochReport(_Report, keras.callbacks.Callback):
    """Callback and context manager that reports the epoch of a run.

    Use an instance both as a callback of `fit` and as a context manager around it.
    """

    def on_epoch_begin(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        """Write the number of the epoch, counted from 1, and the number of all epochs."""
        self._write([epoch + 1, (self.params or {}).get("epochs")])


class ShareReport(_Report):
    """Function and context manager that reports which share of a run that has no epochs is done."""

    def __init__(self) -> None:
        super().__init__()
        self._first: tuple[float, float] | None = None

    def __call__(self, done: float, words: str) -> None:
        """Write the share, from 0 to 1, what else to say of the run, and the seconds that it has left."""
        now = time.monotonic()
        begin, earlier = self._first = self._first or (now, done)
        seconds = (now - begin) * (1 - done) / (done - earlier) if done > earlier else None
        self._write([done, words, seconds])


def text(folder: Path) -> str:
    """What processes report in a folder, such as "2 runs, epochs 3 and 7 of 10"; empty without reports."""
    by_total: dict[int | None, list[int]] = {}
    shares: list[tuple[float, str]] = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):  # the run has just ended
            done, rest, *_ = json.loads(path.read_text(encoding="utf-8"))
            if isinstance(rest, str):
                shares.append((done, rest))
            else:
                by_total.setdefault(rest, []).append(done)
    if shares:
        return _shares(sorted(shares))
    count = sum(map(len, by_total.values()))
    parts = [_numbers(sorted(set(found)), total) for total, found in sorted(by_total.items(), key=str)]
    return ", ".join([*([f"{count} runs"] if count > 1 else []), *parts])


def seconds_left(folder: Path) -> list[float | None]:
    """The seconds that the runs without epochs have left which processes report in a folder; None if unknown."""
    found: list[float | None] = []
    for path in folder.glob("*.json"):
        with contextlib.suppress(OSError, ValueError):  # the run has just ended
            _, _, seconds = json.loads(path.read_text(encoding="utf-8"))
            found.append(seconds)
    return found


def _shares(found: list[tuple[float, str]]) -> str:
    if len(found) == 1:
        [(done, words)] = found
        return f"{done:.0%}: {words}"
    shown = [f"{done:.0%}" for done, _ in found]
    return f"{len(found)} at {', '.join(shown[:-1])} and {shown[-1]}"


def _numbers(epochs: list[int], total: int | None) -> str:
    *others, last = map(str, epochs)
    if len(others) >= _MOST_NUMBERS:
        shown = f"{others[0]} to {last}"
    else:
        shown = f"{', '.join(others)} and {last}" if others else last
    return f"{'epochs' if others else 'epoch'} {shown}{'' if total is None else f' of {total}'}"
