"""Statistics of replicated studies: intervals, t tests, equivalence, Holm's adjustment and the number of seeds.

Functions take lists or arrays of numbers and return frozen records with n, estimate, interval, p-value and method. Two
arguments are easily confused, so each function rejects a value that fits only the other one:

* `confidence` (0.95): confidence of an interval.
* `alpha` (0.05): error rate of a decision.

Too few values, NaN and infinities are errors. If the values do not vary, the interval and p-value are NaN, and an
`EntropyWarning` says so: no interval has zero width.
"""

from keras_entropy.stats.equivalence import tost
from keras_entropy.stats.multiple_testing import holm, holm_adjusted
from keras_entropy.stats.power_analysis import PowerResult, power, seeds_needed
from keras_entropy.stats.results import Equivalence, Estimate, MeanDifference
from keras_entropy.stats.student import paired_t, t_interval, welch_t

__all__ = [
    "Equivalence",
    "Estimate",
    "MeanDifference",
    "PowerResult",
    "holm",
    "holm_adjusted",
    "paired_t",
    "power",
    "seeds_needed",
    "t_interval",
    "tost",
    "welch_t",
]
