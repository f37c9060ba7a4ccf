"""Files that are written completely or not at all, also if the process is killed."""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_entropy import _checks

PARTIAL = ".partial-"
_NO_ROOM = "Free some space there, or name a folder on another disk."
_HELD = "Close the program that has a file of it open, and run this again."
_IN_THE_WAY = "A file has the name of one of its folders: name another folder."
_NETWORK = "The network disk does not answer, or was mounted anew: run this again once it is back."
# Windows refuses what is open with the same number as what is not allowed.
_NO_ACCESS = ("Close the program that has it open, make" if os.name == "nt" else "Make") + (
    " its folder writable, or name another one."
)
_REMEDIES = {
    errno.ENOSPC: _NO_ROOM,
    errno.EDQUOT: _NO_ROOM,
    errno.EFBIG: "Raise the limit on the size of files (ulimit -f), or name a folder on another disk.",
    errno.EIO: "The disk may be broken: name a folder on another one.",
    errno.ENOENT: "Its folder was removed or renamed: leave it where it is until the work has ended.",
    errno.EISDIR: "A folder has this name: name a file.",
    errno.ENOTDIR: _IN_THE_WAY,
    errno.EEXIST: _IN_THE_WAY,  # as Path.mkdir says it
    errno.EACCES: _NO_ACCESS,
    errno.EPERM: _NO_ACCESS,
    errno.EROFS: _NO_ACCESS,
    errno.EBUSY: _HELD,
    errno.ENOTEMPTY: _HELD,  # NFS keeps a removed file as .nfs... while a program has it open
    errno.ESTALE: _NETWORK,
    errno.ETIMEDOUT: _NETWORK,
    errno.EMFILE: "Raise the limit on open files (ulimit -n).",
}


# Two letters or more: C:/ is a drive. A Path has one slash of two.
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:[/\\]+")


def local(path: str | os.PathLike[str], argument: str = "path") -> Path:
    """Return a path of this machine's file system; a URL would become a local folder with a name such as "gs:".

    Args:
        path: String or path.
        argument: String. Name of the argument in the error: of a folder, unless it is `"path"`, the default.

    Raises:
        TypeError: If it is no path.
        ValueError: If it is a URL.
    """
    if not isinstance(path, str | os.PathLike):
        expected = "the path of a file" if argument == "path" else "the path of a folder"
        raise TypeError(_checks.message(argument, expected, path))
    text = os.fsdecode(path)
    if _URL.match(text):
        remedy = "Name a local folder, or one where the storage is mounted, and copy the files from there."
        raise ValueError(_checks.message(argument, "a path on this machine, not a URL", text, remedy))
    return Path(path)


class WriteError(OSError):
    """A file that cannot be written, for a reason of the machine. The message names the file and says what to do."""


@contextlib.contextmanager
def writing(path: str | os.PathLike[str]) -> Iterator[None]:
    """Name a file, and what to do, in an error of the machine that arises in this context while the file is written.

    Raises:
        WriteError: For a full disk, a missing folder, a lack of rights, and the like. Other errors stay as they are.
    """
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        code = _code(error)
        if code not in _REMEDIES:
            raise
        raise cannot_write(path, code) from error


def remove(path: Path) -> None:
    """Remove a file or a folder.

    Raises:
        WriteError: If a program has a file of it open, the rights are missing, and the like.
    """
    try:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    except OSError as error:
        if error.errno not in _REMEDIES:
            raise
        raise cannot_write(path, error.errno, "remove") from error


def cannot_write(path: str | os.PathLike[str], code: int, action: str = "write") -> WriteError:
    """The error for a file that cannot be written or removed, by the number of the system's error."""
    remedy = _REMEDIES[code]
    if code == errno.ENOENT and action == "write" and Path(path).parent.is_dir():  # as in /proc and on some mounts
        remedy = "Its folder takes no new files: name another folder."
    return WriteError(f"Cannot {action} {_checks.printable(str(path))}: {os.strerror(code)}. {remedy}")


