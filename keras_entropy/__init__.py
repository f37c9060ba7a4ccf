"""See, guide and watch the entropy of neural networks in Keras 3.

Importing this package registers its objects with Keras, so that saved models load. It imports Keras and
NumPy; everything heavier is imported by the function that needs it.
"""

from keras_entropy import _optional

_optional.require_backend()

from keras_entropy._checks import EntropyWarning
from keras_entropy.callbacks import EntropyLogger, FactorSchedule
from keras_entropy.layers import DualDense, EntropyActivation, RepresentationEntropy
from keras_entropy.losses import SemiSupervisedCrossentropy, SigmoidEntropy, SoftmaxEntropy, ViewEntropy
from keras_entropy.models import CorrelatedRegressor
from keras_entropy.placement import apply_entropy, resolve_placement
from keras_entropy.profile import EntropyProfile, entropy_profile, register_measurable
from keras_entropy.regularizers import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    EntropyRegularizer,
    SumRegularizer,
    TotalCorrelation,
)

__version__ = "0.1.0"

__all__ = [
    "ActivationEntropy",
    "ConvCornerEntropy",
    "ConvEntropy",
    "CorrelatedRegressor",
    "DenseEntropy",
    "DualDense",
    "EntropyActivation",
    "EntropyLogger",
    "EntropyProfile",
    "EntropyRegularizer",
    "EntropyWarning",
    "FactorSchedule",
    "RepresentationEntropy",
    "SemiSupervisedCrossentropy",
    "SigmoidEntropy",
    "SoftmaxEntropy",
    "SumRegularizer",
    "TotalCorrelation",
    "ViewEntropy",
    "apply_entropy",
    "entropy_profile",
    "register_measurable",
    "resolve_placement",
]
