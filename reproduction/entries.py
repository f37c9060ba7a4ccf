"""What can be reproduced: names, claims, and the function that trains and writes the page."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path

from keras_entropy import _checks
from keras_entropy.study.document import Block

SCALES = ("small", "full")

_MODULES = {
    "a-fig1": "profiles",
    "a-fig3": "autoencoders",
    "a-fig4": "autoencoders",
    "a-fig5": "autoencoders",
    "a-fig6": "autoencoders",
    "a-fig8": "profiles",
    "a-fig9": "profiles",
    "a-table1": "classifiers",
    "a-table2": "photographs",
    "a-table3": "segmentation",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How an entry is run.

    Attributes:
        output: its folder; the studies in it are gone on with.
        scale: "small", or "full" for the paper's protocol.
        seeds: how many are compared; None for the entry's own number.
        data: folder of the data; None for where they usually are.
        workers: processes that train; None for one on each core.
        retry_failed: train runs again that did not finish.
        progress: whether a table shows how far the runs are.
    """

    output: Path
    scale: str = "small"
    seeds: int | None = None
    data: Path | None = None
    workers: int | None = None
    retry_failed: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        _checks.one_of("scale", self.scale, SCALES)
        if self.data is not None and not Path(self.data).is_dir():
            raise FileNotFoundError(_checks.message("data", "a folder that is there", str(self.data)))
        if self.seeds is not None and _checks.positive_integer("seeds", self.seeds) < 2:
            raise ValueError(_checks.message("seeds", "at least 2, for an interval", self.seeds))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What an entry shows.

    Attributes:
        reduced: what this run has less of than the paper's, each a sentence; empty for the paper's protocol.
        blocks: the page: the paper's figure or table drawn from these runs, the paper's numbers, the analysis.
        verdicts: one sentence for each claim that was put to the test.
    """

    reduced: tuple[str, ...]
    blocks: tuple[Block, ...]
    verdicts: tuple[str, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Entry:
    """A figure or table of source A.

    Attributes:
        name: of it, such as "a-fig3".
        title: what it shows.
        claim: of the paper, in its words or numbers.
        run: trains, and returns what came of it.
    """

    name: str
    title: str
    claim: str
    run: Callable[[Settings], Outcome]


def names() -> tuple[str, ...]:
    """All that can be reproduced.

    Examples:
        >>> from reproduction import names
        >>> "a-table1" in names()
        True
    """
    return tuple(_MODULES)


def entry(name: str) -> Entry:
    """The entry of a name.

    Raises:
        ValueError: for an unknown one.
    """
    _checks.one_of("name", name, names())
    module = importlib.import_module(f"reproduction.{_MODULES[name]}")
    entries: Mapping[str, Entry] = module.ENTRIES
    return entries[name]
