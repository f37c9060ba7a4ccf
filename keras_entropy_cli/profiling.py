"""A profile in the terminal, and in files."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Collection
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from keras_entropy import _checks, _optional, models, plots
from keras_entropy.models import safe_loading
from keras_entropy.placement import resolve_placement
from keras_entropy.profile import EntropyProfile, ProfileComparison, ProfileRecord, entropy_profile

_WIDTH = 160
"""Columns of a table that is not written to a terminal."""


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Of the command."""

    model: str
    weights: str | None
    measure: str
    random: int | None
    reference: Path | None
    placement: str | None
    plot: Path | None
    json: Path | None
    overwrite: bool


def run(arguments: Arguments) -> None:
    """Measure, print, and write the files that were asked for.

    Raises:
        FileExistsError: for a file that is there already, without `overwrite`; before anything is computed.
        ValueError: for a model, a file or a placement that is none.
    """
    reference = None if arguments.reference is None else EntropyProfile.load(arguments.reference)
    _check(arguments, reference)
    model = _model(arguments.model, arguments.weights)
    chosen = _chosen(model, arguments.placement, reference)
    profile = entropy_profile(model, arguments.measure, progress=True)
    twin = None if arguments.random is None else entropy_profile(model, arguments.measure, arguments.random, True)
    other = reference if twin is None else twin
    comparison = None if other is None else profile.compare(other)
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH)
    console.print(_table(profile, comparison, "reference" if twin is None else "random", chosen))
    for record in profile.records:
        if record.skipped is not None:
            console.print(_text(f"not measured: {record.path} ({record.kind}): {record.skipped}"))
    if arguments.placement is not None:
        console.print(_text(f"placement {arguments.placement!r}: {', '.join(chosen) or 'none'}"))
    if arguments.json is not None:
        profile.save(arguments.json)
    if arguments.plot is not None:
        profile.plot(other, arguments.plot)


def _check(arguments: Arguments, reference: EntropyProfile | None) -> None:
    """Whatever can be wrong before anything is computed."""
    if arguments.plot is not None:
        _optional.require("matplotlib", extra="plot")
        plots.format_of(arguments.plot)
        if arguments.plot == arguments.json:
            raise ValueError(f"--plot and --json should name two files. Received: {arguments.plot} twice.")
    for path in filter(None, (arguments.plot, arguments.json)):
        if path.exists() and not arguments.overwrite:
            raise FileExistsError(f"{path} exists. Use --overwrite to replace it, or name another file.")
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        if not (folder.is_dir() and os.access(folder, os.W_OK)):
            raise PermissionError(f"{path} cannot be written. Name another file.")
    if reference is not None and arguments.random is None and reference.measure != arguments.measure:
        raise ValueError(
            f"{arguments.reference} is a profile of measure {reference.measure!r}: add --measure {reference.measure}."
        )


def _model(name: str, weights: str | None) -> Any:
    """A model from a file, or an architecture by its name."""
    is_file = "." in name or os.sep in name or (Path(name).exists() and name not in models.names())
    if is_file:
        model = safe_loading.load_model(name)
        if weights is not None:
            models.load_weights(model, weights)
        return model
    if weights != "imagenet":
        return models.by_name(name, weights=weights)
    try:
        return models.by_name(name, weights=weights)
    except Exception as error:  # Keras raises a plain Exception where a download fails
        raise ValueError(f"Keras could not get its weights of {name}: {' '.join(str(error).split())}") from error


def _chosen(model: Any, placement: str | None, reference: EntropyProfile | None) -> list[str]:
    if placement is None:
        return []
    if placement.startswith("empirical") and reference is None:
        raise ValueError("--placement empirical goes by a trained network: name its profile with --reference.")
    return [weight.path for weight in resolve_placement(model, placement, reference)]


def _table(profile: EntropyProfile, comparison: ProfileComparison | None, other: str, chosen: Collection[str]) -> Table:
    table = Table(title=_text(f"Change of entropy: {profile.title}"), title_justify="left")
    table.add_column("weight", overflow="fold")
    table.add_column("layer")
    table.add_column("shape")
    table.add_column("mean", justify="right")
    if comparison is not None:
        table.add_column(other, justify="right")
        table.add_column("difference", justify="right")
        table.add_column(f"outliers ({other})", justify="right")
    table.add_column("unit")
    differences = {} if comparison is None else {d.path: d for d in comparison.differences}
    for record in profile.measured:
        cells = [record.path, record.kind, "x".join(map(str, record.shape)), f"{record.mean:.3f}"]
        if comparison is not None:
            found = differences.get(record.path)
            cells += (
                ["", "", ""]
                if found is None
                else [
                    f"{found.other:.3f}",
                    f"{found.difference:+.3f}",
                    f"{found.outliers} ({found.other_outliers})",
                ]
            )
        table.add_row(*map(_text, [*cells, _unit(record)]), style="bold green" if record.path in chosen else None)
    return table


def _text(words: str) -> Text:
    """Without markup and control characters: names may come from a file of somebody else."""
    return Text(_checks.printable(words))


def _unit(record: ProfileRecord) -> str:
    pieces = f", {len(record.pieces)} pieces" if record.pieces else ""
    return f"{record.unit}{pieces}"
