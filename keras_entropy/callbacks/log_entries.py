"""Entries that a callback adds to the logs of an epoch, beside those of the user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class LogEntries:
    """Adds entries to logs, and replaces none but its own."""

    def __init__(self) -> None:
        self._added: dict[str, Any] = {}

    def add(self, logs: dict[str, Any], entries: Mapping[str, Any]) -> list[str]:
        """Add the entries to `logs`, except those whose names are taken by others.

        A training loop may keep one dict for all epochs: what this object added before is replaced.

        Returns:
            The names that others have given to other values.
        """
        taken = [name for name in entries if name in logs and logs[name] is not self._added.get(name, logs)]
        self._added = {name: value for name, value in entries.items() if name not in taken}
        logs.update(self._added)
        return [name for name in taken if logs[name] != entries[name]]
