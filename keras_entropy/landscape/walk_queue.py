"""Which walks of many are left to make, and with which arguments."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keras_entropy import _checks
from keras_entropy.landscape import checkpoint, walk_folder
from keras_entropy.landscape.axis import Axis, axis_names, axis_of
from keras_entropy.landscape.pipeline import density_of_states
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.walk import Slot, WalkRecord, WalkTask, digest_of, key_of
from keras_entropy.landscape.walk_folder import WalkPlan, WalkRecords
from keras_entropy.runs.identity import identity

Groups = Mapping[str, Sequence[Problem]]

_OWN = ("problem", "axes", "moves", "seed", "threads", "checkpoint", "progress")
OPTIONS = {
    name: parameter.default
    for name, parameter in inspect.signature(density_of_states).parameters.items()
    if name not in _OWN
}
"""The further arguments of `density_of_states`, with their defaults."""


class WalkQueue:
    """The walks on all problems, and what has ended of them.

    An axis without edges, such as a loss, gets them from the first walk of its group that finishes. The other walks of
    the group wait for it.

    Args:
        groups: Mapping from names of groups to problems, one for each data set.
        axes: One or two names of observables.
        moves: Float. Number of moves of each walk.
        seed: Integer. Seed of the walk on the first data set.
        options: Mapping. Further arguments of `density_of_states`.

    Raises:
        TypeError, ValueError: For invalid arguments.
    """

    def __init__(self, groups: Groups, axes: Any, moves: Any, seed: Any, options: Mapping[str, Any]) -> None:
        for name in options:
            _checks.one_of("options", name, tuple(OPTIONS))
        self._groups = groups
        self._seed = _checks.seed("seed", seed)
        names = axis_names(next(iter(groups.values()))[0], axes)
        count = _checks.moves(moves)
        self._arguments = {**OPTIONS, **options, "axes": names, "moves": count}
        given = self._arguments["edges"]
        known = {group: self._known_axes(group, names, {} if given is None else given) for group in groups}
        self._open = {
            group: tuple(name for name, axis in axes.items() if axis is None) for group, axes in known.items()
        }
        """For each group, the axes whose edges are to be found."""
        if given is not None:
            first = next(iter(known.values()))
            kept = {name: axis.edges.tolist() for name, axis in first.items() if axis is not None and name in given}
            self._arguments["edges"] = kept
        self._leaders: dict[str, WalkRecord] = {}
        self.ended: dict[Slot, WalkRecord] = {}

    def _known_axes(self, group: str, names: tuple[str, ...], edges: Mapping[str, Any]) -> dict[str, Axis | None]:
        """The axes of a group, None for one without edges.

        Raises:
            ValueError: If its problems have different bins.
        """
        first, *others = self._groups[group]
        for i, problem in enumerate(others, 1):
            for name in axis_names(problem, names):
                if problem.observables[name] != first.observables[name]:
                    raise ValueError(
                        f"The problems of group {group!r} should have the same bins on all data sets. Received: "
                        f"{name!r} with {first.observables[name].levels} levels on data set 0 and "
                        f"{problem.observables[name].levels} on data set {i}. Use data sets of one size."
                    )
        return {name: axis_of(first, name, edges) for name in axis_names(first, names)}

    @property
    def slots(self) -> list[Slot]:
        """All walks, data set by data set: work that is stopped then has complete pairs."""
        sets = range(len(next(iter(self._groups.values()))))
        return [(group, data_set) for data_set in sets for group in self._groups]

    def plan(self, pairs: tuple[tuple[str, str], ...]) -> WalkPlan:
        """The plan of all walks."""
        problems = {group: tuple(map(digest_of, members)) for group, members in self._groups.items()}
        settings = identity({**self._arguments, "seed": self._seed, "version of the walk": checkpoint.SCHEMA})
        return WalkPlan(settings=settings, problems=problems, pairs=pairs)

    def problem(self, task: WalkTask) -> Problem:
        """The problem of a walk."""
        return self._groups[task.group][task.data_set]

    def add(self, record: WalkRecord) -> None:
        """Note a walk that has ended."""
        self.ended[record.group, record.data_set] = record
        if self._open[record.group] and record.density is not None:
            self._leaders.setdefault(record.group, record)

    def ready(self, records: WalkRecords, threads: int | None, checkpoints: Path | None) -> list[WalkTask]:
        """The walks that can begin now; those that have finished before are noted.

        Args:
            records: `WalkRecords`.
            threads: Integer, or None. Threads of each walk.
            checkpoints: Path of the folder of checkpoints, or None.

        Raises:
            ValueError: For a record of a walk with other arguments.
        """
        self._find_leaders(records)
        tasks: dict[Slot, WalkTask] = {}
        for slot in self.slots:
            if slot in self.ended or self._waits(slot[0], tasks):
                continue
            task = self._task(slot, threads, checkpoints)
            record = records.get(slot)
            if record is None or record.density is None:
                tasks[slot] = task
            elif record.key != task.key:
                raise walk_folder.damaged(records.path(slot), "its problem or arguments are others")
            else:
                self.add(record)
        return list(tasks.values())

    def _waits(self, group: str, begun: Mapping[Slot, Any]) -> bool:
        """Whether a group has to wait for the walk that finds its edges."""
        return bool(self._open[group]) and group not in self._leaders and any(group == name for name, _ in begun)

    def _find_leaders(self, records: WalkRecords) -> None:
        """Find the walks that have found the edges of their groups, among those that finished before."""
        for slot in self.slots:
            if self._open[slot[0]] and slot[0] not in self._leaders:
                record = records.get(slot)
                if record is not None and record.density is not None and record.key == self._key(slot):
                    self.add(record)

    def _task(self, slot: Slot, threads: int | None, checkpoints: Path | None) -> WalkTask:
        group, data_set = slot
        return WalkTask(
            group=group,
            data_set=data_set,
            key=self._key(slot),
            arguments=self._arguments_of(slot),
            threads=threads,
            checkpoints=checkpoints,
        )

    def _key(self, slot: Slot) -> str:
        return key_of(self._groups[slot[0]][slot[1]], self._arguments_of(slot))

    def _arguments_of(self, slot: Slot) -> dict[str, Any]:
        group, data_set = slot
        arguments = {**self._arguments, "seed": self._seed + data_set}
        leader = self._leaders.get(group)
        if leader is not None and leader.data_set != data_set:
            assert leader.density is not None
            found = {axis.name: axis.edges.tolist() for axis in leader.density.axes if axis.name in self._open[group]}
            arguments["edges"] = {**(self._arguments["edges"] or {}), **found}
        return arguments
