"""What can be reproduced, how it is run, and what a run returns. Importing this file does not import Keras."""

from __future__ import annotations

import dataclasses
import importlib
from pathlib import Path
from typing import TYPE_CHECKING

from reproduction import paper_numbers

if TYPE_CHECKING:
    from keras_entropy.study.document import Block

SCALES = ("small", "full")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
    """How an entry is run.

    Attributes:
        output: Folder of the results. Runs that are recorded there are not trained again.
        scale: "small", for two processor cores, or "full", for the paper's protocol. Defaults to "small".
        seeds: Integer of at least 2, number of seeds to compare. Defaults to the number of the protocol.
        data: Folder of the data. Defaults to the folder of TensorFlow Datasets, else to embedded digits.
        workers: Integer, number of training processes. Defaults to one per core.
        retry_failed: Boolean, train runs again that did not finish. Defaults to False.
        progress: Boolean, show a table of the runs. Defaults to True.

    Raises:
        ValueError: For an unknown scale, or fewer than 2 seeds.
        FileNotFoundError: If `data` is not a folder.
    """

    output: Path
    scale: str = "small"
    seeds: int | None = None
    data: Path | None = None
    workers: int | None = None
    retry_failed: bool = False
    progress: bool = True

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"`scale` should be 'small' or 'full'. Received: scale={self.scale!r}.")
        if self.data is not None and not Path(self.data).is_dir():
            raise FileNotFoundError(f"`data` should be an existing folder. Received: data={str(self.data)!r}.")
        for name, least, reason in (("seeds", 2, ", for an interval"), ("workers", 1, "")):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"`{name}` should be at least {least}{reason}. Received: {name}={value}.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run of an entry returns.

    Attributes:
        reduced: Sentences that say how this run differs from the paper's protocol.
        blocks: Blocks of the page: the figure or table from these runs, the paper's numbers, and the analysis.
        conclusions: One sentence for each tested claim.
    """

    reduced: tuple[str, ...]
    blocks: tuple[Block, ...]
    conclusions: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A figure or table of a paper.

    Attributes:
        name: Its name in the command, such as "a-fig3".
        title: What it shows.
        module: Module of this package whose `run(name, settings)` trains and analyses it.
    """

    name: str
    title: str
    module: str

    @property
    def claim(self) -> str:
        """What the paper claims, in its words or numbers."""
        return str(paper_numbers.meni(self.name)["claim"])

    def run(self, settings: Settings) -> Outcome:
        """Train the runs and analyse them."""
        module = importlib.import_module(f"reproduction.{self.module}")
        outcome: Outcome = module.run(self.name, settings)
        return outcome


ENTRIES = {
    found.name: found
    for found in (
        Entry("a-fig1", "Entropy profile of VGG-16, trained and random", "profiles"),
        Entry("a-fig3", "Validation MSE of MNIST autoencoders by latent width and lambda", "autoencoders"),
        Entry("a-fig4", "Stopping epochs of MNIST autoencoders by latent width and lambda", "autoencoders"),
        Entry("a-fig5", "Validation MSE of CIFAR-10 autoencoders by latent width and lambda", "autoencoders"),
        Entry("a-fig6", "Stopping epochs of CIFAR-10 autoencoders by latent width and lambda", "autoencoders"),
        Entry("a-fig8", "Entropy profile of ResNet-50", "profiles"),
        Entry("a-fig9", "Entropy profile of a U-Net trained on masks", "profiles"),
        Entry("a-table1", "CNNs on CIFAR-10: the best lambda, chosen on the tested seeds and on others", "classifiers"),
        Entry("a-table2", "VGG-16 and ResNet-50 on Imagenette with the corner term", "photographs"),
        Entry("a-table3", "U-Net with the corner term before its concatenations", "segmentation"),
    )
}


def names() -> tuple[str, ...]:
    """Names of all entries.

    Examples:
        >>> from reproduction import names
        >>> "a-table1" in names()
        True
    """
    return tuple(ENTRIES)


def entry(name: str) -> Entry:
    """The entry of a name.

    Raises:
        ValueError: For an unknown name.
    """
    if name not in ENTRIES:
        raise ValueError(f"`name` should be one of {', '.join(ENTRIES)}. Received: name={name!r}.")
    return ENTRIES[name]
