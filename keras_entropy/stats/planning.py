"""How many seeds a difference needs, and how likely a number of seeds shows it, by the noncentral t distribution."""

from __future__ import annotations

import dataclasses
import math

from keras_entropy._checks import flag, message, number, positive, positive_integer
from keras_entropy.stats import _samples
from keras_entropy.stats.noncentral import cdf

_MOST = 10_000_000


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """A number of seeds and what it can show.

    Attributes:
        method: the test that is planned.
        n: seeds: pairs, or in each arm if they are not paired.
        n_exact: the fractional n at which the power is the one asked for, as R gives it; None if it is below 2 or not
            asked for.
        power: how likely n seeds show the difference.
        difference: the true one.
        deviation: standard deviation of the paired differences, or within each arm.
        level: error rate of the test.
        alternative: `"two-sided"`, `"less"` or `"greater"`.
        paired: whether the runs are pairs.
    """

    method: str
    n: int
    n_exact: float | None
    power: float
    difference: float
    deviation: float
    level: float
    alternative: str
    paired: bool

    def __str__(self) -> str:
        """The plan as a sentence."""
        return (
            f"{self.n} seeds{'' if self.paired else ' per arm'} show a difference of {self.difference:.6g} at "
            f"deviation {self.deviation:.6g} with probability {self.power:.3f} ({self.method}, {self.alternative}, "
            f"level {self.level:.6g})"
        )


def power(
    difference: float,
    deviation: float,
    n: int,
    level: float = 0.05,
    *,
    paired: bool = True,
    alternative: str = "two-sided",
) -> Plan:
    """How likely a t test of n seeds shows a difference. Both tails count, as in statsmodels (in R: `strict=TRUE`).

    Unpaired, it is that of Student's t with equal variances; Welch's loses 0.01 of it at 8 seeds.

    Args:
        difference: the true one.
        deviation: standard deviation of the paired differences if paired, else within each arm.
        n: seeds: pairs, or in each arm.
        level: error rate of the test.
        paired: whether the runs are pairs.
        alternative: as in SciPy.

    Examples:
        >>> from keras_entropy.stats import power
        >>> print(power(0.002, 0.002, 10))
        10 seeds show a difference of 0.002 at deviation 0.002 with probability 0.803 (paired t, two-sided, level 0.05)
    """
    difference, deviation, level, alternative = _arguments(difference, deviation, level, paired, alternative)
    if positive_integer("n", n) < 2:
        raise ValueError(message("n", "at least 2", n, "One run has no deviation."))
    reached = _power(difference / deviation, n, level, paired, alternative)
    return _plan(int(n), None, reached, difference, deviation, level, alternative, paired)


def seeds_needed(
    difference: float,
    deviation: float,
    power: float = 0.8,
    level: float = 0.05,
    *,
    paired: bool = True,
    alternative: str = "two-sided",
) -> Plan:
    """The fewest seeds with which a t test shows a difference at least so often.

    Take the deviation from other runs than those to be judged; one of few runs may be far off.

    Args:
        difference: the smallest true one that matters; not 0.
        deviation: standard deviation of the paired differences if paired, else within each arm.
        power: how often the difference is to be shown.
        level: error rate of the test.
        paired: whether the runs are pairs.
        alternative: as in SciPy.

    Examples:
        >>> from keras_entropy.stats import seeds_needed
        >>> plan = seeds_needed(1, 1, power=0.9, paired=False)
        >>> plan.n, round(plan.n_exact, 3)
        (23, 22.021)
    """
    from scipy import optimize

    difference, deviation, level, alternative = _arguments(difference, deviation, level, paired, alternative)
    target = float(number("power", power))
    if not level < target < 1:
        raise ValueError(message("power", f"between level = {level:g} and 1", power))
    if difference == 0 or alternative == ("less" if difference > 0 else "greater"):
        signs = {"two-sided": "not 0", "less": "below 0", "greater": "above 0"}
        raise ValueError(message("difference", f"{signs[alternative]} for alternative={alternative!r}", difference))
    effect = difference / deviation

    def missing(n: float) -> float:
        return _power(effect, n, level, paired, alternative) - target

    below, enough = 1, 2
    while missing(enough) < 0:
        below, enough = enough, 2 * enough
        if enough > _MOST:
            remedy = f"A difference of {abs(effect):.3g} deviations needs more than {_MOST // 2} seeds."
            raise ValueError(message("difference", "larger", difference, remedy))
    while enough - below > 1:
        middle = (below + enough) // 2
        below, enough = (middle, enough) if missing(middle) < 0 else (below, middle)
    exact = float(optimize.brentq(missing, enough - 1, enough, xtol=1e-9)) if enough > 2 else None
    return _plan(enough, exact, missing(enough) + target, difference, deviation, level, alternative, paired)


def _arguments(
    difference: float, deviation: float, level: float, paired: bool, alternative: str
) -> tuple[float, float, float, str]:
    flag("paired", paired)
    checked = float(number("difference", difference)), positive("deviation", deviation)
    return *checked, _samples.significance(level), _samples.sidedness(alternative)


def _power(effect: float, n: float, level: float, paired: bool, alternative: str) -> float:
    """Chance that t, noncentral by the effect, lies beyond the critical value."""
    from scipy import special

    df, delta = (n - 1, effect * math.sqrt(n)) if paired else (2 * (n - 1), effect * math.sqrt(n / 2))
    critical = float(special.stdtrit(df, 1 - (level / 2 if alternative == "two-sided" else level)))
    below, above = cdf(-critical, df, delta), cdf(-critical, df, -delta)  # by symmetry P(T > c)
    return {"two-sided": below + above, "less": below, "greater": above}[alternative]


def _plan(
    n: int, exact: float | None, reached: float, difference: float, deviation: float, level: float, alternative: str,
    paired: bool,
) -> Plan:  # fmt: skip
    return Plan(
        method="paired t" if paired else "two-sample t",
        n=n,
        n_exact=exact,
        power=reached,
        difference=difference,
        deviation=deviation,
        level=level,
        alternative=alternative,
        paired=paired,
    )
