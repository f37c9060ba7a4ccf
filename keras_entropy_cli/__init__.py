"""The command `keras-entropy`.

This package stands beside `keras_entropy`, because importing any part of `keras_entropy` imports Keras, which takes
seconds. The help and errors in the arguments come without it: each command imports what it needs when it runs.
"""

import importlib.util
import sys


def main() -> None:
    """Run the command line."""
    if importlib.util.find_spec("typer") is None:
        _fail_without_typer()
    from keras_entropy_cli.app import app
    from keras_entropy_cli.errors import terminal

    with terminal():
        app()


def _fail_without_typer() -> None:
    try:
        from keras_entropy import _optional

        _optional.require("typer", extra="cli")
    except ModuleNotFoundError as error:
        sys.stderr.write(f"Error: {error}\n")
        raise SystemExit(2) from error
