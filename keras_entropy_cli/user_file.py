"""The user's own code, named as FILE.py:FUNCTION or MODULE:FUNCTION, in options and in files alike."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

FORMS = "FILE.py:FUNCTION or MODULE:FUNCTION"
_CODE = re.compile(r"(.+\.py|[^\W\d]\w*(\.[^\W\d]\w*)*):[^\W\d]\w*", re.DOTALL)


def is_code(text: str) -> bool:
    """Whether a text has the form of a function of the user, and no file or folder is called so."""
    return _CODE.fullmatch(text) is not None and not Path(text).exists()


def absolute(text: str) -> str:
    """Return a text with the absolute path of the file that it names, if it does: it means the same in any folder."""
    where, _, name = text.rpartition(":")
    return f"{Path(where).absolute()}:{name}" if is_code(text) and where.endswith(".py") else text


def check_exists(text: str, argument: str, folder: Path) -> None:
    """Check that the Python file exists which a text names, if it names one. Nothing is imported.

    Raises:
        FileNotFoundError: If there is no such file.
    """
    where = text.rpartition(":")[0]
    if is_code(text) and where.endswith(".py"):
        _check_file(folder.absolute() / where, argument)


def function_of(text: str, argument: str, folder: Path) -> Callable[..., Any]:
    """Import a function of the user. Other processes can receive it.

    Args:
        text: String. `FILE.py:FUNCTION` or `MODULE:FUNCTION`.
        argument: String. Name of the option or entry, for errors.
        folder: Path. Folder in which relative files and modules lie; modules may also be installed.

    Returns:
        The function.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If `text` has another form, if the code fails, or if it has no such function.
    """
    where, name = _split(text, argument)
    module = _file(folder.absolute() / where, argument) if where.endswith(".py") else _module(where, argument, folder)
    found = getattr(module, name, None)
    if not callable(found):
        raise ValueError(f"{argument}: {where} has no function {name!r}. Name one of its functions.")
    return found  # type: ignore[no-any-return]


@contextlib.contextmanager
def located_errors(text: str, argument: str, folder: Path) -> Iterator[None]:
    """Turn an error that arises in the user's file into a `ValueError` that names the line.

    Args:
        text: String. As in `function_of`, which has imported the code.
        argument: String. As in `function_of`.
        folder: Path. As in `function_of`.
    """
    try:
        yield
    except Exception as error:  # anything that the user's code raises
        where, _ = _split(text, argument)
        module = None if where.endswith(".py") else sys.modules.get(where)
        path = folder.absolute() / where if module is None else Path(str(module.__file__))
        lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if Path(frame.filename) == path]
        if not lines:
            raise
        raise ValueError(f"{path}, line {lines[-1]}: {type(error).__name__}: {error}") from error


def _split(text: str, argument: str) -> tuple[str, str]:
    where, _, name = str(text).rpartition(":")
    if not (where and name):
        raise ValueError(f"{argument} should be {FORMS}. Received: {text!r}.")
    return where, name


def _check_file(path: Path, argument: str) -> None:
    if not path.is_file():
        raise FileNotFoundError(f"{argument} should name a Python file that exists. Received: {path}.")


def _file(path: Path, argument: str) -> ModuleType:
    """Run a file, once."""
    _check_file(path, argument)
    name = f"user_{path.stem}"
    earlier = sys.modules.get(name)
    if earlier is not None and earlier.__file__ == str(path):
        return earlier
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # as of each path that ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    except Exception as error:  # anything that the user's file raises
        del sys.modules[name]
        raise ValueError(f"{argument}: Cannot import {path}: {type(error).__name__}: {error}") from error
    if importlib.util.find_spec("cloudpickle") is not None:
        importlib.import_module("cloudpickle").register_pickle_by_value(module)  # others cannot import it by its name
    return module


def _module(name: str, argument: str, folder: Path) -> ModuleType:
    """Import a module. Other processes import it too: they get `sys.path`."""
    sys.path.insert(0, str(folder.absolute()))
    try:
        return importlib.import_module(name)
    except Exception as error:  # anything that the user's module raises
        raise ValueError(f"{argument}: Cannot import {name}: {type(error).__name__}: {error}") from error