def _code(error: Exception) -> int | None:
    """The number of the system's error behind an exception; None for any other exception."""
    if isinstance(error, OSError) and error.errno is not None:
        return error.errno
    found = re.search(r"errno = (\d+)", str(error))  # as HDF5 has it
    return int(found[1]) if found else None


def temporary_folder() -> tempfile.TemporaryDirectory[str]:
    """Make a temporary folder, which is removed at the end of its context.

    Raises:
        WriteError: If there is no room for one, or none can be written.
    """
    try:
        return tempfile.TemporaryDirectory(prefix="keras-entropy-", ignore_cleanup_errors=True)
    except OSError as error:
        raise WriteError(
            f"Cannot make a temporary folder: {_checks.in_a_line(error)}. Set the variable TMPDIR to a folder with "
            "room."
        ) from error


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Replace a file by one that is written in this context, atomically.

    Args:
        path: The file; of a symbolic link, the file that it points to. Missing parent folders are created.

    Yields:
        A temporary path in the same folder, to write to. When the context ends, it is synchronised to disk and renamed
        to `path`. If the context raises an exception, `path` stays as it was and the temporary file is removed.

    Raises:
        ValueError: If `path` is empty or a URL.
        WriteError: If it is a folder, a device or a pipe, or the machine cannot write it.
    """
    if path in ("", b""):
        raise ValueError(_checks.message("path", "the path of a file", path))
    path = local(path)
    if path.is_dir():  # Windows would say that access is denied
        raise cannot_write(path, errno.EISDIR)
    if path.exists() and not path.is_file():  # the renamed file would take the place of the device
        raise WriteError(f"Cannot write {_checks.printable(str(path))}: it is a device or a pipe. Name a file.")
    if path.is_symlink():
        path = path.resolve()
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The suffixes stay last: Keras and matplotlib choose the format by it.
        handle, name = tempfile.mkstemp(prefix=PARTIAL, suffix="".join(path.suffixes), dir=path.parent)
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


def reserve(path: Path, size: int) -> None:
    """Reserve room for a file that a library writes which crashes the process on a full disk, as HDF5 does.

    Raises:
        OSError: If there is not as much room.
    """
    with path.open("rb+") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except AttributeError:  # macOS has no such call
            return
        except OSError as error:
            if error.errno in _REMEDIES:
                raise
            # else a file system that reserves no room


def write_text(path: str | os.PathLike[str], text: str) -> None:
    """Write `text` to `path` in UTF-8 with the same bytes on every system, atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: str | os.PathLike[str], record: dict[str, Any]) -> None:
    """Write `record` to `path` as JSON, atomically."""
    write_text(path, json.dumps(record, indent=2) + "\n")


def write_csv(path: str | os.PathLike[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write `rows` to `path` as CSV in UTF-8, atomically.

    Text loses its control characters and line breaks, and gets a quotation mark if a spreadsheet would run it.
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([*map(_cell, row)] for row in rows)
    write_text(path, text.getvalue())


def _cell(value: Any) -> Any:
    if not isinstance(value, str):
        return "" if isinstance(value, float) and math.isnan(value) else value
    text = _checks.printable(" ".join(value.split()))
    return f"'{text}" if text.startswith(("=", "+", "-", "@")) else text


def strict(value: Any) -> Any:
    """Return `value` with NaN and infinities as strings that `float` can read, since strict JSON has none of them."""
    if isinstance(value, Mapping):
        return {name: strict(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [strict(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def digest(path: str | os.PathLike[str]) -> str:
    """The hash of a file; empty if there is none."""
    path = Path(path)
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else ""


def remove_partial(folder: Path) -> None:
    """Remove the temporary files that killed processes left in `folder`."""
    for path in folder.glob(f"{PARTIAL}*"):
        path.unlink(missing_ok=True)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
