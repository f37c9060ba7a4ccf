"""Which errors in a trial end the search, and which only fail the trial."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from keras_tuner import errors

from keras_entropy import _files


@contextlib.contextmanager
def fatal_errors() -> Iterator[None]:
    """Let an error in the block end the search: as a mistake in the program, it would repeat in every trial.

    An error for lack of memory only fails the trial: other trials may have smaller models.

    Raises:
        FatalRuntimeError: For any error but those below.
        FailedTrialError: For lack of memory.
    """
    try:
        yield
    except (errors.FatalError, errors.FailedTrialError):
        raise
    except Exception as error:
        if isinstance(error, _files.WriteError):
            raise errors.FatalRuntimeError(str(error)) from error
        if is_out_of_memory(error):
            raise errors.FailedTrialError(f"out of memory: {error}") from error
        raise errors.FatalRuntimeError(f"{type(error).__name__} in a trial: {error}") from error


def is_out_of_memory(error: Exception) -> bool:
    """Whether the machine or its accelerator has no memory left."""
    name, text = type(error).__name__, str(error)
    return (
        isinstance(error, MemoryError)
        or name in ("ResourceExhaustedError", "OutOfMemoryError")
        or ("RESOURCE_EXHAUSTED" in text or "out of memory" in text.lower())
    )
