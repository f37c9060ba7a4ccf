"""A study: the same training for several arms and seeds, recorded run by run."""

from __future__ import annotations

import inspect
import os
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from keras_entropy import _backend, _checks, _optional
from keras_entropy.runs.identity import identity
from keras_entropy.study import folder, machine, plan, pool, records
from keras_entropy.study.arms import OWN_AXES, Arm, axes
from keras_entropy.study.plan import Values
from keras_entropy.study.progress import Progress
from keras_entropy.study.records import RunRecord, direction
from keras_entropy.study.single_run import Job, Task, check_data


class Study:
    """Arms times seeds, and times a grid if there is one, trained from the same weights in the same order.

    The same seed gives the same initial weights, the same order of the data and the same dropout masks in every arm,
    so that arms are compared by pairs. Where values are to be chosen, such as a factor or a learning rate, they are
    chosen for each arm by itself on `tune_seeds`; only the runs of `seeds` are compared.

    Args:
        build: a function of the axes and of an arm's arguments that returns a compiled, built Keras model.
        arms: `Arm`s with different names.
        seeds: of the runs that are compared.
        data: (x_train, y_train, x_val, y_val), or a function that returns them, which may take `seed`. A function is
            called once a run and better for large data.
        output: folder of the records, which makes the study resumable; None keeps them in memory only.
        grid: axes, name to values, of which every combination is reported, such as widths.
        tune: axes of which `tune_seeds` choose a combination, by arm and point of the grid. The axes "factor" and
            "placement" are the arm's own; all others are arguments of `build`.
        tune_seeds: of the runs that choose.
        epochs: the limit.
        batch_size: samples per step.
        metric: by which values are chosen and, by default, arms are compared; at the last epoch.
        lower_is_better: its direction; None where its name says it, as of a loss or an accuracy.
        baseline: name of the arm that the others are compared with. Defaults to the first.
        patience: epochs without improvement after which a run stops; None trains to the limit.
        monitor: what early stopping watches. The default is the loss without any penalty.
        monitor_mode: "min" or "max"; None where the name of `monitor` says it.
        min_delta: smallest change that counts as an improvement.
        measure: of the entropies that are logged, as of `EntropyLogger`.
        callbacks: a function without arguments that returns further callbacks for a run.

    Raises:
        TypeError: for arguments of another kind.
        ValueError: for arms, axes or seeds that do not fit together.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.study import Arm, Study
        >>> def build(width=3):
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dense(4)])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(32, 4))
        >>> arms = [Arm("none"), Arm("volume", "first", DenseEntropy(1e-3))]
        >>> study = Study(build, arms, seeds=range(3), data=(x, x, x, x), grid={"width": [2, 3]}, epochs=1)
        >>> len(study.run(workers=1))
        12
    """

    def __init__(
        self,
        build: Callable[..., Any],
        arms: Iterable[Arm],
        seeds: Iterable[int],
        *,
        data: Any,
        output: str | os.PathLike[str] | None = None,
        grid: Mapping[str, Iterable[Any]] | None = None,
        tune: Mapping[str, Iterable[Any]] | None = None,
        tune_seeds: Iterable[int] = (),
        epochs: int = 10,
        batch_size: int = 32,
        metric: str = "val_task_loss",
        lower_is_better: bool | None = None,
        baseline: str | None = None,
        patience: int | None = None,
        monitor: str = "val_task_loss",
        monitor_mode: str | None = None,
        min_delta: float = 0.0,
        measure: str | None = None,
        callbacks: Callable[[], list[Any]] | None = None,
    ) -> None:
        for name, function in (("build", build), *([("callbacks", callbacks)] if callbacks else [])):
            if not callable(function):
                raise TypeError(_checks.message(name, "a function", function))
        if not callable(data) and (isinstance(data, str | bytes | Mapping) or not isinstance(data, Sequence)):
            raise TypeError(_checks.message("data", "(x_train, y_train, x_val, y_val) or a function", type(data)))
        if not callable(data):
            check_data(data)
        self.arms = tuple(arms)
        _check_arms(self.arms)
        self.seeds = _checks.seeds("seeds", seeds)
        if not self.seeds:
            raise ValueError(_checks.message("seeds", "at least one seed", seeds))
        self.tune_seeds = _checks.seeds("tune_seeds", tune_seeds)
        both = sorted(set(self.seeds) & set(self.tune_seeds))
        if both:
            raise ValueError(
                f"`tune_seeds` and `seeds` should have no seed in common: values chosen on a seed look better on it "
                f"than they are. Received in both: {', '.join(map(str, both))}."
            )
        self.grid, self.tune = plan_axes(grid, tune)
        self.build, self.data = build, data
        self.output = None if output is None else Path(output)
        self.epochs = _checks.positive_integer("epochs", epochs)
        self.batch_size = _checks.positive_integer("batch_size", batch_size)
        self.metric = metric
        self.lower_is_better = direction(metric, lower_is_better)
        self.baseline = self.arms[0].name if baseline is None else baseline
        _checks.one_of("baseline", self.baseline, [arm.name for arm in self.arms])
        self.patience = None if patience is None else _checks.positive_integer("patience", patience)
        self.monitor = monitor
        if monitor_mode is None:
            lower = self.lower_is_better if monitor == metric else direction(monitor, None, "monitor_mode")
            monitor_mode = "min" if lower else "max"
        self.monitor_mode = _checks.one_of("monitor_mode", monitor_mode, ("min", "max"))
        self.min_delta = _checks.non_negative("min_delta", min_delta)
        self.measure = measure
        self.callbacks = callbacks
        penalised = [arm.name for arm in self.arms if arm.has_term]
        if patience is not None and monitor in ("loss", "val_loss") and penalised:
            warnings.warn(
                f"Early stopping watches {monitor!r}, which holds the penalty in {', '.join(penalised)}: it "
                "may stop them for what the penalty does. The task alone is 'val_task_loss'.",
                _checks.EntropyWarning,
                stacklevel=2,
            )
        for arm in self.arms:
            self._check_axes(arm)

    def points(self, arm: Arm) -> list[Values]:
        """The points of the grid that an arm is reported at."""
        return plan.combinations(plan.own_axes(arm, self.grid, arm.grid))

    def candidates(self, arm: Arm) -> list[Values]:
        """The values among which the tuning seeds choose for an arm."""
        return plan.combinations(plan.own_axes(arm, self.tune, arm.tune))

    def describe(self) -> dict[str, Any]:
        """All that determines the study, as it stands in `study.json` in the output folder."""
        return {
            "schema": folder.SCHEMA,
            "arms": [
                {
                    **arm.describe(),
                    "grid": plan.own_axes(arm, self.grid, arm.grid),
                    "tune": plan.own_axes(arm, self.tune, arm.tune),
                }
                for arm in self.arms
            ],
            "seeds": self.seeds,
            "tune_seeds": self.tune_seeds,
            "grid": self.grid,
            "tune": self.tune,
            "baseline": self.baseline,
            "metric": self.metric,
            "lower_is_better": self.lower_is_better,
            "epochs": self.epochs,
            "batch_size": self.batch_size,
            "patience": self.patience,
            "monitor": None if self.patience is None else self.monitor,
            "monitor_mode": self.monitor_mode,
            "min_delta": self.min_delta,
            "measure": self.measure,
            "build": identity(self.build),
            "data": identity(self.data),
            "callbacks": identity(self.callbacks),
            "backend": machine.versions()["backend"],
            "settings": machine.keras_settings(),
        }

    def run(
        self,
        executor: Executor | None = None,
        *,
        workers: int | None = None,
        replicas: int = 1,
        retry_failed: bool = False,
        progress: bool = True,
    ) -> list[RunRecord]:
        """Train every run that is not recorded yet, and return the records of all.

        By default the runs go to a pool of processes of one thread each. A run has the same bits there, whatever else
        runs and however many processes there are. Killed at any moment and called again, the study goes on: what had
        ended is kept, what had not is trained again.

        Args:
            executor: a `concurrent.futures.Executor` to train on instead, such as Dask's `Client.get_executor()`. Its
                workers should be processes that run one task at a time, started with the variables of `environment()`.
            workers: processes of the pool. Defaults to the number of cores that this process may use.
            replicas: on JAX, up to so many runs of one arm and architecture share one compiled program, which an
                accelerator runs for all of them at once and a processor for one after the other.
            retry_failed: train runs again that diverged, failed or died.
            progress: False for no table.

        Returns:
            The records of the study in the order of its seeds and arms, those of the tuning seeds first, and the
            baseline before its rivals.

        Raises:
            ValueError: where the output folder holds another study; the message names what differs.
            BlockingIOError: where another process works on the folder.
            JobError: where the processes cannot read the study, or the executor is broken.
        """
        if executor is not None and not isinstance(executor, Executor):
            raise TypeError(_checks.message("executor", "a concurrent.futures.Executor or None", executor))
        if isinstance(executor, ThreadPoolExecutor) and executor._max_workers > 1:
            raise ValueError(
                "`executor` should run its tasks in processes: Keras's random numbers belong to a process, and threads "
                "would share them. Received: a ThreadPoolExecutor of several threads."
            )
        if executor is not None and workers is not None:
            raise ValueError("Give `workers` or `executor`, not both: an executor has its own.")
        workers = _cores() if workers is None else _checks.positive_integer("workers", workers)
        replicas = _checks.positive_integer("replicas", replicas)
        if replicas > 1 and not _backend.framework().transforms_functions:
            raise ValueError(f"`replicas`={replicas} needs the JAX backend. Set KERAS_BACKEND=jax, or use replicas=1.")
        payload = pool.packed(self._job())
        names = [arm.name for arm in self.arms]
        with folder.opened(self.output, self.describe()) as ended, Progress(names, progress) as table:

            def add(new: list[RunRecord]) -> None:
                if self.output is not None:
                    records.append(self.output / records.RUNS, new)
                ended.update((record.key, record) for record in new)
                table.ended(new)

            def complete(title: str, tasks: list[Task]) -> None:
                kept = {t.key: ended[t.key] for t in tasks if t.key in ended and (ended[t.key].ok or not retry_failed)}
                left = [task for task in tasks if task.key not in kept]
                table.begin(title, kept.values(), left)
                if executor is not None:
                    pool.run_on_executor(payload, _batches(left, replicas), executor, add)
                elif left:
                    batches = _batches(left, min(replicas, -(-len(left) // workers)))  # no worker is to stand idle
                    log = None if self.output is None else self.output / folder.LOG
                    pool.run_in_pool(payload, batches, min(workers, len(batches)), add, log)

            complete("Choosing values", self._tuning())
            chosen, without = self._reporting(ended.values())
            complete("Comparing", chosen)
            add([record for record in without if record.key not in ended])
            keys = [task.key for task in self._tuning() + chosen] + [record.key for record in without]
            found = [ended[key] for key in keys]
        failed = [record for record in found if not record.ok]
        if failed:
            warnings.warn(
                f"{len(failed)} of {len(found)} runs did not finish. The first is arm {failed[0].arm!r}, seed "
                f"{failed[0].seed}: {failed[0].status}, {failed[0].reason}. Reports count them; "
                "`run(retry_failed=True)` trains them again.",
                _checks.EntropyWarning,
                stacklevel=2,
            )
        return found

    def _job(self) -> Job:
        return Job(
            build=self.build,
            data=self.data,
            arms={arm.name: arm for arm in self.arms},
            epochs=self.epochs,
            batch_size=self.batch_size,
            monitor=self.monitor,
            monitor_mode=self.monitor_mode,
            patience=self.patience,
            min_delta=self.min_delta,
            measure=self.measure,
            callbacks=self.callbacks,
        )

    @property
    def _ordered(self) -> list[Arm]:
        """The arms, the baseline first: `compare` takes the first one that it meets."""
        return sorted(self.arms, key=lambda arm: arm.name != self.baseline)

    def _tuning(self) -> list[Task]:
        """Seed by seed, so that a study that is stopped has whole pairs."""
        return [
            Task(arm.name, seed, "tune", point, candidate)
            for seed in self.tune_seeds
            for arm in self._ordered
            if len(self.candidates(arm)) > 1
            for point in self.points(arm)
            for candidate in self.candidates(arm)
        ]

    def _reporting(self, ended: Iterable[RunRecord]) -> tuple[list[Task], list[RunRecord]]:
        """The runs to compare, at the chosen values; and failures where no value could be chosen."""
        tuned = [record for record in ended if record.role == "tune"]
        places = [(arm, point, self._choice(arm, point, tuned)) for arm in self._ordered for point in self.points(arm)]
        found: list[Task] = []
        without: list[RunRecord] = []
        for seed in self.seeds:
            for arm, point, choice in places:
                if choice is not None:
                    found.append(Task(arm.name, seed, "report", point, choice))
                else:
                    task = Task(arm.name, seed, "report", point, {})
                    reason = f"no value of {', '.join(self.candidates(arm)[0])} finished on all tuning seeds"
                    without.append(task.record(status="failed", reason=reason))
        return found, without

    def _choice(self, arm: Arm, point: Values, tuned: Iterable[RunRecord]) -> Values | None:
        candidates = self.candidates(arm)
        if len(candidates) == 1:
            return candidates[0]
        runs = [record for record in tuned if record.arm == arm.name and record.point == point]
        return plan.choose(runs, candidates, self.metric, self.lower_is_better)

    def _check_axes(self, arm: Arm) -> None:
        for axis in arm.arguments.keys() & self.grid.keys():
            raise ValueError(f"Arm {arm.name!r} fixes {axis!r}, which is an axis of the study's `grid`.")
        grid, tune = plan.own_axes(arm, self.grid, arm.grid), plan.own_axes(arm, self.tune, arm.tune)
        for axis in sorted(grid.keys() & tune.keys()):
            raise ValueError(f"Arm {arm.name!r} has the axis {axis!r} both reported and tuned. Choose one.")
        for axis in sorted(arm.arguments.keys() & set(OWN_AXES)):
            raise ValueError(f"Arm {arm.name!r}: {axis!r} is no argument of the build function.")
        if arm.takes_factor and "factor" not in {**grid, **tune}:
            raise ValueError(
                f"Arm {arm.name!r} makes its regularizer from a factor, but there is no axis 'factor'. Give a "
                "regularizer with its factor, such as DenseEntropy(1e-3), or add the axis to `tune` or `grid`."
            )
        names = ({*grid, *tune} - set(OWN_AXES)) | arm.arguments.keys()
        try:
            inspect.signature(self.build).bind_partial(**dict.fromkeys(names))
        except TypeError as error:
            raise TypeError(
                f"Arm {arm.name!r}: `build` takes other arguments than its axes and arguments: {error}."
            ) from error
        if len(self.candidates(arm)) > 1 and not self.tune_seeds:
            raise ValueError(
                f"Arm {arm.name!r} has several values to choose from, but there are no `tune_seeds` to choose on. Give "
                "seeds other than `seeds`."
            )


def plan_axes(
    grid: Mapping[str, Iterable[Any]] | None, tune: Mapping[str, Iterable[Any]] | None
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    """The axes of a study, checked."""
    reported, tuned = axes("grid", grid), axes("tune", tune)
    for axis in sorted(reported.keys() & tuned.keys()):
        raise ValueError(f"{axis!r} stands both in `grid` and in `tune`. Leave one of them out.")
    return reported, tuned


def _check_arms(arms: Sequence[Arm]) -> None:
    if not arms:
        raise ValueError(_checks.message("arms", "at least one arm", arms))
    for arm in arms:
        if not isinstance(arm, Arm):
            raise TypeError(_checks.message("arms", "Arms", arm))
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`arms` should have different names. Received more than once: {', '.join(twice)}.")


def _cores() -> int:
    return int(_optional.require("loky", extra="study").cpu_count())


def _batches(tasks: list[Task], replicas: int) -> list[pool.Batch]:
    if replicas <= 1:
        return [[task] for task in tasks]
    from keras_entropy.study import replicas as together

    return together.grouped(tasks, replicas)
