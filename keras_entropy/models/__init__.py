"""Regression with correlated noise, architectures by function or by name, and safe loading of model files."""

from keras_entropy.models.architectures import autoencoder, cnn, unet
from keras_entropy.models.correlated_regressor import CorrelatedRegressor
from keras_entropy.models.registry import by_name, names
from keras_entropy.models.safe_loading import load_model
from keras_entropy.models.squeezenet_v1 import squeezenet, squeezenet_input
from keras_entropy.models.weights import load_weights

__all__ = [
    "CorrelatedRegressor",
    "autoencoder",
    "by_name",
    "cnn",
    "load_model",
    "load_weights",
    "names",
    "squeezenet",
    "squeezenet_input",
    "unet",
]
