"""Which loss keeps a representation that is learnt without labels from a collapse, and how useful the result is.

    python benchmarks/representations.py TASK ... --output runs/representations --data DIR [--workers 2]
    python benchmarks/representations.py --report --output runs/representations
    python benchmarks/representations.py --cost --data DIR

Each task trains an encoder on two augmentations of 5,000 images (MNIST at 14 x 14, CIFAR-10 at 16 x 16), as a study: a
seed chooses the weights and the learning rate of every method on validation images, eight other seeds are compared on
test images. A ridge classifier on the frozen representation, fitted to all labels or to ten of each class (the mean
over five draws), gives the accuracies; leaving one out chooses the ridge. The encoder of mnist-bijection is a
bijection: a kernel's log-volume may prevent the collapse there. DIR has MNIST and CIFAR-10 (the sets "mnist", and
"cifar10" or "cifar10_small"), prepared by TensorFlow Datasets. TensorFlow is by far the fastest backend here: the
augmentations are slow on the others. All tasks take about an hour of one processor core.
--cost prints what a training step of each loss costs.
"""

import argparse
import functools
import os
import sys
import time
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from keras import layers
from sklearn.linear_model import RidgeClassifierCV
from small_images import half_size

from keras_entropy import DenseEntropy, ViewEntropy, functional
from keras_entropy.losses import LossOfViews
from keras_entropy.stats import holm
from keras_entropy.study import Arm, BarlowTwins, SoftOrthogonality, Study, VICReg, read_study
from keras_entropy.study.document import DASH, Table
from keras_entropy.study.wording import point_text

TUNE_SEEDS, SEEDS = range(1), range(100, 108)
EPOCHS, BATCH, DIMENSIONS = 18, 256, 64  # 360 steps
LOSSES = {"ViewEntropy": ViewEntropy, "VICReg": VICReg, "Barlow Twins": BarlowTwins}


# Data


@functools.cache
def images(name, folder):
    """Training, validation and test images and labels: 5,000, 1,500 and 1,500."""
    x, y, x_test, y_test = half_size(name, folder, "train[:6500]", "test[:1500]")
    return (x[:5000], y[:5000]), (x[5000:], y[5000:]), (x_test, y_test)


# Models


def augmentation(colours):
    """Random changes of an image that leave its class as it is."""
    changes = [layers.RandomTranslation(0.1, 0.1, fill_mode="nearest", interpolation="nearest")]
    if colours:
        changes += [layers.RandomFlip("horizontal"), layers.RandomBrightness(0.3, (0, 1)), layers.RandomContrast(0.3)]
    return keras.Sequential([*changes, layers.GaussianNoise(0.1)], name="augmentation")


def encoder(kind, shape):
    """An encoder that ends with the representation."""
    if kind == "mlp":
        hidden = [layers.Flatten(), layers.Dense(256, "relu"), layers.Dense(256, "relu"), layers.Dense(DIMENSIONS)]
    elif kind == "cnn":
        options = {"strides": 2, "padding": "same", "activation": "relu"}
        hidden = [layers.Conv2D(16, 3, **options), layers.Conv2D(32, 3, **options)]
        hidden += [layers.Flatten(), layers.Dense(DIMENSIONS)]
    elif kind == "bijection":
        square = [layers.Dense(int(np.prod(shape)), use_bias=False) for _ in range(3)]
        hidden = [layers.Flatten(), square[0], layers.LeakyReLU(), square[1], layers.LeakyReLU(), square[2]]
    else:  # PReLU has a weight to train, and leaves values >= 0 as they are
        hidden = [layers.Flatten(), layers.PReLU()]
    return keras.Sequential([keras.Input(shape), *hidden], name="encoder")


def pretrained(kind, shape, learning_rate, method, **weights):
    """A model of two views, compiled with the loss of a method."""
    weights = {"factor" if name == "entropy" else name: value for name, value in weights.items()}
    network, augment, x = encoder(kind, shape), augmentation(shape[-1] == 3), keras.Input(shape)
    if method == "labels":
        model = keras.Model(x, layers.Dense(10, "softmax", name="head")(network(augment(x))))
        model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy")
        return model
    model = of_views(network, augment, x)
    model.compile(keras.optimizers.Adam(learning_rate), LOSSES[method](**weights))
    return model


def of_views(network, augment, x):
    """A model that returns the representations of two views."""
    return keras.Model(x, keras.ops.stack([network(augment(x)) for _ in range(2)], axis=1))


