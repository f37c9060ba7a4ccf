"""The result of a study: its runs, with methods that compare and report them."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from keras_entropy import _files
from keras_entropy._checks import message, one_of, printable
from keras_entropy.runs.records import RUNS, Epoch, RunRecord, read_records
from keras_entropy.study import arm_groups, frames, report_files
from keras_entropy.study.comparison import compare
from keras_entropy.study.document import Table
from keras_entropy.study.results import Comparison
from keras_entropy.study.study_plan import StudyPlan, plan_from_records, read_plan

if TYPE_CHECKING:
    import pandas as pd


@dataclasses.dataclass(frozen=True, kw_only=True)
class StudyResult:
    """The runs of a study. Iterating over it gives the records; `print(result)` and a notebook show a table of runs.

    Attributes:
        records: Tuple of `RunRecord`, those of the tuning seeds first.
        plan: `StudyPlan`. What was planned.
        folder: Path of the study's folder; None for a study in memory.
    """

    records: tuple[RunRecord, ...]
    plan: StudyPlan
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[RunRecord]:
        return iter(self.records)

    @property
    def failed(self) -> tuple[RunRecord, ...]:
        """The runs that did not finish."""
        return tuple(record for record in self.records if not record.ok)

    def compare(
        self,
        metric: str | None = None,
        baseline: str | None = None,
        *,
        epoch: Epoch = "last",
        lower_is_better: bool | None = None,
        confidence: float = 0.95,
        margin: float | None = None,
    ) -> Comparison:
        """Compare each arm with the baseline; see `keras_entropy.study.compare`.

        Args:
            metric: String. A name in the histories. Defaults to None: the metric of the study.
            baseline: String. Name of the arm that the others are compared with. Defaults to None: that of the study.
            epoch: String. `"last"`, or `"best"` for the best epoch of each run. Defaults to `"last"`.
            lower_is_better: Boolean. True for a loss, False for an accuracy. Defaults to None: that of the study for
                its metric, else what the name of the metric says.
            confidence: Float. Confidence of the intervals. Defaults to 0.95.
            margin: Float. If given, equivalence within this margin is tested too. Defaults to None.

        Returns:
            `Comparison`.

        Raises:
            ValueError: If there is no run to compare, or the runs do not have the baseline or the metric.
        """
        if lower_is_better is None and metric in (None, self.plan.metric):
            lower_is_better = self.plan.lower_is_better
        return compare(
            self.records,
            self.plan.metric if metric is None else metric,
            self.plan.baseline if baseline is None else baseline,
            epoch=epoch,
            lower_is_better=lower_is_better,
            confidence=confidence,
            margin=margin,
        )

    def report(
        self,
        output: str | os.PathLike[str] | None = None,
        *,
        metric: str | None = None,
        baseline: str | None = None,
        epoch: Epoch = "last",
        lower_is_better: bool | None = None,
        confidence: float = 0.95,
        margin: float | None = None,
    ) -> Path:
        """Write the report; see `keras_entropy.study.report` for the files and `compare` for the other arguments.

        Args:
            output: Folder of the report. Defaults to None: `"report"` in the study's folder.
            metric: As for `compare`.
            baseline: As for `compare`.
            epoch: As for `compare`.
            lower_is_better: As for `compare`.
            confidence: As for `compare`.
            margin: As for `compare`.

        Returns:
            Path of the report's folder.

        Raises:
            ValueError: If the study is in memory and `output` is None, or as `compare` does.
        """
        if output is None and self.folder is None:
            raise ValueError(message("output", "a folder, because the study has none", output))
        target = (
            self.folder / "report"
            if output is None and self.folder is not None
            else _files.local(output or "", "output")
        )
        plan = self.plan
        if baseline is not None:
            known = dict.fromkeys([arm.name for arm in plan.arms] + [record.arm for record in self.records])
            plan = dataclasses.replace(plan, baseline=one_of("baseline", baseline, tuple(known)))
        comparison = None
        if any(record.arm == plan.baseline for record in arm_groups.latest(self.records, "report")):
            comparison = self.compare(
                metric,
                plan.baseline,
                epoch=epoch,
                lower_is_better=lower_is_better,
                confidence=confidence,
                margin=margin,
            )
        name = (self.folder or target).resolve().name
        report_files.write(target, f"Study {name}", plan, self.records, comparison)
        return target

    def to_frame(self) -> pd.DataFrame:
        """A pandas data frame with one row per run.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        return frames.runs_frame(self.records)

    def table(self) -> Table:
        """Number of runs by arm."""
        runs, trials = (arm_groups.latest(self.records, role) for role in ("report", "tune"))
        rows = []
        for arm in dict.fromkeys([arm.name for arm in self.plan.arms] + [run.arm for run in runs]):
            own = [run for run in runs if run.arm == arm]
            failures = arm_groups.failure_counts(own)
            counts = [
                len(own),
                sum(run.ok for run in own),
                *(failures.get(status, 0) for status in arm_groups.FAILURES),
            ]
            rows.append((arm, *map(str, counts), str(sum(run.arm == arm for run in trials))))
        head = ("arm", "runs", "finished", *arm_groups.FAILURES, "tuning runs")
        return Table(f"Runs by arm; metric: {self.plan.metric}", head, tuple(rows))

    def __repr__(self) -> str:
        arms = ", ".join(printable(arm.name) for arm in self.plan.arms)
        return f"<{type(self).__name__} of {len(self.records)} runs: {arms}>"

    def __str__(self) -> str:
        """The table of runs in plain text."""
        return str(self.table())

    def _repr_html_(self) -> str:
        return self.table()._repr_html_()


