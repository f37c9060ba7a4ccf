"""Exact entropies, to test a sampler with: of a ball in a cube, and of a perceptron with two weights."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def ball_log_probability(dimension: int, energy: float) -> float:
    """Return the log of the fraction of the cube [-1, 1]^d in which |x|^2 < energy, in nats.

    Up to an energy of 1 it is the volume of a ball. Above 1 it is the inverse Laplace transform of the distribution of
    a sum of squares, along the line through its saddle point.

    Args:
        dimension: Integer d. For an energy above 1 at least 5, because the integral converges slowly below.
        energy: Float, above 0 and at most d.

    Raises:
        ValueError: For other arguments.

    Examples:
        >>> round(ball_log_probability(2, 1.0), 4)  # a disc in a square: log(pi / 4)
        -0.2416
    """
    from scipy import integrate, optimize, special

    if not 0 < energy <= dimension:
        raise ValueError(f"`energy` should be above 0 and at most {dimension}. Received: energy={energy!r}.")
    if energy > 1 and dimension < 5:
        raise ValueError(f"`dimension` should be at least 5 for an energy above 1. Received: dimension={dimension!r}.")
    half = dimension / 2
    if energy <= 1:
        volume = half * math.log(math.pi) - special.gammaln(half + 1)
        return float(volume + half * math.log(energy) - dimension * math.log(2))

    def exponent(z: Any) -> Any:
        root = np.sqrt(z)
        return z * energy + dimension * np.log(math.sqrt(math.pi) / 2 * special.erf(root) / root) - np.log(z)

    def slope(z: float) -> float:
        return float((exponent(z * (1 + 1e-6)) - exponent(z * (1 - 1e-6))) / (2e-6 * z))

    saddle = optimize.brentq(slope, 1e-3 / dimension, 10 * dimension / energy + 10)
    top = float(exponent(saddle))
    height, _ = integrate.quad(
        lambda y: float(np.exp(exponent(saddle + 1j * y) - top).real), 0, 60 * dimension, limit=2000, epsabs=1e-12
    )
    return top + math.log(height / math.pi)


def ball_edges(dimension: int, bins: int = 44, width: float = 1.5) -> Array:
    """Return edges of bins whose entropies differ by a constant, from the whole cube down.

    Args:
        dimension: Integer d of the cube.
        bins: Integer. Number of bins; the deepest one reaches to 0. Defaults to 44.
        width: Float, nats. Difference of the log volumes below two neighbouring edges. Defaults to 1.5.

    Returns:
        Array (bins + 1,) of increasing energies from 0 to d.

    Examples:
        >>> ball_edges(10, bins=3).round(3).tolist()
        [0.0, 1.835, 2.592, 10.0]
    """
    from scipy import optimize

    def above(energy: float, wanted: float) -> float:
        return ball_log_probability(dimension, energy) - wanted

    found = [float(dimension)]
    for level in range(1, bins):
        wanted = -width * level
        low = found[-1] * 1e-3
        while ball_log_probability(dimension, low) > wanted:
            low *= 0.5
        found.append(float(optimize.brentq(above, low, found[-1], args=(wanted,), xtol=1e-14)))
    return np.array([0.0, *found[::-1]])


def ball_entropy(dimension: int, edges: Array) -> Array:
    """Return the entropies of the bins between energies, in nats; the entropy of the whole cube is 0.

    Args:
        dimension: Integer d of the cube.
        edges: Array (n + 1,). Increasing energies from 0 to d.

    Returns:
        Array (n,) of entropies.

    Examples:
        >>> ball_entropy(10, ball_edges(10, bins=3)).round(3).tolist()
        [-3.0, -1.752, -0.252]
    """
    below = np.array([-np.inf if e <= 0 else ball_log_probability(dimension, min(e, dimension)) for e in edges])
    entropy: Array = below[1:] + np.log1p(-np.exp(below[:-1] - below[1:]))
    return entropy


def perceptron_entropy(train: tuple[Array, Array], test: tuple[Array, Array]) -> Array:
    """Return the entropies of the numbers of points that a perceptron with weights in [-1, 1]^2 classifies correctly.

    A point x with label y is classified correctly if y w.x > 0, so the numbers depend on the angle of w only,
    and change at right angles to the points.

    Args:
        train: Training points, array (n, 2), and labels, array (n,) of -1 and 1.
        test: Test points, array (m, 2), and labels, array (m,) of -1 and 1.

    Returns:
        Array (n + 1, m + 1) of entropies in nats; -inf for numbers that no weights have.

    Examples:
        >>> import numpy as np
        >>> points, labels = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1, -1])
        >>> np.exp(perceptron_entropy((points, labels), (points[:1], labels[:1])))
        array([[0.25, 0.  ],
               [0.25, 0.25],
               [0.  , 0.25]])
    """
    points = np.concatenate([train[0], test[0]])
    across = np.arctan2(points[:, 1], points[:, 0])
    corners = np.arange(4) * (math.pi / 2) + math.pi / 4
    turns = np.concatenate([across + math.pi / 2, across - math.pi / 2, corners, corners - math.pi / 4])
    angles = np.unique(np.mod(turns, 2 * math.pi))
    ends = np.append(angles[1:], angles[0] + 2 * math.pi)
    shares = np.zeros((len(train[1]) + 1, len(test[1]) + 1))
    for begin, end in zip(angles, ends, strict=True):
        middle = (begin + end) / 2
        weight = np.array([math.cos(middle), math.sin(middle)])
        right = [int(np.sum(y * (x @ weight) > 0)) for x, y in (train, test)]
        shares[tuple(right)] += _area(begin, end) / 4
    with np.errstate(divide="ignore"):
        return np.log(shares)


def _area(begin: float, end: float) -> float:
    """Return the area of the square [-1, 1]^2 between two angles within one eighth of the circle."""
    side = round((begin + end) / 2 / (math.pi / 2)) * (math.pi / 2)  # the nearest side is perpendicular to this angle
    return 0.5 * (math.tan(end - side) - math.tan(begin - side))
