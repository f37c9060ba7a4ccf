"""Files that a killed process never leaves half written."""

from __future__ import annotations

import contextlib
import json
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

PARTIAL = ".partial-"


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary path beside `path`; when the block ends well, it becomes `path`, whole and on disk.

    If the block raises, `path` is left as it was and the temporary file is removed.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix is kept last: Keras and matplotlib choose the format by it.
    handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix=path.suffix, dir=path.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.chmod(0o666 & ~_umask())  # mkstemp makes it private
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` in UTF-8, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write `record` to `path` as JSON, whole or not at all."""
    write_text(path, json.dumps(record, indent=2) + "\n")


def strict(value: Any) -> Any:
    """`value` for strict JSON, which has no NaN and no infinity: they become text that `float` reads."""
    if isinstance(value, Mapping):
        return {name: strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def create_json(path: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write `record` to a new file, whole or not at all.

    Raises:
        FileExistsError: if there is such a file, also one that another process makes at the same moment.
    """
    path = Path(path)
    whole = path.with_name(f"{PARTIAL}{os.getpid()}-{path.name}")
    write_json(whole, record)
    try:
        os.link(whole, path)  # unlike a rename it fails where there is a file
    finally:
        whole.unlink()


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a killed process left half written."""
    return all(path.name.startswith(PARTIAL) for path in folder.iterdir())


def remove_partial(folder: Path) -> None:
    """Remove what a killed process left half written in `folder`."""
    for path in folder.glob(f"{PARTIAL}*"):
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
