"""Runs an entry in its folder and writes its page."""

from __future__ import annotations

import shlex

import keras

from keras_entropy.runs.machine import device, versions
from keras_entropy.study.document import Block, Heading, Items, Paragraph, Picture, to_html, to_markdown
from reproduction import output_folder
from reproduction.entries import Entry, Outcome, Settings, entry


def reproduce(name: str, settings: Settings) -> Outcome:
    r"""Train a figure or table again and write its page.

    The folder `settings.output` gets `page.html`, `page.md` with its figures, the records of the runs, and
    `reproduction.json` with the conclusions. Finished runs that it holds already are not trained again.

    Args:
        name: One of `names()`.
        settings: How it is run.

    Returns:
        The blocks of the page and the conclusions.

    Raises:
        ValueError: For an unknown name, a folder of another reproduction, or fewer seeds than the folder holds.
        FileNotFoundError: For missing data.

    Examples:
        >>> from pathlib import Path
        >>> from reproduction import Settings
        >>> from reproduction.page import reproduce
        >>> outcome = reproduce("a-fig9", Settings(output=Path("runs/a-fig9"), progress=False))  # doctest: +SKIP
        >>> print(*outcome.conclusions, sep="\n")  # doctest: +SKIP
    """
    chosen = entry(name)
    settings.output.mkdir(parents=True, exist_ok=True)
    with output_folder.lock(settings.output):
        state = output_folder.read_state(settings.output)
        settings = output_folder.begin(name, settings, state)
        try:
            outcome = chosen.run(settings)
        except Exception as error:
            output_folder.end(settings.output, state, error)
            raise
        _write(chosen, settings, outcome)
    return outcome


def _write(chosen: Entry, settings: Settings, outcome: Outcome) -> None:
    folder, title, blocks = settings.output, f"{chosen.name}: {chosen.title}", _page(chosen, settings, outcome)
    for block in blocks:
        if isinstance(block, Picture):
            output_folder.write(folder / block.name, block.png)
    output_folder.write(folder / "page.md", to_markdown(title, blocks))
    output_folder.write(folder / "page.html", to_html(title, blocks))
    found = {"conclusions": outcome.conclusions, "reduced": outcome.reduced, "versions": dict(versions())}
    output_folder.write_state(folder, {"plan": output_folder.plan(chosen.name, settings), **found})


def _page(chosen: Entry, settings: Settings, outcome: Outcome) -> list[Block]:
    reduced: list[Block] = [
        Paragraph("This is the paper's protocol, with our choices where the paper leaves them open.")
    ]
    if outcome.reduced:
        reduced = [Paragraph("Differences from the paper's protocol:"), Items(outcome.reduced)]
    software = ", ".join(f"{name} {version}" for name, version in versions().items())
    return [
        *reduced,
        Paragraph(f"The paper: {chosen.claim}"),
        Heading("Conclusions"),
        Items(outcome.conclusions),
        *outcome.blocks,
        Heading("How it was run"),
        Paragraph(f"Command: {command(chosen.name, settings)}"),
        Paragraph(f"{device()}; {software}."),
    ]


def command(name: str, settings: Settings) -> str:
    """The command that runs an entry with the same settings again."""
    words = [name]
    for option, default in (("scale", "small"), ("seeds", None), ("data", None)):
        value = getattr(settings, option)
        if value != default:
            words += [f"--{option}", str(value)]
    words += ["--output", str(settings.output)]
    return f"KERAS_BACKEND={keras.backend.backend()} {shlex.join(['python', '-m', 'reproduction', *words])}"
