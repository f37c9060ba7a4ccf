"""The gain of the best of several values, when it is chosen on the seeds that are tested and when it is not."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping

from keras_entropy.stats import MeanDifference, paired_t, welch_t
from keras_entropy.study import arm_groups


@dataclasses.dataclass(frozen=True)
class Gains:
    """What an arm has more than its baseline, by value of its axis and by seed.

    Attributes:
        values: of the arm, by value and seed.
        baseline: by seed.
    """

    values: Mapping[float, Mapping[int, float]]
    baseline: Mapping[int, float]

    def at(self, value: float, seeds: Collection[int]) -> dict[int, float]:
        """The paired differences of a value, of the seeds that have both."""
        own = self.values.get(value, {})
        both = [seed for seed in seeds if seed in own and seed in self.baseline]
        return {seed: own[seed] - self.baseline[seed] for seed in both}

    def best(self, seeds: Collection[int]) -> float | None:
        """The value with the largest mean gain on some seeds; the smallest of equals.

        Only values count that have all the seeds that the baseline has: one that fails now and then is no choice.
        """
        needed = [seed for seed in seeds if seed in self.baseline]
        found = {}
        for value in sorted(self.values):
            gains = self.at(value, needed)
            if needed and len(gains) == len(needed):
                found[value] = math.fsum(gains.values()) / len(gains)
        return max(found, key=lambda value: found[value]) if found else None

    def test(
        self, value: float, seeds: Collection[int], *, alternative: str = "two-sided", paired: bool = True
    ) -> MeanDifference | None:
        """The test of a value against the baseline; None where two values are missing."""
        both = list(self.at(value, seeds))
        if len(both) < 2:
            return None
        own, base = [self.values[value][seed] for seed in both], [self.baseline[seed] for seed in both]
        with arm_groups.quiet():
            return (paired_t if paired else welch_t)(own, base, alternative=alternative)

    def left_out(self, seeds: Collection[int]) -> dict[int, tuple[float, float]]:
        """For each seed its gain at the value that all seeds choose, and at the one that the others choose.

        The means of both over the seeds are the gain on the seeds that choose, and the one on seeds that do not; where
        leaving a seed out does not change the choice, they are the same number.
        """
        best, found = self.best(seeds), {}
        for seed in seeds:
            value = self.best([other for other in seeds if other != seed])
            if best is not None and value is not None:
                same, unseen = self.at(best, [seed]), self.at(value, [seed])
                if same and unseen:
                    found[seed] = (same[seed], unseen[seed])
        return found
