"""Stability of training at any strength: final weight norm, log-volume and task loss for each term and factor.

    python benchmarks/strength.py [--data-dir DIR] [--factors 1e-4,1e-3,0.01,0.1,1,10] [--epochs 10]
                                  [--output results.json]

The problems are a CNN on the digits (term on its second convolution, 16 to 16 channels), and, with MNIST in DIR, a
784-60-784 sigmoid autoencoder on its first 2000 images (term on the first kernel), with default epsilon and reduction,
SGD (rate 0.1) and Adam (rate 1e-3). The script prints the norm of that kernel, its log-volume per dimension before and
after, and the validation loss of the task without the term; "-" is the baseline.
"""

import argparse
import json


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", help="prepared TensorFlow Datasets")
    parser.add_argument("--factors", default="1e-4,1e-3,0.01,0.1,1,10")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--output", help="JSON file for the results")
    arguments = parser.parse_args()
    factors = [float(factor) for factor in arguments.factors.split(",")]
    results = []
    for problem in [digits_cnn()] + ([mnist_autoencoder(arguments.data_dir)] if arguments.data_dir else []):
        for optimizer in ("sgd", "adam"):
            for name, attach in {"-": None, **problem["terms"]}.items():
                for factor in factors if attach else [0.0]:
                    results.append(run(problem, optimizer, name, attach, factor, arguments.epochs))
                    print("{problem:18} {optimizer:5} {term:22} {factor:7g} norm {norm:9.3f} volume {before:7.3f} ->"
                          " {log_volume:7.3f} task {task_loss:.5f}".format(**results[-1]), flush=True)  # fmt: skip
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


def digits_cnn():
    import keras

    from keras_entropy import ConvCornerEntropy, ConvEntropy, TotalCorrelation, datasets

    x, y, xv, yv = datasets.digits()

    def build(kernel=None, activity=None):
        layers = keras.layers
        return keras.Sequential([
            keras.Input((8, 8, 1)),
            layers.Conv2D(16, 3, padding="same", activation="leaky_relu"),
            layers.Conv2D(16, 3, padding="same", activation="leaky_relu", kernel_regularizer=kernel),
            layers.MaxPooling2D(2), layers.Flatten(), layers.Dense(10, activation="softmax"),
        ])  # fmt: skip

    terms = {
        "corner": lambda f: {"kernel": ConvCornerEntropy(f)},
        "corner matrix": lambda f: {"kernel": ConvCornerEntropy(f, channels="matrix")},
        "ConvEntropy": lambda f: {"kernel": ConvEntropy(f)},
        "TotalCorrelation": lambda f: {"kernel": TotalCorrelation(f)},
    }
    loss = "sparse_categorical_crossentropy"
    return {"name": "digits CNN", "build": build, "terms": terms, "layer": 1, "data": (x, y, xv, yv), "loss": loss}


def mnist_autoencoder(data_dir):
    import keras

    from keras_entropy import ActivationEntropy, DenseEntropy, TotalCorrelation, datasets

    x, _, xv, _ = datasets.mnist(data_dir)
    x, xv = x[:2000].reshape(2000, -1), xv[:1000].reshape(1000, -1)

    def build(kernel=None, activity=None):
        dense = keras.layers.Dense
        code = dense(60, activation="sigmoid", kernel_regularizer=kernel, activity_regularizer=activity)
        return keras.Sequential([keras.Input((784,)), code, dense(784, activation="sigmoid")])

    terms = {
        "DenseEntropy": lambda f: {"kernel": DenseEntropy(f)},
        "leading block": lambda f: {"kernel": DenseEntropy(f, block="leading")},
        "TotalCorrelation": lambda f: {"kernel": TotalCorrelation(f)},
        "with ActivationEntropy": lambda f: {"kernel": DenseEntropy(f), "activity": ActivationEntropy("sigmoid", f)},
    }
    return {
        "name": "MNIST autoencoder",
        "build": build,
        "terms": terms,
        "layer": 0,
        "data": (x, x, xv, xv),
        "loss": "mse",
    }


def run(problem, optimizer, name, attach, factor, epochs):
    import keras
    import numpy as np

    from keras_entropy import EntropyLogger

    keras.utils.set_random_seed(0)
    model = problem["build"](**(attach(factor) if attach else {}))
    rate = keras.optimizers.SGD(0.1) if optimizer == "sgd" else keras.optimizers.Adam(1e-3)
    model.compile(rate, problem["loss"])
    x, y, xv, yv = problem["data"]
    kernel = model.layers[problem["layer"]].kernel
    before = log_volume(np.asarray(keras.ops.convert_to_numpy(kernel), np.float64))
    logs = model.fit(
        x, y, validation_data=(xv, yv), batch_size=64, epochs=epochs, verbose=0, callbacks=[EntropyLogger()]
    )
    after = np.asarray(keras.ops.convert_to_numpy(kernel), np.float64)
    return {
        "problem": problem["name"], "optimizer": optimizer, "term": name, "factor": factor, "before": before,
        "norm": float(np.linalg.norm(after)), "log_volume": log_volume(after),
        "task_loss": logs.history["val_task_loss"][-1],
    }  # fmt: skip


def log_volume(kernel):
    """Nats per dimension, without a noise floor."""
    from keras_entropy import functional

    if kernel.ndim == 2:
        return float(functional.dense_log_volume(kernel)) / min(kernel.shape)
    return float(functional.conv_log_volume(kernel)) / min(kernel.shape[-2:])


if __name__ == "__main__":
    main()
