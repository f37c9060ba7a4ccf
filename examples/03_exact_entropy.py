"""Corner, corner matrix, exact volume and total correlation of trained convolutions, beside random ones.

    python examples/03_exact_entropy.py [FIGURE] [--weights squeezenet_v1.1.npz]

The weights are arrays `<layer>/kernel` (height, width, c_in, c_out) in one .npz file. The first convolution has stride
2, as in SqueezeNet. Without --weights a small CNN is trained on the digits first.
"""

import argparse

import keras
import numpy as np
from matplotlib.figure import Figure

from keras_entropy import datasets, functional, models

EPSILON = 1e-4
MEASURES = ("corner", "corner matrix", "exact volume", "excess correlation")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", nargs="?", default="exact_entropy.png")
    parser.add_argument("--weights", help="an .npz file of kernels")
    arguments = parser.parse_args()
    kernels = read(arguments.weights) if arguments.weights else train()
    rows = {}
    for name, (kernel, strides) in kernels.items():
        random = [measure(glorot(kernel.shape, seed), strides) for seed in range(3)]
        rows[name] = measure(kernel, strides), np.mean(random, axis=0)
        print(f"{name:22} {kernel.shape!s:18} stride {strides}")
        for label, values in zip(("trained", "random"), rows[name], strict=True):
            print(f"  {label:8}", "  ".join(f"{m} {v:8.3f}" for m, v in zip(MEASURES, values, strict=True)))
    draw(rows).savefig(arguments.figure, dpi=100)
    print(f"Figure: {arguments.figure}")


def measure(kernel, strides):
    """Nats per (channel, filter) pair, per dimension, per dimension, per output.

    The last is total correlation minus its minimum for these numbers of inputs and outputs, that of a tight frame.
    """
    _, inputs, outputs = functional.transfer_shape(kernel.shape, strides)
    k = min(inputs, outputs)
    least = -0.5 * k * np.log(outputs / k) - (outputs - k) * np.log(EPSILON)
    return (
        functional.corner_log_magnitude(kernel, EPSILON).mean(),
        functional.corner_log_volume(kernel, EPSILON) / min(kernel.shape[-2:]),
        functional.conv_log_volume(kernel, epsilon=EPSILON, strides=strides) / min(inputs, outputs),
        (functional.total_correlation(kernel, epsilon=EPSILON, strides=strides) - least) / outputs,
    )


def glorot(shape, seed):
    initial = keras.initializers.GlorotUniform(seed=seed)(shape)
    return np.asarray(keras.ops.convert_to_numpy(initial), np.float64)


def read(path):
    """Kernels in float64 and their strides."""
    with np.load(path) as arrays:
        names = [name for name in arrays.files if name.endswith("/kernel")]
        return {
            name.removesuffix("/kernel"): (arrays[name].astype(np.float64), 2 if i == 0 else 1)
            for i, name in enumerate(names)
        }


def train():
    """Train a CNN on the digits for 20 epochs."""
    x, y, xv, yv = datasets.digits()
    keras.utils.set_random_seed(0)
    model = models.cnn(x.shape[1:], 10, (16, 32, 32))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(x, y, validation_data=(xv, yv), epochs=20, verbose=0)
    print(f"validation accuracy {model.evaluate(xv, yv, verbose=0)[1]:.3f}")
    convolutions = [layer for layer in model.layers if isinstance(layer, keras.layers.Conv2D)]
    return {layer.name: (np.asarray(keras.ops.convert_to_numpy(layer.kernel), np.float64), 1) for layer in convolutions}


def draw(rows):
    figure = Figure(figsize=(max(6, 0.28 * len(rows) + 1.6), 9), layout="constrained")
    for i, (axes, name) in enumerate(zip(figure.subplots(4, 1, sharex=True), MEASURES, strict=True)):
        for j, (label, marker) in enumerate((("trained", "o"), ("random", "x"))):
            axes.plot([values[j][i] for values in rows.values()], marker, label=label)
        axes.set_title(name, fontsize=10)
        axes.set_ylabel("nats per output" if i == 3 else "nats per pair" if i == 0 else "nats per dimension")
        axes.grid(alpha=0.3)
    axes.set_xticks(range(len(rows)), rows, rotation=60, ha="right", fontsize=8)
    handles_and_labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(*handles_and_labels, loc="outside upper center", ncols=2)
    return figure


if __name__ == "__main__":
    main()
