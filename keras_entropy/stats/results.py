"""Results of the statistics: frozen records that also say in words what they show."""

from __future__ import annotations

import dataclasses
import math

from keras_entropy._checks import flag, message
from keras_entropy.stats import _samples, wording
from keras_entropy.stats.wording import Decimals

_FLIPPED = {"two-sided": "two-sided", "less": "greater", "greater": "less"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its confidence interval.

    Attributes:
        method: String. The method, such as `"t"`.
        n: Integer. Number of independent values: of pairs if they are paired, else of all samples together.
        estimate: Float. The number.
        low: Float. Lower end of the interval; minus infinity for `alternative="less"`.
        high: Float. Upper end of the interval; infinity for `alternative="greater"`.
        p: Float. The p-value, or None without a test.
        confidence: Float. Confidence of the interval, such as 0.95.
        alternative: String. `"two-sided"`, `"less"` or `"greater"`.
        statistic: Float. The test statistic, or None.
        df: Float. Degrees of freedom, or None.
        note: String. Why an interval or p-value is NaN; empty otherwise.
    """

    method: str
    n: int
    estimate: float
    low: float
    high: float
    p: float | None
    confidence: float
    alternative: str = "two-sided"
    statistic: float | None = None
    df: float | None = None
    note: str = ""

    def __str__(self) -> str:
        """The number with its interval, method, sample size and p-value."""
        write = wording.decimals(self.estimate, self.low, self.high)
        parts = [_interval(self, self.low, self.high, write), self.method, f"n = {self.n}", wording.p_value(self.p)]
        return f"{write(self.estimate)} ({', '.join(part for part in parts if part)})"


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeanDifference(Estimate):
    """The mean of sample a minus the mean of sample b, with its interval and t test.

    Attributes:
        n_a: Integer. Number of values of a.
        n_b: Integer. Number of values of b.
        paired: Boolean. Whether the values are pairs, for example by seed.
        effect: Float. Hedges' g (Hedges, 1981): the difference in standard deviations, corrected for the bias of small
            samples. The standard deviation is that of the paired differences, or the pooled one if not paired.
        p_adjusted: Float. The p-value adjusted for a family of tests; if it is not None, it decides in place of `p`.
        adjustment: String. How `p_adjusted` was computed; empty without an adjustment.
    """

    n_a: int
    n_b: int
    paired: bool
    effect: float = math.nan
    p_adjusted: float | None = None
    adjustment: str = ""

    @property
    def difference(self) -> float:
        """The mean of a minus the mean of b."""
        return self.estimate

    @property
    def alpha(self) -> float:
        """Error rate of the decision: 1 - `confidence`."""
        return round(1 - self.confidence, 12)  # 1 - 0.95 is not 0.05 in binary

    @property
    def deciding_p(self) -> float | None:
        """`p_adjusted`, or `p` if there was no adjustment."""
        return self.p if self.p_adjusted is None else self.p_adjusted

    @property
    def shown(self) -> int:
        """1 if a is shown to be above b, -1 if a is shown to be below b, else 0.

        A difference is shown if `deciding_p` is at most `alpha` and the interval excludes 0.
        """
        p = self.deciding_p
        if p is None or not p <= self.alpha:  # NaN is not
            return 0
        return int(self.low > 0) - int(self.high < 0)

    def conclusion(self, *, lower_is_better: bool) -> str:
        """`"better"` or `"worse"`, said of a, or `"no difference shown"`."""
        flag("lower_is_better", lower_is_better)
        if self.shown == 0:
            return "no difference shown"
        return "better" if (self.shown > 0) != lower_is_better else "worse"

    def sentence(self, name_a: str, name_b: str, *, lower_is_better: bool, unit: str = "seeds") -> str:
        """What the test shows, in one sentence.

        Args:
            name_a: String. Name of sample a.
            name_b: String. Name of sample b.
            lower_is_better: Boolean. True for a loss, False for an accuracy.
            unit: String. What the values are. Defaults to `"seeds"`.

        Examples:
            >>> from keras_entropy.stats import paired_t
            >>> paired_t([0.91, 0.93, 0.92, 0.94], [0.90, 0.91, 0.91, 0.92]).sentence("A", "B", lower_is_better=False)
            'A is better than B by 0.0150 (95 % interval 0.0058 to 0.0242, paired t, n = 4 seeds, p = 0.014)'
        """
        _check_names(name_a, name_b, unit)
        word = self.conclusion(lower_is_better=lower_is_better)
        write = wording.decimals(self.estimate, self.low, self.high)
        kind = "unadjusted interval" if self.adjustment else "interval"
        p = wording.p_value(self.deciding_p, self.alpha)
        tail = [self.method, _count(self, unit), f"{p} after {self.adjustment}" if p and self.adjustment else p]
        if self.shown:
            # The sentence gives the amount by which a is better or worse: all three numbers are above 0.
            low, high = (self.low, self.high) if self.shown > 0 else (-self.high, -self.low)
            inner = _listed([_interval(self, low, high, write, kind), *tail])
            return f"{name_a} is {word} than {name_b} by {write(abs(self.estimate))} ({inner}{self._remarks})"
        minus = f"{name_a} minus {name_b} {write(self.estimate)}"
        inner = _listed([minus, _interval(self, self.low, self.high, write, kind), *tail]) + self._remarks
        if self.alternative == "two-sided":
            return f"no difference shown between {name_a} and {name_b} ({inner})"
        sought = "better" if (self.alternative == "greater") != lower_is_better else "worse"
        return f"{name_a} is not shown to be {sought} than {name_b} ({inner})"

    @property
    def _remarks(self) -> str:
        remarks = f"; {self.note}" if self.note and not math.isnan(self.low) else ""
        if not self.shown and self.deciding_p is not None and self.deciding_p <= self.alpha:
            remarks += "; the interval includes 0 although the p-value is small"
        return remarks

    def swapped(self) -> MeanDifference:
        """The same test with the samples exchanged: b minus a."""
        return dataclasses.replace(
            self,
            estimate=-self.estimate,
            low=-self.high,
            high=-self.low,
            alternative=_FLIPPED[self.alternative],
            statistic=None if self.statistic is None else -self.statistic,
            n_a=self.n_b,
            n_b=self.n_a,
            effect=-self.effect,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Equivalence(Estimate):
    """Two one-sided tests of whether a and b differ by less than a margin; `estimate` is a minus b.

    `p` is the larger of the two p-values. `confidence` is 1 - 2 `alpha`: the interval lies within the margin exactly if
    both tests reject.

    Attributes:
        n_a: Integer. Number of values of a.
        n_b: Integer. Number of values of b.
        paired: Boolean. Whether the values are pairs.
        margin: Float. The largest difference that does not matter.
        alpha: Float. Error rate of the decision.
    """

    n_a: int
    n_b: int
    paired: bool
    margin: float
    alpha: float

    @property
    def difference(self) -> float:
        """The mean of a minus the mean of b."""
        return self.estimate

    @property
    def equivalent(self) -> bool:
        """Whether the tests show equivalence within the margin."""
        within = -self.margin < self.low and self.high < self.margin
        return within and self.p is not None and not math.isnan(self.p) and self.p <= self.alpha

    def sentence(self, name_a: str, name_b: str, *, unit: str = "seeds") -> str:
        """What the tests show, in one sentence.

        Args:
            name_a: String. Name of sample a.
            name_b: String. Name of sample b.
            unit: String. What the values are. Defaults to `"seeds"`.

        Examples:
            >>> from keras_entropy.stats import tost
            >>> print(tost([0.91, 0.93, 0.92, 0.94], [0.91, 0.92, 0.92, 0.95], 0.02).sentence("A", "B"))
            A and B are equivalent within 0.02 (A minus B 0.0000, 90 % interval -0.0096 to 0.0096, TOST paired t, \
n = 4 seeds, p = 0.008)
        """
        _check_names(name_a, name_b, unit)
        write = wording.decimals(self.estimate, self.low, self.high, (-self.margin, self.margin))
        inner = _listed(
            [
                f"{name_a} minus {name_b} {write(self.estimate)}",
                _interval(self, self.low, self.high, write),
                self.method,
                _count(self, unit),
                wording.p_value(self.p, self.alpha),
            ]
        )
        if self.equivalent:
            return f"{name_a} and {name_b} are equivalent within {self.margin:.12g} ({inner})"
        return f"equivalence within {self.margin:.12g} not shown for {name_a} and {name_b} ({inner})"


def _check_names(name_a: str, name_b: str, unit: str) -> None:
    for argument, value in (("name_a", name_a), ("name_b", name_b), ("unit", unit)):
        _samples.label(argument, value)
    if name_a == name_b:
        raise ValueError(message("name_b", "different from `name_a`", name_b))


def _listed(parts: list[str]) -> str:
    return ", ".join(part for part in parts if part)


def _count(result: MeanDifference | Equivalence, unit: str) -> str:
    return f"n = {result.n} {unit}" if result.paired else f"n = {result.n_a} and {result.n_b} {unit}"


def _interval(result: Estimate, low: float, high: float, write: Decimals, kind: str = "interval") -> str:
    if not math.isnan(low) and not math.isnan(high):
        return wording.interval(low, high, result.confidence, write, kind)
    missing = "no interval and no p-value" if result.p is not None and math.isnan(result.p) else "no interval"
    return f"{missing}: {result.note}" if result.note else missing
