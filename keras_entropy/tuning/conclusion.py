"""Whether one contender of a search is better than another: on new seeds, and beyond the luck of the search."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from scipy import stats as scipy_stats

from keras_entropy.stats import MeanDifference, wording

NO_DIFFERENCE = "no difference shown"

_BEST = 3
"""Trials of a search whose mean score tells how good it is at its best."""
_RESAMPLES = 9999
_FEWEST = 3
"""With fewer trials, no difference of two searches is beyond luck."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Duel:
    """The term against one rival.

    Two conditions make the term better (or worse): a paired t test on the held-out seeds shows a difference of the two
    best settings; and the scores of all trials show that the luck of the search does not explain it. For the second, a
    permutation test asks how often two searches of one and the same contender differ by as much, in the mean score of
    their three best trials. It needs trials that are drawn independently, as a random search draws them.

    Attributes:
        rival: String. Name of the rival.
        difference: `keras_entropy.stats.MeanDifference`. The term minus the rival on the held-out seeds, paired by
            seed, adjusted by Holm's method for all rivals; None with fewer than two pairs.
        luck: Float. p-value of the permutation test, in the direction of the difference; None if it could not be made.
        random: Boolean. Whether the trials were drawn at random, so that `luck` counts.
        lower_is_better: Boolean. Direction of the metric.
    """

    rival: str
    difference: MeanDifference | None
    luck: float | None
    random: bool
    lower_is_better: bool

    @property
    def conclusion(self) -> str:
        """`"better"` or `"worse"`, said of the term, or `"no difference shown"`."""
        if self.difference is None or self.is_luck:
            return NO_DIFFERENCE
        return self.difference.conclusion(lower_is_better=self.lower_is_better)

    @property
    def is_luck(self) -> bool:
        """Whether the settings differ, and the luck of the search may be the reason."""
        difference = self.difference
        if not self.random or difference is None or difference.shown == 0:
            return False
        return self.luck is None or self.luck > difference.alpha

    def sentence(self, term: str, rival: str) -> str:
        """What the comparison shows, in one sentence without full stop."""
        if self.difference is None:
            return f"{term} is not compared with {rival}: fewer than two held-out seeds have a value of both"
        text = self.difference.sentence(term, rival, lower_is_better=self.lower_is_better)
        if self.is_luck:
            chance = "too few trials to tell" if self.luck is None else wording.p_value(self.luck)
            return (
                f"no difference shown between {term} and {rival}: the luck of the search may explain ({chance}) that "
                f"at their best settings {text}"
            )
        if self.difference.shown and self.random:
            return f"{text}, and the luck of the search does not explain it ({wording.p_value(self.luck)})"
        return text


def luck(term: Sequence[float], rival: Sequence[float], *, lower_is_better: bool) -> float | None:
    """The probability that two searches of one contender differ by as much as these, to the advantage of the first.

    Args:
        term: Scores of the trials of the first search.
        rival: Scores of the trials of the second search.
        lower_is_better: Boolean. Direction of the score.

    Returns:
        p-value of a one-sided permutation test of the mean score of the three best trials; None with fewer than three
        trials in one of the searches.

    Examples:
        >>> from keras_entropy.tuning.conclusion import luck
        >>> luck([1.0, 1.1, 1.2, 1.3], [2.0, 2.1, 2.2, 2.3], lower_is_better=True) < 0.05
        True
    """
    sign = 1.0 if lower_is_better else -1.0
    scores = [sign * np.asarray(values, np.float64) for values in (term, rival)]
    if min(map(len, scores)) < _FEWEST:
        return None

    def advantage(a: np.ndarray, b: np.ndarray, axis: int = -1) -> np.ndarray:
        best = [np.sort(values, axis=axis).take(range(_BEST), axis=axis).mean(axis) for values in (a, b)]
        return np.asarray(best[0] - best[1])

    found = scipy_stats.permutation_test(
        scores, advantage, alternative="less", n_resamples=_RESAMPLES, vectorized=True, random_state=0
    )
    return float(found.pvalue)
