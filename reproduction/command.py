"""What `python -m reproduction` does in a folder."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import reproduction
from keras_entropy.study.folder import is_new
from reproduction import page


def show_names() -> None:
    """Print all that can be reproduced."""
    from rich.console import Console
    from rich.table import Table

    table = Table("name", "what it shows")
    for name in reproduction.names():
        table.add_row(name, reproduction.entry(name).title)
    Console().print(table)


def check_folder(name: str, output: Path, *, overwrite: bool, resume: bool) -> Path | None:
    """Make sure that an earlier reproduction is begun anew or gone on with only if that is asked for.

    Begun anew, the earlier one is kept under another name, which is returned.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: where it is not, or for an unknown name.
    """
    reproduction.entry(name)
    if overwrite and resume:
        raise ValueError("--overwrite and --resume exclude each other.")
    there = page.read_state(output) is not None
    if resume and not there:
        raise FileNotFoundError(f"{output} holds no reproduction to resume.")
    if there and overwrite:
        kept = page.set_aside(output)
        sys.stderr.write(f"The earlier reproduction is kept in {kept}.\n")
        return kept
    if there and not resume:
        raise FileExistsError(
            f"{output} holds a reproduction. Use --overwrite to begin anew (it is kept under another name), "
            "--resume to go on with it, or --output for another folder."
        )
    if not there and output.exists() and not (output.is_dir() and is_new(output)):
        raise FileExistsError(f"{output} holds other files. Use --output for another folder.")
    return None


def put_back(kept: Path, output: Path) -> None:
    """Give an earlier reproduction its name again, where nothing was begun in its place."""
    if page.read_state(output) is None and is_new(output):
        shutil.rmtree(output)
        kept.rename(output)
        sys.stderr.write(f"The earlier reproduction is in {output} again.\n")


def run(name: str, settings: reproduction.Settings) -> reproduction.Outcome:
    """Run, and print the verdicts."""
    from rich.console import Console
    from rich.text import Text

    output = settings.output
    console = Console()
    console.print(Text(f"{name}: {reproduction.entry(name).title}"))
    outcome = reproduction.reproduce(name, settings)
    for sentence in outcome.reduced:
        console.print(Text(f"Reduced: {sentence}"))
    for sentence in outcome.verdicts:
        console.print(Text(f"* {sentence}"))
    console.print(Text(f"Written to {output}: page.html, page.md"), soft_wrap=True)
    return outcome
