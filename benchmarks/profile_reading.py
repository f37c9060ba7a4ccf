"""A trained SqueezeNet beside randomly initialised copies, by layer and measure, and the effect of depth.

    python benchmarks/profile_reading.py squeezenet_v1.1.npz

The script prints, for each layer, trained minus the mean of five randomly initialised copies (and the standard
deviation of a copy); Spearman's rho of these differences with depth, and between measures; and, for the 1x1 kernels,
the mean log of a weight minus the log of their root mean square, which is lower for heavier tails.
"""

import sys

import numpy as np
from scipy.stats import spearmanr

from keras_entropy import entropy_profile, models
from keras_entropy.profile import MEASURES

COPIES = range(5)


def main(weights):
    model = models.squeezenet(weights=weights)
    kept = {}
    for measure in MEASURES:
        trained = entropy_profile(model, measure)
        copies = [entropy_profile(model, measure, randomize=seed) for seed in COPIES]
        for record in trained.measured:
            means = [copy[record.path].mean for copy in copies]
            kept.setdefault(record.path, []).append((record.mean - np.mean(means), np.std(means, ddof=1)))
    print("layer             " + "".join(f"{measure:>18}" for measure in MEASURES))
    for path, row in kept.items():
        print(f"{path:18}" + "".join(f"{difference:+9.3f} ({deviation:.3f})" for difference, deviation in row))
    differences = np.array([[difference for difference, _ in row] for row in kept.values()])
    for i, measure in enumerate(MEASURES):
        print(f"{measure} and depth: {rho(np.arange(len(differences)), differences[:, i])}")
    print(f"corner and log_volume: {rho(differences[:, 0], differences[:, 1])}")
    print(f"opposite signs in corner and log_volume: {int((differences[:, 0] * differences[:, 1] < 0).sum())} layers")
    for layer in model.layers:
        if layer.weights and layer.kernel.shape[0] == 1:
            kernel = np.asarray(layer.get_weights()[0], np.float64)
            size, fans = 0.5 * np.log((kernel**2).mean()), sum(kernel.shape[-2:])
            glorot, tails = size - 0.5 * np.log(2 / fans), np.log(np.abs(kernel)).mean() - size
            print(f"{layer.name:18} log rms {glorot:+.2f} against Glorot; mean log weight {tails:+.2f} against log rms")


def rho(a, b):
    result = spearmanr(a, b)
    return f"rho {result.statistic:+.2f}, p = {result.pvalue:.2g}"


if __name__ == "__main__":
    main(sys.argv[1])
