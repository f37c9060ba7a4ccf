"""Pretrain an encoder without labels: two views of each image should agree, and the representation must not collapse.

    python examples/09_pretrain_without_labels.py [--data-dir ~/tensorflow_datasets] [--epochs 60] [--seeds 3]

Two random augmentations of each image are its views. With their distance alone as the loss, the encoder collapses: all
images get nearly the same vector. `ViewEntropy` subtracts the entropy of the vectors. `EntropyLogger` shows both: at
-2.3 nats per dimension, the assumed noise alone, the vectors are equal or very small; the effective rank says which.

A linear classifier on the frozen vectors, fitted to all labels and to ten of each class, says how useful they are.
Beside them stand an encoder with random weights, the raw pixels, and the same network trained with all labels. The
accuracy is on images that nothing was fitted to; no setting was chosen by it. The data are the digits of scikit-learn,
or the first 6,000 images of MNIST with --data-dir.
"""

import argparse
import functools

import keras
import numpy as np
from sklearn.linear_model import LogisticRegression

from keras_entropy import EntropyLogger, ViewEntropy, datasets, functional

DIMENSIONS, BATCH = 32, 256


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets with MNIST")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    x, y, x_test, y_test = datasets.mnist(arguments.data_dir) if arguments.data_dir else datasets.digits()
    data = x[:6000], y[:6000], x_test, y_test
    found = {}
    for seed in range(arguments.seeds):
        for name, features in encoders(*data[:2], arguments.epochs, seed).items():
            found.setdefault(name, []).append([*probe(features, *data, seed), *spread(features(data[0][:500]))])
    print(f"\n{'':24}{'all labels':>12}{'10 per class':>14}{'entropy':>9}{'effective rank':>16}")
    for name, values in found.items():
        print("{:24}{:12.1%}{:14.1%}{:9.2f}{:16.1f}".format(name, *np.mean(values, axis=0)))


def encoders(x, y, epochs, seed):
    """Functions from images to vectors."""
    distance, views, supervised, untrained = (encoder(x.shape[1:], seed) for _ in range(4))
    for network, loss in ((distance, ViewEntropy(0.0)), (views, ViewEntropy(0.5))):
        pretrain(network, loss, x, epochs, seed)
    classifier = keras.Sequential([supervised, keras.layers.Dense(10, "softmax")])
    classifier.compile("adam", "sparse_categorical_crossentropy")
    classifier.fit(x, y, BATCH, epochs, verbose=0)
    names = ("distance of the views", "ViewEntropy", "trained with all labels", "random weights")
    networks = dict(zip(names, (distance, views, supervised, untrained), strict=True))
    found = {name: functools.partial(network.predict, verbose=0) for name, network in networks.items()}
    return found | {"raw pixels": lambda images: images.reshape(len(images), -1)}


def encoder(shape, seed):
    keras.utils.set_random_seed(seed)
    layers = [keras.layers.Flatten(), keras.layers.Dense(256, "relu"), keras.layers.Dense(DIMENSIONS, name="code")]
    return keras.Sequential([keras.Input(shape), *layers], name="encoder")


def pretrain(network, loss, x, epochs, seed):
    """Train an encoder on two augmentations of each image: one compile, one fit."""
    augment = keras.Sequential(
        [
            keras.layers.RandomTranslation(0.1, 0.1, fill_mode="constant", seed=seed),
            keras.layers.RandomRotation(0.05, fill_mode="constant", seed=seed + 1),
            keras.layers.GaussianNoise(0.1, seed=seed + 2),
        ]
    )
    images = keras.Input(x.shape[1:])
    model = keras.Model(images, keras.ops.stack([network(augment(images)) for _ in range(2)], axis=1))
    model.compile(keras.optimizers.Adam(1e-3), loss)
    logger = EntropyLogger(sample=x[:500], representations="code")
    history = model.fit(x, batch_size=BATCH, epochs=epochs, verbose=0, callbacks=[logger]).history
    entropy = history["representation/encoder/code/entropy"]
    print(f"seed {seed}, factor {loss.factor:g}: {entropy[0]:.2f} -> {entropy[-1]:.2f} nats per dimension", flush=True)


def probe(features, x, y, x_test, y_test, seed):
    """Accuracy on the test images of a linear classifier that is fitted to all labels, and to ten of each class."""
    few = np.concatenate([np.random.default_rng(seed).permutation(np.flatnonzero(y == c))[:10] for c in range(10)])
    z, z_test = features(x), features(x_test)
    scale = z.std() + 1e-9
    fits = (LogisticRegression(max_iter=1000).fit(z[rows] / scale, y[rows]) for rows in (np.arange(len(y)), few))
    return [fit.score(z_test / scale, y_test) for fit in fits]


def spread(z):
    """Entropy in nats per dimension, and the number of dimensions that the vectors use."""
    z = z.astype("float64")
    return float(functional.gaussian_entropy(z)), float(functional.effective_rank(z))


if __name__ == "__main__":
    main()
