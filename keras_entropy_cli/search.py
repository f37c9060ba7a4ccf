"""`keras-entropy search`: KerasTuner over factor and placement, and whether the best setting really helps."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli.errors import user_errors


class _Tuner(enum.StrEnum):
    random = "random"
    grid = "grid"
    bayesian = "bayesian"
    hyperband = "hyperband"


class _Model(enum.StrEnum):
    cnn = "cnn"
    autoencoder = "autoencoder"


class _Inputs(enum.StrEnum):
    unchanged = "unchanged"
    centred = "centred"
    standardised = "standardised"


def search(
    dataset: Annotated[
        str, typer.Option(help="digits, a prepared TensorFlow Datasets set (mnist), or an image folder.")
    ] = "digits",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where prepared sets are (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."),
    ] = None,
    model: Annotated[_Model, typer.Option(help="Architecture.")] = _Model.cnn,
    user_module: Annotated[
        str | None,
        typer.Option(help="FILE.py:FUNCTION, your own model: takes hyperparameters or nothing, returns it compiled."),
    ] = None,
    inputs: Annotated[
        _Inputs | None,
        typer.Option(
            help="How they are fed, in all runs: standardised by channel for a cnn, centred for an autoencoder, "
            "unchanged for your own model, unless you say it.",
            show_default=False,
        ),
    ] = None,
    tuner: Annotated[_Tuner, typer.Option(help="How KerasTuner chooses settings.")] = _Tuner.random,
    max_trials: Annotated[int, typer.Option(min=1, help="Number of settings; Hyperband has its own.")] = 12,
    epochs: Annotated[int, typer.Option(min=1, help="Of each run.")] = 10,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per step.")] = 32,
    seeds: Annotated[int, typer.Option(min=1, help="Runs of each setting.")] = 2,
    holdout_seeds: Annotated[int, typer.Option(min=2, help="New seeds for the comparison with no term.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="First seed, and that of the settings.")] = 0,
    workers: Annotated[int, typer.Option(min=1, help="Processes that search.")] = 1,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/search"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier search in the folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the search in the folder.")] = False,
) -> None:
    r"""Search for strength and placement of an entropy term, then say on new seeds whether it is better than none.

    Writes trials.csv, search.png, result.json, KerasTuner's files, and logs/ for TensorBoard with its HParams page.

    Example: keras-entropy search --tuner bayesian --max-trials 20 --output runs/bayesian
    """
    with user_errors():
        from keras_entropy_cli import searching

        arguments = searching.Arguments(
            dataset=dataset,
            data_dir=None if data_dir is None else str(data_dir),
            model=model.value,
            user_module=user_module,
            inputs=None if inputs is None else inputs.value,
            tuner=tuner.value,
            max_trials=max_trials,
            epochs=epochs,
            batch_size=batch_size,
            seeds=seeds,
            holdout_seeds=holdout_seeds,
            seed=seed,
            workers=workers,
            output=output,
        )
        searching.check_folder(output, overwrite=overwrite, resume=resume)
    try:
        with user_errors():
            searching.run(arguments, overwrite=overwrite)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nStopped. What has ended is in {output}. Go on with the same command and --resume.\n")
        raise typer.Exit(130) from None
