"""The output folder of `search`: which files it has, and whether a search may write them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from keras_entropy import _checks
from keras_entropy.runs.folder import ResultsFolder
from keras_entropy.study import folder as study_folder
from keras_entropy.study import read_study
from keras_entropy.study.folder import DESCRIPTION
from keras_entropy.tuning import project_folder

PROJECTS, COMPARISON, LOGS = "search", "comparison", "logs"
"""Subfolders: KerasTuner's project of each contender, the study on the held-out seeds, event files for TensorBoard."""
TABLE, RESULT, FIGURE, MODEL, REPORT = "trials.csv", "result.json", "search.png", "best_model.keras", "report"
LOG = "workers.log"
"""File with the output of the processes that train."""


def results_of(folder: Path) -> ResultsFolder:
    """The results folder of a search."""
    marks = tuple(f"{PROJECTS}/*/{name}" for name in project_folder.results_of(folder).marks)
    return ResultsFolder(folder, "search", marks, (TABLE, RESULT, FIGURE, MODEL, LOG, LOGS))


_PARTS = (PROJECTS, COMPARISON, LOGS)


def _projects(folder: Path) -> list[ResultsFolder]:
    """The results folders of the contenders."""
    return [project_folder.results_of(path) for path in (folder / PROJECTS).glob("*") if path.is_dir()]


def slug(name: str) -> str:
    """The name of a contender as the name of its folders."""
    return name.replace(" ", "_")


def check(folder: Path, holdout_seeds: tuple[int, ...], overwrite: bool) -> None:
    """Check that a search may write in the folder, before it trains anything.

    Raises:
        FileExistsError: For a file, for a folder with files of these names that no search has written, for a folder
            inside of another search, and for other files inside of this search.
        ValueError: For a folder whose comparison has seeds that are not among `holdout_seeds`.
    """
    results = results_of(folder)
    for outer in folder.absolute().parents:
        if results_of(outer).holds_work and folder.absolute().relative_to(outer).parts[0] in _PARTS:
            raise FileExistsError(
                f"{_checks.printable(folder)} is a part of the search in {_checks.printable(outer)}. Name another "
                "folder."
            )
    for project in _projects(folder):
        project.refuse_files(project.foreign())
    if not results.holds_work:
        results.refuse_file()
        results.refuse_files(name for name in (*results.owns, COMPARISON) if (folder / name).exists())
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
    """Delete the files of an earlier search in a folder that is locked. What marks the search goes last.

    Raises:
        BlockingIOError: While another process works on a part of it. Nothing is deleted then.
    """
    results = results_of(folder)
    if not results.holds_work:
        return
    with contextlib.ExitStack() as locks:
        projects = _projects(folder)
        studies = [study_folder.results_of(path) for path in (folder / COMPARISON).glob("*") if path.is_dir()]
        for part in (*projects, *studies):
            locks.enter_context(part.locked())
        for study in studies:
            study.remove(*study.owns, *reversed(study.marks))
        results.remove(*results.owns)
        for project in projects:
            project.remove(*project.owns, *reversed(project.marks))
