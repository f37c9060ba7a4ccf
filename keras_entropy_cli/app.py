"""The commands of `keras-entropy` and the options of the command itself."""

from __future__ import annotations

import importlib.metadata
from typing import Annotated

import typer

from keras_entropy_cli.landscape import landscape
from keras_entropy_cli.profile import profile
from keras_entropy_cli.search import search
from keras_entropy_cli.study import study
from keras_entropy_cli.train import train

app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
for command in (train, profile, study, search, landscape):
    app.command()(command)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"keras-entropy {importlib.metadata.version('keras-entropy')}")
        raise typer.Exit


@app.callback()
def keras_entropy(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """See, guide and watch the entropy of neural networks.

    Example: keras-entropy train --output runs/first
    """
