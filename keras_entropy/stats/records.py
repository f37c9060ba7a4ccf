"""What the statistics return."""

from __future__ import annotations

import dataclasses
import math

from keras_entropy.stats import sentences

_FLIPPED = {"two-sided": "two-sided", "less": "greater", "greater": "less"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Estimate:
    """A number with its interval.

    Attributes:
        method: that gave it.
        n: how many independent values it rests on: pairs, if they are paired, else those of all samples together.
        estimate: the number.
        low: lower end of the interval; minus infinity for `alternative="less"`.
        high: upper end; infinity for `alternative="greater"`.
        p: the p-value, or None where nothing is tested.
        level: confidence of the interval.
        alternative: `"two-sided"`, `"less"` or `"greater"`.
        statistic: of the test.
        df: degrees of freedom.
        note: why an interval or p is NaN, or what was done to the values.
    """

    method: str
    n: int
    estimate: float
    low: float
    high: float
    p: float | None
    level: float
    alternative: str = "two-sided"
    statistic: float | None = None
    df: float | None = None
    note: str = ""

    def __str__(self) -> str:
        """The number with all that belongs to it."""
        return sentences.estimate(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison(Estimate):
    """Sample a against sample b; `estimate` is a minus b.

    Attributes:
        n_a: how many values of a.
        n_b: how many values of b.
        paired: whether the values are pairs, for example by seed.
        effect: the difference without a unit.
        effect_name: which effect size that is.
        p_adjusted: p for the family of tests that this one belongs to; decides in place of `p` where it is not None.
        adjustment: how `p_adjusted` came about.
        interval_kind: `"interval"`, `"unadjusted interval"` or `"simultaneous interval"`.
        statistic_sum: what the statistics of a against b and of b against a add up to: 0 for t.
    """

    n_a: int
    n_b: int
    paired: bool
    effect: float | None = None
    effect_name: str = ""
    p_adjusted: float | None = None
    adjustment: str = ""
    interval_kind: str = "interval"
    statistic_sum: float = 0.0

    @property
    def difference(self) -> float:
        """What a has more than b."""
        return self.estimate

    @property
    def shown(self) -> int:
        """1 if a is shown to be above b, -1 if below, else 0.

        A difference is shown if p is at most 1 - `level` and the interval leaves 0 out on the same side.
        """
        p = self.p if self.p_adjusted is None else self.p_adjusted
        # 1 - 0.95 is not 0.05 in binary; NaN is not at most anything.
        if p is None or not p <= round(1 - self.level, 12):
            return 0
        return int(self.low > 0) - int(self.high < 0)

    def verdict(self, *, lower_is_better: bool) -> str:
        """`"better"` or `"worse"`, said of a, or `"no difference shown"`."""
        return sentences.verdict(self, lower_is_better)

    def sentence(self, name_a: str, name_b: str, *, lower_is_better: bool, unit: str = "seeds") -> str:
        """What the comparison shows, in words.

        Args:
            name_a: of the first sample.
            name_b: of the second.
            lower_is_better: True for a loss, False for an accuracy.
            unit: what the values are.

        Examples:
            >>> from keras_entropy.stats import paired_t
            >>> paired_t([0.91, 0.93, 0.92, 0.94], [0.90, 0.91, 0.91, 0.92]).sentence("A", "B", lower_is_better=False)
            'A is better than B by 0.0150 (95 % interval 0.0058 to 0.0242, paired t, n = 4 seeds, p = 0.014)'
        """
        return sentences.comparison(self, name_a, name_b, lower_is_better, unit)

    def swapped(self) -> Comparison:
        """The same comparison said of b against a."""
        return dataclasses.replace(
            self,
            estimate=-self.estimate,
            low=-self.high,
            high=-self.low,
            alternative=_FLIPPED[self.alternative],
            statistic=None if self.statistic is None else self.statistic_sum - self.statistic,
            n_a=self.n_b,
            n_b=self.n_a,
            effect=None if self.effect is None else -self.effect,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Equivalence(Estimate):
    """Two one-sided tests of whether a and b differ by less than a margin; `estimate` is a minus b.

    `p` is the larger of the two p-values. The confidence `level` of the interval is 1 - 2 `alpha`: it lies within the
    margin exactly if both tests reject.

    Attributes:
        n_a: how many values of a.
        n_b: how many values of b.
        paired: whether the values are pairs.
        margin: the largest difference that does not matter.
        alpha: the error rate of the decision.
    """

    n_a: int
    n_b: int
    paired: bool
    margin: float
    alpha: float

    @property
    def difference(self) -> float:
        """What a has more than b."""
        return self.estimate

    @property
    def equivalent(self) -> bool:
        """Whether equivalence within the margin is shown."""
        within = -self.margin < self.low and self.high < self.margin
        return within and self.p is not None and not math.isnan(self.p) and self.p <= self.alpha

    def sentence(self, name_a: str, name_b: str, *, unit: str = "seeds") -> str:
        """What the tests show, in words.

        Args:
            name_a: of the first sample.
            name_b: of the second.
            unit: what the values are.

        Examples:
            >>> from keras_entropy.stats import tost
            >>> print(tost([0.91, 0.93, 0.92, 0.94], [0.91, 0.92, 0.92, 0.95], 0.02).sentence("A", "B"))
            A and B are equivalent within 0.02 (A minus B 0.0000, 90 % interval -0.0096 to 0.0096, TOST paired t, \
n = 4 seeds, p = 0.008)
        """
        return sentences.equivalence(self, name_a, name_b, unit)
