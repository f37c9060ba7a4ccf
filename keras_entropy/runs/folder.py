"""The results folder of any work: who may write in it, and the one wording of every refusal."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import platform
import shlex
import sys
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keras_entropy import _checks, _files, _optional, _sealed

LOCK = ".lock"
_HOLDER = ".lock-holder"
"""File that says which process has locked the folder: on some systems the others cannot read a locked file."""
_NO_LOCKS = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP)
"""Errors of file systems without locks."""
_MOST_NAMES, _MOST_CHARACTERS = 4, 300


@dataclasses.dataclass(frozen=True)
class ResultsFolder:
    """A folder for the results of one kind of work.

    Args:
        path: Path of the folder.
        content: String. The kind of work, such as `"study"`.
        marks: Tuple of strings. Patterns of files each of which shows that such work is in the folder, even a damaged
            one.
        owns: Tuple of strings. Patterns of the files and folders that the work writes beside those.
    """

    path: Path
    content: str
    marks: tuple[str, ...]
    owns: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _files.local(self.path, "output")

    @property
    def holds_work(self) -> bool:
        """Whether such work is in the folder."""
        return any(next(self.path.glob(name), None) for name in self.marks)

    def check(self, *, ignored: str = "") -> None:
        """Check that the work may begin or go on in the folder.

        Args:
            ignored: String. Name of a file of this work that may be there before it has begun. Defaults to none.

        Raises:
            FileExistsError: For a file, and for a folder with other files.
        """
        self.refuse_file()
        if not self.holds_work:
            self.refuse_files(name for name in self._names() if name != ignored)

    def refuse_file(self) -> None:
        """Refuse a file in place of the folder.

        Raises:
            FileExistsError: If there is one.
        """
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self._shown} is a file. Name a folder.")

    def refuse_files(self, names: Iterable[str]) -> None:
        """Refuse a folder with files of another program.

        Raises:
            FileExistsError: If there are any.
        """
        found = sorted(names)
        if found:
            shown = ", ".join(found[:_MOST_NAMES]) + (", ..." if len(found) > _MOST_NAMES else "")
            raise FileExistsError(
                f"{self._shown} holds other files ({_checks.printable(shown)}), and no {self.content}. Name another "
                "folder."
            )

    def foreign(self) -> list[str]:
        """The names of files and folders that are not those of the work."""
        known = {path.name for name in (*self.marks, *self.owns) for path in self.path.glob(name)}
        return [name for name in self._names() if name not in known]

    @contextlib.contextmanager
    def locked(self, *, overwrite: bool = False) -> Iterator[None]:
        """Lock the folder, which is created if it is missing, against other processes until the context ends.

        On a file system without locks, this warns and goes on.

        Args:
            overwrite: Boolean. Whether to remove the work in the folder, once it is locked. Defaults to False.

        Raises:
            BlockingIOError: If another process has locked it. Nothing is removed then.
            WriteError: If the machine cannot write in it.
        """
        filelock = _optional.require("filelock", extra="study")
        with _files.writing(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
        lock, holder = filelock.FileLock(self.path / LOCK, timeout=0), self.path / _HOLDER
        try:
            with _files.writing(self.path):
                lock.acquire()
        except filelock.Timeout as error:
            raise BlockingIOError(
                f"Another process works on {self._shown}{_holder(holder)}. Wait until it ends, or stop it."
            ) from error
        except (NotImplementedError, OSError) as error:
            if isinstance(error, OSError) and error.errno not in _NO_LOCKS:
                raise
            warnings.warn(
                f"{self._shown} cannot be locked, because its file system has no locks ({error}). Start no other "
                "process that works on it.",
                _checks.EntropyWarning,
                stacklevel=3,
            )
        try:
            with contextlib.suppress(OSError):  # it only helps to word an error
                about = f"process {os.getpid()} on {platform.node()}: {shlex.join(sys.argv)}"
                _files.write_text(holder, _checks.printable(about))
            if overwrite:
                self.remove(*self.owns, *reversed(self.marks))  # what marks the folder goes last
            yield
        finally:
            try:
                holder.unlink(missing_ok=True)
            finally:
                lock.release()

    def clear(self) -> None:
        """Remove the work in the folder, and nothing else.

        Raises:
            BlockingIOError: If a process works on it.
        """
        if self.holds_work:
            with self.locked(overwrite=True):
                pass

    def remove_if_empty(self) -> None:
        """Remove the folder if it has no files but those of the lock."""
        if self.path.is_dir() and not self._names():
            (self.path / LOCK).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # another process has just begun in it
                self.path.rmdir()

    def remove(self, *patterns: str) -> None:
        """Remove the files and folders whose names match one of the patterns, and subfolders that become empty.

        Raises:
            WriteError: If one cannot be removed. The others of the same and the later patterns are still there.
        """
        for pattern in patterns:
            for path in self.path.glob(pattern):
                _files.remove(path)
                if path.parent != self.path:
                    with contextlib.suppress(OSError):  # it is not empty
                        path.parent.rmdir()

    def describe(self, name: str, schema: str, description: Mapping[str, Any]) -> None:
        """Write the description of the work, with a checksum, atomically."""
        _sealed.write(self.path / name, schema, description)

    def description(self, name: str, schema: str) -> dict[str, Any] | None:
        """Read the description of the work; None if there is none.

        Args:
            name: String. Name of the file.
            schema: String. The schema that this version reads.

        Raises:
            ValueError: If the file is damaged or edited, or has another schema.
        """
        path = self.path / name
        try:
            return _sealed.read(path, schema)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise self.damaged(name, error) from error

    def damaged(self, name: str, reason: object) -> ValueError:
        """The error for a description that is not one."""
        return ValueError(
            f"{_checks.printable(self.path / name)} does not describe a {self.content}: {reason}. Restore the file "
            f"from a copy, replace the {self.content} with overwrite=True (--overwrite), or name another folder. "
            f"{_sealed.EDITED}"
        )

    def refuse_others(self, differences: Iterable[str], remedy: str, kind: str = "other settings") -> None:
        """Refuse work that differs from that in the folder.

        Args:
            differences: Strings. Names of what differs.
            remedy: String. What to do.
            kind: String. What the differences are. Defaults to `"other settings"`.

        Raises:
            ValueError: If anything differs.
        """
        found = list(differences)
        if found:
            raise ValueError(
                f"{self._shown} holds a {self.content} with {kind}: {_checks.printable(', '.join(found))}. {remedy}"
            )

    @property
    def _shown(self) -> str:
        """The path as text for an error."""
        return _checks.printable(self.path)

    def _names(self) -> list[str]:
        if not self.path.is_dir():
            return []
        there = (path.name for path in self.path.iterdir())
        return [name for name in there if name not in (LOCK, _HOLDER) and not name.startswith(_files.PARTIAL)]


def _holder(path: Path) -> str:
    """Which process has locked a folder, in parentheses; empty if that is unknown."""
    try:
        return f" ({_checks.printable(path.read_text(encoding='utf-8')[:_MOST_CHARACTERS])})"
    except (OSError, ValueError):
        return ""