class Probe(keras.callbacks.Callback):
    """Log how useful the representation is, and how many dimensions it uses, after the last epoch."""

    def __init__(self, data):
        super().__init__()
        self.data = data

    def on_epoch_end(self, epoch, logs=None):
        """Fit classifiers to the representation of the training images."""
        if epoch + 1 < self.params["epochs"]:
            return
        network = self.model.get_layer("encoder")
        (z, y), *others = [(network.predict(x, BATCH, verbose=0).astype(float), y) for x, y in self.data]
        middle, scale = z.mean(0), z.std() + 1e-12
        for part, (features, labels) in zip(("val", "test"), others, strict=True):
            for name, rows in (("probe", [np.arange(len(y))]), ("few", few_labels(y))):
                fits = [ridge().fit((z[r] - middle) / scale, y[r]) for r in rows]
                logs[f"{part}_{name}"] = np.mean([fit.score((features - middle) / scale, labels) for fit in fits])
        logs["effective_rank"] = float(functional.effective_rank(z[:1000]))
        logs["gaussian_entropy"] = float(functional.gaussian_entropy(z[:1000], 1e-2))


def ridge():
    return RidgeClassifierCV(alphas=np.logspace(-3, 3, 7))


def few_labels(y):
    """Five draws of ten rows of each class."""
    for draw in range(5):
        rng = np.random.default_rng(draw)
        yield np.concatenate([rng.permutation(np.flatnonzero(y == c))[:10] for c in range(10)])


# Tasks


RATES = [1e-3, 4e-3]
UNTUNED = "ViewEntropy(0.5)"


def arms(name, kind):
    """The arms of an encoder. Every method has six settings and two learning rates."""
    distance = {"method": "ViewEntropy", "entropy": 0.0}
    volume = Arm("distance, DenseEntropy", "all", DenseEntropy, tune={"factor": [1e-3, 1e-2, 1e-1]}, **distance)
    views = Arm("ViewEntropy", method="ViewEntropy", tune={"entropy": [0.05, 0.1, 0.25, 0.5, 1.0, 2.0]})
    untuned = Arm(UNTUNED, method="ViewEntropy", entropy=0.5, learning_rate=4e-3)
    alone = Arm("distance alone", **distance)
    if kind == "bijection":
        return [views, alone, volume]
    vicreg = {"variance": [1.0, 5.0], "covariance": [0.2, 1.0, 5.0]}
    barlow = {"redundancy": [0.02, 0.05, 0.1, 0.25, 0.5, 1.0]}
    found = [
        views,
        untuned,
        Arm("VICReg", method="VICReg", invariance=1.0, tune=vicreg),
        Arm("Barlow Twins", method="Barlow Twins", tune=barlow),
        alone,
        Arm("random weights", learning_rate=0.0, **distance),
        Arm("raw pixels", kind="pixels", learning_rate=0.0, **distance),
        Arm("all labels", method="labels"),
    ]
    if (name, kind) == ("mnist", "mlp"):
        orthogonal = functools.partial(SoftOrthogonality, mode="columns")
        found += [
            volume,
            Arm("distance, soft orthogonality", "all", orthogonal, tune={"factor": [1e-3, 1e-2, 1e-1]}, **distance),
        ]
    return found


TASKS = ("mnist-mlp", "mnist-cnn", "cifar10-mlp", "cifar10-cnn", "mnist-bijection")


def study(task, folder, output):
    name, kind = task.split("-")
    parts = images(name, folder)
    (x, y), (x_val, y_val), _ = parts
    build = functools.partial(build_of, kind, x.shape[1:])
    return Study(
        build,
        arms(name, kind),
        SEEDS,
        data=(x, y, x_val[:BATCH], y_val[:BATCH]),
        tune={"learning_rate": RATES},
        tune_seeds=TUNE_SEEDS,
        epochs=EPOCHS,
        batch_size=BATCH,
        metric="val_probe",
        lower_is_better=False,
        callbacks=lambda: [Probe(parts)],
        output=output / task,
    )


def build_of(default, shape, learning_rate, kind=None, **options):
    return pretrained(kind or default, shape, learning_rate, **options)


REFERENCES = ("ViewEntropy", UNTUNED)
METRICS = {"all labels": "test_probe", "10 per class": "test_few"}


def report(output):
    """Print a table for each task, and write results.csv."""
    folders = [output / task for task in TASKS if (output / task / "runs.jsonl").exists()]
    results = {folder.name: read_study(folder) for folder in folders}
    results = {task: found for task, found in results.items() if any(r.role == "report" for r in found.records)}
    compared = {
        (task, reference, name): result.compare(metric, reference, lower_is_better=False)
        for task, result in results.items()
        for reference in REFERENCES
        for name, metric in METRICS.items()
        if any(record.arm == reference for record in result.records)
    }
    tests = {
        (*key, row.arm): row.difference.p
        for key, found in compared.items()
        for row in found.rivals
        if row.difference is not None and not np.isnan(row.difference.p)  # NaN: both chose the same values
    }
    adjusted = dict(zip(tests, holm(list(tests.values())), strict=True))
    rows = []
    for (task, reference, name), found in compared.items():
        for row in found.rows:
            values = {
                "task": task,
                "reference": reference,
                "labels": name,
                "arm": row.arm,
                "seeds": len(row.values),
                "mean": row.mean.estimate,
            }
            if row.difference is not None:
                a = row.difference
                values |= {
                    "difference": a.estimate,
                    "low": a.low,
                    "high": a.high,
                    "p_holm": adjusted.get((task, reference, name, row.arm), 1.0),
                }
            records = [record for record in results[task].records if record.arm == row.arm]
            values |= {"chosen": point_text(row.tuned), "cpu_seconds": row.cpu_seconds, **details(records)}
            rows.append(values)
    frame = pd.DataFrame(rows)
    frame.to_csv(output / "results.csv", index=False, lineterminator="\n", float_format="%.5g")
    print(f"Holm over {len(tests)} tests; a difference is that of the arm minus the first arm of its table\n")
    for (task, reference), part in frame.groupby(["task", "reference"], sort=False):
        print(table(f"{task}: compared with {reference}", part).to_markdown(), end="\n\n")


