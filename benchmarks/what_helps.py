"""Which entropy term helps, and where, compared with equally tuned baselines.

    KERAS_BACKEND=jax python benchmarks/what_helps.py TASK ... --output runs/what_helps --data DIR [--workers 2]
    python benchmarks/what_helps.py --report --output runs/what_helps

Each task is a study: the tuning seeds choose the L2 (0 is one of the values), the factor and, except in
autoencoder-180-fine and autoencoder-60-fast, the learning rate of every arm; the arms are compared on ten or twenty
other seeds. Arms named "alone" have no L2; "centred" and "standardised" arms transform their inputs; arms with "decay"
lower the factor to 0 over the run; "empirical" arms have the term on the layer where a trained network keeps most
entropy. Tasks with "muon" compare Keras's Muon optimizer with Adam, on eight seeds. --report reads the finished runs,
prints the table of each task, and applies Holm's adjustment over all tests of all tasks. DIR has MNIST and CIFAR-10
(the sets "mnist", and "cifar10" or "cifar10_small"), prepared by TensorFlow Datasets.
"""

import argparse
import functools
import os
import sys
from pathlib import Path

import keras
import numpy as np
import what_helps_muon
from small_images import half_size

from keras_entropy import (
    ActivationEntropy,
    ConvCornerEntropy,
    ConvEntropy,
    DenseEntropy,
    FactorSchedule,
    TotalCorrelation,
    apply_entropy,
    datasets,
    entropy_profile,
    models,
    resolve_placement,
)
from keras_entropy.study import Arm, SoftOrthogonality, Study

Orthogonal = functools.partial(SoftOrthogonality, mode="columns")
Leading = functools.partial(DenseEntropy, block="leading")
L2 = {20: (0.0, 1e-5, 4e-5), 60: (0.0, 1e-5, 4e-5), 180: (0.0, 1e-6, 1e-5)}  # by the autoencoder's width
WEAK_L2 = (0.0, 1e-6, 3e-6)  # with what autoencoder-180 chose in the middle
STRONG_L2 = (0.0, 4e-5, 1.6e-4, 6.4e-4)  # at a learning rate that is too high
EPOCHS = {"autoencoder": 20, "cnn": 8, "digits": 60}


def autoencoder(width, learning_rate, l2=0.0, infomax=0.0, optimizer="adam"):
    """d-width-d with sigmoid units; `infomax` is the factor of a log-volume and of its activation's entropy."""
    model = models.autoencoder((28, 28, 1), width)
    if l2:
        apply_entropy(model, "first", keras.regularizers.L2(l2))
    if infomax:
        apply_entropy(model, "first", DenseEntropy(infomax))
        model.get_layer("encoder").activity_regularizer = ActivationEntropy("sigmoid", infomax)
    model.compile(what_helps_muon.optimizer(optimizer, learning_rate), "mse")
    return model


