"""`keras-entropy landscape`: how much of the parameter space of a small network has a certain loss or accuracy."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli.errors import user_errors


def landscape(
    depth: Annotated[int, typer.Option(min=1, help="Hidden layers.")] = 3,
    width: Annotated[int, typer.Option(min=1, help="Units of each hidden layer.")] = 6,
    axes: Annotated[
        str, typer.Option(help="One or two of train_loss, train_accuracy, test_accuracy, with a comma.")
    ] = "train_accuracy,test_accuracy",
    strength: Annotated[float, typer.Option(min=0, help="Of the term strength |c|^2 in the loss.")] = 0.0,
    stop: Annotated[float, typer.Option(help="Deepest training loss of an axis.")] = 0.1,
    final_relu: Annotated[bool, typer.Option("--final-relu", help="Rectify the outputs too.")] = False,
    moves: Annotated[float, typer.Option(min=1, help="Of all walkers, in all phases.")] = 1e8,
    data_seed: Annotated[int, typer.Option(min=0, help="Of the spirals.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Of the walk.")] = 0,
    output: Annotated[Path, typer.Option(help="Folder for the results.")] = Path("runs/landscape"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the walk in the folder.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the walk in the folder.")] = False,
) -> None:
    r"""Sample the parameter space of a network on two spirals, and print the entropy of each loss or accuracy.

    Writes density.json, landscape.png, and the state of the walk, which --resume goes on from to the same bits.

    Example: keras-entropy landscape --depth 4 --width 8 --axes train_loss --stop 0.2 --output runs/loss
    """
    with user_errors():
        from keras_entropy_cli import landscaping

        names = tuple(name.strip() for name in axes.split(","))
        arguments = landscaping.Arguments(
            depth, width, names, strength, stop, final_relu, moves, data_seed, seed, output
        )
        landscaping.check_folder(output, overwrite=overwrite, resume=resume)
    try:
        with user_errors():
            landscaping.run(arguments)
    except KeyboardInterrupt:
        sys.stderr.write(f"\nStopped. Go on with the same command and --resume: the walk is in {output}.\n")
        raise typer.Exit(130) from None
