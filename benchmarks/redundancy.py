"""Which units of a layer are redundant: what each adds to the log-volume, given the others.

Let W be the kernel of a layer with one unit (or filter) per column, x a white input, and e white noise. The entropy of
the outputs z = W'x + epsilon e is, up to a constant per unit, the log-volume V(W) = 1/2 log det(A), with
A = W'W + epsilon^2 I. Without unit i, A loses row and column i, and by Cramer's rule the determinant of that minor is
det(A) (A^-1)_ii. So a unit adds

    V(W) - V(W without i) = -1/2 log (A^-1)_ii,

which is the entropy of its output given the outputs of the others. With epsilon = 0 it is the log of the distance of
its column to the span of the others. The sum over all units, each given those that are left, is V(W).

A convolution has a matrix for each frequency w, the transfer matrix K(w) of `functional.conv_log_volume`. What a filter
adds is the mean over the frequencies. The unfolded kernel, a matrix of pixels and channels by filters, ignores that the
filters act at every pixel, so that one filter may be another one shifted.

If a layer has more units than inputs, its log-volume without noise has as many terms as inputs, whatever the number of
units. The noise makes it well defined: a unit then adds log(epsilon) - 1/2 log(1 - h), with h the leverage of its
column.
"""

import numpy as np

GRID = 8  # frequencies per spatial dimension, the default of `functional.conv_log_volume` for kernels up to 7 x 7


def redundant_units(matrices, epsilon=1e-4):
    """Order units: the first adds least to the log-volume, the second adds least without the first, and so on.

    Args:
        matrices: Array (..., inputs, units): a kernel, or the transfer matrices of a convolution.
        epsilon: Float > 0. Standard deviation of the assumed noise, in kernel units. Defaults to 1e-4.

    Returns:
        The indices of the units, and what each adds given those that follow it, in nats (per output pixel of a
        convolution). The sum is the log-volume.
    """
    matrices = np.asarray(matrices)
    units = matrices.shape[-1]
    matrices = matrices.reshape(-1, *matrices.shape[-2:])
    inverses = np.linalg.inv(matrices.conj().swapaxes(1, 2) @ matrices + epsilon**2 * np.eye(units))
    left, order, added = np.arange(units), [], []
    while left.size:
        values = -0.5 * np.log(np.einsum("fii->fi", inverses).real).mean(axis=0)
        i = int(np.argmin(values))
        order.append(int(left[i]))
        added.append(float(values[i]))
        column, row = inverses[:, :, i] / inverses[:, i, i, None], inverses[:, i]
        inverses = inverses - column[:, :, None] * row[:, None]  # the inverse of the minor is a Schur complement
        left, inverses = np.delete(left, i), np.delete(np.delete(inverses, i, axis=1), i, axis=2)
    return order, added


def transfer_matrices(kernel, strides=1):
    """The transfer matrices (frequencies, phases * inputs, filters) of a kernel (height, width, inputs, filters).

    With strides, every phase of the input pixels is an input of its own.
    """
    height, width, _, filters = kernel.shape
    frequencies = 2 * np.pi * np.array(list(np.ndindex(GRID, GRID))) / GRID
    parts = {}
    for y, x in np.ndindex(height, width):
        phase, delay = (y % strides, x % strides), (y // strides, x // strides)
        turn = np.exp(1j * frequencies @ delay)
        parts[phase] = parts.get(phase, 0) + turn[:, None, None] * kernel[y, x].astype(float)
    return np.concatenate(list(parts.values()), axis=1).reshape(GRID**2, -1, filters)
