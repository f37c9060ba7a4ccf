"""The command `keras-entropy`."""

from __future__ import annotations

import typer

from keras_entropy_cli.landscape import landscape
from keras_entropy_cli.profile import profile
from keras_entropy_cli.search import search
from keras_entropy_cli.study import study
from keras_entropy_cli.train import train

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="See, guide and watch the entropy of neural networks.",
)
app.command()(train)
app.command()(profile)
app.command()(study)
app.command()(search)
app.command()(landscape)


@app.callback()
def _group() -> None:
    """See, guide and watch the entropy of neural networks."""


def main() -> None:
    """Run the command line."""
    app()
