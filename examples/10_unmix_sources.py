"""Unmix four photographs with infomax (Bell and Sejnowski, 1995), beside FastICA.

    python examples/10_unmix_sources.py [--epochs 150]

Four photographs, quarters of two pictures that scikit-learn ships, are mixed by a random matrix. Infomax finds
the matrix that unmixes them: it maximises the entropy of the outputs of a sigmoid layer, which is the log-volume of its
kernel (`DenseEntropy`) plus the mean log slope of its sigmoid (`ActivationEntropy`), both summed over the units. It
works for sources with many values near 0 and a few large ones. Photographs are no such sources, but the differences of
neighbouring pixels are, and the matrix is the same.

Whiten first: give uncorrelated inputs of variance 1. Without it, the same number of steps separates less. The last two
lines replace the log-volume by other terms that keep the units apart. `TotalCorrelation` ignores the scale of the
kernel, which would shrink to 0 without the unit norms. The Amari error (Amari, Cichocki, Yang, 1996) is 0 if
each output is one source, up to its order and scale, and about 0.4 for a random matrix.
"""

import argparse

import keras
import numpy as np
from sklearn.datasets import load_sample_images
from sklearn.decomposition import FastICA

from keras_entropy import ActivationEntropy, DenseEntropy, TotalCorrelation


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=150)
    epochs = parser.parse_args().epochs
    sources = differences(photographs())
    units = sources.shape[1]
    mixing = np.random.default_rng(0).normal(size=(units, units))
    mixed = sources @ mixing.T
    white = whitening(mixed)
    volume = DenseEntropy(1.0, reduction="sum")

    print("Amari error")
    say("mixed, whitened, not separated", white @ mixing)
    say("FastICA", FastICA(whiten=False, random_state=0).fit(mixed @ white.T).components_ @ white @ mixing)
    say("infomax", infomax(mixed @ white.T, volume, epochs) @ white @ mixing)
    say("infomax without whitening", infomax(mixed, volume, epochs) @ mixing)
    say("soft orthogonality for the log-volume", infomax(mixed @ white.T, soft_orthogonality, epochs) @ white @ mixing)
    say("TotalCorrelation and unit norms for it", infomax(mixed @ white.T, unit_correlation, epochs) @ white @ mixing)


def photographs():
    """Four quarters of two pictures, in grey, at half of their size: arrays (105, 160)."""
    pictures = [np.mean(picture, axis=-1)[:420:2, ::2] for picture in load_sample_images().images]
    return [quarter for picture in pictures for quarter in (picture[:105, :160], picture[105:, 160:])]


def differences(pictures):
    """Differences of neighbouring pixels as columns of mean 0 and variance 1."""
    columns = np.stack([np.diff(picture, axis=1).ravel() for picture in pictures], axis=1)
    return (columns - columns.mean(axis=0)) / columns.std(axis=0)


def whitening(x):
    """The inverse square root of the covariance."""
    values, vectors = np.linalg.eigh(np.cov(x.T))
    return (vectors / np.sqrt(values)) @ vectors.T


def infomax(x, term, epochs):
    """Train a sigmoid layer on its entropy alone, and return the matrix W of W x."""
    units = x.shape[1]
    slope = ActivationEntropy("sigmoid", 1.0, reduction="sum")
    options = {"kernel_initializer": "identity", "kernel_regularizer": term, "activity_regularizer": slope}
    layer = keras.layers.Dense(units, activation="sigmoid", use_bias=False, **options)
    model = keras.Sequential([keras.Input((units,)), layer])
    model.compile(keras.optimizers.Adam(0.05))  # no loss: the terms are the loss
    model.fit(x, batch_size=len(x), epochs=epochs, shuffle=False, verbose=0)
    return keras.ops.convert_to_numpy(layer.kernel).T


def soft_orthogonality(kernel):
    """Distance of the units from an orthonormal basis."""
    gram = keras.ops.matmul(keras.ops.transpose(kernel), kernel)
    return keras.ops.sum(keras.ops.square(gram - keras.ops.eye(kernel.shape[-1])))


def unit_correlation(kernel):
    """Total correlation of the units, and the distance of their norms from 1."""
    norms = keras.ops.sum(keras.ops.square(kernel), axis=0)
    return TotalCorrelation(1.0)(kernel) + 10 * keras.ops.sum(keras.ops.square(norms - 1))


def say(name, product):
    sizes = np.abs(product)
    units = len(sizes)
    excess = (sizes / sizes.max(axis=0)).sum() + (sizes / sizes.max(axis=1, keepdims=True)).sum() - 2 * units
    print(f"  {name:39} {excess / (2 * units * (units - 1)):.3f}")


if __name__ == "__main__":
    main()
