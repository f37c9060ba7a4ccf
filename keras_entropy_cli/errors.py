"""What a user can mend is said in one line."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator

import typer


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Report what the user can mend in one line, with exit code 2."""
    try:
        yield
    except (ValueError, TypeError, OSError, ModuleNotFoundError) as error:
        sys.stderr.write(f"Error: {error}\n")
        raise typer.Exit(2) from error
