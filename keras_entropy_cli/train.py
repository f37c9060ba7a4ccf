"""`keras-entropy train`: train a network with an entropy term and watch every layer."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli import options, user_file
from keras_entropy_cli.errors import INTERRUPTED, printable, user_errors
from keras_entropy_cli.start import load_keras


class _Regularizer(enum.StrEnum):
    ConvCornerEntropy = "ConvCornerEntropy"
    ConvEntropy = "ConvEntropy"
    DenseEntropy = "DenseEntropy"
    TotalCorrelation = "TotalCorrelation"


def train(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Option(metavar="DATA", help=options.DATASET.format(more="spirals (autoencoder only), ")),
    ] = "digits",
    data_dir: options.DataDir = None,
    model: options.Model = "cnn",
    placement: Annotated[
        str,
        typer.Option(
            help="Layers that take the term, of those that it can act on: none, first, first:k, all, or a glob on "
            "layer names."
        ),
    ] = "first",
    regularizer: Annotated[
        _Regularizer | None,
        typer.Option(
            help="Entropy term.", show_default="ConvCornerEntropy where there are convolutions, else DenseEntropy"
        ),
    ] = None,
    factor: Annotated[float, typer.Option(help="Strength of the term; a positive factor rewards entropy.")] = 1e-3,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs.")] = 20,
    batch_size: options.BatchSize = 32,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            callback=options.above_0, help="Learning rate of Adam.", show_default="1e-3; your own model has its own"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the initial weights and of the data order.")] = 0,
    scheduler: options.Scheduler = None,
    output: options.Output = Path("runs/train"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Train with an entropy term on real data and watch the entropy of every layer.

    Writes history.csv, model.keras, layers.csv (before and after), entropy.png, TensorBoard logs and run.json.

    Example: keras-entropy train --dataset digits --placement all --factor 1e-2 --output runs/all
    """
    with user_errors():
        options.check_exclusive(overwrite=overwrite, resume=resume)
        options.check_output(output, "run", overwrite=overwrite, resume=resume)
        options.check_code_and_data(model, dataset, data_dir)
        load_keras()

        from keras_entropy_cli import remote_run, run_folder
        from keras_entropy_cli.run_arguments import Arguments

        arguments = Arguments(
            dataset=user_file.absolute(dataset),
            data_dir=None if data_dir is None else str(data_dir),
            model=user_file.absolute(model),
            placement=placement,
            regularizer=None if regularizer is None else regularizer.value,
            factor=factor,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
        )
        given = {name for name in context.params if _is_given(context, name)}
        with (
            options.executor_of(scheduler) as executor,
            run_folder.opened(output, arguments, given, overwrite=overwrite, resume=resume) as run,
        ):
            finished = (executor is None or remote_run.fetch(run, executor)) and run.train()
    if not finished:
        name = printable(str(output))
        sys.stderr.write(
            f"\nStopped after {run.epochs_done} of {run.arguments.epochs} epochs. The finished epochs are in "
            f"{name}. Continue with: keras-entropy train --output {name} --resume\n"
        )
        raise typer.Exit(INTERRUPTED)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
