"""The output folder of `search`: which files it has, and whether a search may write them."""

from __future__ import annotations

import shutil
from pathlib import Path

from keras_entropy.study import folder as study_folder
from keras_entropy.study import read_study
from keras_entropy.study.folder import DESCRIPTION
from keras_entropy.tuning.project_folder import holds_project

PROJECT, COMPARISON, LOGS = "search", "comparison", "logs"
"""Subfolders: KerasTuner's project, the study on the held-out seeds, the event files for TensorBoard."""
TABLE, RESULT, FIGURE, LOG = "trials.csv", "result.json", "search.png", "workers.log"
"""Files; the last has the output of the processes that train."""


def holds_search(folder: Path) -> bool:
    """Whether a search has written in the folder."""
    return holds_project(folder / PROJECT)


def check(folder: Path, holdout_seeds: tuple[int, ...], overwrite: bool) -> None:
    """Check that a search may write in the folder, before it trains anything.

    Raises:
        FileExistsError: For a file, and for a folder with files of these names that no search has written.
        ValueError: For a folder whose comparison has seeds that are not among `holdout_seeds`.
    """
    if folder.exists() and not folder.is_dir():
        raise FileExistsError(f"{folder} is a file. Name a folder.")
    foreign = _foreign(folder)
    if foreign:
        raise FileExistsError(
            f"{folder} contains {', '.join(foreign)}, which were not written by a search. A search would overwrite "
            "them. Name another folder."
        )
    if overwrite:
        return
    for path in sorted((folder / COMPARISON).glob(f"*/{DESCRIPTION}")):
        compared = read_study(path.parent).plan.seeds
        if not set(compared) <= set(holdout_seeds):
            raise ValueError(
                f"`holdout_seeds` should include the seeds that {folder} already compares: "
                f"{', '.join(map(str, compared))}. Received: {', '.join(map(str, holdout_seeds))}. Add the missing "
                "seeds, or name another folder."
            )


def clear(folder: Path) -> None:
    """Delete the files of an earlier search, except its project, which the tuner deletes.

    Raises:
        BlockingIOError: While a process works on the comparison.
    """
    if not holds_search(folder):
        return
    for name in (TABLE, RESULT, FIGURE, LOG):
        (folder / name).unlink(missing_ok=True)
    for study in (folder / COMPARISON).glob("*"):
        study_folder.clear(study)
    if (folder / LOGS).is_dir():
        shutil.rmtree(folder / LOGS)


def _foreign(folder: Path) -> list[str]:
    """Names that a search would write and that another program has written."""
    if holds_search(folder):
        return []
    return [name for name in (TABLE, RESULT, FIGURE, COMPARISON, LOGS) if (folder / name).exists()]
