"""Statistics of replicated studies: arrays of numbers in, records with n, estimate, interval, p and method out.

Two kinds of `level` are kept apart. Where one comparison gives an interval, `level` is its confidence, such as 0.95.
Where a decision is made or planned (`tost`, `pairwise`, `power`, `seeds_needed`), it is the error rate, such as 0.05.
Each function refuses the other kind.

Conventions for samples that a test cannot judge: too few values, NaN and infinities are errors. Values that do not
vary give NaN for the interval and p, with an `EntropyWarning`, and a sentence that claims nothing: no interval has zero
width.
"""

from keras_entropy.stats.effects import effect_size
from keras_entropy.stats.equivalence import tost
from keras_entropy.stats.families import dunnett, holm, pairwise
from keras_entropy.stats.planning import Plan, power, seeds_needed
from keras_entropy.stats.ranks import wilcoxon
from keras_entropy.stats.records import Comparison, Equivalence, Estimate
from keras_entropy.stats.resampling import bootstrap, interquartile_mean
from keras_entropy.stats.student import paired_t, t_interval, welch_t

__all__ = [
    "Comparison",
    "Equivalence",
    "Estimate",
    "Plan",
    "bootstrap",
    "dunnett",
    "effect_size",
    "holm",
    "interquartile_mean",
    "paired_t",
    "pairwise",
    "power",
    "seeds_needed",
    "t_interval",
    "tost",
    "welch_t",
    "wilcoxon",
]
