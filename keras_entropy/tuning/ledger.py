"""What was trained, by values and seed: kept beside the search, so that no trial and no kill trains it twice."""

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
_TUNER = "tuner/"  # what Hyperband adds to the values: how long a trial is, not what


@dataclasses.dataclass(frozen=True)
class Run:
    """One training: a setting and a seed.

    Attributes:
        values: of the hyperparameters.
        seed: of initial weights, data order and dropout.
        history: values by epoch of all that was logged.
        ended: whether it ended by itself, so that more epochs would not train it on.
        seconds: of wall time, all parts of an interrupted run together.
    """

    values: dict[str, Any]
    seed: int
    history: dict[str, list[float]]
    ended: bool = False
    seconds: float = 0.0

    @property
    def epochs(self) -> int:
        """How many were trained."""
        return max((len(values) for values in self.history.values()), default=0)

    def covers(self, epochs: int) -> bool:
        """Whether nothing is left to train of so many epochs."""
        return self.ended or self.epochs >= epochs

    def metrics(self, epoch: str, objective: Any, epochs: int) -> dict[str, float]:
        """All that was logged at the last epoch, or at that with the best objective.

        Args:
            epoch: "last" or "best".
            objective: a `keras_tuner.Objective`, or several.
            epochs: later ones, of a longer trial of the same values, do not count.
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
    """Equal for equal settings, whatever the number of the trial."""
    return _digest(own(values))[:16]


def own(values: Mapping[str, Any]) -> dict[str, Any]:
    """A setting, without what Hyperband adds to it."""
    return {name: value for name, value in values.items() if not name.startswith(_TUNER)}


def _digest(record: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


class Ledger:
    """A folder of finished runs.

    Args:
        folder: is made with the first run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, values: Mapping[str, Any], seed: int, suffix: str = ".json") -> Path:
        """Of a run's file."""
        return self.folder / key_of(values) / f"seed_{seed}{suffix}"

    def read(self, values: Mapping[str, Any], seed: int) -> Run | None:
        """A run, as far as it was trained; None for one that was not, and with a warning for a damaged one."""
        path = self.path(values, seed)
        try:
            record = json.loads(path.read_text(encoding="utf-8"))
            if record.pop("schema") != SCHEMA or record["seed"] != seed:
                raise ValueError("it is no record of this run")
            if record.pop("sha256") != _digest(record):
                raise ValueError("its checksum is another one")
            record["history"] = {name: [float(v) for v in column] for name, column in record["history"].items()}
            return Run(**record)
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            aside = path.with_suffix(".damaged")
            warnings.warn(
                f"{path} is torn or was edited ({error}). It is kept as {aside.name}, and the run is trained again.",
                _checks.EntropyWarning,
                stacklevel=2,
            )
            path.replace(aside)
            return None

    def write(self, run: Run) -> None:
        """Keep a run, whole or not at all."""
        record = _files.strict(dataclasses.asdict(run))
        _files.write_json(self.path(run.values, run.seed), {"schema": SCHEMA, **record, "sha256": _digest(record)})

    def runs(self) -> list[Run]:
        """All of them."""
        found = []
        for path in sorted(self.folder.glob("*/seed_*.json")):
            record = json.loads(path.read_text(encoding="utf-8"))
            run = self.read(record["values"], record["seed"])
            found += [run] if run is not None else []
        return found
