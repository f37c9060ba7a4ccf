"""Options that several commands share."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli import user_file
from keras_entropy_cli.errors import printable


def above_0(value: float | None) -> float | None:
    """Return a number above 0, or None."""
    if value is not None and not value > 0:  # NaN too
        raise typer.BadParameter(f"It should be above 0. Received: {value}.")
    return value


def finite(value: float) -> float:
    """Return a finite number."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"It should be a finite number. Received: {value}.")
    return value


MODELS = ("autoencoder", "cnn")


def known_model(value: str) -> str:
    """Return the name of a model or a function of the user, before Keras is imported."""
    if value not in MODELS and not user_file.is_code(value):
        raise typer.BadParameter(f"It should be {', '.join(MODELS)}, {user_file.FORMS}. Received: {printable(value)}.")
    return value


Model = Annotated[
    str,
    typer.Option(
        metavar="MODEL",
        callback=known_model,
        help=f"cnn, autoencoder, or your own function that returns a compiled model: {user_file.FORMS}.",
    ),
]
DATASET = (
    "digits, {more}a prepared TensorFlow Datasets set such as mnist, a folder of images, or your own function that "
    "returns x_train, y_train, x_val, y_val: " + user_file.FORMS + "."
)
DataDir = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        help="Folder of the prepared data sets.",
        show_default="$TFDS_DATA_DIR, else ~/tensorflow_datasets",
    ),
]
BatchSize = Annotated[int, typer.Option(min=1, help="Samples in each training step.")]
Output = Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace the earlier results in the folder.")]
Resume = Annotated[bool, typer.Option("--resume", help="Continue the interrupted work in the folder.")]


Scheduler = Annotated[
    str | None,
    typer.Option(metavar="ADDRESS", help="Run on the workers of this Dask scheduler, such as tcp://10.0.0.1:8786."),
]


_TIMEOUT = "10s"
"""How long a scheduler may take to answer."""


@contextlib.contextmanager
def executor_of(scheduler: str | None) -> Iterator[Executor | None]:
    """Yield an executor that trains on the workers of a Dask scheduler; None without one.

    Raises:
        ValueError: If there is no scheduler at the address.
    """
    if scheduler is None:
        yield None
        return
    from keras_entropy import _optional

    distributed = _optional.require("distributed", extra="dask")
    try:
        client = distributed.Client(scheduler, timeout=_TIMEOUT)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"--scheduler should be the address of a Dask scheduler. Received: {scheduler}. {error}"
        ) from error
    with client:
        yield client.get_executor()


def check_exclusive(*, overwrite: bool, resume: bool) -> None:
    """Raise `ValueError` if both options are given."""
    if overwrite and resume:
        raise ValueError("--overwrite and --resume exclude each other. Use one of them.")


def how_to_continue(output: Path, content: str, *, overwrite: bool) -> Callable[[], str]:
    """Return a function that gives the advice after Ctrl-C. Call this before the work begins.

    Args:
        output: Path of the folder.
        content: String. The kind of work, one of `MARKS`.
        overwrite: Boolean. Whether the command was given --overwrite.
    """
    earlier = _marks(output, content)

    def advice() -> str:
        found, shown = _marks(output, content), printable(str(output))
        if overwrite and found and found == earlier:
            return f"The earlier {content} is still in {shown}. Run the same command again."
        if not found:
            return "Nothing was begun. Run the same command again."
        option = "--resume in place of --overwrite" if overwrite else "--resume"
        return f"What was finished is in {shown}. Continue with the same command and {option}."

    return advice


MARKS = {
    "run": ("run.json",),
    "study": ("study.json",),
    "search": ("search/*/search.json", "search/*/oracle.json"),
    "walk": ("walk.state",),
    "set of walks": ("walks.json",),
}
"""Files that show which work is in a folder. They are named here, to be found before Keras is imported."""


def _marks(output: Path, content: str) -> dict[Path, tuple[int, int]]:
    """The marks in a folder, each with what changes when it is written again."""
    found = {path: path.stat() for mark in MARKS[content] for path in output.glob(mark)}
    return {path: (state.st_ino, state.st_mtime_ns) for path, state in found.items()}


def check_output(output: Path, content: str, *, overwrite: bool, resume: bool) -> None:
    """Check what a command is asked to do with a folder.

    Args:
        output: Path of the folder.
        content: String. The kind of work, one of `MARKS`.
        overwrite: Boolean. Whether to replace the work in the folder.
        resume: Boolean. Whether to continue it.

    Raises:
        FileExistsError: For a file, or if there is such work and neither option is given.
        FileNotFoundError: If there is nothing to resume.
    """
    shown = printable(str(output))
    if output.exists() and not output.is_dir():
        raise FileExistsError(f"{shown} is a file. Name a folder.")
    there = bool(_marks(output, content))
    if there and not (overwrite or resume):
        raise FileExistsError(
            f"{shown} holds a {content}. Use --overwrite to replace it, --resume to continue it, or --output for "
            "another folder."
        )
    if resume and not there:
        raise FileNotFoundError(f"{shown} holds no {content} to resume. Run the command without --resume.")


def check_code_and_data(
    model: object,
    dataset: object,
    data_dir: object,
    folder: Path = Path(),
    model_option: str = "--model",
    dataset_option: str = "--dataset",
) -> None:
    """Check that the files of a model and of data exist, before Keras is imported.

    Values of other types are left to the checks that follow. So are modules, and the content of all files.

    Raises:
        FileNotFoundError: If a Python file or a data set does not exist.
    """
    for text, option in ((model, model_option), (dataset, dataset_option)):
        if isinstance(text, str):
            user_file.check_exists(text, option, folder)
    if not isinstance(dataset, str) or dataset in ("digits", "spirals") or user_file.is_code(dataset):
        return
    if not isinstance(data_dir, str | Path | None):
        return
    root = Path(data_dir or os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets").expanduser()
    if Path(dataset).exists() or (root / dataset).exists():
        return
    if not Path(dataset).is_absolute():
        raise FileNotFoundError(
            f"{dataset_option} should be digits, spirals, a folder of images, a set that TensorFlow Datasets has "
            f"prepared, {user_file.FORMS}. Received: {printable(dataset)}, and {printable(str(root))} has no such set. "
            f"Correct the name, or run `tfds build {printable(dataset)} --data_dir {printable(str(root))}`, which "
            "needs TensorFlow."
        )
    raise FileNotFoundError(f"There is no image folder {printable(dataset)}: it should hold `train` and `test`.")
