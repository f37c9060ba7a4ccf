"""Which weights of a model can be measured, and their entropy, on the host in float64.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from keras_entropy.profile.comparison import Comparison, Difference
from keras_entropy.profile.keras_layers import LinearMap, register_measurable
from keras_entropy.profile.measure import MEASURES, WeightEntropy, measure_weight, penalty
from keras_entropy.profile.profile import EntropyProfile, ProfileRecord, check_built, entropy_profile
from keras_entropy.profile.weights import (
    MeasurableWeight,
    Selection,
    SkippedWeight,
    check_selection,
    inventory,
    measurable_weights,
    select,
    walk,
)

__all__ = [
    "MEASURES",
    "Comparison",
    "Difference",
    "EntropyProfile",
    "LinearMap",
    "MeasurableWeight",
    "ProfileRecord",
    "Selection",
    "SkippedWeight",
    "WeightEntropy",
    "check_built",
    "check_selection",
    "entropy_profile",
    "inventory",
    "measurable_weights",
    "measure_weight",
    "penalty",
    "register_measurable",
    "select",
    "walk",
]
