"""Five arms of one autoencoder, compared twice: early stopping on the loss with the penalty, and on the task alone.

    python examples/05_compare_honestly.py [FOLDER] [--data-dir ~/tensorflow_datasets]

The arms are no term; the reciprocal of a determinant, as eq. 24 of Meni, White, Mayo, Pilkiewicz has it; the constant
that this is at the initial weights; a log-volume; and total correlation. Arms of one seed share initial weights and
the order of the data, so equal fingerprints of the trained weights mean equal training, to the last bit. The data are
MNIST, if --data-dir or TFDS_DATA_DIR holds it as TensorFlow Datasets prepares it, else the digits of scikit-learn,
enlarged. The strengths are not tuned and the seeds are few: it shows how to compare, not which term is best. FOLDER
gets the records and a report for each of the two; run again, the example goes on from the records.
"""

import argparse
import warnings
from pathlib import Path

import keras
import numpy as np

from keras_entropy import DenseEntropy, TotalCorrelation, datasets, models
from keras_entropy.study import Arm, Study, compare, report

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
    parser.add_argument("folder", nargs="?", default="runs/compare_honestly", type=Path)
    parser.add_argument("--data-dir", help="where TensorFlow Datasets has prepared MNIST")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    data, epochs = images(arguments.data_dir)
    for monitor in ("val_loss", "val_task_loss"):
        print(f"\nEarly stopping on {monitor}")
        folder = arguments.folder / monitor
        settings = {"epochs": epochs, "batch_size": 128, "patience": 5, "monitor": monitor, "output": folder}
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            study = Study(build, ARMS, range(arguments.seeds), data=data, **settings)
        for warning in caught:  # the study sees what is wrong with the first comparison before it starts
            print(f"  {warning.category.__name__}: {warning.message}")
        records = study.run()
        show(records)
        for sentence in compare(records).sentences():
            print(f"  {sentence}")
        print(f"  Report: {report(folder)}")


def images(data_dir):
    """Images to be reproduced, for training and for validation; and the most epochs."""
    try:
        x_train, _, x_val, _ = datasets.mnist(data_dir, "train[:4000]", "test[:1000]")
        return (x_train, x_train, x_val, x_val), 60
    except FileNotFoundError:
        x_train, _, x_val, _ = (enlarged(array) for array in datasets.digits())
        return (x_train, x_train, x_val, x_val), 25


def enlarged(array):
    return np.pad(np.kron(array, np.ones((1, 3, 3, 1), "float32")), ((0, 0), (2, 2), (2, 2), (0, 0)))