def details(records):
    """The representation that an arm learns, and the accuracies of its settings on validation images."""
    ended = [record for record in records if record.ok and record.role == "report"]
    tried = [record.value("val_probe") for record in records if record.ok and record.role == "tune"]
    means = {name: np.mean([r.value(name) for r in ended]) for name in ("effective_rank", "gaussian_entropy")}
    return means | {"lowest_setting": min(tried, default=np.nan), "highest_setting": max(tried, default=np.nan)}


def table(title, frame):
    """The arms of a task: accuracies in percent, and what they differ by."""
    found = []
    for arm in dict.fromkeys(frame.arm):
        all_labels, few = (frame[(frame.arm == arm) & (frame.labels == name)].iloc[0] for name in METRICS)
        spread = DASH if np.isnan(few.lowest_setting) else f"{few.lowest_setting:.1%} to {few.highest_setting:.1%}"
        shape = f"{few.gaussian_entropy:.2f}", f"{few.effective_rank:.0f}"
        found.append((arm, cell(all_labels), cell(few), *shape, spread, few.chosen))
    head = ("arm", *METRICS, "entropy", "effective rank", "its settings", "chosen")
    return Table(title, head, tuple(found))


def cell(row):
    """Mean accuracy, and the difference with its interval."""
    text = f"{100 * row['mean']:.1f}"
    if np.isnan(row.difference):
        return text
    stars = " *" if row.p_holm < 0.05 else ""
    return f"{text} ({100 * row.difference:+.1f}, {100 * row.low:+.1f} to {100 * row.high:+.1f}{stars})"


class Distance(LossOfViews):
    """The mean squared distance alone, without the computation of an entropy."""

    def loss_of_views(self, first, second):
        """Compute the distance."""
        return keras.ops.mean(keras.ops.square(first - second))


def cost(folder, rounds=9):
    """Print the time of a training step of each loss, in turn: medians, with and without augmentation."""
    (x, _), *_ = images("mnist", folder)
    losses = {
        "distance alone": Distance(),
        "ViewEntropy": ViewEntropy(),
        "VICReg": VICReg(),
        "Barlow Twins": BarlowTwins(),
    }
    for augmented in (True, False):
        change = augmentation(colours=False) if augmented else keras.layers.GaussianNoise(0.1)
        models, seconds = {}, {name: [] for name in losses}
        for name, loss in losses.items():
            models[name] = of_views(encoder("mlp", x.shape[1:]), change, keras.Input(x.shape[1:]))
            models[name].compile(keras.optimizers.Adam(1e-3), loss)
            models[name].fit(x, batch_size=BATCH, verbose=0)
        for _ in range(rounds):
            for name, model in models.items():
                start = time.perf_counter()
                model.fit(x, batch_size=BATCH, verbose=0)
                seconds[name].append(time.perf_counter() - start)
        base = np.median(seconds["distance alone"])
        steps = -(-len(x) // BATCH)
        print(
            f"{keras.backend.backend()}, {'with' if augmented else 'without'} augmentation: {1e3 * base / steps:.2f} ms"
        )
        for name in list(losses)[1:]:
            print(f"  {name}: {np.median(seconds[name]) / base:.2f} times the distance alone")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="; ".join(TASKS))
    parser.add_argument("--output", type=Path, default=Path("runs/representations"))
    parser.add_argument("--data", default=os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--cost", action="store_true")
    arguments = parser.parse_args()
    unknown = set(arguments.tasks) - set(TASKS)
    if unknown:
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}; there are {', '.join(TASKS)}")
    data = str(Path(arguments.data).expanduser())
    if arguments.cost:
        cost(data)
    for task in arguments.tasks:
        study(task, data, arguments.output).run(workers=arguments.workers, progress=sys.stderr.isatty())
        print(f"{task}: ended", flush=True)
    if arguments.report:
        report(arguments.output)


if __name__ == "__main__":
    main()
