"""The densities of states of many problems: averages over data sets, and paired differences between groups."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from keras_entropy import _checks, _files, _table, plots
from keras_entropy._frozen import FrozenDict
from keras_entropy.landscape import densities_figure, densities_table, walk_folder
from keras_entropy.landscape.first_axis import deep_bin, entropy_along, mean_along, region_of
from keras_entropy.landscape.result import DensityOfStates
from keras_entropy.landscape.set_averages import GroupDifference, GroupSummary, MeanOverSets, mean_over_sets, paired
from keras_entropy.landscape.walk import Slot, WalkRecord

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

Array = np.ndarray[Any, Any]


@dataclasses.dataclass(frozen=True)
class FailedWalk:
    """A walk that did not finish.

    Attributes:
        group: String. Name of its group.
        data_set: Integer. Number of its data set.
        status: String. `"failed"` (an exception), `"died"` (the process was killed or crashed) or `"missing"` (it has
            not ended yet).
        reason: String. Why.
    """

    group: str
    data_set: int
    status: str
    reason: str

    def __str__(self) -> str:
        return _checks.printable(f"{self.group}, data set {self.data_set}: {self.status}, {self.reason}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class WalkSummary:
    """A walk, and what it found in the region at the deep end of the first axis: a row of `DensitiesOfStates.to_frame`.

    Attributes:
        group: String. Name of its group.
        data_set: Integer. Number of its data set.
        status: String. `"converged"`, `"not converged"`, `"failed"`, `"died"` or `"missing"`.
        entropy: Float, nats. Entropy of the region.
        observable: String. Name of the observable.
        mean: Float. Mean of the observable in the region.
        round_trips: Integer. Round trips of the walk; 0 if it did not finish.
        moves: Integer. Moves of production.
        seconds: Float. Wall time.
        note: String. What the walk says of its convergence, or why it did not finish.
    """

    group: str
    data_set: int
    status: str
    entropy: float
    observable: str
    mean: float
    round_trips: int
    moves: int
    seconds: float
    note: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class DensitiesOfStates:
    """The densities of states of groups of problems on the same data sets, as of `densities_of_states`.

    `print(result)` shows averages over the data sets and paired differences as a table, and so does a notebook. They
    are about the region at the deep end of the first axis, such as a training accuracy of 1 or the bin of the lowest
    training loss. Walks that have not converged are included, counted and named; walks that failed are left out.

    Attributes:
        walks: Mapping from names of groups to tuples with a `DensityOfStates` for each data set, None for a walk that
            did not finish.
        failures: Tuple of `FailedWalk`.
        pairs: Tuple of pairs of names of groups to compare; the first of a pair is subtracted.
    """

    walks: Mapping[str, tuple[DensityOfStates | None, ...]]
    failures: tuple[FailedWalk, ...]
    pairs: tuple[tuple[str, str], ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "walks", FrozenDict({group: tuple(found) for group, found in self.walks.items()}))

    @classmethod
    def of_records(
        cls, records: Mapping[Slot, WalkRecord | None], pairs: tuple[tuple[str, str], ...]
    ) -> DensitiesOfStates:
        """The result of the records of all walks, data set by data set; None for a walk that has not ended.

        Raises:
            RuntimeError: If no walk has finished.
        """
        walks: dict[str, list[DensityOfStates | None]] = {}
        failures = []
        for (group, data_set), record in records.items():
            walks.setdefault(group, []).append(None if record is None else record.density)
            if record is None:
                failures.append(FailedWalk(group, data_set, "missing", "it has not ended yet."))
            elif record.density is None:
                failures.append(FailedWalk(group, data_set, record.status, record.reason))
        if all(density is None for found in walks.values() for density in found):
            raise RuntimeError(f"No walk finished. The first is {failures[0]}")
        return cls(walks={name: tuple(found) for name, found in walks.items()}, failures=tuple(failures), pairs=pairs)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> DensitiesOfStates:
        """Read the walks in a folder of `densities_of_states`, also while others go on.

        Args:
            folder: Path of the folder.

        Returns:
            A `DensitiesOfStates`.

        Raises:
            FileNotFoundError: If the folder has no walks.
            FileExistsError: If it is a file.
            ValueError: If a file in it was damaged or edited.
            RuntimeError: If no walk has finished.
        """
        path = _files.local(folder, "folder")
        walk_folder.results_of(path).refuse_file()
        plan = walk_folder.read_plan(path)
        if plan is None:
            raise FileNotFoundError(
                f"{_checks.printable(path)} has no walks. Name the `folder` of densities_of_states, or the --output of "
                "keras-entropy landscape --data-seeds."
            )
        records = walk_folder.WalkRecords(path)
        slots = [(group, data_set) for group, problems in plan.problems.items() for data_set in range(len(problems))]
        return cls.of_records({slot: records.get(slot) for slot in slots}, plan.pairs)

    @property
    def observable(self) -> str | None:
        """Name of the observable whose mean is shown: that of the second axis, else the test accuracy, else another."""
        first = self._first
        names = [name for name in first.means if name != first.axes[0].name]
        own = [axis.name for axis in first.axes[1:]]
        return next((name for name in (*own, "test_accuracy", *reversed(names)) if name in names), None)

    @property
    def _first(self) -> DensityOfStates:
        return next(density for found in self.walks.values() for density in found if density is not None)

    def entropy(self, group: str) -> MeanOverSets:
        """The mean entropy of each bin over the data sets in which it was visited.

        A bin that was not visited in some data sets is biased towards the others: look at `count`.

        Args:
            group: String. Name of a group.

        Returns:
            `MeanOverSets` of arrays in the shape of the bins, nats.

        Raises:
            ValueError: For another name, and for a group of which no walk finished.
        """
        return mean_over_sets(np.array([np.where(d.visited, d.entropy, math.nan) for d in self._finished(group)]))

    def conditional_mean(self, group: str, observable: str | None = None) -> MeanOverSets:
        """The mean of an observable over all parameters of each bin of the first axis, averaged over data sets.

        Args:
            group: String. Name of a group.
            observable: String. Name of an observable. Defaults to None: `observable`.

        Returns:
            `MeanOverSets` of arrays (n0,).

        Raises:
            ValueError: For another name, and for a group of which no walk finished.
        """
        name = self._checked(observable)
        return mean_over_sets(np.array([mean_along(density, name) for density in self._finished(group)]))

    def region_entropy(self, group: str) -> Array:
        """The entropy of the region for each data set, array (n,), nats; NaN where it is not known."""
        found = [math.nan if d is None else entropy_along(d)[deep_bin(d)] for d in self._members(group)]
        values = np.array(found, dtype=np.float64)
        return np.where(np.isfinite(values), values, math.nan)

    def region_mean(self, group: str, observable: str | None = None) -> Array:
        """The mean of an observable in the region for each data set, array (n,); NaN where it is not known."""
        name = self._checked(observable)
        found = [math.nan if d is None else mean_along(d, name)[deep_bin(d)] for d in self._members(group)]
        return np.array(found, dtype=np.float64)

    def groups(self, observable: str | None = None) -> tuple[GroupSummary, ...]:
        """A summary of each group.

        Args:
            observable: String. Name of an observable. Defaults to None: `observable`.
        """
        shown = observable or self.observable
        return tuple(
            GroupSummary(
                name=group,
                walks=sum(density is not None for density in found),
                failed=tuple(i for i, density in enumerate(found) if density is None),
                unconverged=tuple(
                    i for i, density in enumerate(found) if density is not None and not density.converged
                ),
                entropy=mean_over_sets(self.region_entropy(group)),
                mean=None if shown is None else mean_over_sets(self.region_mean(group, shown)),
            )
            for group, found in self.walks.items()
        )

    def differences(
        self,
        pairs: Iterable[tuple[str, str]] | None = None,
        observable: str | None = None,
        *,
        confidence: float = 0.95,
    ) -> tuple[GroupDifference, ...]:
        """Differences between groups, paired by data set, with t intervals that are not adjusted for their number.

        Args:
            pairs: Pairs of names of groups; the first of a pair is subtracted. Defaults to None: `pairs`.
            observable: String. Name of an observable. Defaults to None: `observable`.
            confidence: Float. Confidence of the intervals. Defaults to 0.95.
        """
        shown = observable or self.observable
        return tuple(
            GroupDifference(
                before=before,
                after=after,
                entropy=paired(self.region_entropy(after), self.region_entropy(before), confidence),
                mean=None
                if shown is None
                else paired(self.region_mean(after, shown), self.region_mean(before, shown), confidence),
            )
            for before, after in (self.pairs if pairs is None else pairs)
        )

    def walk_summaries(self, observable: str | None = None) -> tuple[WalkSummary, ...]:
        """A summary of each walk, data set by data set.

        Args:
            observable: String. Name of an observable. Defaults to None: `observable`.
        """
        shown = observable or self.observable
        failed = {(failure.group, failure.data_set): failure for failure in self.failures}
        found = []
        for group, members in self.walks.items():
            entropies = self.region_entropy(group)
            means = np.full(len(members), math.nan) if shown is None else self.region_mean(group, shown)
            for i, density in enumerate(members):
                if density is None:
                    status, note, numbers = failed[group, i].status, failed[group, i].reason, (0, 0, math.nan)
                else:
                    status, note = "converged" if density.converged else "not converged", density.status
                    numbers = density.round_trips, density.moves, density.seconds
                found.append(
                    WalkSummary(
                        group=group, data_set=i, status=status, entropy=float(entropies[i]), observable=shown or "",
                        mean=float(means[i]), round_trips=numbers[0], moves=numbers[1], seconds=numbers[2], note=note,
                    )
                )  # fmt: skip
        return tuple(sorted(found, key=lambda summary: summary.data_set))

    def to_frame(self, observable: str | None = None) -> pd.DataFrame:
        """A data frame with one row per walk, with the fields of `WalkSummary`.

        Args:
            observable: String. Name of an observable. Defaults to None: `observable`.

        Raises:
            ModuleNotFoundError: If pandas is not installed.
        """
        return _table.to_frame(WalkSummary, self.walk_summaries(observable))

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw the entropies and the means of the observable, averaged over data sets, with standard errors.

        With two axes, the entropy is that of the bins of the second axis within the region (Zhang, 2021, fig. 3). Bins
        are drawn that were visited in more than half of the data sets.

        Args:
            path: Path of a file to write the figure to; the suffix gives the format, PNG without one. Defaults to None.

        Returns:
            A matplotlib figure.

        Raises:
            ModuleNotFoundError: If matplotlib is not installed.
        """
        shown = {group: self._finished(group) for group, found in self.walks.items() if any(found)}
        figure = densities_figure.curves(shown, self.observable)
        if path is not None:
            plots.save(figure, path)
        return figure

    def __repr__(self) -> str:
        finished = sum(density is not None for found in self.walks.values() for density in found)
        names = _checks.printable(", ".join(self.walks))
        return f"<{type(self).__name__}: {names}; {finished} walks, {len(self.failures)} failed>"

    def __str__(self) -> str:
        """The averages and the differences as tables, and what to know about them."""
        tables = [_table.to_text(head, rows, head[1:]) for head, rows in self._tables()]
        return "\n".join([self._title(), tables[0], "", *(f"{table}\n" for table in tables[1:]), *self._notes()])

    def _repr_html_(self) -> str:
        (head, rows), *others = self._tables()
        first = _table.to_html(self._title(), head, rows, head[1:], self._notes())
        return first + "".join(_table.to_html("Paired by data set", names, cells, names[1:]) for names, cells in others)

    def _title(self) -> str:
        return f"{region_of(self._first)}: means over data sets; entropy 0 is the whole box"

    def _tables(self) -> list[densities_table.Table]:
        tables = [densities_table.group_rows(self.groups(), self.observable)]
        if self.pairs:
            tables.append(densities_table.difference_rows(self.differences(), self.observable))
        return tables

    def _notes(self) -> list[str]:
        return densities_table.notes(self.groups(), self.failures)

    def _members(self, group: str) -> tuple[DensityOfStates | None, ...]:
        return self.walks[_checks.one_of("group", group, tuple(self.walks))]

    def _finished(self, group: str) -> list[DensityOfStates]:
        found = [density for density in self._members(group) if density is not None]
        if not found:
            raise ValueError(f"No walk of group {group!r} finished. Look at `failures`.")
        return found

    def _checked(self, observable: str | None) -> str:
        return _checks.one_of("observable", observable or self.observable, tuple(self._first.means))
