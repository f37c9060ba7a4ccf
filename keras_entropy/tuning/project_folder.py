"""The project folder of a tuner: it contains one search, and one process at a time works on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import keras_tuner

from keras_entropy.runs.folder import ResultsFolder
from keras_entropy.runs.identity import identity
from keras_entropy.runs.records import RUNS
from keras_entropy.tuning.oracles import STATE

SCHEMA = "keras-entropy/search/2"
DESCRIPTION, WEIGHTS, CHECKPOINTS = "search.json", "weights", "checkpoints"
"""File with the description of the search, and the folders of the files of its runs."""


def results_of(folder: Path) -> ResultsFolder:
    """The results folder of a tuner."""
    return ResultsFolder(folder, "search", (DESCRIPTION, STATE), (RUNS, WEIGHTS, CHECKPOINTS, "trial_*"))


def description(settings: Mapping[str, Any], hypermodel: Any, objective: Any) -> dict[str, Any]:
    """Describe the tuner, the hypermodel and the objective by plain JSON: equal for equal searches.

    Args:
        settings: Options of the tuner by name.
        hypermodel: `EntropyHyperModel`.
        objective: Objective of the tuner.
    """
    hp = keras_tuner.HyperParameters()
    hypermodel.build(hp)
    return {
        **{name: identity(value) for name, value in settings.items()},
        "objective": [[part.name, part.direction] for part in getattr(objective, "objectives", [objective])],
        "space": [str(parameter.get_config()) for parameter in hp.space],
        **hypermodel.describe(),
        "backend": keras.backend.backend(),
        "dtype": keras.config.dtype_policy().name,
    }


def description_of_fit(args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """Describe the data and the other arguments of `fit` by plain JSON."""
    unimportant = ("verbose", "callbacks")
    return {
        "data": [_of_data(value) for value in args],
        "fit": {name: _of_data(value) for name, value in sorted(kwargs.items()) if name not in unimportant},
        "callbacks": [identity(callback) for callback in kwargs.get("callbacks") or []],
    }


def check_same(folder: Path, new: dict[str, Any], *, write: bool = False) -> None:
    """Check that the search in a folder has this description.

    Args:
        folder: Path of the project.
        new: Description, or a part of it.
        write: Boolean. Whether `new` is the whole description, and is written if the folder has none.

    Raises:
        ValueError: If they differ. The message names the differences.
    """
    results, new = results_of(folder), json.loads(json.dumps(new))
    old = results.description(DESCRIPTION, SCHEMA)
    if old is None:
        if write:
            results.describe(DESCRIPTION, SCHEMA, new)
        return
    changed = [name for name in ({**old, **new} if write else new) if old.get(name) != new.get(name)]
    results.refuse_others(
        (_parts(old, new, name) for name in changed),
        "Restore the old values (only `max_trials` may change, and `holdout_seeds` may grow), replace the search with "
        "overwrite=True (--overwrite), or name another folder.",
    )


def _parts(old: dict[str, Any], new: dict[str, Any], name: str) -> str:
    """Name of an entry that differs, with its parts that differ."""
    before, after = old.get(name), new.get(name)
    if not (isinstance(before, dict) and isinstance(after, dict)):
        return name
    return f"{name} ({', '.join(sorted(part for part in before | after if before.get(part) != after.get(part)))})"


def _of_data(value: Any) -> Any:
    """Arrays by their bits; other data by their type, as they may be readable only once."""
    plain = value is None or isinstance(value, bool | int | float | str)
    if plain or hasattr(value, "__array__"):
        return identity(value)
    if isinstance(value, list | tuple):
        return [_of_data(item) for item in value]
    if isinstance(value, dict):
        return {str(name): _of_data(item) for name, item in value.items()}
    return type(value).__name__
