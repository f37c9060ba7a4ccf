"""`keras-entropy study`: run a replicated study from a file and report which arms differ."""

from __future__ import annotations

import tomllib
import warnings
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keras_entropy_cli import options
from keras_entropy_cli.errors import echo, interruptible, printable, user_errors
from keras_entropy_cli.start import load_keras

if TYPE_CHECKING:
    from keras_entropy.study import Study, StudyResult

_REASONS = 5
"""Number of reasons for failed runs that are printed, the most frequent first."""


def study(
    file: Annotated[Path | None, typer.Argument(help="TOML file that describes the study.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", help="Write the report of the study in this folder again, without running anything."
        ),
    ] = None,
    output: options.Output = Path("runs/study"),
    workers: Annotated[
        int | None, typer.Option(min=1, help="Number of processes.", show_default="the number of cores")
    ] = None,
    scheduler: options.Scheduler = None,
    seed: Annotated[int, typer.Option(min=0, help="First seed, if the file gives numbers of seeds.")] = 0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train the failed runs again.")] = False,
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Run a replicated study described in a TOML file, and report which arms differ.

    Writes runs.jsonl (one line for each run), study.json and report/ (report.html, report.md, CSV tables, figures).

    \b
    dataset = "digits"
    model = "autoencoder"
    seeds = 10
    tune_seeds = 3
    epochs = 30
    patience = 5
    controls = "volume"
    \\[tune]
    learning_rate = [1e-3, 1e-2]
    [\\[arms]]
    name = "baseline"
    [\\[arms]]
    name = "volume"
    regularizer = "DenseEntropy"
    tune = { factor = [1e-3, 1e-2] }

    Example: keras-entropy study study.toml --output runs/volume
    """  # noqa: D301 (click's mark of lines to keep, and rich's escape)
    with user_errors():
        options.check_exclusive(overwrite=overwrite, resume=resume)
        if (file is None) == (report is None):
            raise ValueError("Give the file of a study, or --report with the folder of a study that was run.")
        if report is not None:
            load_keras()
            _report(report)
            return
        assert file is not None
        text = _toml(file)
        options.check_output(output, "study", overwrite=overwrite, resume=resume)
        model, dataset, data_dir = text.get("model"), text.get("dataset"), text.get("data_dir")
        options.check_code_and_data(model, dataset, data_dir, file.parent, f"{file}: `model`", f"{file}: `dataset`")
        load_keras()

        from keras_entropy import _optional
        from keras_entropy_cli import study_file

        for module in ("loky", "filelock", "pandas", "matplotlib"):
            _optional.require(module, extra="study")
        planned = study_file.study_of(text, file, output, seed)
        with interruptible(options.how_to_continue(output, "study", overwrite=overwrite)):
            with options.executor_of(scheduler) as executor:
                result = _run(
                    planned, executor=executor, workers=workers, retry_failed=retry_failed, overwrite=overwrite
                )
            _report(output)
        if len(result.failed) == len(result.records):
            raise ValueError(
                "No run finished, for the reasons above. Mend the cause, and use --resume --retry-failed, or "
                "--overwrite if the study has changed."
            )


def _toml(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{file} does not exist. Name the TOML file of a study.") from error
    except IsADirectoryError as error:
        remedy = "Name the TOML file of a study. To report on a study that was run, use --report with its folder."
        raise IsADirectoryError(f"{file} is a folder. {remedy}") from error
    except RecursionError as error:
        raise ValueError(f"{file} is not the TOML of a study: it is nested too deeply.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{file} is not TOML: {error}.") from error


def _run(study: Study, **settings: Any) -> StudyResult:
    from keras_entropy import EntropyWarning
    from keras_entropy.study import JobError

    with warnings.catch_warnings():
        # The report says how many runs failed, and why.
        warnings.filterwarnings("ignore", r"\d+ of \d+ runs did not finish", EntropyWarning)
        try:
            return study.run(**settings)
        except JobError as error:
            raise ValueError(str(error)) from error


def _report(output: Path) -> None:
    """Write the report of a study that was run before, and print what it shows."""
    from rich.console import Console
    from rich.text import Text

    from keras_entropy.study import read_study

    result = read_study(output)
    written = result.report()
    console = Console()
    failed = Counter(f"{r.arm}: {r.status}, {r.reason}" for r in result.failed)
    console.print(f"{len(result.records)} runs, {failed.total()} of them failed.")
    for reason, number in failed.most_common(_REASONS):
        console.print(Text(printable(f"  {number} of {reason}")), soft_wrap=True)
    if any(record.arm == result.plan.baseline and record.role == "report" for record in result.records):
        for sentence in result.compare().sentences():
            console.print(Text(printable(f"* {sentence}.")), soft_wrap=True)
    echo(f"Written to {written}: report.html, report.md, tables and figures")
