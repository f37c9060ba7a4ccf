"""What `keras-entropy landscape` samples, and its walks on several data sets and networks."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from keras_entropy_cli import options
from keras_entropy_cli.errors import echo, interruptible

if TYPE_CHECKING:
    from keras_entropy.landscape import DensitiesOfStates, Problem, Progress


@dataclasses.dataclass(frozen=True)
class Settings:
    """The options of the command that determine its walks.

    Args:
        networks: List of depths and widths.
        data_seeds: List of integers. Seeds of the spirals.
        final_relu: Boolean. Whether the outputs are rectified.
        strength: Float. Coefficient of the L2 term in the loss.
        axes: List of names of observables.
        target_loss: Float. Lowest training loss.
        moves: Float. Number of moves of each walk.
        seed: Integer. Seed of the first walk.
    """

    networks: list[tuple[int, int]]
    data_seeds: list[int]
    final_relu: bool
    strength: float
    axes: list[str]
    target_loss: float
    moves: float
    seed: int

    def problem(self, network: tuple[int, int], data_seed: int) -> Problem:
        """The problem of a network on a data set."""
        from keras_entropy import datasets
        from keras_entropy.landscape import network_problem

        return network_problem(
            *network, datasets.spirals(data_seed), final_relu=self.final_relu, strength=self.strength
        )

    def arguments(self, problem: Problem) -> dict[str, Any]:
        """The arguments of each walk.

        Raises:
            ValueError: For axes that the problem does not have.
        """
        from keras_entropy.landscape.axis import axis_names

        names = axis_names(problem, self.axes)
        target = self.target_loss if "train_loss" in names else None
        return {"axes": names, "moves": self.moves, "seed": self.seed, "target_loss": target}

    def pairs(self) -> list[tuple[str, str]]:
        """The networks to compare: each with the next deeper one, and with the next wider one."""
        depths, widths = (list(dict.fromkeys(sizes)) for sizes in zip(*self.networks, strict=True))
        deeper = [((one, w), (two, w)) for w in widths for one, two in itertools.pairwise(depths)]
        wider = [((d, one), (d, two)) for d in depths for one, two in itertools.pairwise(widths)]
        return [(name_of(before), name_of(after)) for before, after in (*deeper, *wider)]


def name_of(network: tuple[int, int]) -> str:
    """The name of a network: depth x width."""
    return f"{network[0]}x{network[1]}"


def walk_all(settings: Settings, output: Path, *, workers: int | None, scheduler: str | None, overwrite: bool) -> None:
    """Walk for each network and data set, and write the records, a table and a figure.

    Raises:
        ValueError: For settings that do not fit together, and if no walk finishes.
    """
    from keras_entropy import _optional
    from keras_entropy.landscape import walk_folder

    for module in ("loky", "cloudpickle", "filelock", "matplotlib"):
        _optional.require(module, extra="study")
    _optional.require("numba", extra="landscape")
    results = walk_folder.results_of(output)
    results.check()
    problems = {
        name_of(network): [settings.problem(network, data_seed) for data_seed in settings.data_seeds]
        for network in settings.networks
    }
    arguments = settings.arguments(problems[name_of(settings.networks[0])][0])
    with interruptible(options.how_to_continue(output, "set of walks", overwrite=overwrite)):
        with options.executor_of(scheduler) as executor:
            found = _walks(
                problems, **arguments, pairs=settings.pairs(), folder=output, executor=executor, workers=workers,
                overwrite=overwrite,
            )  # fmt: skip
        _write(found, output)


def _walks(problems: Any, **settings: Any) -> DensitiesOfStates:
    from keras_entropy import EntropyWarning
    from keras_entropy.landscape import densities_of_states
    from keras_entropy.runs.pool import JobError

    with warnings.catch_warnings():
        # What is printed names the walks that failed.
        warnings.filterwarnings("ignore", r"\d+ of \d+ walks did not finish", EntropyWarning)
        try:
            return densities_of_states(problems, **settings)
        except JobError as error:
            raise ValueError(str(error)) from error
        except RuntimeError as error:
            raise ValueError(f"{error} With this command: more --moves, or another --target-loss.") from error


def _write(found: DensitiesOfStates, output: Path) -> None:
    """Write the table and the figure, and print the averages."""
    from keras_entropy import _files
    from keras_entropy.landscape import walk_folder

    rows = [vars(summary) for summary in found.walk_summaries()]
    _files.write_csv(output / walk_folder.TABLE, [list(rows[0]), *(list(row.values()) for row in rows)])
    found.plot(output / walk_folder.FIGURE)
    echo(f"Networks: hidden layers x units in each.\n{found}")
    echo(f"Written to {output}: {walk_folder.TABLE}, {walk_folder.FIGURE}, {walk_folder.RECORDS}/")


@contextlib.contextmanager
def shown_progress() -> Iterator[Callable[[Progress], None]]:
    """Show phase, moves per second, visited bins, round trips and the time left of one walk."""
    from keras_entropy.landscape.walk import text_of
    from keras_entropy.runs.epochs import ShareReport
    from keras_entropy.runs.progress import Progress as Table

    with Table(["walk"], True, "walk") as table, ShareReport() as report:
        table.begin("Walk", {"walk": 1})
        yield lambda at: report(at.done, text_of(at))
        table.ended("walk", True)
