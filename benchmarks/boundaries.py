"""Error of the log-volume on a grid of frequencies, against a fine grid and against convolutions with borders.

    python benchmarks/boundaries.py

The tables are in float64, in nats per dimension: the error of each grid against grid 64 (mean and largest over random
Glorot kernels), and the differences of dense operators of small images from grid 64 (mean over kernels).
"""

import numpy as np

from keras_entropy import functional


def main():
    print("kernel           " + "".join(f"{f'grid {grid}':>18}" for grid in (4, 8, 16, 32)))
    for size, channels in [(3, (1, 1)), (3, (4, 4)), (3, (16, 16)), (3, (3, 16)), (3, (16, 32)), (5, (1, 1)),
                           (5, (4, 4)), (5, (16, 16)), (7, (1, 1)), (7, (4, 4)), (7, (16, 16))]:  # fmt: skip
        kernels = [glorot((size, size, *channels), seed) for seed in range(20 if max(channels) < 16 else 5)]
        exact = np.array([volume(kernel, 64) for kernel in kernels])
        cells = []
        for grid in (4, 8, 16, 32):
            errors = np.abs([volume(kernel, grid) for kernel in kernels] - exact)
            cells.append(f"{errors.mean():.4f}, {errors.max():.4f}")
        print(f"{size}x{size}, {channels[0]:2} to {channels[1]:2}   " + "".join(f"{cell:>18}" for cell in cells))
    print("\nkernel            image   grid 64   torus    same   valid")
    identity = np.zeros((3, 3, 4, 4))
    identity[1, 1] = np.eye(4)
    for name, kernels in {
        "Glorot, 1 to 1": [glorot((3, 3, 1, 1), seed) for seed in range(5)],
        "Glorot, 4 to 4": [glorot((3, 3, 4, 4), seed) for seed in range(5)],
        "centre, 4 to 4": [identity + 0.3 * glorot((3, 3, 4, 4), seed) for seed in range(5)],
    }.items():
        for n in (4, 8, 16):
            exact = np.mean([volume(kernel, 64) for kernel in kernels])
            torus = np.mean([volume(kernel, n) for kernel in kernels])
            same, valid = (np.mean([zero_padded(kernel, n, pad) for kernel in kernels]) for pad in (1, 0))
            differences = f"{torus - exact:+8.3f} {same - exact:+7.3f} {valid - exact:+7.3f}"
            print(f"{name:16} {n:3} x {n:<3} {exact:7.3f} {differences}")


def volume(kernel, grid):
    return float(functional.conv_log_volume(kernel, grid)) / min(kernel.shape[-2:])


def zero_padded(kernel, n, pad):
    """Log-volume per dimension of the dense matrix of a convolution of n x n images with zeros around them."""
    _, _, c_in, c_out = kernel.shape
    outputs = n + 2 * pad - 2
    operator = np.zeros((outputs, outputs, c_out, n + 2 * pad, n + 2 * pad, c_in))
    for i, j, a, b in np.ndindex(outputs, outputs, 3, 3):
        operator[i, j, :, i + a, j + b] = kernel[a, b].T
    inside = operator[:, :, :, pad : n + pad, pad : n + pad].reshape(outputs**2 * c_out, -1)
    return float(functional.dense_log_volume(inside)) / min(inside.shape)


def glorot(shape, seed):
    limit = np.sqrt(6 / (shape[0] * shape[1] * (shape[2] + shape[3])))
    return np.random.default_rng(seed).uniform(-limit, limit, shape)


if __name__ == "__main__":
    main()
