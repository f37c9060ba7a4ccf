"""The gain at the best lambda, when lambda is chosen on the tested seeds and when it is chosen on others."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Mapping

from keras_entropy.stats import MeanDifference, paired_t, welch_t
from reproduction.estimates import compared, mean


@dataclasses.dataclass(frozen=True)
class SeedGains:
    """The results of an arm and of its baseline, seed by seed.

    Attributes:
        values: Results of the arm, by lambda and seed.
        baseline: Results of the baseline, by seed.
    """

    values: Mapping[float, Mapping[int, float]]
    baseline: Mapping[int, float]

    def at(self, factor: float, seeds: Collection[int]) -> dict[int, float]:
        """Arm minus baseline at a lambda, for the seeds that have both."""
        own = self.values.get(factor, {})
        both = [seed for seed in seeds if seed in own and seed in self.baseline]
        return {seed: own[seed] - self.baseline[seed] for seed in both}

    def best(self, seeds: Collection[int]) -> float | None:
        """The lambda with the largest mean gain on some seeds; the smallest of equals.

        A lambda counts only if all seeds of the baseline finished at it.
        """
        needed = [seed for seed in seeds if seed in self.baseline]
        found = {}
        for factor in sorted(self.values):
            gains = self.at(factor, needed)
            if needed and len(gains) == len(needed):
                found[factor] = mean(gains.values())
        return max(found, key=lambda factor: found[factor]) if found else None

    def test(
        self, factor: float, seeds: Collection[int], *, alternative: str = "two-sided", paired: bool = True
    ) -> MeanDifference | None:
        """The t test of the arm at a lambda against the baseline; None for fewer than two seeds."""
        both = list(self.at(factor, seeds))
        own, base = [self.values[factor][seed] for seed in both], [self.baseline[seed] for seed in both]
        return compared(own, base, paired_t if paired else welch_t, alternative=alternative)

    def left_out(self, seeds: Collection[int]) -> dict[int, tuple[float, float]]:
        """For each seed, its gain at the lambda that all seeds choose, and at the one that the other seeds choose.

        Averaged over the seeds, the first is the gain on the seeds that choose lambda, and the second the gain on seeds
        that do not. The two are equal for a seed that does not change the choice.
        """
        best, found = self.best(seeds), {}
        for seed in seeds:
            factor = self.best([other for other in seeds if other != seed])
            if best is not None and factor is not None:
                same, unseen = self.at(best, [seed]), self.at(factor, [seed])
                if same and unseen:
                    found[seed] = (same[seed], unseen[seed])
        return found
