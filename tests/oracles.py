"""Float64 NumPy twins of the formulas, written from their definitions: singular values and dense operators."""

import itertools

import numpy as np


def log_volume(matrix, epsilon=0.0):
    """Sum of log sqrt(s^2 + epsilon^2) over singular values."""
    s = np.linalg.svd(np.asarray(matrix, np.float64), compute_uv=False)
    return 0.5 * np.log(s**2 + epsilon**2).sum(-1)


def log_volume_gradient(matrix, epsilon=0.0):
    """U diag(s / (s^2 + epsilon^2)) V^T."""
    u, s, vt = np.linalg.svd(np.asarray(matrix, np.float64), full_matrices=False)
    return (u * (s / (s**2 + epsilon**2))[..., None, :]) @ vt


def leading(matrix):
    k = min(matrix.shape)
    return matrix[:k, :k]


def central_differences(function, x, step=1e-6):
    """Gradient of a scalar function of a float64 array."""
    x = np.asarray(x, np.float64)
    gradient = np.zeros_like(x)
    for index in np.ndindex(x.shape):
        shift = np.zeros_like(x)
        shift[index] = step * max(1.0, abs(x[index]))
        gradient[index] = (function(x + shift) - function(x - shift)) / (2 * shift[index])
    return gradient


def with_condition(rows, columns, condition, seed=0):
    """A random matrix with singular values spread geometrically from 1 to 1 / condition."""
    generator = np.random.default_rng(seed)
    k = min(rows, columns)
    u = np.linalg.qr(generator.normal(size=(rows, k)))[0]
    v = np.linalg.qr(generator.normal(size=(columns, k)))[0]
    return (u * np.geomspace(1, 1 / condition, k)) @ v.T


def glorot(shape, seed=0):
    receptive = int(np.prod(shape[:-2]))
    limit = np.sqrt(6 / (receptive * (shape[-2] + shape[-1])))
    return np.random.default_rng(seed).uniform(-limit, limit, shape)


def conv_operator(kernel, image, strides=1, dilation=1):
    """The matrix of a "valid" correlation, rows (output pixel, filter), columns (input pixel, channel).

    Args:
        kernel: (*spatial, c_in, c_out).
        image: spatial shape of the input.

    Returns:
        The matrix, and for each output pixel the input pixel under the kernel's corner.
    """
    *size, c_in, c_out = kernel.shape
    outputs = [(n - dilation * (k - 1) - 1) // strides + 1 for n, k in zip(image, size, strict=True)]
    rows = list(itertools.product(*map(range, outputs)))
    columns = {pixel: i for i, pixel in enumerate(itertools.product(*map(range, image)))}
    operator = np.zeros((len(rows), c_out, len(columns), c_in))
    for i, row in enumerate(rows):
        for offset in itertools.product(*map(range, size)):
            pixel = tuple(strides * r + dilation * o for r, o in zip(row, offset, strict=True))
            operator[i, :, columns[pixel], :] += kernel[offset].T
    corners = [columns[tuple(strides * r for r in row)] for row in rows]
    shape = (len(rows) * c_out, len(columns) * c_in)
    return operator.reshape(shape), corners


def circular_operator(kernel, n, strides=1, dilation=1, groups=1):
    """The matrix of a correlation on a torus, rows (output pixel, filter), columns (input pixel, channel).

    Args:
        kernel: (*spatial, c_in / groups, c_out).
        n: output pixels per side; the input has strides times as many.
    """
    *size, rows, filters = kernel.shape
    rank = len(size)
    outputs = list(itertools.product(range(n), repeat=rank))
    columns = {pixel: i for i, pixel in enumerate(itertools.product(range(n * strides), repeat=rank))}
    operator = np.zeros((len(outputs), filters, len(columns), rows * groups))
    for i, output in enumerate(outputs):
        for offset in itertools.product(*map(range, size)):
            pixel = tuple((strides * o + dilation * t) % (n * strides) for o, t in zip(output, offset, strict=True))
            for d in range(filters):
                first = d // (filters // groups) * rows
                operator[i, d, columns[pixel], first : first + rows] += kernel[offset][:, d]
    return operator.reshape(len(outputs) * filters, -1)


def conv_log_volume(kernel, n, epsilon=0.0, strides=1, dilation=1, groups=1):
    """Nats per output pixel on a torus, without the singular values that are 0 whatever the kernel is."""
    rank = kernel.ndim - 2
    s = np.linalg.svd(circular_operator(kernel, n, strides, dilation, groups), compute_uv=False)
    phases = len({tuple(dilation * np.array(tap) % strides) for tap in np.ndindex(kernel.shape[:-2])})
    k = n**rank * groups * min(phases * kernel.shape[-2], kernel.shape[-1] // groups)
    return 0.5 * np.log(s[:k] ** 2 + epsilon**2).sum() / n**rank


def total_correlation(kernel, epsilon=0.0, n=8, **arguments):
    """Sum of log norms of the filters minus the log-volume, of filters of norm 1 with noise, over all outputs."""
    kernel = np.asarray(kernel, np.float64)
    kernel = kernel / np.sqrt((kernel**2).sum(axis=tuple(range(kernel.ndim - 1))))
    outputs = kernel.shape[-1]
    matrix = kernel if kernel.ndim == 2 else circular_operator(kernel, n, **arguments).T
    _, log_det = np.linalg.slogdet(matrix.T @ matrix + epsilon**2 * np.eye(matrix.shape[1]))
    return 0.5 * (outputs * np.log1p(epsilon**2) - log_det / (matrix.shape[1] / outputs))
