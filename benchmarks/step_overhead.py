"""Time of a training step with a regularizer, as a ratio to the step without one.

    python benchmarks/step_overhead.py [--backends tensorflow,jax,torch] [--models autoencoder,cnn,vgg16]
                                       [--rounds 15] [--threads 1] [--arms WORD,WORD] [--memory] [--output results.json]

Each backend runs in a process of its own with pinned threads. In a round every arm trains the same number of Adam steps
in turn, so that a slow moment of a shared machine hits all of them; the ratio is taken within the round. It prints the
median ratio over the rounds, its quartiles, the median step, and the arithmetic floor: 1 + the floating-point
operations of the cheapest known way to the value and gradient, over those of the step. With --memory each arm trains
two epochs in a process of its own, and the peak of its memory is printed instead. --arms keeps those whose name
holds one of the words.
"""

import argparse
import itertools
import json
import os
import subprocess
import sys
import time

BACKENDS = ("tensorflow", "jax", "torch")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default=",".join(BACKENDS))
    parser.add_argument("--models", default="autoencoder,cnn,vgg16")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--arms", default="", help="words in the names of arms, joined by commas")
    parser.add_argument("--memory", action="store_true", help="measure memory, not time")
    parser.add_argument("--output", help="write the results there as JSON")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    words = [word for word in arguments.arms.split(",") if word]
    if arguments.child:
        results = [measure(model, arguments.rounds, words) for model in arguments.models.split(",")]
        print(json.dumps(results))
        return
    results = []
    for backend in arguments.backends.split(","):
        pins = dict.fromkeys(
            (
                "TF_NUM_INTRAOP_THREADS",
                "TF_NUM_INTEROP_THREADS",
                "OMP_NUM_THREADS",
                "NPROC",
                "OPENBLAS_NUM_THREADS",
            ),
            str(arguments.threads),
        )
        environment = {**os.environ, **pins, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        if arguments.memory:
            memory(environment, arguments.models.split(","), words)
            continue
        command = [sys.executable, __file__, "--child", "--models", arguments.models, "--rounds", str(arguments.rounds)]
        command += ["--arms", arguments.arms]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        for result in json.loads(done.stdout.splitlines()[-1]):
            results.append({"backend": backend, "threads": arguments.threads, **result})
            show(results[-1])
    if arguments.output:
        with open(arguments.output, "w", encoding="utf-8") as file:
            json.dump(results, file, indent=2)


def memory(environment, names, words):
    """Print the peak resident memory of each arm beside that of the bare step."""
    code = (
        "import resource, sys, step_overhead as benchmark\n"
        "print(*benchmark.chosen(sys.argv[1], sys.argv[2:]), sep='\\n') if len(sys.argv) < 3 or sys.argv[2] != '--only'"
        " else benchmark.train_once(sys.argv[1], sys.argv[3])\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    environment = {**environment, "PYTHONPATH": os.path.dirname(os.path.abspath(__file__))}

    def lines(*arguments):
        command = [sys.executable, "-c", code, *arguments]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout.splitlines()

    for name in names:
        print(f"\n{environment['KERAS_BACKEND']}, {name}: peak memory, MiB, and what it has beyond the bare step")
        bare = None
        for arm in lines(name, *words)[:-1]:
            peak = float(lines(name, "--only", arm)[-1])
            bare = peak if bare is None else bare
            print(f"{arm:34} {peak:8.0f} {peak - bare:+8.0f}", flush=True)


def chosen(name, words):
    """The names of the arms of a model that hold one of the words; the bare step always."""
    arms = PROBLEMS[name]()[1]
    return [arm for arm in arms if arm == "none" or not words or any(word in arm for word in words)]


def train_once(name, arm):
    """Two epochs of one arm."""
    model, x, y, batch, _ = prepared(name, arm)
    model.fit(x, y, batch_size=batch, epochs=2, verbose=0)


def show(result):
    print(f"\n{result['backend']}, {result['model']}, {result['device']}, {result['threads']} thread(s)")
    print(f"{'arm':34} {'ratio':>7} {'quartiles':>15} {'step':>10} {'floor':>7}")
    for arm in result["arms"]:
        quartiles = "{:.3f}-{:.3f}".format(*arm["quartiles"])
        print(f"{arm['name']:34} {arm['ratio']:7.3f} {quartiles:>15} {arm['ms']:7.1f} ms {arm['floor']:7.3f}")


def prepared(name, arm):
    """A compiled model, its data, the size of a batch and the number of steps."""
    import keras
    import numpy as np

    build, arms, batch, steps, _ = PROBLEMS[name]()
    keras.utils.set_random_seed(0)
    model = build()
    arms[arm][0](model)
    model.compile(keras.optimizers.Adam(1e-4), "mse" if name == "autoencoder" else "sparse_categorical_crossentropy")
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(batch * steps, *model.input_shape[1:])).astype("float32")
    return model, x, x if name == "autoencoder" else generator.integers(0, 10, len(x)), batch, steps


def measure(name, rounds, words):
    """All arms of one model, in turns."""
    import numpy as np

    _, arms, _, _, step_flops = PROBLEMS[name]()
    arms = {arm: arms[arm] for arm in chosen(name, words)}
    models = {}
    for arm in arms:
        models[arm], x, y, batch, steps = prepared(name, arm)
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


def attach(regularizer, kinds, first=False):
    """A function that puts `regularizer` on all kernels of layers of the given kinds, or on the first."""

    class Function(keras_regularizer()):
        def __call__(self, x):
            return regularizer(x)

    def put(model):
        layers = [layer for layer in model.layers if isinstance(layer, kinds)]
        for layer in layers[:1] if first else layers:
            layer.kernel.regularizer = regularizer if isinstance(regularizer, keras_regularizer()) else Function()

    return put


def keras_regularizer():
    """The class that Keras takes for a kernel's regularizer."""
    import keras

    return keras.Regularizer


def log_volume_flops(d, m):
    """Gram matrix by symmetry, Cholesky, inverse, and the product with the kernel."""
    k, n = min(d, m), max(d, m)
    return n * k**2 + k**3 / 3 + 2 * k**3 / 3 + 2 * n * k**2


def conv_flops(c_in, c_out, taps=9, real=4, pairs=30):
    """Grid 8: the Fourier transform of the taps, forth and back, and a log-volume at each frequency."""
    transform = 2 * 2 * taps * c_in * c_out * (real + 2 * pairs)
    return transform + (real + 4 * pairs) * log_volume_flops(c_in, c_out)


def soft_orthogonality(factor):
    """|W^T W - I|^2 of the kernel as a matrix, of its smaller side: the plain rival."""
    from keras import ops

    def penalty(kernel):
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        matrix = matrix if matrix.shape[0] >= matrix.shape[1] else ops.transpose(matrix)
        gram = ops.matmul(ops.transpose(matrix), matrix)
        return factor * ops.sum(ops.square(gram - ops.eye(gram.shape[0])))

    return penalty


def svd_of_reshaped(factor):
    """-mean log of the singular values of the kernel as a matrix, by automatic differentiation."""
    from keras import ops

    def penalty(kernel):
        matrix = ops.reshape(kernel, (-1, kernel.shape[-1]))
        return -factor * ops.mean(ops.log(ops.svd(matrix, compute_uv=False) + 1e-4))

    return penalty


def autoencoder():
    """784-180-784, both kernels penalised."""
    import keras

    from keras_entropy import DenseEntropy, TotalCorrelation, models

    dense = keras.layers.Dense
    orthogonal, l2 = keras.regularizers.OrthogonalRegularizer, keras.regularizers.L2
    d, k, batch = 784, 180, 128
    arms = {
        "none": (lambda model: None, 0),
        "L2": (attach(l2(1e-4), dense), 2 * 4 * d * k),
        "OrthogonalRegularizer rows": (attach(orthogonal(1e-3), dense), 6 * (k * d * d + d * k * k)),
        "OrthogonalRegularizer columns": (attach(orthogonal(1e-3, mode="columns"), dense), 6 * (d * k * k + k * d * d)),
        "DenseEntropy leading block": (attach(DenseEntropy(1e-3, block="leading"), dense), 2 * log_volume_flops(k, k)),
        "soft orthogonality": (attach(soft_orthogonality(1e-3), dense), 2 * 3 * 2 * d * k * k),
        "SVD of the kernel": (attach(svd_of_reshaped(1e-3), dense), 2 * log_volume_flops(d, k)),
        "DenseEntropy full kernel": (attach(DenseEntropy(1e-3), dense), 2 * log_volume_flops(d, k)),
        "DenseEntropy full, every=10": (attach(DenseEntropy(1e-3, every=10), dense), 0.2 * log_volume_flops(d, k)),
        "TotalCorrelation": (attach(TotalCorrelation(1e-3), dense), 2 * log_volume_flops(d, k)),
        "TotalCorrelation, every=10": (attach(TotalCorrelation(1e-3, every=10), dense), 0.2 * log_volume_flops(d, k)),
    }
    return lambda: models.autoencoder((d,), k), arms, batch, 30, 6 * batch * 2 * d * k


def cnn():
    """[64, 64, 64] on 32 x 32 x 3, all three convolutions penalised."""
    import keras

    from keras_entropy import ConvCornerEntropy, ConvEntropy, TotalCorrelation, models

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
        "soft orthogonality": (attach(soft_orthogonality(1e-3), conv), 3 * 2 * 9 * 64 * 64 * (3 + 128)),
        "SVD of the reshaped kernels": (attach(svd_of_reshaped(1e-3), conv), 3 * log_volume_flops(576, 64)),
    }
    exact = conv_flops(3, 64) + 2 * conv_flops(64, 64)
    for kind in (ConvEntropy, TotalCorrelation):
        name = kind.__name__
        arms[f"{name}, first layer"] = (attach(kind(1e-3), conv, first=True), conv_flops(3, 64))
        arms[name] = (attach(kind(1e-3), conv), exact)
        arms[f"{name}, every=10"] = (attach(kind(1e-3, every=10), conv), exact / 10)
    return lambda: models.cnn((32, 32, 3), 10, (64, 64, 64)), arms, batch, 10, flops


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


PROBLEMS = {"autoencoder": autoencoder, "cnn": cnn, "vgg16": vgg16}

if __name__ == "__main__":
    main()
