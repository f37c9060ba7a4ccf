"""The result of a run: the entropy of each bin, its standard error, and whether the run has converged."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import msgspec
import numpy as np

from keras_entropy import _checks, _sealed, _table, plots
from keras_entropy._frozen import FrozenDict
from keras_entropy.landscape import entropy_figure
from keras_entropy.landscape.axis import Axis

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]

SCHEMA = "keras-entropy/density-of-states/3"

_Count = Annotated[int, msgspec.Meta(ge=0)]

_KINDS = {"visited": "b", "targets": "b", "histogram": "i"}
"""Kinds of the arrays that have no floats."""

_ROWS = 21
"""Rows of a printed table."""


class ConditionalMean(NamedTuple):
    """Mean of an observable over all parameters of each bin, NaN for a bin in which it was not recorded.

    Attributes:
        mean: Array in the shape of the bins.
        standard_error: Array. Standard error of the mean.
        standard_deviation: Array. Standard deviation of the observable within the bin.
    """

    mean: Array
    standard_error: Array
    standard_deviation: Array


@dataclasses.dataclass(frozen=True, eq=False)
class DensityOfStates:
    """Entropy S = ln(V_bin / V_box) of the bins of one or two observables (Zhang, 2021, eq. 8).

    The entropy of the whole box is 0. `print(result)` shows a table, and so does a notebook. All arrays are read-only
    and have the shape of the bins, (n,) or (n0, n1).

    Attributes:
        problem: String. Name of the problem.
        axes: Tuple of one or two `Axis` objects.
        entropy: Array, nats. -inf for a bin that was not visited.
        standard_error: Array, nats. Jackknife over groups of independent walkers; NaN for a bin that was not visited.
        visited: Array of booleans. Bins that production visited.
        targets: Array of booleans. Bins that were sampled, fixed before the walk began.
        histogram: Array of integers. Visits in production.
        acceptance_rate: Array. Fraction of accepted moves from each bin.
        round_trips: Integer. Round trips between the largest bin and the deep end, over all walkers.
        histogram_entropy: Array, nats. A second estimate: from visits, while `entropy` is from the moves that were
            proposed between near bins.
        splitting_entropy: Array, nats. An estimate by multilevel splitting alone, independent of the walk.
        moves: Integer. Moves of production, over all walkers.
        seconds: Float. Wall time of the whole run.
        converged: Boolean. Whether all checks of convergence passed.
        status: String. Which checks failed and what to do.
        means: Read-only mapping from names of observables to `ConditionalMean`s.
    """

    problem: str
    axes: tuple[Axis, ...]
    entropy: Array
    standard_error: Array
    visited: Array
    targets: Array
    histogram: Array
    acceptance_rate: Array
    round_trips: _Count
    histogram_entropy: Array
    splitting_entropy: Array
    moves: _Count
    seconds: float
    converged: bool
    status: str
    means: Mapping[str, ConditionalMean]

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, _read_only(value))
        means = {name: ConditionalMean(*map(_read_only, mean)) for name, mean in self.means.items()}
        object.__setattr__(self, "means", FrozenDict(means))

    def conditional_mean(self, name: str) -> ConditionalMean:
        """Return the mean of an observable over all parameters of each bin (Zhang, 2021, eq. 9).

        Args:
            name: String. Name of the observable.

        Returns:
            A `ConditionalMean`: mean, standard error and standard deviation.

        Raises:
            ValueError: For an observable that was not recorded.

        Examples:
            >>> from keras_entropy.landscape import ball_problem, density_of_states, exact
            >>> found = density_of_states(ball_problem(10), "energy", 1e5, edges={"energy": exact.ball_edges(10, 8)})
            >>> found.conditional_mean("positive").mean.shape
            (8,)
        """
        return self.means[_checks.one_of("name", name, tuple(self.means))]

    def plot(self, mean: str | None = None, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the entropy: a curve with error bars for one axis, a map for two (Zhang, 2021, fig. 2).

        Args:
            mean: String. Name of an observable whose mean in each bin is drawn as dots. A map shows it only for the
                observable of the second axis. Defaults to None.
            path: Path of a file to write the figure to; the suffix gives the format, PNG without one. Defaults to None.

        Returns:
            A matplotlib figure.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
            ValueError: For an observable that was not recorded, and for a suffix that matplotlib does not know.

        Examples:
            >>> from keras_entropy.landscape import ball_problem, density_of_states, exact
            >>> found = density_of_states(ball_problem(10), "energy", 1e5, edges={"energy": exact.ball_edges(10, 8)})
            >>> figure = found.plot(mean="positive")
        """
        if len(self.axes) > 1:
            figure = entropy_figure.entropy_map(
                self.axes, self.entropy, self.visited, with_mean=mean == self.axes[1].name
            )
        else:
            curve = None if mean is None else (mean, self.conditional_mean(mean).mean)
            figure = entropy_figure.entropy_curve(self.axes[0], self.entropy, self.standard_error, self.visited, curve)
        self._mark(figure)
        if path is not None:
            plots.save(figure, path)
        return figure

    def plot_distribution(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw how the second observable is distributed in the whole box, and in three bins of the first one.

        With training and test accuracy it shows how likely a network is to do well on new data if it fits so much of
        the training data and nothing else is known of it: before any training.

        Args:
            path: Path of a file to write the figure to; the suffix gives the format, PNG without one. Defaults to None.

        Returns:
            A matplotlib figure.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
            ValueError: If there is one axis only, and for a suffix that matplotlib does not know.

        Examples:
            >>> from keras_entropy.landscape import ball_problem, density_of_states, exact
            >>> edges = {"energy": exact.ball_edges(6, 4), "positive": [-0.5, 2.5, 6.5]}
            >>> found = density_of_states(ball_problem(6), ["energy", "positive"], 1e5, edges=edges)
            >>> figure = found.plot_distribution()
        """
        if len(self.axes) < 2:
            raise ValueError(
                f"A distribution needs two axes. Received: a density over {self.axes[0].name!r}. Measure it over two, "
                'such as axes=["train_accuracy", "test_accuracy"].'
            )
        figure = entropy_figure.distribution_curves(self.axes, self.entropy, self.visited)
        self._mark(figure)
        if path is not None:
            plots.save(figure, path)
        return figure

    def _mark(self, figure: Figure) -> None:
        """Say on a figure that the run has not converged."""
        if not self.converged:
            figure.axes[0].set_title("not converged: see status", fontsize="medium")

    def __repr__(self) -> str:
        bins = " x ".join(str(axis.bins) for axis in self.axes)
        conclusion = "converged" if self.converged else "not converged"
        return f"<{type(self).__name__}: {_checks.printable(self.problem)}, {bins} bins, {conclusion}>"

    def __str__(self) -> str:
        """The entropies of about twenty bins of the first axis as a table, and the status."""
        head = self._head()
        lines = (self._title(), _table.to_text(head, self._rows(), head), *self._notes())
        return "\n".join(lines)

    def _repr_html_(self) -> str:
        head = self._head()
        return _table.to_html(self._title(), head, self._rows(), head, self._notes())

    def _title(self) -> str:
        return f"{_checks.printable(self.problem)}: entropy in nats, 0 for the whole box"

    def _head(self) -> list[str]:
        error = ["standard error"] if len(self.axes) == 1 else []
        names = [self.axes[0].name, "entropy", *error, *(f"mean {name}" for name in self.means)]
        return [name.replace("_", " ") for name in names]

    def _rows(self) -> list[list[str]]:
        """Return a row for each of about twenty bins of the first axis; a second axis is summed over."""
        first = self.axes[0]
        rows = []
        for i in np.unique(np.linspace(0, first.bins - 1, _ROWS).round().astype(int)):
            entropies = np.atleast_1d(np.where(self.visited[i], self.entropy[i], -np.inf))
            row = [self._label(i), f"{np.logaddexp.reduce(entropies):.2f}"]
            if len(self.axes) == 1:
                row.append(f"{self.standard_error[i]:.2f}")
            for mean in self.means.values():
                means = np.atleast_1d(mean.mean[i])
                known = np.isfinite(means) & np.isfinite(entropies)
                weights = np.exp(entropies[known] - entropies[known].max(initial=-np.inf))
                row.append(f"{weights @ means[known] / weights.sum():.4f}" if known.any() else "")
            rows.append(row)
        return rows

    def _label(self, i: int) -> str:
        """The center of a bin of the first axis, or its inner edge if its values lie beyond the outer one."""
        low, high = self.axes[0].edges[i : i + 2]
        mean = np.atleast_1d(self.means[self.axes[0].name].mean[i]) if self.axes[0].name in self.means else low
        if i == 0 and np.any(mean < low):
            return f"below {high:.4g}"
        if i == self.axes[0].bins - 1 and np.any(mean > high):
            return f"from {low:.4g}"
        return f"{self.axes[0].centers[i]:.4g}"

    def _notes(self) -> list[str]:
        return [f"{self.round_trips} round trips, {self.moves:.3g} moves of production.", self.status]

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the result to a JSON file, atomically.

        Args:
            path: Path of the file. An earlier file is replaced.

        Raises:
            OSError: If the file cannot be written.
        """
        _sealed.write(path, SCHEMA, self.to_record(), indent=None)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> DensityOfStates:
        """Read a file that `save` wrote.

        Args:
            path: Path of the file.

        Returns:
            A `DensityOfStates`.

        Raises:
            FileNotFoundError: If the file does not exist.
            ValueError: If the file is not a `DensityOfStates` of this version, or was damaged or edited.
        """
        try:
            found = _sealed.converted(_sealed.read(path, SCHEMA), cls)
            found.check_shapes()
        except ValueError as error:
            raise ValueError(
                f"{_checks.printable(path)} is not a density of states: {error}. Write one with DensityOfStates.save. "
                f"{_sealed.EDITED}"
            ) from error
        return found

    def to_record(self) -> dict[str, Any]:
        """The result as plain values: what a file holds of it."""
        record = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in vars(self).items()
        }
        record["axes"] = [{"name": a.name, "edges": a.edges.tolist(), "deep": a.deep} for a in self.axes]
        record["means"] = {name: [part.tolist() for part in mean] for name, mean in self.means.items()}
        return record

    def check_shapes(self) -> None:
        """Check what was read from a file: all arrays have the shape of the bins.

        Raises:
            ValueError: If one has not. The message is a clause.
        """
        shape = tuple(axis.bins for axis in self.axes)
        for name, array in self._arrays():
            if array.shape != shape or array.dtype.kind != _KINDS.get(name, "f"):
                raise ValueError(f"`{name}` is an array of shape {array.shape} and type {array.dtype}")

    def _arrays(self) -> Iterator[tuple[str, Array]]:
        """All arrays in the shape of the bins, with the name of the field or observable."""
        yield from ((name, value) for name, value in vars(self).items() if isinstance(value, np.ndarray))
        yield from ((name, part) for name, mean in self.means.items() for part in mean)


def _read_only(array: Array) -> Array:
    """Return a read-only copy of an array."""
    copy = np.array(array)
    copy.setflags(write=False)
    return copy
