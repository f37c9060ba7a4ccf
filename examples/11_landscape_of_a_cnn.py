"""How well does a CNN do that nobody has trained, but that fits the training data? Threes and eights of 8 x 8 pixels.

    KERAS_BACKEND=jax python examples/11_landscape_of_a_cnn.py [FOLDER] [--moves 2e6] [--networks 10]

Every weight lies in a box of +-2 / sqrt(fan_in). The script estimates which part of this box has a given training loss
(its entropy, in nats), and the mean test accuracy of all networks in that part. Then it trains networks with Adam,
stops each of them at the deepest loss of the estimate, and compares. It takes about three minutes of processor time.
FOLDER gets a figure. A fifth of the moves follow the gradient of the loss, which needs JAX.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from keras import layers

from keras_entropy import datasets
from keras_entropy.landscape import density_of_states, keras_problem


class StopAtLoss(keras.callbacks.Callback):
    """Stops the training of a network as soon as the loss of the whole training set is low enough."""

    def __init__(self, x, y, loss):
        super().__init__()
        self.x, self.y, self.loss = x, y, loss

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = self.model.evaluate(self.x, self.y, verbose=0)[0] <= self.loss


def small_cnn():
    convolution = layers.Conv2D(6, 3, strides=2, activation="relu")
    hidden = layers.Dense(8, activation="relu")
    return keras.Sequential([keras.Input((8, 8, 1)), convolution, layers.Flatten(), hidden, layers.Dense(2)])


def threes_and_eights():
    """100 images for training, the others for the test."""
    x_train, y_train, x_test, y_test = datasets.digits()
    x, y = np.concatenate([x_train, x_test]), np.concatenate([y_train, y_test])
    chosen = np.random.default_rng(0).permutation(np.flatnonzero((y == 3) | (y == 8)))
    x, y = x[chosen], (y[chosen] == 8).astype("int32")
    return x[:100], y[:100], x[100:], y[100:]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default="runs/landscape_of_a_cnn")
    parser.add_argument("--moves", type=float, default=2e6)
    parser.add_argument("--networks", type=int, default=10)
    arguments = parser.parse_args()
    if keras.backend.backend() != "jax":
        print(
            f"Moves along the gradient need JAX, and the backend is {keras.backend.backend()}. Set KERAS_BACKEND=jax."
        )
        print("Other backends run it without `hmc_fraction` and `num_leapfrog_steps`, many times slower.")
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    x_train, y_train, x_test, y_test = data = threes_and_eights()
    problem = keras_problem(small_cnn(), data, half_width="fan_in")
    found = density_of_states(
        problem, "train_loss", arguments.moves, target_loss=0.3, hmc_fraction=0.2, num_leapfrog_steps=1
    )
    print(found)
    found.plot("test_accuracy", arguments.folder / "cnn.png")
    mean, error, _ = found.conditional_mean("test_accuracy")

    accuracies = []
    for seed in range(arguments.networks):
        keras.utils.set_random_seed(seed)
        model = small_cnn()
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(0.003), loss, metrics=["accuracy"])
        model.fit(x_train, y_train, 100, 500, verbose=0, callbacks=[StopAtLoss(x_train, y_train, 0.3)])
        accuracies.append(model.evaluate(x_test, y_test, verbose=0)[1])
    print(f"\nMean test accuracy at a training loss of 0.3 and less: all of the box {mean[0]:.3f} +- {error[0]:.3f},")
    print(f"{arguments.networks} networks trained by Adam {np.mean(accuracies):.3f}. {arguments.folder / 'cnn.png'}")


if __name__ == "__main__":
    main()
