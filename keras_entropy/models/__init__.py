"""Architectures with the entropy terms left to the caller: source A's, SqueezeNet, and all of keras.applications.

Sources:
    [A] Meni, White, Mayo, Pilkiewicz: "Entropy-based guidance of deep neural networks".
"""

from keras_entropy.models.architectures import autoencoder, cnn, unet
from keras_entropy.models.registry import by_name, names
from keras_entropy.models.safe_loading import load_model
from keras_entropy.models.squeezenet import squeezenet, squeezenet_input
from keras_entropy.models.weights import load_keras as load_weights

__all__ = [
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
