"""A study: the same training for several arms and seeds."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from keras_entropy import _checks, _files, _optional
from keras_entropy.runs import execution, machine
from keras_entropy.runs.identity import identity
from keras_entropy.runs.pool import ProcessPool, packed
from keras_entropy.runs.progress import Progress
from keras_entropy.runs.records import RunRecord
from keras_entropy.runs.training import refuse_model
from keras_entropy.study import arm_trial, axes, folder, report_files, work
from keras_entropy.study.arms import Arm
from keras_entropy.study.axes import OWN_AXES, Values, checked_axes
from keras_entropy.study.metrics import direction
from keras_entropy.study.run_data import check_data
from keras_entropy.study.single_run import Job, Task
from keras_entropy.study.study_plan import plan_of
from keras_entropy.study.study_result import StudyResult


class Study:
    """A replicated study: every arm is trained for every seed, at every point of a grid if there is one.

    A seed gives the same initial weights, data order and dropout masks in every arm, so the arms are compared in pairs.
    Values such as a factor or a learning rate can be tuned: `tune_seeds` choose them for each arm separately, and only
    the runs of `seeds` are compared.

    Args:
        build: Function of the axes and of an arm's arguments that returns a compiled, built Keras model.
        arms: Iterable of `Arm` with different names.
        seeds: Iterable of integers. Seeds of the compared runs.
        data: Tuple (x_train, y_train, x_val, y_val); or a function that returns it, which may take `seed`. The function
            is called once per run, and once before all runs; use one for large data.
        output: Path of the folder for the records, which makes the study resumable. Defaults to None: the records stay
            in memory.
        grid: Dict of axes to values, such as widths; every combination is compared. Defaults to None.
        tune: Dict of axes to values; `tune_seeds` choose one combination for each arm and grid point. The axes "factor"
            and "placement" belong to the arm; all others are arguments of `build`. Defaults to None.
        tune_seeds: Iterable of integers. Seeds of the tuning runs. Defaults to none.
        epochs: Integer. Largest number of epochs. Defaults to 10.
        batch_size: Integer. Defaults to 32.
        metric: String. The metric that chooses values and that arms are compared by, at the last epoch. Defaults to
            `"val_task_loss"`.
        lower_is_better: Boolean. True for a loss. Defaults to None: what the name of the metric says.
        baseline: String. Name of the arm that the others are compared with. Defaults to None: the first arm.
        patience: Integer. Number of epochs without improvement after which a run stops. Defaults to None: no early
            stopping.
        monitor: String. The quantity that early stopping monitors. Defaults to `"val_task_loss"`, the validation loss
            without any penalty.
        monitor_mode: `"min"` or `"max"`. Defaults to None: what the name of `monitor` says.
        min_delta: Float. Smallest change that counts as an improvement. Defaults to 0.
        measure: String. Measure of the entropies that are logged, as for `EntropyLogger`. Defaults to
            `"log_volume"`.
        callbacks: Function without arguments that returns further callbacks for a run. Defaults to None.

    Raises:
        TypeError: If an argument has the wrong type.
        ValueError: If arms, axes or seeds do not fit together.

    Examples:
        >>> import keras, numpy as np
        >>> from keras_entropy import DenseEntropy
        >>> from keras_entropy.study import Arm, Study
        >>> def build(width=3):
        ...     model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(width), keras.layers.Dense(4)])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> x = np.random.default_rng(0).normal(size=(32, 4))
        >>> arms = [Arm("baseline"), Arm("volume", "first", DenseEntropy(1e-3))]
        >>> study = Study(build, arms, seeds=range(2), data=(x, x, x, x), epochs=1)
        >>> [len(study.points(arm)) * len(study.seeds) for arm in arms]
        [2, 2]
        >>> print(study.run().compare())  # doctest: +SKIP
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
        measure: str = "log_volume",
        callbacks: Callable[[], list[Any]] | None = None,
    ) -> None:
        for name, function in (("build", build), *([("callbacks", callbacks)] if callbacks else [])):
            if not callable(function):
                raise TypeError(_checks.message(name, "a function", function))
        refuse_model(build)
        if not callable(data) and (isinstance(data, str | bytes | Mapping) or not isinstance(data, Sequence)):
            raise TypeError(_checks.message("data", "(x_train, y_train, x_val, y_val) or a function", data))
        if not callable(data):
            check_data(data)
        if isinstance(arms, str) or not isinstance(arms, Iterable):
            raise TypeError(_checks.message("arms", "a list of Arms", arms, "Write one arm as a list too: [arm]."))
        self.arms = tuple(arms)
        _check_arms(self.arms)
        self.seeds = _checks.seeds("seeds", seeds)
        if not self.seeds:
            raise ValueError(_checks.message("seeds", "at least one seed", seeds))
        self.tune_seeds = _checks.seeds("tune_seeds", tune_seeds)
        both = sorted(set(self.seeds) & set(self.tune_seeds))
        if both:
            raise ValueError(
                f"`tune_seeds` and `seeds` should have no seed in common: tuned values look too good on the seeds that "
                f"chose them. Received in both: {', '.join(map(str, both))}."
            )
        self.grid, self.tune = _study_axes(grid, tune)
        self.build, self.data = build, data
        self.output = None if output is None else _files.local(output, "output")
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
                f"Early stopping monitors {monitor!r}, which includes the penalty in {', '.join(penalised)}: the "
                "penalty may decide when these runs stop. Use monitor='val_task_loss' for the loss without penalties.",
                _checks.EntropyWarning,
                stacklevel=2,
            )
        for arm in self.arms:
            self._check_axes(arm)

    def points(self, arm: Arm) -> list[Values]:
        """The grid points of an arm."""
        return axes.combinations(arm.own_axes(self.grid, arm.grid))

    def candidates(self, arm: Arm) -> list[Values]:
        """The combinations from which the tuning seeds choose for an arm."""
        return axes.combinations(arm.own_axes(self.tune, arm.tune))

    def describe(self) -> dict[str, Any]:
        """Everything that determines the results of the study: the content of `study.json` in its folder."""
        return {
            "arms": [
                {
                    **arm.describe(),
                    "grid": arm.own_axes(self.grid, arm.grid),
                    "tune": arm.own_axes(self.tune, arm.tune),
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
        retry_failed: bool = False,
        overwrite: bool = False,
        progress: bool = True,
    ) -> StudyResult:
        """Train every run that has no record yet.

        By default, the runs go to a pool of processes with one thread each. A run is bit-identical there, whatever else
        runs and however many processes there are. A study with an output folder can be killed at any time: when it is
        run again, finished runs are kept, and the others are trained.

        Args:
            executor: A `concurrent.futures.Executor` to train on, such as Dask's `Client.get_executor()`. Its workers
                should be processes that run one task at a time, started with the variables of `environment()`.
                Defaults to None: the pool.
            workers: Integer. Number of processes of the pool. Defaults to None: the number of available cores.
            retry_failed: Boolean. True trains runs again that diverged, failed or died. Defaults to False.
            overwrite: Boolean. Whether to delete an earlier study in the output folder. Defaults to False.
            progress: Boolean. False for no progress table. Defaults to True.

        Returns:
            `StudyResult`. Its records are in the order of the seeds and arms: tuning seeds first, and the baseline
            before the other arms.

        Raises:
            ValueError: If the output folder has another study, and the message says what differs; or if an arm can have
                no run, such as for a placement that fits no layer. Nothing is trained then.
            BlockingIOError: If another process works on the folder.
            JobError: If the processes cannot read the study, if the executor is broken, or if the first run does not
                log `metric`, or with `patience` the `monitor`.
        """
        execution.check_executor(executor, workers)
        _checks.flag("overwrite", overwrite)
        described = self.describe()
        job = self._job(described)
        payload = packed(job, "study")
        names = [arm.name for arm in self.arms]
        log = None if self.output is None else self.output / folder.LOG
        with (
            folder.locked(self.output, described, overwrite=overwrite) as begun,
            ProcessPool(workers or _cores(), log=log) if executor is None else contextlib.nullcontext(executor) as used,
        ):
            arm_trial.check(payload, self._values(without=begun), used, self.seeds[0] if callable(self.data) else None)
            with (
                folder.recorded(self.output, described, job.key, overwrite=overwrite) as ended,
                Progress(names, progress) as table,
            ):
                if overwrite and self.output is not None:
                    report_files.clear(self.output / "report")

                def add(record: RunRecord) -> None:
                    ended.add(dataclasses.replace(record, key=job.key(record)))
                    checkpoint = job.checkpoint(record)
                    if checkpoint is not None:
                        checkpoint.unlink(missing_ok=True)
                    table.ended(record.arm, record.ok, f"arm {record.arm}, seed {record.seed}")

                def complete(title: str, tasks: list[Task]) -> None:
                    kept = [r for r in (ended.get(task.slot) for task in tasks) if r and (r.ok or not retry_failed)]
                    left = [task for task in tasks if task.slot not in {record.slot for record in kept}]
                    table.begin(title, Counter(task.arm for task in left), [(r.arm, r.ok) for r in kept])
                    if left:
                        work.train(payload, left, used, add)

                complete("Choosing values", self._tuning())
                chosen, without = self._reporting(ended.all())
                complete("Comparing", chosen)
                for record in without:
                    if record.slot not in ended:
                        add(record)
                slots = [task.slot for task in self._tuning() + chosen] + [record.slot for record in without]
                found = tuple(ended[slot] for slot in slots)
        result = StudyResult(records=found, plan=plan_of(described), folder=self.output)
        failed = result.failed
        if failed:
            warnings.warn(
                f"{len(failed)} of {len(found)} runs did not finish. The first is arm {failed[0].arm!r}, seed "
                f"{failed[0].seed}: {failed[0].status}, {failed[0].reason}. Comparisons leave them out; "
                "`run(retry_failed=True)` trains them again.",
                _checks.EntropyWarning,
                stacklevel=2,
            )
        return result

    def _values(self, without: Iterable[str]) -> dict[str, list[Values]]:
        """The values of the runs by arm, without the arms of these names."""
        return {
            arm.name: [{**point, **candidate} for point in self.points(arm) for candidate in self.candidates(arm)]
            for arm in self.arms
            if arm.name not in without
        }

    def _job(self, description: Mapping[str, Any] | None = None) -> Job:
        described = self.describe() if description is None else description
        return Job(
            build=self.build,
            data=self.data,
            arms={arm.name: arm for arm in self.arms},
            epochs=self.epochs,
            batch_size=self.batch_size,
            metric=self.metric,
            monitor=self.monitor,
            monitor_mode=self.monitor_mode,
            patience=self.patience,
            min_delta=self.min_delta,
            measure=self.measure,
            callbacks=self.callbacks,
            identity=folder.identity_of_runs(described),
            checkpoints=None if self.output is None else (self.output / folder.CHECKPOINTS).absolute(),
        )

    @property
    def _ordered(self) -> list[Arm]:
        """The arms, the baseline first: `compare` takes the first arm as the baseline."""
        return sorted(self.arms, key=lambda arm: arm.name != self.baseline)

    def _tuning(self) -> list[Task]:
        """The tuning runs, seed by seed: a study that is stopped then has complete pairs."""
        return [
            Task(arm.name, seed, "tune", point, candidate)
            for seed in self.tune_seeds
            for arm in self._ordered
            if len(self.candidates(arm)) > 1
            for point in self.points(arm)
            for candidate in self.candidates(arm)
        ]

    def _reporting(self, ended: Iterable[RunRecord]) -> tuple[list[Task], list[RunRecord]]:
        """The runs to compare, at the chosen values; and records of failures where no values could be chosen."""
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
        return axes.choose(runs, candidates, self.metric, self.lower_is_better)

    def _check_axes(self, arm: Arm) -> None:
        for axis in arm.arguments.keys() & self.grid.keys():
            raise ValueError(
                f"Arm {arm.name!r} sets {axis!r}, which is an axis of the study's `grid`. Remove it from one of them."
            )
        grid, tune = arm.own_axes(self.grid, arm.grid), arm.own_axes(self.tune, arm.tune)
        for axis in sorted(grid.keys() & tune.keys()):
            raise ValueError(f"Arm {arm.name!r} has the axis {axis!r} both in a grid and tuned. Choose one.")
        for axis in sorted(arm.arguments.keys() & set(OWN_AXES)):
            raise ValueError(f"Arm {arm.name!r}: {axis!r} cannot be an argument of the build function.")
        names = ({*grid, *tune} - set(OWN_AXES)) | arm.arguments.keys()
        try:
            inspect.signature(self.build).bind_partial(**dict.fromkeys(names))
        except TypeError as error:
            raise TypeError(
                f"Arm {arm.name!r}: `build` should take the axes and arguments of the arm: {error}. Arguments of "
                f"`build`: {', '.join(inspect.signature(self.build).parameters) or 'none'}. Axes of the arm itself: "
                f"{', '.join(OWN_AXES)}."
            ) from error
        if arm.takes_factor and "factor" not in {**grid, **tune}:
            raise ValueError(
                f"Arm {arm.name!r} needs a factor for its regularizer, but there is no axis 'factor'. Give a "
                "regularizer with its factor, such as DenseEntropy(1e-3), or add the axis to `tune` or `grid`."
            )
        if len(self.candidates(arm)) > 1 and not self.tune_seeds:
            raise ValueError(
                f"Arm {arm.name!r} has several values to choose from, which needs `tune_seeds`. Give seeds that are "
                "not in `seeds`."
            )


def _study_axes(
    grid: Mapping[str, Iterable[Any]] | None, tune: Mapping[str, Iterable[Any]] | None
) -> tuple[dict[str, list[Any]], dict[str, list[Any]]]:
    compared, tuned = checked_axes("grid", grid), checked_axes("tune", tune)
    for axis in sorted(compared.keys() & tuned.keys()):
        raise ValueError(f"The axis {axis!r} is both in `grid` and in `tune`. Remove it from one of them.")
    return compared, tuned


def _check_arms(arms: Sequence[Arm]) -> None:
    if not arms:
        raise ValueError(_checks.message("arms", "at least one arm", arms))
    for arm in arms:
        if not isinstance(arm, Arm):
            raise TypeError(_checks.message("arms", "Arms", arm))
    names = [arm.name for arm in arms]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"`arms` should have different names. Received more than once: {', '.join(map(repr, twice))}.")


def _cores() -> int:
    return int(_optional.require("loky", extra="study").cpu_count())