def read_study(folder: str | os.PathLike[str]) -> StudyResult:
    """Read a study from its folder, also while it is still running.

    Args:
        folder: Path of the study's output folder.

    Returns:
        `StudyResult`, with the records in the order of the arms. A study that has just begun has none.

    Raises:
        FileNotFoundError: If the folder has neither a plan nor records.
        ValueError: If its files are not those of a study.

    Examples:
        >>> from keras_entropy.study import read_study
        >>> print(read_study("runs/study").compare())  # doctest: +SKIP
    """
    folder = _files.local(folder, "folder")
    plan = read_plan(folder)
    records = read_records(folder) if plan is None or (folder / RUNS).exists() else []
    plan = plan or plan_from_records(records)
    return StudyResult(records=plan.ordered(records), plan=plan, folder=folder)


def report(
    study: str | os.PathLike[str],
    output: str | os.PathLike[str] | None = None,
    *,
    metric: str | None = None,
    baseline: str | None = None,
    epoch: Epoch = "last",
    lower_is_better: bool | None = None,
    confidence: float = 0.95,
    margin: float | None = None,
) -> Path:
    """Write the report of a study in a folder, also while it is still running.

    The files are `report.html`, a self-contained page with its figures; `report.md` with the figures beside it; and
    `comparison.csv`, `runs.csv` and `curves.csv`. Each file is written atomically, and those of an earlier report are
    replaced.

    Args:
        study: Path of the study's folder, with its `runs.jsonl` and `study.json`.
        output: Path of the report's folder. Defaults to None: "report" in the study's folder.
        metric: String. The metric that is compared. Defaults to None: that of the study.
        baseline: String. The arm that the others are compared with. Defaults to None: that of the study.
        epoch: String. `"last"`, or `"best"` for the best epoch of each run. Defaults to `"last"`.
        lower_is_better: Boolean. True for a loss, False for an accuracy. Defaults to None: that of the study for its
            metric, else what the name of the metric says.
        confidence: Float. Confidence of the intervals. Defaults to 0.95.
        margin: Float. The largest difference that would not matter; if given, equivalence is tested too. Defaults to
            None.

    Returns:
        Path of the report's folder.

    Raises:
        FileNotFoundError: If the folder has no study.
        ValueError: If its files are not those of a study, or it does not have the metric or baseline.
    """
    return read_study(study).report(
        output,
        metric=metric,
        baseline=baseline,
        epoch=epoch,
        lower_is_better=lower_is_better,
        confidence=confidence,
        margin=margin,
    )
