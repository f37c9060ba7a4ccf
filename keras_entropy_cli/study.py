"""`keras-entropy study`: a replicated study from a file, and its report."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli.errors import user_errors


def study(
    file: Annotated[Path | None, typer.Argument(help="Description of the study (TOML).")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Draw the report of the study in this folder anew, without running anything.")
    ] = None,
    output: Annotated[Path, typer.Option(help="Folder for records and report.")] = Path("runs/study"),
    workers: Annotated[int | None, typer.Option(min=1, help="Processes (default: the number of cores).")] = None,
    replicas: Annotated[int, typer.Option(min=1, help="On JAX: runs trained at once as one program.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="First seed, where the file gives numbers of seeds.")] = 0,
    retry_failed: Annotated[bool, typer.Option("--retry-failed", help="Train runs again that did not finish.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier study in the folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the study in the folder.")] = False,
) -> None:
    """Run a replicated study described in a TOML file, and report which arms differ.

    Writes runs.jsonl (a line each run), study.json and report/ (report.html, report.md, CSV tables, figures).

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
    name = "none"
    [\\[arms]]
    name = "volume"
    regularizer = "DenseEntropy"
    tune = { factor = [1e-3, 1e-2] }

    Example: keras-entropy study study.toml --output runs/volume
    """  # noqa: D301 (click's mark of lines to keep, and rich's escape)
    with user_errors():
        from keras_entropy_cli import studying

        if (file is None) == (report is None):
            raise ValueError("Give a study's file, or --report with the folder of a study that was run.")
        if report is not None:
            studying.redraw(report)
            return
        assert file is not None
        options = studying.Options(output, workers, replicas, seed, retry_failed, overwrite, resume)
        planned = studying.planned(file, options)
    try:
        with user_errors():
            studying.run(planned, options)
    except KeyboardInterrupt:
        sys.stderr.write(
            f"\nStopped. The runs that have ended are in {output}. Go on with: keras-entropy study {file} --output "
            f"{output} --resume\n"
        )
        raise typer.Exit(130) from None
