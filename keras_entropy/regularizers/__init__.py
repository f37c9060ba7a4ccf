"""Keras regularizers that reward or suppress the entropy that a layer passes on.

`DenseEntropy` and `ConvCornerEntropy` are the terms of Meni et al. (2023). `ConvEntropy` measures a whole convolution,
`TotalCorrelation` the dependence between the outputs of a layer, `ActivationEntropy` the slope of an activation.

Sources:
    Meni, White, Mayo, Pilkiewicz (2023): Entropy-based guidance of deep neural networks.
"""

from keras_entropy.regularizers.activation import ActivationEntropy
from keras_entropy.regularizers.base import EntropyRegularizer
from keras_entropy.regularizers.conv import ConvEntropy
from keras_entropy.regularizers.corner import ConvCornerEntropy
from keras_entropy.regularizers.dense import DenseEntropy
from keras_entropy.regularizers.soft_orthogonality import SoftOrthogonality as SoftOrthogonality  # so that files load
from keras_entropy.regularizers.sum import SumRegularizer
from keras_entropy.regularizers.total_correlation import TotalCorrelation

__all__ = [
    "ActivationEntropy",
    "ConvCornerEntropy",
    "ConvEntropy",
    "DenseEntropy",
    "EntropyRegularizer",
    "SumRegularizer",
    "TotalCorrelation",
]
