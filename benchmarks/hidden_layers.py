"""Terms on the hidden layers of a deep classifier: do more units live, and is the network better on new images?

    python benchmarks/hidden_layers.py --output runs/hidden_layers --data DIR [--workers 2]

The network has eight ReLU layers of 48 units and learns from 1,000 images of MNIST at 14 x 14. As a study: two seeds
choose the strength and the learning rate of every arm by the negative log-likelihood (NLL) of 1,000 validation images,
eight other seeds are compared on 2,000 test images: at the last epoch, and with early stopping, at the epoch with the
lowest validation NLL. DIR has MNIST, prepared by TensorFlow Datasets.
"""

import argparse
import dataclasses
import functools
import os
import sys
from pathlib import Path

import keras
import numpy as np
from keras import layers
from small_images import half_size

from keras_entropy import RepresentationEntropy
from keras_entropy.stats import holm
from keras_entropy.study import Arm, Study, VarianceCovariance, compare

TUNE_SEEDS, SEEDS = range(2), range(100, 108)
EPOCHS, BATCH, DEPTH, WIDTH = 20, 50, 8, 48
STRENGTHS = [0.01, 0.03, 0.1, 0.3]
BASELINE = "no term"


@functools.cache
def images(folder):
    """Training, validation and test images and labels: 1,000, 1,000 and 2,000."""
    x, y, x_test, y_test = half_size("mnist", folder, "train[:2000]", "test[:2000]")
    return x[:1000], y[:1000], x[1000:], y[1000:], x_test, y_test


def classifier(learning_rate, before=None, after=None, strength=0.0, dropout=0.0, l2=0.0, normalised=False):
    """A deep network with a term before or after the activation of each hidden layer."""
    terms = {
        "entropy": lambda: RepresentationEntropy(strength),
        "variance": lambda: VarianceCovariance(strength, strength),
    }
    stack = [keras.Input((14, 14, 1)), layers.Flatten()]
    for depth in range(DEPTH):
        stack.append(layers.Dense(WIDTH, kernel_initializer="he_normal", kernel_regularizer=keras.regularizers.L2(l2)))
        stack += [layers.BatchNormalization()] if normalised else []
        stack += [terms[before]()] if before else []
        stack.append(layers.ReLU(name=f"active{depth + 1}"))
        stack += [terms[after]()] if after else []
        stack += [layers.Dropout(dropout)] if dropout else []
    model = keras.Sequential([*stack, layers.Dense(10, "softmax", name="head")])
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy")
    return model


class OnNewImages(keras.callbacks.Callback):
    """Log NLL, accuracy and the part of the hidden units that never fire, on test images."""

    def __init__(self, x, y):
        super().__init__()
        self.x, self.y = x, y

    def set_model(self, model):
        """Prepare a model that also returns the hidden layers."""
        super().set_model(model)
        active = [layer.output for layer in model.layers if layer.name.startswith("active")]
        self.parts = keras.Model(model.inputs, [*active, model.outputs[0]])

    def on_epoch_end(self, epoch, logs=None):
        """Add the three numbers to the logs."""
        *active, p = self.parts.predict(self.x, batch_size=len(self.x), verbose=0)
        chosen = p[np.arange(len(p)), self.y]
        logs["test_nll"] = float(-np.log(np.maximum(chosen, 1e-30)).mean())
        logs["test_accuracy"] = float((p.argmax(-1) == self.y).mean())
        logs["dead"] = float(np.mean([(z <= 0).all(0).mean() for z in active]))


def arms():
    """Each arm with a strength has four values of it, and all have two learning rates."""
    strength = {"strength": STRENGTHS}
    return [
        Arm(BASELINE),
        Arm("entropy, before", before="entropy", tune=strength),
        Arm("entropy, after", after="entropy", tune=strength),
        Arm("variance and covariance, before", before="variance", tune=strength),
        Arm("variance and covariance, after", after="variance", tune=strength),
        Arm("dropout", tune={"dropout": [0.05, 0.1, 0.2, 0.4]}),
        Arm("L2", tune={"l2": [1e-4, 3e-4, 1e-3, 3e-3]}),
        Arm("batch normalisation", normalised=True),
    ]


def study(folder, output):
    """The study with all arms."""
    x, y, x_val, y_val, x_test, y_test = images(folder)
    return Study(
        classifier,
        arms(),
        SEEDS,
        data=(x, y, x_val, y_val),
        tune={"learning_rate": [1e-3, 3e-3]},
        tune_seeds=TUNE_SEEDS,
        epochs=EPOCHS,
        batch_size=BATCH,
        callbacks=functools.partial(on_new_images, x_test, y_test),
        output=output,
    )


def on_new_images(x, y):
    return [OnNewImages(x, y)]


def until_best(record):
    """The run as early stopping leaves it: until the epoch with the lowest validation NLL."""
    best = int(np.argmin(record.history["val_task_loss"]))
    return dataclasses.replace(record, history={name: v[: best + 1] for name, v in record.history.items()})


def report(records):
    """Print the differences from the arm without a term, with Holm's adjustment over all of them."""
    records = [record for record in records if record.ok]
    stages = {"last epoch": records, "early stopping": [until_best(record) for record in records]}
    found = {
        (stage, metric): compare(of_stage, metric, BASELINE, lower_is_better=metric == "test_nll")
        for stage, of_stage in stages.items()
        for metric in ("test_nll", "test_accuracy")
    }
    rivals = {(key, row.arm): row for key, comparison in found.items() for row in comparison.rivals}
    adjusted = dict(zip(rivals, holm([row.difference.p for row in rivals.values()]), strict=True))
    for (stage, metric), comparison in found.items():
        print(f"\n{stage}, {metric}")
        dead = {
            row.arm: row.mean.estimate for row in compare(stages[stage], "dead", BASELINE, lower_is_better=True).rows
        }
        for row in comparison.rows:
            text = f"{row.arm:34}{row.mean.estimate:8.4f}  dead {dead[row.arm]:5.1%}  {row.tuned}"
            if row.difference is not None:
                a = row.difference
                p = adjusted[(stage, metric), row.arm]
                text += f"  {a.estimate:+.4f} ({a.low:+.4f} to {a.high:+.4f}), p = {p:.2g}"
            print(f"{text}  {row.cpu_seconds:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/hidden_layers"))
    parser.add_argument("--data", default=os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    work = study(str(Path(arguments.data).expanduser()), arguments.output)
    report(work.run(workers=arguments.workers, progress=sys.stderr.isatty()).records)


if __name__ == "__main__":
    main()
