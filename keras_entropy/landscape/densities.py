"""The density of states of many problems: groups of networks, each on the same data sets, in several processes."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import Executor
from typing import Any

from keras_entropy import _checks, _files
from keras_entropy.landscape import walk_folder
from keras_entropy.landscape.densities_result import DensitiesOfStates
from keras_entropy.landscape.problems.problem import Problem
from keras_entropy.landscape.walk import WalkRecord, WalkTask, measure
from keras_entropy.landscape.walk_folder import CHECKPOINTS, LOG
from keras_entropy.landscape.walk_queue import Groups, WalkQueue
from keras_entropy.runs import execution, machine
from keras_entropy.runs.pool import ProcessPool, packed
from keras_entropy.runs.progress import Progress as Table


def densities_of_states(
    problems: Mapping[str, Iterable[Problem]] | Iterable[Problem],
    axes: Iterable[str] = ("train_accuracy",),
    moves: float = 1e8,
    seed: int = 0,
    *,
    pairs: Iterable[tuple[str, str]] | None = None,
    folder: str | os.PathLike[str] | None = None,
    executor: Executor | None = None,
    workers: int | None = None,
    threads: int | None = None,
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> DensitiesOfStates:
    """Estimate the density of states of many problems: networks in groups, each on the same data sets.

    The result has averages over the data sets, and differences between groups that are paired by data set. By default,
    the walks go to a pool of processes. A walk of a problem with compiled moves is bit-identical there, on an executor
    and in this process. With a folder, the function can be killed at any time: when it is called again, finished walks
    are kept, and a walk that was killed resumes from its checkpoint. A walk that fails is named in the result; the next
    call with the folder tries it again.

    Args:
        problems: Mapping from names of groups, such as `"3x6"`, to lists of `Problem`s, all of the same length: the
            problem with index i is that of data set i. A list of problems is one group.
        axes: One or two names of observables. Defaults to `("train_accuracy",)`. If an axis needs edges and has none,
            such as a loss with `target_loss`, the first walk of a group finds them for the whole group.
        moves: Float. Number of moves of each walk. Defaults to 1e8.
        seed: Integer. The walk on data set i has the seed `seed + i`. Defaults to 0.
        pairs: Pairs of names of groups to compare, such as `("3x6", "4x6")` for the difference 4x6 minus 3x6. Defaults
            to None: the first group with each other one.
        folder: Path of a folder for the records. Defaults to None: the records stay in memory.
        executor: A `concurrent.futures.Executor` to walk on, such as Dask's `Client.get_executor()`. Its workers should
            be processes that run one task at a time. Defaults to None: the pool.
        workers: Integer. Number of processes of the pool. Defaults to None: the number of available cores.
        threads: Integer. Number of threads of each walk with compiled moves. Defaults to None: the number of cores
            divided by `workers`, and 1 with an `executor`.
        overwrite: Boolean. Whether to delete earlier walks in the folder. Defaults to False.
        progress: Boolean. False for no progress table. Defaults to True.
        **options: Further arguments of `density_of_states` for all walks, such as `edges` or `target_loss`.

    Returns:
        `DensitiesOfStates`.

    Raises:
        TypeError, ValueError: For invalid arguments, and for a folder that has other walks or a damaged record.
        BlockingIOError: If another process works on the folder.
        JobError: If the processes cannot read a problem, or the executor is broken.
        RuntimeError: If no walk finishes.

    Examples:
        >>> from concurrent.futures import ThreadPoolExecutor
        >>> from keras_entropy.landscape import ball_problem, densities_of_states
        >>> balls = {"d=5": [ball_problem(5)] * 3, "d=6": [ball_problem(6)] * 3}
        >>> edges = {"energy": [0.0, 0.5, 1.0, 6.0]}
        >>> with ThreadPoolExecutor(1) as here:  # in this process
        ...     found = densities_of_states(balls, "energy", 1e5, edges=edges, executor=here, progress=False)
        >>> [(group.name, group.walks) for group in found.groups()]
        [('d=5', 3), ('d=6', 3)]
    """
    groups = _groups(problems)
    execution.check_executor(executor, workers)
    _checks.flag("overwrite", overwrite)
    threads = None if threads is None else _checks.positive_integer("threads", threads)
    queue = WalkQueue(groups, axes, moves, seed, options)
    plan = queue.plan(_pairs(pairs, groups))
    path = None if folder is None else _files.local(folder, "folder")
    count = workers or _cores()
    if threads is None:
        threads = max(1, _cores() // count) if executor is None else 1
    checkpoints = None if path is None else (path / CHECKPOINTS).absolute()
    log = None if path is None else path / LOG
    with (
        walk_folder.opened(path, plan, overwrite=overwrite) as records,
        Table(groups, progress, "walk") as table,
        ProcessPool(count, log=log) if executor is None else contextlib.nullcontext(executor) as used,
    ):

        def add(record: WalkRecord) -> None:
            records.add(record)
            queue.add(record)
            if checkpoints is not None and record.density is not None:
                (checkpoints / f"{record.key}.state").unlink(missing_ok=True)
            table.ended(record.group, record.density is not None, f"{record.group}, data set {record.data_set}")

        tasks = queue.ready(records, threads, checkpoints)
        left = Counter(group for group, data_set in queue.slots if (group, data_set) not in queue.ended)
        table.begin("Walks", left, [(group, True) for group, _ in queue.ended])
        while tasks:
            jobs = [(task, (_payload(queue.problem(task)), task)) for task in tasks]
            execution.run_all(used, measure, jobs, _died, add)
            tasks = queue.ready(records, threads, checkpoints)
    result = DensitiesOfStates.of_records({slot: queue.ended[slot] for slot in queue.slots}, plan.pairs)
    failed = result.failures
    if failed:
        warnings.warn(
            f"{len(failed)} of {len(queue.slots)} walks did not finish. The first is {failed[0]} Averages leave them "
            "out; call the function again to try them again.",
            _checks.EntropyWarning,
            stacklevel=2,
        )
    return result


def _died(task: WalkTask, reason: str) -> WalkRecord:
    return task.record(status="died", reason=reason)


def _payload(problem: Problem) -> bytes:
    """A problem for another process, with the settings of Keras that it does not inherit."""
    return packed((problem, machine.keras_settings()), "problems")


def _groups(problems: Any) -> Groups:
    """The problems by group.

    Raises:
        TypeError, ValueError: For anything but groups of problems, one for each data set.
    """
    expected = "a list of Problems, or a mapping from names of groups to such lists"
    if isinstance(problems, Problem | str) or not isinstance(problems, Iterable):
        raise TypeError(_checks.message("problems", expected, problems))
    given = problems if isinstance(problems, Mapping) else {"all": problems}
    groups: dict[str, tuple[Problem, ...]] = {}
    for group, members in given.items():
        if not isinstance(group, str) or isinstance(members, Problem | str) or not isinstance(members, Iterable):
            raise TypeError(_checks.message("problems", expected, {group: members}))
        groups[group] = tuple(members)
        if not all(isinstance(problem, Problem) for problem in groups[group]):
            raise TypeError(_checks.message("problems", expected, groups[group]))
    counts = sorted({len(members) for members in groups.values()})
    if len(counts) != 1 or not counts[0]:
        raise ValueError(
            "`problems` should have as many problems in each group, one for each data set, and at least one. Received: "
            f"{', '.join(f'{len(members)} in {group!r}' for group, members in groups.items()) or 'no group'}."
        )
    return groups


def _pairs(pairs: Any, groups: Groups) -> tuple[tuple[str, str], ...]:
    if pairs is None:
        first, *others = groups
        return tuple((first, other) for other in others)
    found = []
    for pair in pairs:
        if isinstance(pair, str) or len(tuple(pair)) != 2:
            raise ValueError(_checks.message("pairs", "pairs of names of groups", pair))
        before, after = (_checks.one_of("pairs", name, tuple(groups)) for name in pair)
        found.append((before, after))
    return tuple(found)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
