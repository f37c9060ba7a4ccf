"""`keras-entropy train`: train on real data with an entropy term, and watch every layer."""

from __future__ import annotations

import enum
import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli.errors import user_errors


class _Model(enum.StrEnum):
    cnn = "cnn"
    autoencoder = "autoencoder"


class _Regularizer(enum.StrEnum):
    corner = "corner"
    dense = "dense"
    conv = "conv"
    correlation = "correlation"


def train(
    context: typer.Context,
    dataset: Annotated[
        str,
        typer.Option(
            help="digits, spirals (autoencoder only), a prepared TensorFlow Datasets set (mnist), or an image folder."
        ),
    ] = "digits",
    data_dir: Annotated[
        Path | None,
        typer.Option(help="Where prepared sets are (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."),
    ] = None,
    model: Annotated[_Model, typer.Option(help="Architecture.")] = _Model.cnn,
    placement: Annotated[str, typer.Option(help="none, first, first:k, all, or a glob on layer names.")] = "first",
    regularizer: Annotated[
        _Regularizer | None,
        typer.Option(
            help="Entropy term: DenseEntropy, ConvCornerEntropy, ConvEntropy or TotalCorrelation "
            "(default: corner for cnn, dense for autoencoder)."
        ),
    ] = None,
    factor: Annotated[float, typer.Option(help="Strength of the term; positive rewards entropy.")] = 1e-3,
    epochs: Annotated[int, typer.Option(min=1, help="Number of epochs.")] = 20,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples per step.")] = 32,
    learning_rate: Annotated[float, typer.Option(help="Of Adam.")] = 1e-3,
    seed: Annotated[int, typer.Option(min=0, help="Of initial weights and data order.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/train"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an earlier run in the folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on after the last finished epoch.")] = False,
) -> None:
    r"""Train with an entropy term on real data and watch the entropy of every layer.

    Writes history.csv, model.keras, layers.csv (before and after), entropy.png, TensorBoard logs and run.json.

    Example: keras-entropy train --dataset digits --placement all --factor 1e-2 --output runs/all
    """
    with user_errors():
        from keras_entropy_cli import training

        arguments = training.Arguments(
            dataset=dataset,
            data_dir=None if data_dir is None else str(data_dir),
            model=model.value,
            placement=placement,
            regularizer=(regularizer or (_Regularizer.corner if model is _Model.cnn else _Regularizer.dense)).value,
            factor=factor,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
        )
        given = {name for name in context.params if _is_given(context, name)}
        run = training.open_run(output, arguments, given, overwrite=overwrite, resume=resume)
    if not run.train():
        sys.stderr.write(
            f"\nStopped after {run.epochs_done} of {run.arguments.epochs} epochs. What is finished is in {output}. "
            f"Go on with: keras-entropy train --output {output} --resume\n"
        )
        raise typer.Exit(130)


def _is_given(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
