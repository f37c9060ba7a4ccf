"""The report of a study: a page, its tables as CSV files, and its figures."""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_entropy import _optional
from keras_entropy._checks import message, one_of, printable
from keras_entropy._files import replacing, write_text
from keras_entropy.study import arm_groups, description, sections
from keras_entropy.study.arm_groups import Epoch
from keras_entropy.study.comparison import Comparison, compare
from keras_entropy.study.description import Description
from keras_entropy.study.document import Block, Heading, Items, Picture, to_html, to_markdown
from keras_entropy.study.records import RunRecord
from keras_entropy.study.significance_tables import pairwise_table, starred_table

if TYPE_CHECKING:
    import pandas as pd

_FILES = re.compile(
    r"report\.(md|html)|(runs|curves|comparison)\.csv|(means\d+|differences|curves|reach|stopping)\.png"
)


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
    """Write what a study shows, also of one that is still running.

    The files are `report.html`, which holds its figures and needs nothing else, `report.md` with its figures beside it,
    and `comparison.csv`, `runs.csv` and `curves.csv`. Each is written whole or not at all; those of an earlier report
    are replaced.

    Args:
        study: folder of the study, with its `runs.jsonl` and `study.json`.
        output: folder for the report, by default "report" in that of the study.
        metric: that is compared, by default the study's.
        baseline: the arm that the others are compared with, by default the study's.
        epoch: compare the metric at the last epoch, or at each run's own best one.
        lower_is_better: True for a loss, False for an accuracy; needed with a metric that is not the study's.
        confidence: confidence of the intervals.
        margin: the largest difference that would not matter: tests equivalence as well.

    Returns:
        The folder of the report.

    Raises:
        FileNotFoundError: for a folder that holds no study.
        ValueError: for files that are not those of a study, or a metric or baseline that it has not.
    """
    folder = Path(study)
    plan, records = description.load(folder)
    if lower_is_better is None:
        if metric not in (None, plan.metric):
            expected = f"given with a `metric` that is not the study's {plan.metric!r}"
            raise ValueError(message("lower_is_better", expected, lower_is_better, "Give True for a loss."))
        lower_is_better = plan.lower_is_better
    arms = dict.fromkeys([arm.name for arm in plan.arms] + [record.arm for record in records])
    if baseline is not None:
        plan = dataclasses.replace(plan, baseline=one_of("baseline", baseline, tuple(arms)))
    options: dict[str, Any] = {"epoch": epoch, "lower_is_better": lower_is_better}
    comparison = None
    if any(record.arm == plan.baseline for record in arm_groups.latest(records, "report")):
        comparison = compare(
            records, metric or plan.metric, plan.baseline, confidence=confidence, margin=margin, **options
        )
    blocks = page(plan, records, comparison)
    title = f"Study {folder.resolve().name}"
    files = {"report.md": to_markdown(title, blocks), "report.html": to_html(title, blocks)}
    frames = {"runs.csv": runs_frame(records), "curves.csv": curves_frame(records)}
    if comparison is not None:
        frames["comparison.csv"] = comparison.to_frame()
    target = folder / "report" if output is None else Path(output)
    for block in blocks:
        if isinstance(block, Picture):
            with replacing(target / block.name) as path:
                path.write_bytes(block.png)
    for name, frame in frames.items():
        write_text(target / name, _csv(frame))
    for name, text in files.items():
        write_text(target / name, text)
    clear(target, {*frames, *files, *(block.name for block in blocks if isinstance(block, Picture))})
    return target


def clear(folder: Path, keep: Collection[str] = ()) -> None:
    """Remove the files of a report, and no others, but for those to be kept."""
    for path in folder.glob("*"):
        if _FILES.fullmatch(path.name) and path.name not in keep:
            path.unlink()


def page(plan: Description, records: Sequence[RunRecord], comparison: Comparison | None) -> list[Block]:
    """The sections of the report, for `document.to_html` and `document.to_markdown`.

    Args:
        plan: what was planned.
        records: all runs.
        comparison: of them; None where there is nothing to compare yet.
    """
    blocks = sections.summary(plan, records, comparison)
    if comparison is not None:
        options: dict[str, Any] = {"epoch": comparison.epoch, "lower_is_better": comparison.lower_is_better}
        starred = starred_table(records, comparison.metric, comparison.baseline, **options)
        pairs = pairwise_table(records, comparison.metric, **options)
        blocks += sections.results(comparison, records, starred, pairs)
    blocks += sections.setup(plan, records)
    blocks += sections.chosen(plan, records, comparison)
    blocks += sections.runs(plan, records)
    files = ["runs.csv: one line for each run.", "curves.csv: one line for each run and epoch, with all metrics."]
    if comparison is not None:
        files.insert(0, "comparison.csv: one line for each grid point and arm.")
    return [*blocks, Heading("Files"), Items(tuple(files))]


def runs_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """A pandas data frame with one row per run, of all roles and whether it finished or not."""
    pd = _optional.require("pandas", extra="study")
    rows = []
    for record in _runs(records):
        row = _place(record) | {"reason": record.reason, "epochs": record.epochs}
        row |= {"stopped_early": record.stopped_early}
        row |= {f"last.{name}": values[-1] for name, values in record.history.items() if values}
        for name in ("wall_seconds", "cpu_seconds", "device", "replicas", "initial_weights", "final_weights"):
            row[name] = getattr(record, name)
        row["warnings"] = "; ".join(record.warnings)
        rows.append(row | {f"version.{name}": version for name, version in record.versions.items()})
    return pd.DataFrame(rows, columns=None if rows else _PLACE)


def curves_frame(records: Sequence[RunRecord]) -> pd.DataFrame:
    """A pandas data frame with one row per run and epoch, with all that the histories hold."""
    pd = _optional.require("pandas", extra="study")
    rows = []
    for record in _runs(records):
        for epoch in range(record.epochs):
            there = {name: values[epoch] for name, values in record.history.items() if epoch < len(values)}
            rows.append(_place(record) | {"epoch": epoch + 1} | there)
    return pd.DataFrame(rows, columns=None if rows else [*_PLACE, "epoch"])


_PLACE = ["arm", "seed", "role", "status"]


def _runs(records: Sequence[RunRecord]) -> list[RunRecord]:
    return [*arm_groups.latest(records, "report"), *arm_groups.latest(records, "tune")]


def _place(record: RunRecord) -> dict[str, Any]:
    """Which run it is."""
    place: dict[str, Any] = {name: getattr(record, name) for name in _PLACE}
    place |= {f"point.{axis}": value for axis, value in record.point.items()}
    return place | {f"tuned.{axis}": value for axis, value in record.tuned.items()}


def _csv(frame: pd.DataFrame) -> str:
    """The frame in lines, without control characters."""
    plain = {
        printable(str(name)): [printable(" ".join(v.split())) if isinstance(v, str) else v for v in frame[name]]
        for name in frame
    }
    return str(type(frame)(plain).to_csv(index=False, lineterminator="\n"))
