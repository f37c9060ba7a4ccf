"""KerasTuner's oracles with one atomic state file, from which a killed search resumes with the same values."""

from __future__ import annotations

import contextlib
import json
import math
import re
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_tuner
from keras_tuner.engine.trial import Trial

from keras_entropy import _checks, _files, _sealed
from keras_entropy.tuning import _keras_tuner

SCHEMA = "keras-entropy/oracle/2"
STATE = "oracle.json"


class DurableOracle(_keras_tuner.OracleBase):
    """The common base of the four oracles.

    KerasTuner writes the state of a search to several files, in place, in the middle of a change. This oracle writes
    each change at once to one file: `oracle.json` contains the oracle and all trials, with a checksum. The `trial.json`
    of each trial is a copy for readers.

    A trial whose score is not finite fails.

    Args:
        seed: Integer. Seed of the drawn values; 0 is a seed. Defaults to 0.
        max_consecutive_failed_trials: Integer. Number of failed trials in a row that end the search with an error.
            Defaults to infinity.
        **options: Options of KerasTuner's oracle.
    """

    def __init__(self, seed: int = 0, max_consecutive_failed_trials: float = math.inf, **options: Any) -> None:
        if max_consecutive_failed_trials != math.inf:
            _checks.positive_integer("max_consecutive_failed_trials", max_consecutive_failed_trials)
        super().__init__(seed=seed or 1, max_consecutive_failed_trials=max_consecutive_failed_trials, **options)
        self.set_seed(seed)
        self.ongoing_trials: dict[str, Trial] = {}
        self._open_changes = 0
        self._changed_trials: dict[str, Trial] = {}
        self._change_lock = threading.RLock()

    @property
    def expected_trials(self) -> int | None:
        """Maximum number of trials; None if it is not known."""
        return self.max_trials  # type: ignore[no-any-return]

    def create_trial(self, tuner_id: str) -> Trial:
        """Create a trial and save it atomically."""
        with self._change():
            return super().create_trial(tuner_id)

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """Add metrics to a trial; `end_trial` saves them."""
        with self._change(save=False), _ignore_nan_warning():
            return super().update_trial(trial_id, dict(metrics), step=step)

    def end_trial(self, trial: Trial) -> None:
        """End a trial and save it atomically."""
        with self._change():
            super().end_trial(trial)
            ended = self.trials[trial.trial_id]
            if ended.status == "FAILED" and not ended.message:
                ended.message = f"{self.objective.name} is not finite."

    def score_trial(self, trial: Trial) -> None:
        """Score a trial. An infinite score, which could rank best, becomes NaN and fails the trial."""
        with _ignore_nan_warning():
            super().score_trial(trial)
        if not math.isfinite(trial.score):
            trial.score = math.nan

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """The best completed trials. KerasTuner adds failed trials if there are too few; this does not."""
        return [trial for trial in super().get_best_trials(num_trials) if trial.status == "COMPLETED"]

    def get_state(self) -> dict[str, Any]:
        """The whole state, with all trials, as plain values for JSON."""
        return {
            **super().get_state(),
            "trials": {trial_id: trial.get_state() for trial_id, trial in self.trials.items()},
            "tuner_ids": sorted(self.tuner_ids),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        self.trials = {trial_id: Trial.from_state(trial) for trial_id, trial in state["trials"].items()}
        self.tuner_ids = set(state["tuner_ids"])
        super().set_state(state)

    def save(self) -> None:
        """Write the state; in the middle of a change do nothing, as its end writes it."""
        if self._open_changes:
            return
        _sealed.write(self.path, SCHEMA, {"state": json.dumps(self.get_state())})  # as text: scores may be NaN
        for trial_id, trial in self._changed_trials.items():
            _files.write_json(self._copy_of(trial_id), trial.get_state())
        self._changed_trials = {}

    def reload(self) -> None:
        """Read the state. Trials that were running run again, with the same values.

        Raises:
            ValueError: For a damaged file or one of another version.
        """
        state = read_state(self.path)
        try:
            self.set_state(state)
        except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
            raise _damaged(self.path, f"KerasTuner cannot read it: {type(error).__name__}: {error}") from error
        self.run_again(trial.trial_id for trial in self.ongoing_trials.values())
        self.ongoing_trials = {}
        self.tuner_ids = set()

    def restore_copies(self) -> None:
        """Rewrite each `trial.json` that differs from the state, with a warning if it was changed or corrupted."""
        for trial_id, trial in self.trials.items():
            path, state = self._copy_of(trial_id), trial.get_state()
            if _contains(path, state):
                continue
            if path.exists() and path.read_bytes():
                warnings.warn(
                    f"{_checks.printable(path)} differs from {self.path.name}: it was edited, is corrupted, or was not "
                    "yet written when "
                    f"the search was killed. Restoring it from {self.path.name}.",
                    _checks.EntropyWarning,
                    stacklevel=2,
                )
            _files.write_json(path, state)

    @property
    def path(self) -> Path:
        """Path of the state file."""
        return self.project_folder / STATE

    def trial_changed(self, trial: Trial) -> None:
        """Remember to write the copy of this trial with the next `save`."""
        self._changed_trials[trial.trial_id] = trial

    def _copy_of(self, trial_id: str) -> Path:
        return self.trial_folder(trial_id) / "trial.json"

    @contextlib.contextmanager
    def _change(self, save: bool = True) -> Iterator[None]:
        """Make several steps one change: save after the last; release KerasTuner's lock if one raises an error."""
        with self._change_lock:
            self._open_changes += 1
            try:
                yield
            except BaseException:
                if self._open_changes == 1:
                    self.release_lock()
                raise
            finally:
                self._open_changes -= 1
            if save:
                self.save()


class RandomSearchOracle(DurableOracle, keras_tuner.oracles.RandomSearchOracle):
    """Random search."""


class GridSearchOracle(DurableOracle, _keras_tuner.GridSearchOracle):
    """Grid search."""

    def get_state(self) -> dict[str, Any]:
        """The whole state, with the position in the grid."""
        return {**super().get_state(), **self.grid_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        super().set_state(state)
        self.set_grid_state(state)


class BayesianOptimizationOracle(DurableOracle, _keras_tuner.BayesianOptimizationOracle):
    """Bayesian optimisation with a Gaussian process."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed=seed, **options)
        self.set_random_seed(seed)

    def get_state(self) -> dict[str, Any]:
        """The whole state, with that of the random numbers."""
        return {**super().get_state(), "random_state": self.random_state()}

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what `get_state` returned."""
        super().set_state(state)
        self.set_random_state(state["random_state"])


class HyperbandOracle(DurableOracle, _keras_tuner.HyperbandOracle):
    """Hyperband: many short trials, of which the best are trained longer."""

    @property
    def expected_trials(self) -> int | None:
        """Number of trials in all rounds of all brackets; None if it never ends."""
        return self.number_of_trials()


ORACLES: dict[str, type[DurableOracle]] = {
    "random": RandomSearchOracle,
    "grid": GridSearchOracle,
    "bayesian": BayesianOptimizationOracle,
    "hyperband": HyperbandOracle,
}


def read_state(path: Path) -> dict[str, Any]:
    """Read a state file.

    Raises:
        ValueError: For a damaged file or one of another version.
    """
    try:
        text = _sealed.read(path, SCHEMA)["state"]
        state = json.loads(text)
        trials = state["trials"]
        names = [*trials, *(trial["trial_id"] for trial in trials.values()), *state["start_order"], *state["end_order"]]
        if not all(re.fullmatch("[0-9]+", name) and name in trials for name in names):  # they are names of folders
            raise ValueError("the numbers of its trials are not those of KerasTuner")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, f"{error} is missing" if isinstance(error, KeyError) else str(error)) from error
    return dict(state)


def _damaged(path: Path, reason: str) -> ValueError:
    return ValueError(
        f"{_checks.printable(f'{path} is not the state of a search: {reason}')}. Delete it: the search then starts "
        "again, and reads the runs "
        "that are already trained from runs.jsonl beside it."
    )


@contextlib.contextmanager
def _ignore_nan_warning() -> Iterator[None]:
    """Ignore NumPy's warning of NaN values: the trial fails with a message."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        yield


def _contains(path: Path, record: dict[str, Any]) -> bool:
    """Whether a JSON file contains this record."""
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(record)))
    except (OSError, ValueError, RecursionError):
        return False
