"""The records of all runs of a search, by hyperparameters and seed, so that no run is trained twice."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keras_entropy import _checks, _files

SCHEMA = "keras-entropy/tuned-run/1"
FOLDER = "runs"
_TUNER = "tuner/"
"""Prefix of the values that Hyperband adds for the number of epochs."""


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run: a setting with a seed.

    Attributes:
        values: Hyperparameters by name.
        seed: Integer. Seed of initial weights, data order and dropout.
        history: Values by epoch of each logged metric.
        ended: Boolean. Whether a callback or a custom `fit` ended it, so that more epochs would not change it.
        seconds: Float. Wall time of all parts of an interrupted run.
    """

    values: dict[str, Any]
    seed: int
    history: dict[str, list[float]]
    ended: bool = False
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """Number of trained epochs."""
        return max((len(values) for values in self.history.values()), default=0)

    def covers(self, epochs: int) -> bool:
        """Whether the run is finished at this number of epochs."""
        return self.ended or self.epochs >= epochs

    def metrics(self, epoch: str, objective: Any, epochs: int) -> dict[str, float]:
        """All metrics at the last epoch, or at the epoch with the best objective.

        Args:
            epoch: String. `"last"` or `"best"`.
            objective: `keras_tuner.Objective`, or KerasTuner's objective of several.
            epochs: Integer. Number of epochs that count; a longer trial of the same setting may have trained more.
        """
        found = min(self.epochs, epochs)
        by_epoch = [{n: v[e] for n, v in self.history.items() if e < len(v)} for e in range(found)]
        if epoch == "last":
            return by_epoch[-1]
        best = by_epoch[0]
        for values in by_epoch[1:]:
            new, old = objective.get_value(values), objective.get_value(best)
            if math.isnan(old) or objective.better_than(new, old):
                best = values
        return best


def key_of(values: Mapping[str, Any]) -> str:
    """Hash of a setting, the same in each trial."""
    return _digest(own(values))[:16]


def own(values: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a setting without the values that Hyperband adds."""
    return {name: value for name, value in values.items() if not name.startswith(_TUNER)}


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


class Ledger:
    """A folder with the records of finished runs.

    Args:
        folder: Path. The first record creates it.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, values: Mapping[str, Any], seed: int, suffix: str = ".json") -> Path:
        """Path of a file of a run."""
        return self.folder / key_of(values) / f"seed_{seed}{suffix}"

    def read(self, values: Mapping[str, Any], seed: int) -> Run | None:
        """Read the record of a run.

        Returns:
            The run, which may have fewer epochs than a trial needs; None if there is no record, or, with a warning, if
            it is corrupted.
        """
        path = self.path(values, seed)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.pop("schema") != SCHEMA or record["seed"] != seed:
                raise ValueError("not a record of this run")
            if record.pop("sha256") != _digest(record):
                raise ValueError("checksum mismatch")
            record["history"] = {name: [float(v) for v in column] for name, column in record["history"].items()}
            return Run(**record)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = path.with_suffix(".damaged")
            warnings.warn(
                f"{path} is corrupted ({error}). Moving it to {aside.name} and training the run again.",
                _checks.EntropyWarning,
                stacklevel=2,
            )
            path.replace(aside)
            return None

    def write(self, run: Run) -> None:
        """Write the record of a run atomically."""
        record = _files.strict(dataclasses.asdict(run))
        _files.write_json(self.path(run.values, run.seed), {"schema": SCHEMA, **record, "sha256": _digest(record)})

    def runs(self) -> list[Run]:
        """All runs."""
        found = []
        for path in sorted(self.folder.glob("*/seed_*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            run = self.read(record["values"], record["seed"])
            found += [run] if run is not None else []
        return found
