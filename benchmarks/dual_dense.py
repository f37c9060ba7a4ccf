"""Time of a training step of DualDense, as a ratio to that of Dense.

    python benchmarks/dual_dense.py [--backends tensorflow,jax,torch] [--batches 128,1024] [--rounds 15] [--threads 1]

The network has 784 inputs, two layers of 512 sigmoid units and 10 outputs, with all layers of one kind. Each backend
runs in its own process with pinned threads. TensorFlow and JAX compile the step, torch does not. In each round every
arm trains the same number of steps in turn, so that a slow moment of a shared machine affects all arms, and the ratio
is taken within the round. The script prints the median ratio over the rounds, its quartiles, the median step, and the
arithmetic floor: 1 + the operations of the sum w + G and of the optimizer on G, divided by those of a step of Dense.
"""

import argparse
import json
import os
import subprocess
import sys

from step_overhead import device, second_epoch_clock

WIDTHS = (784, 512, 512, 10)
ARMS = {"Dense": None, "DualDense": 0.0, "DualDense with its term": 0.1}
UPDATE = {"sgd": 2, "adam": 12}  # operations per weight


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backends", default="tensorflow,jax,torch")
    parser.add_argument("--batches", default="128,1024")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    batches = [int(batch) for batch in arguments.batches.split(",")]
    if arguments.child:
        print(json.dumps([measure(o, b, arguments.rounds) for o in UPDATE for b in batches]))
        return
    names = ("TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS", "OMP_NUM_THREADS", "NPROC", "OPENBLAS_NUM_THREADS")
    for backend in arguments.backends.split(","):
        pins = dict.fromkeys(names, str(arguments.threads))
        environment = {**os.environ, **pins, "KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"}
        command = [
            sys.executable,
            __file__,
            "--child",
            "--batches",
            arguments.batches,
            "--rounds",
            str(arguments.rounds),
        ]
        done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
        for result in json.loads(done.stdout.splitlines()[-1]):
            print(f"\n{backend}, {result['optimizer']}, batches of {result['batch']}, {result['device']}")
            print(f"{'arm':26} {'ratio':>7} {'quartiles':>15} {'step':>11} {'floor':>7}")
            for arm in result["arms"]:
                quartiles = "{:.3f}-{:.3f}".format(*arm["quartiles"])
                print(f"{arm['name']:26} {arm['ratio']:7.3f} {quartiles:>15} {arm['ms']:8.2f} ms {arm['floor']:7.3f}")


def build(factor, optimizer):
    import keras

    from keras_entropy import DualDense

    model = keras.Sequential([keras.Input((WIDTHS[0],))])
    for units in WIDTHS[1:]:
        kind = keras.layers.Dense if factor is None else DualDense
        term = {"decision_weight": factor} if factor else {}
        model.add(kind(units, "sigmoid" if units > 10 else None, **term))
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    compiled = keras.backend.backend() != "torch"
    model.compile(
        {"sgd": keras.optimizers.SGD, "adam": keras.optimizers.Adam}[optimizer](1e-4), loss, jit_compile=compiled
    )
    return model


def measure(optimizer, batch, rounds):
    """All arms, in turns."""
    import numpy as np

    steps = max(4, 4096 // batch)
    generator = np.random.default_rng(0)
    x = generator.uniform(size=(batch * steps, WIDTHS[0])).astype("float32")
    y = generator.integers(0, 10, len(x))
    models = {arm: build(factor, optimizer) for arm, factor in ARMS.items()}
    times = {arm: [] for arm in ARMS}
    for i in range(rounds + 1):
        for arm, model in models.items():
            clock = second_epoch_clock()
            model.fit(x, y, batch_size=batch, epochs=2, verbose=0, shuffle=False, callbacks=[clock])
            if i:  # the first round compiles
                times[arm].append(clock.seconds / steps)
    rows = []
    for arm in ARMS:
        ratios = np.divide(times[arm], times["Dense"])
        floor = 1 if arm == "Dense" else 1 + (1 + UPDATE[optimizer]) / (6 * batch + UPDATE[optimizer])
        quartiles = np.quantile(ratios, [0.25, 0.75]).tolist()
        ms = 1e3 * float(np.median(times[arm]))
        rows.append({"name": arm, "ratio": float(np.median(ratios)), "quartiles": quartiles, "ms": ms, "floor": floor})
    return {"optimizer": optimizer, "batch": batch, "device": device(), "arms": rows}


if __name__ == "__main__":
    main()
