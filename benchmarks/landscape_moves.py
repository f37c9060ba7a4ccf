"""Moves per second of the sampler of parameter space, for the networks (3, 6) and (4, 8) with 40 + 40 points.

    python benchmarks/landscape_moves.py [--repeats 5] [--seconds 1.0]

A move changes one parameter and evaluates the network. The weights are those of a short run, so that the walkers visit
all bins. The ways take turns in each repeat, and medians are printed. The ways: Numba, which evaluates what a move
changes only, per second of processor time of one core and per second of two threads; NumPy on 64 walkers at a time; the
Keras model under `vmap`, all moves in one program (KERAS_BACKEND=jax), or its energy compiled and the moves in NumPy
(other backends); and `set_weights` with `predict_on_batch` for one walker. The floor is the time of one core for the
multiplications and additions of one whole forward pass at the speed of its matrix product in float64.
"""

import argparse
import itertools
import os
import statistics
import time

import keras
import numpy as np

from keras_entropy import datasets
from keras_entropy.landscape import density_of_states, keras_problem, network_problem, samplers
from keras_entropy.landscape.axis import bins_of
from keras_entropy.landscape.samplers.numba_sampler import NumbaSampler

SHAPES = {"(3, 6)": (3, 6), "(4, 8)": (4, 8)}
STOP = 0.3


class Way:
    """One way to move walkers; a call makes so many moves with each."""

    def __init__(self, sampler, window, walkers, clock=time.perf_counter):
        self.sampler, self.window, self.clock = sampler, window, clock
        self.walkers = samplers.init(sampler.problem, walkers, 0)
        self.moves = 10
        self(self.moves)  # compiles

    def __call__(self, moves):
        """Moves per second."""
        info = samplers.WalkerInfo.zeros(len(self.walkers.bins), self.window, 0, (3, 0))
        begin = self.clock()
        self.sampler.step(self.walkers, self.window, moves, info)
        return len(self.walkers.bins) * moves / (self.clock() - begin)

    def tuned(self, seconds):
        """Set the moves of a call, so that it lasts so many seconds."""
        self.moves = max(1, int(self(self.moves) * seconds / len(self.walkers.bins)))
        return self


class Predict:
    """What a user would write: one network, `set_weights`, `predict_on_batch`."""

    def __init__(self, model, x, half_width):
        self.model, self.x, self.half_width, self.moves = model, x, half_width, 20
        self(2)

    def __call__(self, moves):
        """Moves per second."""
        rng, weights = np.random.default_rng(0), self.model.get_weights()
        begin = time.perf_counter()
        for _ in range(moves):
            changed = weights[rng.integers(len(weights))]
            changed.flat[rng.integers(changed.size)] = rng.uniform(-self.half_width, self.half_width)
            self.model.set_weights(weights)
            self.model.predict_on_batch(self.x)
        return moves / (time.perf_counter() - begin)

    def tuned(self, seconds):
        """Set the moves of a call, so that it lasts so many seconds."""
        self.moves = max(1, int(self(self.moves) * seconds))
        return self


def ways(shape, axis, seconds):
    depth, width = shape
    data = datasets.spirals(seed=0)
    problem = network_problem(depth, width, data)
    found = density_of_states(problem, axis, 3e6, target_loss=STOP if axis == "train_loss" else None)
    window = samplers.Window(bins_of(found.axes, found.visited), found.entropy[found.visited])
    kernel = problem.kernel((axis,))
    dense = [keras.layers.Dense(width, activation="relu") for _ in range(depth)]
    model = keras.Sequential([keras.Input((2,)), *dense, keras.layers.Dense(2)])
    of_keras = keras_problem(model, data, problem.half_width)
    made = {
        "compiled, one core": Way(NumbaSampler(problem, kernel, 1), window, 64, time.process_time),
        "compiled, two threads": Way(NumbaSampler(problem, kernel, 2), window, 64),
        "NumPy, 64 walkers": Way(samplers.select_sampler(problem, (axis,), "numpy"), window, 64),
        f"Keras on {keras.backend.backend()}, 64 walkers": Way(samplers.select_sampler(of_keras, (axis,)), window, 64),
        "set_weights + predict": Predict(model, np.concatenate([data.x_train, data.x_test]), problem.half_width),
    }
    return {name: way.tuned(seconds) for name, way in made.items()}, flops(depth, width)


def flops(depth, width):
    """Floating-point operations of one forward pass of 80 points."""
    sizes = [2, *[width] * depth, 2]
    return 2 * 80 * sum(a * b for a, b in itertools.pairwise(sizes))


def speed_of_products():
    """Floating-point operations per second of processor time in a matrix product of float64."""
    a = np.random.default_rng(0).normal(size=(400, 400))
    begin = time.process_time()
    for _ in range(20):
        a @ a
    return 20 * 2 * 400**3 / (time.process_time() - begin)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    print(f"{os.cpu_count()} cores, median of {arguments.repeats}, moves per second")
    for axis in ("train_accuracy", "train_loss"):
        for name, shape in SHAPES.items():
            made, count = ways(shape, axis, arguments.seconds)
            rates = {way: [] for way in [*made, "floor"]}
            for _ in range(arguments.repeats):
                for way, call in made.items():
                    rates[way].append(call(call.moves))
                rates["floor"].append(speed_of_products() / count)
            print(f"\n{name}, {axis}, a forward pass of {count / 1000:.1f} kflop")
            best = statistics.median(rates["compiled, one core"])
            for way, found in rates.items():
                middle = statistics.median(found)
                print(f"  {way:32s}{middle:14,.0f}   {middle / best:9.5f} of compiled on one core")


if __name__ == "__main__":
    main()
