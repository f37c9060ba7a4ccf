"""A walk through the parameter space of a network of source B, in a folder."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from keras_entropy import datasets
from keras_entropy.landscape import DensityOfStates, Progress, density_of_states, network_problem
from keras_entropy.landscape.entropy_figure import write_figure

_WALK, _FILES = "walk.state", ("density.json", "landscape.png")


@dataclasses.dataclass(frozen=True)
class Arguments:
    """Of the command."""

    depth: int
    width: int
    axes: tuple[str, ...]
    strength: float
    stop: float
    final_relu: bool
    moves: float
    data_seed: int
    seed: int
    output: Path


def check_folder(output: Path, *, overwrite: bool, resume: bool) -> None:
    """Make sure that an earlier walk is replaced or gone on with only if that is asked for.

    Raises:
        FileExistsError, FileNotFoundError, ValueError: where it is not.
    """
    if overwrite and resume:
        raise ValueError("--overwrite and --resume exclude each other.")
    there = (output / _WALK).exists()
    if resume and not there:
        raise FileNotFoundError(f"{output} holds no walk to resume.")
    if there and overwrite:
        for name in (_WALK, *_FILES):
            (output / name).unlink(missing_ok=True)
    elif there and not resume:
        raise FileExistsError(
            f"{output} holds a walk. Use --overwrite to replace it, --resume to go on with it, or --output for another "
            "folder."
        )
    for name in _FILES if not there else ():
        if (output / name).exists():
            raise FileExistsError(f"{output / name} is there already, without a walk. Use --output for another folder.")


def run(arguments: Arguments) -> DensityOfStates:
    """Walk, and print what came of it.

    Raises:
        ValueError: also where the deep end is not reached.
    """
    data = datasets.spirals(arguments.data_seed)
    problem = network_problem(
        arguments.depth, arguments.width, data, final_relu=arguments.final_relu, strength=arguments.strength
    )
    output = arguments.output
    output.mkdir(parents=True, exist_ok=True)
    stop = arguments.stop if "train_loss" in arguments.axes else None
    try:
        with _Bar() as bar:
            found = density_of_states(
                problem,
                arguments.axes,
                arguments.moves,
                arguments.seed,
                stop=stop,
                checkpoint=output / _WALK,
                progress=bar.show,
            )
    except RuntimeError as error:
        raise ValueError(f"{error} With this command: more --moves, or another --stop.") from error
    found.save(output / "density.json")
    write_figure(found, output / "landscape.png", "test_accuracy")
    _print(found, output)
    return found


class _Bar:
    """A line with phase, moves a second, ln f, bins and round trips; elsewhere than on a terminal nothing."""

    def __init__(self) -> None:
        self._bar: Any = None
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

            self._bar = Progress(
                TextColumn("{task.description:10}"),
                BarColumn(),
                TaskProgressColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[said]}"),
                console=Console(stderr=True),
            )

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.__enter__()
            self._task = self._bar.add_task("splitting", total=1.0, said="")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.__exit__(kind, error, trace)

    def show(self, at: Progress) -> None:
        """Show how far a walk is."""
        if self._bar is None:
            return
        said = f"{at.moves_per_second / 1e6:.1f}e6 moves/s, {at.visited:.0%} of bins, {at.round_trips} round trips"
        if at.phase == "learning":
            said += f", ln f {at.log_f:.1e}"
        self._bar.update(self._task, description=at.phase, completed=at.done, said=said)


def _print(found: DensityOfStates, output: Path) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    first = found.axes[0]
    table = Table(title=f"{found.problem}: entropy of the whole box is 0")
    columns = [first.name, "entropy (nats)", "standard error", *(f"mean {name}" for name in found.means)]
    for name in columns:
        table.add_column(name.replace("_", " "), justify="right")
    whole = np.where(found.visited, np.exp(found.entropy), 0.0).reshape(first.bins, -1)
    for i in range(0, first.bins, max(1, first.bins // 20)):
        share = whole[i].sum()
        row = [f"{first.centers[i]:.4g}", f"{np.log(share):.2f}" if share else "-inf"]
        row.append(f"{found.standard_error[i]:.2f}" if len(found.axes) == 1 else "")
        for name in found.means:
            mean = found.conditional_mean(name)[0].reshape(first.bins, -1)[i]
            weights = np.where(np.isfinite(mean), whole[i], 0.0)
            row.append(f"{weights @ np.nan_to_num(mean) / weights.sum():.4f}" if weights.any() else "")
        table.add_row(*row)
    console.print(table)
    rate = found.moves / max(found.seconds, 1e-9)
    console.print(Text(f"{found.round_trips} round trips, {found.moves:.3g} moves of production, {rate:.3g} a second."))
    console.print(Text(found.status))
    console.print(Text(f"Written to {output}: density.json, landscape.png"), soft_wrap=True)
