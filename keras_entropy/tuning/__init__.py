"""Searches with KerasTuner for the best entropy term: resumable, and evaluated on held-out seeds."""

from keras_entropy import _optional

_optional.require("keras_tuner", extra="search")
_optional.require("filelock", extra="search")

from keras_entropy.tuning.conclusion import Duel, luck
from keras_entropy.tuning.hypermodel import EntropyHyperModel
from keras_entropy.tuning.search_pipeline import search
from keras_entropy.tuning.search_result import ContenderResult, SearchResult, TrialResult
from keras_entropy.tuning.tuner import EntropyTuner

__all__ = [
    "ContenderResult",
    "Duel",
    "EntropyHyperModel",
    "EntropyTuner",
    "SearchResult",
    "TrialResult",
    "luck",
    "search",
]
