"""The report of a study: a page, its figures, and its tables as CSV files."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path

from keras_entropy._files import replacing, write_csv, write_text
from keras_entropy.runs.records import RunRecord
from keras_entropy.study import report_sections as sections
from keras_entropy.study.document import Block, Heading, Items, Picture, to_html, to_markdown
from keras_entropy.study.frames import curves_frame, runs_frame
from keras_entropy.study.results import Comparison
from keras_entropy.study.significance_tables import PairwiseTable, pairwise_table
from keras_entropy.study.study_plan import StudyPlan

_FILES = re.compile(
    r"report\.(md|html)|(runs|curves|comparison)\.csv|(means\d+|differences|curves|reach|stopping)\.png"
)


def write(
    folder: Path, title: str, plan: StudyPlan, records: Sequence[RunRecord], comparison: Comparison | None
) -> None:
    """Write the files of a report, each atomically, and remove those of an earlier report.

    Args:
        folder: Path of the report.
        title: String. Title of the page.
        plan: `StudyPlan`.
        records: Sequence of `RunRecord`. All runs.
        comparison: `Comparison` of these records; None if there is nothing to compare yet.
    """
    blocks = page(plan, records, comparison)
    files = {"report.md": to_markdown(title, blocks), "report.html": to_html(title, blocks)}
    frames = {"runs.csv": runs_frame(records), "curves.csv": curves_frame(records)}
    if comparison is not None:
        frames["comparison.csv"] = comparison.to_frame()
    pictures = [block for block in blocks if isinstance(block, Picture)]
    for picture in pictures:
        with replacing(folder / picture.name) as path:
            path.write_bytes(picture.png)
    for name, frame in frames.items():
        write_csv(folder / name, [frame.columns, *frame.itertuples(index=False)])
    for name, text in files.items():
        write_text(folder / name, text)
    clear(folder, {*frames, *files, *(picture.name for picture in pictures)})


def _pairs_of_rivals(records: Sequence[RunRecord], comparison: Comparison) -> tuple[PairwiseTable, ...]:
    """The tables of the arms against each other. The page has one answer only for each arm against the baseline."""
    if len({row.arm for row in comparison.rivals}) < 2 or comparison.confidence <= 0.5:
        return ()
    return pairwise_table(
        [record for record in records if record.arm != comparison.baseline],
        comparison.metric,
        alpha=1 - comparison.confidence,
        epoch=comparison.epoch,
        lower_is_better=comparison.lower_is_better,
    )


def clear(folder: Path, keep: Collection[str] = ()) -> None:
    """Remove the files of a report, except those in `keep`."""
    for path in folder.glob("*"):
        if _FILES.fullmatch(path.name) and path.name not in keep:
            path.unlink()


def page(plan: StudyPlan, records: Sequence[RunRecord], comparison: Comparison | None) -> list[Block]:
    """The blocks of the page, for `document.to_html` and `document.to_markdown`."""
    blocks = [*sections.conclusion(plan, records, comparison), *sections.summary(plan, records, comparison)]
    if comparison is not None:
        blocks += sections.results(comparison, records, _pairs_of_rivals(records, comparison))
    blocks += sections.setup(plan, records)
    blocks += sections.chosen(plan, records, comparison)
    blocks += sections.runs(plan, records)
    files = ["runs.csv: one line for each run.", "curves.csv: one line for each run and epoch, with all metrics."]
    if comparison is not None:
        files.insert(0, "comparison.csv: one line for each grid point and arm.")
    return [*blocks, Heading("Files"), Items(tuple(files))]
