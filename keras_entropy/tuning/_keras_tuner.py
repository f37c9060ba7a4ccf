"""The private names of KerasTuner that the search needs, behind public ones.

KerasTuner may move a private name in any release. No other file of the package uses one.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine import oracle as kt_oracle
from keras_tuner.src.engine import tuner_utils
from keras_tuner.src.tuners.gridsearch import LinkedList


class OracleBase(keras_tuner.Oracle):
    """An oracle of KerasTuner whose seed, folders, retries and saved trials can be changed by a subclass."""

    def set_seed(self, seed: int) -> None:
        """Set the seed of the drawn values. KerasTuner replaces 0 by a random seed; this does not."""
        self.seed = self._seed_state = seed

    @property
    def project_folder(self) -> Path:
        """Folder of the project."""
        return Path(self._project_dir)

    def trial_folder(self, trial_id: str) -> Path:
        """Folder of a trial."""
        return Path(self._get_trial_dir(trial_id))

    def run_again(self, trial_ids: Iterable[str]) -> None:
        """Hand out these trials before new ones, with the same values."""
        self._retry_queue += list(trial_ids)

    def trial_changed(self, trial: Any) -> None:
        """Take note of a changed trial. KerasTuner writes its file here."""
        super()._save_trial(trial)

    def release_lock(self) -> None:
        """Release KerasTuner's lock on the oracle, which stays locked after an error in a synchronized method."""
        if kt_oracle.THREADS[self] == threading.current_thread().name:
            kt_oracle.THREADS[self] = None
            kt_oracle.LOCKS[self].release()

    def _save_trial(self, trial: Any) -> None:
        self.trial_changed(trial)


class GridSearchOracle(keras_tuner.oracles.GridSearchOracle):
    """The grid search of KerasTuner, with a state that can be saved."""

    def grid_state(self) -> dict[str, Any]:
        """Order of the trials in the grid, and the trials after which new ones follow."""
        ordered, trial_id = [], next(iter(self.start_order), None)
        while trial_id is not None:
            ordered.append(trial_id)
            trial_id = self._ordered_ids.next(trial_id)
        return {"ordered_ids": ordered, "populate_next": self._populate_next}

    def set_grid_state(self, state: dict[str, Any]) -> None:
        """Restore what `grid_state` returned."""
        self._populate_next = state["populate_next"]
        self._ordered_ids, before = LinkedList(), None
        for trial_id in state["ordered_ids"]:
            self._ordered_ids.insert(trial_id, before)
            before = trial_id


class BayesianOptimizationOracle(keras_tuner.oracles.BayesianOptimizationOracle):
    """The Bayesian optimisation of KerasTuner, with random numbers that can be seeded and saved."""

    def set_random_seed(self, seed: int) -> None:
        """Seed the random numbers of the Gaussian process."""
        self._random_state = np.random.RandomState(seed)
        self.gpr = self._make_gpr()

    def random_state(self) -> list[Any]:
        """State of the random numbers, as plain values for JSON."""
        name, keys, *rest = self._random_state.get_state(legacy=True)
        return [name, np.asarray(keys).tolist(), *rest]

    def set_random_state(self, state: list[Any]) -> None:
        """Restore what `random_state` returned."""
        self._random_state.set_state(tuple(state))


class HyperbandOracle(keras_tuner.oracles.HyperbandOracle):
    """Hyperband of KerasTuner, which can tell the number of its trials."""

    def number_of_trials(self) -> int | None:
        """Number of trials in all rounds of all brackets; None if it never ends."""
        if not math.isfinite(self.hyperband_iterations):
            return None
        rounds = ((b, r) for b in range(self._get_num_brackets()) for r in range(self._get_num_rounds(b)))
        return int(self.hyperband_iterations * sum(self._get_size(*place) for place in rounds))


class TunerBase(keras_tuner.Tuner):
    """A tuner of KerasTuner with hooks around its trials and its space."""

    def try_trial(self, trial: Any, **fit: Any) -> None:
        """Run a trial and tell the oracle its metrics; an error that is not fatal makes it a failed trial."""
        self._try_run_and_update_trial(trial, **fit)

    def space_populated(self) -> None:
        """Called when the oracle knows the hyperparameters of the model."""

    def _populate_initial_space(self) -> None:
        super()._populate_initial_space()
        self.space_populated()


def trial_callback(tuner: Any, trial: Any) -> Any:
    """KerasTuner's callback that reports the epochs of a trial to its tuner."""
    return tuner_utils.TunerCallback(tuner, trial)


def check_results(results: Any, objective: Any) -> None:
    """Raise KerasTuner's error if `fit` has returned something other than results with the objective."""
    tuner_utils.validate_trial_results(results, objective, "fit")


def metrics_of(results: Any, objective: Any) -> dict[str, float]:
    """Metrics by name in what `fit` has returned: a history, a dict or a number."""
    return dict(tuner_utils.convert_to_metrics_dict(results, objective))
