"""The user's own Python file, named on the command line as FILE.py:FUNCTION."""

from __future__ import annotations

import contextlib
import importlib.util
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


def function_of(text: str, option: str) -> Callable[..., Any]:
    """Run the file and return the function. Other processes receive both by value.

    Args:
        text: "FILE.py:FUNCTION".
        option: the command's option, for errors.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file fails, or has no such function.
    """
    path, name = _split(text)
    if not path.is_file():
        raise FileNotFoundError(f"{option} should be FILE.py:FUNCTION with a file that exists. Received: {text!r}.")
    spec = importlib.util.spec_from_file_location(f"user_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise ValueError(f"{option} should name a Python file, which ends in .py. Received: {text!r}.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # anything that the user's file raises
        raise ValueError(f"Cannot import {path}: {type(error).__name__}: {error}") from error
    if not callable(getattr(module, name, None)):
        raise ValueError(f"{path} has no function {name!r}. Name one that returns a compiled model.")
    from keras_entropy import _optional

    cloudpickle = _optional.require("cloudpickle", extra="search")
    cloudpickle.register_pickle_by_value(module)  # other processes cannot import it by its name
    return getattr(module, name)  # type: ignore[no-any-return]


@contextlib.contextmanager
def located_errors(text: str) -> Iterator[None]:
    """Turn an error that arises in the user's file into a `ValueError` that names the line."""
    try:
        yield
    except Exception as error:  # anything that the user's file raises
        path, _ = _split(text)
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
        if not lines:
            raise
        raise ValueError(f"{path}, line {lines[-1]}: {type(error).__name__}: {error}") from error


def _split(text: str) -> tuple[Path, str]:
    file, _, name = text.rpartition(":")
    return Path(file).absolute(), name
