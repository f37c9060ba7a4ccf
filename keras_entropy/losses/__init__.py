"""Entropies of outputs and of representations as losses, for rows without labels."""

from keras_entropy.losses.outputs import SemiSupervisedCrossentropy, SigmoidEntropy, SoftmaxEntropy
from keras_entropy.losses.views import LossOfViews, ViewEntropy

__all__ = ["LossOfViews", "SemiSupervisedCrossentropy", "SigmoidEntropy", "SoftmaxEntropy", "ViewEntropy"]
