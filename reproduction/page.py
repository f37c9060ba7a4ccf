"""Runs an entry in a folder of its own and writes its page."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path
from typing import Any

import keras

from keras_entropy._files import replacing, write_json, write_text
from keras_entropy.study import machine
from keras_entropy.study.document import Block, Heading, Items, Paragraph, Picture, to_html, to_markdown
from keras_entropy.study.folder import LOCK, held
from reproduction.entries import Entry, Outcome, Settings, entry

SCHEMA = "keras_entropy/reproduction-1"
STATE = "reproduction.json"


def reproduce(name: str, settings: Settings) -> Outcome:
    r"""Run a figure or table of source A again.

    The folder gets `page.html`, `page.md` with its figures, the studies with their records, and `reproduction.json`
    with the verdicts. Runs that have ended are kept, and not trained again.

    Args:
        name: one of `names()`.
        settings: of the run.

    Returns:
        What was found.

    Raises:
        ValueError: for an unknown name, or a folder of another reproduction, or of one with more seeds.
        FileNotFoundError: for missing data; it says where they are looked for.

    Examples:
        >>> from pathlib import Path
        >>> from reproduction import Settings, reproduce
        >>> outcome = reproduce("a-fig9", Settings(output=Path("runs/a-fig9"), progress=False))  # doctest: +SKIP
        >>> print(*outcome.verdicts, sep="\n")  # doctest: +SKIP
    """
    chosen = entry(name)
    settings.output.mkdir(parents=True, exist_ok=True)
    with held(settings.output):
        before = read_state(settings.output)
        settings = _begun(settings, name, before)
        try:
            outcome = chosen.run(settings)
        except Exception as error:
            if before is None:  # such as missing data: a folder in which nothing has begun is none to resume
                _leave(settings.output)
            elif isinstance(error, ValueError):  # such as fewer seeds than there are
                write_json(settings.output / STATE, before)
            raise
        _write(chosen, settings, outcome)
    return outcome


def read_state(output: Path) -> dict[str, Any] | None:
    """What a folder says of the reproduction in it; None where there is none.

    Raises:
        ValueError: for a file of that name that is none of ours.
    """
    path = output / STATE
    if not path.exists():
        return None
    try:
        state = json.loads(path.read_text(encoding="utf-8"))
        if state["schema"] == SCHEMA and isinstance(state["plan"], dict):
            return dict(state)
    except (ValueError, KeyError, TypeError):
        pass
    raise ValueError(f"{path} is not that of a reproduction. Choose another folder.")


def set_aside(output: Path) -> Path:
    """Rename the folder of a reproduction, with all that is in it, and return its new name.

    Raises:
        BlockingIOError: where a process works on it.
        ValueError: for a link.
    """
    if output.is_symlink():
        raise ValueError(f"{output} is a link. Name the folder itself, or another one.")
    output, number = output.resolve(), 1
    while (target := output.with_name(f"{output.name}.old-{number}")).exists():
        number += 1
    with held(output):
        output.rename(target)
    return target


def _plan(settings: Settings, name: str) -> dict[str, Any]:
    """What is run in a folder."""
    data = None if settings.data is None else str(settings.data.resolve())
    return {"name": name, "scale": settings.scale, "seeds": settings.seeds, "data": data}


def _begun(settings: Settings, name: str, state: dict[str, Any] | None) -> Settings:
    """Say in the folder what is run in it, or go on with what is there, and with its seeds unless others are given."""
    path, plan = settings.output / STATE, _plan(settings, name)
    if state is not None:
        for key, now in plan.items():
            if key != "seeds" and state["plan"].get(key) != now:  # whether seeds are only added, the studies see
                raise ValueError(
                    f"{settings.output} holds another reproduction: its {key} is {state['plan'].get(key)}, not {now}. "
                    f"Give the same {key}, or choose another folder."
                )
        if not settings.seeds:
            return dataclasses.replace(settings, seeds=state["plan"].get("seeds"))
    write_json(path, {**(state or {"schema": SCHEMA}), "plan": plan})
    return settings


def _leave(output: Path) -> None:
    """Remove the state from a folder that holds nothing else."""
    if {path.name for path in output.iterdir()} <= {STATE, LOCK}:
        (output / STATE).unlink()


def _write(chosen: Entry, settings: Settings, outcome: Outcome) -> None:
    title = f"{chosen.name}: {chosen.title}"
    blocks = _page(chosen, settings, outcome)
    for block in blocks:
        if isinstance(block, Picture):
            with replacing(settings.output / block.name) as path:
                path.write_bytes(block.png)
    write_text(settings.output / "page.md", to_markdown(title, blocks))
    write_text(settings.output / "page.html", to_html(title, blocks))
    found = {"verdicts": outcome.verdicts, "reduced": outcome.reduced, "versions": machine.versions()}
    plan = _plan(settings, chosen.name)
    write_json(settings.output / STATE, {"schema": SCHEMA, "plan": plan, **found})


def _page(chosen: Entry, settings: Settings, outcome: Outcome) -> list[Block]:
    reduced: list[Block] = [Paragraph("This is the paper's protocol, with our choices where it says nothing.")]
    if outcome.reduced:
        reduced = [Paragraph("Other than the paper's protocol, or less:"), Items(outcome.reduced)]
    versions = ", ".join(f"{name} {version}" for name, version in machine.versions().items())
    return [
        *reduced,
        Paragraph(f"The paper: {chosen.claim}"),
        Heading("Verdicts"),
        Items(outcome.verdicts),
        *outcome.blocks,
        Heading("How it was run"),
        Paragraph(f"Command: {command(chosen.name, settings)}"),
        Paragraph(f"{machine.device()}; {versions}."),
    ]


def command(name: str, settings: Settings) -> str:
    """The command that runs the same again."""
    options = {field.name: getattr(settings, field.name) for field in dataclasses.fields(settings)}
    usual = {"scale": "small", "seeds": None, "data": None}
    words = [[f"--{option}", str(options[option])] for option, value in usual.items() if options[option] != value]
    said = [word for option in words for word in option]
    backend = f"KERAS_BACKEND={keras.backend.backend()} "
    return backend + shlex.join(["python", "-m", "reproduction", name, *said, "--output", str(settings.output)])
