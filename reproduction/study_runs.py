"""Runs of a study: training them, and sentences about all of them."""

from __future__ import annotations

import math
import warnings
from collections import Counter
from collections.abc import Sequence

from keras_entropy import EntropyWarning
from keras_entropy.study import RunRecord, Study
from reproduction.entries import Settings
from reproduction.estimates import plural


def run_study(study: Study, settings: Settings) -> list[RunRecord]:
    """Train the runs of a study that are not recorded yet, and return all records.

    The page counts runs that did not finish, so the study's warning about them is silenced.

    Args:
        study: The study.
        settings: How the entry is run.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* did not finish", EntropyWarning)
        result = study.run(
            workers=settings.workers,
            retry_failed=settings.retry_failed,
            progress=settings.progress,
        )
    return list(result.records)


def unfinished(records: Sequence[RunRecord]) -> str:
    """How many runs did not finish, in one sentence; empty if all did."""
    counts = Counter(record.status for record in records if not record.ok)
    if not counts:
        return ""
    parts = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
    left = "is" if counts.total() == 1 else "are"
    return f"{counts.total()} of {plural(len(records), 'run')} did not finish ({parts}) and {left} left out."


def finished(records: Sequence[RunRecord]) -> str:
    """How many runs finished, in one sentence."""
    return unfinished(records) or f"All {len(records)} runs finished."


def effort(records: Sequence[RunRecord]) -> str:
    """Number and processor time of all runs, in one sentence. Runs of earlier calls count too."""
    seconds = math.fsum(run.cpu_seconds for run in records if math.isfinite(run.cpu_seconds))
    return f"{plural(len(records), 'run')} in all, which took {seconds:.0f} s of processor time."
