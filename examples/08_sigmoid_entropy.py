"""Minimise the entropy of sigmoid units alone, and beside a few labels.

    python examples/08_sigmoid_entropy.py [FOLDER] [--data-dir ~/tensorflow_datasets] [--seeds 5] [--epochs 32]

The first part is descent on the sigmoid entropy alone. It draws a figure in FOLDER and prints the information of a unit
about the digit, before and after. The second part is entropy minimisation (Grandvalet and Bengio, 2004): ten labels per
class, the other rows unlabelled, with and without their entropy. Other seeds choose the learning rate and the weight.
A seed sets labelled rows, initial weights and batches of both arms. All accuracies, also for the choice, are on test
images. The data are the digits of scikit-learn, and MNIST with --data-dir.
"""

import argparse
from pathlib import Path

import keras
import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import mutual_info_score

from keras_entropy import DualDense, SemiSupervisedCrossentropy, datasets, functional
from keras_entropy.study import Arm, Study


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default="runs/sigmoid_entropy")
    parser.add_argument("--data-dir", help="folder of TensorFlow Datasets with MNIST")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--tune-seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=32, help="epochs on the digits; an eighth of them on MNIST")
    arguments = parser.parse_args()
    data, epochs, seeds = datasets.digits(), arguments.epochs, range(arguments.seeds)
    alone(data, seeds, arguments.folder)
    settings = {"seeds": seeds, "tune_seeds": range(1000, 1000 + arguments.tune_seeds)}
    few_labels(data, arguments.folder / "digits", epochs=epochs, batch_size=64, **settings)
    if arguments.data_dir:
        mnist, settings["epochs"] = datasets.mnist(arguments.data_dir), max(1, epochs // 8)
        few_labels(mnist, arguments.folder / "mnist", batch_size=256, **settings)


def alone(data, seeds, folder):
    """Descent on H alone."""
    x, y, found = data.x_train.reshape(len(data.x_train), -1), data.y_train, []
    for seed in seeds:
        keras.utils.set_random_seed(seed)
        model = keras.Sequential([keras.Input(x.shape[1:]), DualDense(10, activation=None, decision_weight=1.0)])
        model.compile(keras.optimizers.Adam(0.02))
        logits = [model.predict(x, verbose=0)]
        for _ in range(10):
            model.fit(x, batch_size=256, verbose=0)
            logits.append(model.predict(x, verbose=0))
        decided = [np.mean(np.abs(z) > np.log(99)) for z in logits]
        entropy = [functional.sigmoid_entropy(z).mean() for z in logits]
        information = [np.mean([mutual_info_score(y, unit) for unit in (z > 0).T]) / np.log(2) for z in logits]
        found.append(np.array([decided, entropy, information])[:, [0, -1]])
    print(f"\nDescent on H alone, {len(seeds)} seeds, before and after:")
    names = ("outputs within 0.01 of 0 or 1", "H, bits per unit", "information about the digit, bits per unit")
    for name, values in zip(names, np.mean(found, axis=0), strict=True):
        print(f"  {name:43} " + "{:.3f} -> {:.3f}".format(*values))
    left, right = (figure := Figure(figsize=(9, 3), layout="constrained")).subplots(1, 2)
    left.hist([1 / (1 + np.exp(-z.ravel())) for z in (logits[0], logits[-1])], bins=20, label=["before", "after"])
    left.set(xlabel="output D of a unit", ylabel="count", title="Descent on H decides every unit")
    right.plot(np.transpose([entropy, information]), label=names[1:])
    right.set(xlabel="epoch", ylabel="bits per unit", title="It uses no label")
    figure.legend(loc="outside lower center", ncols=4, fontsize=8)
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / "alone.png", dpi=110)


def few_labels(data, folder, **settings):
    x, xv = (np.round(255 * x.reshape(len(x), -1)).astype("uint8") for x in (data.x_train, data.x_test))
    y, yv, pixels = data.y_train, data.y_test, x.shape[1]

    def rows(seed):
        """Ten labelled rows per class, repeated to a fifth of all rows; the others have the label -1."""
        order = np.random.default_rng(seed).permutation(len(x))
        labelled = np.concatenate([order[y[order] == digit][:10] for digit in range(10)])
        rest = np.setdiff1d(order, labelled)
        repeated = np.tile(labelled, len(rest) // 400)
        images = x[np.concatenate([repeated, rest])]
        return images / np.float32(255), np.r_[y[repeated], np.full(len(rest), -1)], xv / np.float32(255), yv

    def build(learning_rate, unlabelled_weight):
        model = keras.Sequential([keras.Input((pixels,)), keras.layers.Dense(128, "relu"), keras.layers.Dense(10)])
        loss = SemiSupervisedCrossentropy(unlabelled_weight)
        model.compile(keras.optimizers.Adam(learning_rate), loss, metrics=["accuracy"])
        return model

    weights = {"unlabelled_weight": [0.03, 0.1, 0.3, 1.0]}
    arms = [Arm("labels only", unlabelled_weight=0.0), Arm("with entropy", tune=weights)]
    settings |= {"tune": {"learning_rate": [1e-3, 3e-3]}, "metric": "val_accuracy", "output": folder}
    shown = Study(build, arms, data=rows, **settings).run().compare()
    title = f"\n{folder.name}: 100 labels, {len(y) - 100} rows without\n"
    print(title, shown, "", *shown.sentences(), sep="\n")


if __name__ == "__main__":
    main()
