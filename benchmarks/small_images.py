"""Prepared image sets at half of their size, for what_helps.py, representations.py and hidden_layers.py."""

from pathlib import Path

from keras_entropy import datasets


def half_size(name, folder, train, test):
    """The images and labels of a prepared set, each image the mean of 2 x 2 pixels.

    "cifar10" is "cifar10_small" where the whole set is not prepared.
    """
    if name == "cifar10" and not (Path(folder) / "cifar10").is_dir():
        name = "cifar10_small"
    data = datasets.prepared(name, folder, train, test)
    return half(data.x_train), data.y_train, half(data.x_test), data.y_test


def half(x):
    """Images at half of their size."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).mean((2, 4))
