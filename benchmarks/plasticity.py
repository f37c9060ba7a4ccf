"""Does an entropy term keep a network able to learn? Tasks with random labels in sequence, through `Study`.

    KERAS_BACKEND=jax python benchmarks/plasticity.py --output runs/plasticity

An MLP learns random labels of 400 digits for 16 passes, then new random labels of the same digits, and so on, 20 times.
A network that loses its plasticity learns later labels more slowly. Compared is the accuracy before each update, as a
mean over all tasks: the training accuracy of one epoch, in which the tasks follow one another. Each arm chooses from
nine settings on two seeds: of the learning rate and, but for "none", of another value. A pilot on a tuning seed set the
ranges and the fixed values. Eight other seeds, which no pilot used, are compared.
"""

import argparse
import functools
import sys
from pathlib import Path

import keras
import numpy as np

from keras_entropy import DenseEntropy, TotalCorrelation, apply_entropy, datasets
from keras_entropy.study import Arm, SoftOrthogonality, Study

TASKS, PASSES, BATCH, SAMPLES, WIDTH = 20, 16, 40, 400, 64


class RandomLabels(keras.utils.PyDataset):
    """All tasks in one epoch: several passes over the inputs with one set of labels, then with the next one.

    `fit` asks for the batches in random order, so `position` counts them. -1 is for the batch that Keras only looks at.
    """

    def __init__(self, x, seed):
        super().__init__()
        rng = np.random.default_rng(seed)
        self.x, self.position = x, -1
        self.labels = rng.integers(10, size=(TASKS, len(x)))
        order = [rng.permutation(len(x)) for _ in range(TASKS * PASSES)]
        self.rows = np.concatenate(order).reshape(-1, BATCH)

    def __len__(self):
        """Number of batches of all tasks."""
        return len(self.rows)

    def __getitem__(self, index):
        """The next batch."""
        position, self.position = self.position, self.position + 1
        rows = self.rows[position]
        return self.x[rows], self.labels[position * TASKS // len(self.rows), rows]


class L2ToInitial(keras.Regularizer):
    """L2 of the difference of a kernel from its initial value."""

    def __init__(self, factor, initial):
        self.factor, self.initial = factor, initial

    def __call__(self, x):
        """The penalty."""
        return self.factor * keras.ops.sum(keras.ops.square(x - self.initial))


def mlp(learning_rate, l2=0.0, l2_to_initial=0.0, gain=1.0):
    """An MLP with two hidden layers of relu units, and L2 on all kernels, to 0 or to their initial values.

    `gain` multiplies the initial weights: a log-volume enlarges the weights, and this does so in a simpler way.
    """
    hidden = [keras.layers.Dense(WIDTH, "relu", name=f"hidden{i}") for i in (1, 2)]
    model = keras.Sequential([keras.Input((64,)), *hidden, keras.layers.Dense(10, "softmax", name="head")])
    for layer in model.layers:
        layer.kernel.assign(gain * layer.kernel)
        if l2:
            apply_entropy(model, layer.name, keras.regularizers.L2(l2))
        if l2_to_initial:
            initial = keras.ops.convert_to_numpy(layer.kernel)
            apply_entropy(model, layer.name, L2ToInitial(l2_to_initial, initial))
    model.compile(keras.optimizers.Adam(learning_rate), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def data(seed):
    """The tasks of a seed. The validation data are not used."""
    found = datasets.digits()
    x = found.x_train.reshape(-1, 64)
    x = ((x - x.mean(0)) / np.maximum(x.std(0), 0.05)).astype("float32")[:SAMPLES]
    return RandomLabels(x, seed), None, x[:BATCH], found.y_train[:BATCH]


def arm(name, regularizer=None, fixed=None, **tune):
    """An arm with three values of the learning rate and of another axis. The terms are on all layers."""
    tune = {"learning_rate": [2e-3, 4e-3, 8e-3], **tune}
    return Arm(name, "all" if regularizer else None, regularizer, tune=tune, **(fixed or {}))


Orthogonal = functools.partial(SoftOrthogonality, mode="columns")
L2, TO_INITIAL = {"l2": 3e-3}, {"l2_to_initial": 6e-3}
RATES = [5e-4, 7e-4, 1e-3, 1.4e-3, 2e-3, 2.8e-3, 4e-3, 5.6e-3, 8e-3]
ARMS = [
    Arm("none", tune={"learning_rate": RATES}),
    arm("L2", l2=[1e-3, 2e-3, 4e-3]),
    arm("L2 to the initial weights", l2_to_initial=[3e-3, 6e-3, 1.2e-2]),
    arm("L2 to larger initial weights", fixed=TO_INITIAL, gain=[1.5, 2.0, 3.0]),
    arm("soft orthogonality", Orthogonal, factor=[3.0, 10.0, 30.0]),
    arm("soft orthogonality and L2 to the initial weights", Orthogonal, TO_INITIAL, factor=[1e-2, 1e-1, 1.0]),
    arm("log-volume and L2", DenseEntropy, L2, factor=[3e-2, 1e-1, 3e-1]),
    arm("log-volume and L2 to the initial weights", DenseEntropy, TO_INITIAL, factor=[3e-1, 1.0, 3.0]),
    arm("TotalCorrelation and L2", TotalCorrelation, L2, factor=[3e-1, 1.0, 3.0]),
    arm("TotalCorrelation and L2 to the initial weights", TotalCorrelation, TO_INITIAL, factor=[1e-2, 1e-1, 1.0]),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=Path("runs/plasticity"))
    parser.add_argument("--workers", type=int)
    arguments = parser.parse_args()
    study = Study(
        mlp,
        ARMS,
        range(200, 208),
        tune_seeds=range(2),
        data=data,
        epochs=1,
        batch_size=BATCH,
        metric="accuracy",
        output=arguments.output,
    )
    result = study.run(workers=arguments.workers, progress=sys.stderr.isatty())
    for baseline in ("L2", "L2 to the initial weights", "soft orthogonality and L2 to the initial weights"):
        print(result.compare(baseline=baseline))


if __name__ == "__main__":
    main()
