"""How every command ends when something goes wrong: one line on stderr and an exit code, never a traceback.

The errors that a user or the machine causes are ValueError, TypeError, OSError, ImportError and MemoryError. The place
that knows the file or the argument turns others, such as those of a damaged zip archive, into one of these. Any other
exception is a mistake in the program, and shows its traceback.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator
from typing import TextIO

import typer

USER_ERROR, INTERRUPTED, PIPE_CLOSED = 2, 130, 141
BACKENDS = ("tensorflow", "jax", "torch")


@contextlib.contextmanager
def user_errors() -> Iterator[None]:
    """Report errors that the user or the machine caused in one line, and exit with code 2."""
    try:
        _check_backend()
        yield
    except BrokenPipeError as error:  # the reader of the output, such as head, has seen enough
        raise typer.Exit(PIPE_CLOSED) from error
    except MemoryError as error:
        sys.stderr.write(f"Error: Out of memory. {one_line(str(error))}\n")
        raise typer.Exit(USER_ERROR) from error
    except (ValueError, TypeError, OSError, ImportError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC and error.filename is None:
            text = "The disk of the output is full. Make room, or write the output somewhere else."
        else:
            text = one_line(str(error))
        sys.stderr.write(f"Error: {text}\n")
        raise typer.Exit(USER_ERROR) from error


@contextlib.contextmanager
def terminal() -> Iterator[None]:
    """Print what the terminal can show, show warnings in one line each, and end quietly if the output is closed."""
    if hasattr(sys.stdout, "reconfigure"):  # not where the output is closed from the start, or replaced
        sys.stdout.reconfigure(errors="backslashreplace")
    warnings.showwarning = _show_warning
    try:
        try:
            yield
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()  # here, where an error can be reported
    except BrokenPipeError:
        _forget_output()
        raise SystemExit(PIPE_CLOSED) from None
    except OSError as error:
        _forget_output()
        sys.stderr.write(f"Error: Cannot write the output: {one_line(str(error.strerror))}. Write it somewhere else.\n")
        raise SystemExit(USER_ERROR) from None


def _forget_output() -> None:
    """Let the interpreter write nowhere what it could not write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    kind = "" if issubclass(category, UserWarning) else f"{category.__name__}: "
    sys.stderr.write(f"Warning: {kind}{one_line(str(message))}\n")


def echo(text: str) -> None:
    """Print lines of text. Control characters, which names from files of other people may hold, become "?"."""
    typer.echo("\n".join(map(printable, text.split("\n"))))


def _check_backend() -> None:
    """Raise `ValueError` if `KERAS_BACKEND` has another value than one of the three, before Keras is imported."""
    backend = os.environ.get("KERAS_BACKEND")
    if backend and backend not in BACKENDS:
        raise ValueError(
            f"keras-entropy needs the TensorFlow, JAX or torch backend of Keras. Received: {backend!r}. "
            f"Set KERAS_BACKEND to {', '.join(map(repr, BACKENDS[:-1]))} or {BACKENDS[-1]!r}."
        )


@contextlib.contextmanager
def interruptible(remedy: Callable[[], str]) -> Iterator[None]:
    """Report Ctrl-C with how to continue, which depends on what was done, and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        sys.stderr.write(f"\nStopped. {one_line(remedy())}\n")
        raise typer.Exit(INTERRUPTED) from None


def one_line(text: str) -> str:
    """Return `text` in one line of printable characters, without the codes of bold text in Keras's errors."""
    return printable(" ".join(re.sub(r"\x1b\[[01]m", "", text).split()))


def printable(text: str) -> str:
    """Return `text` with "?" for control characters, which names from other people's files may hold."""
    return "".join(c if c.isprintable() else "?" for c in text)
