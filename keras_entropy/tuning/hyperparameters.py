"""The hyperparameters of a run, and when two settings are the same."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keras_entropy.runs.records import Slot, slot

_TUNER = "tuner/"
"""Prefix of the values that Hyperband adds for the number of epochs."""


def own(values: Mapping[str, Any]) -> dict[str, Any]:
    """The hyperparameters of a trial without the values that Hyperband adds."""
    return {name: value for name, value in values.items() if not name.startswith(_TUNER)}


def slot_of(arm: str, values: Mapping[str, Any], seed: int) -> Slot:
    """The slot of a run among the records of a search."""
    return slot(arm, seed, "tune", {}, own(values))
