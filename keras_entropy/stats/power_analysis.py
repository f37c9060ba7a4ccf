"""The number of seeds that a difference needs, and the power of a number of seeds, by the noncentral t distribution."""

from __future__ import annotations

import dataclasses
import math

from keras_entropy._checks import flag, message, number, positive, positive_integer
from keras_entropy.stats import _samples

_MOST = 10_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class PowerResult:
    """A number of seeds and its power.

    Attributes:
        method: String. The planned test.
        n: Integer. Number of seeds: of pairs, or in each arm if not paired.
        n_exact: Float. The fractional n at which the power is the requested one, as R reports it; None if it is below
            2, or if no power was requested.
        power: Float. Probability that n seeds show the difference.
        difference: Float. The true difference.
        deviation: Float. Standard deviation of the paired differences, or within each arm if not paired.
        alpha: Float. Error rate of the test.
        alternative: String. `"two-sided"`, `"less"` or `"greater"`.
        paired: Boolean. Whether the runs are pairs.
    """

    method: str
    n: int
    n_exact: float | None
    power: float
    difference: float
    deviation: float
    alpha: float
    alternative: str
    paired: bool

    def __str__(self) -> str:
        """The result as a sentence."""
        return (
            f"{self.n} seeds{'' if self.paired else ' per arm'} show a difference of {self.difference:.6g} at "
            f"deviation {self.deviation:.6g} with probability {self.power:.3f} ({self.method}, {self.alternative}, "
            f"alpha = {self.alpha:.6g})"
        )


def power(
    difference: float,
    deviation: float,
    n: int,
    alpha: float = 0.05,
    *,
    paired: bool = True,
    alternative: str = "two-sided",
) -> PowerResult:
    """The probability that a t test on n seeds shows a difference.

    A two-sided test counts both tails, as statsmodels does (in R: `strict=TRUE`). Without pairs, the test is Student's
    with equal variances; Welch's has about 0.01 less power at 8 seeds.

    Args:
        difference: Float. The true difference.
        deviation: Float above 0. Standard deviation of the paired differences if paired, else within each arm.
        n: Integer of at least 2. Number of seeds: of pairs, or in each arm.
        alpha: Float. Error rate of the test. Defaults to 0.05.
        paired: Boolean. Whether the runs are pairs. Defaults to True.
        alternative: String, as in SciPy: `"two-sided"`, `"less"` or `"greater"`. Defaults to `"two-sided"`.

    Returns:
        A `PowerResult`.

    Raises:
        TypeError, ValueError: For an invalid argument.

    Examples:
        >>> from keras_entropy.stats import power
        >>> print(power(0.2, 0.2, 10))
        10 seeds show a difference of 0.2 at deviation 0.2 with probability 0.803 (paired t, two-sided, alpha = 0.05)
    """
    difference, deviation, alpha, alternative = _arguments(difference, deviation, alpha, paired, alternative)
    if positive_integer("n", n) < 2:
        raise ValueError(message("n", "at least 2", n, "One run has no standard deviation."))
    reached = _power(difference / deviation, n, alpha, paired, alternative)
    return _result(int(n), None, reached, difference, deviation, alpha, alternative, paired)


def seeds_needed(
    difference: float,
    deviation: float,
    power: float = 0.8,
    alpha: float = 0.05,
    *,
    paired: bool = True,
    alternative: str = "two-sided",
) -> PowerResult:
    """The smallest number of seeds with which a t test has a given power.

    Estimate the deviation on runs that the test does not use. An estimate from few runs can be far off.

    Args:
        difference: Float other than 0. The smallest true difference that matters.
        deviation: Float above 0. Standard deviation of the paired differences if paired, else within each arm.
        power: Float between `alpha` and 1. The requested power. Defaults to 0.8.
        alpha: Float. Error rate of the test. Defaults to 0.05.
        paired: Boolean. Whether the runs are pairs. Defaults to True.
        alternative: String, as in SciPy: `"two-sided"`, `"less"` or `"greater"`. Defaults to `"two-sided"`.

    Returns:
        A `PowerResult`.

    Raises:
        TypeError, ValueError: For an invalid argument, and for a difference that is too small to be shown.

    Examples:
        >>> from keras_entropy.stats import seeds_needed
        >>> result = seeds_needed(1, 1, power=0.9, paired=False)
        >>> result.n, round(result.n_exact, 3)
        (23, 22.021)
    """
    from scipy import optimize

    difference, deviation, alpha, alternative = _arguments(difference, deviation, alpha, paired, alternative)
    target = float(number("power", power))
    if not alpha < target < 1:
        raise ValueError(message("power", f"between alpha = {alpha:g} and 1", power))
    if difference == 0 or alternative == ("less" if difference > 0 else "greater"):
        signs = {"two-sided": "not 0", "less": "below 0", "greater": "above 0"}
        raise ValueError(message("difference", f"{signs[alternative]} for alternative={alternative!r}", difference))
    effect = difference / deviation

    def missing(n: float) -> float:
        return _power(effect, n, alpha, paired, alternative) - target

    below, enough = 1, 2
    while missing(enough) < 0:
        below, enough = enough, 2 * enough
        if enough > _MOST:
            remedy = f"A difference of {abs(effect):.3g} standard deviations needs more than {_MOST // 2} seeds."
            raise ValueError(message("difference", "larger", difference, remedy))
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (middle, enough) if missing(middle) < 0 else (below, middle)
    exact = float(optimize.brentq(missing, enough - 1, enough, xtol=1e-9)) if enough > 2 else None
    return _result(enough, exact, missing(enough) + target, difference, deviation, alpha, alternative, paired)


def _arguments(
    difference: float, deviation: float, alpha: float, paired: bool, alternative: str
) -> tuple[float, float, float, str]:
    flag("paired", paired)
    checked = float(number("difference", difference)), positive("deviation", deviation)
    return *checked, _samples.alpha(alpha), _samples.alternative(alternative)


def _power(effect: float, n: float, alpha: float, paired: bool, alternative: str) -> float:
    """Probability that the statistic, noncentral by the effect, lies beyond the critical value."""
    from scipy import special

    df, delta = (n - 1, effect * math.sqrt(n)) if paired else (2 * (n - 1), effect * math.sqrt(n / 2))
    critical = float(special.stdtrit(df, 1 - (alpha / 2 if alternative == "two-sided" else alpha)))
    below, above = _exceeds(critical, df, -delta), _exceeds(critical, df, delta)
    return {"two-sided": below + above, "less": below, "greater": above}[alternative]


def _exceeds(critical: float, df: float, delta: float) -> float:
    """Probability that a noncentral t statistic is above a critical value above 0."""
    from scipy import special

    probability = 1 - float(special.nctdtr(df, delta, critical))
    if math.isnan(probability):  # SciPy's answer far in a tail, where the probability is 0 or 1 in float64
        return float(delta > critical)
    return probability


def _result(
    n: int, exact: float | None, reached: float, difference: float, deviation: float, alpha: float, alternative: str,
    paired: bool,
) -> PowerResult:  # fmt: skip
    return PowerResult(
        method="paired t" if paired else "two-sample t",
        n=n,
        n_exact=exact,
        power=reached,
        difference=difference,
        deviation=deviation,
        alpha=alpha,
        alternative=alternative,
        paired=paired,
    )
