"""Problems whose entropy is known exactly: what a sampler of parameter space has to reproduce."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def ball_log_probability(dimension: int, energy: float) -> float:
    """Log of the share of the cube [-1, 1]^d in which |x|^2 < energy.

    Below 1 it is the volume of a ball; above, the inverse Laplace transform of the law of a sum of squares, along the
    line through its saddle point.

    Args:
        dimension: d; at least 5 for energies above 1, since the integral converges slowly in few dimensions.
        energy: of 0 to d.

    Raises:
        ValueError: for others.

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
    """Energies between bins of equal width in nats, from the whole cube down.

    Args:
        dimension: of the cube.
        bins: how many; the deepest holds all that is left.
        width: nats from bin to bin.

    Returns:
        (bins + 1,) rising energies from 0 to `dimension`.
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
    """Entropy of the bins between energies: log of their shares of the cube, in nats."""
    below = np.array([-np.inf if e <= 0 else ball_log_probability(dimension, min(e, dimension)) for e in edges])
    entropy: Array = below[1:] + np.log1p(-np.exp(below[:-1] - below[1:]))
    return entropy


def perceptron_entropy(train: tuple[Array, Array], test: tuple[Array, Array]) -> Array:
    """Log of the share of the square [-1, 1]^2 of weights in which a perceptron has so many points right.

    A point x with label y of -1 or 1 is right where y w.x > 0, so the number depends on the angle of w alone, and
    changes at the angles across the points.

    Args:
        train: points (n, 2) and labels (n,).
        test: points (m, 2) and labels (m,).

    Returns:
        (n + 1, m + 1) entropies in nats, -inf where no weight has that many.
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
    """Of the square [-1, 1]^2 between two angles within one eighth of the circle."""
    side = round((begin + end) / 2 / (math.pi / 2)) * (math.pi / 2)  # the nearest side is straight across this angle
    return 0.5 * (math.tan(end - side) - math.tan(begin - side))
