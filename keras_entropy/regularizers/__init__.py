"""Keras regularizers that reward or suppress the entropy that a layer's kernel passes on.

`DenseEntropy` and `ConvCornerEntropy` are the source's terms [A]; `ConvEntropy` and `TotalCorrelation` measure the
whole convolution, and redundancy; `ActivationEntropy` goes on through the activation.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from keras_entropy.regularizers.activation import ActivationEntropy
from keras_entropy.regularizers.base import EntropyRegularizer
from keras_entropy.regularizers.corner import ConvCornerEntropy
from keras_entropy.regularizers.dense import DenseEntropy
from keras_entropy.regularizers.exact import ConvEntropy, TotalCorrelation
from keras_entropy.regularizers.sum import SumRegularizer

__all__ = [
    "ActivationEntropy",
    "ConvCornerEntropy",
    "ConvEntropy",
    "DenseEntropy",
    "EntropyRegularizer",
    "SumRegularizer",
    "TotalCorrelation",
]
