"""`keras-entropy landscape`: how much of the parameter space of a small network has a certain loss or accuracy."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from keras_entropy_cli import options
from keras_entropy_cli.errors import echo, interruptible, user_errors
from keras_entropy_cli.landscape_sets import Settings, shown_progress, walk_all
from keras_entropy_cli.start import load_keras

_WALK, _FILES = "walk.state", ("density.json", "landscape.png", "distribution.png")
_DEPTH, _WIDTH = 3, 6
_MOST = 10**4
"""Largest number of data sets."""


def landscape(
    depth: Annotated[int | None, typer.Option(min=1, help="Number of hidden layers.", show_default=str(_DEPTH))] = None,
    width: Annotated[
        int | None, typer.Option(min=1, help="Number of units of each hidden layer.", show_default=str(_WIDTH))
    ] = None,
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
    data_seed: Annotated[int | None, typer.Option(min=0, help="Seed of the spirals.", show_default="0")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the walk, of the first one if there are several.")] = 0,
    data_seeds: Annotated[
        int | None,
        typer.Option(min=1, max=_MOST, help="Walk on this many data sets, with the seeds 0, 1, ..., and average."),
    ] = None,
    depths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Several depths to compare, separated by commas, such as 3,4.")
    ] = None,
    widths: Annotated[
        str | None, typer.Option(metavar="LIST", help="Several widths to compare, separated by commas, such as 6,8.")
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Number of processes, for several walks.", show_default="the number of cores"),
    ] = None,
    scheduler: options.Scheduler = None,
    output: options.Output = Path("runs/landscape"),
    overwrite: options.Overwrite = False,
    resume: options.Resume = False,
) -> None:
    """Sample the parameter space of a network on two spirals, and print the entropy of each loss or accuracy.

    Writes density.json, landscape.png, with two axes distribution.png, and the state of the walk, from which --resume
    continues bit-identically.

    With --data-seeds, --depths or --widths, it walks for each network and data set, prints averages over the data sets
    and paired differences between networks, and writes walks/ (one record each), walks.csv and landscape.png.

    Example: keras-entropy landscape --data-seeds 6 --depths 3,4 --moves 2e7 --output runs/depth
    """
    with user_errors():
        options.check_exclusive(overwrite=overwrite, resume=resume)
        many = not (data_seeds is None and depths is None and widths is None)
        _check_numbers(
            many, depth=(depth, depths), width=(width, widths), data_seed=(data_seed, data_seeds),
            workers=workers, scheduler=scheduler,
        )  # fmt: skip
        networks = [
            (one, other)
            for one in _numbers("--depths", depths, depth or _DEPTH)
            for other in _numbers("--widths", widths, width or _WIDTH)
        ]
        options.check_output(output, "set of walks" if many else "walk", overwrite=overwrite, resume=resume)
        load_keras()

        data = [data_seed or 0] if data_seeds is None else list(range(data_seeds))
        settings = Settings(
            networks, data, final_relu, strength, [name.strip() for name in axes.split(",")], target_loss, moves, seed
        )
        if many:
            walk_all(settings, output, workers=workers, scheduler=scheduler, overwrite=overwrite)
        else:
            _walk(settings, output, overwrite=overwrite, resume=resume)


def _check_numbers(
    many: bool, *, workers: int | None, scheduler: str | None, **pairs: tuple[object | None, object | None]
) -> None:
    """Check that options for one walk and for several walks do not contradict each other.

    Raises:
        ValueError: If they do.
    """
    for name, (one, several) in pairs.items():
        if one is not None and several is not None:
            option = f"--{name.replace('_', '-')}"
            raise ValueError(f"{option} and {option}s exclude each other. Use one of them.")
    if workers is not None and scheduler is not None:
        raise ValueError("--workers and --scheduler exclude each other: a scheduler has its own workers.")
    if not many and (workers is not None or scheduler is not None):
        raise ValueError(
            f"{'--workers' if workers is not None else '--scheduler'} is for several walks. Use it with --data-seeds, "
            "--depths or --widths."
        )


def _numbers(option: str, text: str | None, default: int) -> list[int]:
    """The numbers of a list; the default without one."""
    if text is None:
        return [default]
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() and int(part) > 0 for part in parts) or len(set(parts)) < len(parts):
        raise ValueError(f"{option} should be different integers from 1, separated by commas. Received: {text}.")
    return [int(part) for part in parts]


def _walk(settings: Settings, output: Path, *, overwrite: bool, resume: bool) -> None:
    """Walk once."""
    from keras_entropy import _files, _optional
    from keras_entropy.landscape import density_of_states
    from keras_entropy.runs.folder import ResultsFolder

    results = ResultsFolder(output, "walk", (_WALK,), _FILES)
    results.check()
    _optional.require("matplotlib", extra="plot")
    _optional.require("numba", extra="landscape")
    problem = settings.problem(settings.networks[0], settings.data_seeds[0])
    arguments = settings.arguments(problem)  # before an earlier walk is deleted
    with (
        interruptible(options.how_to_continue(output, "walk", overwrite=overwrite)),
        results.locked(overwrite=overwrite),
    ):
        options.check_output(
            output, "walk", overwrite=overwrite, resume=resume
        )  # another process may have ended a walk meanwhile
        _files.remove_partial(output)
        try:
            with shown_progress() as show:
                found = density_of_states(problem, **arguments, checkpoint=output / _WALK, progress=show)
        except RuntimeError as error:  # the walk did not reach the lowest bin
            raise ValueError(f"{error} With this command: more --moves, or another --target-loss.") from error
        found.save(output / "density.json")
        found.plot("test_accuracy", output / "landscape.png")
        written = list(_FILES) if len(found.axes) > 1 else list(_FILES[:2])
        if len(found.axes) > 1:
            found.plot_distribution(output / "distribution.png")
        echo(str(found))
        echo(f"{found.moves / max(found.seconds, 1e-9):.3g} moves per second.")
        echo(f"Written to {output}: {', '.join(written)}")
