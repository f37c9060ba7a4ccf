"""The noncentral t distribution, by quadrature: SciPy's gives NaN or does not return far from the middle."""

from __future__ import annotations

import math
from functools import lru_cache

from keras_entropy.stats._samples import Array

_NODES = 2001
_LARGE = 100.0


@lru_cache(maxsize=64)
def _nodes(df: float) -> tuple[Array, Array]:
    """Nodes and weights of the rule of Simpson for S, where df S^2 is chi-squared."""
    import numpy as np
    from scipy import stats

    chi = np.linspace(float(stats.chi.ppf(1e-13, df)), float(stats.chi.isf(1e-13, df)), _NODES)
    weights = np.exp(stats.chi.logpdf(chi, df))
    weights[1:-1:2] *= 4
    weights[2:-1:2] *= 2
    return chi / math.sqrt(df), weights / weights.sum()


def cdf(t: float, df: float, delta: float) -> float:
    """P(T <= t) for T = (Z + delta) / S: the mean over S of P(Z <= t S - delta)."""
    from scipy import special

    spread, weights = _nodes(df)
    return float(weights @ special.ndtr(t * spread - delta))


def noncentrality(t: float, df: float, probability: float) -> float:
    """The delta at which P(T <= t) is `probability`."""
    from scipy import optimize, special, stats

    if t < 0:
        return -noncentrality(-t, df, 1 - probability)
    z = float(special.ndtri(probability))
    # Z alone moves delta by z, S alone to t S. The two in quadrature are exact for few and for many degrees of
    # freedom if t is large, and a start if it is not.
    from_spread = t * math.sqrt(stats.chi2.isf(probability, df) / df) - t
    guess = t - math.copysign(math.hypot(from_spread, z), z)
    if t > _LARGE:  # then within 1e-3 of the half width
        return guess
    reach = abs(guess - t) + 2
    return float(optimize.brentq(lambda delta: cdf(t, df, delta) - probability, guess - reach, guess + reach))
