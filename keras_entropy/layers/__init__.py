"""Keras layers with an entropy term."""

from keras_entropy.layers.activation import EntropyActivation
from keras_entropy.layers.dual import DualDense
from keras_entropy.layers.representation import RepresentationEntropy

__all__ = ["DualDense", "EntropyActivation", "RepresentationEntropy"]
