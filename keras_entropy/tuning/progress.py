"""The progress bar of a search."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Self


class SearchProgress:
    """A progress bar with the number of ended trials, the best score and the remaining time, on a terminal only.

    Args:
        tuner: `EntropyTuner`.
        show: Boolean. False shows nothing.
    """

    def __init__(self, tuner: Any, show: bool) -> None:
        self._tuner = tuner
        self._bar: Any = None
        self._task: Any = None
        if show and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

            columns = ("[progress.description]{task.description}", BarColumn(), MofNCompleteColumn())
            self._bar = Progress(
                *columns, TimeRemainingColumn(), TextColumn("{task.fields[best]}"), console=Console(stderr=True)
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
            self._task = self._bar.add_task("trials", total=self._tuner.oracle.expected_trials, best="")
            self.update()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self.update()
            self._bar.__exit__(kind, error, trace)

    def update(self, trials: list[Any] | None = None) -> None:
        """Show the trials of the tuner, or the given trials."""
        if self._bar is None:
            return
        trials = list(self._tuner.oracle.trials.values()) if trials is None else trials
        ended = [trial for trial in trials if trial.status in ("COMPLETED", "FAILED")]
        scores = [trial.score for trial in ended if trial.status == "COMPLETED"]
        objective = self._tuner.oracle.objective
        best = (min if objective.direction == "min" else max)(scores, default=None)
        text = "" if best is None else f"best {objective.name} {best:.5g}"
        self._bar.update(self._task, completed=len(ended), best=text)
