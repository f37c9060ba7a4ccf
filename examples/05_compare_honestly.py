"""Five arms of one autoencoder, compared twice: early stopping on the loss with its penalty, then on the task alone.

    python examples/05_compare_honestly.py [FOLDER] [--data-dir ~/tensorflow_datasets] [--seeds 3] [--epochs 30]

The arms are: no term; eq. 24 of Meni et al. (2023), the reciprocal of a determinant; the value of eq. 24 at the initial
weights, as a constant; a log-volume; and total correlation. A seed gives the same initial weights and the same batches
in all arms: if the trained weights are bit-identical too, the term had no effect.

The data are MNIST if TensorFlow Datasets has prepared it in --data-dir (or TFDS_DATA_DIR), else the digits of
scikit-learn, enlarged. The records and a report of both studies go to FOLDER; a second call continues from there. The
seeds are few, and the settings are chosen to show the effect: look at the bit-identical weights, not at the p-values.
"""

import argparse
import textwrap
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_entropy import DenseEntropy, TotalCorrelation, datasets, models
from keras_entropy.study import Arm, Study

RECIPROCAL = DenseEntropy(1.0, epsilon=1e-4, form="reciprocal", block="leading", reduction="sum")
ARMS = [
    Arm("none"),
    Arm("eq. 24", "first", RECIPROCAL),
    Arm("constant", "first", RECIPROCAL, constant=True),
    Arm("log-volume", "first", DenseEntropy(1e-3)),
    Arm("total correlation", "first", TotalCorrelation(1e-4)),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default="runs/compare_honestly")
    parser.add_argument("--data-dir", help="where TensorFlow Datasets has prepared MNIST")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=30)
    arguments = parser.parse_args()
    name, x, x_val = images(arguments.data_dir)
    settings = {"data": (x, x, x_val, x_val), "epochs": arguments.epochs, "patience": 3}
    settings["batch_size"] = 128 if name == "mnist" else 64
    for monitor in ("val_loss", "val_task_loss"):
        folder = arguments.folder / f"{name}_{monitor}"
        print(f"\nEarly stopping on {monitor}, {len(x)} images of {name}, n = {arguments.seeds} seeds\n")
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            study = Study(build, ARMS, range(arguments.seeds), monitor=monitor, output=folder, **settings)
        for warning in caught:  # the first comparison is flawed, and Study says so
            say(f"{warning.category.__name__}: {warning.message}")
        result = study.run()
        show(result.records)
        for sentence in result.compare().sentences():
            say(sentence)
        print(f"  Report: {result.report()}")
    print("\nWarnings of a run of eq. 24:")
    for text in next(record.warnings for record in result.records if record.arm == "eq. 24"):
        say(text)


def build():
    model = models.autoencoder((28, 28, 1), width=180)
    model.compile(keras.optimizers.Adam(3e-3), "mse")
    return model


def images(data_dir):
    """The name of the data, and images to train and to validate on."""
    try:
        data = datasets.mnist(data_dir, "train[:3000]", "test[:1000]")
        return "mnist", data.x_train, data.x_test
    except FileNotFoundError:
        data = datasets.digits()
        sides, edges = np.ones((1, 3, 3, 1), "float32"), ((0, 0), (2, 2), (2, 2), (0, 0))
        return "digits", *(np.pad(np.kron(x, sides), edges) for x in (data.x_train, data.x_test))


def show(records):
    """Epochs and task loss of each arm, and the arms with bit-identical trained weights for every seed."""
    trained = {}
    for record in sorted(records, key=lambda record: record.seed):
        trained.setdefault(record.arm, []).append(record)
    weights = {arm: [run.final_weights for run in runs] for arm, runs in trained.items()}
    print(f"  {'arm':18} {'epochs':>12} {'task loss':>10}  same trained weights as")
    for arm in (arm.name for arm in ARMS):
        epochs = " ".join(str(run.epochs) for run in trained[arm])
        loss = np.mean([run.value("val_task_loss") for run in trained[arm]])
        same = [other for other in trained if other != arm and weights[other] == weights[arm]]
        print(f"  {arm:18} {epochs:>12} {loss:10.5f}  {', '.join(same) or 'no other'}")


def say(text):
    print(textwrap.fill(text, 110, initial_indent="  ", subsequent_indent="    "))


if __name__ == "__main__":
    main()
