"""How every command ends when something goes wrong: one line on stderr and an exit code, never a traceback."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

import typer

USER_ERROR, INTERRUPTED = 2, 130
BACKENDS = ("tensorflow", "jax", "torch")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Report errors that the user or the machine caused in one line, and exit with code 2."""
    try:
        _check_backend()
        yield
    except BrokenPipeError:  # the reader of a pipe has closed it, which is no error
        raise
    except MemoryError as error:
        sys.stderr.write(f"Error: Out of memory. {one_line(str(error))}\n")
        raise typer.Exit(USER_ERROR) from error
    except (ValueError, TypeError, OSError, ImportError) as error:
        sys.stderr.write(f"Error: {one_line(str(error))}\n")
        raise typer.Exit(USER_ERROR) from error


def _check_backend() -> None:
    """Raise `ValueError` if `KERAS_BACKEND` has another value than one of the three, before Keras is imported."""
    backend = os.environ.get("KERAS_BACKEND")
    if backend and backend not in BACKENDS:
        raise ValueError(
            f"keras-entropy needs the TensorFlow, JAX or torch backend of Keras. Received: {backend!r}. "
            f"Set KERAS_BACKEND to {', '.join(map(repr, BACKENDS[:-1]))} or {BACKENDS[-1]!r}."
        )


@contextlib.contextmanager
def interruptible(remedy: str) -> Iterator[None]:
    """Report Ctrl-C with how to continue, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"\nStopped. {one_line(remedy)}\n")
        raise typer.Exit(INTERRUPTED) from None


def one_line(text: str) -> str:
    """Return `text` in one line of printable characters."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Return `text` with "?" for control characters, which names from other people's files may hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
