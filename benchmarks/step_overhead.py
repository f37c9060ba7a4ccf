"""Time of a training step with a regularizer, as a ratio to the step without one.

    python benchmarks/step_overhead.py [--backends tensorflow,jax,torch] [--models autoencoder,cnn,vgg16]
                                       [--rounds 15] [--threads 1] [--output results.json]

Each backend runs in a process of its own with pinned threads. In a round every arm trains the same number of Adam steps
in turn, so that a slow moment of a shared machine hits all of them; the ratio is taken within the round. It prints the
median ratio over the rounds, its quartiles, the median step, and the arithmetic floor: 1 + the floating-point
operations of the cheapest known way to the value and gradient, over those of the step.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time

MODELS = ("autoencoder", "cnn", "vgg16")
BACKENDS = ("tensorflow", "jax", "torch")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", help="write the results there as JSON")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        results = [measure(model, arguments.rounds) for model in arguments.models.split(",")]
        print(json.dumps(results))
        return
    results = []
    for backend in arguments.backends.split(","):
        pins = dict.fromkeys(
            ("TF_NUM_INTRAOP_THREADS", "OMP_NUM_THREADS", "NPROC", "OPENBLAS_NUM_THREADS"), str(arguments.threads)
        )
        environment = {**os.environ, **pins, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [sys.executable, __file__, "--child", "--models", arguments.models, "--rounds", str(arguments.rounds)]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        for result in json.loads(done.stdout.splitlines()[-1]):
            results.append({"backend": backend, "threads": arguments.threads, **result})
            show(results[-1])
    if arguments.output:
        with open(arguments.output, "w") as file:
            json.dump(results, file, indent=2)


def show(result):
    print(f"\n{result['backend']}, {result['model']}, {result['device']}, {result['threads']} thread(s)")
    print(f"{'arm':34} {'ratio':>7} {'quartiles':>15} {'step':>10} {'floor':>7}")
    for arm in result["arms"]:
        quartiles = "{:.3f}-{:.3f}".format(*arm["quartiles"])
        print(f"{arm['name']:34} {arm['ratio']:7.3f} {quartiles:>15} {arm['ms']:7.1f} ms {arm['floor']:7.3f}")


def measure(name, rounds):
    """All arms of one model, in turns."""
    import keras
    import numpy as np

    build, arms, batch, steps, step_flops = {"autoencoder": autoencoder, "cnn": cnn, "vgg16": vgg16}[name]()
    models = {}
    for arm, (attach, _) in arms.items():
        keras.utils.set_random_seed(0)
        models[arm] = build()
        attach(models[arm])
        loss = "mse" if name == "autoencoder" else "sparse_categorical_crossentropy"
        models[arm].compile(keras.optimizers.Adam(1e-4), loss)
    generator = np.random.default_rng(0)
    shape = models["none"].input_shape[1:]
    x = generator.uniform(size=(batch * steps, *shape)).astype("float32")
    y = x if name == "autoencoder" else generator.integers(0, 10, len(x))
    times = {arm: [] for arm in arms}
    for i in range(rounds + 1):
        for arm, model in models.items():
            clock = second_epoch_clock()
            model.fit(x, y, batch_size=batch, epochs=2, verbose=0, shuffle=False, callbacks=[clock])
            if i:  # the first round compiles
                times[arm].append(clock.seconds / steps)
    rows = []
    for arm, (_, flops) in arms.items():
        ratios = np.divide(times[arm], times["none"])
        rows.append(
            {
                "name": arm,
                "ratio": float(np.median(ratios)),
                "quartiles": np.quantile(ratios, [0.25, 0.75]).tolist(),
                "ms": 1e3 * float(np.median(times[arm])),
                "floor": 1 + flops / step_flops,
            }
        )
    return {"model": name, "device": device(), "arms": rows}


def second_epoch_clock():
    """A callback that times the second epoch of a fit: the first one pays for starting it."""
    import keras

    class Clock(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            self.begin = time.perf_counter()

        def on_epoch_end(self, epoch, logs=None):
            float(logs["loss"])  # wait for the device
            self.seconds = time.perf_counter() - self.begin

    return Clock()


def attach(regularizer, kinds):
    """A function that puts copies of `regularizer` on all kernels of layers of the given kinds."""

    def put(model):
        for layer in model.layers:
            if isinstance(layer, kinds):
                layer.kernel.regularizer = regularizer

    return put


def log_volume_flops(d, m):
    """Gram matrix by symmetry, Cholesky, inverse, and the product with the kernel."""
    k, n = min(d, m), max(d, m)
    return n * k**2 + k**3 / 3 + 2 * k**3 / 3 + 2 * n * k**2


def autoencoder():
    """784-180-784, both kernels penalised."""
    import keras

    from keras_entropy import DenseEntropy, models

    dense = keras.layers.Dense
    orthogonal, l2 = keras.regularizers.OrthogonalRegularizer, keras.regularizers.L2
    d, k, batch = 784, 180, 128
    arms = {
        "none": (lambda model: None, 0),
        "L2": (attach(l2(1e-4), dense), 2 * 4 * d * k),
        "OrthogonalRegularizer rows": (attach(orthogonal(1e-3), dense), 6 * (k * d * d + d * k * k)),
        "OrthogonalRegularizer columns": (attach(orthogonal(1e-3, mode="columns"), dense), 6 * (d * k * k + k * d * d)),
        "DenseEntropy leading block": (attach(DenseEntropy(1e-3, block="leading"), dense), 2 * log_volume_flops(k, k)),
        "DenseEntropy full kernel": (attach(DenseEntropy(1e-3), dense), 2 * log_volume_flops(d, k)),
    }
    return lambda: models.autoencoder((d,), k), arms, batch, 30, 6 * batch * 2 * d * k


def cnn():
    """[64, 64, 64] on 32 x 32 x 3, all three convolutions penalised."""
    import keras

    from keras_entropy import ConvCornerEntropy, models

    conv = keras.layers.Conv2D
    batch = 128
    sizes = [(32, 3), (16, 64), (8, 64)]
    flops = 6 * batch * sum(n * n * 9 * c * 64 for n, c in sizes)
    corner_matrices = log_volume_flops(3, 64) + 2 * log_volume_flops(64, 64)
    arms = {
        "none": (lambda model: None, 0),
        "L2": (attach(keras.regularizers.L2(1e-4), conv), 4 * 9 * 64 * (3 + 128)),
        "ConvCornerEntropy": (attach(ConvCornerEntropy(1e-3), conv), 8 * 64 * (3 + 128)),
        "ConvCornerEntropy matrix": (attach(ConvCornerEntropy(1e-3, channels="matrix"), conv), corner_matrices),
    }
    return lambda: models.cnn((32, 32, 3), 10, (64, 64, 64)), arms, batch, 3, flops


def vgg16():
    """VGG16 at 64 pixels, all thirteen convolutions penalised."""
    import keras

    from keras_entropy import ConvCornerEntropy

    conv = keras.layers.Conv2D
    batch = 16
    widths = [3, 64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512]
    sides = [64, 64, 32, 32, 16, 16, 16, 8, 8, 8, 4, 4, 4]
    pairs = list(itertools.pairwise(widths))
    flops = 6 * batch * sum(n * n * 9 * a * b for n, (a, b) in zip(sides, pairs, strict=True))
    flops += 6 * batch * (2048 * 4096 + 4096 * 4096)
    elements = sum(a * b for a, b in pairs)
    arms = {
        "none": (lambda model: None, 0),
        "L2": (attach(keras.regularizers.L2(1e-4), conv), 4 * 9 * elements),
        "ConvCornerEntropy": (attach(ConvCornerEntropy(1e-3), conv), 8 * elements),
    }

    def build():
        return keras.applications.VGG16(weights=None, input_shape=(64, 64, 3), classes=10)

    return build, arms, batch, 2, flops


def device():
    """The accelerator, or "cpu"."""
    import keras

    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        gpus = tf.config.list_physical_devices("GPU")
        return tf.config.experimental.get_device_details(gpus[0]).get("device_name", "gpu") if gpus else "cpu"
    if keras.backend.backend() == "jax":
        import jax

        return jax.devices()[0].device_kind
    import torch

    return torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu"


if __name__ == "__main__":
    main()
