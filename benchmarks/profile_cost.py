"""Cost of a profile: seconds and peak memory of arrays, beside the arithmetic floor.

    python benchmarks/profile_cost.py [--models VGG16:corner ResNet50:log_volume]

The floor of "corner" is the time of the LU factorisations of its leading blocks by LAPACK alone, between the runs.
"""

import argparse
import statistics
import time
import tracemalloc

import keras
import numpy as np
from scipy.linalg import lapack

from keras_entropy import entropy_profile

MIB = 2**20
RUNS = 3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=["VGG16:corner", "ResNet50:log_volume"], metavar="NAME:MEASURE")
    for entry in parser.parse_args().models:
        name, measure = entry.split(":")
        model = getattr(keras.applications, name)(weights=None)
        largest = max(int(np.prod(v.shape)) for v in model.weights) * 4 / MIB
        seconds, floors = [], []
        for _ in range(RUNS):
            seconds.append(timed(lambda: entropy_profile(model, measure)))  # noqa: B023
            floors.append(sum(eliminate(matrix) for matrix in blocks(model)) if measure == "corner" else np.nan)
        tracemalloc.start()
        entropy_profile(model, measure)
        peak = tracemalloc.get_traced_memory()[1] / MIB
        tracemalloc.stop()
        floor = f", of which LU {statistics.median(floors):.2f} s" if measure == "corner" else ""
        print(
            f"{name}, {measure!r}: {statistics.median(seconds):.2f} s (median of {RUNS}){floor}; "
            f"peak {peak:.0f} MiB beyond the model, whose largest kernel has {largest:.0f} MiB"
        )


def timed(function):
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def blocks(model):
    """Random matrices of the size of each leading block, in the order that LAPACK overwrites."""
    rng = np.random.default_rng(0)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dense):
            k = min(layer.kernel.shape)
            yield rng.normal(size=(k, k)).T


def eliminate(matrix):
    return timed(lambda: lapack.dgetrf(matrix, overwrite_a=True))


if __name__ == "__main__":
    main()