def cnn(shape, filters, learning_rate, l2=0.0, normalised=False, optimizer="adam"):
    """The small CNN of Meni et al. (2023), with L2 on the convolutions, and optionally batch normalisation."""
    layers = [keras.Input(shape)]
    for i, count in enumerate(filters, start=1):
        regularizer = keras.regularizers.L2(l2) if l2 else None
        layers.append(keras.layers.Conv2D(count, 3, padding="same", kernel_regularizer=regularizer, name=f"conv{i}"))
        layers += [keras.layers.BatchNormalization()] if normalised else []
        layers += [keras.layers.LeakyReLU(), keras.layers.MaxPooling2D(2)]
    layers += [keras.layers.Flatten(), keras.layers.Dense(10, activation="softmax", name="head")]
    model = keras.Sequential(layers)
    steps = what_helps_muon.optimizer(optimizer, learning_rate)
    model.compile(steps, "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def cifar_cnn(depth, learning_rate, l2=0.0, normalised=False, optimizer="adam"):
    return cnn((16, 16, 3), [16] * depth, learning_rate, l2, normalised, optimizer)


def digits_cnn(learning_rate, l2=0.0):
    return cnn((8, 8, 1), [16, 16], learning_rate, l2)


def mnist(folder):
    data = datasets.mnist(folder, "train[:5000]", "test[:2000]")
    return data.x_train, data.x_train, data.x_test, data.x_test


def cifar(folder):
    """CIFAR-10 at half the size."""
    return half_size("cifar10", folder, "train[:5000]", "test[:1500]")


def few_digits(seed, per_class=10):
    """Ten labelled digits of each class, drawn by the seed; all test digits."""
    data = datasets.digits()
    rng = np.random.default_rng(seed)
    rows = np.concatenate([rng.permutation(np.flatnonzero(data.y_train == c))[:per_class] for c in range(10)])
    return data.x_train[rows], data.y_train[rows], data.x_test, data.y_test


def fading(kind):
    return {"callbacks": functools.partial(decay, EPOCHS[kind])}


def decay(epochs):
    """Callbacks that lower all factors from 1 to 0."""
    return [FactorSchedule(lambda epoch: 1 - epoch / epochs)]


def paired_with(inputs, l2):
    """Arms of an autoencoder with a tuned L2, on raw or transformed inputs."""
    before = f"{inputs}, " if inputs else ""
    options = {"inputs": inputs, "l2": l2}
    return [
        arm(f"{before}L2", **options),
        arm(f"{before}DenseEntropy", DenseEntropy, [1e-3, 1e-2], **options),
        arm(f"{before}TotalCorrelation", TotalCorrelation, [1e-2, 1e-1], **options),
        arm(f"{before}infomax", infomax=[3e-4, 1e-3], **options),
    ]


def arm(name, regularizer=None, factor=None, placement=None, *, l2, infomax=None, **options):
    """An arm with a tuned L2 and tuned factors."""
    axes = {"l2": l2, "factor": factor, "infomax": infomax}
    return Arm(name, placement, regularizer, tune={axis: v for axis, v in axes.items() if v}, **options)


def autoencoder_arms(l2):
    alone = {"l2": [0.0]}
    return [
        *paired_with(None, l2),
        arm("no term, no L2", **alone),
        arm("DenseEntropy alone", DenseEntropy, [1e-3, 1e-2], **alone),
        arm("TotalCorrelation alone", TotalCorrelation, [1e-2, 1e-1], **alone),
        arm("infomax alone", infomax=[3e-4, 1e-3], **alone),
        arm("DenseEntropy leading", Leading, [1e-3, 1e-2], l2=l2),
        arm("DenseEntropy leading alone", Leading, [1e-3, 1e-2], **alone),
        arm("soft orthogonality", Orthogonal, [1e-2, 1e-1], l2=l2),
        arm("soft orthogonality alone", Orthogonal, [1e-2, 1e-1], **alone),
        arm("orthogonal initialisation", initializer="orthogonal", l2=l2),
        arm("initial weights halved", initializer=0.5, l2=l2),
        arm("initial weights doubled", initializer=2.0, l2=l2),
        arm("batch normalisation", batch_normalization=True, l2=l2),
        arm("standardised, L2", inputs="standardised", l2=l2),
        *paired_with("centred", l2),
        arm("DenseEntropy, all layers", DenseEntropy, [1e-3, 1e-2], "all", l2=l2),
        arm("TotalCorrelation, all layers", TotalCorrelation, [1e-2, 1e-1], "all", l2=l2),
    ]


def leads(l2):
    """The terms on raw and on centred inputs, and soft orthogonality, which separates the units without a term."""
    found = [*paired_with(None, l2), *paired_with("centred", l2)]
    for before, inputs in (("", None), ("centred, ", "centred")):
        found.append(arm(f"{before}soft orthogonality", Orthogonal, [1e-2, 1e-1], l2=l2, inputs=inputs))
    return found


def decayed_arms(l2):
    return [
        arm("DenseEntropy, decay", DenseEntropy, [1e-3, 1e-2], l2=l2),
        arm("TotalCorrelation, decay", TotalCorrelation, [1e-2, 1e-1], l2=l2),
        arm("infomax, decay", infomax=[3e-4, 1e-3], l2=l2),
    ]


CNN_L2 = (0.0, 1e-4)
CNN_TERMS = {
    "ConvEntropy": (ConvEntropy, [1e-1, 3e-1]),
    "ConvCornerEntropy": (ConvCornerEntropy, [1e-3, 1e-2]),
    "TotalCorrelation": (TotalCorrelation, [1e-2, 1e-1]),
}


def cnn_leads(l2=CNN_L2):
    """The terms on the first layer, on raw and on standardised inputs. All arms have L2 on all convolutions."""
    standard = {"inputs": "standardised", "l2": l2}
    return [
        arm("L2", l2=l2),
        *[arm(name, *term, l2=l2) for name, term in CNN_TERMS.items()],
        arm("standardised, L2", **standard),
        *[arm(f"standardised, {name}", *term, **standard) for name, term in CNN_TERMS.items()],
    ]


def cnn_arms(depth, l2=CNN_L2):
    """The arms of a depth. With one convolution, all layers are the first layer."""
    return [
        *cnn_leads(l2),
        *(cnn_variant(", all layers", l2, "conv*") if depth > 1 else []),
        arm("no term, no L2", l2=[0.0]),
        arm("orthogonal initialisation", initializer="orthogonal", l2=l2),
    ]


def cnn_variant(suffix, l2=CNN_L2, placement="first"):
    """The terms with another placement, L2 or schedule."""
    return [arm(f"{name}{suffix}", *term, placement, l2=l2) for name, term in CNN_TERMS.items()]


def cnn_centred(l2=CNN_L2):
    """The terms on centred inputs, the best ones without batch normalisation."""
    return [arm(f"centred, {name}", *term, l2=l2, inputs="centred") for name, term in CNN_TERMS.items()]


def cnn_controls(l2=CNN_L2):
    """Controls that change the weights or the inputs in other ways."""
    return [
        arm("soft orthogonality", Orthogonal, [1e-1, 1.0], l2=l2),
        arm("initial weights halved", initializer=0.5, l2=l2),
        arm("initial weights doubled", initializer=2.0, l2=l2),
        arm("centred, L2", inputs="centred", l2=l2),
    ]


def empirical(build, options):
    """The layer that keeps most entropy in a network of the baseline, trained with a tuning seed."""
    keras.utils.set_random_seed(0)
    model, (x, y, _, _) = build(min(options["tune"]["learning_rate"])), options["data"]()
    model.fit(x, y, options["batch_size"], options["epochs"], verbose=0)
    placed = resolve_placement(model, "empirical:1", entropy_profile(model, "log_volume"), regularizer=ConvEntropy(1.0))
    return [weight.path for weight in placed]


VARIANTS = ("decay", "alone", "empirical", "controls", "centred")
"""Suffixes of tasks whose arms belong to the task without the suffix."""

WIDTHS, DEPTHS = (20, 60, 180), (1, 2, 3)


def tasks(folder):
    """Each task: what to build, its arms, data, axes and seeds."""
    dense = {"data": functools.partial(mnist, folder), "epochs": EPOCHS["autoencoder"], "batch_size": 100}
    dense |= {"tune": {"learning_rate": [4e-3, 8e-3]}}
    image = {"data": functools.partial(cifar, folder), "epochs": EPOCHS["cnn"], "batch_size": 64}
    image |= {"metric": "val_accuracy", "tune": {"learning_rate": [5e-3, 1e-2]}}  # 2e-3 was worse without a term
    found = {}
    for width in WIDTHS:
        build = functools.partial(autoencoder, width)
        found[f"autoencoder-{width}"] = (build, autoencoder_arms(L2[width]), dense)
        found[f"autoencoder-{width}-decay"] = (build, decayed_arms(L2[width]), dense | fading("autoencoder"))
    fine = dense | {"tune": {"learning_rate": [4e-3]}}  # the best of 2e-3, 3e-3, 4e-3, 6e-3 and 8e-3 for L2
    found["autoencoder-180-fine"] = (functools.partial(autoencoder, 180), leads(WEAK_L2), fine)
    fast = dense | {"tune": {}, "grid": {"learning_rate": [1.6e-2, 3.2e-2]}}
    found["autoencoder-60-fast"] = (functools.partial(autoencoder, 60), leads(STRONG_L2), fast)
    for depth in DEPTHS:
        for normalised in (False, True):
            name = f"cnn-{depth}{'-normalised' if normalised else ''}"
            build = functools.partial(cifar_cnn, depth, normalised=normalised)
            found[name] = (build, cnn_arms(depth), image)
            found[f"{name}-alone"] = (build, cnn_variant(" alone", (0.0,)), image)
            found[f"{name}-decay"] = (build, cnn_variant(", decay"), image | fading("cnn"))
            found[f"{name}-controls"] = (build, cnn_controls(), image)
            if not normalised:
                found[f"{name}-centred"] = (build, cnn_centred(), image)
            if depth > 1:
                where = functools.partial(empirical, build, image)
                found[f"{name}-empirical"] = (build, where, image)
    few = {"data": few_digits, "epochs": EPOCHS["digits"], "batch_size": 20, "metric": "val_accuracy"}
    few |= {"tune": {"learning_rate": [1e-3, 3e-3, 1e-2]}}
    found["digits"] = (digits_cnn, cnn_arms(2, (0.0, 1e-3)), few)
    found["digits-controls"] = (digits_cnn, cnn_controls((0.0, 1e-3)), few)
    return found | what_helps_muon.tasks(autoencoder, cifar_cnn, dense, image)


SEEDS = {"autoencoder": (2, 10), "cnn": (3, 10), "digits": (3, 20), "muon": (2, 8), "cnn-muon": (3, 8)}
"""Number of tuning seeds, and of compared seeds, by kind of task."""


def study(name, folder, output):
    build, arms, options = tasks(folder)[name]
    if callable(arms):
        arms = cnn_variant(", empirical", placement=arms())
    if options["data"] is not few_digits:  # the same for all seeds: read once
        options = options | {"data": options["data"]()}
    kind = name.split("-")[0]
    if "muon" in name:
        kind = "cnn-muon" if kind == "cnn" else "muon"
    choose, count = SEEDS[kind]
    return Study(build, arms, range(100, 100 + count), tune_seeds=range(choose), output=output / name, **options)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tasks", nargs="*", help="; ".join(tasks(".")))
    parser.add_argument("--output", type=Path, default=Path("runs/what_helps"))
    parser.add_argument("--data", default=os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets"))
    parser.add_argument("--workers", type=int)
    parser.add_argument("--report", action="store_true")
    parser.add_argument("--earlier", type=Path, help="a what_helps.csv, for the tasks without records")
    arguments = parser.parse_args()
    unknown = set(arguments.tasks) - tasks(".").keys()
    if unknown:
        parser.error(f"unknown tasks: {', '.join(sorted(unknown))}; there are {', '.join(tasks('.'))}")
    if not arguments.tasks and not arguments.report:
        parser.error("name the tasks to run, or use --report")
    data = str(Path(arguments.data).expanduser())
    studies = {name: study(name, data, arguments.output) for name in arguments.tasks}  # reads the data first
    for name, work in studies.items():
        work.run(workers=arguments.workers, progress=sys.stderr.isatty())
        print(f"{name}: ended", flush=True)
    if arguments.report:
        import what_helps_report

        what_helps_report.report(arguments.output, arguments.earlier)


if __name__ == "__main__":
    main()
