"""The entropy profile of a model, and the weights that it measures."""

from keras_entropy.profile.comparison import Difference, ProfileComparison
from keras_entropy.profile.constant_outputs import ConstantOutputs
from keras_entropy.profile.findings import Finding
from keras_entropy.profile.linear_map import LinearMap, register_measurable
from keras_entropy.profile.measure import MEASURES, WeightEntropy, measure_weight, penalty
from keras_entropy.profile.model_profile import check_built, entropy_profile
from keras_entropy.profile.profile import EntropyProfile
from keras_entropy.profile.record import ProfileRecord
from keras_entropy.profile.selection import Selection, check_selection, select
from keras_entropy.profile.units import Units
from keras_entropy.profile.weights import MeasurableWeight, SkippedWeight, inventory, measurable_weights, walk

__all__ = [
    "MEASURES",
    "ConstantOutputs",
    "Difference",
    "EntropyProfile",
    "Finding",
    "LinearMap",
    "MeasurableWeight",
    "ProfileComparison",
    "ProfileRecord",
    "Selection",
    "SkippedWeight",
    "Units",
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
