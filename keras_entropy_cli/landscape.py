"""`keras-entropy landscape`: how much of the parameter space of a small network has a certain loss or accuracy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from keras_entropy_cli import options
from keras_entropy_cli.errors import echo, interruptible, user_errors
from keras_entropy_cli.start import load_keras

if TYPE_CHECKING:
    from keras_entropy.landscape import Progress

_WALK, _FILES = "walk.state", ("density.json", "landscape.png")


def landscape(
    depth: Annotated[int, typer.Option(min=1, help="Number of hidden layers.")] = 3,
    width: Annotated[int, typer.Option(min=1, help="Number of units of each hidden layer.")] = 6,
    axes: Annotated[
        str, typer.Option(help="One or two of train_loss, train_accuracy and test_accuracy, separated by a comma.")
    ] = "train_accuracy,test_accuracy",
    strength: Annotated[float, typer.Option(min=0, help="Coefficient of the L2 term in the loss.")] = 0.0,
    target_loss: Annotated[
        float, typer.Option(callback=options.finite, help="Lowest training loss on an axis of training loss.")
    ] = 0.1,
    final_relu: Annotated[bool, typer.Option("--final-relu", help="Rectify the outputs too.")] = False,
    moves: Annotated[
        float,
        typer.Option(
            callback=options.finite, min=1, help="Number of moves of all walkers in all phases.", show_default="1e8"
        ),
    ] = 1e8,
    data_seed: Annotated[int, typer.Option(min=0, help="Seed of the spirals.")] = 0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the walk.")] = 0,
    output: options.Output = Path("runs/landscape"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Sample the parameter space of a network on two spirals, and print the entropy of each loss or accuracy.

    Writes density.json, landscape.png, and the state of the walk, from which --resume continues bit-identically.

    Example: keras-entropy landscape --depth 4 --width 8 --axes train_loss --target-loss 0.2 --output runs/loss
    """
    with user_errors():
        options.check_exclusive(overwrite=overwrite, resume=resume)
        load_keras()

        from keras_entropy import _files, _optional, datasets
        from keras_entropy.landscape import density_of_states, network_problem
        from keras_entropy.landscape.axis import axis_names
        from keras_entropy.runs.folder import ResultsFolder

        results = ResultsFolder(output, "walk", (_WALK,), _FILES)
        results.check()
        results.check_wish(overwrite=overwrite, resume=resume)
        _optional.require("matplotlib", extra="plot")
        _optional.require("numba", extra="landscape")
        data = datasets.spirals(data_seed)
        problem = network_problem(depth, width, data, final_relu=final_relu, strength=strength)
        names = axis_names(problem, [name.strip() for name in axes.split(",")])  # before an earlier walk is deleted
        remedy = f"The walk is in {output}. {options.how_to_continue(overwrite=overwrite)}"
        with interruptible(remedy), results.locked(overwrite=overwrite):
            results.check_wish(overwrite=overwrite, resume=resume)  # another process may have ended a walk meanwhile
            _files.remove_partial(output)
            try:
                with _progress_line() as show:
                    found = density_of_states(
                        problem,
                        names,
                        moves,
                        seed,
                        target_loss=target_loss if "train_loss" in names else None,
                        checkpoint=output / _WALK,
                        progress=show,
                    )
            except RuntimeError as error:  # the walk did not reach the lowest bin
                raise ValueError(f"{error} With this command: more --moves, or another --target-loss.") from error
            found.save(output / "density.json")
            found.plot("test_accuracy", output / "landscape.png")
            echo(str(found))
            echo(f"{found.moves / max(found.seconds, 1e-9):.3g} moves per second.")
            echo(f"Written to {output}: density.json, landscape.png")


@contextlib.contextmanager
def _progress_line() -> Iterator[Callable[[Progress], None]]:
    """Show phase, moves per second, ln f, visited bins and round trips in a line, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description:10}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[state]}"),
    )
    with Bar(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("splitting", total=1.0, state="")

        def show(at: Progress) -> None:
            state = f"{at.moves_per_second / 1e6:.1f}e6 moves/s, {at.visited:.0%} of bins, {at.round_trips} round trips"
            if at.phase == "learning":
                state += f", ln f {at.log_f:.1e}"
            bar.update(task, description=at.phase, completed=at.done, state=state)

        yield show
