"""KerasTuner's oracles, with a state that a kill leaves whole and from which they go on as if there had been none."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import threading
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import keras_tuner
import numpy as np
from keras_tuner.src.engine import oracle as kt_oracle
from keras_tuner.src.engine.trial import Trial
from keras_tuner.src.tuners.gridsearch import LinkedList

from keras_entropy import _checks, _files

SCHEMA = "keras-entropy/oracle/1"
STATE = "oracle.json"


class DurableOracle(kt_oracle.Oracle):
    """What the four oracles have in common.

    KerasTuner writes the state of a search in several files, in place, and amid its changes. Here each change is one
    file that appears whole: `oracle.json` holds the oracle and all trials, with a checksum. The `trial.json` of each
    trial is a copy for readers.

    Failed trials, with a value that is not finite among them, do not end a search, however many follow each other.

    Args:
        seed: of the values that are drawn; 0 is a seed.
        **options: as of KerasTuner's oracle.
    """

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed=seed or 1, max_consecutive_failed_trials=math.inf, **options)
        self.seed = self._seed_state = seed
        self.ongoing_trials: dict[str, Trial] = {}
        self._changing = 0
        self._changed: dict[str, Trial] = {}
        self._lock = threading.RLock()
        self.keeps_ongoing = False
        """Whether trials that run stay with their tuners when a state is read, as where only the chief was killed."""

    @property
    def expected_trials(self) -> int | None:
        """How many trials there will be, at most."""
        return self.max_trials  # type: ignore[no-any-return]

    def create_trial(self, tuner_id: str) -> Trial:
        """As KerasTuner's, as one change."""
        with self._change():
            return super().create_trial(tuner_id)

    def update_trial(self, trial_id: str, metrics: dict[str, float], step: int = 0) -> Trial:
        """As KerasTuner's; the end of the trial saves it."""
        with self._change(save=False), _nan_is_known():
            return super().update_trial(trial_id, dict(metrics), step=step)

    def end_trial(self, trial: Trial) -> None:
        """As KerasTuner's, as one change."""
        with self._change():
            super().end_trial(trial)
            ended = self.trials[trial.trial_id]
            if ended.status == "FAILED" and not ended.message:  # a worker's does not reach its chief
                ended.message = f"{self.objective.name} is not finite, or the trial killed its process."

    def score_trial(self, trial: Trial) -> None:
        """As KerasTuner's; an infinite score, which could rank best, fails the trial as NaN does."""
        with _nan_is_known():
            super().score_trial(trial)
        if not math.isfinite(trial.score):
            trial.score = math.nan

    def get_best_trials(self, num_trials: int = 1) -> list[Trial]:
        """The best completed trials. KerasTuner fills up with failed ones, which this does not."""
        return [trial for trial in super().get_best_trials(num_trials) if trial.status == "COMPLETED"]

    def get_state(self) -> dict[str, Any]:
        """All of it."""
        return {
            **super().get_state(),
            "schema": SCHEMA,
            "trials": {trial_id: trial.get_state() for trial_id, trial in self.trials.items()},
            "tuner_ids": sorted(self.tuner_ids),
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        self.trials = {trial_id: Trial.from_state(trial) for trial_id, trial in state["trials"].items()}
        self.tuner_ids = set(state["tuner_ids"])
        super().set_state(state)

    def save(self) -> None:
        """Write the state, unless a change is under way, which does at its end."""
        if self._changing:
            return
        text = json.dumps(self.get_state())
        _files.write_text(self.path, json.dumps({"sha256": _digest(text), "state": text}) + "\n")
        for trial_id, trial in self._changed.items():
            _files.write_json(self._copy_of(trial_id), trial.get_state())
        self._changed = {}

    def reload(self) -> None:
        """Read the state; trials that were running are to be run again, with the same values.

        Raises:
            ValueError: for a file that is torn or was edited, or of another version.
        """
        self.set_state(read_state(self.path))
        if not self.keeps_ongoing:
            self._retry_queue += [trial.trial_id for trial in self.ongoing_trials.values()]
            self.ongoing_trials = {}
            self.tuner_ids = set()

    def mend_copies(self) -> None:
        """Write each copy of a trial anew that is not as the state says, with a warning where there is one."""
        for trial_id, trial in self.trials.items():
            path, whole = self._copy_of(trial_id), trial.get_state()
            if _holds(path, whole):
                continue
            if path.exists() and path.read_bytes():
                warnings.warn(
                    f"{path} was edited or torn: it is written anew from {self.path.name}.",
                    _checks.EntropyWarning,
                    stacklevel=2,
                )
            _files.write_json(path, whole)

    @property
    def path(self) -> Path:
        """Of the state."""
        return Path(self._project_dir) / STATE

    def _copy_of(self, trial_id: str) -> Path:
        return Path(self._get_trial_dir(trial_id)) / "trial.json"

    def _save_trial(self, trial: Trial) -> None:
        self._changed[trial.trial_id] = trial

    @contextlib.contextmanager
    def _change(self, save: bool = True) -> Iterator[None]:
        """A change of several steps, saved when all are done. One that raises leaves KerasTuner's lock open."""
        with self._lock:
            self._changing += 1
            try:
                yield
            except BaseException:
                if kt_oracle.THREADS[self] == threading.current_thread().name and self._changing == 1:
                    kt_oracle.THREADS[self] = None
                    kt_oracle.LOCKS[self].release()
                raise
            finally:
                self._changing -= 1
            if save:
                self.save()


class RandomSearchOracle(DurableOracle, keras_tuner.oracles.RandomSearchOracle):
    """Values at random."""


class GridSearchOracle(DurableOracle, keras_tuner.oracles.GridSearchOracle):
    """All values in their order."""

    def get_state(self) -> dict[str, Any]:
        """With what is next."""
        ordered, trial_id = [], next(iter(self.start_order), None)
        while trial_id is not None:
            ordered.append(trial_id)
            trial_id = self._ordered_ids.next(trial_id)
        return {**super().get_state(), "ordered_ids": ordered, "populate_next": self._populate_next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().set_state(state)
        self._populate_next = state["populate_next"]
        self._ordered_ids, before = LinkedList(), None
        for trial_id in state["ordered_ids"]:
            self._ordered_ids.insert(trial_id, before)
            before = trial_id


class BayesianOptimizationOracle(DurableOracle, keras_tuner.oracles.BayesianOptimizationOracle):
    """Values that a Gaussian process expects to be good."""

    def __init__(self, seed: int = 0, **options: Any) -> None:
        super().__init__(seed=seed, **options)
        self._random_state = np.random.RandomState(seed)  # KerasTuner's
        self.gpr = self._make_gpr()

    def get_state(self) -> dict[str, Any]:
        """With its random numbers."""
        name, keys, *rest = self._random_state.get_state(legacy=True)
        return {**super().get_state(), "random_state": [name, np.asarray(keys).tolist(), *rest]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on from a state."""
        super().set_state(state)
        self._random_state.set_state(tuple(state["random_state"]))


class HyperbandOracle(DurableOracle, keras_tuner.oracles.HyperbandOracle):
    """Many short trials, of which the best go on."""

    @property
    def expected_trials(self) -> int | None:
        """Those of all rounds of all brackets; none where it goes on for ever."""
        if not math.isfinite(self.hyperband_iterations):
            return None
        rounds = ((b, r) for b in range(self._get_num_brackets()) for r in range(self._get_num_rounds(b)))
        return int(self.hyperband_iterations * sum(self._get_size(*place) for place in rounds))


ORACLES: dict[str, type[DurableOracle]] = {
    "random": RandomSearchOracle,
    "grid": GridSearchOracle,
    "bayesian": BayesianOptimizationOracle,
    "hyperband": HyperbandOracle,
}


def read_state(path: Path) -> dict[str, Any]:
    """The state in a file.

    Raises:
        ValueError: for a file that is torn or was edited, or of another version.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        text = found["state"]
        if _digest(text) != found["sha256"]:
            raise ValueError("its checksum is another one")
        state: dict[str, Any] = json.loads(text)
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(
            f"{path} is torn or was edited: {error}. Delete it: the search then is gone through again from its start, "
            "and what was trained is read from the folder `runs` beside it."
        ) from error
    if state["schema"] != SCHEMA:
        raise ValueError(f"{path} has schema {state['schema']!r}; this version reads {SCHEMA!r}.")
    return state


@contextlib.contextmanager
def _nan_is_known() -> Iterator[None]:
    """Without NumPy's warning of it: a trial with NaN fails, and says why."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "All-NaN", RuntimeWarning)
        yield


def _holds(path: Path, record: dict[str, Any]) -> bool:
    try:
        return bool(json.loads(path.read_text(encoding="utf-8")) == json.loads(json.dumps(record)))
    except (OSError, ValueError):
        return False


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
