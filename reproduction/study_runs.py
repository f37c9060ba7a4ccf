"""Trains the studies of a reproduction."""

from __future__ import annotations

import warnings

from keras_entropy._checks import EntropyWarning
from keras_entropy.study import Study
from keras_entropy.study.records import RunRecord
from reproduction.entries import Settings


def trained(study: Study, settings: Settings, replicas: int = 1) -> list[RunRecord]:
    """The records of a study; runs that did not finish are counted on the page, so no warning says it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* did not finish", EntropyWarning)
        return study.run(
            workers=settings.workers,
            replicas=replicas,
            retry_failed=settings.retry_failed,
            progress=settings.progress,
        )
